#!/usr/bin/env python3
"""Text and JSON of one plan, and its two-step form, load to the same ruleset.

Each plan that out_forms makes is loaded by nft, in a network namespace of its own
without privileges: as text, again as text (loading twice changes nothing), as
JSON, and in two steps over an old version. `nft list ruleset` must not differ,
comments apart. `nft -c` must take the text too.

    out_agree.py OUT_FORMS [SEED [COUNT]]
"""
import os
import re
import subprocess
import sys
import tempfile
import time

COUNT = 60
SKIP = 77

# One namespace for all plans: nft is started often enough as it is.
SCRIPT = r'''
set -e
cd "$1"
export TZ=UTC
step() { nft $1 -f "$2" 2>err || { echo "FAIL nft $1 -f $2"; cat err; exit 1; }; }
for all in *.all.nft; do
    n=${all%%.*}
    nft -c -f $n.all.nft 2>err || { echo "FAIL nft -c $n"; cat err; exit 1; }
    nft flush ruleset
    nft add table inet foreign
    step "" $n.all.nft; nft -s list ruleset > $n.text
    step "" $n.all.nft; nft -s list ruleset > $n.twice
    nft flush ruleset
    nft add table inet foreign
    if [ -e $n.all.json ]; then
        step -j $n.all.json; nft -s list ruleset > $n.json
        step -j $n.all.json; nft -s list ruleset > $n.json-twice
    fi
    [ -e $n.stage-a.nft ] || continue
    step "" $n.stage-a.nft; nft -s list ruleset > $n.staged
    step "" $n.swap-a.nft; nft -s list ruleset > $n.a
    step "" $n.stage-b.nft; step "" $n.swap-b.nft; nft -s list ruleset > $n.b
    step -j $n.stage-a.json; step -j $n.swap-a.json; nft -s list ruleset > $n.ja
    step "" $n.all.nft; nft -s list ruleset > $n.back
done
'''


def tables(path):
    """The listing as {table: text}; hash sets' elements in one order, comments apart."""
    text = open(path, encoding='utf-8').read()
    text = re.sub(r' comment "[^"]*"', '', text)
    text = re.sub(r'^\t+comment "[^"]*"\n', '', text, flags=re.M)
    text = re.sub(r'\{ ([^{}\n]*, [^{}\n]*) \}',
                  lambda m: '{ ' + ', '.join(sorted(m[1].split(', '))) + ' }', text)
    out = {}
    for body in re.split(r'^(?=table )', text, flags=re.M):
        if body:
            out[body.split()[2]] = normal(body.split('\n', 1)[1])
    return out


def normal(body):
    """The table's objects, sorted: a set made before another is no difference. Rules keep
    their order."""
    parts = re.findall(r'^\t\S.*?^\t\}\n', body, flags=re.M | re.S)
    return ''.join(sorted(parts))


def main():
    forms = sys.argv[1]
    seed = sys.argv[2] if len(sys.argv) > 2 else os.environ.get('SEED') or str(int(time.time()))
    count = sys.argv[3] if len(sys.argv) > 3 else str(COUNT)
    unshare = ['unshare', '-Urn']
    if subprocess.run(unshare + ['nft', 'list', 'ruleset'], capture_output=True).returncode:
        print('no unprivileged namespaces, or no nft: skipped')
        return SKIP
    print(f'seed {seed} (SEED= to repeat)')
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([forms, folder, seed, count], check=True)
        run = subprocess.run(unshare + ['sh', '-c', SCRIPT, 'sh', folder],
                             capture_output=True, text=True)
        if run.returncode:
            print(run.stdout, run.stderr)
            return 1
        bad = checked = 0

        def same(n, what, one, two):
            nonlocal bad, checked
            checked += 1
            if one != two:
                bad += 1
                print(f'plan {n}: {what} differs')
                if bad == 1:
                    open('/dev/stdout', 'w').write(f'{one}\n-----\n{two}\n')

        for n in range(int(count)):
            at = os.path.join(folder, str(n))
            text = tables(at + '.text')
            same(n, 'foreign table', text.get('foreign'), '')
            same(n, 'a second load', text, tables(at + '.twice'))
            if os.path.exists(at + '.json'):
                same(n, 'JSON', text, tables(at + '.json'))
                same(n, 'a second load of JSON', text, tables(at + '.json-twice'))
            if not os.path.exists(at + '.a'):
                continue
            table = 'mailreeve-host' if 'mailreeve-host' in text else 'mailreeve'
            mine = text[table]
            same(n, 'what is live while staged', tables(at + '.staged')[table], mine)
            same(n, 'slot a', tables(at + '.a'), {'foreign': '', table + '-a': mine})
            same(n, 'slot b', tables(at + '.b'), {'foreign': '', table + '-b': mine})
            same(n, 'slot a by JSON', tables(at + '.ja'), {'foreign': '', table + '-a': mine})
            same(n, 'back to one table', tables(at + '.back'), text)
        print(f'{checked} listings compared, {bad} differ')
        return 1 if bad or not checked else 0


if __name__ == '__main__':
    sys.exit(main())
