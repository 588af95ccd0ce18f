#!/usr/bin/env python3
"""What compiling and asking cost, beside peers in the same run.

    bench.py MAILREEVE PASSES FLOOR [--runs N] [--most CIDRS]

Whole processes: wall and processor seconds and peak memory, medians of N runs taken in
turn (A B A B ...), with ratios to `nft -c` of the same output and to FLOOR, a bare C
program that reads, sorts, merges and prints the same addresses. Inside one process: each
pass by itself. `compile` rows are made with --no-prove; `prove` rows are all that the command
does by default: compile, load, read back, execute, compare. The figures to reach stand beside them; nothing here passes or fails.
"""
import argparse
import os
import pathlib
import random
import statistics
import subprocess
import sys
import tempfile
import time

NEED = {  # figures to reach: (wall seconds, megabytes)
    ('compile', 100_000): (0.25, 40), ('compile', 1_000_000): (3.0, None),
    ('statements', 4_000): (0.5, None),
    ('prove', 100_000): (1.5, None), ('prove, user', 100_000): (1.5, None),
}


def run(args, out=subprocess.DEVNULL):
    start = time.monotonic()
    p = subprocess.Popen(args, stdout=out, stderr=subprocess.PIPE)
    err = p.stderr.read()
    _, status, ru = os.wait4(p.pid, 0)
    wall = time.monotonic() - start
    p.returncode = os.waitstatus_to_exitcode(status)
    return p.returncode, wall, ru.ru_utime + ru.ru_stime, ru.ru_maxrss / 1024, err


def medians(runs):
    return [statistics.median(r[i] for r in runs) for i in (1, 2, 3)]


def cidrs(n, seed):
    """n prefixes /24../32 that do not touch, in no order."""
    rnd = random.Random(seed)
    step = (2**32 - 2**24) // n
    out = []
    for i in range(n):
        bits = rnd.choice((24, 26, 28, 30, 31, 32))
        while 2 ** (32 - bits) * 2 > step:
            bits += 1
        base = 2**24 + i * step
        base -= base % (2 ** (32 - bits))
        if base < 2**24 + i * step:
            base += 2 ** (32 - bits)
        out.append('%d.%d.%d.%d/%d' % (base >> 24, base >> 16 & 255, base >> 8 & 255, base & 255, bits))
    rnd.shuffle(out)
    return out


POLICY = '''mailreeve: 1
name: bench
networks:
  campus: {{ranges: [10.0.0.0/8], families: ipv4}}
{list}
relays:
  central: {{ranges: [192.0.2.0/24], families: ipv4, endpoints: [{{port: 25, tls: none}}]}}
points:
  border:
    kind: router
    zones:
      campus:
        inside: campus
        outbound:
          relays: [central]
          exempt:
            - {{name: partners, from: campus, to: partners, ports: [smtp], owner: bench, reason: a long list}}
          block: {{ports: [smtp]}}
          otherwise: untouched
'''


def write_lists(folder, n):
    (folder / f'l{n}.txt').write_text('\n'.join(cidrs(n, 1)) + '\n')
    (folder / f'p{n}.yaml').write_text(POLICY.format(
        list=f'  partners: {{ranges-from: l{n}.txt, families: ipv4}}'))
    changed = cidrs(n, 1)
    for i in range(0, len(changed), max(1, len(changed) // 50)):
        changed[i] = changed[i].split('/')[0]
    (folder / f'm{n}.txt').write_text('\n'.join(changed) + '\n')
    (folder / f'q{n}.yaml').write_text(POLICY.format(
        list=f'  partners: {{ranges-from: m{n}.txt, families: ipv4}}'))
    if n <= 100_000:  # all in YAML
        text = '\n'.join('      - ' + c for c in cidrs(n, 1))
        (folder / f'y{n}.yaml').write_text(POLICY.format(
            list=f'  partners:\n    families: ipv4\n    ranges:\n{text}'))


def write_statements(folder, n):
    rnd = random.Random(3)
    lines = ['mailreeve: 1', 'name: bench', 'networks:', '  campus: {ranges: [10.0.0.0/8], families: ipv4}',
             'points:', '  border:', '    kind: router', '    zones:', '      campus:', '        inside: campus',
             '        outbound:', '          block: {ports: [smtp]}', '          otherwise: untouched',
             '          exempt:']
    for i in range(n):
        bits = rnd.choice((24, 26, 28, 30, 32))
        base = (10 << 24 | rnd.getrandbits(24)) >> (32 - bits) << (32 - bits)
        src = '%d.%d.%d.%d/%d' % (base >> 24, base >> 16 & 255, base >> 8 & 255, base & 255, bits)
        lines.append(f'            - {{name: e{i}, from: {src}, to: anywhere, ports: [smtp], owner: x, reason: bench}}')
    (folder / f's{n}.yaml').write_text('\n'.join(lines) + '\n')


def generate(folder, n):
    """In a process of its own: what this one has held in memory would be counted as the
    peak of every program that it starts."""
    subprocess.run([sys.executable, __file__, '--generate', str(folder), str(n)], check=True)


def check(args):
    code, _, _, _, err = run(args)
    if code:
        raise SystemExit(err.decode() or f'{args}: exit status {code}')


def row(what, n, m, ratio):
    need = NEED.get((what, n))
    aim = '' if not need else f'aim {need[0]} s' + (f', {need[1]} MB' if need[1] else '')
    print(f'{what:12} {n:>9,} {m[0]:9.3f} {m[1]:9.3f} {m[2]:9.1f}   {ratio:38} {aim}', flush=True)


def proofs(a, folder, n, root):
    """Compile, load into a namespace, read back, execute, compare; as root, and as a user who is
    root in a user namespace alone. The ratio is to compiling alone."""
    policy, out = str(folder / f'p{n}.yaml'), str(folder / 'out.nft')
    ways = [('prove, user', ['unshare', '-Ur'] if root else [])]
    if root:
        ways.insert(0, ('prove', []))
    for what, inside in ways:
        proved, plain = [], []
        for _ in range(a.runs):
            proved.append(run(inside + [a.mailreeve, 'compile', '--prove', '--output', out, policy]))
            plain.append(run([a.mailreeve, 'compile', '--no-prove', '--output', out, policy]))
            if proved[-1][0] == 2 and b'namespace' in proved[-1][4]:
                print(f'{what:12} {n:>9,}   no namespaces here')
                break
            if proved[-1][0]:
                raise SystemExit(proved[-1][4].decode())
        else:
            m, c = medians(proved), medians(plain)
            row(what, n, m, f'{m[0] / c[0]:.1f} x compile alone')


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument('mailreeve')
    ap.add_argument('passes')
    ap.add_argument('floor')
    ap.add_argument('--runs', type=int, default=5)
    ap.add_argument('--most', type=int, default=1_000_000)
    a = ap.parse_args()
    root = os.geteuid() == 0
    with tempfile.TemporaryDirectory() as t:
        folder = pathlib.Path(t)
        print(f'{"":12} {"CIDRs":>9} {"wall s":>9} {"cpu s":>9} {"peak MB":>9}   ratios in the same run')
        for n in (1_000, 10_000, 100_000, 1_000_000):
            if n > a.most:
                continue
            generate(folder, n)
            for what, name in (('compile', f'p{n}.yaml'), ('from YAML', f'y{n}.yaml')):
                if not (folder / name).exists():
                    continue
                nft = folder / 'out.nft'
                ours, floor = [], []
                for _ in range(a.runs):
                    ours.append(run([a.mailreeve, 'compile', '--no-prove', '--output', str(nft),
                                     str(folder / name)]))
                    if ours[-1][0]:
                        raise SystemExit(ours[-1][4].decode())
                    floor.append(run([a.floor, str(folder / f'l{n}.txt')]))
                m, f = medians(ours), medians(floor)
                ratio = f'{m[0] / f[0]:.1f} x floor'
                if what == 'compile' and n <= 100_000:
                    own = ['unshare', '-n' if root else '-Urn', 'nft', '-c', '-f', str(nft)]
                    asked = [run(own) for _ in range(min(a.runs, 3))]
                    if asked[-1][0] == 0:
                        c = medians(asked)
                        ratio += f', {m[0] / c[0]:.2f} x nft -c ({c[0]:.2f} s, {c[2]:.0f} MB)'
                    else:
                        ratio += ', nft -c needs root for so many'
                row(what, n, m, ratio)
            if n <= 100_000:
                proofs(a, folder, n, root)
            row('lint', n, medians([run([a.mailreeve, 'lint', '--date', '2026-11-21',
                                         str(folder / f'p{n}.yaml')]) for _ in range(a.runs)]), '')
            row('diff', n, medians([run([a.mailreeve, 'diff', str(folder / f'p{n}.yaml'),
                                         str(folder / f'q{n}.yaml')]) for _ in range(a.runs)]), '')
            row('explain', n, medians([run([a.mailreeve, 'explain', str(folder / f'p{n}.yaml'),
                                            'tcp 10.1.2.3 -> 192.0.2.1:25']) for _ in range(a.runs)]), '')
            p = subprocess.run([a.passes, str(folder / f'p{n}.yaml'), str(folder / f'q{n}.yaml')],
                               capture_output=True, text=True, check=True)
            print('   inside, ms: ' + ', '.join(' '.join(line.split()) for line in p.stdout.splitlines()))
        n = 4_000
        generate(folder, -n)
        check([a.mailreeve, 'check', str(folder / f's{n}.yaml')])
        row('statements', n, medians([run([a.mailreeve, 'compile', '--no-prove', str(folder / f's{n}.yaml')])
                                      for _ in range(a.runs)]), 'shadow check and self-check included')
        p = subprocess.run([a.passes, str(folder / f's{n}.yaml')], capture_output=True, text=True, check=True)
        print('   inside, ms: ' + ', '.join(' '.join(line.split()) for line in p.stdout.splitlines()))


if __name__ == '__main__':
    if sys.argv[1:2] == ['--generate']:
        where, many = pathlib.Path(sys.argv[2]), int(sys.argv[3])
        write_lists(where, many) if many > 0 else write_statements(where, -many)
    else:
        main()
