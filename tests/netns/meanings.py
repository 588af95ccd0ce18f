#!/usr/bin/env python3
"""Meanings that a single packet does not show.

	meanings.py --mailreeve PROGRAM

Limits, later packets of a connection, connections that outlive an
exemption, counters. Small policies of their own, loaded and met.
"""

import argparse
import datetime
import json
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import dates
import reeve
import report
import rig

SYN, RST, ACK, FIN = 2, 4, 16, 1

POLICY = """mailreeve: 1
name: meanings
networks:
  home: {{ranges: [10.0.0.0/16, "2001:db8:1::/48"]}}
relays:
  relay:
    ranges: [192.0.2.0/24, "2001:db8:25::/64"]
    endpoints: [{{port: 25, tls: starttls}}]
points:
  here:
    kind: router
{point}
    zones:
      home:
        inside: home
        outbound:
          relays: [relay]
{stmts}
"""


class Bench:
	"""Compiles one policy after the other and loads it."""

	def __init__(self, net, prog):
		self.net, self.prog = net, prog
		self.path = os.path.join(net.dir.name, "meanings.yaml")

	def load(self, stmts, point="    state: conntrack", instant=None):
		with open(self.path, "w") as f:
			f.write(POLICY.format(point=point, stmts="\n".join("          " + s for s in stmts)))
		text = self.prog.compile(self.path, "here", "nft")
		self.net.load(text if instant is None else dates.shift_text(text, instant))


def tcp(src, dst, dport=25, **more):
	return {"hook": "forward", "proto": "tcp", "src": src, "dst": dst, "dport": dport, **more}


def counts(fates):
	return {f: fates.count(f) for f in sorted(set(fates))}


def limits(t, net, b):
	"""A bucket of `connections` for each source: that many at once, then the action."""
	for over, what in (("reject", "reject"), ("drop", "drop"), ("log", "allow")):
		b.load([f"limit: {{connections: 5, per: hour, each: source, to: relays, over: {over}}}",
		    "otherwise: untouched"])
		for src in ("10.0.0.1", "10.0.0.2"):
			t.same(f"over: {over}, {src}", counts(net.probe([tcp(src, "192.0.2.9")] * 8)),
			    {"allow": 8} if over == "log" else {"allow": 5, what: 3})
		same, other = "2001:db8:1:1::%x", "2001:db8:1:2::%x"
		for net64 in (same, other):
			t.same(f"over: {over}, eight addresses of one /64", counts(net.probe(
			    [tcp(net64 % i, "2001:db8:25::9") for i in range(1, 9)])),
			    {"allow": 8} if over == "log" else {"allow": 5, what: 3})
		t.same(f"over: {over}, not towards a relay", counts(net.probe(
		    [tcp("10.0.0.1", "198.51.100.1")] * 8)), {"allow": 8})


def limit_for_all(t, net, b):
	b.load(["limit: {connections: 5, per: hour, each: all, to: relays, over: reject}", "otherwise: untouched"])
	seen = net.probe([tcp(f"10.0.0.{i}", "192.0.2.9") for i in range(8)])
	t.same("one count for all sources", counts(seen), {"allow": 5, "reject": 3})


def limit_refines(t, net, b):
	"""A limit does not open what is closed, and does not count it."""
	b.load(["limit: {connections: 5, per: hour, each: source, to: anywhere, over: reject}",
	    "block: {ports: [smtp], with: drop}", "otherwise: untouched"])
	t.same("blocked", counts(net.probe([tcp("10.0.0.1", "198.51.100.1")] * 8)), {"drop": 8})


def full_table(t, net, b):
	"""A full table of sources means that the action is taken (never: that all may pass)."""
	b.load(["limit: {connections: 5, per: hour, each: source, to: relays, over: reject}", "otherwise: untouched"])
	text = b.prog.compile(b.path, "here", "nft").replace("size 65535", "size 4")
	if "size 4\n" not in text:
		t.not_run("a full table of sources", "the compiled text has no table of 65535")
		return
	net.load(text)
	seen = [net.probe([tcp(f"10.0.1.{i}", "192.0.2.9")])[0] for i in range(8)]
	t.same("sources past the table's size", seen, ["allow"] * 4 + ["reject"] * 4)
	t.same("sources in the table go on", net.probe([tcp("10.0.1.1", "192.0.2.9")]), ["allow"])


def later_packets(t, net, b):
	"""Segments without a connection: `syn` judges the first by its flags, conntrack all that it does not know."""
	block = ["block: {ports: [smtp], with: drop}", "otherwise: untouched"]
	ways = [("10.0.0.1", "198.51.100.1"), ("2001:db8:1::1", "2001:db8:99::1")]
	for state, judged in (("syn", {SYN}), ("conntrack", {SYN, ACK})):
		b.load(block, f"    state: {state}")
		for i, flags in enumerate((SYN, ACK, SYN | ACK, RST, FIN | ACK)):
			seen = net.segments([{"src": s, "dst": d, "sport": 2000 + i, "dport": 25, "flags": flags} for s, d in ways],
			    [flags not in judged and state == "syn"] * 2)
			if state == "conntrack" and flags not in judged:
				continue		# what the kernel calls invalid may be judged or not
			t.same(f"state {state}, flags {flags:#x}", seen, [flags not in judged] * 2)


def connections_outlive(t, net, b):
	"""An exemption ends by itself for new connections; the old ones live on."""
	b.load(["exempt: {name: e, from: 10.0.0.5, to: anywhere, ports: [smtp], owner: o, reason: r, until: 2027-03-31}",
	    "block: {ports: [smtp], with: reject}", "otherwise: untouched"])
	text = b.prog.compile(b.path, "here", "nft")
	end = int(datetime.datetime(2027, 4, 1, tzinfo=datetime.timezone.utc).timestamp())
	t.same("the end of the last day", reeve.instants_in(text), [end])
	p = tcp("10.0.0.5", "198.51.100.1")
	# it is to be sent before the end, and a busy machine takes its time
	for left in (3, 10, 60):
		now = int(time.time())
		net.load(dates.shift_text(text, end - left, now))
		fates = net.probe([p])
		held = net.order("sender", "hold", {**p, "meant": "receiver"})
		if time.time() < now + left:
			break
		net.order("sender", "let_go")
	t.same("before the end", fates, ["allow"])
	time.sleep(max(0, now + left + 0.2 - time.time()))
	t.same("after the end, the old one", held is not None and net.order("sender", "alive", held), True)
	t.same("after the end, a new one", net.probe([p]), ["reject"])
	net.order("sender", "let_go")


def counters(t, net, b):
	"""Every refusal is counted once, where its statement is named."""
	b.load(["block: {name: closed, ports: [smtp], with: reject}", "otherwise: untouched"])
	net.probe([tcp("10.0.0.1", "198.51.100.1")] * 7 + [tcp("2001:db8:1::1", "2001:db8:99::1")] * 4
	    + [tcp("10.0.0.1", "192.0.2.1")] * 3)
	seen = json.loads(net.must("router", ["nft", "-j", "list", "counters"]))["nftables"]
	some = {c["counter"]["name"]: c["counter"]["packets"] for c in seen if "counter" in c}
	t.same("the block's counters", sum(n for name, n in some.items() if "closed" in name), 11, str(some))


def observing(t, net, b):
	"""`mode: observe` refuses nothing and counts what it would have refused."""
	b.load(["block: {name: closed, ports: [smtp], with: reject}", "otherwise: deny"], "    mode: observe")
	t.same("all pass", counts(net.probe([tcp("10.0.0.1", "198.51.100.1")] * 7
	    + [tcp("10.0.0.1", "198.51.100.1", 465)])), {"allow": 8})
	seen = json.loads(net.must("router", ["nft", "-j", "list", "counters"]))["nftables"]
	some = {c["counter"]["name"]: c["counter"]["packets"] for c in seen if "counter" in c}
	t.same("and are counted", sum(some.values()), 8, str(some))


def main():
	ap = argparse.ArgumentParser()
	ap.add_argument("--mailreeve", required=True)
	args = ap.parse_args()
	rig.enter()
	t = report.Report()
	with rig.Rig() as net:
		b = Bench(net, reeve.Reeve(args.mailreeve))
		for one in (limits, limit_for_all, limit_refines, full_table, later_packets, connections_outlive,
		    counters, observing):
			with t.part(one.__name__):
				one(t, net, b)
		print(net.speed())
	return t.end()


if __name__ == "__main__":
	sys.exit(main())
