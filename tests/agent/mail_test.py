#!/usr/bin/env python3
"""Mail through the whole agent: programs of a host, localhost:587, a relay.

    mail_test.py MAILREEVED MAILREEVECTL MAILREEVE_SENDMAIL [TEST ...]     runs by itself in namespaces
"""
import contextlib
import os
import pathlib
import random
import re
import resource
import shutil
import signal
import smtplib
import socket
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import mail_rig  # noqa: E402
import parent_rig as rig  # noqa: E402
from mail_rig import MailAgent, Relay, as_user, can_send, send  # noqa: E402
from parent_rig import LONG, verdict, wait_for  # noqa: E402

DAEMON, CTL, SENDMAIL = (os.path.abspath(x) for x in sys.argv[1:4])
WWW_DATA = 33


def agent(mode='spool', **kw):
    a = MailAgent(DAEMON, CTL, **kw)
    a.write_mail(mode)
    a.dir.chmod(0o755)
    return a


def delivered(relay, idents, seconds=LONG):
    """Whether each of them came, after a while."""
    return wait_for(lambda: set(idents) <= set(relay.ids()), seconds, 0.1)


def flushed(a, relay, idents, seconds=60):
    """The same, where people do not wait for the next try."""
    def come():
        a.ctl('queue', 'flush')
        return set(idents) <= set(relay.ids())
    return wait_for(come, seconds, 1)


def missing(relay, idents):
    return sorted(set(idents) - set(relay.ids()))[:10]


# ---- programs -------------------------------------------------------------------------------------------

def three_programs_send_through_localhost_587():
    relay = Relay(2525).start()
    a = agent().begin()
    code, text = send('<smtplib@test>')
    verdict(code == 250, 'smtplib', text)
    with smtplib.SMTP('::1', 587, timeout=LONG) as s:
        verdict(s.ehlo()[0] == 250, 'over IPv6')
    if shutil.which('swaks'):
        r = subprocess.run(['swaks', '--server', 'localhost:587', '--from', 'a@example.org', '--to', 'b@example.net',
                            '--header', 'Message-Id: <swaks@test>'], capture_output=True, text=True, timeout=60)
        verdict(r.returncode == 0, 'swaks', r.stdout)
        verdict(delivered(relay, ['<swaks@test>']), 'swaks: delivered', relay.ids())
    r = subprocess.run([SENDMAIL, '-t', '-i', '-f', 'a@example.org'], text=True, capture_output=True, timeout=60,
                       env={**os.environ, 'MAILREEVE_SUBMISSION': str(a.run / 'submission.sock')},
                       input='From: a@example.org\nTo: b@example.net\nMessage-ID: <sendmail@test>\n\nhello\n')
    verdict(r.returncode == 0, 'mailreeve-sendmail', r)
    verdict(delivered(relay, ['<smtplib@test>', '<sendmail@test>']), 'delivered', relay.ids())
    verdict(wait_for(lambda: a.queue() == 0), 'and nothing is left', a.status())
    verdict(len(relay.ids()) == len(set(relay.ids())), 'each once', relay.ids())
    m = a.ctl('metrics').out
    verdict('mailreeve_mail_up 1\n' in m and re.search(r'mailreeve_mail_accepted_total [23]\n', m), 'metrics', m)
    a.end()
    relay.stop()


def who_sends_as_another_is_refused():
    if not rig.many_users():
        print('one user only: not tried here')
        return
    relay = Relay(2525).start()
    a = agent().begin()
    code = as_user(WWW_DATA, lambda: send('<registered@test>', 'web@example.org'))
    verdict(code.startswith('(250'), 'its registered sender', code)
    code = as_user(WWW_DATA, lambda: send('<forged@test>', 'rector@example.org'))
    verdict(re.match(r"\(5\d\d, '5\.", code) and 'root@example.org' in code, 'another, with whom to ask', code)
    verdict(delivered(relay, ['<registered@test>']), 'delivered', a.said())
    verdict('<forged@test>' not in relay.ids(), 'the other is not')
    a.end()
    relay.stop()


def direct_port_25_is_refused_by_the_same_policy():
    relay = Relay(2525).start()
    a = agent().begin()
    for words in ('link add d0 type veth peer name d1', 'addr add 192.0.2.1/24 dev d0', 'link set d0 up',
                  'link set d1 up'):
        subprocess.run(['ip', *words.split()], check=True)
    s = socket.socket()
    s.settimeout(LONG)
    try:
        s.connect(('192.0.2.9', 25))
        said = 'connected'
    except OSError as e:
        said = type(e).__name__
    verdict(said in ('ConnectionRefusedError', 'PermissionError', 'ConnectionResetError'), 'at once', said)
    verdict(wait_for(lambda: '192.0.2.9:25' in a.ctl('attempts').out, LONG, 0.1), 'and told', a.ctl('attempts'))
    a.end()
    relay.stop()


def a_message_for_two_relays_is_split():
    one, two = Relay(2525).start(), Relay(2526, '127.0.0.2').start()
    a = agent()
    a.write_mail(unregistered='route')
    a.begin()
    code, text = send('<split@test>', to=['b@example.net', 'c@two.example'])
    verdict(code == 250, 'accepted', text)
    verdict(delivered(one, ['<split@test>']) and delivered(two, ['<split@test>']), 'both have it', a.said())
    verdict(one.took[0][0] == ('b@example.net',) and two.took[0][0] == ('c@two.example',), 'each its recipient',
            (one.took, two.took))
    a.end()
    one.stop()
    two.stop()


def in_mode_through_the_relays_word_is_the_programs():
    relay = Relay(2525).start()
    relay.refuse.add('nobody@example.net')
    a = agent('through').begin()
    code, text = send('<refused@test>', to='nobody@example.net')
    verdict(code == 550 and 'nobody of that name' in text, 'a 550 of the relay', (code, text))
    code, text = send('<taken@test>')
    verdict(code == 250 and relay.ids() == ['<taken@test>'], 'a 250 when the relay has it', (code, text, relay.ids()))
    verdict(wait_for(lambda: a.queue() == 0), 'nothing waits', a.status())
    relay.stop()
    code, text = send('<later@test>')
    verdict(code == 250, 'kept when the relay is down', (code, text))
    relay.start()
    verdict(flushed(a, relay, ['<later@test>']), 'and delivered', a.said())
    a.end()
    relay.stop()


# ---- people --------------------------------------------------------------------------------------------------

def people_see_and_move_the_queue():
    a = agent().begin()
    verdict('no message waits' in a.ctl('queue', 'list').out, 'empty', a.ctl('queue', 'list'))
    for i in range(3):
        send(f'<q{i}@test>')
    rows = a.ctl('queue', 'list').out.splitlines()
    verdict(len(rows) == 3 and all('smart' in r for r in rows), 'a line each', rows)
    idents = [r.split()[0] for r in rows]
    # not held while the relay is being tried
    verdict(wait_for(lambda: a.ctl('queue', 'list').out.count(' pending ') == 3, LONG, 0.1), 'they wait', rows)
    r = a.ctl('queue', 'show', idents[0])
    verdict(r.status == 0 and 'a@example.org' in r.out and 'Message-ID: <q0@test>' in r.out, 'show', r)
    verdict(a.ctl('queue', 'list', '--json').out.count('"id"') == 3, 'as JSON', a.ctl('queue', 'list', '--json'))
    r = a.ctl('queue', 'hold', idents[0])
    verdict(r.status == 0 and '1 message is held' in r.out, 'hold', r)
    r = a.ctl('queue', 'drop', idents[1], '--why', 'a test drops it')
    verdict(r.status == 0 and '1 message is dropped' in r.out, 'drop', r)
    r = a.ctl('trace', idents[1])
    verdict(r.status == 0 and 'a test drops it' in r.out, 'trace of one that has gone', r)
    r = a.ctl('queue', 'show', '0123456789abcdef')
    verdict(r.status == 1 and 'not in the queue' in r.err, 'one that is not there', r)
    verdict(a.ctl('queue').status == 2 and a.ctl('queue', 'lst').status == 2 and a.ctl('trace').status == 2, 'wrong use')
    r = a.ctl('status')
    verdict('2 messages' in r.out and 'smart' in r.out and 'refused' in r.out.lower(), 'status', r)
    m = a.ctl('metrics').out
    verdict('mailreeve_queue_messages 2\n' in m and 'mailreeve_queue_held 1\n' in m, 'metrics', m)
    relay = Relay(2525).start()
    verdict(a.ctl('queue', 'flush').status == 0, 'flush')
    verdict(flushed(a, relay, ['<q2@test>']), 'what is not held goes', a.said())
    verdict('<q0@test>' not in relay.ids(), 'what is held does not')
    verdict(a.ctl('queue', 'release', idents[0]).status == 0, 'release')
    verdict(flushed(a, relay, ['<q0@test>']) and '<q1@test>' not in relay.ids(), 'now it does', relay.ids())
    r = a.ctl('trace', idents[0])
    verdict('relay.example.org' in r.out or '250' in r.out, 'its life, with the answer of the relay', r)
    a.end()
    relay.stop()


def test_mail_tells_what_becomes_of_it():
    relay = Relay(2525).start()
    a = agent().begin()
    r = a.ctl('test-mail', 'b@example.net', '--from', 'a@example.org')
    verdict(r.status == 0 and '250' in r.out and len(relay.took) == 1, 'delivered', r)
    verdict('its life so far' in r.out and 'taken' in r.out, 'with its trace', r)
    r = a.ctl('test-mail', 'no-address', '--from', 'a@example.org')
    verdict(r.status == 1 and 'refused' in r.out, 'refused', r)
    r = a.ctl('test-mail', 'b@example.net>', '--from', 'a@example.org')
    verdict(r.status == 2, 'wrong use', r)
    a.end()
    relay.stop()


# ---- nothing is lost -----------------------------------------------------------------------------------------

def a_relay_that_stops_and_starts_loses_nothing():
    relay = Relay(2525).start()
    a = agent().begin()
    idents = [f'<stop{i}@test>' for i in range(40)]
    for i, x in enumerate(idents):
        if i == 10:
            relay.stop()
        verdict(send(x)[0] == 250, 'accepted', x)
    verdict(a.queue() > 0, 'it waits', a.status())
    verdict('mailreeve_relay_waiting{relay="smart"}' in a.ctl('metrics').out, 'told', a.ctl('metrics'))
    relay.start()
    verdict(flushed(a, relay, idents), 'all delivered', (missing(relay, idents), a.ctl('status')))
    a.end()
    relay.stop()


def killed_in_turn(mode):
    """kill -9 of each role while mail flows: what was accepted is delivered, at most twice where in flight."""
    relay = Relay(2525).start()
    a = agent(mode).begin()
    accepted, stop, lock = [], threading.Event(), threading.Lock()

    def program(k):
        n = 0
        while not stop.is_set():
            x = f'<kill-{mode}-{k}-{n}@test>'
            n += 1
            time.sleep(0.02)
            try:
                if send(x, timeout=20)[0] == 250:
                    with lock:
                        accepted.append(x)
            except (OSError, smtplib.SMTPException):
                time.sleep(0.05)

    threads = [threading.Thread(target=program, args=(k,), daemon=True) for k in range(4)]
    for t in threads:
        t.start()
    deaths = 0
    for role in ('queue', 'relay', 'front'):
        enough = len(accepted) + 7
        verdict(wait_for(lambda enough=enough: len(accepted) >= enough), 'mail flows', len(accepted))
        time.sleep(random.uniform(0.1, 0.7))
        pid = wait_for(lambda role=role: a.roles().get(role), 10, 0.05)
        os.kill(pid, signal.SIGKILL)
        deaths += 1
        verdict(wait_for(lambda: a.status()['mail']['restarts'] >= deaths and a.mail_up(), 90, 0.2),
                f'{role}: started again', a.said()[-2000:])
        verdict(wait_for(can_send, LONG, 0.1), f'{role}: mail is taken again', a.said()[-2000:])
    stop.set()
    for t in threads:
        t.join(30)
    verdict(len(accepted) > 20, 'mail flowed', len(accepted))
    verdict(flushed(a, relay, accepted), 'every accepted message is delivered',
            (missing(relay, accepted), a.ctl('status')))
    times = {x: relay.ids().count(x) for x in set(relay.ids())}
    twice = [x for x, n in times.items() if n > 1]
    verdict(max(times.values()) <= 2, 'at most twice', {x: n for x, n in times.items() if n > 2})
    verdict(len(twice) <= deaths * 40, 'and that only where in flight', len(twice))
    print(f'{mode}: {len(accepted)} accepted, {deaths} deaths, {len(twice)} twice')
    a.end()
    relay.stop()


def roles_killed_in_turn_lose_nothing():
    killed_in_turn('spool')


def roles_killed_in_turn_lose_nothing_in_mode_through():
    killed_in_turn('through')


def the_agent_killed_and_started_again_loses_nothing():
    a = agent().begin()
    idents = [f'<agent{i}@test>' for i in range(10)]
    for x in idents:
        send(x)
    a.kill()
    relay = Relay(2525).start()
    a.begin()
    verdict(flushed(a, relay, idents), 'delivered by the next', (missing(relay, idents), a.said()))
    a.end()
    relay.stop()


def a_full_disk_refuses_for_now_and_recovers():
    disk = pathlib.Path(tempfile.mkdtemp(prefix='parent-'))
    subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=160m', 'tmpfs', str(disk)], check=True)
    relay = Relay(2525).start()
    a = agent()
    (a.dir / 'state').symlink_to(disk)
    a.state = disk / 'state'
    a.begin()
    verdict(send('<before@test>')[0] == 250, 'before')
    with open(disk / 'filler', 'wb') as f:
        try:
            while True:
                f.write(b'x' * 65536)
                f.flush()
        except OSError:
            pass
    code, text = send('<full@test>')
    verdict(code in (451, 452), 'full: for now, not for good', (code, text))
    (disk / 'filler').unlink()
    verdict(wait_for(lambda: send('<after@test>')[0] == 250, LONG, 0.5), 'it recovers alone', a.said())
    verdict(delivered(relay, ['<before@test>', '<after@test>']) and '<full@test>' not in relay.ids(), 'delivered',
            relay.ids())
    a.end()
    relay.stop()
    subprocess.run(['umount', '-l', str(disk)], check=False)


# ---- the policy changes ------------------------------------------------------------------------------------------

def another_policy_takes_queued_mail_along():
    a = agent().begin()
    idents = [f'<route{i}@test>' for i in range(5)]
    for x in idents:
        send(x)
    verdict(a.queue() == 5, 'they wait for a relay that is down', a.status())
    other = Relay(2526, '127.0.0.2').start()
    a.write_mail(via='other')
    verdict(a.ctl('apply').status == 0, 'another policy')
    verdict(wait_for(lambda: send('<new@test>')[0] == 250 and '<new@test>' in other.ids(), LONG, 0.5),
            'new mail goes another way', a.said())
    verdict(flushed(a, other, idents), 'and so does what was queued', (missing(other, idents), a.said()))
    verdict(a.ctl('rollback').status == 0, 'rollback')
    time.sleep(1)
    relay = Relay(2525).start()
    verdict(wait_for(lambda: send('<old@test>')[0] == 250 and '<old@test>' in relay.ids(), LONG, 0.5),
            'back to the first relay', a.said())
    a.end()
    relay.stop()
    other.stop()


def a_policy_for_which_a_role_has_no_memory_is_told_again():
    a = agent().begin()
    pid = a.roles()['front']
    size = int(re.search(r'VmSize:\s+(\d+)', pathlib.Path(f'/proc/{pid}/status').read_text())[1]) << 10
    most = resource.prlimit(pid, resource.RLIMIT_AS)[1]
    resource.prlimit(pid, resource.RLIMIT_AS, (size, most))
    # one that takes some megabytes to read
    a.write_mail(extra='networks:\n' + ''.join(f'  n{i}: {{ranges: [10.{i >> 8}.{i & 255}.0/24], families: ipv4}}\n'
                                               for i in range(4000)))
    verdict(a.ctl('apply').status == 0, 'applied', a.said())
    verdict(wait_for(lambda: 'memory' in a.status()['mail']['trouble'], 60, 0.2), 'front lacks memory: said',
            (a.status(), a.said()[-2000:]))
    verdict(a.roles().get('front') == pid and send('<meanwhile@test>')[0] == 250, 'it goes on with the one before')
    resource.prlimit(pid, resource.RLIMIT_AS, (most, most))
    verdict(wait_for(lambda: not a.status()['mail']['trouble'], 90, 0.5), 'and takes it when it can', a.status())
    verdict(a.roles().get('front') == pid and send('<then@test>')[0] == 250, 'by itself', a.said()[-2000:])
    a.end()


def without_a_submission_no_role_runs():
    a = MailAgent(DAEMON, CTL)
    a.write(25)
    a.start()
    time.sleep(0.5)
    verdict(not {'front', 'queue', 'relay'} & set(a.roles()), 'none runs', a.roles())
    verdict('no `submission:`' in a.ctl('status').out and a.ctl('queue', 'list').status == 1, 'said', a.ctl('status'))
    a.write_mail()
    verdict(a.ctl('apply').status == 0 and wait_for(can_send, LONG, 0.1), 'they begin with a policy that has one', a.said())
    verdict((a.run / 'submission.sock').stat().st_mode & 0o777 == 0o666, 'the socket is for everybody')
    a.write(25)
    verdict(a.ctl('apply').status == 0 and wait_for(lambda: not {'front', 'queue', 'relay'} & set(a.roles()), LONG, 0.1),
            'and end with one that has none', a.roles())
    verdict(wait_for(lambda: not can_send() and not (a.run / 'submission.sock').exists()), 'nothing listens')
    a.end()


def a_port_in_use_is_named_and_rules_stay():
    taken = socket.create_server(('127.0.0.1', 587))
    a = agent()
    a.start()
    verdict(wait_for(lambda: '127.0.0.1 port 587' in a.status()['mail']['trouble'], LONG, 0.1), 'named', a.status())
    r = a.ctl('status')
    verdict(r.status == 1 and 'another program listens there' in r.out, 'in words', r)
    verdict('127.0.0.1 port 587' in a.said(), 'in the log', a.said())
    verdict(rig.refused_ports() == {25} and a.status()['in_force'], 'rules are in force')
    with smtplib.SMTP('::1', 587, timeout=LONG) as s:
        verdict(s.ehlo()[0] == 250, 'the other address is listened at')
    taken.close()
    verdict(wait_for(lambda: a.status()['mail']['listens'] == ['127.0.0.1', '::1'] and can_send(), LONG, 0.3),
            'taken when it is free', a.said())
    a.end()


def the_mail_roles_as_a_unit_of_their_own():
    """As mailreeve-mail.service has it: no capability, its sockets from the service manager."""
    relay = Relay(2525).start()
    given = [socket.create_server(('127.0.0.1', 587)), socket.create_server(('::1', 587), family=socket.AF_INET6)]
    code = ('import fcntl,os,sys; n=[int(x) for x in sys.argv[1].split(",")]; '
            'k=[fcntl.fcntl(x, fcntl.F_DUPFD, 50) for x in n]; [os.dup2(x, 3 + i) for i, x in enumerate(k)]; '
            'os.environ.update(LISTEN_FDS="2", LISTEN_PID=str(os.getpid())); os.execv(sys.argv[2], sys.argv[2:])')
    a = agent(options=['--mail-apart'])
    a.start()
    verdict(wait_for(lambda: 'mailreeve-mail.service does not run' in a.status()['mail']['why'], LONG, 0.1), 'said',
            a.status())
    verdict(a.ctl('status').status == 1, 'that is amiss')
    fds = [s.fileno() for s in given]
    for fd in fds:
        os.set_inheritable(fd, True)

    def unit():
        return subprocess.Popen([sys.executable, '-c', code, ','.join(map(str, fds)), DAEMON, '--mail-starter', '--run',
                                 str(a.run)], stderr=open(a.log, 'a'), close_fds=False)
    u = unit()
    verdict(wait_for(lambda: a.mail_up() and can_send(), LONG, 0.1), 'it starts them', a.said())
    verdict(not {'front', 'queue', 'relay'} & set(a.roles()), 'none is of the rules\' unit', a.roles())
    idents = [f'<apart{i}@test>' for i in range(10)]
    for x in idents[:5]:
        verdict(send(x)[0] == 250, 'taken', x)
    verdict(delivered(relay, idents[:5]), 'delivered', a.said())
    u.kill()
    u.wait()
    verdict(wait_for(lambda: not a.mail_up(), LONG, 0.1) and a.status()['in_force'], 'it dies: rules stay', a.said())
    u = unit()
    verdict(wait_for(lambda: a.mail_up() and can_send(), LONG, 0.1), 'and starts again', a.said())
    for x in idents[5:]:
        send(x)
    verdict(flushed(a, relay, idents), 'delivered', missing(relay, idents))
    a.stop()
    verdict(wait_for(lambda: u.poll() is not None), 'it ends with the agent, for its service manager')
    a.end()
    relay.stop()


def sockets_of_the_service_manager_are_taken():
    given = socket.create_server(('127.0.0.1', 587))
    code = ('import os,sys; os.dup2(int(sys.argv[1]), 3); os.set_inheritable(3, True); '
            'os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid())); os.execv(sys.argv[2], sys.argv[2:])')
    a = agent()
    os.set_inheritable(given.fileno(), True)
    log = open(a.log, 'a')
    a.process = subprocess.Popen([sys.executable, '-c', code, str(given.fileno()), DAEMON, '--policy', str(a.policy),
                                  '--state', str(a.state), '--run', str(a.run), *a.options], stderr=log,
                                 close_fds=False)
    given.close()
    verdict(wait_for(lambda: a.ready() and a.status()['mail']['listens'] == ['127.0.0.1', '::1'], LONG, 0.2), 'listens',
            a.said())
    verdict(send('<given@test>', host='127.0.0.1')[0] == 250, 'and takes mail', a.said())
    a.end()


# ---- credentials ---------------------------------------------------------------------------------------------------

def a_relay_that_people_must_look_at_is_amiss():
    """An alarm is in the exit status, too, for who looks at nothing else."""
    relay = socket.create_server(('127.0.0.1', 2525))
    a = agent().begin()
    verdict(a.ctl('status').status == 0, 'all is well', a.ctl('status'))

    def nonsense():
        with contextlib.suppress(OSError):
            while True:
                c, _ = relay.accept()
                c.sendall(b'99 nonsense\r\n')
                c.close()
    threading.Thread(target=nonsense, daemon=True).start()
    send('<alarm@x>')
    verdict(wait_for(lambda: 'ALARM' in a.ctl('status').out), 'the relay is named', a.ctl('status'))
    r = a.ctl('status')
    verdict(r.status == 1 and 'answers nonsense' in r.out, 'that is amiss', r)
    a.end()
    relay.close()


def mail_of_a_relay_that_the_policy_lost_says_so():
    a = agent().begin()
    send('<lost@x>')
    verdict(wait_for(lambda: 'refused' in a.ctl('status').out), 'it waits, for the relay is down', a.ctl('status'))
    before = a.policy.read_text()
    a.policy.write_text(before.replace('  smart:\n', '  third:\n').replace('via: smart', 'via: third').replace(
        'to: any', 'to: "@nowhere.example"').replace('unregistered: {via: third}', 'unregistered: refuse'))
    verdict(a.ctl('apply').status == 0, 'another policy', a.said())
    why = 'the policy has no such relay any more'
    verdict(wait_for(lambda: why in a.ctl('status').out), 'that is the cause now', a.ctl('status'))
    verdict(a.ctl('status').status == 1 and a.said().count(why) == 1, 'amiss, and in the log once', a.said())
    relay = Relay(2525).start()
    a.policy.write_text(before)
    verdict(a.ctl('apply').status == 0 and flushed(a, relay, ['<lost@x>']), 'it goes when there is a way again',
            a.ctl('status'))
    verdict(wait_for(lambda: a.ctl('status').status == 0), 'and all is well', a.ctl('status'))
    relay.stop()
    a.end()


def credentials_that_others_may_read_are_not_used():
    d = pathlib.Path(tempfile.mkdtemp(prefix='parent-'))
    a = agent(options=['--credentials', str(d)])
    a.write_mail(auth='{password: smart-login}', tls='starttls')
    (d / 'smart-login').write_text('user: me\npassword: very-secret\n')
    (d / 'smart-login').chmod(0o644)
    a.start()
    verdict(wait_for(lambda: 'may be read' in a.status()['mail']['trouble'], LONG, 0.1), 'told', a.status())
    r = a.ctl('status')
    verdict(r.status == 1 and 'chmod 0600' in r.out and 'very-secret' not in r.out + a.said(), 'and what to do', r)
    (d / 'smart-login').chmod(0o600)
    a.process.send_signal(signal.SIGHUP)
    verdict(wait_for(lambda: a.status()['mail']['trouble'] == '', LONG, 0.1), 'read again at SIGHUP', a.status())
    (d / 'smart-login').unlink()
    verdict(a.ctl('apply').status == 0 and wait_for(lambda: 'no such file' in a.status()['mail']['trouble'], LONG, 0.1),
            'and at apply', a.status())
    a.end()
    shutil.rmtree(d)


def without_the_relays_program_rules_are_kept_and_status_names_it():
    folder = pathlib.Path(tempfile.mkdtemp(prefix='alone-'))
    shutil.copy(DAEMON, folder / 'mailreeved')
    a = MailAgent(str(folder / 'mailreeved'), CTL).start()
    verdict(rig.refused_ports() == {25} and a.ctl('status').status == 0, 'a policy without mail needs none', a.said())
    verdict('mailreeve-relay' not in a.said(), 'nor does the log speak of it', a.said())
    a.write_mail()
    verdict(a.ctl('apply').status == 0, 'a policy with mail', a.said())
    why = f'{folder}/mailreeve-relay: No such file or directory'
    verdict(wait_for(lambda: why in a.status()['mail'].get('why', ''), 60, 0.1), 'status names it', a.ctl('status'))
    r = a.ctl('status')
    verdict(r.status == 1 and 'NOT TAKEN NOW' in r.out and why in r.out, 'for people too', r)
    verdict(why in a.said(), 'the log too', a.said())
    verdict(wait_for(lambda: a.status()['mail']['restarts'] >= 2, 60, 0.1), 'it is tried again', a.ctl('status'))
    verdict(a.said().count(why) == 1, 'and said once', a.said())
    verdict(a.status()['in_force'] and 25 in rig.refused_ports(), 'the rules are in force', a.status())
    shutil.copy(pathlib.Path(DAEMON).with_name('mailreeve-relay'), folder)
    a.stop()
    a.start()
    verdict(wait_for(a.mail_up, 60, 0.1), 'with it mail is taken', a.ctl('status'))
    a.end()
    shutil.rmtree(folder)


TESTS = [v for k, v in list(globals().items()) if callable(v) and getattr(v, '__module__', '') == '__main__'
         and k not in ('agent', 'delivered', 'flushed', 'missing', 'killed_in_turn')]

if __name__ == '__main__':
    rig.inside()
    sys.exit(rig.run_all(TESTS, sys.argv[4:], rig.AT_ONCE))
