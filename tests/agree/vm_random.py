#!/usr/bin/env python3
"""Random rulesets and random packets: lib/vm, a naive interpreter, and the kernel.

Rulesets are random nft text (sets, maps, concatenations, jumps, marks, NAT, several
base chains and tables). Each is loaded into a network namespace without privileges,
and read in two ways: by vm_agree (lib/nl's decoding, lib/vm's diagram), and by the
interpreter below, which takes the bytecode as nft prints it and executes it byte by
byte for one packet at a time. Both must give each packet the same fate; where lib/vm
says that it cannot know, the interpreter's fate must be among those it names.

    vm_random.py VM_AGREE [--count N] [--packets N] [--send N]

--send N: N rulesets more, whose packets are really sent (tests/netns/rig.py).
"""
import argparse
import ipaddress
import os
import pathlib
import random
import re
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'netns'))

SKIP = 77
STATES = ['new', 'established', 'related', 'invalid', 'untracked']
STATE_BITS = {'new': 8, 'established': 2, 'related': 4, 'invalid': 1, 'untracked': 64}
HOOKS = ['forward', 'output', 'input']
PORTS = [22, 25, 26, 53, 80, 465, 587, 588, 993]
V4 = ['10.0.0.1', '10.0.0.2', '10.0.1.1', '10.1.0.1', '11.0.0.1', '11.0.0.5', '192.0.2.1', '198.51.100.7']
V6 = ['2001:db8::1', '2001:db8::2', '2001:db8:0:1::1', '2001:db8:1::1', '2001:db9::1', 'fd00::1']
NETS4 = ['10.0.0.0/8', '10.0.0.0/16', '10.0.0.0/24', '10.0.0.0/31', '11.0.0.0/28', '192.0.2.0/24', '0.0.0.0/1']
NETS6 = ['2001:db8::/32', '2001:db8::/64', '2001:db8:1::/48', '2000::/3', 'fd00::/8', '2001:db8::/127']
IFACES = ['lo', 'eth0', 'eth1', 'veth7', 'wan']
USERS = [0, 33, 1000, 1001, 65534]
MARKS = [0, 1, 2, 5, 0x10, 0x15]
NOW = 1795300000
DATES = [NOW - 86400, NOW - 1, NOW, NOW + 1, NOW + 86400]


# ---- random text ----------------------------------------------------------------------

class Text:
    """One random ruleset."""

    def __init__(self, rnd, plain):
        self.rnd, self.plain = rnd, plain     # plain: only what a probe of the rig knows
        self.bases = []                       # (family, table, chain, type, hook, prio, policy)
        self.out = []
        self.sets = {}
        for t in range(rnd.choice((1, 1, 2, 3))):
            self.table(f't{t}', rnd.choice(('inet', 'inet', 'inet', 'ip', 'ip6')))
        self.text = '\n'.join(self.out) + '\n'

    def some(self, pool, most=4):
        return self.rnd.sample(pool, self.rnd.randint(1, min(most, len(pool))))

    def apart(self, nets, most=4):
        got = []
        for n in self.some(nets, most + 2):
            net = ipaddress.ip_network(n)
            if not any(net.overlaps(g) for g in got):
                got.append(net)
        return [str(g) for g in got[:most]]

    def table(self, name, family):
        r = self.rnd
        self.family, self.n = family, 0
        body, sets = [], []
        fams = {'inet': [4, 6], 'ip': [4], 'ip6': [6]}[family]
        self.fams = fams
        self.named = {}
        for f in fams:
            word, nets, hosts = ('ipv4_addr', NETS4, V4) if f == 4 else ('ipv6_addr', NETS6, V6)
            for kind in ('hash', 'range', 'cat', 'hashcat'):
                if r.random() < 0.6:
                    continue
                s = f's{f}{kind}'
                if kind == 'hash':
                    sets.append((s, f'type {word}', '', self.some(hosts)))
                elif kind == 'range':
                    sets.append((s, f'type {word}', 'flags interval', self.apart(nets)))
                elif kind == 'cat':
                    sets.append((s, f'type {word} . inet_service', 'flags interval', list(dict.fromkeys(
                        f'{a} . {r.choice(("25", "20-30", "587", "465-588"))}' for a in self.apart(nets)))))
                else:
                    sets.append((s, f'type {word} . inet_service', '', list(dict.fromkeys(
                        f'{r.choice(hosts)} . {r.choice(PORTS)}' for _ in range(4)))))
                self.named[(f, kind)] = s
        nsub = r.randint(0, 4)
        self.subs = []
        chains = []
        for i in range(nsub):
            rules = [self.rule(None) for _ in range(r.randint(1, 4))]
            chains.append((f'sub{i}', None, rules))
            self.subs.append(f'sub{i}')
        hooks = r.sample(['forward', 'output', 'input', 'prerouting', 'postrouting'], r.randint(1, 4))
        if not {'forward', 'output', 'input'} & set(hooks):
            hooks.append(r.choice(HOOKS))
        for hook in hooks:
            for _ in range(r.choice((1, 1, 2))):
                prio = r.choice((-300, -150, -10, 0, 5, 10)) if hook in ('prerouting', 'output') else r.choice((-150, -10, 0, 5))
                while any(b[4] == hook and b[5] == prio for b in self.bases):
                    prio += 1
                policy = r.choice(('accept', 'accept', 'drop'))
                c = f'b{len(self.bases)}'
                rules = [self.rule((hook, prio)) for _ in range(r.randint(1, 6))]
                if self.plain:
                    policy = 'accept' if 'routing' in hook or prio < -200 else policy
                    rules = [] if 'routing' in hook or prio < -200 else ['ct state established,related accept',
                        'meta l4proto { icmp, icmpv6 } accept'] + rules
                chains.append((c, f'type filter hook {hook} priority {prio}; policy {policy};', rules))
                self.bases.append((family, name, c, 'filter', hook, prio, policy))
        if family == 'inet' and r.random() < 0.4 and not any(b[3] == 'nat' for b in self.bases):
            c = f'b{len(self.bases)}'
            rules = [f'tcp dport {r.choice((25, 26, 80))} {r.choice(("", "ip daddr 10.0.0.0/8", "ip6 saddr 2001:db8::/32"))} redirect to :587' for _ in range(r.randint(1, 2))]
            chains.append((c, 'type nat hook output priority -100; policy accept;', rules))
            self.bases.append((family, name, c, 'nat', 'output', -100, 'accept'))
        self.out.append(f'table {family} {name} {{')
        for s, kind, flags, elements in sets:
            self.out.append(f'\tset {s} {{\n\t\t{kind}' + (f'\n\t\t{flags}' if flags else '') +
                            f'\n\t\telements = {{ {", ".join(elements)} }}\n\t}}')
        for c, base, rules in chains:
            self.out.append(f'\tchain {c} {{')
            if base:
                self.out.append('\t\t' + base)
            self.out += ['\t\t' + x for x in rules]
            self.out.append('\t}')
        self.out.append('}')

    def match(self):
        r = self.rnd
        f = r.choice(self.fams)
        ip, hosts, nets = ('ip', V4, NETS4) if f == 4 else ('ip6', V6, NETS6)
        way = r.choice(('saddr', 'daddr'))
        neg = r.choice(('', '', '!= '))
        kinds = ['host', 'net', 'set', 'list', 'port', 'port', 'ports', 'proto', 'cat', 'anoncat', 'flags', 'range', 'mask']
        if not self.plain:
            kinds += ['state', 'state', 'iif', 'oif', 'uid', 'time', 'mark', 'markmask', 'sport', 'ctport', 'ctmark',
                      'fib', 'cpu', 'nf', 'th', 'uids', 'dscp', 'statevmap']
        k = r.choice(kinds)
        if k == 'host':
            return f'{ip} {way} {neg}{r.choice(hosts)}'
        if k == 'net':
            return f'{ip} {way} {neg}{r.choice(nets)}'
        if k == 'set':
            s = self.named.get((f, r.choice(('hash', 'range'))))
            return f'{ip} {way} {neg}@{s}' if s else f'{ip} {way} {r.choice(nets)}'
        if k == 'list':
            return f'{ip} {way} {neg}{{ {", ".join(self.apart(nets) if r.random() < .5 else self.some(hosts))} }}'
        if k == 'range':
            a, b = sorted(r.sample(hosts, 2), key=ipaddress.ip_address)
            return f'{ip} {way} {neg}{a}-{b}'
        if k == 'mask':
            return 'ip saddr & 0.0.0.255 == 0.0.0.1' if f == 4 else 'ip6 daddr & ffff:ffff:: == 2001:db8::'
        if k == 'port':
            return f'{r.choice(("tcp", "tcp", "udp"))} dport {neg}{r.choice(PORTS)}'
        if k == 'ports':
            return r.choice((f'tcp dport {neg}{{ {", ".join(map(str, self.some(PORTS)))} }}', f'tcp dport {neg}20-30',
                             f'tcp dport {r.choice(("<", ">", "<=", ">="))} {r.choice(PORTS)}'))
        if k == 'sport':
            return f'tcp sport {neg}{r.choice(PORTS)} tcp dport {r.choice(PORTS)}'
        if k == 'proto':
            return r.choice(('meta l4proto tcp', 'meta l4proto { tcp, udp }', 'meta l4proto != udp',
                             'ip protocol tcp' if f == 4 else 'ip6 nexthdr udp'))
        if k == 'cat':
            s = self.named.get((f, r.choice(('cat', 'hashcat'))))
            if s:
                return f'{ip} {way} . tcp dport {neg}@{s}'
            return 'meta l4proto tcp'
        if k == 'anoncat':
            return f'tcp dport . {ip} {way} {{ {", ".join(dict.fromkeys(f"{r.choice(PORTS)} . {r.choice(hosts)}" for _ in range(3)))} }}'
        if k == 'flags':
            return r.choice(('tcp flags syn / syn,ack', 'tcp flags syn / fin,syn,rst,ack', 'tcp flags & (fin|syn|rst|ack) != syn',
                             'tcp flags rst' if not self.plain else 'tcp flags syn'))
        if k == 'state':
            return 'ct state ' + r.choice(('new', 'established,related', 'invalid', '!= new', '{ new, untracked }'))
        if k == 'statevmap':
            return 'ct state { established, related, invalid }'
        if k == 'iif':
            return f'iifname {neg}"{r.choice(IFACES + ["eth*", "v*"])}"'
        if k == 'oif':
            return f'oifname {neg}' + r.choice((f'"{r.choice(IFACES)}"', '{ "lo", "wan" }', '"eth*"'))
        if k == 'uid':
            return f'meta skuid {neg}{r.choice(USERS)}'
        if k == 'uids':
            return r.choice(('meta skuid { 33, 1000 }', 'meta skuid 500-1000', 'meta skuid >= 1000'))
        if k == 'time':
            return f'meta time {r.choice(("<", ">="))} {r.choice(DATES)}'
        if k == 'mark':
            return f'meta mark {neg}{r.choice(MARKS)}'
        if k == 'markmask':
            return f'meta mark & {r.choice(("0xf", "0xf0", "0xffffff00"))} == {r.choice((0, 0x10))}'
        if k == 'ctmark':
            return f'ct mark {neg}{r.choice(MARKS)}'
        if k == 'ctport':
            return f'tcp dport {r.choice(PORTS)} ct original proto-dst {r.choice(PORTS)}'
        if k == 'fib':
            return f'fib daddr type {neg}{r.choice(("local", "unicast", "broadcast"))}'
        if k == 'cpu':
            return f'meta cpu {neg}1'
        if k == 'nf':
            return f'meta nfproto {r.choice(("ipv4", "ipv6"))}'
        if k == 'th':
            return f'th dport {neg}{r.choice(PORTS)}'
        return f'{ip} dscp {neg}cs1'

    def matches(self, base):
        while True:
            m = [self.match() for _ in range(self.rnd.choice((0, 1, 1, 2, 3)))]
            if self.family in ('ip', 'ip6') and any('nfproto' in x for x in m):
                continue
            if base and base[0] == 'prerouting' and any('oif' in x for x in m):
                continue
            if base and base[0] == 'input' and any('oif' in x for x in m):
                continue
            if base and base[0] in ('postrouting', 'output') and any('iif' in x for x in m):
                continue
            if base and base[0] not in ('prerouting', 'input', 'output', 'forward') and any('fib' in x for x in m):
                continue
            if not base and any(w in x for x in m for w in ('iif', 'oif', 'fib')):
                continue
            return ' '.join(m)

    def rule(self, base):
        """A rule that nft takes: of one family and one protocol."""
        while True:
            text = self.any_rule(base)
            v4 = bool(re.search(r'\bip (saddr|daddr|protocol|dscp)|nfproto ipv4', text))
            v6 = bool(re.search(r'\bip6 |nfproto ipv6', text))
            l4 = len(set(re.findall(r'\b(tcp|udp)(?= (?:dport|sport|flags))', text)))
            l4 += bool(re.search(r'l4proto|ip protocol|nexthdr', text))
            if v4 + v6 <= 1 and l4 <= 1 and (self.family == 'inet' or 'icmpx' not in text):
                return text

    def any_rule(self, base):
        r = self.rnd
        m = self.matches(base)
        acts = ['accept', 'accept', 'drop', 'drop', 'counter', 'return', 'continue']
        if not base or base[0] in ('input', 'forward', 'output'):
            if base:
                acts += ['reject', 'reject with icmpx admin-prohibited']
        if self.plain and base and base[0] in HOOKS:
            acts += ['accept', 'accept', 'reject']
        if self.subs:
            acts += [f'jump {r.choice(self.subs)}', f'jump {r.choice(self.subs)}', f'goto {r.choice(self.subs)}']
            acts.append('PORTMAP')
            acts.append('ADDRMAP')
        if not self.plain:
            acts += [f'meta mark set {r.choice(MARKS)}', f'ct mark set {r.choice(MARKS)}',
                     'meta mark set meta mark | 0x10', 'meta mark set tcp dport map { 25 : 1, 587 : 2 }',
                     'limit rate 5/second accept', 'limit rate over 5/second drop', 'log prefix "x" accept', 'quota over 10 mbytes drop']
            if base and base[0] in ('prerouting', 'output') and base[1] < -200:
                acts.append('notrack')
        act = r.choice(acts)
        if act == 'PORTMAP':
            act = f'tcp dport vmap {{ 25 : {r.choice(("accept", "drop"))}, 465-587 : jump {r.choice(self.subs)} }}'
        elif act == 'ADDRMAP':
            f = r.choice(self.fams)
            nets = self.apart(NETS4 if f == 4 else NETS6, 3)
            act = (f'{"ip" if f == 4 else "ip6"} saddr vmap {{ ' +
                   ', '.join(f'{n} : {r.choice(("accept", "drop", "return", "goto " + r.choice(self.subs)))}' for n in nets) + ' }')
        return f'{m} {act}'.strip()


# ---- random packets --------------------------------------------------------------------

def packet(rnd):
    v4 = rnd.random() < 0.6
    hosts = V4 if v4 else V6
    p = {'hook': rnd.choice(HOOKS), 'proto': rnd.choice((6, 6, 6, 17, 1 if v4 else 58)), 'state': rnd.choice(['new'] * 3 + STATES),
         'v4': v4, 'src': ipaddress.ip_address(rnd.choice(hosts)), 'dst': ipaddress.ip_address(rnd.choice(hosts)),
         'sport': rnd.choice(PORTS), 'dport': rnd.choice(PORTS), 'flags': rnd.choice((2, 2, 2, 0x12, 0x10, 4, 0x42)),
         'user': rnd.choice(USERS), 'date': rnd.choice(DATES), 'mark': rnd.choice(MARKS), 'ctmark': rnd.choice(MARKS),
         'ctport': rnd.choice(PORTS), 'cpu': rnd.choice((0, 1)), 'lo': rnd.random() < 0.15, 'seed': rnd.random()}
    p['iif'] = 'lo' if p['lo'] else rnd.choice(IFACES[1:])
    p['oif'] = 'lo' if p['lo'] else rnd.choice(IFACES[1:])
    p['dsttype'] = {'forward': rnd.choice((1, 5)), 'input': rnd.choice((2, 3)), 'output': rnd.choice((1, 2))}[p['hook']]
    if p['state'] == 'new':
        p['ctport'] = p['dport']
    return p


def name_number(s):
    return int.from_bytes(s.encode().ljust(16, b'\0'), 'big')


def words(p):
    """The packet for vm_agree."""
    n = 4 if p['v4'] else 6
    x = {'hook': HOOKS.index(p['hook']), 'lo': int(p['lo']), 'proto': p['proto'], 'state': STATES.index(p['state']),
         'syn': int(p['proto'] == 6 and p['flags'] & 0x17 == 2), 'dport': p['dport'], 'family': 1 if p['v4'] else 2,
         f'src{n}': hex(int(p['src'])), f'dst{n}': hex(int(p['dst'])), 'user': p['user'], 'date': p['date'],
         'sport': p['sport'], 'flags': p['flags'], 'iif': hex(name_number(p['iif'])), 'oif': hex(name_number(p['oif'])),
         'mark': p['mark'], 'ctmark': p['ctmark'], 'ctport': p['ctport'], 'dsttype': p['dsttype']}
    return ' '.join(f'{k}={v}' for k, v in x.items())


# ---- the naive interpreter ---------------------------------------------------------------

class Break(Exception):
    pass


def raw(word_list):
    return b''.join(int(w, 16).to_bytes(4, 'little') for w in word_list)


class Dump:
    """What `nft --debug=netlink list ruleset` prints above the listing."""

    def __init__(self, text):
        self.sets, self.rules = {}, {}
        rule = None
        head = None
        for line in text.split('\n'):
            m = re.match(r'(inet|ip|ip6) (\S+) @(\S+)$', line)
            if m:
                head = self.sets.setdefault(m.groups(), [])
                continue
            m = re.match(r'\telement (.*?)\s*: (.*?)(\d) \[end\]', line)
            if m and head is not None:
                low, _, high = m[1].partition('  - ')
                head.append((raw(low.split()), raw(high.split()) if high else None, m[2].strip(), int(m[3])))
                continue
            m = re.match(r'(inet|ip|ip6) (\S+) (\S+) \d+( \d+)*\s*$', line)
            if m:
                rule = []
                self.rules.setdefault((m[1], m[2], m[3]), []).append(rule)
                continue
            m = re.match(r'  \[ (.*) \]', line)
            if m and rule is not None:
                rule.append(m[1])
            if line.startswith('table '):
                break


class Machine:
    """One packet through all of it. Where chance decides, `coins` does."""

    def __init__(self, dump, bases, intervals, p, coins):
        self.d, self.bases, self.intervals, self.p, self.coins = dump, bases, intervals, dict(p), list(coins)
        self.asked = 0
        self.nat = False

    def coin(self):
        self.asked += 1
        return self.coins.pop(0) if self.coins else False

    def run(self):
        p = self.p
        path = {'forward': ['prerouting', 'forward', 'postrouting'], 'output': ['output', 'postrouting'],
                'input': ['prerouting', 'input']}[p['hook']]
        self.orig_dport = p['dport']
        for hook in path:
            for b in sorted((b for b in self.bases if b[4] == hook), key=lambda b: b[5]):
                family, table, chain, kind, _, prio, policy = b
                if (family == 'ip' and not p['v4']) or (family == 'ip6' and p['v4']):
                    continue
                if kind == 'nat' and (p['state'] not in ('new', 'related') or p.get('notrack')):
                    continue
                self.hook, self.early = hook, hook in ('prerouting', 'output') and prio < -200
                v = self.chain(family, table, chain)
                if v in (None, 'return'):
                    v = policy
                if v != 'accept':
                    return v
        return 'capture' if self.nat else 'pass'

    def chain(self, family, table, chain):
        for rule in self.d.rules.get((family, table, chain), []):
            v = self.rule(family, table, rule)
            if v is None or v == 'continue':
                continue
            if v.startswith('jump '):
                v = self.chain(family, table, v[5:])
                if v in (None, 'return'):
                    continue
                return v
            if v.startswith('goto '):
                return self.chain(family, table, v[5:]) or 'return'
            return v
        return None

    def rule(self, family, table, rule):
        self.reg = bytearray(80)
        self.family, self.table = family, table
        try:
            for e in rule:
                v = self.one(e)
                if v:
                    return v
        except Break:
            pass
        return None

    @staticmethod
    def at(reg):
        reg = int(reg)
        return (reg - 1) * 16 if reg < 8 else (reg - 8) * 4

    def put(self, reg, data):
        a = self.at(reg)
        data = data + bytes(-len(data) % 4)
        self.reg[a:a + len(data)] = data

    def get(self, reg, n):
        a = self.at(reg)
        return bytes(self.reg[a:a + n])

    def header(self, base):
        p = self.p
        noise = random.Random(p['seed'])
        if base == 'network':
            if p['v4']:
                h = bytearray(noise.randbytes(20))
                h[6] &= 0xc0
                h[7] = 0
                h[9] = p['proto']
                h[12:16], h[16:20] = p['src'].packed, p['dst'].packed
            else:
                h = bytearray(noise.randbytes(40))
                h[6] = p['proto']
                h[8:24], h[24:40] = p['src'].packed, p['dst'].packed
        else:
            h = bytearray(noise.randbytes(20))
            if p['proto'] in (6, 17):
                h[0:4] = p['sport'].to_bytes(2, 'big') + p['dport'].to_bytes(2, 'big')
            if p['proto'] == 6:
                h[13] = p['flags']
        return h

    def one(self, e):
        p = self.p
        if ' load ' in e:
            self.name_load = False
        m = re.match(r'payload load (\d+)b @ (\w+) header \+ (\d+) => reg (\d+)', e)
        if m:
            n, o = int(m[1]), int(m[3])
            self.put(m[4], bytes(self.header(m[2])[o:o + n]))
            return None
        m = re.match(r'meta load (\w+) => reg (\d+)', e)
        if m:
            return self.meta(m[1], m[2])
        m = re.match(r'meta set mark with reg (\d+)', e)
        if m:
            p['mark'] = int.from_bytes(self.get(m[1], 4), 'little')
            return None
        m = re.match(r'ct set mark with reg (\d+)', e)
        if m:
            p['ctmark'] = int.from_bytes(self.get(m[1], 4), 'little')
            return None
        m = re.match(r'ct load (\w+) => reg (\d+)(?: , dir (\w+))?', e)
        if m:
            return self.ct(m[1], m[2], m[3])
        m = re.match(r'fib daddr type => reg (\d+)', e)
        if m:
            self.put(m[1], (2 if self.nat else p['dsttype']).to_bytes(4, 'little'))
            return None
        m = re.match(r'cmp (\w+) reg (\d+) (.*)', e)
        if m:
            want = raw(m[3].split())
            if self.name_load and len(want) < 16:
                want = want.rstrip(b'\0')
            have = self.get(m[2], len(want))
            if not {'eq': have == want, 'neq': have != want, 'lt': have < want, 'lte': have <= want,
                    'gt': have > want, 'gte': have >= want}[m[1]]:
                raise Break
            return None
        m = re.match(r'range (\w+) reg (\d+) (.*)', e)
        if m:
            both = raw(m[3].split())
            lo, hi = both[:len(both) // 2], both[len(both) // 2:]
            if (lo <= self.get(m[2], len(lo)) <= hi) != (m[1] == 'eq'):
                raise Break
            return None
        m = re.match(r'bitwise reg (\d+) = \( reg (\d+) & (.*?) \) \^ (.*)', e)
        if m:
            mask, xor = raw(m[3].split()), raw(m[4].split())
            have = self.get(m[2], len(mask))
            self.put(m[1], bytes(h & k ^ x for h, k, x in zip(have, mask, xor)))
            return None
        m = re.match(r'byteorder reg (\d+) = (?:hton|ntoh)\(reg (\d+), (\d+), (\d+)\)', e)
        if m:
            size = int(m[3])
            have = self.get(m[2], int(m[4]))
            self.put(m[1], b''.join(have[i:i + size][::-1] for i in range(0, len(have), size)))
            return None
        m = re.match(r'lookup reg (\d+) set (\S+) (?:dreg (\d+) )?0x(\d)', e)
        if m:
            return self.lookup(m)
        m = re.match(r'immediate reg (\d+) (.*)', e)
        if m:
            if m[1] == '0':
                return m[2].replace(' ->', '')
            self.put(m[1], raw(m[2].split()))
            return None
        if e.startswith('reject'):
            return 'reject'
        if e.startswith('redir'):
            m = re.match(r'redir proto_min reg (\d+)', e)
            p['dport'] = int.from_bytes(self.get(m[1], 2), 'big')
            p['dst'] = ipaddress.ip_address('127.0.0.1' if p['v4'] else '::1')
            self.nat = True
            return 'accept'
        if re.match(r'counter|log', e):
            return None
        if re.match(r'limit|quota', e):
            if not self.coin():
                raise Break
            return None
        if e.startswith('notrack'):
            if self.early:
                p['notrack'] = True
            return None
        raise ValueError(e)

    def meta(self, key, reg):
        p = self.p
        self.name_load = key in ('iifname', 'oifname')
        # what is redirected to this host is routed anew, but behind the hook that did it
        out = 'lo' if self.nat and self.hook == 'postrouting' else p['oif']
        names = {'iifname': p['iif'] if p['hook'] != 'output' else '',
                 'oifname': out if self.hook not in ('prerouting', 'input') else ''}
        if self.name_load:
            self.put(reg, names[key].encode().ljust(16, b'\0'))
        elif key == 'nfproto':
            self.put(reg, bytes([2 if p['v4'] else 10]))
        elif key == 'protocol':
            self.put(reg, b'\x08\x00' if p['v4'] else b'\x86\xdd')
        elif key == 'l4proto':
            self.put(reg, bytes([p['proto']]))
        elif key == 'mark':
            self.put(reg, p['mark'].to_bytes(4, 'little'))
        elif key == 'cpu':
            self.put(reg, p['cpu'].to_bytes(4, 'little'))
        elif key == 'time':
            self.put(reg, (p['date'] * 10**9 + 5).to_bytes(8, 'little'))
        elif key == 'skuid':
            if p['hook'] == 'output':
                self.put(reg, p['user'].to_bytes(4, 'little'))
            else:
                raise Break
        else:
            raise ValueError(key)

    def ct(self, key, reg, way):
        p = self.p
        state = 'untracked' if p.get('notrack') else 'invalid' if self.early else p['state']
        if key == 'state':
            self.put(reg, STATE_BITS[state].to_bytes(4, 'little'))
            return
        if state in ('untracked', 'invalid') or self.early:
            raise Break
        if key == 'mark':
            self.put(reg, p['ctmark'].to_bytes(4, 'little'))
        elif key == 'proto_dst' and way == 'original':
            self.put(reg, (self.orig_dport if state == 'new' else p['ctport']).to_bytes(2, 'big'))
        else:
            raise ValueError(key)

    name_load = False

    def lookup(self, m):
        elements = self.d.sets.get((self.family, self.table, m[2]), [])
        n = max((len(e[0]) for e in elements), default=4)
        key = self.get(m[1], n)
        got = None
        if any(e[3] & 1 for e in elements) or self.intervals.get((self.family, self.table, m[2])):
            for e in sorted((e for e in elements if not e[3] & 2), key=lambda e: (e[0], -(e[3] & 1))):
                if e[1] is not None:
                    if all(e[0][i:i + 4] <= key[i:i + 4] <= e[1][i:i + 4] for i in range(0, n, 4)) and \
                            (n != 20 or e[0][:16] <= key[:16] <= e[1][:16]):
                        got = e
                elif e[0] <= key:
                    got = None if e[3] & 1 else e
        else:
            for e in elements:
                if e[1] is not None:
                    parts = [(0, 16), (16, 20)] if n == 20 else [(i, i + 4) for i in range(0, n, 4)]
                    if all(e[0][a:b] <= key[a:b] <= e[1][a:b] for a, b in parts):
                        got = e
                elif e[0] == key:
                    got = e
        if (got is None) != (m[4] == '1'):
            raise Break
        if m[3] == '0':
            return got[2].replace(' ->', '')
        if m[3]:
            self.put(m[3], raw(got[2].split()))
        return None


def fates(dump, bases, p):
    """All that chance can make of it."""
    out, todo = set(), [[]]
    while todo and len(out) < 8:
        coins = todo.pop()
        machine = Machine(dump, bases, {}, p, coins)
        out.add(machine.run())
        if machine.asked > len(coins) and len(coins) < 12:
            todo += [coins + [True], coins + [False]]
            out = out if machine.asked == 0 else out
    return out


SCRIPT = r'''
cd "$1"
ip link set lo up 2>/dev/null
for x in *.nft; do
    n=${x%.nft}
    nft flush ruleset
    if nft -f $x 2>$n.err; then
        nft --debug=netlink list ruleset > $n.debug
        timeout 60 "$2" packets < $n.packets > $n.fates 2>$n.err || echo "$n $(head -n 3 $n.err)"
    fi
done
'''


def main():
    args = argparse.ArgumentParser()
    args.add_argument('program')
    args.add_argument('--count', type=int, default=60)
    args.add_argument('--packets', type=int, default=150)
    args.add_argument('--send', type=int, default=0)
    args = args.parse_args()
    if args.send:
        import rig
        rig.enter()
    seed = int(os.environ.get('SEED') or time.time())
    if subprocess.run(['unshare', '-Urn', 'nft', 'list', 'ruleset'], capture_output=True).returncode:
        print('no unprivileged namespaces, or no nft: skipped')
        return SKIP
    print(f'seed {seed} (SEED= to repeat)')
    rnd = random.Random(seed)
    bad = checked = unknown = several = refused = 0
    tally = {}
    with tempfile.TemporaryDirectory() as top:
        sets = {}
        for i in range(args.count):
            t = Text(rnd, False)
            ps = [packet(rnd) for _ in range(args.packets)]
            sets[f'r{i}'] = (t, ps)
            open(f'{top}/r{i}.nft', 'w').write(t.text)
            open(f'{top}/r{i}.packets', 'w').write('\n'.join(map(words, ps)) + '\n')
        run = subprocess.run(['unshare', '-Urn', 'sh', '-c', SCRIPT, 'sh', top, os.path.abspath(args.program)],
                             capture_output=True, text=True)
        if run.stdout or run.stderr:
            print(run.stdout, run.stderr)
            bad += 1
        for n, (t, ps) in sets.items():
            if not os.path.exists(f'{top}/{n}.debug'):
                refused += 1
                if os.environ.get('REFUSED'):
                    print(n, open(f'{top}/{n}.err').read()[:400])
                continue
            dump = Dump(open(f'{top}/{n}.debug').read())
            told = open(f'{top}/{n}.fates').read().splitlines()
            if len(told) != len(ps):
                print(f'{n}: {len(told)} answers')
                bad += 1
                continue
            for p, said in zip(ps, told):
                want = fates(dump, t.bases, p)
                have = set(said.rstrip('?').split('|'))
                checked += 1
                unknown += said.endswith('?')
                several += len(want) > 1
                tally[said] = tally.get(said, 0) + 1
                if (want == have) if not said.endswith('?') else want <= have:
                    continue
                bad += 1
                if bad <= 3:
                    print(f'{n}: told {said}, is {sorted(want)}: {words(p)} cpu={p["cpu"]}\n{t.text}')
    print(f'{checked} packets in {args.count - refused} rulesets ({refused} refused by nft), {unknown} not known, '
          f'{several} of several fates, {bad} bad; {dict(sorted(tally.items(), key=lambda x: -x[1])[:8])}')
    if not bad and checked and args.send:
        bad = send(rnd, args)
        if bad == SKIP:
            return SKIP
    return 1 if bad or not checked else 0


# ---- really sent -----------------------------------------------------------------------

SEND_SCRIPT = 'nft -f "$1" && exec "$2" packets < "$3"'


def send(rnd, args):
    import rig
    bad = sent = 0
    tally = {}
    seen = {'pass': 'allow', 'drop': 'drop', 'reject': 'reject', 'capture': 'capture'}
    net = rig.Rig()
    try:
        with tempfile.TemporaryDirectory() as top:
            for i in range(args.send):
                t = Text(rnd, True)
                ps = []
                while len(ps) < 24:
                    p = packet(rnd)
                    p.update(state='new', flags=2, lo=False, mark=0, ctmark=0, user=os.getuid(), date=int(time.time()))
                    if p['proto'] in (6, 17) and p['src'] != p['dst']:
                        ps.append(p)
                open(top + '/text', 'w').write(t.text)
                open(top + '/packets', 'w').write('\n'.join(map(words, ps)) + '\n')
                run = subprocess.run(['unshare', '-Urn', 'sh', '-c', SEND_SCRIPT, 'sh', top + '/text',
                                      os.path.abspath(args.program), top + '/packets'], capture_output=True, text=True)
                if run.returncode:
                    continue
                net.load(t.text)
                got = net.probe([{'hook': p['hook'], 'proto': 'tcp' if p['proto'] == 6 else 'udp', 'src': str(p['src']),
                                  'dst': str(p['dst']), 'dport': p['dport']} for p in ps],
                                [seen.get(said) for said in run.stdout.splitlines()])
                for p, said, fate in zip(ps, run.stdout.splitlines(), got):
                    if fate == 'unsent' or said.endswith('?'):
                        continue
                    # what is captured comes in again, another packet of another way
                    if said == 'capture' and any(b[4] in ('input', 'prerouting') for b in t.bases):
                        continue
                    sent += 1
                    tally[said] = tally.get(said, 0) + 1
                    if seen.get(said) != fate:
                        bad += 1
                        if bad <= 3:
                            print(f'told {said}, the kernel: {fate} ({fate.how}): {words(p)}\n{t.text}')
    finally:
        net.close()
    print(f'{sent} packets really sent, {bad} bad; {tally}')
    return bad if sent else 1


if __name__ == '__main__':
    sys.exit(main())
