#!/usr/bin/env python3
"""Policies made at random, compiled, loaded, and met by random packets.

	random_policies.py --mailreeve PROGRAM [--seed N] [--count N] [--packets N]

Policy number i of a run is made from the seed N + i alone, so a failure is
made again with `--seed N+i --count 1`. The packets crowd at the edges of what
the policy names. What the kernel does with each must be what `mailreeve
explain` says, on days before and after each change, in both forms.
"""

import argparse
import collections
import datetime
import ipaddress
import json
import os
import random
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import dates
import policy_probes
import reeve
import report
import rig

MAIL = (25, 110, 143, 465, 587, 993, 995)
ZONES = ("UTC", "Europe/London", "America/New_York", "Asia/Kathmandu", "Pacific/Apia")
DAYS = ("2026-10-24", "2026-10-25", "2026-11-01", "2027-02-28", "2027-03-27", "2027-03-28", "2028-02-29")
USERS = ("www-data", "mailman", "4712")
UNITS = ("apache2.service", "mailman.service", "user.slice/user-1000.slice")
WORLD = {4: ("192.0.2.0/24", "198.51.100.0/24", "8.0.0.0/6", "131.111.0.0/16"),
    6: ("2001:db9::/32", "2a00::/12", "2001:630::/32")}


class Maker:
	"""One random policy: its text, and the edges of what it names."""

	def __init__(self, seed):
		self.r = random.Random(seed)
		self.edges = {4: set(), 6: set()}
		self.homes = {4: set(), 6: set()}	# edges of the zones
		self.ports = set(MAIL)		# named, or beside what is named
		self.aims = []			# named, as often as named
		self.users, self.units = set(), set()
		self.networks, self.relays = {}, {}
		self.kind = self.r.choice(("router", "router", "host"))
		self.nzone = self.r.choice((1, 1, 2, 2, 3, 10)) if self.kind == "router" else 0
		self.text = self.make(seed)

	def maybe(self, chance):
		return self.r.random() < chance

	# ---- addresses

	def below(self, parent, least=0):
		"""A random part of a prefix; often all of it, one address, or a half."""
		net = ipaddress.ip_network(parent)
		top = net.max_prefixlen
		length = self.r.choice((net.prefixlen, net.prefixlen + 1, top, top - 1, self.r.randint(net.prefixlen, top)))
		length = max(min(length, top), net.prefixlen + least)
		start = int(net.network_address) + (self.r.getrandbits(top) % net.num_addresses >> (top - length) << (top - length))
		return ipaddress.ip_network((start, length))

	def slice_of(self, zone, v):
		return f"10.{zone}.0.0/16" if v == 4 else f"2001:db8:{zone:x}::/48"

	def parent(self, v):
		"""Where the next prefix lies: in a zone, in the world, or in what was said before."""
		said = [n for n in self.said if n.version == v]
		kind = self.r.choice(("zone", "world", "world", "said"))
		if kind == "said" and said:
			return self.r.choice(said)
		if kind == "zone" and self.nzone:
			return self.slice_of(self.r.randrange(self.nzone), v)
		return self.r.choice(WORLD[v])

	def note(self, net, home=False):
		v = net.version
		lo, hi = int(net.network_address), int(net.broadcast_address)
		edges = {x for x in (lo - 1, lo, lo + 1, (lo + hi) // 2, hi - 1, hi, hi + 1)
		    if 0 <= x < 1 << net.max_prefixlen}
		self.edges[v] |= edges
		if home:
			self.homes[v] |= edges
			self.inside.append(net)
		self.said.append(net)

	def words(self, nets):
		out = []
		for n in nets:
			one = str(n) if n.prefixlen < n.max_prefixlen else str(n.network_address)
			out.append(f'"{one}"' if n.version == 6 else one)
		return "[" + ", ".join(out) + "]"

	def prefixes(self, families, parents=None, most=3, home=False, least=0):
		nets = []
		for v in families:
			for _ in range(self.r.randint(1, most)):
				n = self.below(parents[v] if parents else self.parent(v), least)
				self.note(n, home)
				nets.append(n)
		self.r.shuffle(nets)
		return nets

	def families(self):
		return self.r.choice(((4, 6), (4, 6), (4, 6), (4,), (6,)))

	def network(self, name, parents=None, home=False):
		"""Declare a network; ranges may overlap, hold one another, and have holes."""
		fams = self.families()
		nets = self.prefixes(fams, parents, home=home)
		line = f"ranges: {self.words(nets)}"
		if self.maybe(0.3):
			holes = []
			for n in nets:
				# A hole that is all of a family would leave it empty.
				if n.num_addresses > 4 and self.maybe(0.6):
					h = self.below(n, least=2)
					self.note(h, home)
					holes.append(h)
			if holes:
				line += f", except: {self.words(holes)}"
		if len(fams) == 1:
			line += f", families: ipv{fams[0]}"
		self.networks[name] = f"  {name}: {{{line}}}"

	def where(self):
		"""A place of a statement."""
		kind = self.r.choice(("anywhere", "name", "name", "literal"))
		if kind == "anywhere":
			return "anywhere"
		names = sorted(self.networks)
		if kind == "name" and names:
			return self.r.choice(names) if self.maybe(0.7) else \
			    "[" + ", ".join(self.r.sample(names, min(2, len(names)))) + "]"
		return self.words(self.prefixes(self.families(), most=2))

	# ---- ports, days, users

	def some_ports(self, among):
		chosen = self.r.sample(among, self.r.randint(1, min(3, len(among))))
		for p in chosen:
			for x in str(p).split("-"):
				self.ports.update((int(x) - 1, int(x), int(x) + 1))
				self.aims.append(int(x))
		return "[" + ", ".join(map(str, chosen)) + "]"

	def days(self):
		if not self.maybe(0.25):
			return ""
		a, b = sorted(self.r.sample(DAYS, 2))
		return self.r.choice((f", since: {a}", f", until: {b}", f", since: {a}, until: {b}", f", since: {a}, until: {a}"))

	def narrowed(self):
		"""users and units, on a host, outbound."""
		out = ""
		if self.maybe(0.5):
			u = self.r.sample(USERS, self.r.randint(1, 2))
			self.users.update(u)
			out += f", users: [{', '.join(u)}]"
		if self.maybe(0.3):
			u = self.r.sample(UNITS, self.r.randint(1, 2))
			self.units.update(u)
			out += f", units: [{', '.join(u)}]"
		return out

	# ---- statements

	def judge(self, direction, indent, host):
		r, pad = self.r, " " * indent
		out = []
		pool = list(MAIL) + ["2525", "1000-1010", "24", "26", "65535", "1"]
		r.shuffle(pool)
		cut = r.randint(2, len(pool) - 2)
		blocked, open_ = pool[:cut], pool[cut:]
		exempts = []
		for i in range(r.choice((0, 0, 1, 2, 3))):
			more = self.narrowed() if host and direction == "outbound" else ""
			exempts.append(f"{pad}  - {{name: e{i}, from: {self.where()}, to: {self.where()}, "
			    f"ports: {self.some_ports(pool)}, owner: o, reason: r{more}{self.days()}}}")
		if exempts:
			out += [f"{pad}exempt:"] + exempts
		only = host and direction == "outbound" and self.relays and self.maybe(0.4)
		if self.relays and (only or self.maybe(0.7)):
			chosen = r.sample(sorted(self.relays), r.randint(1, len(self.relays)))
			entries = []
			for name in chosen:
				more = self.days()
				if self.maybe(0.2):
					more += f", ports: {self.some_ports(pool)}"
				if host and direction == "outbound" and not only:
					more += self.narrowed() if self.maybe(0.3) else ""
				entries.append(f"{{relay: {name}{more}}}" if more else name)
			out.append(f"{pad}relays: [{', '.join(entries)}]")
		if only:
			out.append(f"{pad}only: forwarder")
		how = r.choice(("", ", with: reject", ", with: drop"))
		if self.maybe(0.8):
			some = []
			for _ in range(r.choice((1, 1, 2))):
				more = how + r.choice(("", ", log: true")) + self.days()
				if self.maybe(0.3):
					more += f", from: {self.where()}"
				if self.maybe(0.3):
					more += f", to: {self.where()}"
				before = len(self.aims)
				some.append(f"{pad}  - {{ports: {self.some_ports(blocked)}{more}}}")
				self.blocked += self.aims[before:]
			out += [f"{pad}block:"] + some
		if self.maybe(0.5):
			out += [f"{pad}roaming:"] + [f"{pad}  - {{ports: {self.some_ports(open_)}, to: {self.where()}"
			    + (f", from: {self.where()}" if self.maybe(0.3) else "") + self.days() + "}"
			    for _ in range(r.choice((1, 1, 2)))]
		if self.maybe(0.2):
			out.append(f"{pad}limit: {{connections: 500000, per: hour, each: {r.choice(('source', 'all'))}, "
			    f"to: anywhere, over: {r.choice(('log', 'reject', 'drop'))}}}")
		if host and direction == "outbound" and self.submission and self.maybe(0.6):
			out.append(f"{pad}capture: true")
		out.append(f"{pad}otherwise: " + r.choice(("untouched", "deny", "deny",
		    "{deny: true, with: drop}", "{deny: true, with: reject, log: true}")))
		return out

	def make(self, seed):
		r = self.r
		self.said, self.inside, self.blocked = [], [], []
		for z in range(self.nzone):
			self.network(f"home{z}", {v: self.slice_of(z, v) for v in (4, 6)}, home=True)
		for i in range(r.randint(0, 4)):
			self.network(f"net{i}")
		for i in range(r.randint(0, 3)):
			fams = self.families()
			end = r.sample(MAIL, r.randint(1, 3))
			lines = f"ranges: {self.words(self.prefixes(fams))}"
			if len(fams) == 1:
				lines += f", families: ipv{fams[0]}"
			if self.maybe(0.3):
				lines += ", ports: all"
			if self.maybe(0.2):
				place = self.where()
				lines += f", clients: {self.words(self.prefixes((4, 6))) if place == 'anywhere' else place}"
			ends = ", ".join(f"{{port: {p}, tls: {'implicit' if p == 465 else 'starttls'}}}" for p in end)
			self.relays[f"relay{i}"] = (f"  relay{i}: {{{lines}, host: r{i}.example.org, endpoints: [{ends}], "
			    "auth: none, accepts: {recipients: any}}")
		self.submission = self.kind == "host" and bool(self.relays)
		point = ["  here:", f"    kind: {self.kind}"]
		if self.maybe(0.3):
			point.append("    state: syn")
		if self.maybe(0.1):
			point.append("    mode: observe")
		if self.maybe(0.1):
			point.append("    as: chains")
		if self.kind == "host":
			if self.maybe(0.3):
				point.append("    containers: untouched")
			dirs = r.choice((("outbound",), ("outbound", "inbound"), ("inbound",)))
			for d in dirs:
				point += [f"    {d}:"] + self.judge(d, 6, True)
		else:
			point.append("    zones:")
			for z in range(self.nzone):
				point += [f"      zone{z}:", f"        inside: home{z}"]
				if self.maybe(0.3):
					point.append(f"        internal: {self.words(self.prefixes((4, 6)))}")
				if "families" in self.networks[f"home{z}"]:
					point.append("        families: " + self.networks[f"home{z}"].rpartition("families: ")[2].rstrip("}"))
				for d in r.choice((("outbound",), ("inbound",), ("outbound", "inbound"), ("outbound", "inbound"))):
					point += [f"        {d}:"] + self.judge(d, 10, False)
		text = ["mailreeve: 1", f"name: random-{seed}", f"timezone: {r.choice(ZONES)}"]
		if self.networks:
			text += ["networks:"] + [self.networks[n] for n in sorted(self.networks)]
		if self.relays:
			text += ["relays:"] + [self.relays[n] for n in sorted(self.relays)]
		text += ["points:"] + point
		if self.submission:
			text += ["submission:", '  listen: [127.0.0.1, "::1"]', "  user: mailreeve",
			    "  routes: [{to: any, via: relay0}]", "  unregistered: refuse"]
			self.users.add("mailreeve")
		return "\n".join(text) + "\n"

	# ---- packets

	def address(self, v, home):
		"""An address at an edge, or anywhere."""
		within = [n for n in self.inside if n.version == v]
		if home and within and self.maybe(0.6):
			n = self.r.choice(within)
			return str(self.r.choice((n[0], n[-1], n[self.r.randrange(n.num_addresses)])))
		edges = self.homes[v] if home and self.homes[v] else self.edges[v]
		if edges and self.maybe(0.9):
			x = self.r.choice(sorted(edges))
		else:
			x = self.r.getrandbits(32 if v == 4 else 128)
		return str(ipaddress.IPv4Address(x) if v == 4 else ipaddress.IPv6Address(x))

	def question(self):
		"""One packet: what to ask explain, and its hook."""
		v = self.r.choice((4, 6))
		a, b = self.address(v, True), self.address(v, self.maybe(0.15))
		if self.maybe(0.5):
			a, b = b, a
		port = self.r.choice(self.r.choice((self.blocked or MAIL, self.blocked or MAIL, self.aims or MAIL, MAIL,
		    sorted(p for p in self.ports if 0 < p < 65536), (self.r.randint(1, 65535),))))
		hook = "forward" if self.kind == "router" else self.r.choice(("output", "output", "input", "forward"))
		q = {"at": "here", "probe": reeve.written("udp" if self.maybe(0.02) else "tcp", a, b, port),
		    "way": reeve.WAYS[hook], "user": None, "unit": None}
		if hook == "output" and rig.real_root():
			if self.maybe(0.6):
				q["user"] = self.r.choice(sorted(self.users | {"4711"}))
			if self.maybe(0.1) and self.units:
				q["unit"] = self.r.choice(sorted(self.units))
		return q


def changing_days(text):
	"""The days that a policy's text names, and their neighbours."""
	days = set()
	for day in DAYS:
		if day in text:
			d = datetime.date.fromisoformat(day)
			days.update((d + datetime.timedelta(n)).isoformat() for n in (-1, 0, 1))
	return sorted(days)


def without(text, bad):
	"""The policy without the statements on these lines; None where a line is no statement."""
	lines = text.split("\n")
	for n in bad:
		words = lines[n - 1].strip()
		if not words.startswith(("- {", "relays:", "only:", "capture:", "limit:", "internal:")):
			return None
	kept = [line for n, line in enumerate(lines, 1) if n not in bad]
	return "\n".join(line for line, after in zip(kept, kept[1:] + [""])
	    if not (line.strip() in ("exempt:", "block:", "roaming:") and not after.strip().startswith("- {")))


def made_valid(t, prog, m, seed, path, seen):
	"""Write the policy; take out what mailreeve refuses, statement by statement. False: no use.

	Many random statements contradict each other or can decide nothing, and
	mailreeve says so; what stays is a policy that somebody could have.
	"""
	text = m.text
	for _ in range(30):
		with open(path, "w") as f:
			f.write(text)
		try:
			prog.run("check", "--format", "json", path)
			return True
		except reeve.ReeveError as refused:
			if not t.same(f"seed {seed}: check ends with", refused.status, 1, refused):
				return False
			errors = [d for d in reeve.diagnostics(refused) if d["severity"] == "error"]
		if not t.same(f"seed {seed}: a refusal has a reason", bool(errors), True):
			return False
		seen.update("refused " + d["code"] for d in errors)
		text = without(text, {d["line"] for d in errors})
		if text is None:
			break
	seen["invalid"] += 1
	return False


def one(t, net, prog, seed, packets, seen):
	m = Maker(seed)
	path = os.path.join(net.dir.name, f"random-{seed}.yaml")
	if not made_valid(t, prog, m, seed, path, seen):
		return
	with open(path) as f:
		m.text = f.read()
	text, form, hooks = policy_probes.all_forms(t, net, prog, path, "here", {u for u in m.users if not u.isdigit()})
	scratch = os.path.join(net.dir.name, "questions")
	days = changing_days(m.text)
	chosen = m.r.sample(days, min(3, len(days))) if days else ["2026-11-21"]
	for day in chosen:
		asked, sent = [], []
		while len(asked) < packets // len(chosen):
			q = {**m.question(), "date": day}
			p = reeve.packet(q["probe"], reeve.HOOKS[q["way"]], q["user"], q["unit"])
			if net.cannot(p) is None:
				asked.append(q)
				sent.append(p)
		told = prog.explain(path, asked, scratch)
		tomorrow = (datetime.date.fromisoformat(day) + datetime.timedelta(1)).isoformat()
		ends = prog.explain(path, [{**asked[0], "date": tomorrow}], scratch)[0]["date"]
		instant = m.r.choice((told[0]["date"] + 30, ends - 600))
		if form and m.maybe(0.5):
			policy_probes.put(net, json.dumps(dates.shift_json(json.loads(form), instant)), "json", hooks)
		else:
			policy_probes.put(net, dates.shift_text(text, instant), "nft", hooks)
		for q, p, a, fate in zip(asked, sent, told, net.probe(sent, [a["seen"] for a in told])):
			seen[a["fate"]] += 1
			t.same(f"seed {seed}: {q['probe']} {q['way']} by {q['user']} in {q['unit']} on {day}",
			    fate, a["seen"], f"{fate.how}; explain: {a['why']}")


def main():
	ap = argparse.ArgumentParser()
	ap.add_argument("--mailreeve", required=True)
	ap.add_argument("--seed", type=int, default=1)
	ap.add_argument("--count", type=int, default=40)
	ap.add_argument("--packets", type=int, default=600, help="for each policy")
	ap.add_argument("--print", action="store_true", help="print the policies and send nothing")
	args = ap.parse_args()
	if args.print:
		for i in range(args.count):
			print(Maker(args.seed + i).text)
		return 0
	rig.enter()
	prog = reeve.Reeve(args.mailreeve)
	t = report.Report(quiet=True)
	seen = collections.Counter()
	with rig.Rig() as net:
		for i in range(args.count):
			with t.part(f"seed {args.seed + i}"):
				one(t, net, prog, args.seed + i, args.packets, seen)
		print(f"seeds {args.seed} to {args.seed + args.count - 1}: "
		    + ", ".join(f"{n} {what}" for what, n in sorted(seen.items())))
		print(net.speed())
	if args.count >= 20:
		t.where = "variety"
		t.same("most policies are valid", seen["invalid"] * 4 < args.count, True, seen["invalid"])
		for fate in ("untouched", "allow", "reject", "drop"):
			t.same(f"some packets are {fate}", seen[fate] > 0, True)
	return t.end()


if __name__ == "__main__":
	sys.exit(main())
