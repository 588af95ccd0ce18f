#!/usr/bin/env python3
"""Random rulesets that others could have written, and packets really sent through them.

nft text with all that lib/vm reads, and iptables' rules as iptables-nft loads them (its own
matches and targets among them). Each ruleset is loaded into a namespace without privileges,
read by vm_agree, and met by packets of every way, protocol and state of connection. Where
lib/vm tells one fate the kernel's is that one; where it cannot know, or where chance
decides, the kernel's is among those that it names.

    vm_send.py VM_AGREE [--count N] [--packets N] [--only nft|iptables]

Half of the N rulesets are of each kind. SEED= repeats a run.
"""
import argparse
import ipaddress
import os
import pathlib
import random
import re
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'netns'))
import rig  # noqa: E402
import vm_random as base  # noqa: E402
import wire  # noqa: E402

IFACES = [i for i in base.IFACES if i != 'lo']
PORTS = base.PORTS
KNOWN = {'pass': 'pass', 'capture': 'moved', 'pass elsewhere': 'moved', 'drop': 'drop', 'reject': 'reject'}


# ---- nft ----------------------------------------------------------------------------------

class Nft(base.Text):
    """vm_random's rulesets, with what its interpreter does not know. Some have a theme: what
    chance brings together too seldom."""

    def __init__(self, rnd, plain):
        self.theme = rnd.choice((None, None, 'notrack', 'mark'))
        super().__init__(rnd, plain)

    def match(self):
        r = self.rnd
        if self.theme == 'notrack' and r.random() < 0.6:
            return 'ct state ' + r.choice(('invalid', 'untracked', 'new', '!= untracked', '{ invalid, new }', 'established'))
        if self.theme == 'mark' and r.random() < 0.6:
            return r.choice((f'meta mark {r.choice(("", "!= "))}{r.choice(base.MARKS)}', f'ct mark {r.choice(("", "!= "))}{r.choice((0, 1, 5))}',
                             f'meta mark & 0xffffff0f {r.choice(("==", "!="))} {r.choice((0, 1, 5))}', 'ct state new', 'ct state invalid'))
        if r.random() < 0.75:
            return super().match()
        f = r.choice(self.fams)
        ip, hosts = ('ip', base.V4) if f == 4 else ('ip6', base.V6)
        return r.choice((
            lambda: f'ct original {ip} {r.choice(("saddr", "daddr"))} {r.choice(hosts)}',
            lambda: f'ct status {r.choice(("seen-reply", "dnat", "! dnat"))}' if r.random() < .7 else 'ct direction original',
            lambda: f'ct protocol {r.choice(("tcp", "udp", "icmp"))}',
            lambda: f'meta mark & {r.choice(("0x1", "0x10", "0x3"))} {r.choice(("==", "!="))} {r.choice((0, 1, 16))}',
            lambda: f'ct mark & 0x3 == {r.choice((0, 1))}',
            lambda: f'meta nfproto . meta l4proto {{ ipv{4 if f == 4 else 6} . tcp, ipv{4 if f == 4 else 6} . udp }}' if self.family == 'inet' else 'meta l4proto udp',
            lambda: f'tcp sport . tcp dport {{ {", ".join(f"{a} . {b}" for a, b in sorted({(r.choice(PORTS), r.choice(PORTS)) for _ in range(6)}))} }}',
            lambda: f'{ip} saddr . {ip} daddr {{ {", ".join(f"{a} . {b}" for a, b in sorted({(r.choice(hosts), r.choice(hosts)) for _ in range(9)}))} }}',
            lambda: f'meta iifname . tcp dport {{ "{r.choice(IFACES)}" . {r.choice(PORTS)}, "{r.choice(IFACES)}" . 25-{r.choice((26, 587))} }}',
            lambda: f'meta day {r.choice(("Monday", "Sunday"))}',
            lambda: f'meta length {r.choice(("<", ">"))} 50',
            lambda: 'numgen random mod 2 0',
            lambda: f'{ip} {"ttl" if f == 4 else "hoplimit"} {r.choice((">", "<"))} 60',
            lambda: f'meta skgid {r.choice((0, 100))}',
            lambda: f'icmp{"" if f == 4 else "v6"} type echo-request',
            lambda: f'tcp flags {r.choice(("! syn", "{ syn, ack }", "& (syn | rst) != 0"))}',
            lambda: f'@th,16,16 {r.choice(PORTS)}',
        ))()

    def rule(self, base_):
        while True:
            text = super().rule(base_)
            if 'icmp' not in text.replace('icmpx', '') or not re.search(r'tcp|udp|l4proto|@th', text):
                return text

    def any_rule(self, base_):
        r = self.rnd
        if self.theme == 'notrack' and base_ and base_[0] in ('prerouting', 'output') and r.random() < 0.5:
            return f'{self.matches(base_)} notrack'.strip()
        if self.theme == 'mark' and r.random() < 0.4:
            return (self.matches(base_) + ' ' + r.choice(('meta mark set 1', 'ct mark set 5', 'meta mark set ct mark', 'ct mark set meta mark',
                                                          'meta mark set meta mark | 0x10', 'meta mark set meta mark & 0xfffffff0'))).strip()
        if r.random() < 0.85:
            return super().any_rule(base_)
        m = self.matches(base_)
        acts = ['ct state vmap { established : accept, related : accept, invalid : drop }',
                'meta l4proto vmap { tcp : continue, udp : drop }',
                'meta mark set ct mark', 'ct mark set meta mark', 'meta mark set meta mark & 0xfffffff0', 'ct mark set ct mark | 0x1',
                'meta mark set meta mark ^ 0x3', 'limit rate over 1000/second burst 900 packets drop', 'counter accept', 'return',
                'meta priority set 1:2', 'jhash ip saddr mod 2 vmap { 0 : accept, 1 : drop }' if self.family == 'ip' else 'accept',
                'ct count over 1000 drop']
        if base_ and base_[0] in ('input', 'forward', 'output'):
            acts += ['meta l4proto tcp reject with tcp reset'] if 'l4' not in m and 'tcp' not in m and 'udp' not in m and 'icmp' not in m and '@th' not in m else ['reject']
        if self.subs:
            acts += [f'ct state vmap {{ new : jump {r.choice(self.subs)}, untracked : goto {r.choice(self.subs)} }}',
                     f'iifname vmap {{ "eth0" : jump {r.choice(self.subs)}, "wan" : drop }}' if base_ and base_[0] in ('prerouting', 'input', 'forward') else 'drop']
        if base_ and base_[0] in ('prerouting', 'output'):
            acts.append('notrack')
        return f'{m} {r.choice(acts)}'.strip()

    def table(self, name, family):
        super().table(name, family)
        r = self.rnd
        if r.random() > 0.4 or any(b[3] == 'nat' for b in self.bases):
            return
        assert self.out.pop() == '}'
        for hook, prio, acts in r.sample((
                ('prerouting', -100, ['dnat', 'redirect']), ('output', -100, ['dnat', 'redirect']),
                ('postrouting', 100, ['masquerade', 'snat'])), r.randint(1, 3)):
            self.out += [f'\tchain n{hook} {{', f'\t\ttype nat hook {hook} priority {prio}; policy accept;']
            for _ in range(r.randint(1, 2)):
                act, f = r.choice(acts), r.choice(self.fams)
                word = ' ip' * (f == 4) + ' ip6' * (f == 6) if family == 'inet' else ''
                if act == 'redirect':
                    act = r.choice((f'tcp dport {r.choice(PORTS)} redirect', f'tcp dport {r.choice(PORTS)} redirect to :{r.choice(PORTS)}',
                                    f'udp dport {r.choice(PORTS)} redirect to :20-30'))
                elif act == 'dnat':
                    to = r.choice(base.V4 if f == 4 else base.V6)
                    act = f'tcp dport {r.choice(PORTS)} dnat{word} to ' + r.choice((to, (to if f == 4 else f'[{to}]') + f':{r.choice(PORTS)}'))
                elif act == 'snat':
                    act = f'{"ip" if f == 4 else "ip6"} daddr {r.choice(base.V4 if f == 4 else base.V6)} snat{word} to ' + (
                        wire.Wire.own(0, f))
                self.out.append('\t\t' + act)
            self.out.append('\t}')
        self.out.append('}')
        self.bases.append((family, name, 'n', 'nat', 'output', -100, 'accept'))


# ---- iptables ------------------------------------------------------------------------------------

THEMES = ('mark|INVALID', 'owner| -o ', 'conntrack|state', 'port', 'iprange|addrtype')


class Tables:
    """One random ruleset as iptables-save writes it, of one family."""

    def __init__(self, rnd, v):
        self.rnd, self.v = rnd, v
        self.theme = rnd.choice((None, None, None, *THEMES))
        self.hosts, self.nets = (base.V4, base.NETS4) if v == 4 else (base.V6, base.NETS6)
        out = []
        self.nat = False
        for table, chains in (('raw', ['PREROUTING', 'OUTPUT']), ('mangle', ['PREROUTING', 'INPUT', 'FORWARD', 'OUTPUT', 'POSTROUTING']),
                              ('nat', ['PREROUTING', 'OUTPUT', 'POSTROUTING']), ('filter', ['INPUT', 'FORWARD', 'OUTPUT'])):
            if table != 'filter' and rnd.random() < 0.6 and not (table == 'mangle' and self.theme in THEMES[:2]):
                continue
            self.name = table
            policy = {c: rnd.choice(('ACCEPT', 'ACCEPT', 'DROP')) if table == 'filter' else 'ACCEPT' for c in chains}
            subs = [f'SUB{i}' for i in range(rnd.randint(0, 3))] if table in ('filter', 'mangle') else []
            out += [f'*{table}'] + [f':{c} {p} [0:0]' for c, p in policy.items()] + [f':{c} - [0:0]' for c in subs]
            for i, c in enumerate(subs):
                self.chain, self.subs = None, subs[i + 1:]
                out += [f'-A {c} {self.rule()}' for _ in range(rnd.randint(1, 4))]
            self.subs = subs
            for c in chains:
                self.chain = c
                out += [f'-A {c} {self.rule()}' for _ in range(rnd.randint(0, 5))]
            out.append('COMMIT')
        self.text = '\n'.join(out) + '\n'
        self.lines = out

    def ports(self, most=4):
        r = self.rnd
        some = []
        for p in sorted(r.sample(PORTS, r.randint(1, most))):
            some.append(f'{p}:{p + r.choice((1, 10, 500))}' if r.random() < .3 else str(p))
        return ','.join(some)

    def match(self, proto):
        r = self.rnd
        neg = r.choice(('', '', '! '))
        host, net = r.choice(self.hosts), r.choice(self.nets)
        a, b = sorted(r.sample(self.hosts, 2), key=ipaddress.ip_address)
        port = r.choice((str(r.choice(PORTS)), f'{r.choice((20, 25))}:{r.choice((26, 587))}'))
        some = [
            f'{neg}-s {r.choice((host, net))}', f'{neg}-d {r.choice((host, net))}',
            f'-m comment --comment "a {host}"',
            f'-m conntrack {neg}--ctstate {",".join(r.sample(["NEW", "ESTABLISHED", "RELATED", "INVALID", "UNTRACKED", "DNAT", "SNAT"], r.randint(1, 3)))}',
            f'-m state {neg}--state {",".join(r.sample(["NEW", "ESTABLISHED", "RELATED", "INVALID", "UNTRACKED"], r.randint(1, 3)))}',
            f'-m conntrack {neg}--ctproto {r.choice((6, 17, 1))}',
            f'-m conntrack {neg}--ctorigsrc {net}', f'-m conntrack {neg}--ctorigdst {host}',
            f'-m conntrack {neg}--ctstatus {r.choice(("SEEN_REPLY", "ASSURED", "NONE", "EXPECTED,SEEN_REPLY", "CONFIRMED"))}',
            f'-m conntrack --ctdir {r.choice(("ORIGINAL", "REPLY"))}',
            f'-m conntrack {neg}--ctorigdstport {r.choice(PORTS)}', f'-m conntrack --ctproto tcp {neg}--ctorigsrcport 20:600',
            f'-m iprange {neg}--src-range {a}-{b}', f'-m iprange {neg}--dst-range {a}-{b}',
            f'-m addrtype {neg}--dst-type {r.choice(("LOCAL", "UNICAST", "LOCAL,BROADCAST") if self.v == 4 else ("LOCAL", "UNICAST"))}',
            f'-m addrtype --src-type LOCAL',
            f'-m mark {neg}--mark {r.choice(("1", "0x10/0x10", "0/3", "5/0xff"))}',
            f'-m connmark {neg}--mark {r.choice(("0", "1", "1/0x3"))}',
            '-m limit --limit 5/min', '-m hashlimit --hashlimit-upto 5/sec --hashlimit-name x', '-m statistic --mode random --probability 0.5',
            '-m length --length 40:60', '-m pkttype --pkt-type unicast',
        ]
        if proto in ('tcp', 'udp'):
            some += [f'-m {proto} {neg}--dport {port}'] * 4 + [f'-m {proto} {neg}--sport {port}'] * 2
            some += [f'-m multiport {neg}--{r.choice(("dports", "sports", "ports"))} {self.ports()}'] * 3
        if proto == 'tcp':
            some += [f'-m tcp {neg}--syn', f'-m tcp {neg}--tcp-flags {r.choice(("SYN,RST SYN", "ALL ACK", "RST RST", "SYN,ACK NONE"))}',
                     f'-m tcp --tcp-option 5 --dport {port}', f'-m tcp --dport {port} --sport {port} --tcp-option 8']
        if proto in ('icmp', 'ipv6-icmp'):
            some.append('-m icmp --icmp-type echo-request' if self.v == 4 else '-m icmp6 --icmpv6-type echo-request')
            some.append('-m icmp --icmp-type any' if self.v == 4 else '-m icmp6 --icmpv6-type 1')
        if self.chain in ('PREROUTING', 'INPUT', 'FORWARD'):
            some += [f'{neg}-i {r.choice(base.IFACES + ["eth+"])}'] * 2
        if self.chain in ('FORWARD', 'OUTPUT', 'POSTROUTING'):
            some += [f'{neg}-o {r.choice(base.IFACES + ["w+"])}'] * 2
        if self.chain in ('OUTPUT', 'POSTROUTING'):
            some += [f'-m owner {neg}--uid-owner 0', f'-m owner {neg}--gid-owner 0', f'-m owner {neg}--socket-exists', f'-m owner {neg}--uid-owner 0 --socket-exists']
        if self.theme and r.random() < 0.7:
            some = [x for x in some if re.search(self.theme, x)] or some
        return r.choice(some)

    def rule(self):
        while True:
            text = self.any_rule()
            words = text.split()
            # what iptables does not take twice
            if all(words.count(w) < 2 for w in ('-s', '-d', '-i', '-o', '--mark', '--dst-range', '--src-range')) and \
               len(re.findall(r'-m (\w+)', text)) == len(set(re.findall(r'-m (\w+)', text))):
                return text

    def any_rule(self):
        r = self.rnd
        proto = r.choice(('', 'tcp', 'tcp', 'udp', 'icmp' if self.v == 4 else 'ipv6-icmp'))
        acts = []
        if self.name == 'filter':
            acts = ['ACCEPT', 'ACCEPT', 'DROP', 'DROP', 'REJECT', 'LOG --log-prefix "x"', 'RETURN', 'NFLOG --nflog-group 3', 'ACCEPT']
            if proto == 'tcp':
                acts.append('REJECT --reject-with tcp-reset')
            acts.append('REJECT --reject-with ' + r.choice(('icmp-admin-prohibited', 'icmp-host-unreachable') if self.v == 4 else
                                                           ('icmp6-adm-prohibited', 'icmp6-addr-unreachable')))
        elif self.name == 'mangle':
            acts = ['ACCEPT', 'DROP', 'MARK --set-mark 1', 'MARK --or-mark 0x10', 'MARK --and-mark 0xffffff0f', 'MARK --xor-mark 3', 'MARK --set-xmark 1/0x3',
                    'CONNMARK --set-mark 1', 'CONNMARK --set-xmark 1/0x3', 'CONNMARK --save-mark', 'CONNMARK --restore-mark',
                    'CONNMARK --save-mark --nfmask 0x3 --ctmask 0x3', 'TOS --set-tos 0x10/0xff', 'DSCP --set-dscp 10', 'CLASSIFY --set-class 1:2']
            if self.theme == THEMES[0]:
                acts = acts[2:12] + ['DROP']
            if self.theme == THEMES[1]:
                acts = ['DROP', 'ACCEPT', 'RETURN']
            if not self.theme and proto == 'tcp' and self.chain != 'PREROUTING':
                return f'-p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --set-mss 1200'
        elif self.name == 'raw':
            acts = ['CT --notrack', 'NOTRACK', 'CT --zone 3', 'ACCEPT', 'DROP']
        else:
            self.nat = True
            to = r.choice(self.hosts)
            both = f'[{to}]' if self.v == 6 else to
            port = r.choice(PORTS)
            proto = r.choice(('tcp', 'tcp', 'udp'))
            if self.chain == 'POSTROUTING':
                acts = ['MASQUERADE', f'SNAT --to-source {wire.Wire.own(0, self.v)}', 'ACCEPT', 'RETURN']
            else:
                acts = [f'DNAT --to-destination {to}', f'DNAT --to-destination {both}:{port}', f'DNAT --to-destination :{port}',
                        f'DNAT --to-destination {both}:{port}-{port + 5}', 'REDIRECT', f'REDIRECT --to-ports {port}', f'REDIRECT --to-ports 20-30', 'ACCEPT']
        if self.subs:
            acts += [r.choice(self.subs)] * 3 + [f'GOTO {r.choice(self.subs)}']
        act = r.choice(acts)
        act = f'-g {act[5:]}' if act.startswith('GOTO ') else f'-j {act}'
        m = [self.match(proto) for _ in range(r.choice((0, 1, 1, 2, 3)))]
        return ' '.join(x for x in ([f'-p {proto}'] if proto else []) + m + [act] if x)


# ---- packets ---------------------------------------------------------------------------------------

def packet(rnd, where, hosts4=base.V4, hosts6=base.V6, ports=PORTS, ifaces=IFACES):
    """One packet that can be sent; words for vm_agree and for the wire alike."""
    while True:
        v4 = rnd.random() < 0.6
        hosts = hosts4 if v4 else hosts6
        if len(hosts) < 2:
            continue
        src, dst = (ipaddress.ip_address(x) for x in rnd.sample(hosts, 2))
        at = {a: where[str(a)] for a in (src, dst)}
        p = {'v4': v4, 'src': src, 'dst': dst, 'proto': rnd.choice((6, 6, 6, 17, 1 if v4 else 58)), 'sport': rnd.choice(ports),
             'dport': rnd.choice(ports), 'flags': 2, 'user': 0, 'date': int(time.time()), 'mark': 0, 'ctmark': 0, 'cpu': 0, 'lo': False}
        out = at[src] == 'local' or rnd.random() < 0.3
        if out:
            p.update(way='output', lo=at[dst] == 'local', iif='', mark=rnd.choice(base.MARKS))
        else:
            p.update(way='input' if at[dst] == 'local' else 'forward', iif=at[src] if rnd.random() < .8 else rnd.choice(ifaces))
        p['hook'] = p['way']
        p['oif'] = 'lo' if p['lo'] else at[dst]
        p['dsttype'] = 2 if at[dst] == 'local' else 1
        p['state'] = rnd.choice(('new', 'new', 'new', 'new', 'invalid', 'established', 'established', 'related'))
        if p['state'] == 'invalid':
            if p['proto'] != 6:
                continue
            p['flags'] = rnd.choice((4, 0x12, 1, 0))
        elif p['state'] == 'new':
            p['flags'] = rnd.choice((2, 2, 2, 0x42, 0x10))
        else:
            # the machine's own TCP would reset connections that it does not know
            if p['lo'] or p['proto'] in (1, 58) or (p['way'] != 'forward' and p['proto'] == 6) or at[src] == p['way'] == 'local':
                continue
            if p['way'] == 'output' and at[src] != 'local':
                continue
            p['flags'] = 0x10
        p['ctport'] = p['dport']
        if p['state'] == 'related':
            if p['way'] != 'forward':
                continue
            p = error(rnd, p, where)
        return p


def error(rnd, about, where):
    """The ICMP message by which the other end refuses a packet of the connection."""
    return {**about, 'about': about, 'proto': 1 if about['v4'] else 58, 'src': about['dst'], 'dst': about['src'], 'iif': where[str(about['dst'])],
            'oif': where[str(about['src'])], 'flags': 0}


def tuple_of(p):
    a = p.get('about', p)
    if a['proto'] in (1, 58):
        return (a['proto'], frozenset((a['src'], a['dst'])))
    return (a['proto'], frozenset(((a['src'], a['sport']), (a['dst'], a['dport']))))


def several(rnd, where, n, **more):
    """Packets of n connections."""
    out, seen = [], set()
    for _ in range(20 * n):
        p = packet(rnd, where, **more)
        if tuple_of(p) not in seen and len(out) < n:
            seen.add(tuple_of(p))
            out.append(p)
    return out


# ---- the comparison -----------------------------------------------------------------------------------

def agrees(told, fate):
    """Whether the kernel's fate is one of those told."""
    names = told.rstrip('?').split('|')
    want = {KNOWN.get(x) for x in names}
    if want & {None}:
        return True                     # a queue, or what cannot be followed
    # what a rule's answer meets on its own way out may drop it
    if fate == 'drop' and 'reject' in want:
        return True
    # NAT to where the packet goes anyway
    if fate == 'pass' and 'moved' in want:
        return True
    return fate in want


class Bench:
    """The wire, and a ruleset on it."""

    def __init__(self, program, ifaces=tuple(IFACES)):
        self.program = program
        self.wire = wire.Wire(ifaces)

    def nft(self, text):
        return subprocess.run(['nft', '-f', '-'], input=text, text=True, capture_output=True)

    def clear(self, packets):
        """Nothing loaded; connections are those of the packets that need one."""
        r = self.nft('flush ruleset\n' + wire.TRACK)
        assert not r.returncode, r.stderr
        self.wire.forget()
        self.wire.prepare([p for p in packets if p['state'] in ('established', 'related')])

    def load(self, text, v=None):
        """nft text, or with v iptables' rules: None, or why not."""
        if v:
            r = subprocess.run([('iptables' if v == 4 else 'ip6tables') + '-nft-restore', '--noflush'], input=text, text=True, capture_output=True)
        else:
            r = self.nft(text)
        return (r.stderr or 'refused') if r.returncode else None

    def told(self, packets):
        r = subprocess.run([self.program, 'packets'], input='\n'.join(map(base.words, packets)) + '\n', capture_output=True, text=True)
        told = r.stdout.splitlines()
        assert not r.returncode and len(told) == len(packets), r.stderr
        return told


def iptables_works():
    """Whether iptables-nft is there, and a kernel that takes its own matches; else it is said."""
    try:
        r = subprocess.run(['iptables-nft', '-A', 'FORWARD', '-p', 'tcp', '-m', 'multiport', '--dports', '1,3', '-j', 'ACCEPT'],
                           capture_output=True, text=True)
        why = r.stderr.strip() if r.returncode else ''
    except FileNotFoundError:
        why = 'it is not installed'
    if why:
        print(f'rulesets of iptables are left out: {why}')
    return not why


def main():
    args = argparse.ArgumentParser()
    args.add_argument('program')
    args.add_argument('--count', type=int, default=40)
    args.add_argument('--packets', type=int, default=60)
    args.add_argument('--only', choices=('nft', 'iptables'))
    args = args.parse_args()
    rig.enter()
    seed = int(os.environ.get('SEED') or time.time())
    print(f'seed {seed} (SEED= to repeat)', flush=True)
    if args.only != 'nft' and not iptables_works():
        args.only = 'nft'
    bench = Bench(os.path.abspath(args.program))
    bad = sent = refused = unknown = rejects = unlike = 0
    tally = {}
    for i in range(args.count):
        rnd = random.Random(seed * 100003 + i)
        where = {a: rnd.choice(IFACES + ['local']) for a in base.V4 + base.V6}
        packets = several(rnd, where, args.packets)
        bench.wire.place(where)
        bench.clear(packets)
        if args.only == 'nft' or (not args.only and i % 2):
            text = Nft(rnd, False).text
            why = bench.load(text)
        else:
            some = [(v, Tables(rnd, v)) for v in rnd.choice(((4,), (6,), (4, 6)))]
            text = '\n'.join(t.text for _, t in some)
            why = next(filter(None, (bench.load(t.text, v) for v, t in some)), None)
        if why:
            refused += 1
            if os.environ.get('REFUSED'):
                print(i, why[:600], text if os.environ['REFUSED'] == '2' else '')
            continue
        told = bench.told(packets)
        for p, said, fate in zip(packets, told, bench.wire.send(packets)):
            ok = agrees(said, fate)
            if 'zone' in text and p['state'] != 'new':
                ok = None               # its connection was made in another zone
            if ok is None:
                unlike += 1
                continue
            sent += 1
            unknown += said.endswith('?')
            rejects += fate == 'reject'
            tally[said] = tally.get(said, 0) + 1
            if not ok:
                bad += 1
                if bad <= 3:
                    print(f'ruleset {i}: told {said}, the kernel: {fate}: {base.words(p)}\n{p}\n{text}', flush=True)
    bench.wire.close()
    print(f'{sent} packets really sent through {args.count - refused} rulesets ({refused} refused), {unknown} not known, '
          f'{rejects} answers seen, {unlike} of another zone, {bad} bad; {dict(sorted(tally.items(), key=lambda x: -x[1])[:9])}')
    return 1 if bad or not sent else 0


if __name__ == '__main__':
    sys.exit(main())
