"""mailreeved in an empty network namespace, for tests and benchmarks.

    inside()                  runs the script once more in user, network and mount namespaces
    Agent(...)                the agent: start, ask, kill, look at what it left
    verdict(...), run_all()   counting
"""
import contextlib
import ctypes
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import traceback

SEED = int(os.environ.get('SEED', '1'))
POLICY = '''\
mailreeve: 1
name: {name}
contact: root@example.org
points:
  host:
    kind: host
    {mode}
    outbound:
      block:
        - {{name: shut, ports: [{port}], with: reject, log: true}}
      otherwise: untouched
'''
CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWNET = 0x00020000, 0x10000000, 0x40000000


def many_users():
    """Whether this machine lets us be several users."""
    return os.environ.get('PARENT_INSIDE') == 'many'


def inside():
    """Root maps many users, so that who may not control can be tried; others those that /etc/subuid grants
    them, where newuidmap is installed, or themselves."""
    if os.environ.get('PARENT_INSIDE'):
        return
    if os.geteuid() != 0:
        many = ['unshare', '-Ur', '--map-auto']
        granted = shutil.which('newuidmap') and not subprocess.run([*many, 'true'], capture_output=True).returncode
        os.environ['PARENT_INSIDE'] = 'many' if granted else 'one'
        os.execvp('unshare', [*(many if granted else ['unshare', '-Ur']), '-nm', sys.executable, *sys.argv])
    count = min(int(pathlib.Path('/proc/self/uid_map').read_text().split()[2]), 65536)
    libc = ctypes.CDLL(None, use_errno=True)
    down, up = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        if libc.unshare(CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWNS):
            os._exit(99)
        os.write(down[1], b'x')
        os.read(up[0], 1)
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
        os.environ['PARENT_INSIDE'] = 'many' if count > 1 else 'one'
        os.execvp(sys.executable, [sys.executable, *sys.argv])
    os.read(down[0], 1)
    if count == 1:
        pathlib.Path(f'/proc/{pid}/setgroups').write_text('deny')
    for what in ('uid_map', 'gid_map'):
        pathlib.Path(f'/proc/{pid}/{what}').write_text(f'0 0 {count}\n')
    os.write(up[1], b'x')
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def new_net():
    """This process, and what it starts from now on, in a network namespace of its own."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), 'unshare')
    subprocess.run(['ip', 'link', 'set', 'lo', 'up'], check=True)


def nft(*args, text=None, check=True):
    r = subprocess.run(['nft', *args], input=text, capture_output=True, text=True)
    if check and r.returncode:
        raise RuntimeError(f'nft {args}: {r.stderr}')
    return r.stdout


LONG = 60.0                    # seconds, for what surely comes: on a busy machine it takes its time


def wait_for(what, seconds=LONG, every=0.02):
    end = time.monotonic() + seconds
    while True:
        x = what()
        if x or time.monotonic() > end:
            return x
        time.sleep(every)


def children(pid):
    with contextlib.suppress(OSError):
        return [int(x) for x in pathlib.Path(f'/proc/{pid}/task/{pid}/children').read_text().split()]
    return []


def alive(pid):
    with contextlib.suppress(OSError):
        return pathlib.Path(f'/proc/{pid}/stat').read_text().rsplit(')', 1)[1].split()[0] not in 'ZX'
    return False


def proc(pid, key):
    """A line of /proc/PID/status; '' when it has gone."""
    with contextlib.suppress(OSError):
        for line in pathlib.Path(f'/proc/{pid}/status').read_text().splitlines():
            if line.startswith(key + ':'):
                return line[len(key) + 1:].strip()
    return ''


def log_group_heard():
    """Whether somebody hears the packets that are told: those of before are lost."""
    return bool(pathlib.Path('/proc/net/netfilter/nfnetlink_log').read_text().strip())


def outer_link():
    """A way out of the namespace, to 192.0.2.0/24."""
    for words in ('link add d0 type veth peer name d1', 'addr add 192.0.2.1/24 dev d0', 'link set d0 up',
                  'link set d1 up'):
        subprocess.run(['ip', *words.split()], check=True)


def knock(port, address='192.0.2.9'):
    """Tries to connect to what is refused, or is not there."""
    s = socket.socket()
    s.settimeout(0.3)
    try:
        s.connect((address, port))
    except OSError:
        pass
    s.close()


class Answer:
    def __init__(self, r):
        self.status, self.out, self.err = r.returncode, r.stdout, r.stderr

    def __repr__(self):
        return f'status {self.status}\n{self.out}{self.err}'


ALL = []


class Agent:
    def __init__(self, daemon, ctl, folder=None, options=(), env=None, port=25, run=None):
        self.daemon, self.program = daemon, ctl
        self.dir = pathlib.Path(folder or tempfile.mkdtemp(prefix='parent-'))
        self.policy = self.dir / 'policy' / 'policy.yaml'
        self.state, self.run = self.dir / 'state', pathlib.Path(run or self.dir / 'run')
        self.log = self.dir / 'log'
        self.options, self.env = list(options), dict(env or {})
        self.process = None
        ALL.append(self)
        (self.dir / 'policy').mkdir(exist_ok=True)
        if port:
            self.write(port)

    def write_text(self, outbound, inbound='otherwise: untouched'):
        self.policy.write_text('mailreeve: 1\nname: site\ncontact: root@example.org\npoints:\n  host:\n'
                               '    kind: host\n    outbound:\n      ' + outbound.replace('\n', '\n      ') +
                               '\n    inbound:\n      ' + inbound.replace('\n', '\n      ') + '\n')

    def write_large(self, n=60000):
        """A policy that takes a while to compile."""
        self.write(25)
        nets = ', '.join(f'10.{i >> 8 & 255}.{i & 255}.{i >> 16 << 5}/29' for i in range(n))
        self.policy.write_text(self.policy.read_text().replace('with: reject', f'to: [{nets}], with: reject'))

    def write(self, port, name='site', mode=''):
        """A policy that refuses this port."""
        self.policy.write_text(POLICY.format(port=port, name=name, mode=mode))

    def start(self, ready=True, prefix=(), **env):
        argv = [*prefix, self.daemon, '--policy', str(self.policy), '--state', str(self.state),
                '--run', str(self.run), *self.options]
        with open(self.log, 'a') as log:
            self.process = subprocess.Popen(argv, stderr=log, env={**os.environ, **self.env, **env})
        if ready and not wait_for(lambda: self.ready() or self.process.poll() is not None):
            raise RuntimeError('the agent does not answer: ' + self.said())
        if ready and self.process.poll() is not None:
            raise RuntimeError(f'the agent ended with {self.process.returncode}: {self.said()}')
        return self

    def told(self):
        """What status tells; {} from an agent that does not answer (yet)."""
        if not (self.run / 'control.sock').exists():
            return {}
        with contextlib.suppress(ValueError):      # it ended in the middle of a word
            return json.loads(self.ctl('status', '--json').out)
        return {}

    def ready(self):
        """Whether it has said READY=1: what is to be in force is, or will not be by itself. An agent whose boot has
        ended for now, because the one before it is dying still, answers too, but is not."""
        return self.told().get('ready', False)

    def until(self, ok, seconds=LONG):
        """Waits until status tells what is `ok`; what it told last."""
        last = {}

        def look():
            last.clear()
            last.update(self.told())
            return last and ok(last)
        wait_for(look, seconds)
        return last

    def ctl(self, *args, timeout=2 * LONG, **env):
        return Answer(subprocess.run([self.program, *args, '--run', str(self.run)],
                                     capture_output=True, text=True, timeout=timeout,
                                     env={**os.environ, 'SSH_CONNECTION': '', **env}))

    def ctl_begin(self, *args):
        return subprocess.Popen([self.program, *args, '--run', str(self.run)],
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def status(self):
        r = self.ctl('status', '--json')
        if not r.out:
            raise RuntimeError(f'no status: {r}; the agent: {self.process.poll()}, said: {self.said()[-3000:]}')
        return json.loads(r.out)

    def said(self):
        return self.log.read_text() if self.log.exists() else ''

    def kill(self, sig=signal.SIGKILL):
        """Ends it; its roles, which follow it, too. Its exit status."""
        if not self.process:
            return None
        roles = self.below()
        for pid in roles:                  # one that a test has stopped would stay
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGCONT)
        p = self.process                   # of a supervised one it is soon another
        if p.poll() is None:
            p.send_signal(sig)
        status = p.wait(LONG)
        if not wait_for(lambda: not any(alive(x) for x in roles)):
            raise RuntimeError(f'roles stay behind: {roles}')
        return status

    def stop(self):
        return self.kill(signal.SIGTERM)

    def below(self):
        """pids of the agent's children, then of theirs: some roles are of its own, others of its starter."""
        first = children(self.process.pid)
        return first + [x for c in first for x in children(c)]

    def roles(self):
        """pid of each process below the agent, by its role."""
        out = {}
        for pid in self.below():
            with contextlib.suppress(OSError):
                argv = pathlib.Path(f'/proc/{pid}/cmdline').read_bytes().split(b'\0')
                role = next((a[7:].decode() for a in argv if a.startswith(b'--role=')), None)
                # a child has its parent's words until it has its own
                if role:
                    out.setdefault(role, pid)
        return out

    def end(self):
        self.stop()
        shutil.rmtree(self.dir, ignore_errors=True)


WORD = {'smtp': 25, 'submissions': 465, 'submission': 587}


def refused_ports():
    """The ports that the output chain of the rules in the kernel takes up, as nft reads them."""
    found = re.findall(r'tcp dport (\S+) jump mail-output', nft('list', 'ruleset'))
    return {WORD.get(p) or int(p) for p in found}


# ---- the control socket without mailreevectl ----------------------------------------------------

STATUS, PLAN, APPLY, CONFIRM, ROLLBACK = 1, 2, 3, 4, 5


def text(s):
    b = s.encode()
    return struct.pack('=I', len(b)) + b + b'\0'


def request(op, flags=0, number=0, seconds=0, address='', connection=''):
    body = struct.pack('=IIQ', flags, number, seconds) + text(address) + text(connection)
    return struct.pack('=III', op, 1, len(body)) + body


def connect(agent):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.connect(str(agent.run / 'control.sock'))
    s.settimeout(LONG)
    return s


def answer(s):
    """(status, text) of what comes until the end; status None where it is closed without."""
    said = b''
    while True:
        try:
            m = s.recv(1 << 17)
        except ConnectionError:
            return None, said.decode()
        if not m:
            return None, said.decode()
        kind, _, n = struct.unpack('=III', m[:12])
        if kind == 3:
            return struct.unpack('=I', m[12:16])[0], said.decode()
        said += m[16:12 + n]


# ---- counting -------------------------------------------------------------------------------------

passed = failed = 0
KEPT = {}                      # what tests hand back: numbers are added, lists made longer


def verdict(ok, what, why=''):
    global passed, failed
    if ok:
        passed += 1
    else:
        failed += 1
        print(f'FAIL {what}: {why}', flush=True)
    return ok


def keep(what, x):
    KEPT[what] = KEPT.get(what, type(x)()) + x


def run_one(t):
    """A test in a network namespace of its own; what it started ends with it."""
    global failed
    began = time.monotonic()
    try:
        new_net()
        t()
    except Exception:
        failed += 1
        print(f'FAIL {t.__name__}\n{traceback.format_exc()}', flush=True)
    for a in ALL:
        try:
            a.kill()
        except Exception:
            failed += 1
            print(f'FAIL {t.__name__}: its end\n{traceback.format_exc()}', flush=True)
    ALL.clear()
    print(f'{t.__name__}: {time.monotonic() - began:.1f} s', flush=True)


class Apart:
    """A test in a process and a group of its own."""

    def __init__(self, t):
        self.test, self.out = t, tempfile.TemporaryFile('w+')
        self.until = time.monotonic() + MOST_SECONDS
        self.counts, told = os.pipe()
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid:
            os.close(told)
            return
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        globals().update(passed=0, failed=0)
        KEPT.clear()
        os.dup2(self.out.fileno(), 1)
        os.dup2(self.out.fileno(), 2)
        random.seed(f'{SEED} {t.__name__}')
        try:
            run_one(t)
            sys.stdout.flush()
            os.write(told, json.dumps([passed, failed, KEPT]).encode())
        finally:
            os._exit(0)

    def ended(self):
        global passed, failed
        if os.waitpid(self.pid, os.WNOHANG)[0] == 0:
            if time.monotonic() < self.until:
                return False
            os.killpg(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        said = os.read(self.counts, 1 << 20)
        os.close(self.counts)
        self.out.seek(0)
        print(self.out.read(), end='', flush=True)
        if said:
            p, f, kept = json.loads(said)
            passed, failed = passed + p, failed + f
            for what, x in kept.items():
                keep(what, x)
        else:
            failed += 1
            print(f'FAIL {self.test.__name__}: ended without a result', flush=True)
        return True


AT_ONCE = int(os.environ.get('BESIDE', '4'))
MOST_SECONDS = 200


def run_all(tests, only=(), at_once=1):
    """at_once: so many tests side by side, which share nothing; most of their time they wait."""
    random.seed(SEED)
    tests = [t for t in tests if not only or t.__name__ in only]
    running = []

    def give_up(*_):
        for r in running:
            os.killpg(r.pid, signal.SIGKILL)
        sys.exit(1)
    signal.signal(signal.SIGTERM, give_up)
    for t in tests:
        if at_once == 1 or len(tests) == 1:
            run_one(t)
            continue
        wait_for(lambda: len(running) < at_once or any(r.ended() and not running.remove(r) for r in list(running)),
                 1e9, 0.05)
        running.append(Apart(t))
    for r in running:
        wait_for(r.ended, 1e9, 0.05)
    print(f'{passed} passed, {failed} failed')
    return 1 if failed else 0
