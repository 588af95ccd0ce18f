"""Rulesets moved in time: how a dated probe is sent today.

The kernel judges `meta time` by its own clock, which stays as it is. The
figures of the ruleset move instead.
"""

import re
import time

_TIME = re.compile(r"(\bmeta time (?:>=|<=|<|>|==|!=)?\s*)(\d+)\b")


def shift_text(text, instant, now=None):
	"""nft text in which `now` is judged as the text judges `instant`.

	Both in seconds since 1970. The figures of `meta time` move by the same
	number of seconds; nothing else changes. Figures that would lie before
	1970 become 0, which is as long ago.
	"""
	by = instant - int(time.time() if now is None else now)
	out = []
	for line in text.split("\n"):
		# A comment may hold anything, also words that look like a match.
		code, mark, rest = line.partition(' comment "')
		if code.lstrip().startswith("#"):
			out.append(line)
			continue
		code = _TIME.sub(lambda m: m[1] + str(max(0, int(m[2]) - by)), code)
		out.append(code + mark + rest)
	return "\n".join(out)


def shift_json(doc, instant, now=None):
	"""The same for a decoded ruleset in nft's JSON."""
	by = instant - int(time.time() if now is None else now)

	def move(x):
		if isinstance(x, bool):
			return x
		if isinstance(x, int):
			return max(0, x - by)
		if isinstance(x, dict):
			return {k: move(v) for k, v in x.items()}
		return [move(v) for v in x] if isinstance(x, list) else x

	def walk(x):
		if isinstance(x, list):
			return [walk(v) for v in x]
		if not isinstance(x, dict):
			return x
		m = x.get("match")
		if isinstance(m, dict) and m.get("left") == {"meta": {"key": "time"}}:
			return {"match": {**m, "right": move(m["right"])}}
		return {k: walk(v) for k, v in x.items()}

	return walk(doc)
