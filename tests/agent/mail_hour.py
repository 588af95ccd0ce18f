#!/usr/bin/env python3
"""An hour of mixed load with random kills: nothing is lost, nothing comes twice without a cause.

    mail_hour.py MAILREEVED MAILREEVECTL [--minutes 60] [--seed N] [--pause SECONDS] [--ext4]

The whole agent with two relays, both processes of their own (hour_relay.py). Programs of three users send 4 KB and
1 MB from 1 to 20 connections, in sessions of several messages, to one or more recipients of both relays, some to
such as the relays refuse; some send what is refused here, some break off in the middle. Meanwhile every process of
the agent, and the relays, are killed or stopped for a while at random, mailreevectl in the midst of its question;
the relays misbehave; the policy changes between `spool` and `through`. In the end all is well again, the queue has
to become empty, and from what programs were told and what the relays wrote down:

    lost       told 250, not delivered (to a recipient whom the relay refuses: no report to the sender)
    forbidden  delivered, though the program was told 5xx or broke off
    later      delivered, though it was told 4xx: only in flight at a kill
    twice      delivered once more than the kills and doubts in flight allow
    torn       other bytes than were sent

have all to be 0. --ext4 (root): the spool on an ext4 of its own instead of a tmpfs. Exit status 1 on any breach.
"""
import argparse
import collections
import contextlib
import ctypes
import hashlib
import json
import mmap
import multiprocessing
import os
import pathlib
import random
import re
import shutil
import signal
import smtplib
import socket
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import parent_rig as rig  # noqa: E402
from mail_rig import MailAgent, can_send  # noqa: E402
from parent_rig import wait_for  # noqa: E402

PR_SET_CHILD_SUBREAPER = 36
MOST_KIB = 64 << 10            # of one role, PSS
BEFORE, AFTER = 3, 10          # s around a delivery in which a disturbance may have met it
USERS = (('', 0), ('web', 33), ('batch', 34))

POLICY = '''\
mailreeve: 1
name: hour
contact: root@example.org
relays:
  smart:
    ranges: [127.0.0.1]
    families: ipv4
    host: 127.0.0.1
    reason: a test
    auth: none
    endpoints: [{{port: 2525, tls: none}}]
  other:
    ranges: [127.0.0.2]
    families: ipv4
    host: 127.0.0.2
    reason: a test
    auth: none
    endpoints: [{{port: 2526, tls: none}}]
points:
  host:
    kind: host
    outbound:
      block:
        - {{name: shut, ports: [25], with: reject, log: true}}
      otherwise: untouched
kinds:
  any-application: {{limits: [{{messages: 10000000, per: hour, over: defer}}]}}
submission:
  mode: {mode}
  routes:
    - {{to: ["@two.example"], via: other}}
    - {{to: any, via: smart}}
  applications:
    web:
      runs-as: {{user: www-data}}
      kind: any-application
      owners: [web@example.org]
      senders: [{{envelope: web@example.org}}]
    batch:
      runs-as: {{user: backup}}
      kind: any-application
      owners: [batch@example.org]
      senders: [{{envelope: batch@example.org}}]
  unregistered: route
'''


# ---- programs ------------------------------------------------------------------------------------------------

def content(rnd, name, sender, to, size):
    lines, have = [], 0
    filler = '%032x' % rnd.getrandbits(128) * 2
    while have < size:
        lines.append(('.' if rnd.random() < 0.02 else '') + filler[:rnd.randint(1, 60)])
        have += len(lines[-1]) + 2
    body = ('\r\n'.join(lines) + '\r\n').encode()
    return (f'From: {sender}\r\nTo: {to}\r\nSubject: an hour\r\nMessage-ID: {name}\r\n'
            f'Date: Sun, 22 Nov 2026 00:00:00 +0000\r\nX-Digest: {hashlib.sha256(body).hexdigest()}\r\n\r\n'
            ).encode() + body


class Program(threading.Thread):
    """One connection's worth of a program: sends while it is among the first `active`."""

    def __init__(self, who, number, active, over, pause, book, seed):
        super().__init__(daemon=True)
        self.who, self.number, self.active, self.over, self.pause = who, number, active, over, pause
        self.book, self.random, self.n = book, random.Random(seed * 1000 + number), 0

    def note(self, **what):
        os.write(self.book, (json.dumps(what) + '\n').encode())

    def envelope(self):
        """(kind, name, sender, recipients, bytes) of the next message."""
        rnd = self.random
        self.n += 1
        name = f'<{self.number}-{self.n}@hour>'
        kind = rnd.choices(('plain', 'several', 'nobody', 'forged', 'cut'), (70, 15, 6, 5, 4))[0]
        sender = f'{self.who}@example.org' if self.who else f'u{self.number}-{self.n}@example.org'
        to = [f'{self.number}.{self.n}.{i}@{rnd.choice(("one", "two"))}.example'
              for i in range(rnd.randint(2, 8) if kind == 'several' else 1)]
        if kind == 'nobody' and not self.who:
            # a report to a sender of its own is wanted back: others had too many of them already
            to += [f'nobody{self.number}.{self.n}@{rnd.choice(("one", "two"))}.example']
        if kind == 'forged':
            if self.who:
                sender = 'rector@example.org'
            else:
                kind = 'plain'
        return kind, name, sender, to, 1 << 20 if rnd.random() < 0.03 else 4096

    def one(self, s):
        kind, name, sender, to, size = self.envelope()
        rnd, begun = self.random, time.monotonic()
        told = {'id': name, 'kind': kind, 'sender': sender, 'to': to, 'begun': begun, 'code': 0}
        try:
            code, _ = s.mail(sender)
            for x in to if code == 250 else ():
                code, _ = s.rcpt(x)
                if code != 250:
                    break
            if code == 250 and kind == 'cut':
                # the receiver shall not find an end
                s.putcmd('data')
                if s.getreply()[0] == 354:
                    s.send(content(rnd, name, sender, to[0], size)[:rnd.randint(1, size)])
                s.close()
                self.note(**told, ended=time.monotonic())
                raise ConnectionError
            if code == 250:
                # from here on it may be delivered, whatever we hear
                self.note(**{**told, 'code': -1})
                code, _ = s.data(content(rnd, name, sender, to[0], size))
            told['code'] = code
        finally:
            if kind != 'cut':
                self.note(**told, ended=time.monotonic())
        if code != 250:
            s.rset()

    def run(self):
        while not self.over.value:
            if self.number >= self.active.value:
                time.sleep(0.2)
                continue
            with contextlib.suppress(OSError, smtplib.SMTPException):
                with smtplib.SMTP(self.random.choice(('127.0.0.1', '::1')), 587, timeout=100,
                                  local_hostname='localhost') as s:
                    s.ehlo()
                    for _ in range(self.random.randint(1, 5)):
                        self.one(s)
                        if self.over.value:
                            break
                        time.sleep(self.random.uniform(0, self.pause))
                continue
            time.sleep(0.3)


def programs(who, uid, numbers, active, over, pause, book, seed):
    """A process of that user."""
    fd = os.open(book, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    # modules come from where that user may not read
    '127.0.0.1'.encode('idna')
    if uid:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    all_ = [Program(who, k, active, over, pause, fd, seed) for k in numbers]
    for t in all_:
        t.start()
    for t in all_:
        t.join()


# ---- what happens to them ------------------------------------------------------------------------------------

class Hour:
    def __init__(self, o):
        self.o, self.random = o, random.Random(o.seed)
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix='parent-'))
        self.dir.chmod(0o755)
        self.agent = MailAgent(o.daemon, o.ctl, folder=str(self.dir))
        self.mood = self.dir / 'mood'
        self.relays, self.books = [None, None], []
        self.happened = []                     # (from, to, what)
        self.count = collections.Counter()
        self.peak = collections.Counter()
        self.breaches = []
        self.stop = threading.Event()
        self.lock = threading.Lock()           # of the agent's process

    def breach(self, text):
        self.breaches.append(text)
        print('BREACH', text, flush=True)

    def disturb(self, what, begun=None):
        with contextlib.suppress(OSError):
            with open(self.agent.log, 'a') as f:
                f.write(f'hour: {time.monotonic():.3f} {what}\n')
        self.happened.append((begun or time.monotonic(), time.monotonic(), what))
        self.count[what] += 1

    # -- the agent, and what a service manager does for it

    def policy(self, mode):
        self.agent.policy.write_text(POLICY.format(mode=mode))

    def up(self, seconds):
        """Whether mail is taken within that time."""
        def look():
            self.revive()
            with contextlib.suppress(OSError, RuntimeError, ValueError, KeyError, subprocess.TimeoutExpired):
                return self.agent.mail_up() and can_send()
        return wait_for(look, seconds, 0.3)

    def revive(self):
        with self.lock:
            a = self.agent
            if a.process.poll() is None:
                return
            self.count[f'agent ended ({a.process.returncode})'] += 1
            began = time.monotonic()
            # those that it has left end with it, as the unit's control group does; some alone
            if self.random.random() < 0.5:
                wait_for(lambda: not rig.children(os.getpid()) or not self.orphans(), 3, 0.1)
            for pid in self.orphans():
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
            wait_for(lambda: not self.orphans(), 10, 0.05)
            a.start(ready=False)
            self.disturb('agent started again', began)

    def orphans(self):
        """Processes of an agent that is no more, which came to us: the dead ones are buried."""
        mine = {self.agent.process.pid, *(r.pid for r in self.relays if r)}
        left = []
        for pid in rig.children(os.getpid()):
            if pid in mine:
                continue
            with contextlib.suppress(OSError):
                if b'--role=' not in pathlib.Path(f'/proc/{pid}/cmdline').read_bytes():
                    if pathlib.Path(f'/proc/{pid}/stat').read_text().rsplit(')', 1)[1].split()[0] == 'Z' and \
                       pathlib.Path(f'/proc/{pid}/comm').read_text().startswith('mreeve-'):
                        os.waitpid(pid, os.WNOHANG)
                    continue
                left.append(pid)
        return left

    # -- relays

    def relay(self, k):
        # a signal to our group is not for them
        self.relays[k] = subprocess.Popen(
            [sys.executable, '-S', str(HERE / 'hour_relay.py'), f'127.0.0.{k + 1}', str(2525 + k), self.books[k],
             str(self.mood), str(self.random.getrandbits(30))], stderr=open(self.dir / 'relays.log', 'a'))

    # -- faults

    def kill_role(self, name):
        pid = self.agent.process.pid if name == 'parent' else self.agent.roles().get(name)
        if not pid:
            return
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
        self.disturb(f'kill {name}')
        if not self.up(150):
            self.breach(f'no mail is taken again after the kill of {name}: {self.agent.said()[-1500:]}')

    def stop_role(self, name):
        pid = self.agent.process.pid if name == 'parent' else self.agent.roles().get(name)
        if pid:
            self.stop_pid(pid, f'stop {name}')

    def stop_pid(self, pid, what):
        begun = time.monotonic()
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGSTOP)
            time.sleep(self.random.choice((0.3, 1, 3, self.o.longest)))
            os.kill(pid, signal.SIGCONT)
        self.disturb(what, begun)

    def kill_relay(self, k):
        self.relays[k].kill()
        self.relays[k].wait()
        self.disturb('kill of a relay')
        time.sleep(self.random.choice((0, 0.5, 2, self.o.longest)))
        self.relay(k)

    def kill_ctl(self):
        words = self.random.choice((('queue', 'list'), ('queue', 'flush'), ('status',), ('apply',), ('metrics',)))
        p = self.agent.ctl_begin(*words)
        time.sleep(self.random.uniform(0, 0.05))
        p.kill()
        p.wait()
        self.count['kill mailreevectl'] += 1

    def turn_policy(self):
        self.policy(self.random.choice(('spool', 'through')))
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.agent.ctl('apply', timeout=60)
        self.count['policy applied'] += 1

    def one_fault(self, quiet_until):
        """Falls of the mail roles in a row make the pauses before their start longer: not too many of them."""
        rnd = self.random
        fall = rnd.random() < 0.5 and time.monotonic() > quiet_until
        if fall:
            name = rnd.choice(('front', 'queue', 'relay', 'front', 'queue', 'relay', 'starter', 'parent', 'parent',
                               'apply', 'attempts', 'spawner'))
            self.kill_role(name)
            return name in ('front', 'queue', 'relay')
        what = rnd.choice(('stop', 'stop', 'relay', 'relay stop', 'ctl', 'policy', 'load'))
        if what == 'stop':
            self.stop_role(rnd.choice(('front', 'queue', 'relay', 'starter', 'parent', 'apply', 'attempts')))
        elif what == 'relay':
            self.kill_relay(rnd.randrange(2))
        elif what == 'relay stop':
            self.stop_pid(self.relays[rnd.randrange(2)].pid, 'stop of a relay')
        elif what == 'ctl':
            self.kill_ctl()
        elif what == 'policy':
            self.turn_policy()
        else:
            self.active.value = rnd.choice((1, 2, 5, 10, 20))
        return False

    # -- beside them

    def watch(self):
        last = 0
        while not self.stop.wait(1):
            with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                self.measure()
                if time.monotonic() - last > 5:
                    last = time.monotonic()
                    self.agent.ctl('queue', 'flush', timeout=20)

    def measure(self):
        for role, pid in {'parent': self.agent.process.pid, **self.agent.roles()}.items():
            with contextlib.suppress(OSError):
                found = re.search(r'(?m)^Pss:\s*(\d+)', pathlib.Path(f'/proc/{pid}/smaps_rollup').read_text())
                if found:
                    self.peak[role] = max(self.peak[role], int(found.group(1)))

    # -- the whole

    def run(self):
        o = self.o
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        disk = pathlib.Path(o.disk or self.dir / 'disk')
        if not o.disk:
            disk.mkdir()
            subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=3g', 'tmpfs', str(disk)], check=True)
        (self.dir / 'state').symlink_to(disk)
        self.agent.state = disk / 'state'
        self.mood.write_bytes(b'q')
        with open(self.mood, 'r+b') as f:
            self.mood_is = mmap.mmap(f.fileno(), 1)
        self.books = [str(self.dir / f'book{k}') for k in range(2)]
        told = str(self.dir / 'told')
        open(told, 'w').close()
        users = USERS if rig.many_users() else USERS[:1]
        self.active = multiprocessing.Value('i', 0)
        over = multiprocessing.Value('i', 0)
        # before there is a thread
        senders = [multiprocessing.Process(target=programs, args=(
            who, uid, range(k, 20, len(users)), self.active, over, o.pause, told, o.seed))
            for k, (who, uid) in enumerate(users)]
        for p in senders:
            p.start()
        self.policy('spool')
        for k in range(2):
            self.relay(k)
        self.agent.start(ready=False)
        if not self.up(60):
            self.breach('it does not begin: ' + self.agent.said())
            return
        threading.Thread(target=self.watch, daemon=True).start()
        self.mood_is[0:1] = b'w'
        self.active.value = 10
        began = time.monotonic()
        falls, quiet, tell = 0, 0, began + 300
        while time.monotonic() - began < o.minutes * 60:
            time.sleep(self.random.uniform(0.2, o.between))
            self.revive()
            if self.one_fault(quiet):
                falls += 1
                if falls % 4 == 0:
                    quiet = time.monotonic() + 61
            for k in range(2):
                if self.relays[k].poll() is not None:
                    self.breach('a relay of this test ended by itself')
                    self.relay(k)
            if time.monotonic() > tell:
                tell += 300
                print(f'{(time.monotonic() - began) / 60:.0f} min: {sum(1 for _ in open(told))} lines of programs, '
                      f'{sum(self.count.values())} faults, queue {self.depth()}', flush=True)
        # all is well from here on
        self.mood_is[0:1] = b'q'
        over.value = 1
        self.up(150)
        for p in senders:
            p.join(150)
            if p.is_alive():
                self.breach('a program still waits for a reply')
                p.kill()
        empty = wait_for(lambda: (self.up(150), self.agent.ctl('queue', 'flush'), self.depth() == 0)[2], 300, 1)
        if not empty:
            self.breach(f'the queue does not become empty: {self.agent.ctl("queue", "list")}')
        self.stop.set()
        status = self.agent.status()['mail']
        self.agent.stop()
        with contextlib.suppress(OSError):
            shutil.copytree(self.agent.state / 'spool' / 'trace', self.dir / 'trace')
        for r in self.relays:
            r.kill()
            r.wait()
        left = [x.name for x in (self.agent.state / 'spool' / 'damaged').iterdir()] + \
            [x.name for x in (self.agent.state / 'spool' / 'queue').iterdir()]
        if left:
            self.breach(f'left in the spool: {left[:10]}')
        for name, kib in self.peak.items():
            if kib > MOST_KIB:
                self.breach(f'{name} took {kib} KiB')
        for sig in re.findall(r'was killed by signal (?!9 )\d+ .*', self.agent.said()):
            self.breach('a role ' + sig)
        for line in re.findall(r'the role \w+ ended with status \d+', self.agent.said()):
            self.count[line] += 1
        self.judge(told, status, time.monotonic() - began)

    def depth(self):
        with contextlib.suppress(OSError, RuntimeError, ValueError, KeyError, subprocess.TimeoutExpired):
            return self.agent.queue()
        return None

    # -- judgement

    def judge(self, told, status, took):
        said, doubts = {}, collections.defaultdict(int)
        for line in open(told):
            x = json.loads(line)
            # what was heard last counts: -1 says that the content was begun
            if x['id'] not in said or x['code'] != -1:
                if x['id'] in said and x['code'] == 0:
                    x['code'] = -1
                said[x['id']] = x
        came = collections.defaultdict(list)
        reports = collections.Counter()
        torn = 0
        for book in self.books:
            for line in open(book):
                x = json.loads(line)
                if x.get('doubt'):
                    doubts[x['id']] += 1
                elif not x['sender']:
                    reports[x['to']] += 1
                else:
                    came[x['id'], x['to']].append(x['t'])
                    torn += not x['whole']
        kinds, wrong, most = collections.Counter(), collections.Counter(), 0
        again = explained = 0
        for name, x in said.items():
            kind = 'told 250' if x['code'] == 250 else 'told 5xx' if x['code'] >= 500 else 'told 4xx' \
                if x['code'] >= 400 else 'broken off' if x['kind'] == 'cut' else 'not known'
            kinds[kind] += 1
            for to in x['to']:
                times = sorted(came.pop((name, to), []))
                most = max(most, len(times))
                if to.startswith('nobody'):
                    # mode through tells it at once, where nobody else is
                    if kind == 'told 250' and not reports[x['sender']]:
                        wrong['lost'] += 1
                        print(f'BREACH no report on {to} to {x["sender"]}: {x}', flush=True)
                    continue
                if kind == 'told 250' and not times:
                    wrong['lost'] += 1
                    print(f'BREACH lost: {to} of {x}', flush=True)
                if times and kind in ('told 5xx', 'broken off'):
                    wrong['forbidden'] += 1
                    print(f'BREACH delivered: {to} of {x}, at {times}', flush=True)
                if times and kind == 'told 4xx' and not self.met(times[0], x['ended'] + 1) and not doubts[name]:
                    wrong['later'] += 1
                    print(f'BREACH delivered, told 4xx: {to} of {x}, at {times}', flush=True)
                spare = doubts[name]
                for first, then in zip(times, times[1:]):
                    again += 1
                    if self.met(first, then):
                        explained += 1
                    elif spare:
                        spare -= 1
                        explained += 1
                    else:
                        wrong['twice'] += 1
                        print(f'BREACH once more: {to} of {x}, at {times}', flush=True)
        if torn:
            wrong['torn'] = torn
        for (name, to), times in came.items():
            wrong['from nowhere'] += 1
            print(f'BREACH nobody sent {to} of {name}, at {times}', flush=True)
        if wrong:
            self.breaches.append(dict(wrong))
        print(f'\nseed {self.o.seed}, {took / 60:.1f} minutes, spool on {"ext4" if self.o.disk else "tmpfs"}')
        rows = [('messages', len(said)), *sorted(kinds.items()), ('reports', sum(reports.values())),
                ('relays: replies in doubt', sum(doubts.values())),
                ('delivered once more, in flight', explained), ('most deliveries of one', most),
                *((k, wrong[k]) for k in ('lost', 'forbidden', 'later', 'twice', 'torn', 'from nowhere')),
                *sorted(self.count.items()),
                *((f'peak PSS of {k}, KiB', v) for k, v in sorted(self.peak.items())),
                ('peak PSS of all roles, KiB at most', sum(self.peak.values())),
                ('restarts told by the last agent', status.get('restarts'))]
        for name, value in rows:
            print(f'  {name:40} {value:>10}')
        if kinds['told 250'] < 10:
            self.breach('hardly any mail flowed')

    def met(self, first, then):
        """Whether a disturbance may have met a delivery at `first`, before the one at `then`."""
        return any(a <= min(first + AFTER, then) and b >= first - BEFORE for a, b, _ in self.happened)


def ext4():
    """A folder with an ext4 of its own, below a tmpfs where there is one; and what takes it away."""
    d = tempfile.mkdtemp(prefix='parent-', dir='/dev/shm' if os.path.isdir('/dev/shm') else None)
    at = os.path.join(d, 'at')
    os.mkdir(at)
    subprocess.run(['truncate', '-s', '2G', os.path.join(d, 'image')], check=True)
    subprocess.run(['mkfs.ext4', '-q', os.path.join(d, 'image')], check=True)
    subprocess.run(['mount', '-o', 'loop', os.path.join(d, 'image'), at], check=True)
    os.chmod(at, 0o755)

    def gone():
        subprocess.run(['umount', '-l', at], check=False)
        shutil.rmtree(d, ignore_errors=True)
    return at, gone


def main():
    p = argparse.ArgumentParser()
    p.add_argument('daemon', type=os.path.abspath)
    p.add_argument('ctl', type=os.path.abspath)
    p.add_argument('--minutes', type=float, default=60)
    p.add_argument('--seed', type=int, default=int(time.time()))
    p.add_argument('--pause', type=float, default=1.0, help='s between messages of a session, at most')
    p.add_argument('--between', type=float, default=6.0, help='s between faults, at most')
    p.add_argument('--longest', type=float, default=8.0, help='s that a process is stopped, or a relay away, at most')
    p.add_argument('--ext4', action='store_true')
    p.add_argument('--disk', help=argparse.SUPPRESS)
    o = p.parse_args()
    if o.ext4 and not os.environ.get('PARENT_INSIDE'):
        at, gone = ext4()
        sys.argv += ['--disk', at]
        try:
            rig.inside()
        finally:
            gone()
    rig.inside()
    rig.new_net()
    h = Hour(o)
    try:
        h.run()
    finally:
        h.agent.kill()
        for r in h.relays:
            if r:
                r.kill()
        for pid in h.orphans():
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
    if h.breaches:
        print('BREACHES', h.breaches, f'the log: {h.dir}')
        return 1
    print('all is well')
    shutil.rmtree(h.dir, ignore_errors=True)
    return 0


if __name__ == '__main__':
    sys.exit(main())
