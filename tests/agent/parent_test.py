#!/usr/bin/env python3
"""The agent as an administrator meets it: mailreeved with its real roles, by mailreevectl.

    parent_test.py MAILREEVED MAILREEVECTL [TEST ...]       runs by itself in namespaces

Each function below is a test; its name says what it guards.
"""
import os
import pathlib
import re
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import parent_rig as rig  # noqa: E402
from parent_rig import (Agent, LONG, answer, connect, knock, nft, outer_link, proc, refused_ports,  # noqa: E402
                        request, verdict, wait_for)

DAEMON, CTL = (os.path.abspath(x) for x in sys.argv[1:3])


def agent(**kw):
    return Agent(DAEMON, CTL, **kw)


def first_start_applies_and_says_so():
    a = agent().start()
    s = a.status()
    verdict(s['in_force'] and s['generation'] == 1 and s['on_disk'] == 'same' and not s['trouble'],
            'first start', s)
    verdict(refused_ports() == {25}, 'the rules are in the kernel', nft('list', 'ruleset'))
    verdict(a.ctl('check').status == 0, 'check', a.ctl('check'))
    words = a.ctl('status')
    verdict(words.status == 0 and 'generation 1, site at host' in words.out, 'status in words', words)
    verdict(a.stop() == 0, 'told to end')
    verdict(refused_ports() == {25}, 'rules stay when the agent ends')
    a.end()


def apply_history_and_rollback():
    a = agent().start()
    for port in (465, 587):
        a.write(port)
        verdict(a.ctl('status').status == 1 and a.status()['on_disk'] == 'other', 'disk is not in force')
        r = a.ctl('apply')
        verdict(r.status == 0 and refused_ports() == {port}, f'apply {port}', r)
    h = a.ctl('history')
    verdict(len(h.out.splitlines()) == 3 and 'replaced by 3' in h.out and '3*' in h.out, 'history', h)
    r = a.ctl('rollback', '2')
    verdict(r.status == 0 and refused_ports() == {25}, 'rollback 2', r)
    r = a.ctl('rollback')
    verdict(r.status == 1 and refused_ports() == {25}, 'what was rolled away does not come back', r)
    a.write(587)
    a.ctl('apply')
    r = a.ctl('rollback', '40')
    verdict(r.status == 1 and 'only 2' in r.err and refused_ports() == {587}, 'rollback too far', r)
    a.kill()
    a.start()
    verdict(refused_ports() == {587} and a.status()['generation'] == 5, 'a restart keeps it', a.said())
    r = a.ctl('apply')
    verdict(r.status == 0 and a.status()['generation'] == 5, 'the same again makes no new generation', r)
    a.policy.write_text(a.policy.read_text() + '# said otherwise\n')
    r = a.ctl('apply')
    verdict(r.status == 0 and a.status()['generation'] > 5, 'another text makes one', r)
    a.end()


def a_hundred_generations_leave_fifty():
    a = agent().start()
    for i in range(60):
        a.write((25, 465)[i % 2], name=f'site{i}')
        a.ctl('apply')
    n = len(list((a.state / 'history').iterdir()))
    verdict(n == 50, 'history is bounded', n)
    r = a.ctl('rollback', '49')
    verdict(r.status == 0 and refused_ports() == {25}, 'rollback over 49', r)
    a.end()


def a_policy_that_does_not_compile_changes_nothing():
    a = agent().start()
    before = nft('list', 'ruleset')
    a.policy.write_text(a.policy.read_text().replace('outbound:', 'outbond:'))
    r = a.ctl('apply')
    verdict(r.status == 1 and 'policy.yaml:8' in r.out + r.err and 'outbound' in r.err, 'the place is told', r)
    verdict(nft('list', 'ruleset') == before, 'the rules stay')
    s = a.status()
    verdict(s['on_disk'] == 'wrong' and 'outbond' in s['on_disk_error'] and s['in_force'], 'status', s)
    verdict('outbond' in a.ctl('status').out, 'status in words', a.ctl('status'))
    a.policy.unlink()
    r = a.ctl('apply')
    verdict(r.status == 3 and nft('list', 'ruleset') == before, 'no policy at all', r)
    a.kill()
    a.start()
    verdict(refused_ports() == {25} and a.status()['in_force'], 'a restart takes the last good one', a.said())
    a.end()


def first_start_without_a_good_policy_answers():
    a = agent()
    a.policy.write_text('mailreeve: 1\nname: x\n')
    a.start()
    s = a.status()
    verdict(s['generation'] == 0 and s['trouble'] and not s['in_force'], 'it says so', s)
    verdict(a.ctl('status').status == 1, 'exit status')
    a.write(25)
    r = a.ctl('apply')
    verdict(r.status == 0 and refused_ports() == {25} and not a.status()['trouble'], 'then apply', r)
    a.end()


def a_saved_plan_is_refused_when_stale():
    a = agent().start()
    a.write(465)
    r = a.ctl('plan')
    verdict(r.status == 1 and 'witness' in r.out and 'plan 1' in r.out, 'plan tells boxes', r)
    verdict(refused_ports() == {25}, 'plan changes nothing')
    r = a.ctl('apply', '1')
    verdict(r.status == 0 and refused_ports() == {465}, 'a saved plan is applied', r)
    a.write(587)
    verdict(a.ctl('plan').status == 1, 'plan again')
    nft('add', 'table', 'inet', 'somebody')
    r = a.ctl('apply', '2')
    verdict(r.status == 1 and 'plan again' in r.err and refused_ports() == {465}, 'the kernel has changed', r)
    verdict(a.ctl('plan').status == 1, 'plan a third time')
    a.write(25)
    a.ctl('apply')
    r = a.ctl('apply', '3')
    verdict(r.status == 1 and 'stale' in r.err and refused_ports() == {25}, 'another is in force', r)
    r = a.ctl('apply', '99')
    verdict(r.status == 1 and 'no saved plan 99' in r.err, 'no such plan', r)
    verdict(a.ctl('plan').status == 0, 'nothing would change')
    a.end()


def blocks_expire_and_outlive_a_restart():
    a = agent().start()
    r = a.ctl('block', '203.0.113.9', '--for', '1h')
    verdict(r.status == 0 and '203.0.113.9' in nft('list', 'ruleset'), 'blocked', r)
    a.ctl('block', '203.0.113.8', '--for', '3s')
    a.kill()
    a.start()
    verdict('203.0.113.9' in [b['address'] for b in a.status()['blocked']], 'known after a restart', a.status())
    verdict('203.0.113.9' in nft('list', 'ruleset'), 'in force after a restart', nft('list', 'ruleset'))
    verdict(wait_for(lambda: [b['address'] for b in a.status()['blocked']] == ['203.0.113.9'] and
                     '203.0.113.8' not in nft('list', 'ruleset')), 'the other expires', a.status())
    a.ctl('unblock', '203.0.113.9')
    for bad in ('nonsense', '10.0.0.0/33', '::1/200', ''):
        r = a.ctl('block', bad, '--for', '1h')
        verdict(r.status in (1, 2, 3) and not a.status()['blocked'], f'block {bad!r}', r)
    a.ctl('block', '2001:db8::/32', '--for', '1h')
    r = a.ctl('drift', '--now')
    verdict(r.status == 0, 'a block is no drift', r)
    r = a.ctl('unblock', '2001:db8::/32')
    verdict(r.status == 0 and '2001:db8::' not in nft('list', 'ruleset'), 'unblock', r)
    verdict(a.ctl('unblock', '192.0.2.1').status == 1, 'unblock what is not')
    a.end()


def SIGHUP_is_apply():
    a = agent().start()
    a.write(587)
    a.process.send_signal(signal.SIGHUP)
    verdict(wait_for(lambda: refused_ports() == {587}), 'reloaded', a.said())
    a.policy.write_text('nonsense: [')
    a.process.send_signal(signal.SIGHUP)
    verdict(wait_for(lambda: 'does not compile' in a.said()), 'said in the log', a.said())
    verdict(refused_ports() == {587}, 'and the rules stay')
    a.end()


def mode_observe_is_said_loudly():
    a = agent(port=None)
    a.write(25, mode='mode: observe')
    a.start()
    verdict('MODE OBSERVE' in a.ctl('status').out and a.status()['observe'], 'status', a.ctl('status'))
    verdict('mailreeve_observe 1' in a.ctl('metrics').out, 'metrics')
    a.end()


def remove_stays_removed_until_apply():
    a = agent().start()
    r = a.ctl('remove')
    verdict(r.status == 0 and refused_ports() == set() and 'mailreeve' not in nft('list', 'ruleset'),
            'removed', nft('list', 'ruleset'))
    a.kill()
    a.start()
    verdict(refused_ports() == set() and 'by hand' in a.status()['trouble'], 'after a restart', a.status())
    verdict(a.ctl('apply').status == 0 and refused_ports() == {25}, 'apply brings it back')
    a.end()


def drift_is_told_with_boxes_and_healed():
    b = agent(options=['--no-owner']).start()

    def edit():
        chain = re.search(r'chain (outbound\S*) \{', nft('list', 'table', 'inet', 'mailreeve-host')).group(1)
        nft('insert', 'rule', 'inet', 'mailreeve-host', chain, 'accept')
    edit()
    verdict(wait_for(lambda: b.status()['heals'] >= 1), 'healed', b.said())
    text = lambda: b.ctl('drift').out  # noqa: E731
    verdict(wait_for(lambda: 'witness' in text()), 'boxes with a witness', text() + b.said())
    # a program whose name is an order to the terminal
    odd = b.dir / 'a\x1b[2Jb'
    rig.shutil.copy(rig.shutil.which('nft'), odd)
    chain = re.search(r'chain (outbound\S*) \{', nft('list', 'table', 'inet', 'mailreeve-host')).group(1)
    subprocess.run([odd, 'insert', 'rule', 'inet', 'mailreeve-host', chain, 'accept'], check=True)
    verdict(wait_for(lambda: b.status()['heals'] >= 2), 'healed again', b.said())
    verdict('\x1b' not in text() and 'a?[2Jb' in text() and '\x1b' not in b.said(), 'its name is plain', text())
    verdict('by nft' in text() and 'healed after' in text(), 'who', text())
    r = b.ctl('drift', '--now')
    verdict(r.status == 0 and 'what the policy says' in r.out, 'drift --now', r)
    m = b.ctl('metrics').out
    verdict('mailreeve_drift_total 2\n' in m and 'mailreeve_heals_total 2\n' in m, 'metrics', m)
    r = b.ctl('pause', '--for', '1h')
    verdict(r.status == 0 and b.status()['paused'], 'pause', r)
    edit()
    time.sleep(0.5)
    r = b.ctl('drift', '--now')
    verdict(r.status == 1 and 'witness' in r.out, 'not healed while paused', r)
    verdict(b.ctl('resume').status == 0 and wait_for(lambda: b.status()['heals'] >= 3), 'resume', b.said())
    b.end()


def foreign_chains_that_change_the_policy_are_told():
    a = agent(port=None)
    a.write_text('roaming: {ports: [submission], to: anywhere}\notherwise: {deny: true, log: true}')
    a.start()
    time.sleep(1.5)
    verdict(a.status()['foreign_differences'] == 0, 'nothing foreign', a.ctl('drift'))
    nft('-f', '-', text='table inet evil { chain c { type filter hook output priority -350; policy accept; '
        'tcp dport 587 drop; }; }')
    verdict(wait_for(lambda: a.status()['foreign_differences'] > 0, LONG, 0.2), 'found', a.said())
    r = a.ctl('drift')
    verdict(r.status == 1 and 'foreign' in r.out and 'evil' in r.out, 'told', r)
    verdict('OTHER TABLES' in a.ctl('status').out and a.ctl('status').status == 1, 'in status')
    verdict('mailreeve_foreign_differences 1' in a.ctl('metrics').out, 'in metrics', a.ctl('metrics'))
    nft('delete', 'table', 'inet', 'evil')
    verdict(wait_for(lambda: a.status()['foreign_differences'] == 0, LONG, 0.2), 'and gone', a.said())
    a.end()


def attempts_are_told():
    a = agent().start()
    outer_link()
    verdict(wait_for(rig.log_group_heard), 'the role attempts hears', a.said())
    for _ in range(3):
        knock(25)
    verdict(wait_for(lambda: '192.0.2.9:25' in a.ctl('attempts').out, LONG, 0.1), 'attempts', a.ctl('attempts'))
    # the socket has gone with the refusal: only whose it was is sure
    verdict('outbound-shut' in a.ctl('attempts').out and 'uid 0' in a.ctl('attempts').out, 'who and by what',
            a.ctl('attempts'))
    verdict(wait_for(lambda: 'mailreeve_attempts_total{statement="outbound-shut"} 3\n' in
                     a.ctl('metrics').out, LONG, 0.2), 'counted', a.ctl('metrics'))
    verdict('statement=outbound-shut' in a.said(), 'logged with fields', a.said())
    verdict('"statement"' in a.ctl('attempts', '--json').out, 'as JSON', a.ctl('attempts', '--json'))
    if rig.many_users():
        the_only_program_of_a_user_is_told(a)
    a.end()


def the_only_program_of_a_user_is_told(a):
    """The jailed role sees nobody's sockets (agent/peer/peer.h, PEER_ONLY): so it is likely, and said to be."""
    a.policy.write_text(a.policy.read_text().replace('reject', 'drop'))
    verdict(a.ctl('apply').status == 0, 'apply', a.said())
    pid = os.fork()
    if pid == 0:
        os.setgroups([])
        os.setresgid(4712, 4712, 4712)
        os.setresuid(4712, 4712, 4712)
        s = socket.socket()
        s.setblocking(False)
        s.connect_ex(('192.0.2.8', 25))
        time.sleep(rig.MOST_SECONDS)
        os._exit(0)
    verdict(wait_for(lambda: '192.0.2.8:25' in a.ctl('attempts').out, LONG, 0.1), 'a connection that waits',
            a.ctl('attempts'))
    line = [x for x in a.ctl('attempts').out.splitlines() if '192.0.2.8:25' in x][0]
    verdict('uid 4712' in line and f'pid {pid}' in line and 'python' in line, 'which program', line)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def a_plan_that_cuts_the_connection_is_refused():
    a = agent().start()
    a.write_text('otherwise: untouched', 'block:\n  - {ports: [465], with: reject}\notherwise: untouched')
    before = nft('list', 'ruleset')
    here = '192.0.2.7 40000 192.0.2.1 465'
    r = a.ctl('apply', SSH_CONNECTION=here)
    verdict(r.status == 1 and 'cut the connection' in r.err and nft('list', 'ruleset') == before, 'refused', r)
    r = a.ctl('plan', SSH_CONNECTION=here)
    verdict('cut the connection' in r.err, 'plan warns', r)
    r = a.ctl('apply', '1', SSH_CONNECTION=here)
    verdict(r.status == 1 and nft('list', 'ruleset') == before, 'a saved plan is refused', r)
    r = a.ctl('apply', SSH_CONNECTION='192.0.2.7 40000 192.0.2.1 22')
    verdict(r.status == 0, 'one that it does not cut', r)
    a.write(25)
    a.ctl('apply')
    r = a.ctl('rollback', SSH_CONNECTION=here)
    verdict(r.status == 1 and 'cut the connection' in r.err and refused_ports() == {25}, 'rollback', r)
    r = a.ctl('rollback', '--force', SSH_CONNECTION=here)
    verdict(r.status == 0 and refused_ports() == set(), 'forced', r)
    a.end()


def sudo_does_not_hide_the_connection():
    """What started it has SSH_CONNECTION, though it has not itself."""
    a = agent().start()
    a.write_text('otherwise: untouched', 'block:\n  - {ports: [465], with: reject}\notherwise: untouched')
    # sh is to stay: a last command it would become
    words = f'env -u SSH_CONNECTION sh -c "{CTL} $1 --run {a.run}; exit \\$?"; exit $?'
    for args, port, status in ((['plan'], 465, 1), (['apply'], 465, 1), (['apply'], 22, 0)):
        env = {**os.environ, 'SSH_CONNECTION': f'192.0.2.7 40000 192.0.2.1 {port}'}
        r = rig.Answer(subprocess.run(['sh', '-c', words, 'sh', *args], capture_output=True, text=True, env=env))
        verdict(r.status == status and ('cut the connection' in r.err) == (port == 465), f'{args} from port {port}', r)
    a.end()


def what_blocks_stop_is_counted():
    a = agent().start()
    outer_link()
    zero = 'mailreeve_blocked_packets_total 0\n'
    verdict(zero in a.ctl('metrics').out, 'nothing yet', a.ctl('metrics'))
    a.ctl('block', '192.0.2.9', '--for', '1h')
    knock(465)                             # which the policy leaves alone
    m = lambda: a.ctl('metrics').out  # noqa: E731
    verdict(wait_for(lambda: re.search(r'^mailreeve_blocked_packets_total [1-9]', m(), re.M), LONG, 0.2), 'counted', m())
    verdict('blocked by hand' not in re.sub('# HELP.*', '', m()), 'and is no statement', m())
    a.ctl('unblock', '192.0.2.9')
    verdict(wait_for(lambda: zero in m(), LONG, 0.2), 'none is blocked', m())
    a.end()


def blocks_that_were_kept_are_in_force_before_READY():
    a = agent().start()
    addresses = [f'203.0.113.{i}' for i in range(1, 81, 2)]
    for x in addresses:
        r = a.ctl('block', x, '--for', '1h')
        verdict(r.status == 0, x, r)
    verdict(len(a.status()['blocked']) == len(addresses), 'all are blocked', a.status())
    a.kill()
    nft('flush', 'ruleset')
    s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    s.bind(str(a.dir / 'notify'))
    s.settimeout(LONG)
    a.start(ready=False, NOTIFY_SOCKET=str(a.dir / 'notify'))
    while s.recv(4096) != b'READY=1':
        pass
    rules = nft('list', 'ruleset')
    missing = [x for x in addresses if x + ' ' not in rules]
    s.close()
    verdict(not missing, 'all', missing)
    a.end()


def drift_that_an_apply_made_good_is_not_left_over():
    a = agent(options=['--no-owner']).start()
    a.ctl('pause', '--for', '1h')
    for n in (1, 2):
        nft('add', 'chain', 'inet', 'mailreeve-host', f'odd{n}')
        verdict(wait_for(lambda: a.status()['drift'] >= n), 'seen', a.said())
    verdict(a.ctl('drift').out.count('not healed yet') == 2, 'both wait', a.ctl('drift'))
    a.write(465)
    verdict(a.ctl('apply').status == 0, 'apply', a.said())
    r = a.ctl('drift')
    verdict('not healed yet' not in r.out and r.out.count('made good by generation 2') == 2, 'said of both', r)
    for n in (3, 4):
        nft('add', 'chain', 'inet', 'mailreeve-host', f'odd{n}')
        verdict(wait_for(lambda: a.status()['drift'] >= n), 'seen', a.said())
    a.ctl('resume')
    verdict(wait_for(lambda: a.ctl('drift').out.count('healed after') == 2), 'a heal is of both', a.ctl('drift'))
    a.end()


def plan_names_users_of_the_policy_in_force():
    """Also one who is not on this host, and whom the policy on disk does not name any more."""
    a = agent(port=None)
    both = 'exempt:\n  - {name: lists, users: [USER], ports: [smtp], to: anywhere, owner: x, reason: z, until: 2099-01-01}\n' \
        'roaming: {ports: [submission], to: anywhere}\notherwise: {deny: true}'
    a.write_text(both.replace('USER', 'one-who-is-not-here'))
    a.start()
    a.write_text(both.replace('USER', 'nobody'))
    r = a.ctl('plan')
    verdict(r.status == 1 and 'one-who-is-not-here' in r.out and not re.search(r'\b40265\d{5}\b', r.out), 'by name', r)
    a.end()


def one_change_at_a_time():
    a = agent().start()
    a.policy.write_text(a.policy.read_text() + '# ' + 'x' * 60 + '\n')
    spawner = a.roles()['spawner']
    busy = done = 0
    for _ in range(10):
        os.kill(spawner, signal.SIGSTOP)
        socks = [connect(a) for _ in range(4)]
        for s in socks:
            s.send(request(rig.APPLY))
        # one is at it, whichever was heard first
        waits = list(socks)
        while len(waits) > 1 and (told := select.select(waits, [], [], LONG)[0]):
            status, said = answer(told[0])
            busy += status == 1 and 'busy: apply is being done, asked by uid 0' in said
            waits.remove(told[0])
        os.kill(spawner, signal.SIGCONT)
        done += answer(waits[0])[0] == 0
        for s in socks:
            s.close()
    verdict(busy == 30 and done == 10, 'told who is at it', (busy, done))
    a.end()


def apply_with_children(a, sig):
    """An apply of a policy that takes a while, each compile child of which gets this signal. Its answer."""
    spawner, got = a.roles()['spawner'], set()
    c = subprocess.Popen([CTL, 'apply', '--run', str(a.run)], stderr=subprocess.PIPE, text=True)
    while c.poll() is None:
        for pid in rig.children(spawner):
            # what has not become the role yet has its parent's name
            if pid not in got and proc(pid, 'Name') == 'mreeve-compile':
                got.add(pid)
                os.kill(pid, sig)
        time.sleep(0.001)
    return c.returncode, c.communicate()[1]


def a_compile_child_that_is_killed_is_named():
    a = agent().start()
    before = nft('list', 'ruleset')
    a.write_large()
    for sig, word in ((signal.SIGKILL, 'signal 9'), (signal.SIGSYS, 'its jail forbids')):
        # on a busy machine a child may have done before it is seen
        for n in range(10):
            status, err = apply_with_children(a, sig)
            if status:
                break
            a.write_large(60000 + n + 1)
            before = nft('list', 'ruleset')
        verdict(status == 3 and 'compile child was killed' in err and word in err, word, err)
    verdict(nft('list', 'ruleset') == before, 'the rules stay')
    a.write(465)
    verdict(a.ctl('apply').status == 0, 'and it goes on')
    a.end()


def a_compile_child_that_hangs_is_ended():
    """After 30 s; here after 2."""
    a = agent(options=['--test-job-ms', '2000']).start()
    answers = []

    def meanwhile():
        spawner = a.roles()['spawner']
        end = time.monotonic() + 30
        while not answers and time.monotonic() < end:
            hangs = any(proc(x, 'State').startswith('T') for x in rig.children(spawner))
            if hangs and 'busy: apply' in (r := a.ctl('unblock', '192.0.2.254')).err:
                answers.append(r)
            time.sleep(0.01)
    for n in range(10):
        a.write_large(60000 + n)
        t = threading.Thread(target=meanwhile)
        t.start()
        status, err = apply_with_children(a, signal.SIGSTOP)
        t.join()
        if status == 3 and answers:
            break
    verdict(answers and answers[0].status == 1 and 'busy' in answers[0].err, 'it answers meanwhile', answers)
    verdict(status == 3 and 'longer than 2 s' in err, 'named', err)
    a.write(465)
    verdict(wait_for(lambda: a.ctl('apply').status == 0), 'and it goes on', a.said()[-500:])
    a.end()


def a_dead_role_ends_the_agent_and_rules_stay():
    a = agent().start()
    for role in ('apply', 'spawner'):
        os.kill(a.roles()[role], signal.SIGKILL)
        verdict(a.process.wait(LONG) == 1 and f'role {role} was killed' in a.said(), role, a.said())
        verdict(refused_ports() == {25}, 'rules stay')
        a.start()
        verdict(a.status()['in_force'], 'and it starts again', a.said())
    a.end()


def a_role_that_was_killed_for_want_of_memory_is_started_again():
    d = pathlib.Path(tempfile.mkdtemp(prefix='parent-'))
    events = d / 'memory.events'
    events.write_text('low 0\noom 0\noom_kill 3\n')
    a = agent(folder=d, options=['--test-memory-events', str(events)]).start()
    def score(pid):
        return int(pathlib.Path(f'/proc/{pid}/oom_score_adj').read_text())
    verdict(score(a.roles()['apply']) > score(a.roles()['spawner']) == score(a.process.pid),
            'it goes before the parent', a.roles())
    a.ctl('block', '203.0.113.9', '--for', '1h')
    a.ctl('pause', '--for', '1h')
    for n, held in ((1, False), (2, True)):
        old = wait_for(lambda: a.roles().get('apply'))
        if held:                           # in the middle of an apply
            os.kill(old, signal.SIGSTOP)
            a.write(465)
            c = subprocess.Popen([CTL, 'apply', '--run', str(a.run)], stderr=subprocess.PIPE, text=True)
            verdict(wait_for((a.state / 'history' / '000002').exists) and a.ctl('history').status == 0, 'it is asked', a.said())
        events.write_text(f'low 0\noom 0\noom_kill {3 + n}\n')
        os.kill(old, signal.SIGKILL)
        if held:
            err = c.communicate(timeout=LONG)[1]
            verdict(c.returncode == 3 and 'whether' in err and 'is not known' in err, 'it is not known', err)
        verdict(wait_for(lambda: a.said().count('killed for want of memory') == n), 'said in the journal', a.said())
        verdict(refused_ports() == {25}, 'the rules stay')
        r = a.ctl('status')
        verdict(r.status == 1 and ('MemoryMax=' in r.out or a.status()['apply_up']), 'status tells', r)
        verdict(wait_for(lambda: a.status()['in_force'] and not a.status()['trouble'] and
                         a.roles().get('apply', old) != old), 'started again, and knows', a.said())
        verdict(refused_ports() == {25} and '203.0.113.9' in nft('list', 'ruleset'), 'the same in force', a.status())
        verdict(a.status()['paused'] and a.process.poll() is None, 'healing is paused still', a.status())
        verdict(f'mailreeve_apply_deaths_total {n}\n' in a.ctl('metrics').out, 'in metrics', a.ctl('metrics'))
    verdict(a.ctl('check').status == 0, 'check', a.ctl('check'))
    verdict(a.ctl('apply').status == 0 and refused_ports() == {465}, 'apply', a.said())
    # any other end is the agent's
    os.kill(a.roles()['apply'], signal.SIGKILL)
    verdict(a.process.wait(LONG) == 1 and 'role apply was killed by signal 9' in a.said(), 'without that, the agent ends',
            a.said())
    a.end()


def damaged_state_is_set_aside():
    a = agent().start()
    a.write(465)
    a.ctl('apply')
    a.write(587)
    a.ctl('apply')
    spoils = {'plan': lambda b: b[:-1] + bytes([b[-1] ^ 1]), 'about': lambda b: b[:len(b) // 2],
              'bundle': lambda b: b''}
    for name, how in spoils.items():
        g = a.status()['generation']
        was = refused_ports()
        a.kill()
        f = a.state / 'history' / f'{g:06}' / name
        f.write_bytes(how(f.read_bytes()))
        a.start()
        s = a.status()
        if name == 'plan':
            verdict(s['in_force'] and s['generation'] == g and refused_ports() == was, 'made again from its text', s)
            continue
        verdict(s['in_force'] and s['generation'] < g and refused_ports() != was, f'{name} is damaged', s)
        verdict((a.state / 'history' / f'{g:06}.damaged').exists() and 'set aside' in a.said(), 'set aside')
        a.write({25: 465, 465: 587, 587: 25}[min(refused_ports())], name=name)
        a.ctl('apply')
    for name in ('current', 'blocks', 'pending'):
        for bad in (b'', b'\0' * 100, b'generation 99999\nsha256 ' + b'0' * 64 + b'\n', os.urandom(300)):
            a.kill()
            (a.state / name).write_bytes(bad)
            a.start()
            verdict(a.status()['in_force'], f'{name} is damaged', a.said()[-600:])
    a.kill()
    for p in (a.state / 'history').iterdir():
        (p / 'plan').unlink(missing_ok=True)
    a.start()
    verdict(a.status()['in_force'], 'none is left: the policy is compiled', a.said()[-600:])
    a.end()


def a_full_disk_changes_nothing():
    d = pathlib.Path(tempfile.mkdtemp(prefix='parent-'))
    (d / 'state').mkdir()
    subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=400k', 'tmpfs', str(d / 'state')], check=True)
    a = agent(folder=d).start()
    a.write(465)
    a.ctl('apply')
    r = a.ctl('apply', '--confirm', '2s')
    verdict(r.status == 0, 'apply --confirm', r)

    def fill():
        with open(d / 'state' / 'fill', 'ab', 0) as f:
            try:
                while True:
                    f.write(b'x' * 4096)
            except OSError:
                pass
    fill()
    verdict(wait_for(lambda: not a.status()['pending']), 'reverted on a full disk', a.said())
    verdict(a.status()['in_force'] and refused_ports() == {465}, 'the one before', a.status())
    fill()
    before = nft('list', 'ruleset')
    a.write(587)
    for args in (['apply'], ['apply', '--confirm', '5s'], ['rollback'], ['plan']):
        fill()
        r = a.ctl(*args)
        verdict(r.status == 3 and ('No space' in r.err), f'{args} is refused', r)
    verdict(nft('list', 'ruleset') == before, 'nothing was changed')
    a.kill()
    a.start()
    verdict(refused_ports() == {465} and a.status()['in_force'], 'a restart on a full disk', a.said()[-800:])
    (d / 'state' / 'fill').unlink()
    verdict(a.ctl('apply').status == 0 and refused_ports() == {587}, 'with room it goes on')
    a.stop()
    subprocess.run(['umount', str(d / 'state')], check=True)
    a.end()


def the_service_manager_is_told():
    d = tempfile.mkdtemp(prefix='parent-')
    s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    s.bind(d + '/notify')
    a = agent(env={'NOTIFY_SOCKET': d + '/notify', 'WATCHDOG_USEC': '900000'})
    got, ready_rules = [], []

    def hear():
        while True:
            m = s.recv(4096).decode()
            if m == 'READY=1' and not ready_rules:
                ready_rules.append(refused_ports())
            got.append(m)
    threading.Thread(target=hear, daemon=True).start()
    a.start()
    verdict(wait_for(lambda: ready_rules) == [{25}], 'READY=1 when the rules are in force', got)
    verdict(wait_for(lambda: got.count('WATCHDOG=1') >= 4), 'the watchdog is fed', got)
    verdict(wait_for(lambda: any(m.startswith('STATUS=the policy is in force') for m in got)), 'STATUS', got)
    role = a.roles()['apply']
    os.kill(role, signal.SIGSTOP)
    failed = lambda: a.said().count('the self-check failed')  # noqa: E731
    # what was answered before is heard first
    was = failed()
    verdict(wait_for(lambda: failed() >= was + 3), 'the self-check fails', a.said())
    mark, was = len(got), failed()
    verdict(wait_for(lambda: failed() >= was + 3) and 'WATCHDOG=1' not in got[mark:],
            'a role that hangs starves the watchdog', got[mark:])
    os.kill(role, signal.SIGCONT)
    verdict(wait_for(lambda: 'WATCHDOG=1' in got[mark:]), 'and one that is awake again feeds it', got[mark:])
    a.stop()
    verdict(wait_for(lambda: 'STOPPING=1' in got), 'STOPPING=1', got[mark:])
    a.end()


def caps_of(pid, keys=('CapEff',)):
    return {int(proc(pid, k) or '0', 16) for k in keys}


def no_process_keeps_what_it_does_not_need():
    a = agent().start()
    # the starter passes on what the log group and port 587 take
    caps = {'apply': 1 << 12, 'attempts': 0, 'spawner': 0, 'starter': 1 << 12 | 1 << 10}
    verdict(wait_for(lambda: set(caps) <= set(a.roles())), 'all are there', a.roles())
    for role, pid in [('parent', a.process.pid), *((r, a.roles()[r]) for r in caps)]:
        verdict(wait_for(lambda: caps_of(pid) == {caps.get(role, 0)}), f'{role}: capabilities', caps_of(pid))
        verdict(proc(pid, 'NoNewPrivs') == '1', f'{role}: no new privileges', proc(pid, 'NoNewPrivs'))
        if 'sanitized' not in os.environ.get('BUILD_KIND', ''):
            verdict(wait_for(lambda: proc(pid, 'Seccomp') == '2'), f'{role}: seccomp', proc(pid, 'Seccomp'))
    a.end()


def the_role_attempts_is_started_again_when_it_dies():
    a = agent().start()
    outer_link()
    for n in (1, 2):
        old = wait_for(lambda: a.roles().get('attempts'))
        os.kill(old, signal.SIGKILL)
        verdict(wait_for(lambda: a.status()['attempts_restarts'] == n), f'told: death {n}', a.status())
        verdict(wait_for(lambda: a.status()['attempts_up'] and a.roles().get('attempts', old) != old, LONG, 0.1),
                'started again', a.said())
    r = a.ctl('status')
    verdict(r.status == 0 and 'started again 2 times' in r.out, 'in words', r)
    verdict('mailreeve_attempts_restarts_total 2\n' in a.ctl('metrics').out, 'in metrics', a.ctl('metrics'))
    verdict(wait_for(rig.log_group_heard), 'it hears', a.said())
    knock(25)
    verdict(wait_for(lambda: '192.0.2.9:25' in a.ctl('attempts').out, LONG, 0.1), 'and tells', a.said())
    a.end()


def without_the_starter_the_agent_ends():
    a = agent().start()
    roles = a.roles()
    os.kill(roles['starter'], signal.SIGKILL)
    verdict(a.process.wait(LONG) == 1 and ('without the starter' in a.said() or 'role starter was killed' in a.said()),
            'it ends, to be started anew', a.said())
    verdict(wait_for(lambda: not any(rig.alive(x) for x in roles.values())), 'and no role stays behind', roles)
    verdict(refused_ports() == {25}, 'the rules stay')
    a.end()


def root_becomes_the_agents_user():
    if not rig.many_users():
        print('one user only: not tried here')
        return
    d = pathlib.Path(tempfile.mkdtemp(prefix='parent-'))
    d.chmod(0o755)
    a = agent(folder=d, options=['--user', 'nobody', '--group', 'mail']).start()
    s = a.status()
    verdict(s['in_force'] and refused_ports() == {25}, 'in force', a.said())
    caps = {'apply': 1 << 12, 'starter': 1 << 12 | 1 << 10, 'spawner': 0, 'attempts': 0}
    verdict(wait_for(lambda: set(caps) <= set(a.roles())), 'all are there', a.roles())
    for role, pid in [('parent', a.process.pid), *((r, a.roles()[r]) for r in caps)]:
        verdict(wait_for(lambda: set(proc(pid, 'Uid').split()) == {'65534'}), f'{role}: user', proc(pid, 'Uid'))
        verdict(wait_for(lambda: caps_of(pid, ('CapPrm',)) == {caps.get(role, 0)}), f'{role}: capabilities', caps_of(pid))
        verdict(proc(pid, 'Groups') == '', f'{role}: no other groups', proc(pid, 'Groups'))
    verdict((a.run / 'control.sock').stat().st_gid == 8 and a.state.stat().st_uid == 65534, 'owners')
    a.write(465)
    r = a.ctl('apply', '--confirm', '1h')
    verdict(r.status == 0 and a.ctl('confirm').status == 0 and refused_ports() == {465}, 'apply', r)
    outer_link()
    verdict(wait_for(rig.log_group_heard), 'the role attempts hears', a.said())
    knock(465)
    verdict(wait_for(lambda: '192.0.2.9:465' in a.ctl('attempts').out, LONG, 0.1), 'attempts', a.said())
    a.kill()
    a.start()
    verdict(a.status()['in_force'], 'again', a.said())
    a.end()


def without_a_root_parent_it_works_the_same():
    """As the service manager starts it: its own user, the ambient capability, its folders."""
    if not rig.many_users():
        print('one user only: not tried here')
        return
    d = pathlib.Path(tempfile.mkdtemp(prefix='parent-'))
    d.chmod(0o755)
    a = agent(folder=d, options=['--group', 'nogroup'])
    for x in (a.state, a.run):
        x.mkdir()
        os.chown(x, 65534, 65534)
    # as installed: for all to read, which the build's folder need not be
    (d / 'sbin').mkdir()
    rig.shutil.copy(DAEMON, d / 'sbin' / 'mailreeved')
    a.daemon = str(d / 'sbin' / 'mailreeved')
    a.start(prefix=['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', '--bounding-set=-all,+net_admin',
                    '--inh-caps=-all,+net_admin', '--ambient-caps=-all,+net_admin', '--no-new-privs'])
    verdict(a.status()['in_force'] and refused_ports() == {25}, 'in force', a.said())
    verdict('warning' not in a.said() and 'error' not in a.said(), 'nothing is amiss', a.said())
    keys = ('CapPrm', 'CapEff', 'CapInh', 'CapAmb')
    want = {'apply': {0, 1 << 12}, 'starter': {0, 1 << 12}, 'spawner': {0}, 'attempts': {0}}
    verdict(wait_for(lambda: set(want) <= set(a.roles())), 'all are there', a.roles())
    for role, pid in [('parent', a.process.pid), *((r, a.roles()[r]) for r in want)]:
        verdict(wait_for(lambda: caps_of(pid, keys) <= want.get(role, {0})), f'{role}: capabilities', caps_of(pid, keys))
    a.write(465)
    verdict(a.ctl('apply').status == 0 and refused_ports() == {465}, 'apply', a.said())
    a.end()


TESTS = [v for k, v in list(globals().items()) if callable(v) and getattr(v, '__module__', '') == '__main__'
         and k not in ('agent', 'apply_with_children', 'caps_of', 'the_only_program_of_a_user_is_told')]

if __name__ == '__main__':
    rig.inside()
    sys.exit(rig.run_all(TESTS, sys.argv[3:], rig.AT_ONCE))
