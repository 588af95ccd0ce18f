#!/usr/bin/env python3
"""What `compile --prove` shows in a real kernel.

    prove.py MAILREEVE PROVE_FAULTS FOLDER...

Every point of every shipped policy and example is proved; planted faults are found
(prove_faults.c). Inside a user namespace, without privileges and where no namespaces are
allowed; and nothing is left behind.
"""
import glob
import os
import subprocess
import sys
import tempfile

SKIP = 77
failed = passed = 0


def verdict(ok, what, why=''):
    global failed, passed
    passed += bool(ok)
    failed += not ok
    if not ok:
        print(f'FAIL {what}: {why}')


def run(*args, inside=()):
    return subprocess.run([*inside, *args], capture_output=True, text=True,
                          env={**os.environ, 'NO_COLOR': '1', 'LC_ALL': 'C.UTF-8'})


def may_unshare(*flags):
    return run('unshare', *flags, 'true').returncode == 0


def namespaces():
    """Those of the processes that we see."""
    return {os.readlink(p) for p in glob.glob(f'/proc/{os.getpid()}/ns/*')}


def main():
    mailreeve, faults = (os.path.abspath(p) for p in sys.argv[1:3])
    policies = sorted(p for folder in sys.argv[3:] for p in glob.glob(os.path.abspath(folder) + '/*.yaml'))
    one = next(p for p in policies if p.endswith('/blocked-campus.yaml'))
    if not may_unshare('-Urn'):
        print('no namespaces without privileges: skipped')
        return SKIP
    before = namespaces()
    for policy in policies:
        for line in run(mailreeve, 'points', policy).stdout.splitlines():
            point = line.split('\t')[0]
            plain = run(mailreeve, 'compile', '--point', point, policy)
            proved = run(mailreeve, 'compile', '--prove', '--point', point, policy)
            verdict((proved.returncode, proved.stdout) == (plain.returncode, plain.stdout),
                    f'compile --prove {os.path.basename(policy)} {point}', proved.stderr)
    r = run(faults, *policies)
    print(r.stdout, end='')
    verdict(r.returncode == 0, 'planted faults', r.stderr[-2000:])
    for inside in ('-Ur', '-Urn'):
        r = run(mailreeve, 'compile', '--prove', one, inside=('unshare', inside))
        verdict(r.returncode == 0 and 'table inet' in r.stdout, f'--prove in unshare {inside}', r.stderr)
    # A machine that allows no namespaces: said, told apart from a difference, nothing written.
    with tempfile.TemporaryDirectory() as d:
        script = 'for x in user net; do echo 0 >/proc/sys/user/max_${x}_namespaces; done; exec "$@"'
        r = run(mailreeve, 'compile', '--prove', '-o', d + '/out', one,
                inside=('unshare', '-Ur', 'sh', '-c', script, 'sh'))
        verdict(r.returncode == 2 and 'does not let us make a network namespace' in r.stderr and
                not r.stdout and not os.listdir(d), '--prove without namespaces',
                f'{r.returncode} {r.stdout} {r.stderr}')
    verdict(namespaces() == before, 'our own namespaces', 'have changed')
    print(f'{passed} passed, {failed} failed')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
