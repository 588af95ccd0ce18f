#!/usr/bin/env python3
"""What `mailreeve diff` tells where rules are on a side.

    diff.py MAILREEVE FOLDER... [--update]

Of every point of every shipped policy: nothing differs between the policy, the plan file that is
compiled from it and the nft text, in any order, and everything that was refused does from an
empty ruleset. Then answers kept in told/, handles apart; both directions of each are one the
other's mirror. `live`, and what is refused.
"""
import glob
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
TOP = HERE.parents[1]
TOLD = HERE / 'told'
sys.path.insert(0, str(HERE.parent / 'netns'))
import reeve  # noqa: E402

SKIP = 77
POLICY = 'examples/blocked-campus.yaml'
EMPTY = 'table inet x {\n}\n'
failed = passed = 0


def verdict(ok, what, why=''):
    global failed, passed
    passed += bool(ok)
    failed += not ok
    if not ok:
        print(f'FAIL {what}: {why}')


def run(*args, inside=(), text=None):
    return subprocess.run([*inside, *args], capture_output=True, text=True, input=text, cwd=TOP,
                          env={**os.environ, 'NO_COLOR': '1', 'LC_ALL': 'C.UTF-8'})


def nothing(r, what):
    verdict((r.returncode, r.stdout, r.stderr) == (0, 'no change\n', ''), what, r.stdout + r.stderr)


def one_and_the_same(tool, policy, point, folder):
    """Policy, plan file and nft text of a point, each against each."""
    plan, nft, empty = (str(folder / x) for x in ('one', 'one.nft', 'empty.nft'))
    name = f'{os.path.basename(policy)} {point}'
    verdict(run(tool.program, 'compile', '--no-prove', '--to', 'plan', '--point', point, '-o', plan,
                policy).returncode == 0, f'compile {name}')
    pathlib.Path(empty).write_text(EMPTY)
    how = ('diff', '--detailed-exitcode')
    at = ('--point', point)
    nothing(run(tool.program, *how, policy, plan), f'{name}, plan, whose point needs no word')
    for strict in ((), ('--strict',)):
        nothing(run(tool.program, *how, *at, *strict, policy, plan), f'{name}, plan {strict}')
        nothing(run(tool.program, *how, *at, *strict, plan, policy), f'plan, {name} {strict}')
    nothing(run(tool.program, *how, plan, plan), f'plan of {name} and itself')
    text = tool.compile(policy, point, 'nft', '--no-prove')
    if not reeve.users_in(text) and not reeve.units_in(text):  # nft wants those to exist
        pathlib.Path(nft).write_text(text + reeve.hooks_of(text))
        for strict in ((), ('--strict',)):
            nothing(run(tool.program, *how, *at, *strict, policy, nft), f'{name}, nft {strict}')
            nothing(run(tool.program, *how, *strict, plan, nft), f'plan and nft of {name} {strict}')
        nothing(run(tool.program, *how, *at, nft, policy), f'nft, {name}')
    # against nothing at all: what the plan refuses, the policy refuses
    by_policy = run(tool.program, *how, *at, '--format', 'json', '--strict', policy, empty)
    by_plan = run(tool.program, *how, '--format', 'json', '--strict', plan, empty)
    back = run(tool.program, *how, *at, '--format', 'json', '--strict', empty, policy)
    regions = [json.loads(r.stdout)['points'][0]['regions'] for r in (by_policy, by_plan, back)]
    verdict(by_policy.returncode == by_plan.returncode == back.returncode == (3 if regions[0] else 0) and
            [r['region'] for r in regions[0]] == [r['region'] for r in regions[1]] ==
            [r['region'] for r in regions[2]], f'{name} and nothing', (by_policy.stdout, by_plan.stdout))
    verdict(all((a['was'], a['now']) == (b['now'], b['was']) for a, b in zip(regions[0], regions[2])),
            f'{name} and nothing, backwards', back.stdout)
    return len(regions[0])


def told(mailreeve, update):
    rows = {
        'policy-file': (POLICY, 'tests/agree/foreign/zones.nft'),
        'file-policy': ('tests/agree/foreign/zones.nft', POLICY),
        'file-file': ('tests/agree/foreign/sets.nft', 'tests/agree/foreign/limits.nft'),
        'policy-unknown': (POLICY, 'tests/agree/foreign/unknown.nft'),
        'file-json': ('--format', 'json', 'tests/agree/foreign/zones.nft', 'tests/agree/foreign/sets.nft'),
        'policy-json': ('--format', 'json', POLICY, 'tests/agree/foreign/zones.nft'),
        'nothing-json': ('--format', 'json', POLICY, 'tests/agree/foreign/sets.nft'),
        'point': ('--point', 'front', 'policies/columbia-v1.yaml', 'policies/columbia-v2.yaml'),
    }
    for name, args in rows.items():
        r = run(mailreeve, 'diff', *args)
        text = re.sub(r'(handle"?:?) \d+', r'\1 N', r.stdout)
        path = TOLD / f'{name}.txt'
        if update:
            TOLD.mkdir(exist_ok=True)
            path.write_text(text)
        verdict(r.returncode == 0 and not r.stderr and path.exists() and path.read_text() == text,
                f'diff {" ".join(args)} is not told/{name}.txt', text + r.stderr)
    verdict({p.stem for p in TOLD.iterdir()} == set(rows), 'told/', 'holds something else')


def live(mailreeve, folder):
    script = '"$1" -f "$3" && shift 3 && exec "$@"'
    nft = str(HERE / 'foreign/zones.nft')
    inside = ('unshare', '-Urn', 'sh', '-c', script, 'sh', 'nft', '-', nft)
    file = run(mailreeve, 'diff', '--detailed-exitcode', POLICY, nft)
    r = run(mailreeve, 'diff', '--detailed-exitcode', POLICY, 'live', inside=inside)
    verdict(r.returncode == 3 and r.stdout == file.stdout, 'diff POLICY live', r.stdout + r.stderr)
    for pair in (('live', nft), (nft, 'live'), ('live', 'live')):
        nothing(run(mailreeve, 'diff', *pair, inside=inside), f'diff {pair}')
    plan = str(folder / 'plan')
    run(mailreeve, 'compile', '--no-prove', '--to', 'plan', '-o', plan, POLICY)
    r = run(mailreeve, 'diff', '--detailed-exitcode', plan, 'live', inside=inside)
    verdict(r.returncode == 3 and 'reject -> pass' in r.stdout, 'diff PLAN live', r.stdout + r.stderr)
    r = run(mailreeve, 'diff', POLICY, 'live', inside=('unshare', '-U'))
    verdict(r.returncode == 2 and 'CAP_NET_ADMIN' in r.stderr and not r.stdout, 'live without rights', r.stderr)


def refusals(mailreeve, folder):
    plan, nft = str(folder / 'plan'), str(HERE / 'foreign/sets.nft')
    whole = pathlib.Path(plan).read_bytes()
    for n, why in ((len(whole) - 1, 'digest'), (40, ''), (13, '')):
        (folder / 'half').write_bytes(whole[:n])
        r = run(mailreeve, 'diff', POLICY, str(folder / 'half'))
        verdict(r.returncode == 2 and 'no whole plan file' in r.stderr and not r.stdout, f'{n} bytes of a plan', r.stderr)
    for args in ((nft, plan, '--point', 'border'), (POLICY, '/nowhere.nft'), (POLICY, nft, '--point', 'nowhere'),
                 ('policies/columbia-v1.yaml', nft), ('-', '-'), ('/nowhere', nft),
                 ('policies/columbia-v1.yaml', 'policies/columbia-v2.yaml', '--point', 'nowhere')):
        r = run(mailreeve, 'diff', *args, text='')
        verdict(r.returncode == 2 and r.stderr and not r.stdout, f'diff {args}', f'{r.returncode} {r.stderr}')
    r = run(mailreeve, 'diff', 'tests/golden/wrong/typos.yaml', nft)
    verdict(r.returncode == 1 and 'error[' in r.stderr and not r.stdout, 'a wrong policy', r.stderr)
    script = 'for x in user net; do echo 0 >/proc/sys/user/max_${x}_namespaces; done; exec "$@"'
    r = run(mailreeve, 'diff', plan, nft, inside=('unshare', '-Ur', 'sh', '-c', script, 'sh'))
    verdict(r.returncode == 2 and 'does not let us make a network namespace' in r.stderr, 'no namespaces', r.stderr)


def main():
    args = [a for a in sys.argv[1:] if a != '--update']
    mailreeve = os.path.abspath(args[0])
    if run('unshare', '-Urn', 'nft', 'list', 'ruleset').returncode:
        print('no namespaces without privileges, or no nft: skipped')
        return SKIP
    tool = reeve.Reeve(mailreeve)
    points = regions = 0
    with tempfile.TemporaryDirectory() as d:
        folder = pathlib.Path(d)
        for policy in sorted(p for f in args[1:] for p in glob.glob(os.path.abspath(f) + '/*.yaml')):
            for point in tool.points(policy):
                regions += one_and_the_same(tool, policy, point, folder)
                points += 1
        verdict(points > 20 and regions > points, 'points compared', (points, regions))
        told(mailreeve, '--update' in sys.argv)
        live(mailreeve, folder)
        refusals(mailreeve, folder)
    print(f'{points} points, {regions} regions apart from nothing: {passed} passed, {failed} failed')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
