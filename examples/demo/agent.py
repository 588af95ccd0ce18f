"""The demonstration's second half: the agent on a router, and an audit of rules that somebody else
wrote. Each act gives lines to print and whether all was as it should be."""

import ctypes
import json
import os
import re
import subprocess
import threading
import time

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
CLONE_NEWNET = 0x40000000
BLOCKED = ("tcp 198.51.100.7 -> 203.0.113.9:25", "tcp [2001:db8:100::7] -> [2001:db8:900::9]:25")
CHANGES = 12


class Agent:
	"""mailreeved on the rig's router."""

	def __init__(self, net, daemon, ctl):
		self.net, self.daemon, self.ctl_program = net, daemon, ctl
		self.dir = os.path.join(net.dir.name, "agent")
		self.policy = os.path.join(self.dir, "policy.yaml")
		for name in ("", "state", "run"):
			os.makedirs(os.path.join(self.dir, name))
		self.process = None

	def write(self, text):
		with open(self.policy, "w") as f:
			f.write(text)

	def into(self):
		"""In a child before it becomes the program: the router's network."""
		fd = os.open(f"/proc/{self.net.pids['router']}/ns/net", os.O_RDONLY)
		if ctypes.CDLL(None, use_errno=True).setns(fd, CLONE_NEWNET):
			os._exit(98)
		os.close(fd)

	def start(self):
		run = os.path.join(self.dir, "run")
		with open(os.path.join(self.dir, "log"), "w") as log:
			# who the user mailreeve is in these namespaces is a pretence, without root
			self.process = subprocess.Popen([self.daemon, "--policy", self.policy, "--point", "border",
			    "--state", os.path.join(self.dir, "state"), "--run", run, "--no-owner", "--user", "root"], stderr=log,
			    preexec_fn=self.into)
		for _ in range(200):
			if self.process.poll() is not None:
				break
			if self.ctl("status", "--json")[0] != 3 and \
			    json.loads(self.ctl("status", "--json")[1] or "{}").get("in_force"):
				return
			time.sleep(0.05)
		with open(os.path.join(self.dir, "log")) as log:
			raise RuntimeError("the agent does not begin: " + log.read())

	def ctl(self, *words):
		done = subprocess.run([self.ctl_program, *words, "--run", os.path.join(self.dir, "run")],
		    capture_output=True, text=True)
		return done.returncode, done.stdout, done.stderr

	def stop(self):
		if self.process and self.process.poll() is None:
			self.process.terminate()
			self.process.wait()


def fates(net, packets, reeve):
	return [str(f) for f in net.probe([reeve.packet(p, "forward") for p in packets])]


def edited(agent, net, reeve, say):
	"""An edit behind the agent's back."""
	say("\nThe agent keeps the border's rules: somebody edits them with nft")
	ok = []

	def row(what, is_so, how):
		ok.append(is_so)
		say(f"  {'OK ' if is_so else 'BAD'} {what:<46}  {how}")

	row("port 25 to the world, IPv4 and IPv6", fates(net, BLOCKED, reeve) == ["reject"] * 2, "refused")
	agent.ctl("pause", "--for", "60s")
	chain = re.search(r"chain (\S*forward\S*) \{", net.must("router", ["nft", "list", "ruleset"])).group(1)
	net.must("router", ["nft", "insert", "rule", "inet", "mailreeve", chain, "tcp", "dport", "25", "accept"])
	row("nft insert rule ... tcp dport 25 accept", fates(net, BLOCKED, reeve) == ["allow"] * 2,
	    "connected: a hole, while healing is paused")
	began = time.monotonic()
	agent.ctl("resume")
	while fates(net, BLOCKED[:1], reeve) != ["reject"] and time.monotonic() - began < 10:
		pass
	row("the agent heals again", fates(net, BLOCKED, reeve) == ["reject"] * 2,
	    f"refused, {time.monotonic() - began:.1f} s later")
	for _ in range(100):
		told = agent.ctl("drift")[1]
		if "witness" in told:
			break
		time.sleep(0.05)
	row("mailreevectl drift", "witness" in told and "nft" in told, "what it was, who, and a packet that shows it:")
	for line in told.splitlines()[:16]:
		say(f"        {line[:110]}")
	return ok


def changed(agent, net, reeve, say, old, new):
	"""Another policy under traffic, again and again."""
	say("\nThe policy changes while packets flow that both versions refuse")
	probes = [p.replace(".9:25", f".{n}:25") for n in range(1, 201) for p in BLOCKED[:1]] + \
	    [p.replace("::9]", f"::{n:x}]") for n in range(1, 201) for p in BLOCKED[1:]]
	done, failed = threading.Event(), []

	def change():
		for n in range(CHANGES):
			agent.write((new, old)[n % 2])
			status, _, err = agent.ctl("apply")
			if status:
				failed.append(err)
		done.set()

	changer = threading.Thread(target=change)
	changer.start()
	sent = leaked = 0
	while not done.is_set():
		for fate in fates(net, probes, reeve):
			sent += 1
			leaked += fate != "reject"
	changer.join()
	ok = [not failed and not leaked and sent >= 2 * len(probes)]
	say(f"  {'OK ' if ok[0] else 'BAD'} {CHANGES} changes, to 20,000 more networks and back: {sent} connections "
	    f"tried meanwhile, {leaked} of them not refused")
	for err in failed:
		say("      " + err)
	return ok


def audited(mailreeve, say):
	"""Rules in the manner of a zone firewall, and a policy that they do not keep."""
	policy, rules = "examples/blocked-campus.yaml", "tests/agree/foreign/zones.nft"
	say(f"\nAn audit: {rules}, as a zone firewall makes them, beside {policy}")
	argv = [os.path.abspath(mailreeve), "audit", "--replay", policy, rules]
	human = subprocess.run(argv, cwd=TOP, capture_output=True, text=True)
	told = json.loads(subprocess.run([*argv, "--format", "json"], cwd=TOP, capture_output=True, text=True).stdout)
	ok = []
	for r in told["regions"]:
		really = r.get("replay", {}).get("outcome") == "as told"
		ok.append(r["kind"] == "allows" and really)
		say(f"  {'OK ' if ok[-1] else 'BAD'} a hole: {r['witness']}, sent through the kernel: "
		    f"{'it passes' if really else 'the kernel did otherwise'}")
	for line in human.stdout.splitlines()[1:]:
		say("      " + line[:110])
	return ok or [False]


def acts(net, reeve, mailreeve, daemon, ctl, say):
	"""All three; gives a list of booleans."""
	with open(os.path.join(TOP, "examples", "blocked-campus.yaml")) as f:
		old = f.read().split("\ntests:")[0] + "\n"
	many = ", ".join(f"10.{i >> 6 & 255}.{i << 2 & 255}.{i >> 14 << 6}/28" for i in range(20000))
	new = old.replace("outbound: {block", "outbound: {exempt: [{name: partners, from: campus, to: [" + many + "], ports: [smtp], "
	    "owner: postmaster, reason: they take our mail directly}], block")
	net.must("router", ["nft", "flush", "ruleset"])
	agent = Agent(net, daemon, ctl)
	try:
		agent.write(old)
		agent.start()
		ok = edited(agent, net, reeve, say)
		ok += changed(agent, net, reeve, say, old, new)
	finally:
		agent.stop()
	return ok + audited(mailreeve, say)

