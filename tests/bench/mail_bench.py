#!/usr/bin/env python3
"""The forwarder beside other mail programs, in one run on one machine.

    mail_bench.py MAILREEVED MAILREEVECTL MAIL_WAY FOLDER [--rounds N] [--peers all|postfix] [--only CASE,...]

FOLDER is where packages are unpacked (tests/peers/fetch). As root each spool lies on an ext4 of its own,
on a loop device on tmpfs: a disk shared with others swings too much. Else it lies in FOLDER, and processor
time and syncs are not told. What is measured:

  accepted    from the start of the load (mail_way) until it has its last 250
  delivered   from the same start until the relay (mail_way again) has the last message
  CPU         of all the server's processes, ended ones too, by their control group, until it is quiet again
  flushes     of the spool's device (/sys/block/loopN/stat): each is a sync that waited for the disk
  memory      of all processes: private where idle; proportional (PSS), the most seen at 16 sessions
  latency     by mail_way: one message at a time, each with its connection, until the relay has it, and until
              the program has its 250; `direct` is the same without a server between

`--rig postfix` takes Postfix's smtp-source and smtp-sink instead of mail_way: the same commands, but the
sink takes 20 ms for a message of 1 MB, which would hide the servers. The row `direct` is the load and the
relay alone. Cases are run in turn (Postfix, mailreeve, Postfix, ...); a ratio is the median of the ratios of the
rounds, so that what else the machine does meets both. Targets are those of the forwarder's design;
status 1 where one is missed, and the table says which.
"""
import argparse
import atexit
import ctypes
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import mail_peers as peers  # noqa: E402
from mail_peers import Sink, Way, run, wait_for  # noqa: E402

MS = {'near': 1, 'far': 20}     # to the relay and back
LIMIT_S = 20           # a slow server's round ends after that

# name: sessions, bytes, kept, messages, messages of slow servers, what it is
CASES = {
    'kept16': (16, 4096, True, 3000, 300, '4 KB, 16 sessions kept'),
    'kept1': (1, 4096, True, 600, 60, '4 KB, 1 session kept'),
    'each1': (1, 4096, False, 400, 60, '4 KB, a connection each, 1 client'),
    'each20': (20, 4096, False, 1500, 200, '4 KB, a connection each, 20 clients'),
    'large': (4, 1048576, True, 200, 40, '1 MB, 4 sessions kept'),
    'far': (16, 4096, True, 2000, 200, f'4 KB, 16 sessions, relay {MS["far"]} ms away'),
    'tls': (16, 4096, True, 2000, 200, '4 KB, 16 sessions, relay with verified TLS 1.3'),
}
# case, column, at least
TARGETS = [('kept16', 'accepted', 4), ('kept16', 'delivered', 3), ('large', 'delivered', 2), ('far', 'delivered', 5),
           ('tls', 'delivered', 3)]


def inside():
    """Namespaces of our own."""
    if os.environ.get('BENCH_INSIDE'):
        run('ip', 'link', 'set', 'lo', 'up')
        return os.environ['BENCH_INSIDE'] == 'root'
    real = os.geteuid() == 0 and pathlib.Path('/proc/self/uid_map').read_text().split()[2] == '4294967295'
    os.environ['BENCH_INSIDE'] = 'root' if real else 'user'
    os.execvp('unshare', ['unshare', '-nm' if real else '-Urnm', sys.executable, *sys.argv])


class World:
    def __init__(self, args, root):
        self.args, self.root = args, root
        self.sink_way = args.way if args.rig == 'own' else None
        where = None
        if root:
            where = tempfile.mkdtemp(prefix='mail-bench-')
            run('mount', '-t', 'tmpfs', '-o', 'mode=0755', 'tmpfs', where)
        else:
            where = tempfile.mkdtemp(prefix='mail-bench-', dir=args.folder)
            os.chmod(where, 0o755)
        self.base = pathlib.Path(where)
        peers.prepare(self.base)
        peers.certificates(self.base)
        self.servers, self.sinks, self.ways, self.groups = [], {}, [], []
        atexit.register(self.close)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))

    def group(self, name):
        """A control group, for its processor time; None where we may not."""
        top = pathlib.Path('/sys/fs/cgroup')
        top = top / 'unified' if (top / 'unified' / 'cgroup.procs').exists() else top
        g = top / f'mail-bench-{os.getpid()}-{name}'
        try:
            g.mkdir()
            (g / 'cpu.stat').read_text()
        except OSError:
            return None
        self.groups.append(g)
        return g

    def add(self, cls, **kw):
        n = len(self.servers)
        word = cls.__name__.lower()
        folder, device = peers.disk(self.base, word, self.root)
        s = cls(2600 + n, folder, device, self.group(word), **kw)
        s.n = n
        self.servers.append(s)
        return s

    def begin(self, kind):
        """Every server anew, each with a relay of its own: plain, near, far, tls."""
        for s in self.servers:
            s.sink_port = 3000 + s.n
            self.sinks[s] = Sink(s.sink_port, self.sink_way)
            s.to = s.sink_port
            if kind != 'plain':
                s.to = 3100 + s.n
                self.way(s.to, s.sink_port, kind)
            s.start(Way(s.to, self.base / 'ca.pem' if kind == 'tls' else None))

    def way(self, port, to, kind):
        argv = [self.args.way, 'way', port, to, MS.get(kind, 0)]
        if kind == 'tls':
            argv.append(self.base / 'relay.pem')
        self.ways.append(subprocess.Popen([str(x) for x in argv]))

    def end(self):
        for s in self.servers:
            s.stop()
        for x in self.ways:
            x.kill()
            x.wait()
        for x in self.sinks.values():
            x.close()
        self.ways.clear()
        self.sinks.clear()

    def close(self):
        self.end()
        os.chdir('/')
        for g in self.groups:
            try:
                g.rmdir()
            except OSError as e:
                print(f'left: {g}: {e}', file=sys.stderr)
        for m in [*self.base.glob('*'), self.base]:
            subprocess.run(['umount', '-l', str(m)], capture_output=True)
        if self.root:
            os.rmdir(self.base)


def load_of(args, port, case, n):
    sessions, size, kept = case[:3]
    if args.rig == 'postfix':
        return ['smtp-source', *(['-d'] if kept else []), '-s', str(sessions), '-l', str(size), '-m', str(n), '-f',
                'a@example.org', '-t', 'b@example.net', '-S', 'bench', f'127.0.0.1:{port}']
    return [args.way, 'load', str(port), str(sessions), str(n), str(size), 'keep' if kept else 'each']


def burst(world, s, case, n):
    """One round: figures by name, or None where not all came. s: a server, or its Sink."""
    direct = isinstance(s, Sink)
    sink = s if direct else world.sinks[s]
    had, cpu, flushes = sink.count, direct or s.cpu(), direct or s.flushes()
    began = time.monotonic()
    p = subprocess.Popen(load_of(world.args, s.port, case, n), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        said, err = p.communicate(timeout=6 * LIMIT_S)
    except subprocess.TimeoutExpired:
        p.kill()
        p.wait()
        return None
    accepted = float(said) if said else time.monotonic()
    if direct:
        return {'accepted': n / (accepted - began)} if p.returncode == 0 else None
    if p.returncode:
        print(f'{s.name}: {err.decode().strip()}\n{s.said()}', flush=True)
        return None
    wait_for(lambda: sink.count - had >= n, LIMIT_S if s.slow else 6 * LIMIT_S, 0.005)
    came = sink.count - had
    if came < n and not s.slow:
        print(f'{s.name}: {came} of {n} delivered\n{s.said()}', flush=True)
    out = {'accepted': n / (accepted - began), 'delivered': came / (sink.when - began) if came else 0.0}
    # records that are made durable at leisure, removals
    time.sleep(1.5)
    if cpu is not None and came == n:
        out['cpu'] = (s.cpu() - cpu) * 1000 / n
    if flushes is not None and came == n:
        out['flushes'] = (s.flushes() - flushes) / n
    if came < n:
        wait_for(lambda: sink.count - had >= n, 6 * LIMIT_S, 0.1)
    return out


class Peak:
    """The most memory that a server's processes take together."""

    def __init__(self, s):
        self.s, self.most, self.stop = s, 0, threading.Event()
        self.t = threading.Thread(target=self._look, daemon=True)
        self.t.start()

    def _look(self):
        while not self.stop.wait(0.05):
            self.most = max(self.most, self.s.memory()[0])

    def end(self):
        self.stop.set()
        self.t.join()
        return self.most


# ---- printing ------------------------------------------------------------------------------------------------

def figure(x, digits=None):
    if x is None:
        return '-'
    return f'{x:.{digits}f}' if digits is not None else f'{x:.0f}' if x >= 100 else f'{x:.1f}'


def table(title, head, rows):
    print(f'\n{title}')
    widths = [max(len(str(r[i])) for r in [head, *rows]) for i in range(len(head))]
    for r in [head, *rows]:
        print('  '.join(str(c).ljust(w) if i == 0 else str(c).rjust(w) for i, (c, w) in enumerate(zip(r, widths))))
    sys.stdout.flush()


def middle(rows, key):
    v = [r[key] for r in rows if r and key in r]
    return statistics.median(v) if v else None


def ratio(ours, theirs, key):
    v = [a[key] / b[key] for a, b in zip(ours, theirs) if a and b and a.get(key) and b.get(key)]
    return statistics.median(v) if v else None


class Judge:
    def __init__(self):
        self.rows = []

    def say(self, what, value, limit, least):
        if value is not None:
            ok = value >= limit if least else value <= limit
            self.rows.append((what, figure(value, 2), ('at least ' if least else 'at most ') + str(limit),
                              'kept' if ok else 'MISSED'))


# ---- the cases -----------------------------------------------------------------------------------------------

def speed(world, cases, judge, ours, postfix):
    for case in cases:
        what = CASES[case][-1]
        n, few = CASES[case][3:5]
        rig = Sink(2999, world.sink_way)
        rig.port = 2999
        got = {s: [] for s in world.servers}
        through = []
        for s in world.servers:
            burst(world, s, CASES[case], max(40, (few if s.slow else n) // 10))
        for k in range(world.args.rounds):
            order = [s for s in world.servers if k == 0 or s in (ours, postfix)]
            for s in order if k % 2 else order[::-1]:
                got[s].append(burst(world, s, CASES[case], few if s.slow else n))
            got[rig] = [*got.get(rig, []), burst(world, rig, CASES[case], n)]
            if case in ('kept16', 'each1', 'each20'):
                ours.in_mode('through')
                through.append(burst(world, ours, CASES[case], n))
                ours.in_mode('spool')
        rows = []
        rig.close()
        for name, g in [(s.name, got[s]) for s in world.servers] + (
                [(ours.name + ', through', through)] if through else []) + [('direct', got[rig])]:
            rows.append((name, figure(middle(g, 'accepted')), figure(ratio(g, got[postfix], 'accepted'), 2),
                         figure(middle(g, 'delivered')), figure(ratio(g, got[postfix], 'delivered'), 2),
                         figure(middle(g, 'cpu'), 2), figure(middle(g, 'flushes'), 2)))
        table(what, ('', 'accepted/s', 'x Postfix', 'delivered/s', 'x Postfix', 'CPU ms', 'flushes'), rows)
        for of, key, least in TARGETS:
            if of == case:
                judge.say(f'{what}: {key} beside Postfix', ratio(got[ours], got[postfix], key), least, True)
        if case == 'kept16':
            judge.say('CPU ms of a message', middle(got[ours], 'cpu'), 0.5, False)


def memory(world, judge, ours):
    rows = []
    time.sleep(3)
    idle = {s: s.memory() for s in world.servers}
    for s in world.servers:
        n, few = CASES['kept16'][3:5]
        peak = Peak(s)
        burst(world, s, CASES['kept16'], 10 * few if s.slow and 'OpenSMTPD' not in s.name else few if s.slow else n)
        rows.append((s.name, *[figure(x / 1024, 1) for x in idle[s]], figure(peak.end() / 1024, 1)))
        if s is ours:
            judge.say('MB private, idle', idle[s][1] / 1024, 8, False)
            judge.say('MB PSS at 16 sessions', float(rows[-1][3]), 16, False)
    table('memory, MB', ('', 'idle PSS', 'idle private', 'PSS at 16 sessions'), rows)


def one(world, port, sink, n, kind):
    argv = [world.args.way, 'one', port, sink, n, 4096]
    if kind == 'tls' and port < 2600 or kind == 'tls' and port >= 3000:
        argv.append(world.base / 'ca.pem')
    r = subprocess.run([str(x) for x in argv], capture_output=True, text=True, timeout=300)
    if r.returncode:
        print(f'mail_way one {port}: {r.stderr.strip()}')
        return None
    rows = [[int(x) / 1000 for x in line.split()] for line in r.stdout.splitlines()]
    return {'answer': statistics.median(x[0] for x in rows), 'relay': statistics.median(x[1] for x in rows),
            'answer99': sorted(x[0] for x in rows)[len(rows) * 99 // 100],
            'relay99': sorted(x[1] for x in rows)[len(rows) * 99 // 100]}


def floor(world, of, processes, n):
    """What so many processes in a row need that do nothing but wake each other (mail_floor)."""
    world.sinks[of].close()
    p = subprocess.Popen([os.path.join(os.path.dirname(world.args.way), 'mail_floor'), '2998', str(of.sink_port), str(processes)])
    try:
        if not wait_for(lambda: peers.greets(2998), 20):
            return None
        one(world, 2998, of.sink_port, 10, 'plain')
        return one(world, 2998, of.sink_port, n, 'plain')
    finally:
        p.kill()
        p.wait()
        world.sinks[of] = Sink(of.sink_port, world.sink_way)


def latency(world, kind, judge, ours, postfix):
    """The relay is in the same process as the load: the sink makes room for it."""
    n = {'plain': 200, 'near': 100, 'far': 30, 'tls': 100}[kind]
    todo = [('direct', None, None)] + [(s.name, s, None) for s in world.servers] + [
        (ours.name + ', through', ours, 'through')]
    if kind == 'plain':
        todo += [(f'floor, {n} process{"es" * (n > 1)}', None, n) for n in (1, 3)]
    got = {name: [] for name, _, _ in todo}
    for k in range(world.args.rounds):
        for name, s, mode in todo if k == 0 else [t for t in todo if t[1] in (None, ours, postfix)]:
            of = s or ours
            if mode in (1, 3):
                got[name].append(floor(world, of, mode, n))
                continue
            world.sinks[of].close()
            if mode:
                ours.in_mode(mode)
            if s:
                one(world, of.port, of.sink_port, 10, kind)
            got[name].append(one(world, of.port if s else of.to, of.sink_port, n if not s or not s.slow else 20, kind))
            if mode:
                ours.in_mode('spool')
            world.sinks[of] = Sink(of.sink_port, world.sink_way)
    rows = []
    for name, _, _ in todo:
        g = got[name]
        rows.append((name, *[figure(middle(g, k), 2) for k in ('relay', 'relay99')],
                     figure(ratio(g, got[postfix.name], 'relay'), 2), figure(ratio(g, got['direct'], 'relay'), 2),
                     *[figure(middle(g, k), 2) for k in ('answer', 'answer99')]))
    where = {'plain': 'relay here', 'tls': 'relay with verified TLS 1.3'}.get(kind) or f'relay {MS[kind]} ms away'
    table(f'one message at a time, ms, {where}',
          ('', 'to the relay p50', 'p99', 'x Postfix', 'x direct', 'to the 250 p50', 'p99'), rows)
    through = got[ours.name + ', through']
    judge.say(f'latency through, {where}, beside Postfix', ratio(through, got[postfix.name], 'relay'), 0.5, False)
    judge.say(f'latency through, {where}, beside direct', ratio(through, got['direct'], 'relay'), 1.3, False)


def main():
    root = inside()
    p = argparse.ArgumentParser()
    p.add_argument('daemon', type=os.path.abspath)
    p.add_argument('ctl', type=os.path.abspath)
    p.add_argument('way', type=os.path.abspath)
    p.add_argument('folder', type=os.path.abspath)
    p.add_argument('--rounds', type=int, default=3)
    p.add_argument('--peers', choices=('all', 'postfix'), default='all')
    p.add_argument('--rig', choices=('own', 'postfix'), default='own')
    p.add_argument('--only', help=f'of {",".join(CASES)},memory,latency')
    args = p.parse_args()
    only = args.only.split(',') if args.only else [*CASES, 'memory', 'latency']
    # what dies with us: the processes of the servers
    ctypes.CDLL(None).prctl(36, 1)
    os.makedirs(args.folder, exist_ok=True)
    found = {}
    for peer in ('exim', 'opensmtpd', 'msmtpd') if args.peers == 'all' else ():
        try:
            program, libraries = peers.peers_fetch.fetch(args.folder, peer)
            found[peer] = {'program': program, 'libraries': libraries}
        except (subprocess.SubprocessError, OSError, RuntimeError) as e:
            print(f'{peer} cannot be had: {e}')
    world = World(args, root)
    postfix = world.add(peers.Postfix)
    ours = world.add(peers.Mailreeve, daemon=args.daemon, ctl=args.ctl)
    for peer, classes in (('exim', (peers.EximThrough, peers.Exim)), ('opensmtpd', (peers.OpenSMTPD,)),
                          ('msmtpd', (peers.Msmtpd,))):
        for c in classes if peer in found else ():
            world.add(c, **found[peer])
    print(f'spools: {"ext4 on a loop device on tmpfs, one each" if root else "on the disk of " + args.folder}; '
          f'{os.cpu_count()} processors; {args.rounds} rounds; rig: {args.rig}; load at the start {os.getloadavg()[0]:.1f}')
    judge = Judge()
    for kind, cases in (('plain', ('kept16', 'kept1', 'each1', 'each20', 'large')), ('near', ()), ('far', ('far',)),
                        ('tls', ('tls',))):
        cases = [c for c in cases if c in only]
        if not cases and not ('memory' in only and kind == 'plain') and 'latency' not in only:
            continue
        world.begin(kind)
        if 'memory' in only and kind == 'plain':
            memory(world, judge, ours)
        speed(world, cases, judge, ours, postfix)
        if 'latency' in only:
            latency(world, kind, judge, ours, postfix)
        world.end()
    table('targets', ('', 'measured', 'target', ''), judge.rows)
    return 1 if any(r[3] == 'MISSED' for r in judge.rows) else 0


if __name__ == '__main__':
    sys.exit(main())
