#!/usr/bin/env python3
"""The role attempts over real packets: rules that `mailreeve compile` wrote, connects by real programs.

attempts.py --mailreeve PROGRAM --rig PROGRAM

Prints two figures: the share of attempts whose program was told, by what the
statement does, and how late an attempt is told.
"""

import argparse
import json
import os
import pathlib
import pwd
import resource
import select
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "netns"))

import report	# noqa: E402
import rig	# noqa: E402

POLICY = """\
mailreeve: 1
name: attempts
contact: root@example.org
points:
  host:
    kind: host
%s    outbound:
      block:
        - {name: reset, ports: [smtp], with: reject, log: true}
        - {name: silence, ports: [submission], with: drop, log: true}
      otherwise: untouched
"""

RESET, SILENCE = 25, 587
HERE4, THERE4, ELSEWHERE4 = "192.0.2.77", "192.0.2.10", "192.0.2.11"
HERE6, THERE6 = "2001:db8:1::77", "2001:db8:1::10"
# of this run alone: another beside it is seen, too
USER = 1000000 + os.getpid() % 1000000 * 1000
OTHER = USER + 1
FLOOD = 50000
LONG = 60	# seconds, for what surely comes: on a busy machine it takes its time
MOST_KIB = 16 << 10

# A program that tries once, says so, and stays until its input ends.
TRIES = """
import ctypes, os, socket, sys
user, name, where, port, wait = int(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]), float(sys.argv[5])
libc = ctypes.CDLL(None)
name = name.encode().decode("unicode_escape").encode("latin1")	# before a user without our files
# its name first: who looks sees no process of that user with another
if name:
	libc.prctl(15, name, 0, 0, 0)
if user >= 0:
	os.setgroups([])
	os.setresgid(user, user, user)
	os.setresuid(user, user, user)
	libc.prctl(4, 1, 0, 0, 0)
sys.stdin.readline()
s = socket.socket(socket.AF_INET6 if ":" in where else socket.AF_INET)
if wait:
	s.settimeout(wait)
else:
	s.setblocking(False)
try:
	s.connect((where, port))
	said = "connected"
except OSError as e:
	said = type(e).__name__
print(said, s.getsockname()[1], flush=True)
sys.stdin.readline()
"""


def sh(text):
	subprocess.run(["sh", "-ec", text], check=True)


class Told:
	"""The role at work; what it tells."""

	def __init__(self, program, cgroup, *options):
		self.p = subprocess.Popen([program, *options, *([cgroup] if cgroup else [])],
		    stdin=subprocess.PIPE, stdout=subprocess.PIPE)
		self.buf = b""
		self.ones, self.lines, self.end = [], [], {}
		self.lost = self.over = 0
		self.statements = {}
		self.pid = self._line(LONG)["ready"]

	def _line(self, seconds):
		"""The next line as a record; None when none came in that time, {} at the end."""
		until = time.monotonic() + seconds
		while b"\n" not in self.buf:
			left = until - time.monotonic()
			if left <= 0 or not select.select([self.p.stdout], [], [], left)[0]:
				return None
			got = os.read(self.p.stdout.fileno(), 1 << 16)
			if not got:
				return {}
			self.buf += got
		line, _, self.buf = self.buf.partition(b"\n")
		return json.loads(line)

	def _take(self, record):
		if "one" in record:
			self.ones.append({**record["one"], "late_us": record["late_us"], "fields": record["fields"]})
			self.lines.append(record["line"])
		elif "lost" in record:
			self.lost += record["lost"]
			self.over += record["over_rate"]
		elif "statement" in record:
			self.statements[record["statement"]] = record
		else:
			self.end.update(record)

	def until(self, wanted, seconds=LONG):
		"""The first attempt told that `wanted` accepts; None where none is told in that time."""
		until = time.monotonic() + seconds
		seen = 0
		while True:
			for one in self.ones[seen:]:
				seen += 1
				if wanted(one):
					return one
			record = self._line(max(0, until - time.monotonic()))
			if not record:
				return None
			self._take(record)

	def all(self, packets):
		"""Waits until as many packets have been told, or told to be lost."""
		until = time.monotonic() + LONG
		while self.packets() + self.over + self.lost < packets:
			record = self._line(max(0, until - time.monotonic()))
			if not record:
				return
			self._take(record)

	def finish(self):
		"""Ends it; its exit status."""
		self.p.stdin.close()
		while record := self._line(LONG):
			self._take(record)
		return self.p.wait(LONG)

	def line(self, one):
		return self.lines[self.ones.index(one)]

	def packets(self):
		return sum(one["count"] for one in self.ones)


class Program:
	"""A program that tries; `go` makes it try."""

	def __init__(self, where, port, *, user=-1, name="", wait=0.0, cgroup=None):
		self.p = subprocess.Popen([sys.executable, "-S", "-E", "-c", TRIES, str(user), name, where,
		    str(port), str(wait)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
		self.pid = self.p.pid
		if cgroup:
			with open(os.path.join(cgroup, "cgroup.procs"), "w") as f:
				f.write(str(self.pid))

	def go(self):
		self.p.stdin.write("\n")
		self.p.stdin.flush()
		self.said, port = self.p.stdout.readline().split()
		self.port = int(port)
		return self

	def end(self):
		self.p.stdin.close()
		self.p.wait(LONG)


def mine(program, port):
	return lambda one: one["source_port"] == program.port and one["port"] == port


def wire():
	"""Two cables whose far ends nobody listens at, and addresses that need no asking for."""
	sh(f"""
	ip link set lo up
	for n in 0 1; do
		ip link add near$n type veth peer name far$n
		echo 1 >/proc/sys/net/ipv6/conf/far$n/disable_ipv6
		echo 0 >/proc/sys/net/ipv6/conf/near$n/accept_dad
		echo 0 >/proc/sys/net/ipv4/conf/near$n/rp_filter
		ip link set near$n up; ip link set far$n up
	done
	echo 0 >/proc/sys/net/ipv4/conf/all/rp_filter
	echo 1 >/proc/sys/net/ipv4/ip_forward
	ip addr add {HERE4}/24 dev near0
	ip addr add {HERE6}/64 dev near0 nodad
	ip neigh add {THERE4} lladdr 02:00:00:00:00:01 dev near0
	ip neigh add {ELSEWHERE4} lladdr 02:00:00:00:00:01 dev near0
	ip neigh add {THERE6} lladdr 02:00:00:00:00:01 dev near0
	ip addr add 198.51.100.1/24 dev near1
	ip route add 203.0.113.0/24 dev near0
	ip neigh add 203.0.113.9 lladdr 02:00:00:00:00:02 dev near0
	""")


def load(mailreeve, extra=""):
	with tempfile.NamedTemporaryFile("w", suffix=".yaml") as f:
		f.write(POLICY % extra)
		f.flush()
		text = subprocess.run([mailreeve, "compile", "--to", "nft", f.name], check=True,
		    capture_output=True, text=True).stdout
	subprocess.run(["nft", "-f", "-"], input=text, text=True, check=True)


def counted():
	"""Packets that the rules counted, by statement: what really was refused."""
	out = json.loads(subprocess.run(["nft", "-j", "list", "counters"], check=True, capture_output=True,
	    text=True).stdout)
	return {c["counter"]["name"]: c["counter"]["packets"] for c in out["nftables"] if "counter" in c}


def checksum(data):
	if len(data) % 2:
		data += b"\0"
	total = sum(struct.unpack(f">{len(data) // 2}H", data))
	while total >> 16:
		total = (total & 0xffff) + (total >> 16)
	return ~total & 0xffff


def syn(src, dst, sport, dport):
	"""A frame with a SYN to near1, as from a machine at its far end."""
	mac = bytes.fromhex(pathlib.Path("/sys/class/net/near1/address").read_text().strip().replace(":", "")) \
	    if os.path.exists("/sys/class/net/near1/address") else near1_mac()
	tcp = struct.pack(">HHIIBBHHH", sport, dport, 1, 0, 0x50, 2, 1024, 0, 0)
	ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 40, 0, 0, 64, 6, 0, socket.inet_aton(src), socket.inet_aton(dst))
	ip = ip[:10] + struct.pack(">H", checksum(ip)) + ip[12:]
	return mac + bytes.fromhex("020000000009") + b"\x08\x00" + ip + tcp


def near1_mac():
	out = json.loads(subprocess.run(["ip", "-j", "link", "show", "near1"], check=True, capture_output=True,
	    text=True).stdout)
	return bytes.fromhex(out[0]["address"].replace(":", ""))


def cgroup_mount():
	"""The cgroup2 mount, where folders may be made in it; else None."""
	with open("/proc/mounts") as f:
		for line in f:
			where, kind = line.split()[1:3]
			if kind == "cgroup2" and os.access(where, os.W_OK):
				return where
	return None


class Groups:
	"""Control groups of our own, as systemd would lay them out."""

	def __init__(self, mount):
		self.mount = mount
		self.top = f"mailreeve-test-{os.getpid()}.slice"
		self.made = []

	def make(self, name):
		for path in (self.top, f"{self.top}/{name}"):
			full = os.path.join(self.mount, path)
			if not os.path.isdir(full):
				os.mkdir(full)
				self.made.append(full)
		return full

	def remove(self):
		for full in reversed(self.made):
			for _ in range(100):
				try:
					os.rmdir(full)
					break
				except OSError:
					time.sleep(0.05)


def own_user(r, args, groups):
	"""Programs of our own user, seen without the jail: what the role could know at most."""
	told = Told(args.rig, groups and groups.mount, "--no-jail")
	me = os.path.realpath(sys.executable)

	with r.part("a dropped SYN is told with its process, IPv4 and IPv6"):
		for where, here in ((THERE4, HERE4), (THERE6, HERE6)):
			p = Program(where, SILENCE, name="form mailer").go()
			one = told.until(mine(p, SILENCE)) or {}
			r.same("statement", one.get("statement"), "outbound-silence")
			r.same("hook", one.get("hook"), "output")
			r.same("ends", (one.get("source"), one.get("destination")), (here, where))
			r.same("out", one.get("out"), "near0")
			r.same("uid", one.get("uid"), os.getuid())
			r.same("user", one.get("user"), pwd.getpwuid(os.getuid()).pw_name)
			r.same("pid", (one.get("pid"), one.get("pid_sure")), (p.pid, True))
			r.same("exe", one.get("exe"), me)
			r.same("program", one.get("program"), "form mailer")
			if groups:
				r.same("unit is the kernel's", one.get("unit_sure"), True)
			p.end()

	with r.part("a program's name brings no line or words of its own"):
		p = Program(THERE4, SILENCE, name="x)\\n\\x1b[2J tried").go()
		one = told.until(mine(p, SILENCE))
		r.same("raw in JSON", one and one["program"], "x)\n\x1b[2J tried")
		line = told.line(one) if one else ""
		r.same("line", line.split(" (uid")[0], '"x)\\x0a\\x1b[2J tried"')
		r.same("one line, nothing but text", line.isprintable(), True)
		p.end()

	with r.part("a refused SYN is told with its user, which the packet brought"):
		for where in (THERE4, THERE6):
			p = Program(where, RESET, wait=2).go()
			r.same("the program saw", p.said, "ConnectionRefusedError")
			one = told.until(mine(p, RESET)) or {}
			r.same("statement", one.get("statement"), "outbound-reset")
			r.same("uid", one.get("uid"), os.getuid())
			# The socket has gone, mostly: a busy machine lets the role look before its end.
			r.same("sure only where right", one.get("pid_sure") and one["pid"] != p.pid, False)
			p.end()

	with r.part("repeated SYNs of one connection are one attempt, told twice at most"):
		before = counted()["outbound-silence"]
		p = Program(ELSEWHERE4, SILENCE, wait=3.5).go()
		told.until(mine(p, SILENCE))
		p.end()
		sent = counted()["outbound-silence"] - before
		r.same("SYNs", sent >= 2, True, f"{sent}")
		repeated = p.port

	with r.part("a program that was killed at once leaves its user"):
		p = Program(THERE4, SILENCE).go()
		os.kill(p.pid, signal.SIGKILL)
		p.p.wait(LONG)
		one = told.until(mine(p, SILENCE)) or {}
		r.same("uid", one.get("uid"), os.getuid())
		p.end()

	with r.part("what is forwarded has addresses and no program"):
		s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
		s.bind(("far1", 0))
		frame = syn("198.51.100.5", "203.0.113.9", 4000, RESET)
		for _ in range(3):
			s.send(frame)
		one = told.until(lambda one: one["hook"] == "forward") or {}
		r.same("count", one.get("count"), 3)
		r.same("ends", (one.get("source"), one.get("destination"), one.get("port")),
		    ("198.51.100.5", "203.0.113.9", RESET))
		r.same("interfaces", (one.get("in"), one.get("out")), ("near1", "near0"))
		r.same("nobody", (one.get("uid"), one.get("pid"), one.get("unit"), one.get("program")), (None,) * 4)
		r.same("line", one and told.line(one), "198.51.100.5:4000 tried 203.0.113.9:25, forwarded, "
		    "3 packets: refused by outbound-reset, in near1, out near0")

	with r.part("all that was refused was told"):
		# the last of them was, so all have been read; counts of what comes again are told at its end
		r.same("exit status", told.finish(), 0)
		of = [one for one in told.ones if one["source_port"] == repeated]
		r.same("the repeated SYNs", (sum(one["count"] for one in of), len(of) <= 2), (sent, True))
		r.same("packets", told.packets() + told.lost + told.over, sum(counted().values()))
		r.same("per statement", {k: v["packets"] for k, v in told.statements.items()},
		    {k: sum(one["count"] for one in told.ones if one["statement"] == k) for k in told.statements})
	return told


def observed(r, args):
	"""mode: observe, where the packet passes."""
	load(args.mailreeve, "    mode: observe\n")
	told = Told(args.rig, None, "--no-jail")
	with r.part("what is only observed is said to be, and its program is sure"):
		p = Program(THERE4, RESET).go()
		one = told.until(mine(p, RESET)) or {}
		r.same("statement", (one.get("statement"), one.get("observed")), ("outbound-reset", True))
		r.same("pid", (one.get("pid"), one.get("pid_sure")), (p.pid, True))
		r.same("said", "would be refused by outbound-reset" in (told.line(one) if one else ""), True)
		p.end()
		r.same("exit status", told.finish(), 0)
	load(args.mailreeve)


def other_users(r, args, groups):
	"""Users and units, seen by the role as it runs: another user, in its jail."""
	if not groups:
		r.not_run("several users and units", "only root, with a cgroup2 mount, can make them")
		return
	told = Told(args.rig, groups.mount, "--uid", "65534")
	apache, cron = groups.make("apache2.service"), groups.make("cron.service")
	name = os.path.basename

	with r.part("the role has no right left"):
		for _ in range(500):	# it begins
			status = dict(line.split(":\t", 1) for line in
			    pathlib.Path(f"/proc/{told.pid}/status").read_text().splitlines() if ":\t" in line)
			if status["NoNewPrivs"] == "1" and int(status["CapPrm"], 16) == 0:
				break
			time.sleep(0.01)
		r.same("user", status["Uid"].split(), ["65534"] * 4)
		r.same("capabilities", {int(status[k], 16) for k in ("CapPrm", "CapEff", "CapInh", "CapAmb")}, {0})
		r.same("no new privileges", status["NoNewPrivs"], "1")

	with r.part("a dropped SYN is told with its unit, two users and two units apart"):
		for user, unit in ((USER, apache), (USER, cron), (OTHER, cron)):
			p = Program(THERE4, SILENCE, user=user, name=f"m{user}", cgroup=unit).go()
			one = told.until(mine(p, SILENCE)) or {}
			r.same("uid", one.get("uid"), user)
			r.same("out", one.get("out"), "near0")
			r.same("unit", (one.get("unit"), one.get("unit_sure")), (name(unit), True))
			r.same("cgroup", one.get("cgroup"), f"{groups.top}/{name(unit)}")
			# the only process of that user in that unit: said, and said to be likely
			r.same("pid", (one.get("pid"), one.get("pid_sure")), (p.pid, False))
			r.same("program", one.get("program"), f"m{user}")
			p.end()

	with r.part("a refused SYN of a user with one process is told with it, as likely"):
		p = Program(THERE4, RESET, user=USER, name="lone", wait=2, cgroup=apache).go()
		one = told.until(mine(p, RESET)) or {}
		r.same("uid", one.get("uid"), USER)
		r.same("unit, pid", (one.get("unit"), one.get("pid"), one.get("pid_sure")),
		    ("apache2.service", p.pid, False))
		likely = "" if one.get("unit_sure") else "likely "	# a busy machine: the socket was seen
		r.same("said", one and told.line(one).startswith(f"lone, likely (uid {USER}, {likely}unit "
		    f"apache2.service, likely pid {p.pid})"), True)
		p.end()

	with r.part("a refused SYN of a user with several processes names them, and claims none"):
		idle = [Program(THERE4, RESET, user=USER, name="idle", cgroup=cron) for _ in range(2)]
		p = Program(THERE4, RESET, user=USER, name="busy", wait=2, cgroup=apache)
		# they become that user by themselves
		for q in (*idle, p):
			for _ in range(500):
				if os.stat(f"/proc/{q.pid}").st_uid == USER and \
				    pathlib.Path(f"/proc/{q.pid}/comm").read_text().strip() in ("idle", "busy"):
					break
				time.sleep(0.01)
		p.go()
		one = told.until(mine(p, RESET)) or {}
		if one.get("unit_sure"):	# a busy machine: the socket was seen
			r.same("unit, pid", (one["unit"], one["pid"]), ("apache2.service", p.pid))
		else:
			r.same("pid, unit, program", (one.get("pid"), one.get("unit"), one.get("program")), (None,) * 3)
			r.same("among", one.get("among"), "idle x2, busy")
		for q in (*idle, p):
			q.end()

	with r.part("a unit that came after the role began is found"):
		late = groups.make("late.service")
		time.sleep(1.1)	# two walks are a second apart
		p = Program(THERE4, SILENCE, user=OTHER, cgroup=late).go()
		one = told.until(mine(p, SILENCE)) or {}
		r.same("unit", one.get("unit"), "late.service")
		p.end()

	with r.part("a program that was killed leaves its user, and its unit where the socket lived on"):
		p = Program(THERE4, RESET, user=OTHER, wait=2, cgroup=cron).go()
		os.kill(p.pid, signal.SIGKILL)
		p.p.wait(LONG)
		one = told.until(mine(p, RESET)) or {}
		r.same("uid", one.get("uid"), OTHER)
		p.end()
		r.same("exit status", told.finish(), 0)

	figures(r, args, groups)


def witnessed(r, args, groups):
	"""With the kernel's word on who connects: the process of a connection that was reset, too."""
	if not groups or subprocess.run(["mount", "-t", "tracefs", "none", "/sys/kernel/tracing"],
	    capture_output=True).returncode:
		r.not_run("who connects, as the kernel's tracepoint tells it", "only root, with tracefs, can see it")
		return
	options = ("--uid", "65534", "--trace")
	apache, cron = groups.make("apache2.service"), groups.make("cron.service")
	told = Told(args.rig, groups.mount, *options)

	with r.part("a refused SYN is told with its process, among several of its user, IPv4 and IPv6"):
		for where in (THERE4, THERE6):
			idle = Program(where, RESET, user=USER, name="idle", cgroup=apache)
			p = Program(where, RESET, user=USER, name="busy", wait=2, cgroup=cron).go()
			r.same("the program saw", p.said, "ConnectionRefusedError")
			one = told.until(mine(p, RESET)) or {}
			r.same("uid", one.get("uid"), USER)
			r.same("pid", (one.get("pid"), one.get("pid_sure")), (p.pid, True))
			r.same("program", one.get("program"), "busy")
			r.same("unit", (one.get("unit"), one.get("unit_sure")), ("cron.service", True))
			r.same("said", one and told.line(one).startswith(
			    f"busy (uid {USER}, unit cron.service, pid {p.pid}) tried"), True)
			p.end()
			idle.end()

	with r.part("two at once to the same place are not taken for one another"):
		two = [Program(THERE4, RESET, user=USER, name=f"t{i}", wait=2, cgroup=apache) for i in range(8)]
		for p in two:
			p.p.stdin.write("\n")
			p.p.stdin.flush()
		for p in two:
			p.said, port = p.p.stdout.readline().split()
			p.port = int(port)
		ports = {p.port: p.pid for p in two}
		told.until(lambda one: ports.keys() <= {one["source_port"] for one in told.ones})
		named = [(one["pid"], ports[one["source_port"]]) for one in told.ones if one["source_port"] in ports]
		r.same("named", [pid for pid, really in named if pid and pid != really], [])
		r.same("at least one", any(pid for pid, _ in named), True)
		for p in two:
			p.end()

	with r.part("a program that was killed is told by its number"):
		p = Program(THERE4, RESET, user=OTHER, wait=2, cgroup=cron).go()
		os.kill(p.pid, signal.SIGKILL)
		p.p.wait(LONG)
		one = told.until(mine(p, RESET)) or {}
		r.same("pid", (one.get("uid"), one.get("pid"), one.get("pid_sure")), (OTHER, p.pid, True))
		p.end()
		r.same("exit status", told.finish(), 0)
	figures(r, args, groups, *options)


def figures(r, args, groups, *options):
	"""What share of attempts is told with its unit and process."""
	options = options or ("--uid", "65534")
	apache, cron = groups.make("apache2.service"), groups.make("cron.service")
	each, late = 20, []
	sh("for i in $(seq 100 119); do ip neigh replace 192.0.2.$i lladdr 02:00:00:00:00:01 dev near0; done")

	with r.part("figures"):
		told = Told(args.rig, groups.mount, *options)
		print("figure: " + ("seen connecting by the tracepoint" if "--trace" in options else
		    "by socket and processes alone") + ":")
		for users in ("a user each", "one user's, at once"):
			for what, port, wait in (("dropped", SILENCE, 0.0), ("refused", RESET, 2.0)):
				user = USER + 100 + 100 * len(told.ones) // each
				got = [Program(f"192.0.2.{100 + i}", port, wait=wait, name=f"p{i % 2}",
				    user=user + i if users == "a user each" else user, cgroup=(apache, cron)[i % 2])
				    for i in range(each)]
				for p in got:
					p.go()
				wanted = {p.port for p in got}
				told.until(lambda one: wanted.discard(one["source_port"]) or not wanted)
				for p in got:
					p.end()
				by_port = {one["source_port"]: one for one in told.ones if one["port"] == port}
				ones = [(p, by_port[p.port]) for p in got if p.port in by_port]
				late += [one["late_us"] for _, one in ones]
				r.same("told", len(ones), each)
				r.same("with their users", [one["uid"] for _, one in ones],
				    [user + i if users == "a user each" else user for i in range(each)])
				r.same("no process named that was another", [(p.pid, one["pid"]) for p, one in ones
				    if one["pid"] and one["pid"] != p.pid], [])
				if what == "dropped":
					r.same("with their units", [one["unit"] for _, one in ones],
					    ["apache2.service", "cron.service"] * (each // 2))
				sums = {k: sum(1 for _, one in ones if one[k])
				    for k in ("unit_sure", "unit", "pid_sure", "pid", "program")}
				print(f"figure: {each} {what}, {users}: user {len(ones)}, unit {sums['unit']} "
				    f"(sure {sums['unit_sure']}), process {sums['pid']} (sure {sums['pid_sure']}), "
				    f"name {sums['program']}")
		r.same("exit status", told.finish(), 0)
	if late:
		late.sort()
		print(f"figure: packet to told: median {statistics.median(late) / 1000:.1f} ms, "
		    f"p99 {late[len(late) * 99 // 100] / 1000:.1f} ms (of it 1000 ms waiting for packets alike)")


def flood(r, args, groups):
	"""50,000 SYNs, alike and all different, read and not read."""
	s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
	s.bind(("far1", 0))
	s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
	one = syn("198.51.100.5", "203.0.113.9", 4000, SILENCE)
	frames = [one[:34] + struct.pack(">H", 1024 + i) + one[36:] for i in range(60000)]

	def differ(i):
		"""As from another machine each."""
		head = bytearray(frames[i % len(frames)])
		head[26:30] = bytes([10 + (i >> 20), i >> 12 & 255, i >> 4 & 255, 1 + (i & 15)])
		head[24:26] = b"\0\0"
		head[24:26] = struct.pack(">H", checksum(bytes(head[14:34])))
		return bytes(head)

	kinds = (("alike", lambda i: frames[i], False), ("all different", differ, False),
	    ("all different, while the role stands still", differ, True))
	for what, frame, still in kinds:
		with r.part(f"a flood of {FLOOD} SYNs, {what}: memory bounded, none uncounted"):
			load(args.mailreeve)
			told = Told(args.rig, groups and groups.mount,
			    *(["--uid", "65534"] if groups else []))
			frames_ready = [frame(i) for i in range(FLOOD)]
			if still:
				os.kill(told.pid, signal.SIGSTOP)
			begun = time.monotonic()
			for f in frames_ready:
				s.send(f)
			took = time.monotonic() - begun
			if still:
				os.kill(told.pid, signal.SIGCONT)
			# what was lost before it shows at the next packet that is read
			time.sleep(0.5)
			s.send(frames[7])
			sent = counted()["outbound-silence"]
			told.all(sent)
			status = told.finish()
			r.same("exit status", status, 0)
			r.same("arrived", sent, FLOOD + 1)
			r.same("told + over the rate + lost", told.packets() + told.over + told.lost, sent,
			    f"{told.packets()} + {told.over} + {told.lost}")
			r.same("lines", len(told.ones) <= 400, True, f"{len(told.ones)}")
			r.same("memory", told.end.get("peak_kib", 1 << 30) < MOST_KIB, True, f"{told.end}")
			if still:
				r.same("some were lost", told.lost > 0, True)
			print(f"figure: flood {what}: {FLOOD / took:.0f} SYN/s, told {len(told.ones)} attempts of "
			    f"{told.packets()} packets, over the rate {told.over}, lost {told.lost}, "
			    f"peak {told.end.get('peak_kib')} KiB")


def main():
	rig.enter()
	parser = argparse.ArgumentParser()
	parser.add_argument("--mailreeve", required=True)
	parser.add_argument("--rig", required=True)
	args = parser.parse_args()
	args.mailreeve, args.rig = os.path.abspath(args.mailreeve), os.path.abspath(args.rig)
	resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
	r = report.Report()
	wire()
	load(args.mailreeve)
	mount = cgroup_mount() if rig.real_root() else None
	groups = mount and Groups(mount)
	try:
		own_user(r, args, groups)
		observed(r, args)
		other_users(r, args, groups)
		witnessed(r, args, groups)
		flood(r, args, groups)
	finally:
		if groups:
			groups.remove()
	return r.end()


if __name__ == "__main__":
	sys.exit(main())
