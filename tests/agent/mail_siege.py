#!/usr/bin/env python3
"""The whole agent under siege: 1,000 slow clients of several users, a flood, a disk that is really full, and few
descriptors, all at once. Memory is bounded, a good client gets its 220 within 1 s and an honest 4xx, and all is well
again when it is over: nobody has to do anything.

    mail_siege.py MAILREEVED MAILREEVECTL [SIEGE ...] [--seconds 60] [--ext4]

Runs by itself in namespaces. --ext4 (root): the spool on an ext4 of its own, not on a tmpfs. The figures are printed; the
1 s is asserted where --seconds is given, on a machine of one's own, else only that the greeting comes at all.
"""
import contextlib
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import mail_rig  # noqa: E402
import parent_rig as rig  # noqa: E402
from mail_rig import MailAgent, Relay, can_send, send  # noqa: E402
from parent_rig import verdict, wait_for  # noqa: E402


def option(name, default=None):
    """Takes `name VALUE` out of the command line."""
    if name not in sys.argv:
        return default
    at = sys.argv.index(name)
    value = sys.argv[at + 1]
    del sys.argv[at:at + 2]
    return value


DISK = option('--disk')        # --ext4 has made it
SECONDS = option('--seconds')
GATE = SECONDS is not None
SECONDS = float(SECONDS or 3)
EXT4 = '--ext4' in sys.argv
if EXT4:
    sys.argv.remove('--ext4')
DAEMON, CTL = (os.path.abspath(x) for x in sys.argv[1:3])
HOSTILE = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'hostile.py')
SLOW, MOST_KIB = 1000, 64 << 10
SANITIZED = b'__asan_init' in pathlib.Path(DAEMON).read_bytes()
MAIL_ROLES = ('front', 'queue', 'relay')


class Disk:
    """A small file system for the agent's state, and what fills it."""

    def __init__(self):
        self.at = pathlib.Path(DISK or tempfile.mkdtemp(prefix='parent-'))
        self.filler = self.at / 'filler'
        if not DISK:
            subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=160m,mode=755', 'tmpfs', str(self.at)], check=True)

    def fill(self):
        with open(self.filler, 'ab') as f, contextlib.suppress(OSError):
            while True:
                f.write(b'x' * 65536)
                f.flush()
        left = os.statvfs(self.at)
        verdict(left.f_bavail * left.f_bsize < 1 << 20, 'the disk is full', left)

    def clear(self):
        self.filler.unlink()

    def end(self):
        if not DISK:
            subprocess.run(['umount', '-l', str(self.at)], check=False)
            self.at.rmdir()


def hostile(what, uid, n=1):
    return subprocess.Popen([sys.executable, '-S', '-E', HOSTILE, what, str(uid), str(mail_rig.PORT), str(n)],
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def kib(pid, key):
    """Of /proc/PID/smaps_rollup or status; 0 when it has gone."""
    name = 'smaps_rollup' if key == 'Pss' else 'status'
    with contextlib.suppress(OSError):
        for line in pathlib.Path(f'/proc/{pid}/{name}').read_text().splitlines():
            if line.startswith(key + ':'):
                return int(line.split()[1])
    return 0


def limited(a, n):
    """The mail roles with n descriptors from their beginning: what starts them has no more. The parent itself has 25 at
    rest and says "Too many open files" where it gets less than 36."""
    roles = a.roles()
    subprocess.run(['prlimit', f'--pid={roles["starter"]}', f'--nofile={n}:{n}'], check=True)
    os.kill(roles['front'], signal.SIGKILL)

    def anew():
        now = a.roles()
        return all(now.get(x, roles[x]) != roles[x] for x in MAIL_ROLES) and can_send()
    verdict(wait_for(anew, every=0.1), 'the mail roles begin anew', a.said())
    for x in MAIL_ROLES:
        limit = pathlib.Path(f'/proc/{a.roles()[x]}/limits').read_text().split('Max open files')[1].split()[:2]
        verdict(limit == [str(n), str(n)], f'{x}: descriptors', limit)


def besieged(descriptors=0):
    many = rig.many_users()
    disk = Disk()
    relay = Relay(2525).start()
    a = MailAgent(DAEMON, CTL)
    a.write_mail()
    a.dir.chmod(0o755)
    a.state = disk.at / f'state-{descriptors}'
    a.begin()
    if descriptors:
        limited(a, descriptors)
    verdict(send('<before@test>')[0] == 250, 'before')
    verdict(wait_for(lambda: relay.ids() == ['<before@test>'], every=0.1), 'delivered', a.said())
    before = {k: v for k, v in a.roles().items() if k in MAIL_ROLES}
    disk.fill()
    # two users who mean it ill, and one who does not, where we may be several
    foes = [hostile('slow', uid if many else 0, SLOW // 2) for uid in (47001, 47002)]
    foes += [hostile('flood', uid if many else 0) for uid in (47001, 47002)]
    time.sleep(1)
    good = hostile('good', 47003 if many else 0)
    pss, end = 0, time.monotonic() + SECONDS
    while time.monotonic() < end:
        pss = max(pss, sum(kib(pid, 'Pss') for pid in [a.process.pid, *a.below()]))
        time.sleep(0.5)
    peak = {k: kib(v, 'VmHWM') for k, v in a.roles().items()}
    peak['parent'] = kib(a.process.pid, 'VmHWM')
    said, _ = good.communicate(timeout=150)
    for p in foes:
        p.communicate(timeout=60)
    got = [line.split() for line in said.splitlines()]
    ms, away, codes = [float(x[0]) for x in got], [int(x[1]) for x in got], [x[2] for x in got]
    print(f'{len(got)} good clients: 220 after {statistics.median(ms):.1f} ms, at most {max(ms):.1f} ms, {sum(away)} '
          f'times turned away before; '
          f'{ {c: codes.count(c) for c in sorted(set(codes))} }; most resident: {max(peak, key=peak.get)} '
          f'{max(peak.values()) / 1024:.1f} MB, all of the agent (PSS) {pss / 1024:.1f} MB')
    honest = [c for c in codes if c in ('451', '452')]
    # of one user's connections each may have to make place for another
    verdict(honest and (len(honest) == len(codes) or not many), 'each good client gets its 220 and hears 451 or 452', codes)
    verdict(not GATE or max(ms) < 1000, 'the slowest 220 within 1 s', max(ms))
    if not SANITIZED:
        verdict(max(peak.values()) <= MOST_KIB, 'no process has more than 64 MB', peak)
        verdict(pss <= MOST_KIB, 'nor have all together', pss)
    disk.clear()
    verdict(wait_for(lambda: can_send() and send('<after@test>')[0] == 250, every=0.5), 'it recovers alone', a.said()[-3000:])
    verdict(wait_for(lambda: '<after@test>' in relay.ids(), every=0.1), 'and delivers', a.said()[-3000:])
    verdict(sorted(relay.ids()) == ['<after@test>', '<before@test>'], 'that and nothing else', relay.ids()[:10])
    verdict(wait_for(lambda: 'mailreeve_front_connections 0\n' in a.ctl('metrics').out), 'no connection is left',
            a.ctl('metrics').out)
    after = {k: v for k, v in a.roles().items() if k in MAIL_ROLES}
    verdict(after == before, 'by the same processes', (before, after, a.said()[-3000:]))
    a.end()
    relay.stop()
    disk.end()


def a_thousand_slow_clients_a_flood_and_a_full_disk():
    besieged()


def the_same_with_32_descriptors():
    besieged(32)


TESTS = [a_thousand_slow_clients_a_flood_and_a_full_disk, the_same_with_32_descriptors]


def main():
    if EXT4 and not os.environ.get('PARENT_INSIDE'):
        from mail_hour import ext4
        at, gone = ext4()
        sys.argv += ['--disk', at]
        if GATE:
            sys.argv += ['--seconds', str(SECONDS)]
        try:
            rig.inside()
        finally:
            gone()
    elif GATE and not os.environ.get('PARENT_INSIDE'):
        sys.argv += ['--seconds', str(SECONDS)]
    rig.inside()
    return rig.run_all(TESTS, sys.argv[3:], 1 if GATE or DISK else 2)


if __name__ == '__main__':
    sys.exit(main())
