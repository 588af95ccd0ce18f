#!/usr/bin/env python3
"""Whatever dies, and whenever: what was not confirmed is reverted in time, and what is on the disk is
old or new.

    parent_confirm.py MAILREEVED MAILREEVECTL [--rounds N] [--kills N] [--strict]

Prints how late reverts were, and how many kills of which kind left the old and the new. --strict, on a
quiet machine: a revert more than a second late is a failure.
"""
import argparse
import os
import random
import signal
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import parent_rig as rig  # noqa: E402
from parent_rig import Agent, keep, nft, refused_ports, verdict, wait_for  # noqa: E402

SECONDS = 2
LONG = (SECONDS, 10, 40)       # where a step must come before the deadline: tried with more, if it was late


class Supervised(Agent):
    """With the service manager's loop: what dies is started again after 100 ms."""

    def begin(self):
        self.go_on = True
        self.deaths = 0
        self.start()
        self.thread = threading.Thread(target=self.loop)
        self.thread.start()
        return self

    def loop(self):
        while self.go_on:
            try:
                self.process.wait(0.05)
            except subprocess.TimeoutExpired:
                continue
            if not self.go_on:
                return
            self.deaths += 1
            time.sleep(0.1)
            self.start(ready=False)

    def finish(self):
        self.go_on = False
        self.thread.join()
        self.end()


def begin(port=25):
    return Supervised(ARGS.daemon, ARGS.ctl, port=port).begin()


def reverted(deadline, what, a):
    """Whether the rules that were in force before are so again, and how long past the deadline."""
    end = deadline + (1 if ARGS.strict else 60)
    while time.monotonic() < end and refused_ports() != {25}:
        time.sleep(0.005)
    seen = time.monotonic()
    ok = refused_ports() == {25}
    keep('late', [seen - deadline])
    return verdict(ok, what, f'{seen - deadline:.3f} s past the deadline\n{a.said()[-1500:]}')


class Deadline:
    """Of an apply that waits to be confirmed: the agent's own is neither before `first` nor past `last`."""

    def __init__(self, began, seconds):
        self.first, self.last = began + seconds, time.monotonic() + seconds

    def past(self):
        """Whether what has been seen up to now may have been seen behind it."""
        return time.monotonic() >= self.first


def apply_confirm(a, seconds=SECONDS, port=465):
    a.write(port)
    began = time.monotonic()
    r = a.ctl('apply', '--confirm', f'{seconds}s')
    d = Deadline(began, seconds)
    ports = refused_ports()
    verdict(r.status == 0 and (ports == {port} or d.past()), 'apply --confirm', (r, ports))
    return d


def not_before(d, a):
    time.sleep(max(0, d.first - time.monotonic() - 0.5))
    ports = refused_ports()
    verdict(ports == {465} or d.past(), 'not before the deadline', a.said()[-800:])


def in_time(attempt):
    """A machine may be slow: attempt(seconds) says whether all came before its deadline, or it is tried with more."""
    verdict(any(attempt(seconds) for seconds in LONG), f'something is done in {LONG[-1]} s')


def confirmed_in_time_it_stays():
    def attempt(seconds):
        a = begin()
        d = apply_confirm(a, seconds)
        s = a.status()
        again, r = a.ctl('apply').status, a.ctl('confirm')
        seen = not d.past()
        if seen:
            verdict(s['pending'] and 0 < s['pending_seconds'] <= seconds, 'status tells the time left', s)
            verdict(again == 1, 'another apply is refused meanwhile', again)
            verdict(r.status == 0, 'confirm', r)
            time.sleep(max(0, d.last + 0.5 - time.monotonic()))
            verdict(refused_ports() == {465} and not a.status()['pending'], 'it stays', a.said())
            verdict(a.ctl('confirm').status == 1, 'nothing waits any more')
            a.kill()
            verdict(wait_for(a.ready) and refused_ports() == {465}, 'after a restart too', a.said())
        a.finish()
        return seen
    in_time(attempt)


def rollback_does_not_wait_for_the_deadline():
    def attempt(seconds):
        a = begin()
        d = apply_confirm(a, seconds)
        r, ports = a.ctl('rollback'), refused_ports()
        seen = not d.past()
        if seen:
            verdict(r.status == 0 and ports == {25}, 'at once', (r, ports, a.said()))
            verdict(not a.status()['pending'], 'nothing waits')
        a.finish()
        return seen
    in_time(attempt)


def client_killed():
    """Before it was answered, and after."""
    for delay in (0, 0.002, 0.005, 0.02, None):
        a = begin()
        a.write(465)
        c = a.ctl_begin('apply', '--confirm', f'{SECONDS}s')
        began = time.monotonic()
        if delay is None:
            c.wait()
        else:
            time.sleep(delay)
            c.kill()
            c.wait()
        wait_for(lambda: refused_ports() == {465}, 0.5)
        reverted(began + SECONDS + 0.5, f'client killed after {delay}', a)
        a.finish()


def agent_killed_and_started_again():
    for at in sorted(random.uniform(0, SECONDS) for _ in range(ARGS.rounds)):
        a = begin()
        d = apply_confirm(a)
        time.sleep(at)
        a.process.kill()
        if at < SECONDS - 0.9:
            not_before(d, a)
        reverted(d.last, f'agent killed at {at:.2f} s of {SECONDS}', a)
        # the kernel has the rules before the agent has heard of it
        s = a.until(lambda s: s['ready'] and not s['pending'] and not s['at_work'])
        verdict(s and not s['pending'] and s['in_force'], 'and it knows', (s, a.said()[-1500:]))
        a.finish()


def agent_killed_again_and_again():
    a = begin()
    d = apply_confirm(a)
    while time.monotonic() < d.last - 0.15:
        time.sleep(random.uniform(0, 0.2))
        a.process.kill()
    reverted(d.last, f'killed {a.deaths} times', a)
    a.finish()


def agent_dead_at_the_deadline():
    def attempt(seconds):
        a = Agent(ARGS.daemon, ARGS.ctl).start()
        d = apply_confirm(a, seconds)
        a.kill()
        dead = not d.past()
        if dead:
            time.sleep(max(0, d.last + 0.3 - time.monotonic()))
            verdict(refused_ports() == {465}, 'rules stay while the agent is dead')
            began = time.monotonic()
            a.start(ready=False)
            reverted(began, 'when it starts', a)
        a.end()
        return dead
    in_time(attempt)


def machine_started_anew():
    """Another boot id, and a kernel without rules: the generation before, before READY=1."""
    for overdue in (False, True):
        def attempt(seconds):
            rig.new_net()
            a = Agent(ARGS.daemon, ARGS.ctl).start()
            d = apply_confirm(a, seconds)
            a.kill()
            dead = not d.past()
            if dead:
                time.sleep(max(0, d.last + 0.5 - time.monotonic()) if overdue else 0)
                rig.new_net()
                verdict(refused_ports() == set(), 'an empty kernel')
                a.options = ['--test-boot-id', 'another-boot']
                a.start()
                verdict(refused_ports() == {25}, 'what was confirmed', a.said())
                verdict(not a.status()['pending'] and 'not confirmed' in a.said(), 'said so', a.said())
                time.sleep(max(0, d.last + 0.2 - time.monotonic()))
                verdict(refused_ports() == {25}, 'and it stays')
            a.end()
            return dead
        in_time(attempt)


def role_that_does_not_answer_confirms_nothing():
    """The role apply sleeps: what it was asked it does when it wakes, and that is reverted in time."""
    for args in (['--confirm', '10s'], []):
        rig.new_net()
        a = Agent(ARGS.daemon, ARGS.ctl, options=['--test-ask-ms', '1500']).start()
        role = a.roles()['apply']
        a.write(465)
        os.kill(role, signal.SIGSTOP)
        began = time.monotonic()
        r = a.ctl('apply', *args)
        verdict(r.status == 3 and 'not known' in r.err, 'said so', r)
        verdict(refused_ports() == {25} and a.ctl('check').status == 3, 'nothing is known meanwhile', a.ctl('check'))
        os.kill(role, signal.SIGCONT)
        if args:
            waits = wait_for(lambda: (refused_ports() == {465} and a.status()['pending']) or
                             time.monotonic() > began + 10, 60)
            verdict(waits, 'it waits, or was reverted by then', a.said())
            verdict(wait_for(lambda: a.ctl('check').status == 0, 60), 'known again', a.ctl('check'))
            reverted(began + 10.5, 'reverted though it came late', a)
        verdict(wait_for(lambda: refused_ports() == {25} and a.ctl('check').status == 0, 60),
                'what is to be in force is', a.said())
        verdict(a.status()['generation'] == 1 and a.ctl('drift', '--now').status == 0, 'and it knows', a.status())
        a.end()


def remove_that_is_not_answered_removes_nothing():
    a = Agent(ARGS.daemon, ARGS.ctl, options=['--test-ask-ms', '1500']).start()
    role = a.roles()['apply']
    os.kill(role, signal.SIGSTOP)
    r = a.ctl('remove')
    verdict(r.status == 3 and 'generation 1 is put in force again' in r.err, 'said so', r)
    r = a.ctl('block', '203.0.113.9', '--for', '1h')
    verdict(r.status in (0, 1), 'block', r)
    os.kill(role, signal.SIGCONT)
    verdict(wait_for(lambda: refused_ports() == {25} and a.ctl('check').status == 0, 60), 'in force', a.said())
    verdict(bool(a.status()['blocked']) == ('203.0.113.9' in nft('list', 'ruleset')), 'blocks', a.status())
    a.end()


def rollback_passes_over_what_was_taken_back():
    a = begin()
    apply_confirm(a)
    verdict(wait_for(lambda: refused_ports() == {25} and not a.status()['pending'], 60), 'reverted', a.said())
    a.write(587)
    verdict(a.ctl('apply').status == 0 and refused_ports() == {587}, 'another')
    r = a.ctl('rollback')
    verdict(r.status == 0 and refused_ports() == {25}, 'back to what was in force before it', r)
    verdict('not confirmed in time' in a.ctl('history').out, 'history tells', a.ctl('history'))
    a.finish()


def a_first_apply_reverts_to_nothing():
    a = Agent(ARGS.daemon, ARGS.ctl, port=None)
    a.policy.write_text('mailreeve: 1\nname: x\n')
    a.start()
    apply_confirm(a)
    verdict(wait_for(lambda: refused_ports() == set() and not a.status()['pending'], 60), 'reverted', a.said())
    a.kill()
    a.start()
    verdict(refused_ports() == set(), 'a restart does not bring it back', a.said())
    verdict(a.ctl('apply').status == 0 and refused_ports() == {465}, 'an apply does')
    a.end()


def old_or_new(kind, args):
    """kill -9 at random points of this command: what is on the disk is old or new, whenever the agent dies."""
    a = Agent(ARGS.daemon, ARGS.ctl).start()
    ports, count, lasts = [25, 465, 587], [0, 0], 0.02
    for i in range(ARGS.kills // 4):
        old = refused_ports()
        new = {random.choice([p for p in ports if p not in old])}
        a.write(*new, name=f's{i}')
        if kind == 'confirm':
            verdict(a.ctl('apply', '--confirm', '1h').status == 0, 'apply --confirm', a.said()[-500:])
        elif kind == 'rollback':
            verdict(a.ctl('apply').status == 0, 'apply', a.said()[-500:])
            old, new = new, old
        c = a.ctl_begin(*args)
        if i == 0:
            began = time.monotonic()
            c.wait()
            lasts = time.monotonic() - began
        time.sleep(random.uniform(0, 1.2 * lasts))
        a.process.kill()
        a.process.wait()
        c.wait()
        live = refused_ports()
        verdict(live in (old, new), f'{kind}: the kernel has the old or the new', (old, new, live))
        mark = len(a.said())
        a.start()
        s = a.status()
        live = refused_ports()
        said = a.said()[mark:]
        ok = verdict(s['in_force'] and not s['trouble'] and live in (old, new) and 'damaged' not in said,
                     f'{kind}: readable, and old or new', (old, new, live, s, said))
        count[live == new and not (kind == 'confirm' and s['pending'])] += ok
        if s['pending']:
            verdict(kind in ('apply --confirm', 'confirm'), 'only what was to be confirmed waits', kind)
            a.ctl(random.choice(['confirm', 'rollback']))
            verdict(not a.status()['pending'], 'and can be ended', a.said()[-500:])
    left = [p.name for p in (a.state / 'history').iterdir() if not p.name.isdigit()]
    verdict(not left, 'nothing half-written is left', left)
    print(f'killed during {kind}: {count[0]} times the old, {count[1]} times the new')
    verdict(sum(count) == ARGS.kills // 4, 'all were tried', count)
    a.end()


def state_is_old_or_new_when_killed_during_apply():
    old_or_new('apply', ['apply'])


def state_is_old_or_new_when_killed_during_apply_confirm():
    old_or_new('apply --confirm', ['apply', '--confirm', '1h'])


def state_is_old_or_new_when_killed_during_confirm():
    old_or_new('confirm', ['confirm'])


def state_is_old_or_new_when_killed_during_rollback():
    old_or_new('rollback', ['rollback'])


def cases():
    """Those that take longest first."""
    return [agent_killed_and_started_again, role_that_does_not_answer_confirms_nothing, client_killed,
            machine_started_anew, state_is_old_or_new_when_killed_during_apply,
            state_is_old_or_new_when_killed_during_apply_confirm, state_is_old_or_new_when_killed_during_confirm,
            state_is_old_or_new_when_killed_during_rollback, agent_dead_at_the_deadline, confirmed_in_time_it_stays,
            rollback_does_not_wait_for_the_deadline, agent_killed_again_and_again,
            remove_that_is_not_answered_removes_nothing, rollback_passes_over_what_was_taken_back,
            a_first_apply_reverts_to_nothing]


if __name__ == '__main__':
    rig.inside()
    parser = argparse.ArgumentParser()
    parser.add_argument('daemon', type=os.path.abspath)
    parser.add_argument('ctl', type=os.path.abspath)
    parser.add_argument('--rounds', type=int, default=6)
    parser.add_argument('--kills', type=int, default=100)
    parser.add_argument('--only', nargs='*', default=())
    parser.add_argument('--strict', action='store_true')
    ARGS = parser.parse_args()
    status = rig.run_all(cases(), ARGS.only, rig.AT_ONCE)
    late = rig.KEPT.get('late')
    if late:
        print(f'{len(late)} reverts, at most {max(late) * 1000:.0f} ms past the deadline')
    sys.exit(status)
