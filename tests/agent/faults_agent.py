#!/usr/bin/env python3
"""mailreeved where its processes, its memory, its disk or its clients fail.

    faults_agent.py MAILREEVED MAILREEVECTL [--long] [--only NAME]

As root as several users, without as one. Each function below is a test; its name says what it guards.
--long: more kills, more frames, a role stopped for 10 seconds. SEED= repeats a run.
"""
import argparse
import array
import json
import os
import pathlib
import random
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import parent_rig as rig  # noqa: E402
from parent_rig import Agent, LONG, answer, connect, keep, nft, refused_ports, request, verdict, wait_for  # noqa: E402

ARGS = None


def count(what, n=1):
    keep(what, n)


def agent(**kw):
    return Agent(ARGS.daemon, ARGS.ctl, **kw)


class Supervisor:
    """Starts the agent anew whenever it ends, as its unit does."""

    def __init__(self, a):
        self.a, self.on, self.starts, self.codes = a, True, 0, []
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while self.on:
            if self.a.process is None or self.a.process.poll() is not None:
                if self.a.process is not None:
                    self.codes.append(self.a.process.returncode)
                    time.sleep(0.1)
                if self.on:
                    self.a.start(ready=False)
                    self.starts += 1
            time.sleep(0.01)

    def end(self):
        self.on = False
        self.thread.join()


def settled(a, seconds=LONG):
    """The agent answers, does nothing, and says what it holds; its status."""
    def look():
        r = a.ctl('status', '--json')
        if r.status == 3 or not r.out:
            return None
        s = json.loads(r.out)
        return s if not s['at_work'] and s['in_force'] else None
    return wait_for(look, seconds, 0.05)


# ---- processes --------------------------------------------------------------------------------

def roles_killed_in_a_storm_leave_old_or_new_rules():
    """Any process of the agent, at any moment of applies, restarts and boots."""
    ports = [2000 + i for i in range(5)]
    a = agent(port=ports[0]).start()
    rules = []
    stop = threading.Event()

    def watch():
        while not stop.is_set():
            rules.append(frozenset(refused_ports()))
    w = threading.Thread(target=watch)
    s = Supervisor(a)
    w.start()
    kills = {}
    for i in range(200 if ARGS.long else 30):
        a.write(ports[i % 5])
        p = a.ctl_begin('apply')
        time.sleep(random.uniform(0, 0.25))
        try:
            all_ = {'parent': a.process.pid, **a.roles()}
            name = random.choice(sorted(all_))
            os.kill(all_[name], signal.SIGKILL)
            kills[name] = kills.get(name, 0) + 1
        except OSError:
            pass
        p.wait(LONG)
    x = settled(a)
    stop.set()
    w.join()
    odd = [r for r in rules if len(r) != 1 or not r <= set(ports)]
    verdict(not odd, f'never neither, never both, in {len(rules)} looks', odd[:5])
    verdict(x, 'it settles', a.said()[-1000:])
    a.write(ports[0])
    r = a.ctl('apply')
    verdict(r.status == 0 and refused_ports() == {ports[0]}, 'and works', r)
    s.end()
    for name, n in kills.items():
        count(f'kills of the {name}', n)
    count('starts of the agent', s.starts)
    count('looks at the rules', len(rules))
    verdict(set(s.codes) <= {1, -9}, 'how it ended', (s.codes, a.said()[-3000:]))
    a.end()


def a_stopped_role_does_not_stop_the_agent():
    a = agent(port=25).start()
    pid = a.roles()['apply']
    os.kill(pid, signal.SIGSTOP)
    began = time.monotonic()
    a.write(465)
    p = a.ctl_begin('apply')
    slowest = 0
    while time.monotonic() - began < (10 if ARGS.long else 2):
        at = time.monotonic()
        r = a.ctl('history')
        slowest = max(slowest, time.monotonic() - at)
        verdict(r.status == 0, 'others are answered', r)
        count('answers while the role apply stood still')
    verdict(refused_ports() == {25}, 'the rules stand')
    os.kill(pid, signal.SIGCONT)
    verdict(p.wait(LONG) == 0 and refused_ports() == {465}, 'it goes on', a.said()[-500:])
    verdict(settled(a), 'and watches')
    count('slowest answer then, ms', int(slowest * 1e3))
    a.end()


# ---- memory -----------------------------------------------------------------------------------

def size_of(pid):
    text = pathlib.Path(f'/proc/{pid}/status').read_text()
    return int(text.split('VmSize:')[1].split()[0]) * 1024


def a_plan_beyond_the_memory_limit_is_an_error_and_no_restart():
    a = agent(port=25).start()
    pid = a.roles()['apply']
    resource.prlimit(pid, resource.RLIMIT_AS, (size_of(pid) + (1 << 20), resource.RLIM_INFINITY))
    a.write_large(40000)
    r = a.ctl('apply')
    verdict(r.status == 3 and 'MemoryMax' in r.err, 'an error that names the cause', r)
    verdict(refused_ports() == {25} and a.roles().get('apply') == pid, 'old rules, same role', a.said()[-500:])
    verdict(settled(a), 'in force', a.ctl('status'))
    a.write(587)
    r = a.ctl('apply')
    verdict(r.status == 0 and refused_ports() == {587}, 'a smaller one goes', r)
    a.end()


def a_boot_beyond_the_memory_limit_is_told_and_does_not_loop():
    """The plan in force was made with more memory than there is now."""
    a = agent(port=25).start()
    little = max(size_of(a.process.pid), size_of(a.roles()['apply'])) + (2 << 20)
    a.write_large(80000)
    verdict(a.ctl('apply').status == 0, 'applied', a.said())
    a.stop()
    # so that there is something to do
    nft('delete', 'table', 'inet', 'mailreeve-host')
    nft('add', 'table', 'ip', 'other')
    a.start(ready=False, prefix=['prlimit', f'--as={little}:unlimited'])
    said = wait_for(lambda: (a.run / 'control.sock').exists() and 'MemoryMax' in a.ctl('status').out)
    pid = a.process.pid
    verdict(said, 'status tells', (a.ctl('status'), a.said()[-500:]))
    verdict(not wait_for(lambda: a.process.poll() is not None, 3), 'the agent stays', a.said()[-500:])
    for who in (pid, *a.roles().values()):
        resource.prlimit(who, resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    verdict(settled(a, 2 * LONG) and a.process.pid == pid, 'tried again, with memory it goes', a.said()[-500:])
    a.end()


# ---- the disk ---------------------------------------------------------------------------------

def a_full_disk_refuses_blocks_and_confirms_by_name():
    d = pathlib.Path(tempfile.mkdtemp(prefix='faults-'))
    (d / 'state').mkdir()
    subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=300k', 'tmpfs', str(d / 'state')], check=True)
    a = agent(folder=d).start()

    def fill():
        with open(d / 'state' / 'fill', 'ab', 0) as f:
            for n in (4096, 1):
                try:
                    while True:
                        f.write(b'x' * n)
                except OSError:
                    pass
    a.ctl('block', '192.0.2.7', '--for', '1h')
    fill()
    for args in (['block', '192.0.2.1', '--for', '1h'], ['unblock', '192.0.2.7'], ['apply', '--confirm', '5s'],
                 ['plan'], ['rollback']):
        a.write(465)
        fill()
        r = a.ctl(*args)
        # an address is blocked all the same, and it is said what will become of it
        verdict(r.status != 0 or ('block' in args[0] and 'forgets it' in r.err), f'{args} on a full disk', r)
        verdict(r.status == 1 or 'No space' in r.err, f'{args} names the cause', r)
        count('refused on a full disk')
    verdict(refused_ports() == {25}, 'rules as before', nft('list', 'ruleset'))
    a.kill()
    a.start()
    verdict(refused_ports() == {25} and settled(a), 'a restart on a full disk', a.said()[-500:])
    (d / 'state' / 'fill').unlink()
    verdict(a.ctl('apply').status == 0 and refused_ports() == {465}, 'with room it goes on')
    a.stop()
    subprocess.run(['umount', str(d / 'state')], check=True)
    a.end()


# ---- clients ----------------------------------------------------------------------------------

def frame():
    b = bytearray(random.choice([request(op) for op in (1, 2, 4, 8, 9, 10, 11, 14)] + [b'', os.urandom(40)]))
    if random.random() < 0.1:
        b = bytearray(os.urandom(random.randrange(1, 70000)))
    for _ in range(random.randrange(6)):
        if b:
            b[random.randrange(len(b))] = random.randrange(256)
    if random.random() < 0.3:
        b = b[:random.randrange(len(b) + 1)]
    # what would really change something
    if int.from_bytes(bytes(b[:4]).ljust(4, b'\0'), sys.byteorder) in (3, 5, 6, 7, 12, 13):
        b[0:4] = b'\1\0\0\0'
    return bytes(b)


def what_clients_send_does_not_keep_others_waiting():
    a = agent().start()
    n = 10000 if ARGS.long else 2000
    pid, before = a.process.pid, nft('list', 'ruleset')
    fds = lambda: len(os.listdir(f'/proc/{pid}/fd'))  # noqa: E731
    open_fds = fds()
    verdict(wait_for(lambda: a.ctl('status').status == 0), 'all is well before', a.ctl('status'))
    done = threading.Event()
    waits, refused, crowded = [], [], [0]

    def ask():
        """The answer to a request; None where 16 others were being heard, and that was said."""
        s = connect(a)
        try:
            s.send(request(rig.STATUS))
        except BrokenPipeError:
            pass                       # it was told already
        status, text = answer(s)
        s.close()
        return None if status == 3 and 'too many clients' in text else (status, text)

    def good():
        while not done.is_set():
            at = time.monotonic()
            while not (x := ask()):
                crowded[0] += 1
            if x[0] == 0:
                waits.append(time.monotonic() - at)
            else:
                refused.append((x[0], x[1][:600]))
            time.sleep(0.02)
    t = threading.Thread(target=good)
    t.start()
    # some that never read, some that never ask, one with descriptors
    hold = [connect(a) for _ in range(8)]
    for s in hold[:4]:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        s.send(request(11))
    null = os.open('/dev/null', os.O_RDWR)
    i, end = 0, time.monotonic() + LONG
    # until all are sent, and others have had their answers meanwhile
    while i < n or (len(waits) < 5 and time.monotonic() < end):
        s = connect(a)
        b = frame()
        try:
            if i % 10 == 0:
                s.sendmsg([b], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [null] * random.choice(
                    (1, 4, 250))))])
            else:
                s.send(b)
            if i % 50 == 0:
                s.recv(1 << 17)
        except OSError:
            pass
        s.close()
        i += 1
    answered = len(waits)
    os.close(null)
    done.set()
    t.join()
    count('frames', i)
    count('good answers meanwhile', answered)
    count('told that there are too many, meanwhile', crowded[0])
    count('slowest good answer, ms', int(max(waits) * 1e3))
    verdict(answered >= 5 and not refused, 'others are answered', (answered, refused))
    for s in hold:
        s.close()
    verdict(a.process.poll() is None and a.process.pid == pid, 'the agent lives', a.said()[-500:])
    verdict(wait_for(lambda: fds() <= open_fds), 'no descriptor stays', (fds(), open_fds))
    verdict(nft('list', 'ruleset') == before, 'nothing was changed')
    verdict(wait_for(lambda: a.ctl('status').status == 0), 'it answers', a.ctl('status'))
    a.end()


def main():
    global ARGS
    ap = argparse.ArgumentParser()
    ap.add_argument('daemon')
    ap.add_argument('ctl')
    ap.add_argument('--long', action='store_true')
    ap.add_argument('--only', default='')
    ARGS = ap.parse_args()
    ARGS.daemon, ARGS.ctl = os.path.abspath(ARGS.daemon), os.path.abspath(ARGS.ctl)
    print(f'SEED={rig.SEED}')
    tests = [f for f in globals().values() if callable(f) and getattr(f, '__module__', '') == '__main__' and
             f.__name__.count('_') > 3 and ARGS.only in f.__name__]
    status = rig.run_all(tests, at_once=rig.AT_ONCE)
    for what, n in sorted(rig.KEPT.items()):
        print(f'{n:8}  {what}')
    return status


if __name__ == '__main__':
    rig.inside()
    sys.exit(main())
