"""One room of the rig: a process in a network namespace of its own.

It listens, answers and sends probes on the orders that come over a socket;
an order is a list whose first word names a do_ method below.
"""

import collections
import ctypes
import errno
import json
import os
import select
import socket
import struct
import subprocess
import time

CLONE_NEWCGROUP = 0x02000000
MS_BIND = 4096

IP_TRANSPARENT = 19
IP_PKTINFO = 8
IP_RECVERR = 11
IP_BIND_ADDRESS_NO_PORT = 24
IPV6_TRANSPARENT = 75
IPV6_RECVERR = 25
IPV6_RECVPKTINFO = 49
IPV6_PKTINFO = 50

# Who speaks when a probe names no source.
ANYONE = {4: "192.0.2.10", 6: "2001:db8:ffff::10"}
# Hooks at which the sender's own rules meet the packet.
OWN_WAYS = ("output", "loopback")
REFUSALS = (errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EACCES)

libc = ctypes.CDLL(None, use_errno=True)


def family(address):
	return 6 if ":" in address else 4


def put(sock, thing):
	data = json.dumps(thing).encode()
	sock.sendall(struct.pack("!I", len(data)) + data)


def get(sock):
	"""The next thing the other side put, None at its end."""
	def exactly(n):
		data = b""
		while len(data) < n:
			more = sock.recv(min(n - len(data), 1 << 20))
			if not more:
				return None
			data += more
		return data
	head = exactly(4)
	body = head and exactly(struct.unpack("!I", head)[0])
	return None if body is None else json.loads(body)


class Room:
	"""What runs inside one namespace: listeners, and a sender of probes.

	Every listener greets with the room's name and its own port, so that
	who connects knows who answered.
	"""

	def __init__(self, name, sock):
		self.name = name
		self.sock = sock
		self.poll = select.epoll()
		self.listeners = {}		# fd -> (socket, kind, port)
		self.ports = set()
		self.guests = []
		self.held = []
		self.tap = None

	def serve(self):
		self.poll.register(self.sock, select.EPOLLIN)
		while True:
			for fd, _ in self.poll.poll():
				if fd != self.sock.fileno():
					self.answer(fd)
					continue
				order = get(self.sock)
				if order is None:
					return
				try:
					put(self.sock, {"ok": getattr(self, "do_" + order[0])(*order[1:])})
				except (OSError, subprocess.SubprocessError) as failed:
					put(self.sock, {"failed": f"{self.name}: {order[0]}: {failed}"})

	def do_run(self, argv, text):
		done = subprocess.run(argv, input=text, capture_output=True, text=True,
		    env={**os.environ, "TZ": "UTC", "LC_ALL": "C.UTF-8"})
		return [done.returncode, done.stdout, done.stderr]

	def do_sysctl(self, wanted):
		for key, value in wanted.items():
			with open("/proc/sys/net/" + key, "w") as f:
				f.write(value)

	def do_forget(self):
		"""Empty the table of tracked connections, and let guests go."""
		for guest in self.guests:
			guest.close()
		self.guests.clear()
		with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12) as s:
			# IPCTNL_MSG_CT_DELETE of subsystem 1, for both families, acknowledged.
			s.sendto(struct.pack("=IHHIIBBH", 20, 1 << 8 | 2, 5, 1, 0, 0, 0, 0), (0, 0))
			length, kind, _, _, _, code = struct.unpack("=IHHIIi", s.recv(4096)[:20])
			if kind == 2 and code not in (0, -errno.ENOENT):
				raise OSError(-code, os.strerror(-code))

	def do_cgroups(self, path):
		"""Live in this control group, see it as the root, and mount it as such."""
		move_to(path)
		if libc.unshare(CLONE_NEWCGROUP):
			raise OSError(ctypes.get_errno(), "no namespace of control groups")
		if libc.mount(b"none", b"/sys/fs/cgroup", b"cgroup2", 0, None):
			raise OSError(ctypes.get_errno(), "cannot mount cgroup2")

	def do_listen(self, ports):
		for proto, port in ports:
			if (proto, port) in self.ports:
				continue
			for fam in (socket.AF_INET, socket.AF_INET6):
				kind = socket.SOCK_STREAM if proto == "tcp" else socket.SOCK_DGRAM
				s = socket.socket(fam, kind | socket.SOCK_NONBLOCK)
				s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
				transparent(s, fam)
				if fam == socket.AF_INET6:
					s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
				if proto == "udp":
					if fam == socket.AF_INET6:
						s.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVPKTINFO, 1)
					else:
						s.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
				s.bind(("", port))
				if proto == "tcp":
					s.listen(4096)
				self.listeners[s.fileno()] = (s, proto, port)
				self.poll.register(s, select.EPOLLIN)
			self.ports.add((proto, port))

	def answer(self, fd):
		"""Greet whoever came to one of our listeners."""
		s, proto, port = self.listeners[fd]
		hello = f"{self.name} {port}\n".encode()
		for _ in range(64):
			try:
				if proto == "tcp":
					guest, _ = s.accept()
					# Kept open: whoever connected closes first, by a
					# reset, so that no port stays behind in TIME_WAIT.
					self.guests.append(guest)
					guest.send(hello)
				else:
					_, info, _, peer = s.recvmsg(64, 64)
					s.sendmsg([hello], [(lv, ty, reply_from(lv, data)) for lv, ty, data in info
					    if ty in (IP_PKTINFO, IPV6_PKTINFO)], 0, peer)
			except BlockingIOError:
				return
			except OSError:
				continue

	def do_probe(self, probes, wait, window):
		"""Send all, at most `window` at a time; [fate, how] for each."""
		todo = collections.deque(range(len(probes)))
		out = [None] * len(probes)
		waiting = collections.OrderedDict()	# fd -> [index, socket, deadline, connected]

		def settle(fd, fate, how):
			i, s, _, _ = waiting.pop(fd)
			self.poll.unregister(fd)
			s.close()
			out[i] = [fate, how]

		while todo or waiting:
			while todo and len(waiting) < window:
				i = todo.popleft()
				try:
					s = self.start(probes[i])
				except OSError as refused:
					out[i] = self.at_once(probes[i], refused)
					continue
				waiting[s.fileno()] = [i, s, time.monotonic() + wait, False]
				self.poll.register(s, select.EPOLLOUT if probes[i]["proto"] == "tcp"
				    else select.EPOLLIN)
			if not waiting:
				continue
			first = next(iter(waiting.values()))[2]
			# All that has come is looked at before anything counts as silent.
			room = len(waiting) + len(self.listeners) + 1
			for fd, _ in self.poll.poll(max(0.0, first - time.monotonic()), room):
				if fd in self.listeners:
					self.answer(fd)
				elif fd in waiting:
					done = self.look(probes, waiting[fd])
					if done:
						settle(fd, *done)
				elif fd == self.sock.fileno():
					raise OSError("an order in the middle of another")
			now = time.monotonic()
			while waiting:
				fd, (i, s, deadline, connected) = next(iter(waiting.items()))
				if deadline > now:
					break
				late = s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
				settle(fd, *(["reject", errno.errorcode[late]] if late in REFUSALS else
				    ["stall", "connected, then silence"] if connected else
				    ["drop", "silence"]))
		return out

	# ---- single segments and long connections

	def do_watch(self):
		"""Look at every packet that comes in from now on."""
		if self.tap:
			self.tap.close()
		# ETH_P_ALL, without the link's header
		self.tap = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK,
		    socket.htons(3))

	def do_watched(self, numbers, wanted, wait, most):
		"""Which of these TCP sequence numbers came in; what is wanted is waited for at most so long."""
		seen, begun = set(), time.monotonic()
		while not seen.issuperset(numbers) and \
		    time.monotonic() < begun + (wait if seen.issuperset(wanted) else most):
			if not select.select([self.tap], [], [], 0.05)[0]:
				continue
			packet, where = self.tap.recvfrom(2048)
			tcp = packet[20:] if packet[0] >> 4 == 4 else packet[40:]
			if where[2] != socket.PACKET_OUTGOING and len(tcp) >= 20:
				seen.add(struct.unpack("!I", tcp[4:8])[0])
		return [n in seen for n in numbers]

	def do_segments(self, segments):
		"""Send TCP segments as they are: {src, dst, sport, dport, flags, seq}."""
		for g in segments:
			fam = socket.AF_INET6 if ":" in g["dst"] else socket.AF_INET
			src, dst = (socket.inet_pton(fam, g[k]) for k in ("src", "dst"))
			tcp = struct.pack("!HHIIBBHHH", g["sport"], g["dport"], g["seq"], 1, 0x50, g["flags"],
			    1024, 0, 0)
			pseudo = src + dst + (struct.pack("!BBH", 0, 6, len(tcp)) if fam == socket.AF_INET
			    else struct.pack("!II", len(tcp), 6))
			tcp = tcp[:16] + struct.pack("!H", checksum(pseudo + tcp)) + tcp[18:]
			head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(tcp), 0, 0, 64, 6, 0, src, dst) \
			    if fam == socket.AF_INET else \
			    struct.pack("!IHBB16s16s", 6 << 28, len(tcp), 6, 64, src, dst)
			with socket.socket(fam, socket.SOCK_RAW, socket.IPPROTO_RAW) as s:
				s.sendto(head + tcp, (g["dst"], 0))

	def do_hold(self, p):
		"""Connect and stay connected; the number of the connection, None where it may not be."""
		s = self.start(p)
		s.settimeout(30)
		try:
			s.recv(64)
		except OSError:
			s.close()
			return None
		self.held.append(s)
		return len(self.held) - 1

	def do_alive(self, n):
		"""Whether a byte still crosses the held connection and is acknowledged."""
		s = self.held[n]
		try:
			s.send(b"!")
			for _ in range(1000):
				time.sleep(0.02)
				# struct tcp_info (linux/tcp.h): tcpi_unacked at offset 24
				if struct.unpack_from("I", s.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 64), 24)[0] == 0:
					return True
			return False
		except OSError:
			return False

	def do_let_go(self):
		for s in self.held:
			s.close()
		self.held.clear()

	def start(self, p):
		"""The socket of a probe, on its way."""
		fam = socket.AF_INET6 if ":" in p["dst"] else socket.AF_INET
		kind = socket.SOCK_STREAM if p["proto"] == "tcp" else socket.SOCK_DGRAM
		s = self.born(fam, kind | socket.SOCK_NONBLOCK, p)
		try:
			transparent(s, fam)
			if kind == socket.SOCK_STREAM:
				s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
				s.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
				# An ICMP message often finds the socket still busy in connect();
				# only so does the kernel tell before the next SYN is due.
				if fam == socket.AF_INET6:
					s.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVERR, 1)
				else:
					s.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
			s.bind((p.get("src") or ANYONE[family(p["dst"])], p.get("sport", 0)))
			code = s.connect_ex((p["dst"], p["dport"]))
			if code not in (0, errno.EINPROGRESS):
				raise OSError(code, os.strerror(code))
			if kind == socket.SOCK_DGRAM:
				s.send(b"?")
		except OSError as refused:
			# netfilter says EPERM to a UDP sender for a drop and for a refusal
			# alike; only the refusal's ICMP message follows.
			if refused.errno == errno.EPERM and kind == socket.SOCK_DGRAM and p["hook"] in OWN_WAYS:
				return s
			s.close()
			raise
		return s

	def born(self, fam, kind, p):
		"""A socket that belongs to the probe's user and control group."""
		if p.get("cgroup"):
			move_to(p["cgroup"])
		if p.get("uid"):
			os.seteuid(p["uid"])
		try:
			return socket.socket(fam, kind)
		finally:
			if p.get("uid"):
				os.seteuid(0)
			if p.get("cgroup"):
				move_to(p["home"])

	def at_once(self, p, refused):
		name = errno.errorcode.get(refused.errno, str(refused.errno))
		if refused.errno in REFUSALS:
			return ["reject", name]
		return ["unsent", name]

	def look(self, probes, entry):
		"""[fate, how] when this socket's matter is decided, else None."""
		i, s, _, connected = entry
		p = probes[i]
		code = s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
		if code in REFUSALS:
			return ["reject", errno.errorcode[code]]
		if code:
			return ["unsent", errno.errorcode.get(code, str(code))]
		if p["proto"] == "tcp" and not connected:
			entry[3] = True
			entry[2] += 5.0		# it stands: the greeting may take its time
			self.poll.modify(s, select.EPOLLIN)
			return None
		try:
			who = s.recv(64).decode().split()
		except BlockingIOError:
			return None
		except OSError as refused:
			return self.at_once(p, refused)
		if who == [p["meant"], str(p["dport"])]:
			return ["allow", "connected" if p["proto"] == "tcp" else "answered"]
		if who and p["hook"] in OWN_WAYS and who[0] == self.name:
			return ["capture", f"answered by the host's own port {who[1]}"]
		return ["unsent", f"answered by {' '.join(who) or 'nobody'}"]


def checksum(data):
	"""The Internet checksum (RFC 1071)."""
	n = sum(struct.unpack(f"!{len(data) // 2}H", data))
	while n >> 16:
		n = (n & 0xffff) + (n >> 16)
	return ~n & 0xffff


def transparent(s, fam):
	if fam == socket.AF_INET6:
		s.setsockopt(socket.IPPROTO_IPV6, IPV6_TRANSPARENT, 1)
	else:
		s.setsockopt(socket.IPPROTO_IP, IP_TRANSPARENT, 1)


def reply_from(level, data):
	"""The control message that answers from the address that was written to."""
	if level == socket.IPPROTO_IPV6:
		return data[:16] + struct.pack("=I", 0)
	_, _, asked = struct.unpack("=I4s4s", data[:12])
	return struct.pack("=I4s4s", 0, asked, asked)


def bind_over(source, target):
	"""Lay one file or folder over another, in our own mount namespace."""
	if libc.mount(source.encode(), target.encode(), b"none", MS_BIND, None):
		raise OSError(ctypes.get_errno(), f"cannot bind {source} over {target}")


def move_to(cgroup):
	with open(cgroup + "/cgroup.procs", "w") as f:
		f.write("0")
