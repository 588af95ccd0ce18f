"""Single packets, really sent through the ruleset of one network namespace.

	far ends ==== this machine: forwarded, coming in, going out

The machine is the namespace we run in; the far ends of its cables are in another one, and
have no addresses. Any packet can be made: of any protocol, with any flags, of a connection
that is there or not. What became of it is seen by its number, which it carries: on a cable,
at local delivery, or in a reset or an ICMP message that names it.

	wire = Wire(['eth0', 'eth1'])            # behind rig.enter()
	wire.place({'10.0.0.1': 'eth1', '10.0.0.2': 'local'})
	wire.forget()
	fates = wire.send([packet, ...])         # FATES

A packet is a dict: way (forward, input, output), proto, v4, src, dst, sport, dport, flags, iif,
mark, state. State established is that of a connection made before the rules were there (prepare).
"""

import ctypes
import ipaddress
import os
import select
import signal
import socket
import struct
import subprocess
import time

libc = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000
PR_SET_PDEATHSIG = 1
IPV6_HDRINCL = 36
SO_MARK = 36
PACKET_OUTGOING = 4
FATES = ('pass', 'moved', 'reject', 'drop')
TCP, UDP, ICMP, ICMP6 = 6, 17, 1, 58
SYN, RST, ACK = 2, 4, 16
FIRST = 0x51000000              # numbers of packets begin here
STEP = 4                        # between them: resets count on by one or two
QUIET = 0.03                    # how long silence lasts before it counts
TRACK = 'table inet wire-track {\n\tchain c {\n\t\ttype filter hook prerouting priority 300\n\t\tct state new\n\t}\n}\n'
PLACE = 99


def checksum(data):
    data += b'\0' * (len(data) % 2)
    s = sum(struct.unpack(f'!{len(data) // 2}H', data))
    while s >> 16:
        s = (s & 0xffff) + (s >> 16)
    return ~s & 0xffff


def transport(p, number):
    """What follows the IP header; ICMP errors quote the packet p['about']."""
    if p['proto'] == TCP:
        h = struct.pack('!HHIIBBHHH', p['sport'], p['dport'], number, number + 2, 5 << 4, p['flags'], 8192, 0, 0)
        at = 16
    elif p['proto'] == UDP:
        h = struct.pack('!HHHHI', p['sport'], p['dport'], 12, 0, number)
        at = 6
    elif p.get('about'):
        h = struct.pack('!BBHI', 3 if p['v4'] else 1, 1 if p['v4'] else 3, 0, 0) + datagram(p['about'], number)
        at = 2
    else:
        h = struct.pack('!BBHHHI', 8 if p['v4'] else 128, 0, 0, number >> 16, number & 0xffff, number)
        at = 2
    pseudo = b''
    if p['v4'] and p['proto'] in (TCP, UDP):
        pseudo = p['src'].packed + p['dst'].packed + struct.pack('!BBH', 0, p['proto'], len(h))
    elif not p['v4']:
        pseudo = p['src'].packed + p['dst'].packed + struct.pack('!IHBB', len(h), 0, 0, p['proto'])
    return h[:at] + struct.pack('!H', checksum(pseudo + h) or 0xffff) + h[at + 2:]


def datagram(p, number):
    h = transport(p, number)
    if p['v4']:
        ip = struct.pack('!BBHHHBBH4s4s', 0x45, 0, 20 + len(h), 1, 0, 64, p['proto'], 0, p['src'].packed, p['dst'].packed)
        ip = ip[:10] + struct.pack('!H', checksum(ip)) + ip[12:]
    else:
        ip = struct.pack('!IHBB16s16s', 6 << 28, len(h), p['proto'], 64, p['src'].packed, p['dst'].packed)
    return ip + h


def parse(ip):
    """(protocol, source, destination, what follows)"""
    if not ip:
        return None
    if ip[0] >> 4 == 4 and len(ip) >= 20:
        return ip[9], ip[12:16], ip[16:20], ip[(ip[0] & 15) * 4:]
    if ip[0] >> 4 == 6 and len(ip) >= 40:
        return ip[6], ip[8:24], ip[24:40], ip[40:]
    return None


def ours(n):
    return n is not None and n >> 24 == FIRST >> 24 and n % STEP == 0


def number_of(proto, h):
    """Of a probe of ours; None."""
    n = None
    if proto == TCP and len(h) >= 8:
        n = struct.unpack('!I', h[4:8])[0]
    elif proto == UDP and len(h) >= 12:
        n = struct.unpack('!I', h[8:12])[0]
    elif proto == ICMP and len(h) >= 12 and h[0] == 8 or proto == ICMP6 and len(h) >= 12 and h[0] == 128:
        n = struct.unpack('!I', h[8:12])[0]
    elif proto in (ICMP, ICMP6) and len(h) > 8:
        inner = parse(h[8:])
        n = number_of(inner[0], inner[3]) if inner else None
    return n if ours(n) else None


def refused(proto, h):
    """The number of the probe that this refuses; None."""
    if proto == TCP and len(h) >= 14 and h[13] & RST:
        seq, ack = struct.unpack('!II', h[4:12])
        for n in (ack - 1, ack, seq - 2):
            if ours(n):
                return n
    if (proto == ICMP and h[:1] == b'\3') or (proto == ICMP6 and h[:1] == b'\1'):
        return number_of(proto, h)
    return None


class Wire:
    def __init__(self, ifaces):
        self.ifaces = list(ifaces)
        parent = os.getpid()
        self.far = os.fork()
        if not self.far:
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() == parent and not libc.unshare(CLONE_NEWNET):
                while True:
                    signal.pause()
            os._exit(1)
        here = os.open('/proc/self/ns/net', os.O_RDONLY)
        for _ in range(500):
            if os.readlink(f'/proc/{self.far}/ns/net') != os.readlink('/proc/self/ns/net'):
                break
            time.sleep(0.01)
        there = os.open(f'/proc/{self.far}/ns/net', os.O_RDONLY)
        self.sysctl('ipv4/ip_forward', 1)
        for k in ('all', 'default'):
            for x, y in (('rp_filter', 0), ('accept_local', 1), ('route_localnet', 1)):
                self.sysctl(f'ipv4/conf/{k}/{x}', y)
            for x, y in (('disable_ipv6', 0), ('forwarding', 1), ('accept_dad', 0), ('accept_ra', 0), ('router_solicitations', 0)):
                self.sysctl(f'ipv6/conf/{k}/{x}', y)
        for x, y in (('ipv4/icmp_ratelimit', 0), ('ipv4/icmp_ratemask', 0), ('ipv6/icmp/ratelimit', 0), ('ipv4/icmp_msgs_per_sec', 1000000),
                     ('ipv4/icmp_msgs_burst', 1000000), ('netfilter/nf_conntrack_tcp_be_liberal', 1), ('netfilter/nf_conntrack_acct', 0)):
            self.sysctl(x, y)
        lines = ['link set lo up']
        for n, i in enumerate(self.ifaces):
            lines += [f'link add {i} address 02:00:00:00:{n:02x}:01 type veth peer name {i} address 02:00:00:00:{n:02x}:02 netns {self.far}']
        self.ip(lines)
        for v in (4, 6):
            lines = []
            for n, i in enumerate(self.ifaces):
                if v == 4:
                    lines += [f'link set {i} up']
                lines += [f'addr add {self.own(n, v)}' + ('/32' if v == 4 else '/128 nodad') + f' dev {i}',
                          f'neigh replace {self.gate(n, v)} lladdr 02:00:00:00:{n:02x}:02 dev {i} nud permanent']
            self.ip(lines, v)
        libc.setns(there, 0)
        self.sysctl('ipv6/conf/all/disable_ipv6', 1)
        self.cable = {}
        for i in self.ifaces:
            subprocess.run(['ip', 'link', 'set', i, 'up'], check=True)
            self.cable[i] = self.tap(i)
        libc.setns(here, 0)
        self.lo = self.tap('lo')
        self.local = []
        for fam in (socket.AF_INET, socket.AF_INET6):
            for proto in (TCP, UDP, ICMP if fam == socket.AF_INET else ICMP6):
                self.local.append(socket.socket(fam, socket.SOCK_RAW, proto))
        self.raw = {4: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW),
                    6: socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW)}
        self.raw[6].setsockopt(socket.IPPROTO_IPV6, IPV6_HDRINCL, 1)
        for s in [*self.local, *self.cable.values(), self.lo]:
            s.setblocking(False)
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        self.number = FIRST

    @staticmethod
    def own(n, v):
        return f'192.0.2.{200 + n}' if v == 4 else f'2001:db8:ffff::{n + 1}'

    @staticmethod
    def gate(n, v):
        return f'169.254.{n}.1' if v == 4 else f'fe80::{n + 1}:1'

    @staticmethod
    def sysctl(name, value):
        try:
            with open('/proc/sys/net/' + name, 'w') as f:
                f.write(str(value))
        except OSError:
            pass        # of a kernel that has it not, or for all namespaces at once

    @staticmethod
    def ip(lines, v=4):
        r = subprocess.run(['ip', f'-{v}', '-batch', '-'], input='\n'.join(lines) + '\n', text=True, capture_output=True)
        if r.returncode:
            raise RuntimeError(r.stderr)

    @staticmethod
    def tap(iface):
        s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        s.bind((iface, 3))
        return s

    def close(self):
        os.kill(self.far, signal.SIGKILL)
        os.waitpid(self.far, 0)

    def place(self, where):
        """Which interface each address is behind; 'local': it is this machine's."""
        self.where = {ipaddress.ip_address(a): i for a, i in where.items()}
        for v in (4, 6):
            some = {a: i for a, i in self.where.items() if a.version == v}
            lines = [f'route flush table local proto {PLACE}', f'route flush table main proto {PLACE}']
            for a, i in some.items():
                if i == 'local':
                    lines.append(f'route replace local {a} dev lo table local proto {PLACE}')
                else:
                    lines.append(f'route replace {a} via {self.gate(self.ifaces.index(i), v)} dev {i} proto {PLACE}' + (' onlink' if v == 4 else ''))
            self.ip(lines, v)

    @staticmethod
    def forget():
        """Drops all tracked connections: IPCTNL_MSG_CT_DELETE for everything."""
        s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
        s.bind((0, 0))
        s.send(struct.pack('=IHHII', 20, 0x0102, 0x5, 1, 0) + struct.pack('=BBH', 0, 0, 0))
        s.recv(4096)
        s.close()

    def emit(self, p, number):
        ip = datagram(p, number)
        if p['way'] == 'output':
            s = self.raw[4 if p['v4'] else 6]
            s.setsockopt(socket.SOL_SOCKET, SO_MARK, p.get('mark', 0))
            try:
                s.sendto(ip, (str(p['dst']), 0))
            except OSError:
                pass        # so it says where a rule refuses
        else:
            n = self.ifaces.index(p['iif'])
            kind = b'\x08\x00' if p['v4'] else b'\x86\xdd'
            self.cable[p['iif']].send(bytes.fromhex(f'02000000{n:02x}01') + bytes.fromhex(f'02000000{n:02x}02') + kind + ip)

    def back(self, p):
        """The answer to p, and where it comes from."""
        a = dict(p, src=p['dst'], dst=p['src'], sport=p['dport'], dport=p['sport'], flags=SYN | ACK)
        a['way'] = {'forward': 'forward', 'output': 'input', 'input': 'output'}[p['way']]
        a['iif'] = p['iif'] if p['way'] == 'input' else self.where[p['dst']]
        return a

    def prepare(self, some):
        """Makes the connections that these packets belong to; nothing but TRACK must be loaded."""
        for p in some:
            first = dict(p.get('about') or p, flags=SYN)
            number = FIRST - 0x1000000      # of nobody
            self.emit(first, number)
            self.emit(self.back(first), number)
            self.emit(dict(first, flags=ACK), number)
        self.drain({})

    def drain(self, seen):
        """Reads what has come: seen[number] = set of fates."""
        some = 0
        for s in [*self.cable.values(), self.lo, *self.local]:
            while True:
                try:
                    data, where = s.recvfrom(65535)
                except BlockingIOError:
                    break
                some += 1
                if s in self.local:
                    if s.family == socket.AF_INET:
                        got = parse(data)
                    else:
                        got = (s.proto, socket.inet_pton(socket.AF_INET6, where[0].split('%')[0]), None, data)
                    place = 'local'
                else:
                    if s is not self.lo and where[2] == PACKET_OUTGOING:
                        continue    # what we have sent ourselves
                    got = parse(data[14:])
                    place = 'lo' if s is self.lo else 'far'
                if not got:
                    continue
                proto, _, dst, h = got
                n = refused(proto, h)
                if n is not None:
                    seen.setdefault(n, {})['refused'] = True
                n = number_of(proto, h)
                if n is not None:
                    error = (proto, h[:1]) in ((ICMP, b'\3'), (ICMP6, b'\1'))
                    seen.setdefault(n, {}).setdefault((place, error), (dst, h))
        return some

    def send(self, packets):
        """A fate for each: 'pass', 'moved' (to another address or port), 'reject', 'drop'."""
        begin = self.number
        seen = {}
        for p in packets:
            self.emit(p, self.number)
            self.number += STEP
            if (self.number - begin) % 256 == 0:
                self.drain(seen)
        end = time.monotonic() + QUIET
        while time.monotonic() < end:
            if self.drain(seen):
                end = time.monotonic() + QUIET
            select.select([*self.cable.values(), self.lo, *self.local], [], [], max(0, end - time.monotonic()))
        return [self.fate(p, seen.get(begin + STEP * i, {})) for i, p in enumerate(packets)]

    def fate(self, p, got):
        order = {'forward': ('far', 'local'), 'input': ('local', 'far'), 'output': ('far', 'lo')}[p['way']]
        for place in order:
            if (place, 'about' in p) not in got:
                continue
            dst, h = got[place, 'about' in p]
            same = place == order[0 if p['way'] != 'output' or self.where.get(p['dst']) != 'local' else 1]
            if dst is not None and dst != p['dst'].packed:
                same = False
            if p['proto'] in (TCP, UDP) and h[2:4] != struct.pack('!H', p['dport']):
                same = False
            return 'pass' if same else 'moved'
        return 'reject' if got.get('refused') and not p.get('about') else 'drop'
