#!/usr/bin/env python3
"""What the agent must bear: a clock that is set, files that are damaged, a second agent, a full disk.

    parent_mend.py MAILREEVED MAILREEVECTL [TEST ...]       runs by itself in namespaces

Each function below is a test; its name says what it guards.
"""
import datetime
import hashlib
import os
import re
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import parent_rig as rig  # noqa: E402
from parent_rig import Agent, nft, refused_ports, verdict, wait_for  # noqa: E402

DAEMON, CTL = (os.path.abspath(x) for x in sys.argv[1:3])


def agent(**kw):
    return Agent(DAEMON, CTL, **kw)


def rewrite(path, change):
    """Changes the lines of a small file of the state, and makes its sum right."""
    text = change(re.sub(r'sha256 \w{64}\n$', '', path.read_text()))
    path.write_text(text + f'sha256 {hashlib.sha256(text.encode()).hexdigest()}\n')


def kernel_seconds(address):
    """How long the kernel blocks it yet."""
    found = re.search(re.escape(address) + r' timeout \S+ expires (\S+)', nft('list', 'ruleset'))
    unit = {'d': 86400, 'h': 3600, 'm': 60, 's': 1, 'ms': 0}
    return sum(int(n) * unit[u] for n, u in re.findall(r'(\d+)(ms|[dhms])', found.group(1))) if found else 0


def blocks_are_no_longer_than_made_whatever_the_date():
    a = agent()
    file = a.state / 'blocks'
    day = 86400 * 1000000
    dates = {'ten years on': 3650 * day, 'a day back': -day}
    for name, by in dates.items():
        for boot in ('', name.replace(' ', '-')):
            a.start()
            a.ctl('block', '203.0.113.9', '--for', '1h')
            a.kill()
            rewrite(file, lambda t: re.sub(r'^block (\d+)', lambda m: f'block {int(m.group(1)) + by}', t, flags=re.M))
            nft('flush', 'ruleset')
            a.start(**({'MAILREEVE_BOOT_ID': boot} if boot else {}))
            here = a.status()['blocked']
            if boot and by < 0:
                verdict(not here and not kernel_seconds('203.0.113.9'), f'{name}: its time is up', here)
                a.kill()
                continue
            wait_for(lambda: kernel_seconds('203.0.113.9'), 3)
            verdict(0 < kernel_seconds('203.0.113.9') <= 3600, f'{name}, boot {boot}: the kernel',
                    nft('list', 'ruleset'))
            until = datetime.datetime.strptime(here[0]['until'], '%Y-%m-%d %H:%M:%SZ')
            left = (until - datetime.datetime.utcfromtimestamp(time.time())).total_seconds()
            verdict(0 < left <= 3601, f'{name}, boot {boot}: status', here)
            a.kill()
    a.end()


def a_damaged_list_of_blocks_can_be_lifted():
    a = agent().start()
    a.ctl('block', '203.0.113.9', '--for', '1h')
    a.kill()
    (a.state / 'blocks').write_bytes(b'nonsense')
    a.start()
    verdict('was damaged' in a.ctl('status').out, 'status says so', a.ctl('status'))
    verdict(kernel_seconds('203.0.113.9') > 0, 'the kernel has it', nft('list', 'ruleset'))
    time.sleep(1.5)
    verdict(a.ctl('drift', '--now').status == 0 and not a.status()['foreign_differences'], 'and it is no drift',
            a.ctl('drift', '--now'))
    r = a.ctl('unblock', '203.0.113.9')
    verdict(r.status == 0 and '203.0.113.9' not in nft('list', 'ruleset'), 'unblock', r)
    verdict(a.ctl('unblock', '203.0.113.9').status == 1, 'once')
    a.end()


def an_address_has_one_spelling():
    a = agent().start()
    for name in ('2001:db8:0::/48', '2001:DB8::/48', '2001:0db8:0000::/48'):
        verdict(a.ctl('block', name, '--for', '1h').status == 0, name, a.said())
    a.ctl('block', '203.0.113.9/32', '--for', '1h')
    verdict([b['address'] for b in a.status()['blocked']] == ['2001:db8::/48', '203.0.113.9'], 'one entry each',
            a.status()['blocked'])
    verdict(a.ctl('unblock', '203.0.113.9').status == 0, 'by another spelling')
    verdict(a.ctl('unblock', '2001:db8:0:0::/48').status == 0 and not a.status()['blocked'], 'of a prefix')
    r = a.ctl('block', '203.0.113.9/24', '--for', '1h')
    verdict(r.status == 2 and r.err.count('203.0.113.9/24') == 1, 'what is none is told once', r)
    a.end()


TESTS = [v for k, v in list(globals().items()) if callable(v) and getattr(v, '__module__', '') == '__main__'
         and k not in ('agent', 'rewrite', 'kernel_seconds', 'spoil')]

if __name__ == '__main__':
    rig.inside()
    sys.exit(rig.run_all(TESTS, sys.argv[3:]))
