#!/usr/bin/env python3
"""Drift: from somebody's edit to the rules as they were, and what watching costs.

    drift_bench.py APPLY_DRIVE MAILREEVE NL_FLOOR [--edits N] [--idle SECONDS] [--cidrs N] [--fifo]

The edits are made by `nft -f -` in a network namespace of its own, and timed from the moment when
the kernel has committed (nft has ended) as well as from its start. Between edits the program's
account is cleared by a new role now and then: who keeps at it is otherwise met with a pause.
Then a list of 100,000 that must be rebuilt, beside a bare libmnl program that loads the same ranges
(wall and processor time of both, as ratios: nearly all of it is the kernel's work on one transaction);
memory of an apply of it beside the plan's size; processor time of an idle role. --fifo: before all else
that runs on the machine.
"""
import argparse
import ipaddress
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'agent'))
import rig  # noqa: E402
from rig import Role, nft  # noqa: E402

TABLE = 'mailreeve-host'


def quantile(v, q):
    v = sorted(v)
    return v[min(len(v) - 1, int(len(v) * q))]


def line(name, v, aim):
    print(f'  {name:34} p50 {statistics.median(v) * 1e3:7.1f} ms   p99 {quantile(v, .99) * 1e3:7.1f} ms   '
          f'max {max(v) * 1e3:7.1f} ms   (aim: p99 under {aim} ms, {len(v)} edits)')


def cpu(pid):
    f = open(f'/proc/{pid}/stat').read().rsplit(')', 1)[1].split()
    return (int(f[11]) + int(f[12])) / os.sysconf('SC_CLK_TCK')


def schedstat(pid):
    """Nanoseconds on a processor: finer than ticks."""
    return int(open(f'/proc/{pid}/schedstat').read().split()[0]) / 1e9


def memory(pid, key):
    return int(re.search(rf'^{key}:\s+(\d+)', open(f'/proc/{pid}/status').read(), re.M)[1]) / 1024


def edits(drive, plan, n, edit, timeout, each=None):
    """Seconds from the end of nft, and from its start, to healed. each: gets what is known of each heal."""
    after, whole = [], []
    while len(after) < n:
        nft('flush', 'ruleset')
        with Role(drive, '--no-owner') as r:
            assert r.do(plan)['err'] == 0
            r.quiet(0.1)
            for _ in range(min(3, n - len(after))):
                text = edit()
                used = schedstat(r.pid()) if each else 0
                start = time.monotonic()
                p = subprocess.run(['nft', '-f', '-'], input=text, text=True, capture_output=True)
                end = time.monotonic()
                assert p.returncode == 0, p.stderr
                x = r.event('healed', 'heal-failed', timeout=timeout)
                assert x['kind'] == 'healed', x
                after.append(max(x['when'] - end, 0))
                whole.append(x['when'] - start)
                if each:
                    each(x['us'] / 1e6, schedstat(r.pid()) - used)
    return after, whole


class Floor:
    """A bare program's load of the same ranges, in turn with the heals."""

    def __init__(self, program, ranges, path):
        self.program, self.path = program, path
        with open(path, 'wb') as f:
            for x in ranges:
                net = ipaddress.ip_network(x)
                f.write(net.network_address.packed + net.broadcast_address.packed)
        self.wall, self.cpu, self.ours, self.our_cpu = [], [], [], []

    def beside(self, seconds, cpu):
        self.ours.append(seconds)
        self.our_cpu.append(cpu)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        out = subprocess.run(['unshare', '-n', self.program, self.path], capture_output=True, text=True, check=True).stdout
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.wall.append(sum(float(x) for x in out.split()[:2]))
        self.cpu.append(sum(getattr(after, x) - getattr(before, x) for x in ('ru_utime', 'ru_stime')))

    def tell(self):
        ours, cpu, wall, bare = (statistics.median(v) for v in (self.ours, self.our_cpu, self.wall, self.cpu))
        print(f'    from its being seen {ours * 1e3:.0f} ms, {ours / wall:.2f} x a bare libmnl load of the same '
              f'({wall * 1e3:.0f} ms); processor time {cpu * 1e3:.0f} ms, {cpu / bare:.2f} x ({bare * 1e3:.0f} ms)')


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument('drive')
    ap.add_argument('mailreeve')
    ap.add_argument('nl_floor')
    ap.add_argument('--edits', type=int, default=200)
    ap.add_argument('--idle', type=float, default=20)
    ap.add_argument('--cidrs', type=int, default=100_000)
    ap.add_argument('--fifo', action='store_true')
    a = ap.parse_args()
    drive = os.path.abspath(a.drive)
    if a.fifo:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))
    with tempfile.TemporaryDirectory() as tmp:
        small = rig.list_policy(a.mailreeve, tmp, 'small', [f'10.0.{i}.0/28' for i in range(200)])
        n = a.cidrs
        ranges = [f'{10 + i // 65536}.{i // 256 % 256}.{i % 256}.0/28' for i in range(n)]
        many = rig.list_policy(a.mailreeve, tmp, 'many', ranges)
        print('drift: from an edit to healed')
        rule = f'insert rule inet {TABLE} output tcp dport 25 accept\n'
        after, whole = edits(drive, small, a.edits, lambda: rule, 10)
        line('rules, from the commit', after, 250)
        line('rules, from the start of nft', whole, 250)
        after, whole = edits(drive, many, max(a.edits // 20, 3), lambda: rule, 30)
        line(f'rules beside a list of {n:,}', after, 250)

        def element():
            names = re.findall(r'set (\S+) \{', nft('-t', 'list', 'table', 'inet', TABLE))
            return f'add element inet {TABLE} {names[0]} {{ 1.2.3.4 }}\n'
        after, whole = edits(drive, many, max(a.edits // 20, 3), element, 30)
        line(f'a shard of a list of {n:,}, rebuilt', after, 1000)

        def whole_list():
            names = re.findall(r'set (\S+) \{', nft('-t', 'list', 'table', 'inet', TABLE))
            return ''.join(f'flush set inet {TABLE} {x}\n' for x in names)
        floor = Floor(os.path.abspath(a.nl_floor), ranges, os.path.join(tmp, 'ranges'))
        after, whole = edits(drive, many, max(a.edits // 20, 3), whole_list, 30, floor.beside)
        line(f'a list of {n:,}, flushed, rebuilt', after, 1000)
        floor.tell()

        nft('flush', 'ruleset')
        with Role(drive, '--no-owner') as r:
            pid = r.pid()
            r.quiet(0.2)
            base = memory(pid, 'VmRSS')
            open(f'/proc/{pid}/clear_refs', 'w').write('5\n')
            x = r.do(many)
            assert x['err'] == 0, x
            peak = memory(pid, 'VmHWM')
            r.quiet(1)
            rest, size = memory(pid, 'VmRSS'), os.path.getsize(many) / 1e6
            print(f'apply of {n:,}: stage {x["stage_us"] / 1e3:.0f} ms, swap {x["swap_us"] / 1e3:.2f} ms; '
                  f'memory {base:.1f} MB before, {peak:.1f} MB at most, {rest:.1f} MB after; '
                  f'aim: plan ({size:.1f} MB) + 16 MB')
            for what in ('idle, nobody edits',):
                used, since = schedstat(pid), time.monotonic()
                r.quiet(a.idle)
                share = (schedstat(pid) - used) / (time.monotonic() - since)
                print(f'{what}: {share * 100:.3f} % of a core in {a.idle:.0f} s (aim: under 0.1 %)')
        nft('flush', 'ruleset')
    return 0


if __name__ == '__main__':
    if not os.environ.get('APPLY_INSIDE'):
        os.environ['APPLY_INSIDE'] = '1'
        root = subprocess.run(['unshare', '-n', 'true'], capture_output=True).returncode == 0
        os.execvp('unshare', ['unshare', '-n' if root else '-Urn', sys.executable, *sys.argv])
    sys.exit(main())
