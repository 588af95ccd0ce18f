#!/usr/bin/env python3
"""What the agent takes while nothing happens: private memory of each role, processor time, wake-ups.

    agent_idle.py MAILREEVED MAILREEVECTL [--cidrs N] [--seconds N]

The gate: private memory of all roles together at most 8 MB (without plan bytes: --cidrs tells what
those add).
"""
import argparse
import os
import pathlib
import re
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'agent'))
import parent_rig as rig  # noqa: E402
from mail_rig import MailAgent  # noqa: E402

MOST_KIB = 8 << 10


def private(pid):
    """KiB that are the process's alone."""
    text = pathlib.Path(f'/proc/{pid}/smaps_rollup').read_text()
    return sum(int(x) for x in re.findall(r'^Private_(?:Clean|Dirty):\s*(\d+)', text, re.M))


def ticks(pid):
    words = pathlib.Path(f'/proc/{pid}/stat').read_text().rsplit(')', 1)[1].split()
    return (int(words[11]) + int(words[12])) / os.sysconf('SC_CLK_TCK')


def wakes(pid):
    return int(re.search(r'^voluntary_ctxt_switches:\s*(\d+)',
                         pathlib.Path(f'/proc/{pid}/status').read_text(), re.M).group(1))


def measure(a, seconds):
    pids = {'parent': a.process.pid, **a.roles()}
    before = {r: (ticks(p), wakes(p)) for r, p in pids.items()}
    time.sleep(seconds)
    total = used = 0
    for role, pid in sorted(pids.items()):
        kib, cpu = private(pid), ticks(pid) - before[role][0]
        total += kib
        used += cpu
        print(f'{role:10} {kib:6} KiB private, {100 * cpu / seconds:6.3f} % of a core, '
              f'{(wakes(pid) - before[role][1]) / seconds:5.1f} wake-ups a second')
    print(f'all roles  {total:6} KiB private, {100 * used / seconds:6.3f} % of a core')
    return total


def main():
    rig.inside()
    rig.new_net()
    parser = argparse.ArgumentParser()
    parser.add_argument('daemon', type=os.path.abspath)
    parser.add_argument('ctl', type=os.path.abspath)
    parser.add_argument('--cidrs', type=int, default=100000)
    parser.add_argument('--seconds', type=float, default=5)
    args = parser.parse_args()
    # with the mail roles, after they have carried something
    a = MailAgent(args.daemon, args.ctl)
    a.write_mail()
    a.begin()
    a.ctl('test-mail', 'b@example.net', '--from', 'a@example.org', timeout=90)
    a.ctl('queue', 'drop', *[x.split()[0] for x in a.ctl('queue', 'list').out.splitlines() if x[:4] == '0006'])
    time.sleep(75)             # the role relay gives up its roots a minute after the last connection
    a.ctl('status')
    time.sleep(1)
    print('a small policy:')
    total = measure(a, args.seconds)
    a.write_large(args.cidrs)
    r = a.ctl('apply')
    time.sleep(3)
    print(f'{args.cidrs} prefixes: {r.out.strip() or r.err.strip()}')
    measure(a, args.seconds)
    a.end()
    print(f'gate: at most {MOST_KIB} KiB: {"kept" if total <= MOST_KIB else "BROKEN"}')
    return 0 if total <= MOST_KIB and r.status == 0 else 1


if __name__ == '__main__':
    sys.exit(main())
