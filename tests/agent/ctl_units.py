#!/usr/bin/env python3
"""The units of the agent, judged by systemd: how exposed they are, and that they are well-formed.

    ctl_units.py SYSUSERS UNIT ...        (services; their sockets beside them)
"""
import os
import re
import subprocess
import sys
import tempfile

MOST = 1.5
passed = failed = 0


def verdict(ok, what, why=''):
    global passed, failed
    passed += bool(ok)
    failed += not ok
    if not ok:
        print(f'FAIL {what}: {why}')


def analyze(*args):
    r = subprocess.run(['systemd-analyze', *args], capture_output=True, text=True,
                       env={**os.environ, 'LC_ALL': 'C', 'SYSTEMD_COLORS': '0', 'SYSTEMD_PAGER': ''})
    return r.stdout + r.stderr


def main():
    sysusers, units = sys.argv[1], sys.argv[2:]
    services = [u for u in units if u.endswith('.service')]
    for unit in services:
        said = analyze('security', '--offline=yes', unit)
        figure = re.search(r'Overall exposure level for \S+: ([\d.]+)', said)
        name = os.path.basename(unit)
        verdict(figure and float(figure[1]) <= MOST, f'{name}: exposure at most {MOST}', said[-400:])
        print(f'exposure of {name}:', figure[1] if figure else '?')
        # else the kernel's killing of one role for want of memory would stop all
        verdict('\nOOMPolicy=continue\n' in open(unit).read(), f'{name}: OOMPolicy')
    with tempfile.TemporaryDirectory() as d:
        paths = []
        for unit in units:
            text = open(unit).read()
            # programs that are there, for those that are not installed here
            text = re.sub(r'^(Exec\w+=)\S+', r'\1/bin/true', text, flags=re.M)
            text = re.sub(r'^Documentation=.*\n', '', text, flags=re.M)
            paths.append(os.path.join(d, os.path.basename(unit)))
            with open(paths[-1], 'w') as f:
                f.write(text)
        said = '\n'.join(x for x in analyze('verify', *paths).splitlines() if 'mailreeve' in x)
        verdict(not said, 'well-formed', said)
        root = os.path.join(d, 'root')
        os.makedirs(os.path.join(root, 'etc'))
        r = subprocess.run(['systemd-sysusers', '--root', root, os.path.abspath(sysusers)],
                           capture_output=True, text=True)
        users = os.path.join(root, 'etc', 'passwd')
        verdict(r.returncode == 0 and os.path.exists(users) and 'mailreeve:' in open(users).read(),
                'the user', r.stderr)
    print(f'{passed} passed, {failed} failed')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
