#!/usr/bin/env python3
"""The demonstration's scenes (of mail: mail.py): what is sent, and what should become of it.

What should happen is written here by hand, from the universities' pages; it
is not asked of the program that is shown.
"""

import argparse
import datetime
import os
import subprocess
import sys

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
sys.path.insert(0, os.path.join(TOP, "tests", "netns"))
import agent
import dates
import policy_probes
import reeve
import rig

FATES = {"allow": "connected", "reject": "refused", "drop": "no answer", "capture": "led to the forwarder",
    "stall": "broken", "unsent": "not sent"}

# (title, policy, point, day or None, [(what it is, probe, wanted, hook)])
SCENES = (
    ("Cambridge, the University's border: port 25 is for the smart host", "cambridge-border", "border", None, (
	("a web server writes to the world by itself", "tcp 131.111.64.9 -> 8.8.8.8:25", "reject"),
	("the same in IPv6", "tcp [2001:630:210:100::9] -> [2001:db8::1]:25", "reject"),
	("it writes to the smart host", "tcp 131.111.64.9 -> 131.111.8.136:25", "allow"),
	("it writes to another department", "tcp 131.111.64.9 -> 128.232.1.1:25", "allow"),
	("the smart host writes to the world", "tcp 131.111.8.130 -> 8.8.8.8:25", "allow"),
	("the last address of the smart hosts' range", "tcp [2001:630:212:8::e:ffff] -> [2001:db8::1]:25", "allow"),
	("the address after it", "tcp [2001:630:212:8::f:0] -> [2001:db8::1]:25", "reject"),
	("a network beside the University, not inside it", "tcp 131.111.64.9 -> 192.84.5.7:25", "reject"),
	("somebody's mail program, port 587", "tcp 131.111.64.9 -> 8.8.8.8:587", "allow"),
    )),
    ("Cambridge, an institution's firewall: roaming mail programs get out, nobody gets in",
    "cambridge-institution", "firewall", None, (
	*((f"a visitor's mail program, port {port}", f"tcp 131.111.64.9 -> 8.8.8.8:{port}", "allow")
	    for port in (110, 143, 465, 587, 993, 995)),
	("port 25", "tcp 131.111.64.9 -> 8.8.8.8:25", "reject"),
	("the central systems deliver", "tcp 131.111.8.140 -> 131.111.64.9:25", "allow"),
	("a stranger tries port 25", "tcp 8.8.8.8 -> 131.111.64.9:25", "drop"),
	("a stranger tries port 587, IPv6", "tcp [2001:db8::1] -> [2001:630:210:100::9]:587", "drop"),
	("port 2525, of which the policy does not speak", "tcp 131.111.64.9 -> 8.8.8.8:2525", "allow"),
    )),
    ("The same firewall on the last day of an exemption", "cambridge-institution", "firewall", "2027-03-31", (
	("the exempt server, 31 March 2027", "tcp 131.111.70.5 -> 8.8.8.8:25", "allow"),
	("its neighbour", "tcp 131.111.70.6 -> 8.8.8.8:25", "reject"),
    )),
    ("The same rules one day later: the kernel ends it, nobody compiled anything",
    "cambridge-institution", "firewall", "2027-04-01", (
	("the exempt server, 1 April 2027", "tcp 131.111.70.5 -> 8.8.8.8:25", "reject"),
    )),
    ("Cambridge, one Linux server: what still tries port 25 is helped, not broken",
    "cambridge-host", "server", None, (
	("an old program, port 25 to the world", "tcp 131.111.64.25 -> 8.8.8.8:25", "capture", "output"),
	("the same in IPv6", "tcp [2001:630:210:100::25] -> [2001:db8::1]:25", "capture", "output"),
	("somebody's own provider, port 993", "tcp 131.111.64.25 -> 8.8.8.8:993", "allow", "output"),
	("a container's port 25", "tcp 131.111.64.25 -> 8.8.8.8:25", "reject", "forward"),
    )),
    ("Columbia, the middle page: before the secure network", "columbia-v2", "front", None, (
	("anybody delivers to [mx]", "tcp 8.8.8.8 -> 192.0.2.32:25", "allow"),
	("a mail program at [send], port 587", "tcp 8.8.8.8 -> 192.0.2.16:587", "allow"),
	("and port 465, no longer", "tcp 8.8.8.8 -> 192.0.2.16:465", "drop"),
    )),
    ("Columbia, the newest page: [mx] is for the secure network alone", "columbia-v3", "front", None, (
	("anybody delivers to [mx]", "tcp 8.8.8.8 -> 192.0.2.32:25", "drop"),
	("the secure network delivers", "tcp 198.51.100.1 -> 192.0.2.32:25", "allow"),
	("its last address", "tcp 198.51.100.255 -> 192.0.2.32:25", "allow"),
	("the address after it", "tcp 198.51.101.0 -> 192.0.2.32:25", "drop"),
    )),
    ("Columbia: the campus itself stays open", "columbia-v3", "campus", None, (
	("port 25 to the world", "tcp 128.59.1.1 -> 8.8.8.8:25", "allow"),
	("the Secure Email Relay", "tcp 128.59.1.1 -> 205.220.189.255:587", "allow"),
    )),
    ("Cornell, AppSMTP as it was: any host", "cornell-appsmtp-before", "front", None, (
	("the campus", "tcp 132.236.1.1 -> 192.0.2.64:25", "allow"),
	("a stranger", "tcp 8.8.8.8 -> 192.0.2.64:25", "allow"),
    )),
    ("Cornell, AppSMTP as it is: who is registered, from where it is registered",
    "cornell-appsmtp", "front", None, (
	("the campus", "tcp 132.236.1.1 -> 192.0.2.64:25", "allow"),
	("its last address", "tcp 128.84.255.255 -> 192.0.2.64:25", "allow"),
	("the address after it", "tcp 128.85.0.0 -> 192.0.2.64:25", "drop"),
	("a registered application in a cloud", "tcp 198.51.100.7 -> 192.0.2.64:25", "allow"),
	("a stranger", "tcp 8.8.8.8 -> 192.0.2.64:25", "drop"),
	("a stranger, IPv6", "tcp [2001:db8::1] -> [2001:db8:a0::4f]:25", "drop"),
    )),
)


def why(answer):
	"""Who said so, in a few words: "block, policy.yaml:57"."""
	said = answer["decided"]
	if not said:
		return "nothing speaks of it"
	return f"{said[0]['statement']}, line {said[0]['line']}"


def both(args):
	"""The rules, then the mail, each in namespaces of its own; the exit status."""
	here = os.path.dirname(os.path.abspath(__file__))
	told, tell = os.pipe()
	mail = ["--mailreeved", args.mailreeved, "--mailreevectl", args.mailreevectl, "--mailreeve-sendmail",
	    args.mailreeve_sendmail]
	for script, argv in (("demo.py", ["--mailreeve", args.mailreeve, *mail]), ("mail.py", mail)):
		sys.stdout.flush()
		status = subprocess.run([sys.executable, os.path.join(here, script), *argv, "--tell", str(tell)],
		    pass_fds=[tell]).returncode
		if status not in (0, 1):
			return status
	os.close(tell)
	with open(told) as f:
		counts = [[int(n) for n in line.split()] for line in f]
	right, wrong = (sum(c[i] for c in counts) for i in (0, 1))
	print(f"\n{right + wrong} scenes played: {right} as they should be, {wrong} not.")
	return 1 if wrong or len(counts) != 2 else 0


def main():
	ap = argparse.ArgumentParser()
	ap.add_argument("--mailreeve", required=True)
	ap.add_argument("--mailreeved", required=True)
	ap.add_argument("--mailreevectl", required=True)
	ap.add_argument("--mailreeve-sendmail", required=True)
	ap.add_argument("--tell", type=int, help="where to write how many scenes were right and wrong: play the rules alone")
	args = ap.parse_args()
	if args.tell is None:
		return both(args)
	rig.enter()
	prog = reeve.Reeve(args.mailreeve)
	right = wrong = 0
	with rig.Rig() as net:
		for title, name, point, day, rows in SCENES:
			policy = os.path.relpath(os.path.join(TOP, "policies", name + ".yaml"))
			text = prog.compile(policy, point, "nft")
			policy_probes.rules(net, text)
			sent, asked = [], []
			for what, probe, wanted, *hook in rows:
				hook = hook[0] if hook else "forward"
				sent.append(reeve.packet(probe, hook))
				asked.append({"at": point, "probe": probe, "way": reeve.WAYS[hook],
				    "date": day or datetime.date.today().isoformat()})
			told = prog.explain(policy, asked, os.path.join(net.dir.name, "questions"))
			net.load(dates.shift_text(text, told[0]["date"] + 12 * 3600) if day else text)
			print(f"\n{title}")
			print(f"  {policy}, compiled to {len(text.splitlines())} lines of nft"
			    + (f", the clock at {day}" if day else ""))
			wide = [max(len(row[i]) for row in rows) for i in (0, 1)]
			fates = net.probe(sent)
			wide.append(max(len(FATES[fate]) for fate in fates))
			for (what, probe, wanted, *_), a, fate in zip(rows, told, fates):
				ok = fate == wanted
				right, wrong = right + ok, wrong + (not ok)
				print(f"  {'OK ' if ok else 'BAD'} {what:<{wide[0]}}  {probe.removeprefix('tcp '):<{wide[1] - 4}}  "
				    f"{FATES[fate]:<{wide[2]}}  {why(a)}" + ("" if ok else f"   (wanted: {FATES[wanted]})"))
		acts = agent.acts(net, reeve, args.mailreeve, args.mailreeved, args.mailreevectl, print)
	right, wrong = right + acts.count(True), wrong + acts.count(False)
	os.write(args.tell, f"{right} {wrong}\n".encode())
	return 1 if wrong else 0


if __name__ == "__main__":
	sys.exit(main())
