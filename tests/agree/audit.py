#!/usr/bin/env python3
"""What `mailreeve audit` finds in rulesets that others have written.

    audit.py MAILREEVE FOLDER...

foreign/*.nft against examples/blocked-campus.yaml: each hole with its kind, a packet and the
rule that made it; each packet is really sent, by one who is root and by one who is not, and meets
the fate that was told. What mailreeve itself compiles has none. Then the kernel of this namespace,
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
    'firewall-zones': [
        ('allows', 'tcp 198.51.100.1 -> 203.0.113.1:25, in by dmz0, out by campus0', 'filter_FWD_servers_allow', 1),
        ('unknown', 'tcp 2001:db8:100::1 -> [2001:db8::2]:25, in by dmz0, out by campus0', 'mangle_PREROUTING', 2)],
    'hand': [
        ('allows', 'tcp 198.51.100.25 -> 203.0.113.1:25, in by eth0, mark 0, to kind 1', 'tcp_in', 1),
        ('allows', 'tcp 198.51.100.25 -> 203.0.113.1:25, in by lan0, to kind 1', 'tcp_in', 1),
        ('may', 'tcp 198.51.100.25 -> 203.0.113.1:25, in by eth0, mark 0, to kind 1', 'third', 1),
        ('may', 'tcp 198.51.100.25 -> 203.0.113.1:25, in by lan0, to kind 1', 'third', 1)],
}
# the same of foreign/*.iptables and *.ip6tables, which iptables-nft loads
FOUND_TABLES = {
    'engine': [('allows', 'tcp 198.51.100.1 -> 203.0.113.1:25, in by engine0, out by eth1', 'FORWARD', 5),
               ('allows', 'tcp 198.51.100.1 -> 172.17.0.2:25, in by eth0, out by engine0', 'ENGINE', 1)],
    'campus': [('allows', 'tcp 198.51.100.11 -> 203.0.113.1:25', 'MAILOUT', 1),
               ('allows', 'tcp 198.51.100.1 -> 203.0.113.1:25, untracked', 'POSTROUTING', None),
               ('allows', 'tcp 2001:db8:100::1 -> [2001:db8::2]:25, untracked', 'FORWARD', None)],
    'services': [('allows', 'tcp 198.51.100.1 -> 10.96.0.25:25', None, None),
                 ('allows', 'tcp 2001:db8:100::1 -> [2001:db8::2]:25', None, None)],
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
    verdict(names >= set(FOUND), 'foreign/', f'holds {names}')
    for name in sorted(names - set(FOUND)):
        r = run(mailreeve, 'audit', '--replay', '--format', 'json', POLICY, str(HERE / f'foreign/{name}.nft'))
        verdict(r.returncode < 2 and not any(x['outcome'] == 'otherwise' for x in replays(r)) and
                any(x['outcome'] == 'as told' for x in replays(r)), f'audit --replay {name}.nft', r.stdout + r.stderr)
    for name, want in FOUND.items():
        path = str(HERE / f'foreign/{name}.nft')
        r = run(mailreeve, 'audit', '--format', 'json', POLICY, path)
        verdict(r.returncode == (1 if want else 0) and not r.stderr, f'audit {name}.nft',
                f'{r.returncode} {r.stderr}')
        if r.returncode < 2:
            verdict(told(r.stdout) == want, f'audit {name}.nft', told(r.stdout))
            lines = {s['line'] for x in json.loads(r.stdout)['regions'] for s in x['policy']['statements']}
            verdict(lines <= {11}, f'audit {name}.nft: the statement\'s line', lines)
        again = run(mailreeve, 'audit', '--replay', '--format', 'json', POLICY, path)
        verdict(again.returncode == r.returncode and told(again.stdout) == want and
                all(x['outcome'] == 'as told' for x in replays(again)), f'audit --replay {name}.nft',
                again.stdout + again.stderr)
        human = run(mailreeve, 'audit', POLICY, path)
        verdict(human.returncode == r.returncode and all(x[1] in human.stdout for x in want),
                f'audit {name}.nft for people', human.stdout)
        # The same rules in the kernel, asked by one who may.
        script = '"$1" -f "$3" && exec "$2" audit --format json "$4" live'
        live = run('sh', '-c', script, 'sh', 'nft', mailreeve, path, POLICY, inside=('unshare', '-Urn'))
        verdict(live.returncode == r.returncode and told(live.stdout) == want, f'audit live, {name}.nft',
                f'{live.returncode} {live.stdout} {live.stderr}')
        live = run('sh', '-c', script.replace('audit', 'audit --replay'), 'sh', 'nft', mailreeve, path, POLICY,
                   inside=('unshare', '-Urn'))
        verdict(live.returncode == r.returncode and
                all(x['outcome'] == 'as told' for x in replays(live)), f'audit --replay live, {name}.nft',
                f'{live.returncode} {live.stdout} {live.stderr}')


# Every way that a packet of a host can take, and what a witness can ask for.
WAYS = """table inet x {
	chain o {
		type filter hook output priority 0; policy accept;
		meta skuid 1001 tcp dport 25 drop
		meta skuid 0 tcp dport 465 drop
		meta mark 5 tcp dport 587 drop
		oifname "wan*" tcp dport 2525 reject
		tcp dport { 25, 587, 465 } ct state established accept
	}
	chain i {
		type filter hook input priority 0; policy drop;
		ct state established,related accept
		iifname "lo" accept
		tcp dport 25 ip saddr 10.0.0.0/8 accept
	}
	chain n {
		type nat hook output priority -100; policy accept;
		tcp dport 2526 redirect to :2525
	}
	chain f {
		type filter hook forward priority 0; policy drop;
		iifname "inside" oifname "inside" tcp dport 25 accept
		ct mark 7 ct state established tcp dport 25 accept
		tcp flags & (syn | ack) == syn tcp dport 465 accept
	}
}
"""


# A user that is nobody here, by number, and one that the ruleset does not speak of.
USERS = """table inet x {
	chain o {
		type filter hook output priority 0; policy accept;
		meta skuid 1001 tcp dport 25 accept
		tcp dport 25 drop
	}
}
"""
USERS_POLICY = """mailreeve: 1
name: h
networks:
  campus: {ranges: [10.0.0.0/8], families: ipv4}
points:
  host: {kind: host, outbound: {block: {ports: [smtp]}, otherwise: untouched}}
"""


def replays(r):
    return [x['replay'] for x in json.loads(r.stdout)['regions']]


def sent(mailreeve):
    policies = [(str(TOP / 'policies/cambridge-host.yaml'), 'server'),
                (str(TOP / 'examples/relay-farm.yaml'), 'host'),
                (str(TOP / 'policies/cambridge-institution.yaml'), 'firewall'),
                (str(TOP / 'policies/columbia-v3.yaml'), 'front')]
    seen = set()
    for policy, point in policies:
        for inside in ((), ('unshare', '-Ur')):
            r = run(mailreeve, 'audit', '--replay', '--format', 'json', '--at', point, policy, '-',
                    text=WAYS, inside=inside)
            verdict(r.returncode == 1 and not r.stderr, f'audit --replay {policy}', r.stderr)
            told_of = replays(r)
            for x, region in zip(told_of, json.loads(r.stdout)['regions']):
                verdict(x['outcome'] != 'otherwise', f'a packet sent, {policy}', region)
                seen.add((x['outcome'], x.get('packet')))
            verdict(sum(x['outcome'] == 'as told' for x in told_of) * 2 > len(told_of),
                    f'most packets are sent, {policy}', told_of)
    verdict({('as told', 'passed'), ('as told', 'refused')} <= seen, 'packets pass and are refused', seen)
    with tempfile.TemporaryDirectory() as d:
        policy = pathlib.Path(d) / 'users.yaml'
        policy.write_text(USERS_POLICY)
        for inside in ((), ('unshare', '-Ur')):
            r = run(mailreeve, 'audit', '--replay', '--format', 'json', str(policy), '-', text=USERS, inside=inside)
            one = [x['replay'] for x in json.loads(r.stdout)['regions'] if x['witness'].endswith('by user 1001')]
            verdict(one == [{'outcome': 'as told', 'packet': 'passed'}], 'sent by user 1001', r.stdout + r.stderr)
    r = run(mailreeve, 'audit', '--replay', POLICY, '-', text='table inet x {\n}\n')
    verdict(r.returncode == 1 and r.stdout.count('    replayed  passed, as told\n') == 2, 'for people', r.stdout)
    # what is translated takes an address of an interface, and the way of where it is sent
    for what in ('prerouting priority -100; dnat {} to {}', 'postrouting priority 100; masquerade',
                 'prerouting priority -100; redirect to :2525'):
        hook, _, act = what.partition('; ')
        rules = ''.join(f'\t\tmeta nfproto ipv{v} tcp dport 25 {act.format(ip, to)}\n' for v, ip, to in
                        ((4, 'ip', '10.244.1.5:2525'), (6, 'ip6', '[2001:db8:99::5]:2525')))
        r = run(mailreeve, 'audit', '--replay', '--format', 'json', POLICY, '-',
                text=f'table inet x {{\n\tchain y {{\n\t\ttype nat hook {hook};\n{rules}\t}}\n}}\n')
        verdict(r.returncode == 1 and [x['outcome'] for x in replays(r)].count('as told') >= 2 and
                not any(x['outcome'] == 'otherwise' for x in replays(r)),
                f'audit --replay, {act}', r.stdout + r.stderr)
    # 30 replays where 6 namespaces may be at once, each with two: none is left behind
    script = """echo 6 >/proc/sys/user/max_net_namespaces
        for i in $(seq 15); do
            tries=0
            until "$@" >/tmp/x.$$ 2>&1; grep -q 'replayed  passed, as told' /tmp/x.$$; do
                tries=$((tries + 1)); [ $tries -lt 50 ] || { cat /tmp/x.$$; exit 9; }; sleep 0.1
            done
        done; rm -f /tmp/x.$$"""
    r = run(mailreeve, 'audit', '--replay', POLICY, str(HERE / 'foreign/zones.nft'),
            inside=('unshare', '-Ur', 'sh', '-c', script, 'sh'))
    verdict(r.returncode == 0, 'namespaces are left behind', f'{r.returncode} {r.stdout} {r.stderr}')


def tables(mailreeve):
    """Rules with iptables' own matches, which nft can list and not load: asked live."""
    names = {p.stem for p in (HERE / 'foreign').glob('*.ip*tables')}
    verdict(names == set(FOUND_TABLES), 'foreign/', f'holds {names}')
    r = run('iptables-nft', '-A', 'FORWARD', '-p', 'tcp', '-m', 'multiport', '--dports', '1,3', inside=('unshare', '-Urn'))
    if r.returncode:
        print(f'rulesets of iptables are left out: {r.stderr.strip()}')
        return
    script = ('for v in ip ip6; do f=$1.${v}tables; [ ! -e "$f" ] || ${v}tables-nft-restore < "$f" || exit 9; done\n'
              'exec "$2" audit --format json "$3" live')
    for name, want in FOUND_TABLES.items():
        r = run('sh', '-c', script, 'sh', str(HERE / 'foreign' / name), mailreeve, POLICY, inside=('unshare', '-Urn'))
        verdict(r.returncode == 1 and not r.stderr and told(r.stdout) == want, f'audit live, {name}.iptables',
                f'{r.returncode} {told(r.stdout) if r.returncode < 2 else r.stdout} {r.stderr}')
        # a part of a hole that is a packet, really sent
        if name in ('engine', 'campus', 'services'):
            r = run('sh', '-c', script.replace('audit', 'audit --replay'), 'sh', str(HERE / 'foreign' / name), mailreeve,
                    POLICY, inside=('unshare', '-Urn'))
            verdict(r.returncode == 1 and any(x['outcome'] == 'as told' for x in replays(r)) and
                    not any(x['outcome'] == 'otherwise' for x in replays(r)), f'audit --replay live, {name}.iptables',
                    r.stdout + r.stderr)


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
    tables(mailreeve)
    sent(mailreeve)
    our_own(mailreeve, sys.argv[2:])
    refusals(mailreeve)
    print(f'{passed} passed, {failed} failed')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
