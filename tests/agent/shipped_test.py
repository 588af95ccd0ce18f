#!/usr/bin/env python3
"""The shipped policies carry mail: each as it is in policies/, through the whole agent, in a network of
its own that has the relays at their addresses, their names, their certificates and the policies' users.
What a function shows is named after the requirements.

    shipped_test.py MAILREEVED MAILREEVECTL POLICIES [TEST ...]     runs by itself in namespaces

Several users and units can be had by root alone; without it the parts that need them say so.
"""
import ctypes
import os
import pathlib
import queue
import re
import shutil
import smtplib
import socket
import ssl
import subprocess
import sys
import tempfile
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import attempts  # noqa: E402
import parent_rig as rig  # noqa: E402
import relay_world as world  # noqa: E402
from mail_rig import MailAgent, message  # noqa: E402
from parent_rig import verdict, wait_for  # noqa: E402

DAEMON, CTL, POLICIES = (os.path.abspath(x) for x in sys.argv[1:4])
USERS = {n: 48000 + i for i, n in enumerate(('mailreeve', 'library', 'evaluations', 'grants', 'survey', 'alice', 'mailman',
                                             'www-data', 'scans', 'nagios', 'shop', 'freezer'))}
PLACE = pathlib.Path(tempfile.mkdtemp(prefix='shipped-'))
PLACE.chmod(0o755)
NAMES = {}          # what the name server of this network says; a function changes it
groups = None
CLONE_NEWCGROUP = 0x02000000


# ---- the network ----------------------------------------------------------------------------------------

def bind(path, text):
    """That file of this machine says that, here."""
    mine = PLACE / path.strip('/').replace('/', '-')
    mine.write_text(text)
    mine.chmod(0o644)
    subprocess.run(['mount', '--bind', str(mine), path], check=True)


def certify(ca, name):
    """A file with a certificate and its key, signed by `ca`, or by itself where that is None."""
    def openssl(*args):
        subprocess.run(['openssl', *args], check=True, capture_output=True, cwd=PLACE)
    new = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', name + '.key', '-out',
           name + '.crt', '-subj', f'/CN={name}', '-addext', f'subjectAltName=DNS:{name}', '-days', '30']
    signer = ['-CA', ca + '.crt', '-CAkey', ca + '.key', '-addext', 'basicConstraints=critical,CA:FALSE'] if ca else []
    openssl('req', '-x509', *new, *signer)
    both = PLACE / (name + '.pem')
    both.write_text((PLACE / (name + '.crt')).read_text() + (PLACE / (name + '.key')).read_text())
    return str(both)


def machine():
    """What all functions share: users, one name server, one certification authority."""
    global groups
    passwd = pathlib.Path('/etc/passwd').read_text().splitlines()
    passwd = [x for x in passwd if x.split(':')[0] not in USERS]
    bind('/etc/passwd', '\n'.join(passwd + [f'{n}:x:{u}:{u}::/:/bin/false' for n, u in USERS.items()]) + '\n')
    bind('/etc/resolv.conf', 'nameserver 127.0.0.1\noptions timeout:1 attempts:1\n')
    bind('/etc/hosts', '127.0.0.1 localhost\n::1 localhost\n')
    certify(None, 'authority')
    subprocess.run(['mount', '-t', 'tmpfs', 'tmpfs', '/etc/ssl/certs'], check=True)
    root = pathlib.Path('/etc/ssl/certs/ca-certificates.crt')
    shutil.copy(PLACE / 'authority.crt', root)
    subprocess.run(['openssl', 'rehash', '/etc/ssl/certs'], check=True, capture_output=True)
    mount = attempts.cgroup_mount()
    if rig.many_users() and mount:
        # A root of our own for control groups, so that a unit stands where systemd would put it.
        groups = attempts.Groups(mount)
        (pathlib.Path(groups.make('.')) / 'cgroup.procs').write_text(str(os.getpid()))
        if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWCGROUP):
            raise OSError(ctypes.get_errno(), 'unshare')
        (PLACE / 'cgroup').mkdir()
        subprocess.run(['mount', '-t', 'cgroup2', 'cgroup2', str(PLACE / 'cgroup')], check=True)
        subprocess.run(['mount', '--move', str(PLACE / 'cgroup'), mount], check=True)


def leave():
    if groups:
        top = pathlib.Path(groups.mount)
        for unit in [*(top / 'system.slice').glob('*/'), top / 'system.slice']:
            wait_for(lambda unit=unit: removed(unit))
        subprocess.run(['umount', '-l', str(top)], check=True)
        (top / 'cgroup.procs').write_text(str(os.getpid()))
        groups.remove()


def removed(folder):
    try:
        folder.rmdir()
    except FileNotFoundError:
        pass
    except OSError:
        return False
    return True


class Far(threading.Thread):
    """The rest of the world: a network namespace of one thread's, beyond a cable."""

    def __init__(self):
        super().__init__(daemon=True)
        self.jobs, self.done = queue.Queue(), queue.Queue()
        self.start()
        self.do(rig.new_net)
        for words in (f'link add near type veth peer name far netns /proc/{os.getpid()}/task/{self.native_id}/ns/net',
                      'addr add 198.51.100.7/32 dev near', '-6 addr add 2001:db8:77::7/128 dev near nodad',
                      'link set near up', 'route add default dev near', '-6 route add default dev near'):
            ip(words)
        for words in ('link set far up', 'route add default dev far', '-6 route add default dev far'):
            self.do(ip, words)

    def run(self):
        while True:
            what, args, kw = self.jobs.get()
            try:
                self.done.put((what(*args, **kw), None))
            except BaseException as e:
                self.done.put((None, e))

    def do(self, what, *args, **kw):
        self.jobs.put((what, args, kw))
        got, wrong = self.done.get()
        if wrong:
            raise wrong
        return got

    def relay(self, port, address, **kw):
        """A relay of that world, at an address of its own."""
        self.do(ip, f'addr replace {address}/{128 if ":" in address else 32} dev far{" nodad" if ":" in address else ""}')
        return self.do(world.Relay, port, address=address, **kw)


def ip(words):
    subprocess.run(['ip', *words.split()], check=True)


def network(names):
    """The world beyond this host, and what its name server says from now on."""
    NAMES.clear()
    NAMES.update(names)
    world.Names(53, NAMES)
    return Far()


class Host(MailAgent):
    """The agent of a host with a shipped policy; `edit` changes its text."""

    def __init__(self, policy, point, edit=None, secrets=()):
        super().__init__(DAEMON, CTL, options=['--point', point, '--credentials', str(PLACE / 'credentials')], port=None)
        self.dir.chmod(0o755)
        shutil.rmtree(PLACE / 'credentials', ignore_errors=True)
        (PLACE / 'credentials').mkdir(mode=0o755)
        for name, text in secrets:
            self.secret(name, text)
        shutil.copytree(POLICIES, self.dir / 'policies')
        self.policy = self.dir / 'policies' / policy
        if edit:
            self.policy.write_text(edit(self.policy.read_text()))

    def secret(self, name, text, mode=0o600):
        path = PLACE / 'credentials' / name
        path.write_text(text)
        path.chmod(mode)
        if rig.many_users():
            os.chown(path, USERS['mailreeve'], 0)


def program(user, unit, what):
    """What the function gives, as text, in a process of that user in that unit."""
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            if unit:
                place = pathlib.Path(groups.mount) / 'system.slice' / unit
                place.mkdir(parents=True, exist_ok=True)
                (place / 'cgroup.procs').write_text('0')
            if user:
                os.setgroups([])
                os.setresgid(*[USERS[user]] * 3)
                os.setresuid(*[USERS[user]] * 3)
            os.write(w, str(what()).encode())
        except BaseException as e:
            os.write(w, repr(e).encode())
        os._exit(0)
    os.close(w)
    with os.fdopen(r) as f:
        said = f.read()
    os.waitpid(pid, 0)
    return said


def post(ident, sender, to, header=None, where=('localhost', 587), size=0, more=''):
    """One message; the last reply as "550 5.7.1 words"."""
    to = [to] if isinstance(to, str) else to
    with smtplib.SMTP(*where, timeout=60, local_hostname='localhost') as s:
        s.ehlo()
        code, text = s.mail(sender, [f'SIZE={size}'] if size else [])
        for x in to if code == 250 else []:
            code, text = s.rcpt(x)
            if code != 250:
                break
        if code == 250:
            code, text = s.data(message(f'<{ident}@test>', header or sender, to[0]) + more)
        return f'{code} {text.decode()}'


def sent(user, unit, *args, **kw):
    return program(user, unit, lambda: post(*args, **kw))


def came(relay, ident, seconds=60):
    """The message as the relay took it, after a while."""
    def found():
        return next((m for m in relay.messages if f'<{ident}@test>'.encode() in m['content']), None)
    return wait_for(found, seconds, 0.05)


def several():
    if not groups:
        print('one user, no units: not tried here')
    return groups is not None


def said_auth(relay):
    return any(x[0] == 'AUTH' for x in relay.said)


# ---- Columbia -------------------------------------------------------------------------------------------

MX, SER = '192.0.2.33', '205.220.188.9'
FOR_COLUMBIA = {'mx.columbia.edu': {'A': [MX]}, 'authnz.proofpoint.com': {'A': [SER]}}
PASSWORD = 'user: course-mail\npassword: made for software\n'


def columbia(**relay):
    """The agent, [mx], and SER at its three ports."""
    far = network(FOR_COLUMBIA)
    cert = certify('authority', 'authnz.proofpoint.com')
    mx = far.relay(25, MX, users={'course-mail': 'x'})     # offers AUTH, which is not for us
    ser = {port: far.relay(port, SER, tls='implicit' if port == 465 else 'starttls', cert=cert,
                             users={'course-mail': 'made for software'}, **relay) for port in (587, 465, 25)}
    return Host('columbia-v3.yaml', 'linux-host', secrets=[('ser', PASSWORD)]), mx, ser


def COL_05_06_21_22_anybody_reaches_columbias_own_domains_by_localhost():
    a, mx, ser = columbia()
    a.begin()
    for host in '127.0.0.1', '::1':
        said = post(f'own{len(host)}', 'printer@columbia.edu', 'x@COLUMBIA.EDU', where=(host, 587))
        verdict(said.startswith('250'), f'COL-05: at {host}', said)
        verdict(came(mx, f'own{len(host)}'), 'and it comes to [mx]', a.said())
    verdict(not said_auth(mx) and not mx.messages[0]['secure'], 'COL-21: without a password, though one is asked', mx.said)
    for ours in '198.51.100.7', '2001:db8:77::7':
        with socket.socket(socket.AF_INET6 if ':' in ours else socket.AF_INET) as s:
            verdict(s.connect_ex((ours, 587)) != 0, f'COL-06: nobody listens at {ours}')
    for to in ('x@columbia.edu.evil', 'x@notcolumbia.edu', 'x@cs.columbia.edu', '"x@columbia.edu"@example.com', 'x@example.com'):
        said = post('no', 'printer@columbia.edu', to)
        verdict(said.startswith('55') and 'CUIT' in said, f'COL-22, COL-25: {to}, with whom to ask', said)
    verdict(post('yes', 'printer@columbia.edu', '"x@example.com"@columbia.edu').startswith('250'), 'COL-22: quoted')
    verdict(came(mx, 'yes') and not any(r.messages for r in ser.values()), 'all by [mx]', a.said())
    a.end()


def COL_25_26_29_30_32_35_applications_are_held_to_their_registration():
    if not several():
        return
    a, mx, ser = columbia()
    a.begin()
    said = sent('library', None, 'out', 'notices@columbia.edu', 'x@example.com')
    verdict(said.startswith('250') and came(mx, 'out'), 'COL-25: outside, by arrangement', said)
    evaluations = ('evaluations', 'evaluations.service')
    said = sent(*evaluations, 'both', 'bounces@columbia.edu', ['x@columbia.edu', 'y@example.com'], 'evaluations@columbia.edu')
    one, two = came(mx, 'both'), came(ser[587], 'both')
    verdict(said.startswith('250') and one and two, 'COL-26: split over two relays', (said, a.said()))
    verdict(one and two and [len(x['rcpt']) for x in (one, two)] == [1, 1] and 'x@columbia.edu' in one['rcpt'][0] and
            'y@example.com' in two['rcpt'][0], 'each its recipient', (one, two))
    verdict(two and two['secure'] and two['user'] == 'course-mail', 'COL-27: SER by password, after TLS', two)
    verdict(wait_for(lambda: a.queue() == 0, 60, 0.1), 'nothing is left', a.status())
    ident = re.search(r'queued as (\w+)', said)
    said = a.ctl('trace', ident[1]).out if ident else said
    verdict(re.search(r'delivered to <y@example.com>, relay ser at \S+, TLSv1.3 TLS_\w+: 250 2.0.0 taken', said),
            'COL-35: what SER said, and how it was protected, is kept here', said)
    for what, envelope, header in (('the header of another', 'evaluations@columbia.edu', 'president@columbia.edu'),
                                   ('a pair that is none', 'bounces@columbia.edu', 'bounces@columbia.edu'),
                                   ('the envelope of another', 'president@columbia.edu', None)):
        said = sent(*evaluations, 'no', envelope, 'x@example.com', header)
        verdict(said.startswith('550 5.7.1'), f'COL-29: {what}', said)
    said = sent('evaluations', None, 'no', 'evaluations@columbia.edu', 'x@example.com')
    verdict(said.startswith('55'), 'the user alone, outside its unit, is not the application', said)
    for size, code in ((4999999, '250'), (5000000, '552')):
        said = sent(*evaluations, f'size{size}', 'evaluations@columbia.edu', 'x@example.com', size=size)
        verdict(said.startswith(code), f'COL-30: SIZE={size}', said)
    said = sent(*evaluations, 'large', 'evaluations@columbia.edu', 'x@example.com', more=('x' * 78 + '\r\n') * 62500)
    verdict(said.startswith('552'), 'COL-30: 5 MB, counted', said)
    for user, why in (('grants', 'suspended'), ('survey', 'pending')):
        said = sent(user, None, 'no', f'{user}@columbia.edu', 'x@columbia.edu')
        verdict(said.startswith('550') and why in said, f'COL-32, COL-34: {why}', said)
    a.end()


def COL_15_16_27_ports_are_tried_in_their_order():
    if not several():
        return
    a, mx, ser = columbia()
    a.begin()
    for port in 587, 465, 25:
        said = sent('evaluations', 'evaluations.service', f'by{port}', 'evaluations@columbia.edu', 'x@example.com')

        def there():
            a.ctl('queue', 'flush')
            return came(ser[port], f'by{port}', 2)
        got = said.startswith('250') and wait_for(there, 60)
        verdict(got and got['secure'] and got['user'], f'by port {port}', (said, a.ctl('queue', 'list'), a.said()))
        ser[port].hang_up()
    a.end()


def COL_28_an_old_TLS_is_refused_and_nothing_goes_in_the_clear():
    if not several():
        return
    a, mx, ser = columbia(least=ssl.TLSVersion.TLSv1_1)
    a.begin()
    said = sent('evaluations', 'evaluations.service', 'old', 'evaluations@columbia.edu', 'x@example.com')
    verdict(said.startswith('250'), 'kept', said)
    row = wait_for(lambda: re.search(r'.*(?:TLS|protocol).*', a.ctl('queue', 'list').out), 60, 0.2)
    verdict(row, 'the cause stands beside it', a.ctl('queue', 'list'))
    verdict(not any(r.messages or said_auth(r) for r in ser.values()), 'neither the message nor the password left')
    a.end()


def COL_11_12_13_a_password_that_others_can_read_is_not_used():
    if not several():
        return
    a, mx, ser = columbia()
    a.secret('ser', PASSWORD, 0o644)
    a.begin()
    said = sent('evaluations', 'evaluations.service', 'open', 'evaluations@columbia.edu', 'x@example.com')
    r = a.ctl('status')
    verdict(r.status == 1 and 'ser' in r.out and re.search('readable|mode|0644|0600', r.out), 'status names it', (said, r))
    verdict(not any(x.messages for x in ser.values()), 'and nothing was sent with it')
    verdict('made for software' not in a.said() + r.out, 'nor is it told')
    a.secret('ser', PASSWORD)
    verdict(a.ctl('apply').status == 0, 'mended, and applied')

    def there():
        a.ctl('queue', 'flush')
        return came(ser[587], 'open', 2)
    verdict(said[:1] == '4' or wait_for(there, 60), 'what waited goes', (said, a.said()))
    a.end()


# ---- Cambridge ------------------------------------------------------------------------------------------

PPSW = '131.111.8.136'
FOR_CAMBRIDGE = {'ppsw.cam.ac.uk': {'A': [PPSW]}, 'example.net': {'A': ['192.0.2.9']}, 'host.inst.cam.ac.uk': {'A': ['192.0.2.9']},
                 'inst.cam.ac.uk': {'MX': ['mx.cam.ac.uk']}, 'lists.inst.cam.ac.uk': {'MX': ['mx.cam.ac.uk']},
                 'example.com': {'MX': ['mx.example.com']}, 'cam.ac.uk': {'MX': ['mx.cam.ac.uk']}}


def cambridge():
    far = network(FOR_CAMBRIDGE)
    return Host('cambridge-host.yaml', 'server'), far.relay(25, PPSW, users={'a': 'b'}), far


def CAM_09_11_16_17_18_19_a_host_of_the_university():
    a, ppsw, far = cambridge()
    a.begin()
    said = post('first', 'alice@example.net', 'x@example.com')
    got = came(ppsw, 'first')
    verdict(said.startswith('250') and got and not got['secure'] and not said_auth(ppsw),
            'CAM-09: to the smart host, port 25, without TLS or a password', (said, a.said()))
    for sender, to in (('alice..b@example.net', 'x@example.com'), ('alice@example.net', 'x@@example.com'), ('alice@', 'x@example.com')):
        said = post('no', sender, to)
        verdict(re.match('50[13] 5|553 5', said), f'CAM-16: {sender} to {to}', said)
    said = post('no', 'alice@nowhere.example', 'x@example.com')
    verdict(said.startswith('5') and 'nowhere.example' in said, 'CAM-17: a sender that no report would reach', said)
    said = post('no', 'root@host.inst.cam.ac.uk', 'x@example.com')
    verdict(said.startswith('5') and 'MX' in said, 'CAM-18: the name of a machine', said)
    NAMES['silent.example'] = None
    said = post('no', 'alice@silent.example', 'x@example.com')
    verdict(said.startswith('4'), 'a name server that is silent is no refusal', said)
    for size, code in ((100000000, '250'), (100000001, '552')):
        said = post(f'size{size}', 'alice@example.net', 'x@example.com', size=size)
        verdict(said.startswith(code), f'CAM-19: SIZE={size}', said)
    verdict(wait_for(lambda: a.queue() == 0, 60, 0.1), 'all delivered', a.status())
    # The smart host's addresses change; one outside the ranges is somebody else's.
    NAMES['ppsw.cam.ac.uk'] = {'A': ['192.0.2.66']}
    ppsw.hang_up()
    stranger = far.relay(25, '192.0.2.66')
    verdict(wait_for(lambda: post('moved', 'alice@example.net', 'x@example.com').startswith('250') and
                     '192.0.2.66' in a.ctl('queue', 'list').out, 60, 1), 'CAM-11: an address outside the ranges is told',
            (a.ctl('queue', 'list'), a.said()))
    verdict(not stranger.messages and '192.0.2.66' in a.ctl('status').out, 'not used, and an alarm', a.ctl('status'))
    there = far.relay(25, '131.111.8.140')
    NAMES['ppsw.cam.ac.uk'] = {'A': ['131.111.8.140']}

    def moved():
        a.ctl('queue', 'flush')
        return came(there, 'moved', 1)
    verdict(wait_for(moved, 60), 'CAM-11: another inside them is, with no reload', (a.ctl('queue', 'list'), a.said()))
    a.end()


def CAM_04_12_13_programs_that_know_port_25_only_are_led_to_the_forwarder():
    if not several():
        return
    a, ppsw, far = cambridge()
    a.begin()
    said = sent('alice', None, 'captured', 'alice@example.net', 'x@example.com', where=('131.111.8.136', 25))
    verdict(said.startswith('250') and came(ppsw, 'captured'), 'CAM-04: port 25 of the smart host itself', said)
    said = sent('www-data', 'apache2.service', 'no', 'alice@inst.cam.ac.uk', 'x@example.com', where=('131.111.8.136', 25))
    verdict(said.startswith('550'), 'and held to its registration there', said)
    for user, unit, sender in (('www-data', 'apache2.service', 'helpdesk@inst.cam.ac.uk'),
                               ('mailman', 'mailman.service', 'fellows@lists.inst.cam.ac.uk'),
                               ('scans', None, 'scans@inst.cam.ac.uk')):
        said = sent(user, unit, f'four-{user}', sender, 'x@example.com')
        verdict(said.startswith('250') and came(ppsw, f'four-{user}'), f'CAM-12: {user}', said)
    said = program(None, 'cron.service', lambda: post('cron', 'root@server', 'root-mail@inst.cam.ac.uk'))
    got = came(ppsw, 'cron')
    verdict(said.startswith('250') and got and 'nightly@inst.cam.ac.uk' in got['mail'] and b'root@server' not in
            got['content'].split(b'\r\n\r\n')[0], 'CAM-12, CAM-18: cron, rewritten', (said, got))
    for i in range(60):
        said = post(f'many{i}', 'alice@example.net', 'x@example.com')
        if not said.startswith('250'):
            break
    verdict(said.startswith('250'), 'CAM-13: the 61st of an hour is no refusal', said)
    verdict(re.search(r'warning.*60 messages', a.said()), 'but a warning', a.said()[-3000:])
    a.end()


# ---- Cornell --------------------------------------------------------------------------------------------

APPSMTP = '192.0.2.65'
HOST = 'points:\n  app-host: {kind: host, outbound: {otherwise: untouched}}\n'   # the policy itself is its router's


def cornell(portal):
    far = network({'appsmtp.example.org': {'A': [APPSMTP]}})
    cert = certify('authority', 'appsmtp.example.org')
    relay = far.relay(25, APPSMTP, tls='starttls', cert=cert)
    relay.context.verify_mode = ssl.CERT_OPTIONAL
    relay.context.load_verify_locations(str(PLACE / 'authority.crt'))
    a = Host('cornell-appsmtp.yaml', 'app-host', edit=lambda t: t.replace('points:\n', HOST),
             secrets=[('web-portal', pathlib.Path(portal).read_text())])
    return a, relay


def COR_01_02_03_08_12_registered_applications_and_no_others():
    if not several():
        return
    a, relay = cornell(certify('authority', 'portal.example.org'))
    a.begin()
    said = sent('www-data', 'events.service', 'portal', 'events@cornell.edu', ['x@cornell.edu', 'y@example.com'])
    got = came(relay, 'portal')
    verdict(said.startswith('250') and got and len(got['rcpt']) == 2 and got['secure'], 'COR-01: to Cornell and the world', (said, a.said()))
    verdict(relay.peers and relay.peers[0] and 'portal.example.org' in str(relay.peers[0]), 'COR-12: known by its certificate', relay.peers)
    said = sent('nagios', None, 'alarm', 'machine-room@cornell.edu', 'x@cornell.edu')
    verdict(said.startswith('250') and came(relay, 'alarm'), 'COR-08: a monitor', said)
    verdict(not relay.peers[-1], 'and that one shows none', relay.peers)
    for user, unit, sender, header in (('alice', None, 'events@cornell.edu', None), ('www-data', None, 'events@cornell.edu', None),
                                       ('scans', None, 'scans@cornell.edu.evil', None), ('freezer', None, 'freezer@cornell.edu', None),
                                       ('shop', None, 'shop-bounces@cornell.edu', 'president@cornell.edu')):
        said = sent(user, unit, 'no', sender, 'x@cornell.edu', header)
        verdict(said.startswith('550') and 'Service Desk' in said, f'COR-02, COR-03: {user} as {header or sender}', said)
    a.end()


def COR_13_a_self_signed_certificate_is_told_before_the_relay_sees_it():
    if not several():
        return
    a, relay = cornell(certify(None, 'portal.example.org'))
    a.begin()
    sent('www-data', 'events.service', 'self', 'events@cornell.edu', 'x@cornell.edu')
    r = a.ctl('status')
    verdict(r.status == 1 and 'web-portal' in r.out and 'self-signed' in r.out, 'named in status', r)
    verdict(not relay.messages, 'and nothing was sent with it', relay.messages)
    a.end()


if __name__ == '__main__':
    rig.inside()
    machine()
    only = sys.argv[4:]
    try:
        end = rig.run_all([f for n, f in list(globals().items()) if n.startswith(('COL_', 'CAM_', 'COR_'))], only)
    finally:
        leave()
        subprocess.run(['umount', '-l', '/etc/ssl/certs'], check=False)
        shutil.rmtree(PLACE, ignore_errors=True)
    sys.exit(end)
