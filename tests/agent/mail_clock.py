#!/usr/bin/env python3
"""The whole agent, all its processes, by a clock that leaps (leap.c): days of mail in seconds, nobody sleeps.

    mail_clock.py MAILREEVED MAILREEVECTL LEAP.SO [TEST ...]     runs by itself in namespaces

What is waited for are events; what must not come too early is proved by the times at which it came.
"""
import json
import mmap
import os
import signal
import struct
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import parent_rig as rig  # noqa: E402
from mail_rig import MailAgent, Relay, send  # noqa: E402
from parent_rig import verdict, wait_for  # noqa: E402

DAEMON, CTL, LEAP = (os.path.abspath(x) for x in sys.argv[1:4])
MINUTE, HOUR, DAY = 60, 3600, 86400
RETRY_MOST = HOUR


class Clock:
    """What is added to the machine's clocks, in the processes that have the library."""

    def __init__(self, folder):
        self.path = folder / 'clock'
        self.path.write_bytes(bytes(24))
        self.path.chmod(0o666)
        with open(self.path, 'r+b') as f:
            self.words = mmap.mmap(f.fileno(), 24)
        self.wall = self.mono = 0

    def now(self):
        return time.time() + self.wall

    def put(self):
        for at, seconds in ((8, self.mono), (16, self.mono), (0, self.wall)):
            self.words[at:at + 8] = struct.pack('=q', int(seconds * 1e9))

    def leap(self, seconds):
        self.wall += seconds
        self.mono += seconds
        self.put()

    def until(self, when):
        """Leaps to that time, if it is still to come."""
        self.leap(max(0.0, when - self.now()))

    def set(self, seconds):
        """The wall's clock alone is set forwards (a host that slept) or back."""
        self.wall += seconds
        self.put()


class ClockAgent(MailAgent):
    def __init__(self, limits=''):
        super().__init__(DAEMON, CTL)
        self.dir.chmod(0o755)
        self.clock = Clock(self.dir)
        self.env = {'LD_PRELOAD': LEAP, 'LEAP': str(self.clock.path)}
        self.write_mail()
        text = self.policy.read_text().replace('runs-as: {user: www-data}', 'runs-as: {user: root}')
        text = text.replace('senders: [{envelope: web@example.org}]', 'senders: [{envelope: "*@example.org"}]' + limits)
        self.policy.write_text(text)

    def listed(self):
        """The messages in the queue, as `queue list` tells them; {} without an answer."""
        a = self.ctl('queue', 'list', '--json')
        if a.status:
            return None
        return {x['id']: x for x in map(json.loads, a.out.splitlines())}

    def queued(self, ok, seconds=rig.LONG):
        """Waits until what is in the queue is `ok`, and gives it."""
        return wait_for(lambda: (q := self.listed()) is not None and ok(q) and (q or True), seconds)

    def kill_role(self, role):
        """-9; gives when mail is taken again."""
        pid = self.roles()[role]
        os.kill(pid, signal.SIGKILL)
        if not wait_for(lambda: self.roles().get(role) not in (None, pid)):
            verdict(False, f'{role} begins again', self.said())
        # the parent waits longer and longer; the clock helps
        if not wait_for(lambda: self.mail_up() and self.listed() is not None):
            verdict(False, 'mail is up again', self.said())


def one(queue):
    """The only recipient of the only message, or None."""
    return next(iter(queue.values()))['to'][0] if len(queue) == 1 else None


def relay(clock):
    r = Relay(2525)
    r.clock = clock.now
    return r.start()


# ---- windows -------------------------------------------------------------------------------------

def CAM_14_windows_of_a_minute_an_hour_and_a_day_over_restarts_and_jumps():
    a = ClockAgent('\n      limits:\n'
                   '        - {messages: 3, per: minute, over: defer}\n'
                   '        - {messages: 5, per: hour, over: refuse}\n'
                   '        - {messages: 8, per: day, over: refuse}')
    r = relay(a.clock)
    a.begin()
    n = 0

    def mails(k):
        nonlocal n
        n += k
        told = [send(f'<w{n - k + i}@test>')[0] for i in range(k)]
        # before the clock goes on: else it would be late
        verdict(wait_for(lambda: len(r.ids()) == n) and a.queued(lambda q: not q), f'{n} came, each once', r.ids())
        return told

    verdict(mails(3) == [250] * 3, 'three in a minute')
    begun = a.clock.now()
    code, text = send('<over@test>')
    verdict(code // 100 == 4 and '3' in text, 'a fourth is deferred', (code, text))
    a.clock.leap(MINUTE + 1)
    verdict(mails(2) == [250] * 2, 'after a minute it goes on')
    code, text = send('<over@test>')
    verdict(code // 100 == 5, 'the sixth within the hour is refused', (code, text))
    a.stop()
    a.begin()
    code, text = send('<over@test>')
    verdict(code // 100 == 5, 'the agent has begun anew and knows', (code, text))
    a.clock.set(-2 * HOUR)
    code, text = send('<over@test>')
    verdict(code // 100 == 5, 'a clock set back frees nothing', (code, text))
    a.clock.set(2 * HOUR)
    a.clock.leap(HOUR + 1)
    verdict(mails(3) == [250] * 3, 'after an hour it goes on')
    a.clock.leap(MINUTE + 1)
    code, text = send('<over@test>')
    verdict(code // 100 == 5, 'the ninth of the day is refused', (code, text))
    a.clock.until(begun + DAY + 1)
    verdict(mails(1) == [250], 'the day is over')
    verdict(sorted(r.ids()) == sorted(f'<w{i}@test>' for i in range(n)), 'all that was taken came, once', r.ids())
    a.end()
    r.stop()


def CAM_14_what_a_limit_delays_leaves_when_its_window_opens():
    a = ClockAgent('\n      limits: [{messages: 2, per: hour, over: delay}]')
    r = relay(a.clock)
    a.begin()
    verdict([send(f'<d{i}@test>')[0] for i in range(3)] == [250] * 3, 'three are taken')
    verdict(wait_for(lambda: len(r.ids()) == 2), 'two leave at once', r.ids())
    q = a.queued(lambda q: len(q) == 1)
    when = next(iter(q.values()))['not-before']
    verdict(HOUR - 60 <= when - a.clock.now() <= HOUR + 1, 'the third in an hour', q)
    a.kill_role('queue')
    verdict(next(iter(a.queued(len).values()))['not-before'] == when, 'also after the queue was killed')
    a.clock.until(when - 60)
    verdict(len(a.queued(lambda q: True)) == 1, 'not a minute before')
    a.clock.until(when)
    verdict(wait_for(lambda: len(r.ids()) == 3), 'then', r.ids())
    verdict(a.queued(lambda q: not q), 'nothing is left')
    a.end()
    r.stop()


# ---- retries ------------------------------------------------------------------------------------------

def ISSUE_04_retries_grow_survive_deaths_warn_once_and_bounce_at_the_end():
    a = ClockAgent()
    r = relay(a.clock)
    r.put_off = True
    a.begin()
    verdict(send('<late@test>')[0] == 250, 'taken')
    begun = a.clock.now()
    for n in range(1, 8):
        verdict(wait_for(lambda: len(r.tries) == n), f'try {n}', r.tries)
        q = a.queued(lambda q: one(q) and one(q)['attempts'] == n and one(q)['state'] == 'pending')
        wait, mid = one(q)['next'] - r.tries[-1], min(MINUTE * 2 ** (n - 1), RETRY_MOST)
        # whole seconds are told, of a moment when the answer had come
        verdict(mid * 0.75 - 1 <= wait, f'wait {n} is long enough', (wait, mid))
        verdict(wait <= mid * 1.25 + rig.LONG, f'wait {n} is not too long', (wait, mid))
        if n in (3, 6):
            a.kill_role('queue' if n == 3 else 'relay')
            verdict(one(a.queued(len))['next'] == one(q)['next'], 'a role was killed: the same time stands')
        a.clock.until(one(q)['next'] + 1)
    verdict(wait_for(lambda: len(r.tries) == 8), 'and so on', r.tries)
    verdict(all(y - x >= min(MINUTE * 2 ** n, RETRY_MOST) * 0.75 - 1 for n, (x, y) in
                enumerate(zip(r.tries, r.tries[1:]))), 'none came too early', r.tries)
    verdict(not r.messages, 'nobody was told anything yet', r.messages)
    a.clock.until(begun + 4 * HOUR + 2)
    verdict(wait_for(lambda: len(r.messages) == 1), 'after four hours the sender is told', r.messages)
    verdict(r.messages[0][0] == '' and b'Action: delayed' in r.messages[0][2], 'of a delay', r.messages)
    # asleep until it is too old: one more try, and then the end
    a.queued(lambda q: one(q) and one(q)['state'] == 'pending' and one(q)['next'] > a.clock.now())
    tries = len(r.tries)
    a.clock.until(begun + 5 * DAY + HOUR)
    verdict(wait_for(lambda: len(r.messages) == 2), 'after five days it is given up', r.messages)
    verdict(b'Action: failed' in r.messages[1][2] and b'5.4.7' in r.messages[1][2], 'and said', r.messages[1])
    verdict(len(r.tries) > tries, 'after one more try')
    verdict(a.queued(lambda q: not q), 'nothing is left')
    a.end()
    r.stop()


def ISSUE_04_a_relay_that_was_away_and_a_clock_set_back():
    a = ClockAgent()
    r = Relay(2525)
    r.clock = a.clock.now
    a.begin()
    ids = [f'<away{i}@test>' for i in range(8)]
    verdict([send(x)[0] for x in ids] == [250] * 8, 'taken without a relay')
    a.queued(lambda q: sum(m['to'][0]['attempts'] for m in q.values()) >= 5)
    verdict(wait_for(lambda: 'smart' in str(a.status()['mail'].get('relays', a.status()['mail']))), 'told in status')
    a.clock.leap(3 * HOUR)
    # a year back: what waits does not wait for a year
    a.clock.set(-365 * DAY)
    r.start()

    def come():
        # a leap over a time-out while a message travels would be a doubt, and a second try
        a.queued(lambda q: not any(t['state'] == 'sending' for m in q.values() for t in m['to']))
        a.clock.leap(10 * MINUTE)
        return set(ids) <= set(r.ids())
    leapt = a.clock.mono
    verdict(wait_for(come, every=0.5), 'all come', r.ids())
    verdict(a.clock.mono - leapt <= 30 * HOUR, 'in hours', (a.clock.mono - leapt) / HOUR)
    verdict(a.queued(lambda q: not q), 'nothing is left')
    verdict(sorted(r.ids()) == sorted(ids), 'each once', r.ids())
    a.end()
    r.stop()


TESTS = [CAM_14_windows_of_a_minute_an_hour_and_a_day_over_restarts_and_jumps,
         CAM_14_what_a_limit_delays_leaves_when_its_window_opens,
         ISSUE_04_retries_grow_survive_deaths_warn_once_and_bounce_at_the_end,
         ISSUE_04_a_relay_that_was_away_and_a_clock_set_back]

if __name__ == '__main__':
    rig.inside()
    sys.exit(rig.run_all(TESTS, sys.argv[4:], rig.AT_ONCE))
