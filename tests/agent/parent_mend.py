#!/usr/bin/env python3
"""What the agent must bear: a clock that is set, files that are damaged, a second agent, a full disk.

    parent_mend.py MAILREEVED MAILREEVECTL [TEST ...]       runs by itself in namespaces

Each function below is a test; its name says what it guards.
"""
import datetime
import hashlib
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import parent_rig as rig  # noqa: E402
from parent_rig import Agent, LONG, nft, refused_ports, verdict, wait_for  # noqa: E402

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
            a.options = []
            a.start()
            a.ctl('block', '203.0.113.9', '--for', '1h')
            a.kill()
            rewrite(file, lambda t: re.sub(r'^block (\d+)', lambda m: f'block {int(m.group(1)) + by}', t, flags=re.M))
            nft('flush', 'ruleset')
            a.options = ['--test-boot-id', boot] if boot else []
            a.start()
            here = a.status()['blocked']
            if boot and by < 0:
                verdict(not here and not kernel_seconds('203.0.113.9'), f'{name}: its time is up', here)
                a.kill()
                continue
            wait_for(lambda: kernel_seconds('203.0.113.9'))
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


def spoil(a, number, name='plan', sum_too=False):
    """Breaks a part of a generation; sum_too: as an agent with another format of plans would have it."""
    folder = a.state / 'history' / f'{number:06}'
    b = b'X' + (folder / name).read_bytes()[1:]
    (folder / name).write_bytes(b)
    if sum_too:
        rewrite(folder / 'about', lambda t: re.sub(rf'^{name}-sha256 .*$', f'{name}-sha256 ' +
                                                   hashlib.sha256(b).hexdigest(), t, flags=re.M))


def a_plan_that_cannot_be_read_is_made_again_from_its_text():
    for sum_too in (False, True):
        rig.new_net()
        a = agent().start()
        a.write(465)
        a.kill()
        spoil(a, 1, sum_too=sum_too)
        nft('flush', 'ruleset')
        a.start()
        s = a.status()
        verdict(refused_ports() == {25} and s['generation'] == 1 and s['in_force'] and not s['trouble'],
                f'not the draft ({sum_too})', a.said())
        verdict('compiled again' in a.said(), 'said so', a.said())
        a.kill()
        mark = len(a.said())
        a.start()
        verdict('compiled again' not in a.said()[mark:] and refused_ports() == {25}, 'once', a.said()[mark:])
        a.ctl('apply')
        a.kill()
        spoil(a, 1, sum_too=sum_too)
        a.start()
        r = a.ctl('rollback')
        verdict(r.status == 0 and refused_ports() == {25}, 'rollback over it', r)
        verdict(a.ctl('check').status == 0 and a.ctl('drift', '--now').status == 0, 'check', a.ctl('check'))
        a.end()


def a_revert_finds_what_was_before_though_it_is_damaged():
    for sum_too in (False, True):
        rig.new_net()
        a = agent().start()
        a.write(465)
        verdict(a.ctl('apply', '--confirm', '3s').status == 0, 'apply')
        spoil(a, 1, sum_too=sum_too)
        verdict(wait_for(lambda: refused_ports() == {25}), 'reverted', a.said())
        verdict(a.status()['generation'] == 1, 'to the same', a.status())
        a.end()


def no_draft_while_a_good_generation_is_left():
    a = agent().start()
    a.write(465)
    a.ctl('apply')
    a.write(587)
    a.kill()
    spoil(a, 2)
    spoil(a, 2, 'bundle')
    a.start()
    s = a.status()
    verdict(refused_ports() == {25} and s['generation'] == 1 and 'generation 2 cannot be read' in s['trouble'],
            'the one before, loudly', s)
    verdict(a.ctl('apply').status == 0 and not a.status()['trouble'] and refused_ports() == {587}, 'apply ends it')
    a.kill()
    for p in (a.state / 'history').iterdir():
        if p.name.isdigit():
            spoil(a, int(p.name))
            spoil(a, int(p.name), 'bundle')
    a.start()
    verdict(refused_ports() == {587} and 'NO GENERATION CAN BE READ' in a.said(), 'none is left', a.said())
    a.end()


def a_second_agent_does_not_begin():
    a = agent().start()
    owner = nft('list', 'ruleset')
    b = agent(folder=a.dir)
    b.start(ready=False)
    verdict(b.process.wait(LONG) == 2 and f'pid {a.process.pid}' in a.said(), 'refused, with the pid', a.said())
    r = subprocess.run([DAEMON, '--policy', str(a.policy), '--state', str(a.dir / 'other'), '--run', str(a.run)],
                       capture_output=True, text=True, timeout=LONG)
    verdict(r.returncode == 2 and 'another agent listens' in r.stderr, 'nor on its sockets', r)
    verdict(a.status()['in_force'] and nft('list', 'ruleset') == owner, 'the first goes on', a.said())
    a.kill()
    a.start()
    verdict(a.status()['in_force'], 'a dead one holds nothing', a.said())
    a.end()


def rules_that_another_agent_has_are_taken_when_it_is_dead():
    """As those of the one before, until its role apply has ended: also where no generation was ever in force."""
    a, b, c = agent(port=25), agent(port=465), agent(port=587)
    a.start()
    a.kill()
    b.start()
    a.start(ready=False)
    s = a.until(lambda s: 'another program owns it' in s['trouble'])
    verdict(s and not s['ready'] and not s['in_force'], 'it is not ready, and says why', (s, a.said()))
    verdict('tried again in 50 ms' in a.said() and wait_for(lambda: 'tried again in 400 ms' in a.said()),
            'tried again soon, and later each time', a.said())
    b.kill()
    s = a.until(lambda s: s['ready'])
    verdict(s and s['in_force'] and not s['trouble'] and refused_ports() == {25}, 'then it is', (s, a.said()))
    c.start()
    verdict('another program owns it' in c.status()['trouble'], 'a first start says why, too', (c.status(), c.said()))
    a.kill()
    s = c.until(lambda s: s['in_force'])
    verdict(s and not s['trouble'] and refused_ports() == {587}, 'and tries again', (s, c.said()))
    for x in (a, b, c):
        x.end()


def a_rollback_never_brings_back_what_was_rolled_away():
    a = agent().start()
    for port in (465, 587):
        a.write(port)
        a.ctl('apply')
    verdict(a.ctl('rollback').status == 0 and refused_ports() == {465}, 'once')
    verdict('rolled back by 4' in a.ctl('history').out, 'said in the history', a.ctl('history'))
    verdict(a.ctl('rollback').status == 0 and refused_ports() == {25}, 'twice')
    r = a.ctl('rollback')
    verdict(r.status == 1 and refused_ports() == {25}, 'and then there is none', r)
    a.write(587)
    a.ctl('apply')
    verdict(a.ctl('rollback').status == 0 and refused_ports() == {25}, 'what was before a new one')
    r = a.ctl('rollback', '50')
    verdict(r.status == 2 and '49 back at most' in r.err, 'more than are kept', r)
    a.end()


def a_rollback_after_remove_passes_over_what_was_not_confirmed():
    a = agent().start()
    a.write(465)
    a.ctl('apply', '--confirm', '1h')
    a.ctl('remove')
    h = a.ctl('history').out
    verdict('taken down by uid' in h.splitlines()[0] and 'before it was confirmed' in h, 'history', h)
    verdict(a.ctl('rollback').status == 0 and refused_ports() == {25}, 'rollback', a.said())
    a.end()


def rules_can_be_taken_down_on_a_full_disk():
    d = pathlib.Path(tempfile.mkdtemp(prefix='parent-'))
    (d / 'state').mkdir()
    subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=400k', 'tmpfs', str(d / 'state')], check=True)
    a = agent(folder=d).start()
    with open(d / 'state' / 'fill', 'ab', 0) as f:
        try:
            while True:
                f.write(b'x' * 4096)
        except OSError:
            pass
    r = a.ctl('remove')
    verdict(r.status == 3 and '--force' in r.err and refused_ports() == {25}, 'refused, with a way', r)
    r = a.ctl('remove', '--force')
    verdict(r.status == 0 and refused_ports() == set() and 'a restart brings' in r.err, 'forced', r)
    a.stop()
    subprocess.run(['umount', str(d / 'state')], check=True)
    a.end()


def a_reload_during_another_change_is_done_after_it():
    a = agent().start()
    spawner = a.roles()['spawner']
    os.kill(spawner, signal.SIGSTOP)
    a.write(587)
    c = a.ctl_begin('apply')

    def waits():
        nonlocal c
        if c.poll() is not None:       # it was told "busy: unblock", for that came first
            c = a.ctl_begin('apply')
        return 'busy: apply' in a.ctl('unblock', '192.0.2.254').err
    verdict(wait_for(waits), 'an apply waits')
    a.process.send_signal(signal.SIGHUP)
    verdict(wait_for(lambda: 'reloaded later' in a.said()), 'remembered', a.said())
    os.kill(spawner, signal.SIGCONT)
    c.wait()
    verdict(wait_for(lambda: 'reload: generation 2 is in force' in a.said()), 'reloaded', a.said())
    a.end()


def status_exits_1_with_anything_amiss():
    a = agent().start()
    verdict(a.ctl('status').status == 0, 'all is well', a.ctl('status'))
    a.ctl('pause', '--for', '1h')
    verdict(a.ctl('status').status == 1, 'paused', a.ctl('status'))
    a.ctl('resume')
    verdict(a.ctl('status').status == 0, 'resumed', a.ctl('status'))
    whole = a.policy.read_text()
    for text in (whole.replace('[25]', '[465]'), whole.replace('outbound:', 'outbond:')):
        a.policy.write_text(text)
        verdict(a.ctl('status').status == 1, 'the disk is not in force', a.ctl('status'))
    a.end()


def another_point_than_that_in_force_is_said():
    a = agent(options=['--point', 'host'])
    body = rig.POLICY.format(name='two', port=25, mode='')
    second = body[body.index('  host:'):].replace('  host:', '  other:', 1).replace('shut', 'closed').replace('25', '465')
    a.policy.write_text(body + second)
    a.start()
    verdict(a.status()['point'] == 'host' and a.ctl('status').status == 0, 'host', a.said())
    a.kill()
    a.options = [x if x != 'host' else 'other' for x in a.options]
    a.start()
    r = a.ctl('status')
    verdict(refused_ports() == {25} and r.status == 1 and 'started for other' in r.out and
            'started for the point other' in a.said(), 'said, and what is in force stays', r)
    verdict(a.ctl('apply').status == 0 and refused_ports() == {465} and a.ctl('status').status == 0, 'apply', a.said())
    a.end()


def what_cannot_be_known_is_no_change():
    a = agent(port=None)
    a.write_text('roaming: {ports: [submission], to: anywhere}\notherwise: {deny: true, log: true}')
    a.start()
    time.sleep(1.5)
    nft('-f', '-', text='table inet odd { chain c { type filter hook output priority -350; policy accept; '
        'tcp dport 587 meta rtclassid 7 drop; }; }')
    verdict(wait_for(lambda: a.status()['foreign_unknown'] > 0, LONG, 0.2), 'found', a.ctl('drift', '--now'))
    s, r = a.status(), a.ctl('status')
    verdict(s['foreign_differences'] == 0 and 'cannot be known' in r.out and 'CHANGE' not in r.out and r.status == 0,
            'not as a change', r)
    verdict('mailreeve_foreign_unknown ' in a.ctl('metrics').out and a.ctl('drift').status == 0, 'in metrics')
    a.end()


def too_many_clients_are_told_so():
    a = agent().start()
    idle = [rig.connect(a) for _ in range(16)]
    # they are dropped after 10 s, so not many times
    for _ in range(3):
        r = a.ctl('status')
        verdict(r.status == 3 and 'too many clients' in r.err, 'told', r)
    for s in idle:
        s.close()
    verdict(wait_for(lambda: a.ctl('status').status == 0), 'room again', a.said())
    a.end()


def each_role_has_its_name():
    a = agent().start()
    for role, pid in ((r, p) for r, p in a.roles().items() if r not in ('compile', 'names')):
        name = pathlib.Path(f'/proc/{pid}/comm').read_text().strip()
        verdict(name == f'mreeve-{role}'[:15], role, name)
    a.end()


def plan_tells_what_stops_being_refused():
    a = agent().start()
    a.write(587)
    r = a.ctl('plan')
    verdict(r.status == 1 and 'port      25' in r.out and 'port      587' in r.out, 'both ways', r)
    a.end()


TESTS = [v for k, v in list(globals().items()) if callable(v) and getattr(v, '__module__', '') == '__main__'
         and k not in ('agent', 'rewrite', 'kernel_seconds', 'spoil')]

if __name__ == '__main__':
    rig.inside()
    sys.exit(rig.run_all(TESTS, sys.argv[3:], rig.AT_ONCE))
