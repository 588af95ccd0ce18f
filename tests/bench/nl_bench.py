#!/usr/bin/env python3
"""Rules into the kernel: what it costs, and what gets through meanwhile.

    nl_bench.py MAILREEVE NL_LOAD NL_FLOOR NL_LEAK [--cidrs N] [--runs N] [--rounds N] [--leaks [--long]]

Costs: N CIDRs applied from a plan by lib/nl, by a bare libmnl program that does nothing else,
and by `nft -f` of the same plan's text: whole processes, medians of runs taken in turn, each in
a network namespace of its own. Then the replacement by a list that differs in 50 entries,
without a change, and in parts as a user namespace needs them; and 100 entries replaced in place,
all over the list and side by side, beside a bare libmnl program that sends the same elements to
one set as large.

Leaks: SYNs sent without pause to addresses that both lists deny, and to some that neither does,
while one list replaces the other, ROUNDS times by lib/nl with fresh sets, then in place, then by
`nft -f` beside it. lib/nl must let none through and stop none: else this fails. --leaks: that of
lib/nl alone; --long: 1,000 times with fresh sets, told by the hundred.
"""
import argparse
import ipaddress
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import bench  # noqa: E402

POLICY = '''mailreeve: 1
name: bench
networks:
  list: {{ranges-from: {0}, families: ipv4}}
points:
  host:
    kind: host
    outbound:
      block:
        - {{to: list, ports: [smtp], with: drop}}
      otherwise: untouched
'''


def spaced(script, *args, privileged):
    """Runs a script in an empty network namespace; gives wall, memory in MB, output."""
    start = time.monotonic()
    p = subprocess.Popen(['unshare', '-n' if privileged else '-Urn', 'sh', '-ec', script, 'sh', *args],
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    out, err = p.communicate()
    if p.returncode:
        raise SystemExit(f'{script}: {err}')
    return time.monotonic() - start, out, err


def timed(script, *args, privileged):
    """One command by itself: seconds and megabytes, by the shell's last child."""
    code = ('import os,resource,subprocess,sys,time;a=time.monotonic();'
            'r=subprocess.run(sys.argv[1:],stdout=subprocess.PIPE,stderr=subprocess.PIPE,text=True);b=time.monotonic();'
            'u=resource.getrusage(resource.RUSAGE_CHILDREN);'
            'print(r.returncode,b-a,u.ru_maxrss/1024);print(r.stdout,r.stderr)')
    p = subprocess.run(['unshare', '-n' if privileged else '-Urn', sys.executable, '-c', code, *script, *args],
                       capture_output=True, text=True)
    head, rest = p.stdout.split('\n', 1)
    status, wall, mem = head.split()
    if status != '0':
        return None, None, rest
    own = re.search(r'^memory (\d+)', rest, re.M)  # what a child was before exec counts in the other
    return float(wall), int(own[1]) / 1024 if own else float(mem), rest


def costs(a, n, root, load, floor, top):
    plan, other, text = (str(top / x) for x in ('a.plan', 'b.plan', 'a.nft'))
    print(f'{n:,} CIDRs, {a.runs} runs in turn, medians; {"root" if root else "user namespace"}')
    rows = {'lib/nl': [load, '--times', plan], 'bare libmnl': [floor, str(top / 'ranges')],
            'nft -f': ['nft', '-f', text]}
    got = {k: [] for k in rows}
    inner = {'lib/nl': [], 'bare libmnl': []}
    for _ in range(a.runs):
        for k, argv in rows.items():
            wall, mem, rest = timed(argv, privileged=root)
            if wall is None:
                print(f'{k}: {rest.strip()[:200]}')
                continue
            got[k].append((wall, mem))
            if k == 'lib/nl':
                inner[k].append(sum(float(x) for x in re.findall(
                    r'^(?:form|dump|build|stage|swap|sweep) ([\d.]+)$', rest, re.M)))
            elif k == 'bare libmnl':
                inner[k].append(sum(float(x) for x in rest.split()[:2]))
    base = statistics.median(x[0] for x in got['bare libmnl']) if got['bare libmnl'] else None
    for k, runs in got.items():
        if not runs:
            continue
        wall, mem = (statistics.median(x[i] for x in runs) for i in (0, 1))
        ratio = f'{wall / base:5.2f} x bare' if base else ''
        print(f'  {k:12} {wall:7.3f} s  {mem:6.1f} MB  {ratio}')
    if all(inner.values()):
        x, y = (statistics.median(v) for v in inner.values())
        size = os.path.getsize(plan) / 1e6
        print(f'  from the plan in memory: {x:.3f} s, {x / y:.2f} x bare ({y:.3f} s); aim 1.15 x, '
              f'16 MB + plan ({size:.1f} MB)')
    script = '"$1" "$2"; "$1" --times "$3" 2>&1; "$1" --times "$3" 2>&1; "$1" --most 400000 --salt 1 --times "$3" 2>&1'
    _, out, _ = spaced(script, load, plan, other, privileged=root)
    again = [sum(float(y) for y in re.findall(r'^(?:form|dump|build|stage|swap|sweep) ([\d.]+)$', x, re.M))
             for x in out.split('read ')[1:]]
    swaps = re.findall(r'^swap ([\d.]+)$', out, re.M)
    print(f'  50 changed: {again[0] * 1e3:.1f} ms, swap itself {float(swaps[0]) * 1e3:.2f} ms; '
          f'unchanged: {again[1] * 1e3:.1f} ms; all anew in small transactions: {again[2] * 1e3:.0f} ms')


def spans(rows):
    """Ranges of a list as pairs of numbers, as a plan has them."""
    return [(int(x.network_address), int(x.broadcast_address))
            for x in ipaddress.collapse_addresses(ipaddress.ip_network(x) for x in rows)]


def pack(path, pairs):
    path.write_bytes(b''.join(lo.to_bytes(4, 'big') + hi.to_bytes(4, 'big') for lo, hi in pairs))
    return str(path)


def make(mailreeve, top, which, rows, forms):
    """The plan of a list; its policy has the same name whatever the list, for names are in
    the comments of rules."""
    at = top / which
    at.mkdir()
    (at / 'list.txt').write_text('\n'.join(rows) + '\n')
    (at / 'policy.yaml').write_text(POLICY.format('list.txt'))
    for form in forms:
        with open(top / f'{which}.{form}', 'wb') as f:
            subprocess.run([mailreeve, 'compile', at / 'policy.yaml', '--to', form],
                           stdout=f, stderr=subprocess.DEVNULL, check=True)


def edits(a, one, root, load, floor, top):
    """100 entries replaced in place, there and back."""
    nets = sorted(one, key=lambda x: ipaddress.ip_network(x))
    n = len(nets)
    many = 100
    kinds = {'all over': (range(0, n, max(1, n // many)), 0, n, 25.0),
             'in one shard': (range(n // 5, n // 5 + many), n // 5 - n // 12, n // 5 + n // 12, 5.0)}
    for k, (at, low, high, aim) in kinds.items():
        other = list(nets)
        for i in list(at)[:many]:
            other[i] = other[i].split('/')[0] if '/32' not in other[i] else nets[i]
        which = 'e-' + k.split()[-1]
        make(os.path.abspath(a.mailreeve), top, which, other, ['plan'])
        have, want = spans(nets[low:high]), spans(other[low:high])
        files = [pack(top / f'{which}.{x}', v) for x, v in
                 (('have', have), ('del', sorted(set(have) - set(want))), ('add', sorted(set(want) - set(have))))]
        plan, changed = str(top / 'a.plan'), str(top / f'{which}.plan')
        ours, bare, sent = [], [], []
        for _ in range(a.runs):
            _, _, err = spaced('"$1" "$2"; "$1" --times --old "$2" "$3"; "$1" --times --old "$3" "$2"',
                               load, plan, changed, privileged=root)
            if err.count('in place') != 2:
                print(f'  100 {k}: not in place: {err[-200:].strip()}')
                break
            for part in err.split('in place')[:2]:
                t = {x: float(y) for x, y in re.findall(r'^(dump|form|build|edit) ([\d.]+)$', part, re.M)}
                ours.append(sum(t.values()))
                sent.append(t['build'] + t['edit'])
            _, out, _ = spaced('exec "$@"', floor, *files, privileged=root)
            bare.append(float(re.search(r'^delta ([\d.]+)$', out, re.M)[1]))
        else:
            x, y, z = (statistics.median(v) * 1e3 for v in (ours, bare, sent))
            print(f'  100 replaced in place, {k}: {x:.1f} ms from the plan in memory (aim {aim:.0f} ms), '
                  f'{x / y:.2f} x bare ({y:.1f} ms); batch alone {z:.1f} ms, {z / y:.2f} x')


SCRIPT = ('ip link add v0 type veth peer name v1; ip addr add 10.99.0.1/24 dev v0; ip link set v0 up; '
          'ip link set v1 up; ip neigh replace 10.99.0.2 lladdr 02:00:00:00:00:02 dev v0; '
          'ip route add default via 10.99.0.2; "$1" "$2" 2>/dev/null || $1 -f "$2"; shift 2; exec "$@"')
BY = 100                       # rounds in one network namespace


def leaks(name, first, leak, addresses, rounds, argv, root):
    """Packets sent while rules are replaced; whether none leaked, none was stopped, and each replacement was
    what it says."""
    sent = leaked = stopped = elsewhere = 0
    seconds = longest = 0.0
    for done in range(0, rounds, BY):
        some = min(BY, rounds - done)
        try:
            _, out, err = spaced(SCRIPT, *first, leak, *addresses, str(some), *argv, privileged=root)
        except SystemExit as why:
            print(f'  {name}: not measured: {str(why)[-200:].strip()}')
            return False
        got = out.split()
        sent, leaked, stopped = (x + int(y) for x, y in zip((sent, leaked, stopped), got))
        seconds, longest = seconds + float(got[3]), max(longest, float(got[4]))
        elsewhere += some - err.count('in place') if name == 'in place' else err.count('in place')
        if done + some == rounds or rounds > BY:
            print(f'  {name:12} {done + some:,} replacements under {sent / seconds:,.0f} packets/s: {leaked} of {sent:,} '
                  f'leaked (longest {longest} ms), {stopped} stopped wrongly', flush=True)
    if elsewhere:
        print(f'  {elsewhere} of {rounds} were not {name}: {err[-200:].strip()}')
    return not (leaked or stopped or elsewhere) and sent >= 1000


def main():
    ap = argparse.ArgumentParser()
    for name in ('mailreeve', 'nl_load', 'nl_floor', 'nl_leak'):
        ap.add_argument(name)
    ap.add_argument('--cidrs', type=int, default=100_000)
    ap.add_argument('--runs', type=int, default=5)
    ap.add_argument('--rounds', type=int)
    ap.add_argument('--long', action='store_true', help='1,000 rounds, with fresh sets alone')
    ap.add_argument('--leaks', action='store_true', help='only the leaks of lib/nl, unprivileged: a test')
    a = ap.parse_args()
    a.rounds = a.rounds or (1000 if a.long else 30)
    load, floor, leak = (os.path.abspath(x) for x in (a.nl_load, a.nl_floor, a.nl_leak))
    root = not a.leaks and subprocess.run(['unshare', '-n', 'true'], capture_output=True).returncode == 0
    if not root and subprocess.run(['unshare', '-Urn', 'true'], capture_output=True).returncode:
        print('no namespaces: not run')
        return 77
    n = a.cidrs
    with tempfile.TemporaryDirectory() as name:
        top = pathlib.Path(name)
        one = bench.cidrs(n, 1)
        two = list(one)
        for i in range(0, n, max(1, n // 50)):
            two[i] = two[i].split('/')[0]
        nets = sorted(ipaddress.ip_network(x) for x in one)
        with open(top / 'ranges', 'wb') as f:
            for x in ipaddress.collapse_addresses(nets):
                f.write(x.network_address.packed + x.broadcast_address.packed)
        for which, rows in (('a', one), ('b', two)):
            make(os.path.abspath(a.mailreeve), top, which, rows, ['plan', 'nft'])
        plan, other, text = (str(top / x) for x in ('a.plan', 'b.plan', 'a.nft'))
        if not a.leaks:
            costs(a, n, root, load, floor, top)
            edits(a, one, root, load, floor, top)

        inside = [str(x.network_address) for x in nets[:: n // 60 or 1]][:60]
        have = list(ipaddress.collapse_addresses(nets))
        outside = [str(p.broadcast_address + 1) for p, q in zip(have[:: n // 20 or 1], have[1:: n // 20 or 1])
                   if p.broadcast_address + 1 < q.network_address][:20]
        addresses = [','.join(inside), ','.join(outside)]
        ways = [('lib/nl', [load, plan], a.rounds, [load, other, '--', load, plan]),
                ('in place', [load, plan], a.rounds, [load, '--old', plan, other, '--', load, '--old', other, plan]),
                ('nft -f', ['nft', text], max(2, a.rounds // 10), ['nft', '-f', str(top / 'b.nft'), '--', 'nft', '-f', text])]
        failed = False
        for k, first, rounds, argv in ways[:1 if a.long else 2 if a.leaks else 3]:
            well = leaks(k, first, leak, addresses, rounds, argv, root)
            failed |= k != 'nft -f' and not well
        print('lib/nl:', 'FAILED' if failed else 'none leaked')
        return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
