"""A network of namespaces that sends real packets through a ruleset.

	sender --- router --- receiver        forwarded packets
	           host ----- peer            packets of one host: out, in, loopback

Nothing leaves the machine: each of the five rooms is a network namespace
of its own, and the pairs of virtual cables between them are the only
interfaces there are. No address of a probe is ever configured. The router
sends on whatever comes in at one side to the other side, and the ends take
every address for their own (IP_TRANSPARENT and a local default route), so
a probe costs a socket and no command.

	net = Rig()
	net.load(text)                  nft text, into router and host
	fates = net.probe([{"hook": "forward", "proto": "tcp",
	    "src": "10.0.0.1", "dst": "192.0.2.1", "dport": 25}])
	net.close()

A fate is one of the words in FATES; its attribute `how` tells what was seen.
Each room is one process that lives as long as the rig.
"""

import ctypes
import ipaddress
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time

import room
from room import ANYONE, bind_over, family, get, put

FATES = {
	"allow": "the connection reached the one it was meant for, and an answer came back",
	"reject": "it was refused at once, by a reset or an ICMP message",
	"drop": "silence, twice",
	"capture": "it was made, but the host's own listener answered",
	"stall": "it was made, but no answer came through it",
	"unsent": "the rig cannot send such a packet; `how` says why",
}

# Exit status by which a test says that it could not run here (as meson reads it).
SKIPPED = 77

CLONE_NEWNET = 0x40000000
PR_SET_PDEATHSIG = 1

# How long silence must last. The first look is short; whoever was silent is
# asked once more, alone with the other silent ones, before it counts as a drop.
LOOK = 0.3
SECOND_LOOK = 0.6
# An answer to UDP needs the other process to get its turn; TCP's handshake does not.
SECOND_LOOK_UDP = 1.2
# What ought to have come and did not: a busy machine takes its time before that is believed.
LAST_LOOK = 30.0
IN_FLIGHT = 400

# Where the router's and the host's own ICMP messages come from.
OWN = {4: "192.0.0.8", 6: "100::8"}

libc = room.libc


class Fate(str):
	"""One of FATES, with what was seen in `how`."""

	def __new__(cls, fate, how=""):
		it = super().__new__(cls, fate)
		it.how = how
		return it


class RigError(Exception):
	"""The rig itself failed; never a statement about a ruleset."""


class LoadError(RigError):
	"""nft refused a ruleset; the text is nft's."""


def enter():
	"""Start this program again in fresh namespaces, unless it runs in them.

	As root: new network and mount namespaces. Otherwise also a user
	namespace, in which the caller is root. Exits with SKIPPED, saying why,
	where the machine does not allow that.
	"""
	if os.environ.get("MAILREEVE_RIG") == str(os.getppid()):
		return
	flags = ["-nm"] if os.geteuid() == 0 else ["-Urnm"]
	for kind in (flags, ["-Urnm"]):
		try:
			seen = subprocess.run(["unshare", *kind, "ip", "-o", "link"],
			    capture_output=True, text=True)
		except FileNotFoundError as missing:
			skip(f"{missing.filename} is not installed")
		if seen.returncode == 0:
			break
	else:
		skip("no namespaces for us here: " + seen.stderr.strip())
	for tool in ("ip", "nft"):
		if not any(os.access(os.path.join(d, tool), os.X_OK)
		    for d in os.environ.get("PATH", "").split(":") + ["/usr/sbin", "/sbin"]):
			skip(f"{tool} is not installed")
	path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
	# unshare stays as our parent, so that its death takes us along.
	code = ("import os,sys; os.environ['MAILREEVE_RIG'] = str(os.getppid()); "
	    "os.execv(sys.executable, [sys.executable] + sys.argv[1:])")
	sys.stdout.flush()
	os.execvpe("unshare", ["unshare", *kind, "--fork", "--kill-child",
	    sys.executable, "-c", code, *sys.argv], {**os.environ, "PATH": path})


def skip(why):
	"""Say why nothing was run and exit as a skipped test."""
	print(f"not run: {why}")
	print("0 passed, 0 failed")
	sys.exit(SKIPPED)


def real_root():
	"""True when we may become other users: root, and not of a user namespace only."""
	with open("/proc/self/uid_map") as f:
		return os.geteuid() == 0 and f.read().split() == ["0", "0", "4294967295"]


def unsendable(probe):
	"""Why no packet of this kind can cross the rig, or None."""
	hook = probe["hook"]
	for end in ("src", "dst"):
		text = probe.get(end)
		if text is None:
			continue
		a = ipaddress.ip_address(text)
		if a.is_multicast or a.is_unspecified:
			return f"{text} is no address of one machine"
		if a.version == 4 and (a.packed[0] == 0 or text == "255.255.255.255"):
			return f"{text} is no address of one machine"
		if a.version == 6 and (a.ipv4_mapped is not None or a.is_link_local):
			return f"{text} does not cross a router"
		if a.is_loopback and hook != "loopback":
			return f"{text} does not leave a machine"
		if text in OWN.values() and hook != "loopback":
			return f"{text} is the rig's own"
	if hook in ("output", "input") and probe.get("src") == probe["dst"]:
		return "a packet to oneself is a loopback probe"
	if probe.get("src") and family(probe["src"]) != family(probe["dst"]):
		return "source and destination are of two families"
	if probe["proto"] not in ("tcp", "udp"):
		return f"protocol {probe['proto']} is not sent"
	return None


# room -> [(its interface, the other room, the other's interface)]
CABLES = [("sender", "in0", "router", "in1"), ("router", "out0", "receiver", "out1"),
    ("host", "net0", "peer", "net1")]
ROOMS = ("sender", "router", "receiver", "host", "peer")
RULED = ("router", "host")

# hook -> (who sends, who is meant)
WAYS = {"forward": ("sender", "receiver"), "output": ("host", "peer"),
    "input": ("peer", "host"), "loopback": ("host", "host")}


class Rig:
	"""The five rooms, their cables, and what can be done with them."""

	def __init__(self):
		"""Needs enter() first. Raises RigError where the kernel lacks something."""
		links = self._links()
		if links - {"lo"}:
			raise RigError(f"this namespace is not empty: {', '.join(sorted(links))}")
		soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
		resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))
		self.rooms = {}
		self.pids = {}
		self.sent = 0
		self.seconds = 0.0
		self.changed = 0		# second looks that saw something else
		self.users = {}
		self.cgroup = None		# where our tree of control groups is mounted
		self.cgroup_name = self.cgroup_fd = None
		self.cgroup_why = "not asked for"
		self.pretended = False		# folders where control groups would be
		# Our files are gone with our mount namespace, however we end.
		private = room.libc.mount(b"none", b"/run", b"tmpfs", 0, None) == 0
		self.dir = tempfile.TemporaryDirectory(prefix="mailreeve-rig-", dir="/run" if private else None)
		for name in ROOMS:
			self._open(name)
		self._wire()

	@staticmethod
	def _links():
		done = subprocess.run(["ip", "-j", "link"], capture_output=True, text=True, check=True)
		return {link["ifname"] for link in json.loads(done.stdout)}

	def _open(self, name):
		ours, theirs = socket.socketpair()
		parent = os.getpid()
		pid = os.fork()
		if pid == 0:
			status = 1
			try:
				ours.close()
				for other in self.rooms.values():
					other.close()
				libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
				signal.signal(signal.SIGINT, signal.SIG_IGN)
				if os.getppid() != parent or libc.unshare(CLONE_NEWNET):
					put(theirs, {"failed": f"{name}: {os.strerror(ctypes.get_errno())}"})
				else:
					put(theirs, {"ok": None})
					room.Room(name, theirs).serve()
					status = 0
			finally:
				os._exit(status)
		theirs.close()
		self.rooms[name] = ours
		self.pids[name] = pid
		self._result(name)

	def _result(self, name):
		said = get(self.rooms[name])
		if said is None:
			raise RigError(f"{name}: its process ended")
		if "failed" in said:
			raise RigError(said["failed"])
		return said["ok"]

	def order(self, name, *order):
		"""Have one room do one thing; its result."""
		put(self.rooms[name], order)
		return self._result(name)

	def run(self, name, argv, text=""):
		"""Run a program in a room: (status, output, messages)."""
		return tuple(self.order(name, "run", argv, text))

	def must(self, name, argv, text=""):
		status, out, err = self.run(name, argv, text)
		if status:
			raise RigError(f"{name}: {' '.join(argv)}: {err.strip()}")
		return out

	def _wire(self):
		"""Cables, routes and settings. No address but the routers' own."""
		for a, at_a, b, at_b in CABLES:
			self.must(a, ["ip", "link", "add", at_a, "type", "veth", "peer", "name", at_b,
			    "netns", str(self.pids[b])])
		ends = {name: [] for name in ROOMS}
		for n, (a, at_a, b, at_b) in enumerate(CABLES):
			ends[a].append((at_a, f"02:00:00:00:{n:02x}:0a", f"02:00:00:00:{n:02x}:0b"))
			ends[b].append((at_b, f"02:00:00:00:{n:02x}:0b", f"02:00:00:00:{n:02x}:0a"))
		for name in ROOMS:
			self._settle(name, ends[name])

	def _settle(self, name, ends):
		wanted = {"ipv4/conf/all/rp_filter": "0", "ipv4/conf/default/rp_filter": "0",
		    "ipv6/conf/all/disable_ipv6": "0", "ipv6/conf/all/accept_dad": "0",
		    "ipv4/icmp_ratelimit": "0", "ipv4/icmp_ratemask": "0",
		    "ipv6/icmp/ratelimit": "0", "ipv6/icmp/ratemask": "2",
		    "ipv4/ip_local_port_range": "10240 65000"}
		if name in RULED:
			wanted["ipv4/ip_forward"] = wanted["ipv6/conf/all/forwarding"] = "1"
		for link, _, _ in ends:
			wanted[f"ipv4/conf/{link}/rp_filter"] = "0"
			wanted[f"ipv6/conf/{link}/addr_gen_mode"] = "1"
		self.order(name, "sysctl", wanted)
		v4 = ["link set lo up"]
		v6 = []
		for link, mine, other in ends:
			v4 += [f"link set {link} address {mine} up",
			    f"neigh replace 169.254.1.1 lladdr {other} dev {link} nud permanent"]
			v6 += [f"neigh replace fe80::1 lladdr {other} dev {link} nud permanent"]
		for lines, near in ((v4, "169.254.1.1"), (v6, "fe80::1")):
			def way(link):
				return f"via {near} dev {link}" + (" onlink" if lines is v4 else "")
			if name == "router":
				# What comes in here leaves there. What the router itself says
				# (a reset, an ICMP message) goes to the sender: nobody else asks.
				lines += [f"route add default {way('out0')} table 100", "rule add iif in1 lookup 100",
				    f"route add default {way('in1')} table 101", "rule add iif out0 lookup 101",
				    f"route add default {way('in1')}"]
			else:
				link = ends[0][0]
				lines += [f"route add default {way(link)}", "route add local default dev lo table 100",
				    f"rule add iif {link} lookup 100"]
			if name in RULED:
				lines += [f"addr add {OWN[4 if lines is v4 else 6]} dev lo"
				    + ("" if lines is v4 else " nodad")]
		self.must(name, ["ip", "-4", "-batch", "-"], "\n".join(v4) + "\n")
		self.must(name, ["ip", "-6", "-batch", "-"], "\n".join(v6) + "\n")

	# -------------------------------------------------------- rulesets

	def load(self, text, form="nft"):
		"""Replace the ruleset of router and host; `form` is nft or json.

		Raises LoadError with nft's own words. Tracked connections are forgotten.
		"""
		for name in RULED:
			self.must(name, ["nft", "flush", "ruleset"])
		self.add(text, form)

	def add(self, text, form="nft"):
		"""Load a ruleset on top of what is there."""
		for name in RULED:
			status, _, err = self.run(name, ["nft"] + (["-j"] if form == "json" else [])
			    + ["-f", "-"], text)
			if status:
				raise LoadError(err.strip())
			self.order(name, "forget")

	def listing(self):
		"""The loaded ruleset as nft lists it, without counters' figures, in UTC."""
		return self.must("router", ["nft", "-s", "list", "ruleset"])

	def know(self, users):
		"""Let nft know these users by name: {name: number}. For this rig only."""
		path = os.path.join(self.dir.name, "passwd")
		first = not self.users
		if first:
			with open("/etc/passwd") as f:
				self.passwd = f.readlines()
			os.chmod(self.dir.name, 0o755)
		self.users = dict(users)
		with open(path, "w") as f:
			f.writelines(line for line in self.passwd if line.split(":")[0] not in users)
			f.writelines(f"{name}:x:{uid}:{uid}::/:/bin/false\n" for name, uid in users.items())
		os.chmod(path, 0o644)
		if first:
			bind_over(path, "/etc/passwd")

	def act_as(self, user):
		"""Send for this user from now on, also without root; rules are to be loaded after.

		In a user namespace there is one user, number 0. Which name that
		number has is ours to say: the user's, and no other's.
		"""
		if not real_root():
			names = sorted(set(self.users) | {"root"})
			self.know({name: 0 if name == user else 48000 + i for i, name in enumerate(names)})

	def uid(self, user):
		"""The number that a user of a probe has here; None when it has none."""
		if user is None or isinstance(user, int):
			return user or 0
		return self.users.get(user, 0 if user == "root" else None)

	# -------------------------------------------------------- probes

	def cannot(self, probe):
		"""Why this probe cannot be sent here, or None."""
		why = unsendable(probe)
		if why:
			return why
		uid = self.uid(probe.get("user"))
		if uid is None:
			return f"user {probe['user']} is not known"
		if uid and not real_root():
			return "another user's packets need root"
		if probe.get("unit") and not self.cgroup:
			return f"a unit's packets: {self.cgroup_why}"
		return None

	def probe(self, probes, wanted=None):
		"""Send every probe; a Fate for each, in order.

		`wanted` tells what the caller believes: silence where silence is
		wanted is not asked a second time, which saves most of the waiting;
		where it is not wanted it is asked a third time, for long.
		"""
		begun = time.monotonic()
		out = [None] * len(probes)
		todo = []
		for i, p in enumerate(probes):
			why = self.cannot(p)
			if why:
				out[i] = Fate("unsent", why)
			else:
				todo.append(i)
		for batch in self._batches(probes, todo):
			first = self._send(probes, batch, LOOK)
			silent = [i for i in batch if first[i] == "drop" and not (wanted and wanted[i] == "drop")]
			if silent:
				again = self._send(probes, silent,
				    SECOND_LOOK_UDP if any(probes[i]["proto"] == "udp" for i in silent)
				    else SECOND_LOOK, 4 * IN_FLIGHT)
				self.changed += sum(again[i] != "drop" for i in silent)
				first.update(again)
			late = [i for i in batch if wanted and first[i] in ("drop", "stall") and first[i] != wanted[i]]
			if late:
				again = self._send(probes, late, LAST_LOOK, 4 * IN_FLIGHT)
				self.changed += sum(again[i] != first[i] for i in late)
				first.update(again)
			for i in batch:
				out[i] = first[i]
			for name in ROOMS:
				self.order(name, "forget")
		self.sent += len(todo)
		self.seconds += time.monotonic() - begun
		return out

	def _batches(self, probes, todo):
		"""Split so that no address is the host's own and a stranger's in one batch.

		What the host says on its own behalf, an ICMP message included, must
		come from an address that it has.
		"""
		while todo:
			own, strange, batch, later = set(), set(), [], []
			for i in todo:
				p = probes[i]
				src = p.get("src") or ANYONE[family(p["dst"])]
				hook = p["hook"]
				mine = {"forward": set(), "output": {src}, "input": {p["dst"]},
				    "loopback": {src, p["dst"]}}[hook]
				theirs = {"forward": set(), "output": {p["dst"]}, "input": {src},
				    "loopback": set()}[hook]
				if mine & strange or theirs & own:
					later.append(i)
					continue
				own |= mine
				strange |= theirs
				batch.append(i)
			self._own(own)
			yield batch
			todo = later

	def _own(self, addresses):
		"""Make these, and no other probe's, the host's own addresses."""
		for v in (4, 6):
			lines = [f"route flush table local proto 99"] + [
			    f"route replace local {a} dev lo table local proto 99"
			    for a in sorted(addresses) if family(a) == v and not ipaddress.ip_address(a).is_loopback]
			self.must("host", ["ip", f"-{v}", "-batch", "-"], "\n".join(lines) + "\n")

	def _send(self, probes, which, wait, window=IN_FLIGHT):
		work = {}
		ports = {}
		for i in which:
			p = dict(probes[i])
			sender, p["meant"] = WAYS[p["hook"]]
			p["uid"] = self.uid(p.pop("user", None))
			unit = p.pop("unit", None)
			if unit:
				p["cgroup"], p["home"] = self.unit(unit), self.cgroup
			work.setdefault(sender, []).append((i, p))
			ports.setdefault(p["meant"], set()).add((p["proto"], p["dport"]))
		if "host" in work:
			# Where a captured connection ends.
			ports.setdefault("host", set()).add(("tcp", 587))
		for name, some in ports.items():
			self.order(name, "listen", sorted(some))
		for sender, some in work.items():
			put(self.rooms[sender], ["probe", [p for _, p in some], wait, window])
		out = {}
		for sender, some in work.items():
			for (i, _), (fate, how) in zip(some, self._result(sender)):
				out[i] = Fate(fate, how)
		return out

	def segments(self, segments, wanted):
		"""Send single TCP segments through the router; for each, whether it arrived.

		A segment is {src, dst, sport, dport, flags}, flags as in TCP's header.
		`wanted` tells which ought to arrive: they are waited for.
		"""
		some = [{**g, "seq": 1000 + i} for i, g in enumerate(segments)]
		self.order("receiver", "watch")
		self.order("sender", "segments", some)
		return self.order("receiver", "watched", [g["seq"] for g in some],
		    [g["seq"] for g, w in zip(some, wanted) if w], SECOND_LOOK, LAST_LOOK)

	# -------------------------------------------------------- control groups

	def use_cgroups(self):
		"""Make units possible: a tree of control groups of our own. True when it worked.

		Call it before loading rules that name units. It needs root, a
		writable cgroup2 and a kernel (6.11) that counts levels from the
		namespace's root. `cgroup_why` says what is missing.
		"""
		if self.cgroup:
			return True
		try:
			if not real_root():
				raise OSError("needs root")
			with open("/proc/self/mountinfo") as f:
				mounts = [line.split() for line in f if " - cgroup2 " in line]
			with open("/proc/self/cgroup") as f:
				here = [line.strip()[3:] for line in f if line.startswith("0::")]
			if not mounts or not here:
				raise OSError("no cgroup2")
			top = mounts[0][4] + here[0]
			name = f"mailreeve-rig.{os.getpid()}"
			self.cgroup_fd = os.open(top, os.O_RDONLY | os.O_DIRECTORY)
			os.mkdir(name, dir_fd=self.cgroup_fd)
			self.cgroup_name = name
			self.order("host", "cgroups", os.path.join(top, name))
			self.cgroup = "/sys/fs/cgroup"
		except (OSError, RigError) as missing:
			self.cgroup_why = str(missing)
			return False
		return True

	def unit(self, path):
		"""Make sure that this control group ("system.slice/x.service") exists."""
		full = os.path.join(self.cgroup, path)
		os.makedirs(full, exist_ok=True)
		return full

	def know_units(self, paths):
		"""Let rules name these control groups, whether or not we can send from them.

		nft asks the file system for a group's number and nothing else; where
		there is no cgroup2 for us, folders will do, and no packet comes from them.
		"""
		if not paths:
			return
		if not self.use_cgroups() and not self.pretended:
			if room.libc.mount(b"none", b"/sys/fs/cgroup", b"tmpfs", 0, None):
				raise RigError(f"no place for control groups: {os.strerror(ctypes.get_errno())}")
			self.pretended = True
		for path in paths:
			os.makedirs(os.path.join("/sys/fs/cgroup", path), exist_ok=True)

	def _no_cgroups(self):
		"""Take our control groups away again; their processes have ended."""
		if self.cgroup_name is None:
			return
		base = f"/proc/self/fd/{self.cgroup_fd}/{self.cgroup_name}"
		for folder, _, _ in os.walk(base, topdown=False):
			for _ in range(100):
				try:
					os.rmdir(folder)
					break
				except OSError:
					time.sleep(0.01)
		os.close(self.cgroup_fd)

	# -------------------------------------------------------- end

	def close(self):
		"""End every room; with them the namespaces and cables are gone."""
		for sock in self.rooms.values():
			sock.close()
		for pid in self.pids.values():
			os.waitpid(pid, 0)
		self.rooms, self.pids = {}, {}
		self._no_cgroups()
		self.dir.cleanup()

	def __enter__(self):
		return self

	def __exit__(self, *_):
		self.close()

	def speed(self):
		"""A line for people: how many probes went how fast."""
		rate = self.sent / self.seconds if self.seconds else 0
		return (f"{self.sent} probes in {self.seconds:.1f} s, {rate:.0f} a second, "
		    f"{self.changed} changed at the second look")
