#!/usr/bin/env python3
"""Each test that tests/clauses.txt names is there."""
import pathlib
import re
import sys

TESTS = pathlib.Path(__file__).resolve().parents[1]


def main():
    clauses = names = 0
    errors, texts, clause = [], {}, None
    for n, line in enumerate((TESTS / 'clauses.txt').read_text().splitlines(), 1):
        if not line or line.startswith('#'):
            continue
        if not line.startswith(' '):
            if clause == 0:
                errors.append(f'{n - 1}: no test is named')
            clause = 0
            clauses += 1
            continue
        file, *wanted = line.split()
        if file not in texts:
            path = TESTS / file
            texts[file] = path.read_text() if path.is_file() else ''
        for name in wanted:
            names += 1
            clause += 1
            if not re.search(re.escape(name).replace('_', '[_ ]'), texts[file]):
                errors.append(f'{n}: {file} has no {name}')
    if clause == 0:
        errors.append('no test is named for the last clause')
    for e in errors:
        print(f'clauses.txt:{e}')
    print(f'{clauses} clauses, {names} tests named, {len(errors)} missing')
    return 1 if errors or clauses < 50 else 0


if __name__ == '__main__':
    sys.exit(main())
