#!/usr/bin/env python3
"""The rig itself, with rulesets written by hand: every fate, every hook, both families.

Runs without root. What needs several users or control groups is sent when
root is there, and named as not run otherwise.
"""

import os
import random
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import dates as moved
import report
import rig

ENDS = {4: ("131.111.64.9", "8.8.8.8"), 6: ("2001:630:210:100::5", "2001:4860:4860::8888")}
LOOP = {4: ("127.0.0.1", "127.0.0.1"), 6: ("::1", "::1")}


def probe(hook, dport, v=4, proto="tcp", **more):
	src, dst = LOOP[v] if hook == "loopback" else ENDS[v]
	return {"hook": hook, "proto": proto, "src": src, "dst": dst, "dport": dport, **more}


def table(*chains):
	return "table inet rigtest {\n" + "".join(chains) + "}\n"


def chain(hook, *rules, kind="filter", prio=0):
	body = "".join(f"\t\t{r}\n" for r in (f"type {kind} hook {hook} priority {prio};",) + rules)
	return f"\tchain {kind}_{hook} {{\n{body}\t}}\n"


EVERY_FATE = ("tcp dport 25 reject with tcp reset", "tcp dport 26 reject with icmpx admin-prohibited",
    "tcp dport 27 drop", "udp dport 25 reject with icmpx admin-prohibited", "udp dport 27 drop")


def every_fate(t, net):
	"""Each hook alone is given the rules; only its own packets may feel them."""
	wanted = {("tcp", 25): "reject", ("tcp", 26): "reject", ("tcp", 27): "drop",
	    ("udp", 25): "reject", ("udp", 27): "drop"}
	for ruled in ("forward", "output", "input"):
		guard = {"output": ('oifname "lo" accept',), "input": ('iifname "lo" accept',)}.get(ruled, ())
		net.load(table(chain(ruled, *guard, *EVERY_FATE)))
		sent = [probe(hook, dport, v, proto) for hook in rig.WAYS for v in (4, 6)
		    for proto in ("tcp", "udp") for dport in (24, 25, 26, 27)]
		wants = [wanted.get((p["proto"], p["dport"]), "allow") if p["hook"] == ruled else "allow" for p in sent]
		for p, want, fate in zip(sent, wants, net.probe(sent, wants)):
			t.same(f"rules at {ruled}: {p['proto']} {p['src']} -> {p['dst']}:{p['dport']} {p['hook']}",
			    fate, want, fate.how)


def how_it_was_refused(t, net):
	net.load(table(chain("forward", *EVERY_FATE)))
	for v, icmp in ((4, "EHOSTUNREACH"), (6, "EACCES")):
		reset, message = net.probe([probe("forward", 25, v), probe("forward", 26, v)])
		t.same(f"a reset is heard, IPv{v}", reset.how, "ECONNREFUSED")
		t.same(f"an ICMP message is heard, IPv{v}", message.how, icmp)


def loopback_is_a_way_of_its_own(t, net):
	net.load(table(chain("output", 'oifname != "lo" accept', "tcp dport 25 drop")))
	wanted = ["drop", "drop", "allow", "allow"]
	t.same("drop on lo only", net.probe([probe(h, 25, v) for h in ("loopback", "output") for v in (4, 6)], wanted),
	    wanted)


def answers_are_judged_too(t, net):
	"""A firewall that forgets the replies shows as silence, not as allow."""
	net.load(table(chain("forward", "tcp sport 25 drop")))
	t.same("the answer is dropped", net.probe([probe("forward", 25)]), ["drop"])
	net.load(table(chain("forward", "tcp sport 25 tcp flags & (syn|fin|rst) == 0 drop")))
	t.same("handshake only", net.probe([probe("forward", 25)], ["stall"]), ["stall"])


def capture(t, net):
	net.load(table(chain("output", "tcp dport 25 redirect to :587", kind="nat", prio=-100),
	    chain("output", "tcp dport 25 drop")))
	for v in (4, 6):
		t.same(f"redirected to the host's own port, IPv{v}",
		    net.probe([probe("output", 25, v), probe("output", 587, v)]), ["capture", "allow"])


def dates(t, net):
	"""The kernel judges by its own clock; the shifted text moves the day instead."""
	day = 1795132800		# 2026-11-20 00:00:00 UTC
	text = table(chain("forward",
	    f'meta time >= {day} meta time < {day + 86400} accept comment "meta time >= {day}"',
	    "tcp dport 25 drop"))
	now = int(time.time())
	for instant, want in ((day - 60, "drop"), (day + 60, "allow"), (day + 86340, "allow"),
	    (day + 86460, "drop")):
		net.load(moved.shift_text(text, instant))
		t.same(f"sent at day {instant - day:+d} s", net.probe([probe("forward", 25)], [want]), [want])
	later = moved.shift_text(text, day, now)
	t.same("only figures of time move", later,
	    text.replace(f"meta time >= {day} meta", f"meta time >= {now} meta")
	    .replace(f"meta time < {day + 86400} accept", f"meta time < {now + 86400} accept"))
	t.same("an instant before 1970 becomes 0", moved.shift_text("meta time < 5 drop", 100, 50),
	    "meta time < 0 drop")
	t.same("a comment line stays", moved.shift_text("# meta time >= 5", 100, 50), "# meta time >= 5")
	rule = {"match": {"op": ">=", "left": {"meta": {"key": "time"}}, "right": 100}}
	other = {"match": {"op": "==", "left": {"meta": {"key": "mark"}}, "right": 100}}
	t.same("JSON moves likewise", moved.shift_json({"nftables": [{"add": {"rule": {"expr": [rule, other]}}}]},
	    1100, 1000), {"nftables": [{"add": {"rule": {"expr": [
	    {"match": {"op": ">=", "left": {"meta": {"key": "time"}}, "right": 0}}, other]}}}]})


def json_is_text(t, net):
	net.load(table(chain("forward", "tcp dport 25 drop")))
	listed = net.listing()
	base = {"family": "inet", "table": "rigtest"}
	net.load('{"nftables": [{"add": {"table": {"family": "inet", "name": "rigtest"}}}, '
	    '{"add": {"chain": {"family": "inet", "table": "rigtest", "name": "filter_forward", '
	    '"type": "filter", "hook": "forward", "prio": 0, "policy": "accept"}}}, '
	    '{"add": {"rule": {"family": "inet", "table": "rigtest", "chain": "filter_forward", "expr": ['
	    '{"match": {"op": "==", "left": {"payload": {"protocol": "tcp", "field": "dport"}}, "right": 25}}, '
	    '{"drop": null}]}}}]}', form="json")
	t.same("both forms list alike", net.listing(), listed)
	t.same("and act alike", net.probe([probe("forward", 25), probe("forward", 24)], ["drop", "allow"]),
	    ["drop", "allow"])


def refusals_of_nft(t, net):
	try:
		net.load("table inet x {\n chain c {\n  tcp dprt 25 drop\n }\n}\n")
		t.same("a broken ruleset", "loaded", "refused")
	except rig.LoadError as refused:
		t.same("a broken ruleset is refused in nft's words", "dprt" in str(refused), True)


def loading_forgets(t, net):
	"""No state of an older ruleset may carry a connection through a newer one."""
	p = probe("forward", 26, proto="udp", sport=4000)
	net.load(table(chain("forward", "ct state established accept")))
	t.same("first", net.probe([p]), ["allow"])
	net.load(table(chain("forward", "ct state established accept", "udp dport 26 drop")))
	t.same("the same ports after a load", net.probe([p]), ["drop"])


def what_cannot_be_sent(t, net):
	net.load("")
	for hook, src, dst in (("forward", "224.0.0.1", "8.8.8.8"), ("forward", "10.0.0.1", "127.0.0.1"),
	    ("output", "10.0.0.1", "0.0.0.0"), ("forward", "10.0.0.1", "255.255.255.255"),
	    ("forward", "2001:db8::1", "::ffff:1.2.3.4"), ("forward", "2001:db8::1", "fe80::1"),
	    ("input", "2001:db8::1", "10.0.0.1"), ("output", "10.0.0.1", "10.0.0.1"),
	    ("forward", "10.0.0.1", "192.0.0.8")):
		fate, = net.probe([{"hook": hook, "proto": "tcp", "src": src, "dst": dst, "dport": 25}])
		t.same(f"{hook} {src} -> {dst} is said, not guessed", (fate, bool(fate.how)), ("unsent", True))


def odd_addresses(t, net):
	"""First and last addresses of everything are addresses like any other."""
	net.load(table(chain("forward", "ip daddr 10.0.0.0/31 tcp dport 25 drop",
	    "ip6 daddr 2001:db8::/127 tcp dport 25 drop")))
	ps, wanted = [], []
	for dst, want in (("10.0.0.0", "drop"), ("10.0.0.1", "drop"), ("9.255.255.255", "allow"),
	    ("10.0.0.2", "allow"), ("10.255.255.255", "allow"), ("1.0.0.0", "allow"), ("223.255.255.255", "allow"),
	    ("240.0.0.1", "allow"), ("255.255.255.254", "allow"), ("126.255.255.255", "allow"),
	    ("169.254.1.1", "allow"), ("2001:db8::", "drop"), ("2001:db8::1", "drop"), ("2001:db8::2", "allow"),
	    ("2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", "allow"), ("1::", "allow"), ("::2", "allow"),
	    ("febf:ffff::1", "unsent"), ("fec0::1", "allow"), ("fc00::", "allow"),
	    ("feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "allow")):
		for hook in ("forward", "input", "output"):
			ps.append({"hook": hook, "proto": "tcp", "src": ENDS[rig.family(dst)][0], "dst": dst, "dport": 25})
			wanted.append("allow" if want == "drop" and hook != "forward" else want)
	for p, fate, want in zip(ps, net.probe(ps, wanted), wanted):
		t.same(f"{p['hook']} to {p['dst']}", fate, want, fate.how)


def one_address_two_parts(t, net):
	"""The host's own address in one probe may be a stranger's in the next."""
	net.load("")
	a, b = "10.9.9.9", "10.8.8.8"
	ps = [{"hook": h, "proto": "tcp", "src": s, "dst": d, "dport": 25}
	    for h in ("output", "input", "loopback", "forward") for s, d in ((a, b), (b, a))]
	t.same("all arrive", list(net.probe(ps, ["allow"] * len(ps))), ["allow"] * len(ps))


def users(t, net):
	net.know({"rig-mail": 4711, "rig-web": 4712})
	net.load(table(chain("output", "meta skuid rig-mail accept", "tcp dport 25 reject with tcp reset")))
	fates = net.probe([probe("output", 25, v, user=u) for v in (4, 6)
	    for u in ("rig-mail", "rig-web", 4711, 4713, "root")])
	if fates[0] == "unsent":
		t.not_run("packets of several users at once", fates[0].how)
	else:
		t.same("rules on users", fates, ["allow", "reject", "allow", "reject", "reject"] * 2)
	if rig.real_root():
		return
	for user, want in (("rig-mail", "allow"), ("rig-web", "reject"), ("root", "reject")):
		net.act_as(user)
		net.load(table(chain("output", "meta skuid rig-mail accept", "tcp dport 25 reject with tcp reset")))
		t.same(f"as {user} without root", net.probe([probe("output", 25, user=user)]), [want])


def units(t, net):
	if not net.use_cgroups():
		t.not_run("packets of several units", net.cgroup_why)
		return
	unit = "system.slice/rig-web.service"
	net.unit(unit)
	net.load(table(chain("output", f'socket cgroupv2 level 2 "{unit}" accept', "tcp dport 25 reject with tcp reset")))
	t.same("rules on units", net.probe([probe("output", 25, v, unit=u) for v in (4, 6)
	    for u in (unit, "system.slice/other.service", None)]), ["allow", "reject", "reject"] * 2)


def many(t, net):
	"""Thousands at once, each with its own addresses: none may be lost."""
	net.load(table(chain("forward", *EVERY_FATE), chain("output", *EVERY_FATE)))
	r = random.Random(1)
	def some(v):
		return f"{r.randint(1, 126)}.{r.randint(0, 255)}.{r.randint(0, 255)}.{r.randint(0, 255)}" \
		    if v == 4 else f"2001:{r.randint(1, 65535):x}::{r.randint(1, 65535):x}"
	ps = [{"hook": r.choice(("forward", "output", "input")), "proto": "tcp", "src": some(v), "dst": some(v),
	    "dport": r.choice((24, 25, 26, 27))} for v in (4, 6) for _ in range(2500)]
	wants = ["allow" if p["hook"] == "input" else {24: "allow", 25: "reject", 26: "reject", 27: "drop"}[p["dport"]]
	    for p in ps]
	wrong = [(p, f, f.how) for p, w, f in zip(ps, wants, net.probe(ps, wants)) if f != w]
	t.same("5000 probes", wrong[:3], [])


def main():
	rig.enter()
	t = report.Report()
	with rig.Rig() as net:
		for one in (every_fate, how_it_was_refused, loopback_is_a_way_of_its_own, answers_are_judged_too,
		    capture, dates, json_is_text, refusals_of_nft, loading_forgets, what_cannot_be_sent,
		    odd_addresses, one_address_two_parts, users, units, many):
			with t.part(one.__name__):
				one(t, net)
		print(net.speed())
		left = net.cgroup_name
		pids = list(net.pids.values())
	with t.part("nothing_is_left"):
		t.same("no process is left", [pid for pid in pids if os.path.exists(f"/proc/{pid}")], [])
		t.same("no file is left", os.path.exists(net.dir.name), False)
		if left:
			with open("/proc/self/mountinfo") as f:
				tops = [line.split()[4] for line in f if " - cgroup2 " in line]
			t.same("no control group is left", [x for top in tops if os.path.isdir(top)
			    for x in os.listdir(top) if x == left], [])
	return t.end()


if __name__ == "__main__":
	sys.exit(main())
