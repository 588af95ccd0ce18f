"""The servers that mail_bench.py measures: each takes mail at a port of 127.0.0.1 and hands it to a relay.

    Way(...)        what a server is told of its relay: port, TLS
    Server          start(way), stop(), pids(), cpu(), flushes(); one subclass a program
    Sink(port)      a relay that counts
    prepare(...)    this process's mount namespace: users, names, /var/spool, a disk for each server
"""
import contextlib
import importlib.machinery
import importlib.util
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / 'agent'))
from mail_rig import MailAgent  # noqa: E402

loader = importlib.machinery.SourceFileLoader('peers_fetch', str(HERE.parent / 'peers' / 'fetch'))
peers_fetch = importlib.util.module_from_spec(importlib.util.spec_from_loader('peers_fetch', loader))
sys.dont_write_bytecode = True
loader.exec_module(peers_fetch)

USERS = ('postfix', 'postdrop', 'opensmtpd', 'opensmtpq', 'Debian-exim', 'mailreeve')
HOST = 'relay.example.org'
BIG = 20 << 20


class Way:
    def __init__(self, port, ca=None):
        self.port, self.ca = port, ca


def wait_for(what, seconds, every=0.02):
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            return False
        time.sleep(every)
    return True


def greets(port):
    try:
        with socket.create_connection(('127.0.0.1', port), 2) as s:
            return s.recv(64)[:3] == b'220'
    except OSError:
        return False


# ---- the world ----------------------------------------------------------------------------------------

def run(*argv, **kw):
    return subprocess.run([str(x) for x in argv], check=True, capture_output=True, text=True, **kw)


def bind(base, path, text):
    new = base / path.strip('/').replace('/', '_')
    new.write_text(text)
    new.chmod(0o644)
    run('mount', '--bind', new, path)


def prepare(base):
    """Users that packages would make, the relay's name, empty folders where programs insist on them."""
    passwd, group = pathlib.Path('/etc/passwd').read_text(), pathlib.Path('/etc/group').read_text()
    for i, u in enumerate(USERS):
        if not re.search(rf'^{u}:', group, re.M):
            group += f'{u}:x:{640 + i}:\n'
        if not re.search(rf'^{u}:', passwd, re.M):
            gid = re.search(rf'^{u}:[^:]*:(\d+)', group, re.M).group(1)
            passwd += f'{u}:x:{640 + i}:{gid}::/nonexistent:/usr/sbin/nologin\n'
    bind(base, '/etc/passwd', passwd)
    bind(base, '/etc/group', group)
    bind(base, '/etc/hosts', f'127.0.0.1 localhost\n::1 localhost\n127.0.0.1 {HOST}\n')
    for d in ('/run', '/var/lib', '/var/spool', '/var/mail'):
        if pathlib.Path(d).is_dir():
            run('mount', '-t', 'tmpfs', '-o', 'mode=0755', 'tmpfs', d)
    for d in ('/var/lib/opensmtpd/empty', '/var/spool/smtpd'):
        pathlib.Path(d).mkdir(parents=True)


def certificates(base):
    """relay.pem, with its key, and ca.pem."""
    new = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']
    run('openssl', 'req', '-x509', *new, '-keyout', 'ca.key', '-out', 'ca.pem', '-subj', '/CN=ca', '-days', '30',
        cwd=base)
    run('openssl', 'req', *new, '-keyout', 'relay.key', '-out', 'relay.csr', '-subj', '/CN=relay', cwd=base)
    (base / 'san').write_text(f'subjectAltName=DNS:{HOST}\n')
    run('openssl', 'x509', '-req', '-in', 'relay.csr', '-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-days',
        '30', '-extfile', 'san', '-out', 'relay.crt', cwd=base)
    (base / 'relay.pem').write_text((base / 'relay.crt').read_text() + (base / 'relay.key').read_text())


def disk(base, name, real_root):
    """A folder of its own for a server: ext4 on a loop device on tmpfs where we are root. Its device or None."""
    folder = base / name
    folder.mkdir()
    if not real_root:
        return folder, None
    image = base / (name + '.ext4')
    with open(image, 'wb') as f:
        f.truncate(1 << 30)
    run('mkfs.ext4', '-q', '-F', image)
    run('mount', '-o', 'loop', image, folder)
    device = pathlib.Path(run('findmnt', '-n', '-o', 'SOURCE', folder).stdout.strip()).name
    folder.chmod(0o755)
    return folder, device


# ---- relays ----------------------------------------------------------------------------------------------

class Sink:
    """A relay that takes all: mail_way's, or Postfix's smtp-sink (way None), whose reading of 1 MB messages
    takes more time than most servers do. .count messages came, the last at .when (monotonic seconds)."""

    def __init__(self, port, way=None):
        self.count, self.when = 0, 0.0
        self.own = way is not None
        argv = [way, 'sink', str(port)] if way else ['smtp-sink', '-c', f'127.0.0.1:{port}', '512']
        if not way and os.geteuid() == 0:
            argv[1:1] = ['-u', 'nobody']
        self.p = subprocess.Popen(argv, stdout=subprocess.PIPE)
        self.t = threading.Thread(target=self._read, daemon=True)
        self.t.start()
        if not wait_for(lambda: greets(port), 20):
            raise RuntimeError('the relay does not answer')

    def _read(self):
        while b := os.read(self.p.stdout.fileno(), 1 << 16):
            if self.own:
                count, when = b.decode().splitlines()[-1].split()
                self.count, self.when = int(count), float(when)
            elif found := re.findall(rb'mesg=(\d+)\r', b):
                self.count, self.when = int(found[-1]), time.monotonic()
                time.sleep(0.004)

    def close(self):
        self.p.kill()
        self.p.wait()
        self.t.join()
        self.p.stdout.close()


# ---- servers -----------------------------------------------------------------------------------------------

def below(pid):
    out = [pid]
    with contextlib.suppress(OSError):
        for t in os.listdir(f'/proc/{pid}/task'):
            for c in pathlib.Path(f'/proc/{pid}/task/{t}/children').read_text().split():
                out += below(int(c))
    return out


class Server:
    name, keeps, slow = '', True, False     # keeps: accepted mail is on disk; slow: fewer messages

    def __init__(self, port, folder, device, cgroup):
        self.port, self.folder, self.device, self.cgroup = port, folder, device, cgroup
        self.p = None
        self.log = open(folder.parent / (self.name.replace(' ', '-') + '.log'), 'ab')

    def popen(self, argv, env=None):
        def enter():
            os.setpgid(0, 0)
            if self.cgroup:
                (self.cgroup / 'cgroup.procs').write_text('0')
        self.p = subprocess.Popen([str(x) for x in argv], stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
                                  preexec_fn=enter, env={**os.environ, **(env or {})})

    def begin(self, way):
        raise NotImplementedError

    def start(self, way):
        self.begin(way)
        if not wait_for(lambda: greets(self.port), 60, 0.1):
            raise RuntimeError(f'{self.name} does not answer; see {self.log.name}')
        return self

    def pids(self):
        if self.cgroup:
            return [int(x) for x in (self.cgroup / 'cgroup.procs').read_text().split()]
        return below(self.p.pid) if self.p and self.p.poll() is None else []

    def stop(self):
        """All of them are ours: they are in the control group, or below what was started."""
        mine = self.pids()
        if self.p and self.p.poll() is None:
            self.p.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.p.wait(20)
        for pid in set(mine) & set(self.pids()) if self.cgroup else mine:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self.p:
            self.p.wait()

    def said(self):
        """The last lines that it wrote, but for those of each message."""
        lines = pathlib.Path(self.log.name).read_text(errors='replace').splitlines()
        return '\n'.join([x for x in lines if 'info:' not in x][-8:])

    def cpu(self):
        """Seconds of all its processes, ended ones too; None: not known."""
        if not self.cgroup:
            return None
        return int(re.search(r'usage_usec (\d+)', (self.cgroup / 'cpu.stat').read_text()).group(1)) / 1e6

    def flushes(self):
        """Flushes that its device has done: each is a sync that had to wait. None: not known."""
        if not self.device:
            return None
        return int(pathlib.Path(f'/sys/block/{self.device}/stat').read_text().split()[15])

    def memory(self):
        """(proportional, private) KiB of all its processes."""
        pss = private = 0
        for pid in self.pids():
            with contextlib.suppress(OSError):
                text = pathlib.Path(f'/proc/{pid}/smaps_rollup').read_text()
                pss += int(re.search(r'^Pss:\s*(\d+)', text, re.M).group(1))
                private += sum(int(x) for x in re.findall(r'^Private_(?:Clean|Dirty):\s*(\d+)', text, re.M))
        return pss, private


class Postfix(Server):
    name = 'Postfix'
    SERVICES = '''\
127.0.0.1:{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
'''

    def begin(self, way):
        conf = self.folder.parent / 'postfix.conf'
        conf.mkdir(exist_ok=True)
        for d in ('queue', 'data'):
            (self.folder / d).mkdir(exist_ok=True)
        shutil.chown(self.folder / 'data', 'postfix')
        (conf / 'master.cf').write_text(self.SERVICES.format(port=self.port))
        (conf / 'main.cf').write_text(f'''\
compatibility_level = 3.6
queue_directory = {self.folder}/queue
data_directory = {self.folder}/data
daemon_directory = /usr/lib/postfix/sbin
myhostname = host.example.org
inet_protocols = ipv4
inet_interfaces = 127.0.0.1
mydestination =
mynetworks = 127.0.0.0/8
local_transport = error:no local mail
message_size_limit = {BIG}
smtp_host_lookup = native
relayhost = [{HOST if way.ca else '127.0.0.1'}]:{way.port}
''' + (f'''\
smtp_tls_wrappermode = yes
smtp_tls_security_level = secure
smtp_tls_secure_cert_match = {HOST}
smtp_tls_CAfile = {way.ca}
smtp_tls_mandatory_protocols = >=TLSv1.2
''' if way.ca else ''))
        run('postfix', '-c', conf, 'check')
        self.popen(['/usr/lib/postfix/sbin/master', '-c', conf, '-d'])


class Exim(Server):
    name, through, slow = 'Exim, queue', False, True

    def __init__(self, *args, program, libraries):
        super().__init__(*args)
        self.program, self.libraries = program, libraries

    def begin(self, way):
        conf = self.folder.parent / (self.folder.name + '.conf')
        for d in ('spool', 'log'):
            (self.folder / d).mkdir(exist_ok=True)
            shutil.chown(self.folder / d, 'Debian-exim', 'Debian-exim')
        conf.write_text(f'''\
exim_path = {self.program}
spool_directory = {self.folder}/spool
log_file_path = {self.folder}/log/%slog
primary_hostname = host.example.org
daemon_smtp_ports = {self.port}
local_interfaces = 127.0.0.1
acl_smtp_rcpt = rcpt
acl_smtp_data = accept
never_users =
message_size_limit = 20M
smtp_accept_max = 200
smtp_accept_queue_per_connection = 0
begin acl
rcpt:
  accept{' control = cutthrough_delivery' if self.through else ''}
begin routers
out:
  driver = manualroute
  transport = out
  self = send
  route_list = * {HOST}::{way.port} byname
begin transports
out:
  driver = smtp
''' + (f'''\
  protocol = smtps
  tls_verify_certificates = {way.ca}
  tls_verify_hosts = *
  hosts_require_tls = *
''' if way.ca else ''))
        self.popen([self.program, '-bdf', '-q1m', '-C', conf], {'LD_LIBRARY_PATH': str(self.libraries)})


class EximThrough(Exim):
    name, through, slow = 'Exim, cut-through', True, False


class OpenSMTPD(Server):
    name, slow = 'OpenSMTPD', True

    def __init__(self, *args, program, libraries):
        super().__init__(*args)
        self.program, self.libraries = program, libraries
        run('mount', '--bind', self.folder, '/var/spool/smtpd')
        pathlib.Path('/var/spool/smtpd').chmod(0o711)

    def begin(self, way):
        conf = self.folder.parent / 'smtpd.conf'
        conf.write_text((f'ca relay cert "{way.ca}"\n' if way.ca else '') + f'''\
smtp limit max-mails 1000000
smtp max-message-size 20M
listen on 127.0.0.1 port {self.port} hostname host.example.org
action out relay host {'smtps' if way.ca else 'smtp'}://{HOST}:{way.port}{' tls ca relay' if way.ca else ''}
match from any for any action out
''')
        self.popen([self.program, '-F', '-f', conf], {'LD_LIBRARY_PATH': str(self.libraries)})


class Msmtpd(Server):
    name, keeps, slow = 'msmtpd', False, True

    def __init__(self, *args, program, libraries):
        super().__init__(*args)
        self.program, self.libraries = program, libraries

    def begin(self, way):
        conf = self.folder / 'msmtprc'
        conf.write_text(f'account default\nhost {HOST}\nport {way.port}\nauth off\nfrom a@example.org\n' +
                        (f'tls on\ntls_starttls off\ntls_trust_file {way.ca}\n' if way.ca else 'tls off\n'))
        msmtp = self.program.with_name('msmtp')
        self.popen([self.program, '--interface=127.0.0.1', f'--port={self.port}',
                    f'--command={msmtp if msmtp.exists() else "msmtp"} -C {conf} -f %F --'],
                   {'LD_LIBRARY_PATH': str(self.libraries)})


class Mailreeve(Server):
    name, mode = 'mailreeve', 'spool'

    def __init__(self, *args, daemon, ctl):
        super().__init__(*args)
        self.daemon, self.ctl = daemon, ctl

    def begin(self, way):
        a = self.a = MailAgent(self.daemon, self.ctl, folder=self.folder, port=None,
                               options=['--submission-port', str(self.port)])
        for d in ('state', 'run'):
            (self.folder / d).mkdir(exist_ok=True)
            shutil.chown(self.folder / d, 'mailreeve', 'mailreeve')
        self.way = way
        self.write()
        self.popen([self.daemon, '--policy', a.policy, '--state', a.state, '--run', a.run, *a.options])
        a.process = self.p

    def start(self, way):
        # what was in force last time is in force first
        again = (self.folder / 'policy' / 'policy.yaml').exists()
        super().start(way)
        if again:
            self.in_mode(self.mode)
        return self

    def write(self):
        self.a.write_mail(self.mode)
        text = self.a.policy.read_text().replace(
            'port: 2525, tls: none', f'port: {self.way.port}, tls: {"implicit" if self.way.ca else "none"}')
        if self.way.ca:
            text = text.replace('    host: 127.0.0.1\n', f'    host: {HOST}\n    tls: {{ca: {self.way.ca}, '
                                'minimum: "1.2"}\n', 1)
        self.a.policy.write_text(text)

    def in_mode(self, mode):
        self.mode = mode
        self.write()
        r = self.a.ctl('apply')
        if r.status or not wait_for(lambda: greets(self.port), 30):
            raise RuntimeError(f'mode {mode}: {r}')
        time.sleep(0.5)
