#!/usr/bin/env python3
"""The demonstration's end: real mail. A host made of namespaces runs the whole agent with the policy
examples/three-programs.yaml; three programs hand their mail to localhost, port 587, and behind it stand
two relays (Postfix's smtp-sink) on another machine.

    mail.py --mailreeved FILE --mailreevectl FILE --mailreeve-sendmail FILE [--tell FD]

Needs no root; touches nothing of this machine; leaves nothing behind.
"""

import argparse
import contextlib
import ctypes
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
sys.path.insert(0, os.path.join(TOP, "tests", "agent"))
import parent_rig

CLONE_NEWNET = 0x40000000
PR_SET_PDEATHSIG = 1
MS_BIND = 4096
PATIENCE = 60			# seconds, for what takes a moment on a quiet machine
POLICY = os.path.join(TOP, "examples", "three-programs.yaml")
USERS = {"root": 0, "www-data": 33, "backup": 34, "tickets": 2001, "mailreeve": 2002}
# What a policy can say where this machine lets us be one user only.
ONE = """
  applications:
    programs:
      kind: program
      runs-as: {user: root}
      owners: [web@example.org]
      senders:
        - {envelope: form@example.org, header: form@example.org}
        - {envelope: helpdesk@example.org, header: "*@example.org"}
        - {envelope: nightly@example.org, header: nightly@example.org}
"""
CENTRAL, PARTNER, STRANGER = "192.0.2.5", "192.0.2.21", "203.0.113.9"

# The program of the first registration, as somebody would write it.
PROGRAM = """
import smtplib, sys
sender, *to = sys.argv[2:]
with smtplib.SMTP("localhost", 587) as s:
    s.sendmail(sender, to, f"From: {sender}\\r\\nTo: {to[0]}\\r\\nSubject: {sys.argv[1]}\\r\\n\\r\\nhello\\r\\n")
"""
CONNECT = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], 25), 10).close()
    print("connected")
except ConnectionRefusedError:
    print("refused")
except OSError as why:
    print(why)
"""

# ours may stand in a home that other users cannot enter
PYTHON = "/usr/bin/python3" if os.access("/usr/bin/python3", os.X_OK) else sys.executable

# What stands for smtp-sink where another mail server keeps Postfix's package away.
SINK = """
import asyncore, smtpd, sys
address, files = sys.argv[1:]
class Sink(smtpd.SMTPServer):
    n = 0
    def process_message(self, peer, sender, to, content, **how):
        Sink.n += 1
        with open(f"{files}{Sink.n}", "w") as f:
            f.write(f"X-Mail-Args: <{sender}>\\n" + "".join(f"X-Rcpt-Args: <{x}>\\n" for x in to) + content.decode())
Sink((address, 25), None)
asyncore.loop(0.1)
"""

libc = ctypes.CDLL(None, use_errno=True)
running = []
SMTP_SINK = shutil.which("smtp-sink", path=os.environ.get("PATH", "") + ":/usr/sbin")


def started(argv, net=None, **how):
	"""A process that ends with us."""
	def before():
		libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
		if net is not None and libc.setns(net, CLONE_NEWNET):
			os._exit(98)
	p = subprocess.Popen(argv, preexec_fn=before, **how)
	running.append(p)
	return p


def ended(p):
	p.terminate()
	p.wait()
	running.remove(p)


def until(what, why):
	if not parent_rig.wait_for(what, PATIENCE, 0.05):
		raise RuntimeError(why() if callable(why) else why)


def ip(*lines):
	for line in lines:
		subprocess.run(["ip", *line.split()], check=True)


class Relay:
	"""Postfix's smtp-sink, which keeps each message it takes in a file."""

	def __init__(self, name, address, net, folder):
		self.name, self.address, self.net = name, address, net
		self.folder = os.path.join(folder, name)
		os.makedirs(self.folder)
		self.process = None

	def start(self):
		files = os.path.join(self.folder, "m.")
		# it refuses to run as root, even as that of a namespace
		sink = ["unshare", "-U", "--map-user=1000", SMTP_SINK, "-h", f"{self.name}.example.org", "-d", files,
		    f"{self.address}:25", "100"] if SMTP_SINK else [PYTHON, "-W", "ignore", "-c", SINK, self.address, files]
		self.process = started(sink, self.net, stderr=subprocess.DEVNULL)

		def listens():
			p = started([PYTHON, "-c", CONNECT, self.address], self.net, stdout=subprocess.PIPE, text=True)
			running.remove(p)
			return p.communicate()[0].strip() == "connected"

		until(listens, "smtp-sink does not listen")

	def stop(self):
		ended(self.process)

	def took(self, subject):
		"""What it has of that subject: [(envelope sender, [recipients])]."""
		out = []
		for name in os.listdir(self.folder):
			with open(os.path.join(self.folder, name), errors="replace") as f:
				text = f.read()
			if f"\nSubject: {subject}\n" in text.replace("\r", ""):
				out.append((re.search(r"X-Mail-Args: <(.*?)>", text).group(1),
				    re.findall(r"X-Rcpt-Args: <(.*?)>", text)))
		return out


class Host:
	"""The network, the relays, the agent."""

	def __init__(self, args, say):
		self.say, self.right, self.wrong = say, 0, 0
		self.many = parent_rig.many_users()
		self.dir = "/run/demo"
		if libc.mount(b"none", b"/run", b"tmpfs", 0, b"mode=755"):
			raise OSError(ctypes.get_errno(), "/run")
		os.makedirs(self.dir + "/bin")
		# Built programs may stand in a home that other users cannot enter.
		beside = os.path.join(os.path.dirname(args.mailreeved), "mailreeve-relay")
		for program in (args.mailreeved, args.mailreevectl, args.mailreeve_sendmail, beside):
			shutil.copy(program, self.dir + "/bin/")
		self.know()
		self.wire()
		self.central = Relay("central", CENTRAL, self.outside, self.dir)
		self.partner = Relay("partner", PARTNER, self.outside, self.dir)
		self.stranger = Relay("stranger", STRANGER, self.outside, self.dir)
		self.policy()

	def know(self):
		"""Users of our own, for this mount namespace alone."""
		for name, row in (("passwd", "{0}:x:{1}:{1}::/:/bin/sh\n"), ("group", "{0}:x:{1}:\n")):
			path = os.path.join(self.dir, name)
			with open(path, "w") as f:
				f.writelines(row.format(*user) for user in USERS.items() if self.many or user[1] == 0)
			if libc.mount(path.encode(), f"/etc/{name}".encode(), None, MS_BIND, None):
				raise OSError(ctypes.get_errno(), f"/etc/{name}")

	def wire(self):
		"""lo and one cable, to a machine that has the relays' addresses and a stranger's."""
		cable = "set {} up"
		holder = started(["unshare", "-n", "sleep", "infinity"])
		own = os.readlink("/proc/self/ns/net")

		def there():
			with contextlib.suppress(OSError):
				return os.readlink(f"/proc/{holder.pid}/ns/net") != own
			return False

		until(there, "no network namespace")
		self.outside = os.open(f"/proc/{holder.pid}/ns/net", os.O_RDONLY)
		ip("link set lo up", f"link add net0 type veth peer name net1 netns {holder.pid}", "addr add 198.51.100.2/24 dev net0",
		    "link " + cable.format("net0"), "route add default via 198.51.100.1")
		far = "\n".join(["link set lo up", "addr add 198.51.100.1/24 dev net1", "link set net1 up",
		    *(f"addr add {a}/32 dev lo" for a in (CENTRAL, PARTNER, STRANGER))])
		p = started(["sh", "-c", "ip -batch - && echo 0 >/proc/sys/net/ipv4/ip_unprivileged_port_start"], self.outside,
		    stdin=subprocess.PIPE, text=True)
		p.communicate(far + "\n")
		running.remove(p)
		if p.returncode:
			raise RuntimeError("no network for the relays")

	def policy(self):
		with open(POLICY) as f:
			text = f.read().split("\ntests:")[0] + "\n"
		if not self.many:
			text = re.sub(r"\n  applications:\n.*?(?=  unregistered)", ONE, text, flags=re.S)
			text = re.sub(r"\n *only: forwarder.*", "", text)
		with open(self.dir + "/policy.yaml", "w") as f:
			f.write(text)

	def ctl(self, *words):
		return subprocess.run([self.dir + "/bin/mailreevectl", *words], capture_output=True, text=True)

	def status(self):
		return json.loads(self.ctl("status", "--json").stdout or "{}")

	def empty(self):
		return "no message waits" in self.ctl("queue", "list").stdout

	def start(self):
		os.makedirs(self.dir + "/state")
		log = open(self.dir + "/log", "w")
		agent = started([self.dir + "/bin/mailreeved", "--policy", self.dir + "/policy.yaml", "--state", self.dir + "/state",
		    "--host", "server.example.org"], stderr=log)

		def up():
			return agent.poll() is not None or self.status().get("mail", {}).get("up")

		def said():
			with open(self.dir + "/log") as f:
				return "the agent takes no mail: " + f.read()

		until(up, said)
		if agent.poll() is not None:
			raise RuntimeError(said())
		until(lambda: self.run("root", [PYTHON, "-c", 'import smtplib; smtplib.SMTP("localhost", 587).quit()'])[0] == 0,
		    said)

	def run(self, user, argv, text=None):
		"""A program of that user: (status, what it printed)."""
		as_user = {"user": USERS[user], "group": USERS[user], "extra_groups": []} if self.many and USERS[user] else {}
		r = subprocess.run(argv, input=text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd="/",
		    env={**os.environ, "MAILRC": self.dir + "/mailrc", "HOME": "/", "LC_ALL": "C"}, **as_user)
		return r.returncode, r.stdout

	def python(self, subject, sender, *to):
		return self.run("www-data", [PYTHON, "-c", PROGRAM, subject, sender, *to])

	def row(self, what, ok, how):
		self.right, self.wrong = self.right + bool(ok), self.wrong + (not ok)
		self.say(f"  {'OK ' if ok else 'BAD'} {what:<44}  {how}")

	def at(self, relay, subject, n=1):
		"""What a relay has of that subject, when it has n, and no message waits."""
		def come():
			return len(relay.took(subject)) >= n and self.empty()
		parent_rig.wait_for(come, PATIENCE, 0.05)
		return relay.took(subject)


def at_relay(relay, took):
	return f"{relay.name} has it, from {took[0][0]}" if took else f"{relay.name} has it not"


def three_programs(h):
	h.say("\nReal mail: three programs of a host, localhost port 587, two relays behind it")
	h.say("  examples/three-programs.yaml, each program a user of its own" if h.many else
	    "  examples/three-programs.yaml; this machine lets us be one user only (newuidmap and /etc/subuid\n"
	    "  would make us several), so the three programs share one registration")
	if not SMTP_SINK:
		h.say("  (Postfix's smtp-sink is not installed: the relays are Python's smtpd)")
	status, said = h.python("form", "form@example.org", "somebody@example.net")
	took = h.at(h.central, "form")
	h.row("a web form: Python's smtplib", not status and took == [("form@example.org", ["somebody@example.net"])],
	    at_relay(h.central, took) if not status else said)
	status, said = h.run("tickets", ["swaks", "--server", "localhost:587", "--from", "helpdesk@example.org", "--to",
	    "somebody@example.net", "--header", "Subject: ticket", "--body", "hello", "--silent", "2"])
	took = h.at(h.central, "ticket")
	h.row("a ticket system: swaks", not status and took == [("helpdesk@example.org", ["somebody@example.net"])],
	    at_relay(h.central, took) if not status else said)
	with open(h.dir + "/mailrc", "w") as f:
		f.write(f"set sendmail={h.dir}/bin/mailreeve-sendmail\n")
	own = [] if h.many else ["-r", "nightly@example.org"]
	status, said = h.run("backup", ["bsd-mailx", *own, "-s", "nightly", "root-mail@example.org"], "all is well\n")
	took = h.at(h.central, "nightly")
	h.row("a job at night: mail(1)", not status and took == [("nightly@example.org", ["root-mail@example.org"])],
	    at_relay(h.central, took) + (", though it wrote as backup@machine" if h.many else "") if not status else said)


def refused(h):
	status, said = h.python("forged", "rector@example.org", "somebody@example.net")
	words = said.strip().splitlines()[-1] if said else "nothing"
	ok = status and words.startswith("smtplib.SMTPSenderRefused: (550, ") and "postmaster@example.org" in words
	h.row("the web form writes as the rector", ok and not h.central.took("forged"), "refused; what its programmer reads:")
	while words:
		cut = words.rfind(" ", 0, 92) + 1 if len(words) > 92 else len(words)
		h.say("        " + words[:cut or 92].rstrip())
		words = words[cut or 92:]


def split(h):
	status, said = h.python("split", "form@example.org", "somebody@example.net", "anna@partner.example")
	one, two = h.at(h.central, "split"), h.at(h.partner, "split")
	h.row("one message for two relays", not status and one == [("form@example.org", ["somebody@example.net"])]
	    and two == [("form@example.org", ["anna@partner.example"])],
	    f"central: {', '.join(*(to for _, to in one))}; partner: {', '.join(*(to for _, to in two))}"
	    if one and two else said or "not delivered")


def direct(h, before):
	after = h.run("www-data", [PYTHON, "-c", CONNECT, STRANGER])[1].strip()
	h.row(f"straight to {STRANGER} port 25", (before, after) == ("connected", "refused"),
	    f"{before} before the policy, {after} under it")
	if h.many:
		after = h.run("www-data", [PYTHON, "-c", CONNECT, CENTRAL])[1].strip()
		h.row("straight to the relay, past the forwarder", after == "refused", after)


def stopped(h):
	h.central.stop()
	n = 3
	status = [h.python(f"later {i}", "form@example.org", "somebody@example.net")[0] for i in range(n)]

	rows = []

	def waits():
		# one list, looked at once: a message that is tried just then is not pending for a moment
		rows[:] = [line for line in h.ctl("queue", "list").stdout.splitlines() if " pending " in line]
		return len(rows) == n

	parent_rig.wait_for(waits, PATIENCE, 0.1)
	h.row(f"the relay is stopped: {n} messages", status == [0] * n and len(rows) == n, "taken, and kept; mailreevectl queue list:")
	for line in rows:
		h.say("        " + line.split(" (")[0])
	ident = rows[0].split()[0] if rows else "none"
	h.central.start()

	def come():
		h.ctl("queue", "flush")
		return all(h.central.took(f"later {i}") for i in range(n)) and h.empty()

	parent_rig.wait_for(come, PATIENCE, 2)
	times = [len(h.central.took(f"later {i}")) for i in range(n)]
	h.row("the relay is back", times == [1] * n, f"each came once; mailreevectl trace {ident}:" if times == [1] * n
	    else f"how often each came: {times}")
	for line in h.ctl("trace", ident).stdout.splitlines():
		h.say("        " + re.sub(r"\t+", "  ", line))


def main():
	ap = argparse.ArgumentParser()
	for name in ("mailreeved", "mailreevectl", "mailreeve-sendmail"):
		ap.add_argument("--" + name, required=True, type=os.path.abspath)
	ap.add_argument("--tell", type=int, help="where to write how many scenes were right and wrong")
	args = ap.parse_args()
	parent_rig.inside()
	libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
	h = None
	try:
		h = Host(args, lambda line: print(line, flush=True))
		for relay in (h.central, h.partner, h.stranger):
			relay.start()
		before = h.run("www-data", [PYTHON, "-c", CONNECT, STRANGER])[1].strip()
		h.start()
		three_programs(h)
		refused(h)
		split(h)
		direct(h, before)
		stopped(h)
	finally:
		for p in reversed(running):
			p.terminate()
			p.wait()
	if args.tell is not None:
		os.write(args.tell, f"{h.right} {h.wrong}\n".encode())
	return 1 if h.wrong else 0


if __name__ == "__main__":
	sys.exit(main())
