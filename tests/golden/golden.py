#!/usr/bin/env python3
"""Every shipped policy and example, byte for byte.

For each: check is silent, its own tests pass, fmt leaves it as it is, and each point
compiled to nft text and JSON equals the file kept in expected/ (with --no-prove: agree/prove.py
shows that the proof, where a machine allows it, changes no byte). Then the differences
between versions, explanations, and the messages of wrong policies. Each answer is made
twice, under another locale, time zone and folder, and must be the same bytes.

golden.py MAILREEVE            compare
golden.py MAILREEVE --update   write what it prints now; read the diff before committing
"""
import json
import os
import pathlib
import shlex
import subprocess
import sys
import tempfile
import xml.dom.minidom

HERE = pathlib.Path(__file__).resolve().parent
TOP = HERE.parents[1]
EXPECTED = HERE / 'expected'
DAY = '2026-11-21'


class Golden:
    def __init__(self, program, update):
        self.program = str(pathlib.Path(program).resolve())
        self.update = update
        self.passed = 0
        self.failed = 0
        self.used = set()

    def run(self, args, env=None):
        e = {'PATH': os.environ['PATH'], 'LC_ALL': 'C', 'TZ': 'UTC'}
        if 'ASAN_OPTIONS' in os.environ:
            e['ASAN_OPTIONS'] = os.environ['ASAN_OPTIONS']
        e.update(env or {})
        r = subprocess.run([self.program] + args, cwd=TOP, env=e, capture_output=True)
        return r.returncode, r.stdout, r.stderr

    def verdict(self, ok, label, why=''):
        if ok:
            self.passed += 1
        else:
            self.failed += 1
            print(f'FAIL {label}: {why}')

    def status(self, label, args, want):
        code, out, err = self.run(args)
        self.verdict(code == want, label, f'exit status {code}, not {want}\n'
                     + (out + err).decode(errors='replace')[:3000])

    def same(self, name, args, want=0):
        """The answer to args, its exit status included, is what expected/name holds."""
        label = 'mailreeve ' + ' '.join(args)
        code, out, err = self.run(args)
        code2, out2, err2 = self.run(args, {'LC_ALL': 'C.UTF-8', 'TZ': 'Asia/Tokyo',
                                            'HOME': '/nowhere'})
        self.verdict((code, out, err) == (code2, out2, err2), label,
                     'another locale or time zone gives other bytes')
        text = out + err
        self.verdict(code == want, label, f'exit status {code}, not {want}: '
                     + err.decode(errors='replace')[:2000])
        path = EXPECTED / name
        self.used.add(path)
        if self.update:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text)
        kept = path.read_bytes() if path.exists() else b''
        if kept != text:
            a, b = kept.decode(errors='replace').split('\n'), text.decode(errors='replace').split('\n')
            n = next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
            self.verdict(False, label, f'differs from expected/{name} at line {n + 1}:\n'
                         f'  kept: {a[n] if n < len(a) else "(end)"}\n'
                         f'  now:  {b[n] if n < len(b) else "(end)"}')
        else:
            self.verdict(True, label)


def policies():
    found = sorted(p for d in ('policies', 'examples') for p in (TOP / d).glob('*.yaml'))
    if len(found) < 10:
        raise SystemExit('the shipped policies were not found')
    return [p.relative_to(TOP).as_posix() for p in found]


def odd_name(g):
    """A file's name can be any bytes: no form of an answer breaks on it."""
    with tempfile.TemporaryDirectory() as d:
        name = os.path.join(os.fsencode(d), b'a"b\n::c;%,:\xc3\xa9\x01\xff<&]]>.yaml')
        pathlib.Path(os.fsdecode(name)).write_bytes((HERE / 'wrong/failing.yaml').read_bytes())
        for args, read in ((['test', '--format', 'junit'], xml.dom.minidom.parseString),
                           (['test', '--format', 'json'], json.loads),
                           (['lint', '--format', 'json'], json.loads),
                           (['lint', '--format', 'sarif'], json.loads),
                           (['compile', '--no-prove', '--to', 'json'], json.loads)):
            code, out, err = g.run(args + [name])
            try:
                read(out)
                g.verdict(code in (0, 1), ' '.join(args), f'exit status {code}')
            except Exception as broken:
                g.verdict(False, ' '.join(args) + ' of a file with an odd name', broken)
        code, out, err = g.run(['lint', '--format', 'github', name])
        g.verdict(out and all(line.startswith((b'::notice file=', b'::warning file=', b'::error file='))
                              for line in out.splitlines()), 'lint --format github', out)
        code, out, err = g.run(['compile', '--no-prove', name])
        said = [line for line in out.split(b'\n') if b'.yaml' in line]
        g.verdict(said and all(b' comment "' in line and line.count(b'"') % 2 == 0 and
                               line.endswith(b'"') for line in said), 'compile', said)


def dates(g):
    """A date is ten bytes and a day of the calendar."""
    p = policies()[0]
    for date, want in (('2027-03-31', 0), ('2028-02-29', 0), ('2027-02-29', 2), ('2027-04-31', 2),
                       ('2027-00-01', 2), ('1969-12-31', 2), ('2027-3--31', 2), ('+027-03-31', 2),
                       ('2027-03- 1', 2), ('2027-03-3x', 2), ('2027-03-311', 2), ('', 2)):
        g.status(f'lint --date {date!r}', ['lint', '--date', date, p], want)


def main():
    g = Golden(sys.argv[1], '--update' in sys.argv[2:])
    for p in policies():
        stem = p.replace('/', '-').removesuffix('.yaml')
        g.status(f'check {p}', ['check', p], 0)
        g.status(f'test {p}', ['test', p], 0)
        code, out, err = g.run(['fmt', p])
        g.verdict(code == 0 and out == (TOP / p).read_bytes(), f'fmt {p}', 'lays it out otherwise')
        g.same(f'lint/{stem}.txt', ['lint', '--date', DAY, p], g.run(['lint', '--date', DAY, p])[0])
        points = [line.split('\t')[0] for line in g.run(['points', p])[1].decode().splitlines()]
        for point in points:
            g.same(f'nft/{stem}.{point}.nft', ['compile', '--no-prove', '--point', point, p])
            args = ['compile', '--no-prove', '--point', point, '--to', 'json', p]
            g.same(f'json/{stem}.{point}.json', args, g.run(args)[0])
            code, one, _ = g.run(['compile', '--no-prove', '--point', point, '--to', 'plan', p])
            _, two, _ = g.run(['compile', '--no-prove', '--point', point, '--to', 'plan', p])
            g.verdict(code == 0 and one == two and one, f'plan {p} {point}', 'differs between runs')
            _, there, _ = g.run(['compile', '--no-prove', '--point', point, '--to', 'plan', str(TOP / p)])
            g.verdict(one == there, f'plan {p} {point}', 'tells where its folder is on this machine')
    for name, line in (l.split(None, 1) for l in (HERE / 'answers.txt').read_text().splitlines()
                       if l and not l.startswith('#')):
        status, *args = shlex.split(line)
        g.same(f'answers/{name}.txt', args, int(status))
    odd_name(g)
    dates(g)
    for path in EXPECTED.rglob('*'):
        if path.is_file() and path not in g.used:
            if g.update:
                path.unlink()
            else:
                g.verdict(False, str(path.relative_to(HERE)), 'is kept for nothing')
    print(f'{g.passed} passed, {g.failed} failed')
    return 1 if g.failed else 0


if __name__ == '__main__':
    sys.exit(main())
