#!/usr/bin/env python3
"""The rulesets of foreign/, met by packets really sent.

Each is loaded (nft text by nft, iptables-save's by iptables-nft) into a namespace without
privileges whose interfaces are those that it names. Packets are drawn from the addresses,
ports and interfaces that stand in it, and from what lies just beside them; each must meet
the fate that lib/vm tells, or one of those. Then, with a policy, every hole that `mailreeve
audit live` finds there is sent: what it says is allowed must really pass.

    foreign.py VM_AGREE MAILREEVE POLICY [--packets N] [--rounds N] [--only NAME]

SEED= repeats a run.
"""
import argparse
import ipaddress
import json
import os
import pathlib
import random
import re
import subprocess
import sys
import time
import traceback

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'netns'))
import rig  # noqa: E402
import vm_random as base  # noqa: E402
import vm_send  # noqa: E402
import wire  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent / 'foreign'
OTHER = 'eth9'            # an interface that no ruleset names
WITNESS = re.compile(r'tcp (\S+) -> (\S+?)(,.*|$)')
NOWHERE4 = [ipaddress.ip_network(n) for n in ('0.0.0.0/8', '127.0.0.0/8', '224.0.0.0/3', '169.254.0.0/16')]
NOWHERE6 = [ipaddress.ip_network(n) for n in ('::/8', 'ff00::/8', 'fe80::/10')]


def end(text):
    """The address and the port of one end of a witness; no port: None."""
    m = re.fullmatch(r'(?:\[([0-9a-f:.]+)\]|([0-9.]+))(?::(\d+))?|([0-9a-f:.]+)', text)
    return ipaddress.ip_address(m[1] or m[2] or m[4]), m[3] and int(m[3])


def rulesets():
    """{name: [(text, its program's family, None for nft)]}"""
    out = {}
    for path in sorted(HERE.iterdir()):
        v = {'.nft': None, '.iptables': 4, '.ip6tables': 6}[path.suffix]
        out.setdefault(path.stem, []).append((path.read_text(encoding='utf-8'), v))
    return out


def code(text):
    return re.sub(r'#.*|comment "[^"]*"|--comment "[^"]*"', '', text)


def addresses(text, v):
    """Those named, the ends of the prefixes and ranges named, and what is beside them."""
    pattern = r'(?<![\w.:])\d+\.\d+\.\d+\.\d+(?:/\d+)?' if v == 4 else r'(?<![\w.:])[0-9a-f]*:[0-9a-f:]+(?:/\d+)?(?![\w:])'
    out = set()
    for word in re.findall(pattern, text):
        try:
            n = ipaddress.ip_network(word, strict=False)
        except ValueError:
            continue
        if n.version == v:
            lo, hi = int(n[0]), int(n[-1])
            out |= {lo, lo + 1, hi, hi - 1, lo - 1, hi + 1, (lo + hi) // 2}
    kind = ipaddress.IPv4Address if v == 4 else ipaddress.IPv6Address
    some = {kind(x) for x in out if 0 < x < 2 ** (32 if v == 4 else 128)}
    some |= {kind('203.0.113.1' if v == 4 else '2001:db8:ee::1'), kind('10.9.8.7' if v == 4 else '2001:db8:ef::1')}
    bad = NOWHERE4 if v == 4 else NOWHERE6
    return sorted(str(a) for a in some if not any(a in n for n in bad) and str(a) != wire.Wire.own(0, v)
                  and not (v == 4 and str(a).startswith('192.0.2.2')))


def targets(text):
    """Where NAT sends packets to."""
    return re.findall(r'(?:to-destination|dnat(?: ip6?)? to) \[?([0-9a-f.:]*?[0-9a-f])(?:\]?:\d+|\]|\s|$)', text, re.M)


def ports(text):
    some = {int(p) + d for p in re.findall(r'(?<![\w.:/])\d{1,5}(?![\w.])', text) for d in (-1, 0, 0, 1) if 0 < int(p) < 65534}
    return sorted(p for p in some if p) + [25, 25, 25, 1025]


def ifaces(text):
    names = set(re.findall(r'"([a-z]+\d+)"', text)) | set(re.findall(r'-[io] ([a-z]+\d+)', text))
    names |= set(re.findall(r'define \w+ = "(\w+)"', text))
    return sorted(names)[:5] + [OTHER]


class Test:
    def __init__(self, args):
        self.args = args
        self.bad = self.sent = self.unknown = self.holes = 0
        self.reached = set()

    def draw(self, rnd, where, hosts, text):
        return vm_send.several(rnd, where, self.args.packets, hosts4=hosts[4], hosts6=hosts[6], ports=ports(code(text)),
                               ifaces=self.bench.wire.ifaces)

    def load(self, name, parts):
        for text, v in parts:
            why = self.bench.load(text, v)
            if why:
                self.bad += 1
                print(f'{name}: not loaded: {why}')
                return False
        return True

    def round(self, name, parts, rnd):
        text = '\n'.join(t for t, _ in parts)
        hosts = {}
        for v in (4, 6):
            some = addresses(code(text), v)
            hosts[v] = rnd.sample(some, min(len(some), 30))
        where = {a: 'local' if rnd.random() < .25 else rnd.choice(self.bench.wire.ifaces) for a in hosts[4] + hosts[6]}
        for a in targets(code(text)):
            where.setdefault(a, rnd.choice(self.bench.wire.ifaces))
        packets = self.draw(rnd, where, hosts, text)
        self.bench.wire.place(where)
        self.bench.clear(packets)
        if not self.load(name, parts):
            return
        for p, told, fate in zip(packets, self.bench.told(packets), self.bench.wire.send(packets)):
            ok = vm_send.agrees(told, fate)
            self.sent += 1
            self.unknown += told.endswith('?')
            self.reached.add(told)
            if not ok:
                self.bad += 1
                if self.bad <= 5:
                    print(f'{name}: told {told}, the kernel: {fate}: {base.words(p)}\n{p}', flush=True)

    def audit(self, name, parts):
        """Each packet that the audit says is allowed, sent."""
        self.bench.clear([])
        if not self.load(name, parts):
            return
        r = subprocess.run([self.args.mailreeve, 'audit', '--format', 'json', self.args.policy, 'live'], capture_output=True, text=True)
        if r.returncode > 1:
            self.bad += 1
            print(f'{name}: audit: {r.stderr}')
            return
        for x in json.loads(r.stdout)['regions']:
            m = WITNESS.match(x['witness'])
            if x['kind'] != 'allows' or not m or re.search(r'invalid|untracked|established|related|mark', m[3]):
                continue
            self.hole(name, parts, x['witness'], m)

    def hole(self, name, parts, witness, m):
        (src, sport), (dst, dport) = map(end, m.groups()[:2])
        said = {k: i if i in self.bench.wire.ifaces else OTHER for k, i in re.findall(r'(in|out) by (\w+)', m[3])}
        way = {str(src): said.get('in', OTHER), str(dst): said.get('out', OTHER)}
        for text, _ in parts:
            for a in targets(code(text)):
                way.setdefault(a, OTHER)
        p = {'way': 'forward', 'v4': src.version == 4, 'src': src, 'dst': dst, 'proto': 6, 'sport': sport or 1025, 'dport': dport,
             'flags': 2, 'iif': way[str(src)], 'state': 'new'}
        self.bench.wire.place(way)
        self.bench.wire.forget()
        fate = self.bench.wire.send([p])[0]
        self.holes += 1
        if fate not in ('pass', 'moved'):
            self.bad += 1
            print(f'{name}: {witness} is told to pass; the kernel: {fate}')

    def run(self, name, parts, seed):
        self.bench = vm_send.Bench(self.args.program, ifaces(code('\n'.join(t for t, _ in parts))))
        try:
            for i in range(self.args.rounds):
                self.round(name, parts, random.Random(f'{seed} {name} {i}'))
            self.audit(name, parts)
        finally:
            self.bench.wire.close()
        return [self.bad, self.sent, self.unknown, self.holes, sorted(self.reached)]


def main():
    args = argparse.ArgumentParser()
    args.add_argument('program')
    args.add_argument('mailreeve')
    args.add_argument('policy')
    args.add_argument('--packets', type=int, default=200)
    args.add_argument('--rounds', type=int, default=2)
    args.add_argument('--only')
    args = args.parse_args()
    args.program, args.mailreeve, args.policy = map(os.path.abspath, (args.program, args.mailreeve, args.policy))
    rig.enter()
    seed = int(os.environ.get('SEED') or time.time())
    print(f'seed {seed} (SEED= to repeat)', flush=True)
    iptables = vm_send.iptables_works()
    total, count, fates = [0] * 4, 0, set()
    for name, parts in rulesets().items():
        if (not iptables and any(v for _, v in parts)) or args.only not in (None, name):
            continue
        got = alone(lambda: Test(args).run(name, parts, seed))
        count += 1
        if not got:
            total[0] += 1
            print(f'{name}: its process ended')
            continue
        total = [a + b for a, b in zip(total, got[:4])]
        fates |= set(got[4])
        if os.environ.get('EACH'):
            print(name, got)
    bad, sent, unknown, holes = total
    print(f'{sent} packets really sent through {count} rulesets, {unknown} not known, '
          f'{holes} holes of audits really pass, {bad} bad; fates told: {sorted(fates)}')
    return 1 if bad or not sent or (not holes and not args.only) else 0


def alone(what):
    """In a process with a network namespace of its own; what it gives, or None."""
    r, w = os.pipe()
    sys.stdout.flush()
    pid = os.fork()
    if not pid:
        status = 1
        try:
            wire.libc.unshare(wire.CLONE_NEWNET)
            os.write(w, json.dumps(what()).encode())
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(status)
    os.close(w)
    os.waitpid(pid, 0)
    with os.fdopen(r) as f:
        said = f.read()
    return json.loads(said) if said else None


if __name__ == '__main__':
    sys.exit(main())
