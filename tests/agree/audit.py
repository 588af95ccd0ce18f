#!/usr/bin/env python3
"""What `mailreeve audit` finds in rulesets that others have written.

    audit.py MAILREEVE FOLDER...

foreign/*.nft against examples/blocked-campus.yaml: each hole with its kind, a packet and the
rule that made it. What mailreeve itself compiles has none. Then the kernel of this namespace,
and what a machine may refuse.
"""
import glob
import json
import os
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
TOP = HERE.parents[1]
sys.path.insert(0, str(HERE.parent / 'netns'))
import reeve  # noqa: E402

SKIP = 77
POLICY = str(TOP / 'examples/blocked-campus.yaml')

# kind, a part of the witness, the chain and the number of the rule (None: the chain's policy)
FOUND = {
    'zones': [('allows', 'tcp 198.51.100.40 -> 203.0.113.1:25', 'filter_FWD_campus_deny', 1)],
    'containers': [('allows', 'tcp 198.51.100.1 -> 203.0.113.1:25, in by engine0, out by eth1', 'FORWARD', 5)],
    'tables': [('allows', 'tcp 198.51.100.1 -> 203.0.113.1:25, invalid', 'FORWARD', None),
               ('allows', 'tcp 2001:db8:100::1 -> [2001:db8::2]:25, invalid', 'FORWARD', None)],
    'sets': [],
    'limits': [('may', 'tcp 198.51.100.1 -> 203.0.113.1:25', 'forward', 1)],
    'unknown': [('unknown', 'tcp 198.51.100.1 -> 203.0.113.1:25', 'forward', 2),
                ('allows', 'tcp 198.51.100.1 -> 203.0.113.1:25, invalid', None, None),
                ('allows', 'tcp 2001:db8:100::1 -> [2001:db8::2]:25, invalid', 'forward', None)],
}

failed = passed = 0


def verdict(ok, what, why=''):
    global failed, passed
    passed += bool(ok)
    failed += not ok
    if not ok:
        print(f'FAIL {what}: {why}')


def run(*args, inside=(), text=None):
    return subprocess.run([*inside, *args], capture_output=True, text=True, input=text,
                          env={**os.environ, 'NO_COLOR': '1', 'LC_ALL': 'C.UTF-8'})


def told(answer):
    return [(r['kind'], r['witness'], r['ruleset'].get('chain'), r['ruleset'].get('rule'))
            for r in json.loads(answer)['regions']]


def foreign(mailreeve):
    names = {p.stem for p in (HERE / 'foreign').glob('*.nft')}
    verdict(names == set(FOUND), 'foreign/', f'holds {names}')
    for name, want in FOUND.items():
        path = str(HERE / f'foreign/{name}.nft')
        r = run(mailreeve, 'audit', '--format', 'json', POLICY, path)
        verdict(r.returncode == (1 if want else 0) and not r.stderr, f'audit {name}.nft',
                f'{r.returncode} {r.stderr}')
        if r.returncode < 2:
            verdict(told(r.stdout) == want, f'audit {name}.nft', told(r.stdout))
            lines = {s['line'] for x in json.loads(r.stdout)['regions'] for s in x['policy']['statements']}
            verdict(lines <= {11}, f'audit {name}.nft: the statement\'s line', lines)
        human = run(mailreeve, 'audit', POLICY, path)
        verdict(human.returncode == r.returncode and all(x[1] in human.stdout for x in want),
                f'audit {name}.nft for people', human.stdout)
        # The same rules in the kernel, asked by one who may.
        script = '"$1" -f "$3" && exec "$2" audit --format json "$4" live'
        live = run('sh', '-c', script, 'sh', 'nft', mailreeve, path, POLICY, inside=('unshare', '-Urn'))
        verdict(live.returncode == r.returncode and told(live.stdout) == want, f'audit live, {name}.nft',
                f'{live.returncode} {live.stdout} {live.stderr}')


def our_own(mailreeve, folders):
    tool = reeve.Reeve(mailreeve)
    count = 0
    with tempfile.TemporaryDirectory() as d:
        for policy in sorted(p for folder in folders for p in glob.glob(os.path.abspath(folder) + '/*.yaml')):
            for point in tool.points(policy):
                text = tool.compile(policy, point, 'nft')
                if reeve.users_in(text) or reeve.units_in(text):
                    continue    # nft wants those to exist
                path = pathlib.Path(d) / 'rules.nft'
                path.write_text(text + reeve.hooks_of(text))
                r = run(mailreeve, 'audit', '--at', point, policy, str(path))
                verdict(r.returncode == 0, f'audit of what is compiled, {policy} {point}', r.stdout + r.stderr)
                count += 1
    verdict(count > 10, 'policies audited', count)


def refusals(mailreeve):
    r = run(mailreeve, 'audit', POLICY, '-', text='table inet x {\n\tchain y {\n\t\ttcp dport nonsense\n')
    verdict(r.returncode == 2 and 'nft does not take the rules' in r.stderr and not r.stdout, 'wrong nft text',
            f'{r.returncode} {r.stderr}')
    r = run(mailreeve, 'audit', POLICY, '-', text='list tables\n')
    verdict(r.returncode == 1 and r.stdout.startswith('- is not what'), 'nft text that prints', r.stdout)
    odd = ('table inet x {\n\tchain y {\n\t\ttype filter hook forward priority 0;\n'
           '\t\ttcp dport 25 accept comment "\x1b[31m\x07red\x7f"\n\t}\n}\n')
    r = run(mailreeve, 'audit', POLICY, '-', text=odd)
    verdict(r.returncode == 1 and '"?[31m?red?"' in r.stdout, 'orders for a terminal in a comment', r.stdout + r.stderr)
    r = run(mailreeve, 'audit', POLICY, '-', text=odd.replace('accept', 'nonsense'))
    verdict(r.returncode == 2 and '\x1b' not in r.stderr, 'orders for a terminal in what nft says', r.stderr)
    r = run(mailreeve, 'audit', POLICY, '/nowhere.nft')
    verdict(r.returncode == 2 and '/nowhere.nft' in r.stderr, 'a file that is not there', r.stderr)
    r = run(mailreeve, 'audit', POLICY, 'live', inside=('unshare', '-U'))
    verdict(r.returncode == 2 and 'CAP_NET_ADMIN' in r.stderr, 'live without rights', f'{r.returncode} {r.stderr}')
    script = 'for x in user net; do echo 0 >/proc/sys/user/max_${x}_namespaces; done; exec "$@"'
    r = run(mailreeve, 'audit', POLICY, str(HERE / 'foreign/sets.nft'), inside=('unshare', '-Ur', 'sh', '-c', script, 'sh'))
    verdict(r.returncode == 2 and 'does not let us make a network namespace' in r.stderr,
            'without namespaces', f'{r.returncode} {r.stderr}')


def main():
    mailreeve = os.path.abspath(sys.argv[1])
    if run('unshare', '-Urn', 'nft', 'list', 'ruleset').returncode:
        print('no namespaces without privileges, or no nft: skipped')
        return SKIP
    foreign(mailreeve)
    our_own(mailreeve, sys.argv[2:])
    refusals(mailreeve)
    print(f'{passed} passed, {failed} failed')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
