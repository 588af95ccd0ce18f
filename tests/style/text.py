#!/usr/bin/env python3
"""What no file of the repository may hold: paths of a developer's machine,
registry host names, trailing blanks, tabs in Python, CRLF, work left over."""
import pathlib
import re
import subprocess
import sys

TOP = pathlib.Path(__file__).resolve().parents[2]
RULES = [
    (re.compile(r'/(?:home|Users|root|work|farm)/[a-z]'), 'a path of somebody\'s machine'),
    (re.compile(r'(?:deb\.debian|registry\.npmjs|pypi|crates)\.(?:org|io)'), 'a registry\'s host name'),
    (re.compile(r'[ \t]+$'), 'trailing blanks'),
    (re.compile(r'\r$'), 'CRLF'),
    (re.compile(r'\b(?:TODO|FIXME|XXX|HACK)\b'), 'work left over'),
]
# inputs that are wrong on purpose
EXEMPT = ('tests/golden/expected/', 'tests/malformed/', 'tests/fuzz/corpus/', 'tests/style/text.py', 'tests/unit/')
# what the program prints: a list with tabs may end in an empty column
PRINTED = 'tests/golden/expected/'


def files():
    try:
        out = subprocess.run(['git', '-C', str(TOP), 'ls-files', '-z'], check=True,
                             capture_output=True).stdout.decode()
        return [TOP / f for f in out.split('\0') if f]
    except (OSError, subprocess.CalledProcessError):
        return [p for p in TOP.rglob('*') if p.is_file() and '.git' not in p.parts
                and not any(q.startswith('build') for q in p.relative_to(TOP).parts)]


def main():
    errors = []
    n = 0
    for path in files():
        rel = path.relative_to(TOP).as_posix()
        if rel.startswith(EXEMPT) or not path.is_file():
            continue
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        n += 1
        for i, line in enumerate(text.split('\n'), 1):
            for rule, what in RULES:
                if rule.search(line) and not (what == 'trailing blanks' and rel.startswith(PRINTED)):
                    errors.append(f'{rel}:{i}: {what}')
    if n < 20:
        errors.append('the files were not found')
    for e in errors[:100]:
        print(e)
    passed = 0 if errors else 1
    print(f'{n} files\n{passed} passed, {1 - passed} failed')
    return 1 if errors else 0


if __name__ == '__main__':
    sys.exit(main())
