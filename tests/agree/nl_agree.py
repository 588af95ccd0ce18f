#!/usr/bin/env python3
"""nft text, nft JSON and lib/nl's netlink of one plan make the same ruleset.

Each plan is loaded three ways into an empty network namespace, without privileges. Compared:
`nft -s list ruleset`, the bytecode of every rule as nft shows it (--debug=netlink) and as
lib/nl reads it, sets and chains as lib/nl reads them. Set aside: generation names, the stamp,
the order of creation, and comments where JSON has none. Then the netlink form is put over
itself under other generation names, over another plan's rules, made from a plan that differs in
single elements by changing these in place, and taken away again; a table of somebody else's
must stay as it is.

    nl_agree.py NL_LOAD NL_PLANS OUT_FORMS [MAILREEVE FOLDER ...]

NL_PLANS makes a plan of every feature and random rules, OUT_FORMS the plans of random
policies; the shipped policies in the FOLDERs are compiled by MAILREEVE. SEED= repeats a run.
"""
import glob
import os
import re
import subprocess
import sys
import tempfile
import time

SKIP = 77
RULES, FORMS = int(os.environ.get('COUNT', '24')), int(os.environ.get('COUNT', '12'))

# Users that policies name; the same numbers for nft and for us.
PASSWD = 'root:x:0:0::/:/bin/sh\ndaemon:x:1:1::/:/bin/sh\n'

SCRIPT = r'''
cd "$1"; load=$2
mount --bind passwd /etc/passwd || exit 1
export TZ=UTC
show() {
    nft -s list ruleset >$1.list
    nft --debug=netlink list ruleset >$1.debug
    "$load" --show >$1.show
}
clean() { nft flush ruleset; nft -f foreign.nft; }
fail() { echo "$1 $2: $(tr '\n' ' ' <err)"; }
for plan in *.plan; do
    n=${plan%.plan}
    clean
    if ! nft -f $n.nft 2>err; then fail $n text; continue; fi
    show $n.text
    if [ -e $n.json ]; then
        clean
        nft -j -f $n.json 2>err || fail $n json
        show $n.json
    fi
    clean
    "$load" $plan 2>err || fail $n netlink
    show $n.netlink
    "$load" --again $plan 2>err || fail $n again
    # other names, and a stage of many small transactions
    "$load" --salt 7 --most 140000 $plan 2>err || fail $n salt
    show $n.salt
    # over the rules of the plan before it in the same table
    clean
    table=$(sed -n 's/^table inet \([a-z-]*\).*/\1/p' $n.nft | head -1 | tr - _)
    eval last=\$last_$table
    [ -z "$last" ] || "$load" $last 2>err || fail $n last
    "$load" $plan 2>err || fail $n over
    show $n.over
    # by changes of elements in place, from a plan that is nearly this one
    for k in 0 1 2; do
        "$load" --near $k $plan >near 2>err || break
        clean
        "$load" near 2>err || fail $n near
        "$load" --old near $plan 2>err || fail $n edit
        if [ "$(cat err)" = "in place" ]; then
            echo "PLACE $n"
            show $n.edit$k
            "$load" --again $plan 2>err || fail $n edited-again
            # there and back; taken away; replaced
            case $k in
            0) "$load" --old $plan near 2>err || fail $n back
               "$load" --again near 2>err || fail $n back-again;;
            1) "$load" --remove $plan 2>err || fail $n edited-remove;;
            2) "$load" --salt 9 near 2>err || fail $n edited-salt;;
            esac
            ! nft list counters | grep -q mailreeve/in/ || echo "$n: a counter was left ($k)"
        else
            echo "STAGE $n $(tail -1 err)"
        fi
    done
    "$load" $plan 2>err || fail $n last
    "$load" --remove $plan 2>err || fail $n remove
    nft -s list ruleset >$n.gone
    eval last_$table=$plan
done
clean
nft -s list ruleset >foreign.list
'''

FOREIGN = '''table inet foreign {
\tset s {
\t\ttype ipv4_addr
\t\tflags interval
\t\telements = { 10.0.0.0/8 }
\t}
\tchain c {
\t\ttype filter hook forward priority 10; policy accept;
\t\tip saddr @s counter drop comment "of somebody else"
\t}
}
'''

GENERATION = re.compile(r'(?<=[\w.-])/[0-9a-f]{8}\b')


def plain(text):
    return GENERATION.sub('', text)


def blocks(path, comments):
    """A listing as {table: sorted blocks}."""
    text = plain(open(path, encoding='utf-8', errors='surrogateescape').read())
    text = re.sub(r'\tcounter mailreeve/(?:stamp|in/\S+) \{.*?\n\t\}\n', '', text, flags=re.S)
    if not comments:
        text = re.sub(r'^\t+comment "[^"]*"\n', '', text, flags=re.M)
    text = re.sub(r'\{ ([^{}\n]*, [^{}\n]*) \}',
                  lambda m: '{ ' + ', '.join(sorted(m[1].split(', '))) + ' }', text)
    out = {}
    for body in re.split(r'^(?=table )', text, flags=re.M):
        if body:
            out[body.split()[2]] = sorted(re.findall(r'^\t\S.*?^\t\}\n', body, flags=re.M | re.S))
    return out


def rules(lines, head):
    """Groups lines into {(table, chain): [rule, ...]} by what head() says of each."""
    out, now = {}, None
    for line in lines:
        key = head(line)
        if key is not None:
            now = []
            out.setdefault(key, []).append(now)
        elif now is not None and line.startswith('  '):
            now.append(re.sub(r'__(set|map)\d+', '__set', line))
        else:
            now = None
    return out


def debug(path):
    def head(line):
        m = re.match(r'^(\w+) (\S+) ([^@\s]\S*) \d+( \d+)?\s*$', line)
        return m and (m[2], m[3])
    return rules(plain(open(path, encoding='utf-8', errors='surrogateescape').read()).split('\n'), head)


def shown(path, comments):
    """What lib/nl reads: ({chain: rules}, other things)."""
    lines = plain(open(path, encoding='utf-8', errors='surrogateescape').read()).split('\n')

    def head(line):
        m = re.match(r'^rule (\S+) (\S+) comment (.*)$', line)
        return m and (m[1], m[2], m[3] if comments else '')
    things = [x for x in lines if re.match('(table|object|set|chain) ', x) and
              '/stamp' not in x and ' mailreeve/in/' not in x and ' __' not in x]
    # a listing by nft of an interval set has an end at the lowest address too
    ends = sorted(x for x in lines if x.startswith('element ') and ' __' not in x and
                  not re.search(r' 0+ end$', x))
    return rules(lines, head), sorted(things), ends


def compile_shipped(mailreeve, policies, folder):
    names = set()
    for path in sorted(glob.glob(os.path.join(policies, '*.yaml'))):
        done = subprocess.run([mailreeve, 'points', path], capture_output=True, text=True)
        for line in done.stdout.split('\n'):
            point = line.split()[0] if line.split() else None
            if not point:
                continue
            n = f'shipped-{os.path.basename(path)[:-5]}-{point}'
            for form, end in (('nft', 'nft'), ('json', 'json'), ('plan', 'plan')):
                run = subprocess.run([mailreeve, 'compile', '--no-prove', path, '--point', point, '--to', form],
                                     capture_output=True)
                if run.returncode == 0:
                    open(os.path.join(folder, f'{n}.{end}'), 'wb').write(run.stdout)
            names.add(n)
    return names


def make_cgroups(paths):
    """Makes the control groups that plans name, where we may; gives those it made."""
    made = []
    for path in paths:
        for unit in re.findall(r'socket cgroupv2 level \d+ "([^"]*)"', open(path, encoding='utf-8').read()):
            at = '/sys/fs/cgroup'
            for part in unit.split('/'):
                at += '/' + part
                if os.path.isdir(at):
                    continue
                try:
                    os.mkdir(at)
                except OSError:
                    break
                made.append(at)
    return made


def main():
    load, plans, forms = (os.path.abspath(x) for x in sys.argv[1:4])
    seed = os.environ.get('SEED') or str(int(time.time()))
    if subprocess.run(['unshare', '-Urnm', 'nft', 'list', 'ruleset'], capture_output=True).returncode:
        print('no unprivileged namespaces, or no nft: skipped')
        return SKIP
    print(f'seed {seed} (SEED= to repeat)')
    bad = checked = 0

    def say(text):
        nonlocal bad
        bad += 1
        if bad <= 10:
            print(text)

    with tempfile.TemporaryDirectory() as top:
        at = os.path.join(top, 'plans')
        other = os.path.join(top, 'forms')
        os.mkdir(at)
        os.mkdir(other)
        subprocess.run([plans, at, seed, str(RULES)], check=True)
        subprocess.run([forms, other, seed, str(FORMS)], check=True)
        for plan in glob.glob(other + '/*.plan'):
            n = os.path.basename(plan)[:-5]
            os.rename(plan, f'{at}/policy-{n}.plan')
            for end in ('nft', 'json'):
                if os.path.exists(f'{other}/{n}.all.{end}'):
                    os.rename(f'{other}/{n}.all.{end}', f'{at}/policy-{n}.{end}')
        shipped = set()
        for policies in sys.argv[5:]:
            shipped |= compile_shipped(sys.argv[4], policies, at)
        names = sorted(os.path.basename(x)[:-5] for x in glob.glob(at + '/*.plan'))
        users = set()
        for n in names:
            text = open(f'{at}/{n}.nft', encoding='utf-8').read()
            for line in re.findall(r'skuid (?:!= )?(.*)', text):
                users.update(u for u in re.findall(r'"([^"]+)"', line.split(' comment ')[0].split(' log ')[0]))
        with open(at + '/passwd', 'w', encoding='utf-8') as f:
            f.write(PASSWD + ''.join(f'{u}:x:{5000 + i}:100::/:/bin/sh\n' for i, u in
                                     enumerate(sorted(users - {'root', 'daemon'}))))
        open(at + '/foreign.nft', 'w', encoding='utf-8').write(FOREIGN)
        made = make_cgroups(f'{at}/{n}.nft' for n in names)
        try:
            run = subprocess.run(['unshare', '-Urnm', 'sh', '-c', SCRIPT, 'sh', at, load],
                                 capture_output=True, text=True)
        finally:
            for path in reversed(made):
                os.rmdir(path)
        not_here = set()
        places, stages = 0, {}
        for line in run.stdout.split('\n'):
            if 'cgroupv2 path fails' in line:
                not_here.add(line.split()[0])
            elif line.startswith('PLACE '):
                places += 1
            elif line.startswith('STAGE '):
                if os.environ.get('SHOW'):
                    print(line)
                why = line.split(' ', 2)[2]
                stages[why] = stages.get(why, 0) + 1
            elif line:
                say(line)
        if run.stderr:
            say(run.stderr)
        foreign = blocks(at + '/foreign.list', True)
        for n in names:
            base = f'{at}/{n}'
            if n in not_here or not os.path.exists(base + '.gone'):
                if n not in not_here:
                    say(f'{n}: was not loaded')
                continue
            for form in ('json', 'netlink', 'salt', 'over', 'edit0', 'edit1', 'edit2'):
                if not os.path.exists(f'{base}.{form}.list'):
                    continue
                comments = form != 'json'
                pairs = [('the listing', blocks(base + '.text.list', comments),
                          blocks(f'{base}.{form}.list', comments)),
                         ('bytecode by nft', debug(base + '.text.debug'), debug(f'{base}.{form}.debug'))]
                pairs += zip(('bytecode', 'sets and chains', 'elements'),
                             shown(base + '.text.show', comments), shown(f'{base}.{form}.show', comments))
                if not any(pairs[1][1].values()) and 'chain' in open(base + '.nft').read():
                    say(f'{n}: no bytecode was seen')
                for what, want, have in pairs:
                    checked += 1
                    if want == have:
                        continue
                    say(f'{n}: {what} of {form} is not that of text')
                    if bad <= 3:
                        want, have = (x if isinstance(x, dict) else {'': x} for x in (want, have))
                        for key in sorted(set(want) | set(have), key=str):
                            if want.get(key) != have.get(key):
                                print('  at', key)
                                print('   text', str([x for x in want.get(key, []) if x not in have.get(key, [])])[:600])
                                print(f'   {form}', str([x for x in have.get(key, []) if x not in want.get(key, [])])[:600])
                                break
            left = blocks(base + '.gone', True)
            checked += 1
            if left.get('foreign') != foreign['foreign'] or any(left.get(t) for t in left if t != 'foreign'):
                say(f'{n}: removal left or took something: {str(left)[:600]}')
        for n in sorted(not_here):
            print(f'not here, for its control groups are not: {n}')
        if len(sys.argv) > 5 and not shipped - not_here:
            say('no shipped policy was compared')
        if not places:
            say('no plan was made in place')
        print(f'{places} changes in place; staged instead: '
              + ('; '.join(f'{n} {why}' for why, n in sorted(stages.items())) or 'none'))
        print(f'{len(names) - len(not_here)} plans, {checked} comparisons, {bad} differ')
        return 1 if bad or not checked else 0


if __name__ == '__main__':
    sys.exit(main())
