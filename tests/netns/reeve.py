"""mailreeve's answers, as the tests of this folder want them.

The one place that knows its commands and the forms they print.
"""

import datetime
import json
import os
import re
import subprocess

import rig

# mailreeve's words for a packet's way at a host, and the rig's.
HOOKS = {"forwarded": "forward", "outbound": "output", "inbound": "input"}
WAYS = {hook: word for word, hook in HOOKS.items()}

# What a fate of `explain` looks like on the wire.
SEEN = {"untouched": "allow", "allow": "allow", "reject": "reject", "drop": "drop",
    "capture": "capture"}

# Fates that satisfy a test's `expect:`.
SATISFIES = {"allow": ("allow",), "untouched": ("allow",), "deny": ("reject", "drop"),
    "reject": ("reject",), "drop": ("drop",), "capture": ("capture",)}

# A user that no policy names.
NOBODY = 47999

_PROBE = re.compile(r"(\w+) \[?([0-9A-Fa-f:.]+?)\]?(?::(\d+))? -> \[?([0-9A-Fa-f:.]+?)\]?(?::(\d+))?$")


class ReeveError(Exception):
	"""mailreeve refused or failed; status and its words."""

	def __init__(self, status, words, out=""):
		super().__init__(words.strip())
		self.status = status
		self.out = out		# what it printed as its answer, all the same


class Reeve:
	"""The program under test."""

	def __init__(self, program):
		self.program = os.path.abspath(program)

	def run(self, *argv, text=""):
		done = subprocess.run([self.program, *argv], input=text, capture_output=True, text=True,
		    env={**os.environ, "NO_COLOR": "1", "LC_ALL": "C.UTF-8"})
		if done.returncode:
			raise ReeveError(done.returncode, done.stderr or done.stdout, done.stdout)
		return done.stdout

	def points(self, policy):
		"""{point: "router" or "host"}"""
		return {p["point"]: p["kind"] for p in json.loads(self.run("points", "--format", "json", policy))}

	def compile(self, policy, point, form, *more):
		return self.run("compile", "--to", form, "--point", point, *more, policy)

	def tests(self, policy):
		"""The policy's own packet tests: at, probe, hook, user, unit, date, expect, ok, label."""
		try:
			out = self.run("test", "--format", "json", policy)
		except ReeveError as failed:
			if failed.status != 1 or not failed.out.startswith("["):
				raise
			out = failed.out
		return [{**t, "hook": HOOKS[t["hook"]]} for t in json.loads(out) if t["kind"] == "packet"]

	def explain(self, policy, questions, scratch):
		"""One answer for each question {at, probe, date, user, unit, hook}.

		An answer is explain's record with `seen`, the fate on the wire.
		`scratch` is a file to put the questions in.
		"""
		with open(scratch, "w") as f:
			for q in questions:
				words = [f"{k}={q[k]}" for k in ("at", "date", "user", "unit") if q.get(k) is not None]
				if q.get("way"):
					words.append(f"direction={q['way']}")
				f.write(q["probe"] + (" ; " + " ".join(words) if words else "") + "\n")
		out = self.run("explain", "--format", "json", "--probes", scratch, policy)
		answers = [json.loads(line) for line in out.splitlines()]
		if len(answers) != len(questions):
			raise ReeveError(0, f"{len(answers)} answers to {len(questions)} questions")
		for a in answers:
			a["seen"] = SEEN[a["fate"]]
		return answers


def diagnostics(refused):
	"""The records of a failed `check --format json`."""
	return json.loads(refused.out)


def packet(probe, hook, user=None, unit=None):
	"""A probe as mailreeve writes it, as the rig sends it; None when it is of no kind to send."""
	m = _PROBE.match(probe)
	if not m or m[1] not in ("tcp", "udp") or m[5] is None:
		return None
	p = {"proto": m[1], "src": m[2], "dst": m[4], "dport": int(m[5]), "hook": hook}
	if m[3] and int(m[3]):
		p["sport"] = int(m[3])
	if hook != "forward" and any(a == "::1" or a.startswith("127.") for a in (m[2], m[4])):
		p["hook"] = "loopback"
	if unit:
		p["unit"] = unit if "/" in unit else "system.slice/" + unit
	if p["hook"] == "output":
		p["user"] = int(user) if user and user.isdigit() else user or \
		    (NOBODY if rig.real_root() else None)
	return p


def written(proto, src, dst, dport):
	"""A packet in mailreeve's words."""
	def end(a):
		return f"[{a}]" if ":" in a else a
	return f"{proto} {end(src)} -> {end(dst)}:{dport}"


def users_in(text):
	"""The users that nft text names: those which nft must be able to look up."""
	names = set(re.findall(r'\bskuid (?:[!=]= )?"?([A-Za-z_][\w.-]*)', text))
	for many in re.findall(r"\bskuid (?:[!=]= )?\{([^}]*)\}", text):
		names.update(re.findall(r"[A-Za-z_][\w.-]*", many))
	for block in re.findall(r"type uid\b.*?elements = \{(.*?)\}", text, re.S):
		names.update(re.findall(r"[A-Za-z_][\w.-]*", re.sub(r'comment "[^"]*"', "", block)))
	return names


def units_in(text):
	"""The control groups that nft text names."""
	return set(re.findall(r'socket cgroupv2 level \d+ (?:[!=]= )?"([^"]*)"', text))


def instants_in(text):
	"""The seconds at which a ruleset changes its mind."""
	code = "\n".join(line.partition(' comment "')[0] for line in text.split("\n")
	    if not line.lstrip().startswith("#"))
	return sorted({int(n) for n in re.findall(r"meta time (?:>=|<=|<|>) (\d+)", code)})


def days_of(text, day_of):
	"""The days worth a look: before and after each change in the text.

	`day_of` tells the second at which a day (YYYY-MM-DD) begins in the
	policy's time zone.
	"""
	days = set()
	for instant in instants_in(text):
		near = datetime.datetime.fromtimestamp(instant, datetime.timezone.utc).date()
		for d in (near - datetime.timedelta(1), near, near + datetime.timedelta(1)):
			if day_of(d.isoformat()) == instant:
				days.update(((d - datetime.timedelta(1)).isoformat(), d.isoformat()))
				break
		else:
			raise ReeveError(0, f"the text changes at {instant}, which begins no day of the policy")
	return sorted(days)


def hooks_of(text):
	"""What an administrator adds who took a point `as: chains`: her own base chains.

	"" for text that has hooks of its own.
	"""
	table = re.search(r"^table inet (\S+) \{$", text, re.M)
	out = ""
	for name in dict.fromkeys(re.findall(r"^\tchain (mailreeve-(?:forward|output|input|capture)) \{$", text, re.M)):
		hook = name.removeprefix("mailreeve-")
		kind = "type nat hook output priority -100" if hook == "capture" else \
		    f"type filter hook {hook} priority 0"
		if re.search(rf"chain {name} \{{\n\t\ttype ", text):
			continue
		out += f"\tchain hers-{hook} {{\n\t\t{kind};\n\t\tjump {name}\n\t}}\n"
	return out and f"table inet {table[1]} {{\n{out}}}\n"


def tidy(listing):
	"""A listing with what two loads may order differently put in one order.

	Elements of hash sets come in the kernel's order, chains in that of their making.
	"""
	def sort(m):
		return "{ " + ", ".join(sorted(x.strip() for x in m[1].split(",") if x.strip())) + " }"
	out = []
	for table in re.split(r"(?m)^(?=table )", listing):
		head, _, body = table.partition("\n")
		blocks = re.split(r"(?m)^\t(?=\S)(?!\})", body.rstrip().removesuffix("}"))
		out.append(head)
		out += sorted(re.sub(r"\{([^{}]*[^{}\s][^{}]*)\}", sort, b.rstrip()) if not b.startswith("chain ")
		    else re.sub(r"\{ ([^{}\n]*) \}", sort, b.rstrip()) for b in blocks if b.strip())
	return "\n".join(out)
