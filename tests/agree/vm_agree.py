#!/usr/bin/env python3
"""The kernel's bytecode, executed symbolically, means what the policy means.

Every shipped policy and example is compiled to nft text, loaded by nft into a network
namespace of its own without privileges, dumped, executed by lib/vm and compared with
lib/flow's diagram over all packets. Then each ruleset is broken in many ways, one at a
time (a verdict swapped, a rule dropped, a port or an address changed): what is then no
longer the policy must be found, with a packet.

    vm_agree.py VM_AGREE MAILREEVE FOLDER...
"""
import glob
import os
import pathlib
import random
import re
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'netns'))
import reeve  # noqa: E402

SKIP = 77
MUTANTS = 12            # of each point

# A mutant that means the same is no mistake: what a person would call the same is let off.
SCRIPT = r'''
cd "$1"
mount --bind passwd /etc/passwd 2>/dev/null || true
if mount -t tmpfs none /sys/fs/cgroup 2>/dev/null; then
    while read -r unit; do mkdir -p "/sys/fs/cgroup/$unit"; done < units
fi
while IFS=$(printf '\t') read -r name policy point; do
    nft flush ruleset
    if nft -f "$name.nft" 2>err; then
        echo "$name $(timeout 120 "$2" policy "$policy" "$point" 2>&1 | head -c 900)"
    else
        echo "$name not loaded: $(head -n 1 err)"
    fi
done < jobs
'''

MUTATIONS = [
    (r'\baccept\b', 'drop'), (r'\bdrop\b', 'accept'), (r'reject with tcp reset', 'accept'),
    (r'reject with tcp reset', 'drop'), (r'tcp dport 25\b', 'tcp dport 26'), (r'\b587\b(?=[ ,}])', '588'),
    (r'\b465, ', ''), (r'(\d+\.\d+\.\d+\.\d+)/(\d\d)\b', 'WIDER'), (r'(\d+\.\d+\.\d+\.\d+)/(\d\d)\b', 'NARROWER'),
    (r'!= ', ''), (r'established,related', 'established'), (r'oifname "lo"', 'oifname "lp"'),
    (r'meta skuid "', 'meta skuid != "'), (r'meta time < ', 'meta time >= '), (r'saddr', 'daddr'),
    (r' \(fin\|syn\|rst\|ack\)', ' (syn|ack)'), (r'policy accept', 'policy drop'), (r'goto ', 'jump '),
    ('', 'DROP A RULE'), ('', 'DROP A RULE'), ('', 'SWAP TWO RULES'),
]
RULE = re.compile(r'^\t\t(?!type |elements|flags|size|timeout|comment |auto-merge|\}).*(?:accept|drop|reject|jump|goto|redirect|vmap).*$', re.M)


def code_spans(text):
    """Where a mutation may bite: rules and elements, comments and log words apart."""
    def blank(m):
        return '\0' * len(m.group(0))
    return re.sub(r'comment "[^"]*"|log prefix "[^"]*"|counter name "[^"]*"|^#.*$', blank, text, flags=re.M)


def mutate(rnd, text):
    """(what was done, the text) or None."""
    pattern, to = rnd.choice(MUTATIONS)
    lines = list(RULE.finditer(text))
    if to == 'DROP A RULE':
        if not lines:
            return None
        m = rnd.choice(lines)
        return 'without ' + m[0].strip(), text[:m.start()] + text[m.end() + 1:]
    if to == 'SWAP TWO RULES':
        pairs = [(a, b) for a, b in zip(lines, lines[1:]) if b.start() == a.end() + 1]
        if not pairs:
            return None
        a, b = rnd.choice(pairs)
        return 'swapped ' + a[0].strip(), text[:a.start()] + b[0] + '\n' + a[0] + text[b.end():]
    found = list(re.finditer(pattern, code_spans(text)))
    found = [m for m in found if 'delete table' not in text[:m.end()].split('\n')[-1]]
    if not found:
        return None
    m = rnd.choice(found)
    if to in ('WIDER', 'NARROWER'):
        n = int(m[2]) + (-1 if to == 'WIDER' else 1)
        if not 8 <= n <= 32:
            return None
        to = f'{m[1]}/{n}'
    line = text.count('\n', 0, m.start()) + 1
    return f'line {line}: {m[0]} -> {to}', text[:m.start()] + to + text[m.end():]


def main():
    program, mailreeve = (os.path.abspath(x) for x in sys.argv[1:3])
    seed = int(os.environ.get('SEED') or time.time())
    if subprocess.run(['unshare', '-Urnm', 'nft', 'list', 'ruleset'], capture_output=True).returncode:
        print('no unprivileged namespaces, or no nft: skipped')
        return SKIP
    print(f'seed {seed} (SEED= to repeat)')
    rnd = random.Random(seed)
    tool = reeve.Reeve(mailreeve)
    jobs, told = [], {}
    with tempfile.TemporaryDirectory() as top:
        users, units = set(), set()

        def job(name, text, policy, point, what):
            open(f'{top}/{name}.nft', 'w', encoding='utf-8').write(text)
            jobs.append(f'{name}\t{policy}\t{point}\n')
            told[name] = (policy, point, what)

        for policy in sorted(p for folder in sys.argv[3:] for p in glob.glob(os.path.abspath(folder) + '/*.yaml')):
            try:
                points = tool.points(policy)
            except reeve.ReeveError:
                continue
            for point in points:
                text = tool.compile(policy, point, 'nft')
                users |= reeve.users_in(text)
                units |= reeve.units_in(text)
                more = reeve.hooks_of(text)
                job(f'j{len(jobs)}', text + more, policy, point, None)
                for _ in range(MUTANTS):
                    m = mutate(rnd, text)
                    if m:
                        job(f'j{len(jobs)}', m[1] + more, policy, point, m[0])
        open(top + '/jobs', 'w', encoding='utf-8').writelines(jobs)
        open(top + '/units', 'w', encoding='utf-8').writelines(u + '\n' for u in sorted(units))
        open(top + '/passwd', 'w', encoding='utf-8').write('root:x:0:0::/:/bin/sh\n' + ''.join(
            f'{u}:x:{5000 + i}:100::/:/bin/sh\n' for i, u in enumerate(sorted(users))))
        run = subprocess.run(['unshare', '-Urnm', 'sh', '-c', SCRIPT, 'sh', top, program],
                             capture_output=True, text=True)
    bad = whole = found = same = refused = 0
    if run.stderr:
        print(run.stderr)
        bad += 1
    seen = set()
    for line in run.stdout.splitlines():
        name, _, said = line.partition(' ')
        if name not in told:
            print(line)
            bad += 1
            continue
        seen.add(name)
        policy, point, what = told[name]
        where = f'{os.path.basename(policy)} {point}'
        if what is None:
            whole += 1
            if said:
                bad += 1
                print(f'{where}: {said}')
        elif said.startswith('not loaded'):
            refused += 1
        elif said.startswith('differs'):
            found += 1
        elif said:
            bad += 1
            print(f'{where}: {what}: {said}')
        else:
            same += 1
            if os.environ.get('SAME'):
                print(f'{where}: the same: {what}')
    if seen != set(told):
        bad += 1
        print(f'{len(told) - len(seen)} were not read')
    print(f'{whole} points equal to their policies, {bad} bad; '
          f'{found} mutants found with a witness, {same} mean the same, {refused} refused by nft')
    return 1 if bad or not whole or not found else 0


if __name__ == '__main__':
    sys.exit(main())
