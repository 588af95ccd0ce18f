#!/usr/bin/env python3
"""The packet tests of policies, sent.

	policy_probes.py --mailreeve PROGRAM POLICY...

Each point of each policy is compiled to nft text, to JSON and to text in two
steps; all are loaded and must list alike. Then every packet test of the policy is sent, on
its day and, where it names none, on each day before and after a change of
the rules, in the first and in the last minute of that day. Its fate must be
the one that `mailreeve explain` tells and the one that the test expects.
"""

import argparse
import datetime
import json
import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import dates
import reeve
import report
import rig


def rules(net, text):
	"""Let the users and units that a ruleset names be there."""
	new = reeve.users_in(text) - set(net.users)
	if new:
		net.know({**net.users, **{name: 48000 + len(net.users) + i for i, name in enumerate(sorted(new))}})
	net.know_units(sorted(reeve.units_in(text)))


def put(net, text, form="nft", hooks=""):
	"""Load a ruleset, and the hooks of one that has none."""
	net.load(text, form)
	if hooks:
		net.add(hooks)


def all_forms(t, net, prog, policy, point, users):
	"""Load a point as text, as JSON and in two steps; all must list alike.

	Gives the text, the JSON (None when there is none) and the hooks it needs.
	"""
	text = prog.compile(policy, point, "nft")
	hooks = reeve.hooks_of(text)
	rules(net, text + "".join(f"\nskuid {u}" for u in users))
	put(net, text, "nft", hooks)
	listed = reeve.tidy(net.listing())
	net.add(text)
	t.same(f"{point}: loading it again changes nothing", reeve.tidy(net.listing()), listed)
	if not hooks:
		for slot in "ab":
			net.add(prog.compile(policy, point, "nft", "--part", "stage", "--slot", slot))
			net.add(prog.compile(policy, point, "nft", "--part", "swap", "--slot", slot))
			t.same(f"{point}: two steps, slot {slot}, list as one does",
			    reeve.tidy(re.sub(r"(mailreeve(?:-host)?)-[ab]\b", r"\1", net.listing())), listed)
	try:
		form = prog.compile(policy, point, "json")
	except reeve.ReeveError as refused:
		if refused.status == 1 and re.search(r"error\[E08\d\d\]: the JSON form", str(refused)):
			# JSON cannot say `socket cgroupv2`, nor keep a table of sources that is there.
			t.same(f"{point}: a reason to have no JSON", bool(reeve.units_in(text)) or
			    bool(hooks and "flags dynamic" in text), True, refused)
			return text, None, hooks
		raise
	put(net, form, "json", hooks)
	t.same(f"{point}: JSON lists as text does", reeve.tidy(net.listing()), listed)
	return text, form, hooks


def one_point(t, net, prog, policy, point, tests):
	scratch = os.path.join(net.dir.name, "questions")
	users = {x["user"] for x in tests if x["user"] and not x["user"].isdigit()}
	text, form, hooks = all_forms(t, net, prog, policy, point, users)

	begins = {}

	def day_of(day):
		if day not in begins:
			begins[day] = prog.explain(policy, [{"at": point, "probe": "tcp 192.0.2.1 -> 198.51.100.1:25",
			    "date": day}], scratch)[0]["date"]
		return begins[day]

	def day_at(second):
		near = datetime.datetime.fromtimestamp(second, datetime.timezone.utc).date()
		for d in (near - datetime.timedelta(1), near, near + datetime.timedelta(1)):
			if day_of(d.isoformat()) == second:
				return d.isoformat()
		raise reeve.ReeveError(0, f"{second} begins no day")

	own = {id(x): day_at(x["date"]) for x in tests if x["date"] is not None}
	changes = reeve.days_of(text, day_of)
	today = datetime.date.today().isoformat()
	for day in sorted(set(own.values()) | set(changes or [today])):
		some = [x for x in tests if own.get(id(x), day) == day]
		sent, asked = [], []
		for x in some:
			p = reeve.packet(x["probe"], x["hook"], x["user"], x["unit"])
			if p is None:
				t.not_run(f"{policy}:{x['line']}", f"{x['probe']}: no kind of packet that the rig sends")
				continue
			sent.append(p)
			asked.append({"at": point, "probe": x["probe"], "date": day, "user": x["user"],
			    "unit": x["unit"], "way": reeve.WAYS[x["hook"]], "test": x})
		if not sent:
			continue
		told = prog.explain(policy, asked, scratch)
		tomorrow = datetime.date.fromisoformat(day) + datetime.timedelta(1)
		# With root all users send at once, otherwise one after the other.
		who = [None if rig.real_root() else p.get("user") for p in sent]
		for instant, which in ((day_of(day) + 30, text), (day_of(tomorrow.isoformat()) - 600, form or text)):
			for user in dict.fromkeys(who):
				net.act_as(user)
				if which is text:
					put(net, dates.shift_text(text, instant), "nft", hooks)
				else:
					put(net, json.dumps(dates.shift_json(json.loads(form), instant)), "json", hooks)
				now = [i for i, name in enumerate(who) if name == user]
				for i, fate in zip(now, net.probe([sent[i] for i in now], [told[i]["seen"] for i in now])):
					what = f"{policy}:{asked[i]['test']['line']}: {point}: {asked[i]['probe']}"
					if fate == "unsent":
						t.not_run(what, fate.how)
						continue
					what += f" on {day}"
					t.same(what + ", as explained", fate, told[i]["seen"], fate.how)
					t.same(what + ", as expected", fate in reeve.SATISFIES[asked[i]["test"]["expect"]], True, fate)


def main():
	ap = argparse.ArgumentParser()
	ap.add_argument("--mailreeve", required=True)
	ap.add_argument("policy", nargs="+", help="a policy, or a folder of policies")
	args = ap.parse_args()
	files = [f for path in args.policy for f in ([path] if not os.path.isdir(path) else
	    sorted(os.path.join(path, name) for name in os.listdir(path) if name.endswith(".yaml")))]
	rig.enter()
	prog = reeve.Reeve(args.mailreeve)
	t = report.Report()
	with rig.Rig() as net:
		for policy in files:
			with t.part(os.path.basename(policy)):
				tests = prog.tests(policy)
				for x in tests:
					t.same(f"{x['label']} by mailreeve itself", x["ok"], True, x["got"])
				for point in prog.points(policy):
					one_point(t, net, prog, policy, point, [x for x in tests if x["at"] == point])
		print(net.speed())
	return t.end()


if __name__ == "__main__":
	sys.exit(main())
