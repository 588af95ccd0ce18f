#!/usr/bin/env python3
"""The role apply where its netlink socket or its memory fails: a truthful error, and old or new rules.

    faults.py APPLY_DRIVE MAILREEVE NETFAULT [--every N] [--only NAME]

--every 1 breaks every call of every operation in every way; the suite takes one in N, chosen by SEED=.
Each function below is a test; its name says what it guards.
"""
import argparse
import contextlib
import errno
import mmap
import os
import random
import re
import resource
import signal
import struct
import sys
import tempfile
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import rig  # noqa: E402
from rig import Role, nft  # noqa: E402

TMP = tempfile.mkdtemp(prefix='faults-')
LOST, LOST_ONE, SHORT, KILL, KILL_SENT, STOP = range(6)
ERRNO, SEND, RECEIVE = 100, 300, 500
KINDS = {
    'ENOBUFS, all lost': LOST, 'ENOBUFS, one lost': LOST_ONE, 'truncated': SHORT,
    'EINTR': ERRNO + errno.EINTR, 'EAGAIN': RECEIVE + errno.EAGAIN,
    'EPERM': ERRNO + errno.EPERM, 'ENOMEM': ERRNO + errno.ENOMEM, 'EMSGSIZE': SEND + errno.EMSGSIZE,
    'ENOBUFS, not sent': SEND + errno.ENOBUFS, 'killed before': KILL, 'killed behind': KILL_SENT,
}
TABLE = 'mailreeve-host'
ARGS = None
COUNT = {}


class Fault:
    """What netfault.so shares with us."""
    PID, KIND, AT, MORE, COUNTED, MET, ROOM = range(7)

    def __init__(self):
        fd, self.path = tempfile.mkstemp(dir=TMP)
        os.write(fd, bytes(32))
        self.m = mmap.mmap(fd, 32)
        os.close(fd)
        os.environ['NETFAULT'] = self.path
        os.environ['LD_PRELOAD'] = os.path.abspath(ARGS.netfault)

    def set(self, what, v):
        struct.pack_into('=I', self.m, 4 * what, v)

    def get(self, what):
        return struct.unpack_from('=I', self.m, 4 * what)[0]

    def arm(self, pid, kind, at, more=0):
        for what, v in ((self.PID, 0), (self.COUNTED, 0), (self.MET, 0), (self.KIND, kind), (self.AT, at),
                        (self.MORE, more), (self.PID, pid)):
            self.set(what, v)

    def off(self):
        self.set(self.PID, 0)
        return self.get(self.MET)


@contextlib.contextmanager
def broken(*options):
    """A role under the library; fault and role."""
    f = Fault()
    try:
        with Role(ARGS.drive, *options) as r:
            yield f, r
    finally:
        del os.environ['LD_PRELOAD'], os.environ['NETFAULT']


def count(what, n=1):
    COUNT[what] = COUNT.get(what, 0) + n


def in_force(r, plan):
    return r.ask(f'force {plan}')['force'] == 1


def prefixes(first, n):
    return [f'{first}.{i // 256}.{i % 256}.0/28' for i in range(n)]


def lists(*names, n=40):
    return [rig.list_policy(ARGS.mailreeve, TMP, f'{x}{n}', prefixes(10 + ord(x) - ord('a'), n)) for x in names]


def put(r, plan):
    r.say(f'do {plan}')
    return r.until(lambda x: x.get('tell') == 'done' or 'gone' in x)


def start_again(r, plan):
    r.say('start')
    x = r.do(plan)
    assert x['err'] == 0, x


def sets():
    return len(re.findall(r'^\tset ', nft('-t', 'list', 'ruleset'), re.M))


def chosen(n):
    return sorted(random.sample(range(1, n + 1), -(-n // ARGS.every)))


# ---- netlink --------------------------------------------------------------------------------

def every_broken_call_of_an_apply_is_told_truthfully():
    a, b = lists('a', 'b')
    for old, new, what in ((a, b, 'stage'), (b, rig.list_policy(ARGS.mailreeve, TMP, 'b2', prefixes(11, 41)), 'edit')):
        with broken() as (f, r):
            assert r.do(old)['err'] == 0
            whole = sets()
            f.arm(r.pid(), KILL, 0)
            assert r.do(new)['err'] == 0
            calls = f.get(f.COUNTED)
            f.off()
            assert calls > 20, calls
            for name, kind in KINDS.items():
                for n in chosen(calls):
                    assert r.do(old)['err'] == 0
                    f.arm(r.pid(), kind, n)
                    x = put(r, new)
                    met = f.off()
                    if met and kind in (KILL, KILL_SENT) and 'gone' not in x:
                        x = r.until(lambda x: 'gone' in x) # behind its answer
                    is_new, is_old = in_force(r, new), in_force(r, old)
                    where = f'{what}, {name} at call {n}: {x}'
                    assert is_new != is_old, ('neither' if not is_new else 'both', where)
                    count('calls broken', met)
                    if 'gone' in x:
                        assert kind in (KILL, KILL_SENT) and x['gone'] == -9, where
                        count('killed: ' + ('new' if is_new else 'old'))
                        start_again(r, new if is_new else old)
                        continue
                    count(f'{"new" if is_new else "old"} rules, ' + ('done' if x['err'] == 0 else 'an error'))
                    assert (x['err'] == 0) == is_new, where
                    assert x['err'] == 0 or len(x['text']) > 5, where
                    c = r.check()
                    assert c['in_force'] == 1, (where, c)
                # nothing is left over, whatever there was
                assert r.do(old)['err'] == 0
                r.quiet(0.15)
                assert sets() == whole and r.check()['in_force'] == 1, (name, nft('-t', 'list', 'ruleset'))
            assert not [e for e in r.quiet(0.2) if e['kind'] == 'lost']


def every_broken_call_of_a_heal_ends_in_the_plan():
    a, = lists('a')
    with broken('--no-owner') as (f, r):
        assert r.do(a)['err'] == 0
        for name, kind in KINDS.items():
            for n in chosen(60):
                r.ask('pause 0')
                chain = re.search(r'chain (\S*mail-output\S*) \{', nft('list', 'ruleset')).group(1)
                f.arm(r.pid(), kind, n)
                nft('flush', 'chain', 'inet', TABLE, chain)
                x = r.until(lambda x: 'gone' in x or x.get('kind') in ('healed', 'heal-failed'))
                met = f.off()
                count('calls broken', met)
                if met and kind in (KILL, KILL_SENT) and 'gone' not in x:
                    x = r.until(lambda x: 'gone' in x)
                where = f'{name} at call {n}: {x}'
                if 'gone' in x:
                    assert kind in (KILL, KILL_SENT) and x['gone'] == -9, where
                    start_again(r, a)
                elif x['kind'] == 'heal-failed':
                    count('a heal that failed, told')
                    assert len(x['what']) > 5, where
                    r.event('healed')
                assert in_force(r, a), where
                c = r.check()
                assert c['in_force'] == 1, (where, c)
                count('healed')
                # its edits are forgotten with it: else they are met with patience
                r.ask('kill')
                start_again(r, a)


def a_socket_that_stays_broken_is_told_and_works_again_when_it_does():
    a, b = lists('a', 'b')
    with broken() as (f, r):
        assert r.do(a)['err'] == 0
        for name in ('ENOBUFS, all lost', 'EINTR', 'EPERM', 'ENOMEM', 'truncated'):
            n = len(r.events)
            f.arm(r.pid(), KINDS[name], 1, 1 << 30)
            x = put(r, b)
            assert x['err'] and x['text'], (name, x)
            assert any(w in x['text'] for w in ('lost', 'memory', 'may not', 'Interrupted', 'long', 'size')), x
            told = next((e for e in r.events[n:] if e['kind'] == 'lost'), None) or r.event('lost')
            assert told['what'], told
            f.off()
            assert in_force(r, a)
            assert r.do(b)['err'] == 0 and r.check()['in_force'] == 1
            assert r.do(a)['err'] == 0
            count('sockets broken for a while')


def a_transaction_beyond_the_send_buffer_is_an_error_that_names_it():
    """For real: the kernel refuses it with EMSGSIZE."""
    small, = lists('a')
    policy = os.path.join(TMP, 'rules.yaml')
    open(policy, 'w').write('mailreeve: 1\nname: rules\npoints:\n  host:\n    kind: host\n    outbound:\n'
                            '      block:\n' + ''.join(
                                f'        - {{name: s{i}, to: [10.{i // 250}.{i % 250}.0/24], ports: [{1000 + i}], '
                                'with: drop}\n' for i in range(900)) + '      otherwise: untouched\n')
    large = rig.compile_point(ARGS.mailreeve, policy, TMP)
    # an attribute holds 64 KiB, and so does a message of elements
    more = rig.list_policy(ARGS.mailreeve, TMP, 'more', prefixes(10, 20000))
    with broken() as (f, r):
        f.set(f.ROOM, 20000)
        r.ask('kill')
        r.say('start')
        assert r.do(small)['err'] == 0
        before = nft('list', 'ruleset')
        x = r.do(more)
        assert x['err'] == errno.EMSGSIZE and 'wmem_max' in x['text'], x
        assert nft('list', 'ruleset') == before, before + nft('list', 'ruleset')
        c = r.check()
        assert c['in_force'] == 1, c['text'][:300]
        # many rules are staged in parts
        x = r.do(large)
        assert x['err'] == 0, x
        c = r.check()
        assert c['in_force'] == 1, c['text'][:300]
        x = r.do(small)
        assert x['err'] == 0, x
        c = r.check()
        assert c['in_force'] == 1, c['text'][:300]
        f.set(f.ROOM, 0)
        r.ask('kill')
        r.say('start')
        assert r.do(small)['err'] == 0
        assert r.do(more)['err'] == 0
        count('beyond the send buffer')


def a_stopped_role_goes_on_where_it_stood():
    a, b = lists('a', 'b')
    with broken() as (f, r):
        for old, new in ((a, b), (b, a), (a, b)):
            assert r.do(old)['err'] == 0
            f.arm(r.pid(), STOP, random.randrange(1, 60))
            r.say(f'do {new}')
            found, said = [], []
            # until it stands still, or has done
            while not f.get(f.MET) and not any(x.get('tell') == 'done' for x in said):
                said += filter(None, [r.next(0.02)])
            for plan in (old, new):
                r.say(f'force {plan}')
                found.append(r.until(lambda x: said.append(x) or 'force' in x)['force'])
            assert sorted(found) == [0, 1], found
            os.kill(f.get(f.PID), signal.SIGCONT)
            x = next((x for x in said if x.get('tell') == 'done'), None) or r.until(
                lambda x: x.get('tell') == 'done')
            f.off()
            assert x['err'] == 0 and r.check()['in_force'] == 1, x
            count('stopped and continued')


# ---- memory ---------------------------------------------------------------------------------

def size_of(pid):
    return int(re.search(r'VmSize:\s+(\d+)', open(f'/proc/{pid}/status').read()).group(1)) * 1024


def limit(pid, bytes_):
    resource.prlimit(pid, resource.RLIMIT_AS, (bytes_, resource.RLIM_INFINITY))


def a_plan_that_does_not_fit_into_memory_is_an_error():
    """Whatever allocation it is that fails: the limit grows by little until the plan fits."""
    small, other = lists('a', 'b')
    large = rig.list_policy(ARGS.mailreeve, TMP, 'large', prefixes(10, 60000))
    whole = None
    with Role(ARGS.drive) as r:
        assert r.do(small)['err'] == 0
        base = size_of(r.pid())
        room, step, refused = 0, 128 << 10, 0
        while True:
            pid = r.pid()
            limit(pid, size_of(pid) + room)
            x = put(r, large)
            assert 'gone' not in x, (room, x)
            if x['err'] == 0:
                break
            refused += 1
            assert x['err'] == errno.ENOMEM and ('MemoryMax' in x['text'] or 'plan\'s file' in x['text']), (room, x)
            count(re.sub(r'(: .*)?: the (agent|kernel) has no memory.*', r': no memory of the \2', x['text']))
            if refused % 4 == 0:
                # under the same limit what is small goes on
                assert in_force(r, small) and not in_force(r, large), room
                x = r.do(other)
                if x['err'] == 0:
                    count('a small plan under the same limit')
                    assert r.check()['in_force'] == 1
                limit(pid, resource.RLIM_INFINITY)
                assert r.do(small)['err'] == 0
                assert r.pid() == pid
            room += step * (1 if ARGS.every == 1 else 2)
        assert refused > 5, refused
        count('limits that a plan did not fit under', refused)
        assert in_force(r, large)
        limit(r.pid(), resource.RLIM_INFINITY)
        assert r.check()['in_force'] == 1
        assert r.do(small)['err'] == 0
        r.quiet(1.2)
        grown = size_of(r.pid()) - base
        assert grown < 4 << 20, f'{grown} bytes stay'
        whole = [e for e in r.events if e['kind'] not in ('note', 'heal-failed')]
    assert not whole, whole


def without_memory_for_long_looks_wait_and_go_on():
    a, = lists('a', n=3000)
    with Role(ARGS.drive, '--no-owner') as r:
        assert r.do(a)['err'] == 0
        pid = r.pid()
        limit(pid, size_of(pid) - (1 << 20))
        for _ in range(3):
            chain = re.search(r'chain (\S*mail-output\S*) \{', nft('list', 'ruleset')).group(1)
            nft('flush', 'chain', 'inet', TABLE, chain)
            time.sleep(0.5)
            r.ask('check')
        limit(pid, resource.RLIM_INFINITY)
        end = time.monotonic() + rig.LONG
        while not in_force(r, a) and time.monotonic() < end:
            r.quiet(0.2)
        assert in_force(r, a) and r.check()['in_force'] == 1, r.events
        assert r.pid() == pid
        count('healed once there was memory again')


def main():
    global ARGS
    ap = argparse.ArgumentParser()
    ap.add_argument('drive')
    ap.add_argument('mailreeve')
    ap.add_argument('netfault')
    ap.add_argument('--every', type=int, default=10)
    ap.add_argument('--only', default='')
    ARGS = ap.parse_args()
    ARGS.drive, ARGS.mailreeve = os.path.abspath(ARGS.drive), os.path.abspath(ARGS.mailreeve)
    seed = int(os.environ.get('SEED', random.randrange(1 << 30)))
    print(f'SEED={seed}')
    random.seed(seed)
    tests = [f for f in globals().values() if callable(f) and getattr(f, '__module__', '') == '__main__' and
             f.__name__.count('_') > 3]
    failed = ran = 0
    for t in tests:
        if ARGS.only not in t.__name__:
            continue
        ran += 1
        start = time.monotonic()
        nft('flush', 'ruleset')
        try:
            t()
            print(f'ok      {t.__name__} ({time.monotonic() - start:.1f} s)', flush=True)
        except Exception:
            failed += 1
            print(f'FAILED  {t.__name__}', flush=True)
            traceback.print_exc()
    for what, n in sorted(COUNT.items()):
        print(f'{n:8}  {what}')
    print(f'{ran - failed} passed, {failed} failed')
    return 1 if failed else 0


if __name__ == '__main__':
    rig.again_in_namespace()
    sys.exit(main())
