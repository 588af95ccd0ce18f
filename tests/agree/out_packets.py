#!/usr/bin/env python3
"""What the kernel does with real packets is what plan_eval() says.

Plans whose sets are split into shards (and the maps, chains and detours that
this takes) are loaded into a router or a host made of namespaces, and random packets
sent through. Needs no root.

    out_packets.py OUT_FORMS [SEED [COUNT]]
"""
import json
import os
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'netns'))
import rig

COUNT = 12


def main():
    rig.enter()
    forms = sys.argv[1]
    seed = sys.argv[2] if len(sys.argv) > 2 else os.environ.get('SEED') or str(int(time.time()))
    count = int(sys.argv[3]) if len(sys.argv) > 3 else COUNT
    print(f'seed {seed} (SEED= to repeat)')
    seen, bad = {}, 0
    with tempfile.TemporaryDirectory() as folder, rig.Rig() as net:
        subprocess.run([forms, folder, seed, str(count), 'packets'], check=True)
        for n in range(count):
            with open(os.path.join(folder, f'{n}.nft'), encoding='utf-8') as f:
                net.load(f.read())
            with open(os.path.join(folder, f'{n}.packets'), encoding='utf-8') as f:
                probes = json.load(f)
            want = [p.pop('want') for p in probes]
            for p, w, fate in zip(probes, want, net.probe(probes, want)):
                seen[w] = seen.get(w, 0) + 1
                if fate == w:
                    continue
                bad += 1
                if bad < 10:
                    print(f'plan {n}: {p}: plan_eval says {w}, the kernel {fate} ({fate.how})')
    print(', '.join(f'{w}: {k}' for w, k in sorted(seen.items())) + f'; {bad} differ')
    return 1 if bad or not seen.get('reject', 0) + seen.get('drop', 0) else 0


if __name__ == '__main__':
    sys.exit(main())
