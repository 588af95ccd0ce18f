#!/usr/bin/env python3
"""kill -9 of the role apply at any point of an apply: old or new rules, never neither.

    apply_kill.py APPLY_DRIVE MAILREEVE [--rounds N] [--cidrs N]

Two plans of N prefixes in turn. The role is killed at a random moment of putting the other one in
force; what the kernel holds is then read by another program and must be one of the two, whole.
Every tenth time a new role has to converge, with every element compared, and leave nothing over.
SEED= repeats a run.
"""
import argparse
import os
import random
import re
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import rig  # noqa: E402
from rig import Role, nft  # noqa: E402


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument('drive')
    ap.add_argument('mailreeve')
    ap.add_argument('--rounds', type=int, default=200)
    ap.add_argument('--cidrs', type=int, default=4000)
    a = ap.parse_args()
    seed = int(os.environ.get('SEED', random.randrange(1 << 30)))
    print(f'SEED={seed}')
    rnd = random.Random(seed)
    failed = 0
    with tempfile.TemporaryDirectory() as tmp:
        # nothing in common, so that each is a stage; and one that differs in a few, an edit in place
        plans = [rig.list_policy(a.mailreeve, tmp, name, [f'{b}.{i // 256}.{i % 256}.0/{28 if i < cut else 27}'
                                                          for i in range(a.cidrs)])
                 for name, b, cut in (('a', 10, 1 << 30), ('b', 11, 1 << 30), ('c', 11, a.cidrs - 20))]
        with Role(os.path.abspath(a.drive)) as r:
            assert r.do(plans[1])['err'] == 0
            start = time.monotonic()
            assert r.do(plans[0])['err'] == 0
            whole = time.monotonic() - start
            sets = len(re.findall(r'^\tset ', nft('-t', 'list', 'ruleset'), re.M))
            now, old, new, both = 0, 0, 0, 0
            for n in range(a.rounds):
                to = rnd.choice([x for x in range(len(plans)) if x != now])
                r.say(f'do {plans[to]}')
                time.sleep(rnd.uniform(0, whole * 1.5))
                r.ask('kill')
                is_new = r.ask(f'force {plans[to]}')['force'] == 1
                is_old = r.ask(f'force {plans[now]}')['force'] == 1
                old, new, both = old + is_old, new + is_new, both + (is_old == is_new)
                if is_old == is_new:
                    failed += 1
                    print(f'round {n}: {"both" if is_old else "neither"}, seed {seed}')
                if is_new:
                    now = to
                r.say('start')
                # whoever comes next finds a plan in force, and goes on from there
                if n % 10 == 9 or is_old == is_new:
                    x = r.do(plans[to])
                    c = r.check()
                    left = len(re.findall(r'^\tset ', nft('-t', 'list', 'ruleset'), re.M))
                    if x['err'] or not c['in_force'] or left != sets:
                        failed += 1
                        print(f'round {n}: does not converge: {x}, {c}, {left} sets of {sets}')
                    now = to
                else:
                    r.do(plans[now])
            drift = [e for e in r.events if e['kind'] in ('drift', 'heal-failed')]
            if drift:
                failed += 1
                print(f'drift that nobody made: {drift[:3]}')
    print(f'{a.rounds} kills within {whole * 1e3 * 1.5:.0f} ms: {old} found the old rules, {new} the new')
    print(f'{0 if failed else 1} passed, {failed} failed')
    return 1 if failed else 0


if __name__ == '__main__':
    rig.again_in_namespace()
    sys.exit(main())
