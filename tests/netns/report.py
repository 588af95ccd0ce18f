"""What a test of this folder says, and its exit status."""

import contextlib
import traceback


class Report:
	"""Counts what passed, failed and was not run, and prints the failures."""

	def __init__(self, quiet=False):
		self.passed = self.failed = 0
		self.missing = []
		self.where = ""
		self.quiet = quiet

	@contextlib.contextmanager
	def part(self, name):
		"""One named part; whatever it raises is a failure of that part."""
		self.where = name
		before = self.passed, self.failed
		try:
			yield
		except Exception:
			self.failed += 1
			print(f"FAIL {name}: it broke off")
			traceback.print_exc()
		if not self.quiet and self.failed == before[1]:
			print(f"ok   {name} ({self.passed - before[0]})")

	def same(self, what, got, want, how=""):
		"""Count one comparison; a difference is printed. True when equal."""
		if got == want:
			self.passed += 1
			return True
		self.failed += 1
		print(f"FAIL {self.where}: {what}: wanted {want}, got {got}{f' ({how})' if how else ''}")
		return False

	def not_run(self, what, why):
		"""Name something that could not run here."""
		if what not in self.missing:
			self.missing.append(what)
			print(f"not run: {what}: {why}")

	def end(self):
		"""The last line, and the exit status: 0 when nothing failed and something ran."""
		if self.missing:
			print(f"{len(self.missing)} not run")
		print(f"{self.passed} passed, {self.failed} failed")
		return 1 if self.failed or not self.passed else 0
