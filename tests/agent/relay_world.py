"""The world of the role relay, in a user, network and mount namespace: the role by relay_rig, relays
that do as a test says, names, certificates, a way that is long.

    again_in_namespace()  runs the script once more in namespaces of its own
    Rig(...)              the role: say(), wait for results and states
    Relay(...)            a relay by Python's ssl and sockets: its options are its faults
    sink(...)             Debian's smtp-sink (Postfix)
    Names(...)            a name server over UDP
    Way(...)              TCP to a port, each direction late by so much
    certificates(folder)  a CA, and certificates of it: good, expired, another name, a client's
"""
import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import os
import queue
import re
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time

HOST = 'relay.example.org'
LONG = 60                      # seconds, for what surely comes: on a busy machine it takes its time
opened = []  # what a test leaves behind: clear() ends it


def clear():
    while opened:
        x = opened.pop()
        try:
            x.kill() if isinstance(x, subprocess.Popen) else x.close()
        except OSError:
            pass


def again_in_namespace():
    if os.environ.get('RELAY_INSIDE'):
        subprocess.run(['ip', 'link', 'set', 'lo', 'up'], check=True)
        return
    os.environ['RELAY_INSIDE'] = '1'
    os.execvp('unshare', ['unshare', '-Urnm', sys.executable, *sys.argv])


def hosts(folder, *lines):
    """What /etc/hosts says here, from now on."""
    path = os.path.join(folder, 'hosts')
    fresh = not os.path.exists(path)
    with open(path, 'w') as f:
        f.write('127.0.0.1 localhost\n' + ''.join(x + '\n' for x in lines))
    if fresh:
        subprocess.run(['mount', '--bind', path, '/etc/hosts'], check=True)


def certificates(folder, rsa=False):
    """good.pem, expired.pem, other.pem (another name), client.pem, each with its key; ca.pem; and
    stranger.pem, of a CA that nobody knows. rsa: and the first two as rsa.pem and rsa-expired.pem."""
    def openssl(*args):
        subprocess.run(['openssl', *args], check=True, capture_output=True, cwd=folder)

    def write(name, text):
        with open(os.path.join(folder, name), 'w') as f:
            f.write(text)

    write('ca.cnf', '[ca]\ndefault_ca=c\n[c]\ndatabase=index\nserial=serial\nnew_certs_dir=.\n'
          'default_md=sha256\npolicy=p\nunique_subject=no\ncopy_extensions=copy\n'
          '[p]\ncommonName=supplied\n')
    write('index', '')
    write('serial', '01\n')
    new = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']
    for ca in 'ca', 'stranger-ca':
        openssl('req', '-x509', *new, '-keyout', ca + '.key', '-out', ca + '.pem', '-subj', f'/CN={ca}',
                '-days', '30')
    now, past = ('20200101000000Z', '20490101000000Z'), ('20200101000000Z', '20210101000000Z')
    rows = [('good', f'DNS:{HOST}', 'ca', now), ('expired', f'DNS:{HOST}', 'ca', past),
            ('other', 'DNS:mx.example.net', 'ca', now), ('client', 'DNS:web.example.org', 'ca', now),
            ('stranger', f'DNS:{HOST}', 'stranger-ca', now)]
    if rsa:
        rows += [('rsa', f'DNS:{HOST}', 'ca', now), ('rsa-expired', f'DNS:{HOST}', 'ca', past)]
    for name, san, ca, dates in rows:
        if name.startswith('rsa'):
            new = ['-newkey', 'rsa:2048', '-nodes']
        openssl('req', *new, '-keyout', name + '.key', '-out', name + '.csr', '-subj', f'/CN={name}',
                '-addext', f'subjectAltName={san}')
        openssl('ca', '-batch', '-config', 'ca.cnf', '-cert', ca + '.pem', '-keyfile', ca + '.key', '-in',
                name + '.csr', '-out', name + '.crt', '-notext', '-startdate', dates[0], '-enddate',
                dates[1])
        with open(os.path.join(folder, name + '.pem'), 'w') as out:
            for part in '.crt', '.key':
                with open(os.path.join(folder, name + part)) as f:
                    out.write(f.read())


def policy(folder, *relays, applications='', name='p.yaml'):
    """A policy with those relays, each (name, text of its keys)."""
    text = 'mailreeve: 1\nname: t\ncontact: postmaster@example.org\nrelays:\n'
    for n, keys in relays:
        text += f'  {n}:\n    class: device\n    accepts: {{recipients: any}}\n'
        if 'ranges:' not in keys:
            text += '    ranges: [127.0.0.0/8, "::1"]\n'
        if 'host:' not in keys:
            text += f'    host: {HOST}\n'
        text += ''.join(f'    {line}\n' for line in keys.strip().split('\n'))
    text += (f'submission:\n  listen: [127.0.0.1]\n  user: mailreeve\n  routes: [{{to: any, via: '
             f'{relays[0][0]}}}]\n  unregistered: {{via: {relays[0][0]}}}\n{applications}')
    path = os.path.join(folder, name)
    with open(path, 'w') as f:
        f.write(text)
    return path


class Rig:
    def __init__(self, rig, folder, *options):
        self.folder = folder
        self.p = subprocess.Popen([rig, '--ca', folder, *options], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1)
        self.lines = queue.Queue()
        self.kept = []
        self.states = []
        self.log = []
        opened.append(self.p)
        threading.Thread(target=self._read, daemon=True).start()
        threading.Thread(target=self._log, daemon=True).start()

    def _read(self):
        for line in self.p.stdout:
            self.lines.put(json.loads(line))
        self.lines.put(None)

    def _log(self):
        for line in self.p.stderr:
            self.log.append(line)

    def say(self, *words):
        self.p.stdin.write('\t'.join(str(w) for w in words) + '\n')
        self.p.stdin.flush()

    def wait(self, seconds=LONG, **want):
        """The next thing told with these values; others are kept."""
        def fits(x):
            return all(x.get(k) == v for k, v in want.items())

        for i, x in enumerate(self.kept):
            if fits(x):
                return self.kept.pop(i)
        end = time.monotonic() + seconds
        while True:
            try:
                x = self.lines.get(timeout=max(0, end - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f'{want} did not come; kept {self.kept}; log {self.log}') from None
            if x is None:
                raise AssertionError(f'the role ended; {self.kept}; {"".join(self.log)}')
            if x['is'] == 'state':
                self.states.append(x)
            if fits(x):
                return x
            self.kept.append(x)

    def policy(self, path, host='web.example.org'):
        self.say('policy', path, host)
        return self.wait(**{'is': 'taken', 'id': 1})

    def credential(self, name, text):
        path = '-'
        if text is not None:
            path = os.path.join(self.folder, 'credential')
            with open(path, 'w') as f:
                f.write(text)
        self.say('credential', name, path)
        return self.wait(**{'is': 'taken', 'id': 2})

    def send(self, claim, *rcpt, relay='r', sender='a@example.org', content=None, flags='-', app='-'):
        if content is None:
            content = b'From: a@example.org\r\nSubject: x\r\n\r\nHello\r\n.a dot\r\n'
        path = os.path.join(self.folder, f'm{claim}.eml')
        with open(path, 'wb') as f:
            f.write(content)
        self.say('send', claim, relay, sender, path, flags, app, *(rcpt or ('b@example.com',)))

    def result(self, claim, seconds=LONG):
        return self.wait(seconds, **{'is': 'result', 'claim': claim})

    def sent(self, claim, *rcpt, **how):
        self.send(claim, *rcpt, **how)
        return self.result(claim)

    def state(self, seconds=LONG, **want):
        for x in reversed(self.states):
            if all(x.get(k) == v for k, v in want.items()):
                return x
        return self.wait(seconds, **{'is': 'state', **want})

    def end(self):
        """Closes the channels and gives how the role ended."""
        self.p.stdin.close()
        try:
            x = self.wait(**{'is': 'exit'})
        finally:
            self.p.wait(LONG)
        return x['status'], x['signal']


class Gone(Exception):
    pass


class Relay:
    """A relay. Options:
    tls: 'implicit', 'starttls', None; cert: file; least: ssl.TLSVersion; client_ca: file
    greeting, caps (a list), users ({name: password}), mechanisms ('PLAIN LOGIN CRAM-MD5')
    reply: {verb: bytes or function(session, line) -> bytes or None}; verbs in upper case, '.' the
    end of data. None: as usual."""

    def __init__(self, port, tls=None, cert=None, least=None, greeting=b'220 relay ESMTP\r\n',
                 caps=('PIPELINING', '8BITMIME', 'SIZE 30000000', 'ENHANCEDSTATUSCODES'), users=None,
                 mechanisms='PLAIN LOGIN CRAM-MD5', reply=None, client_ca=None, auth_early=False,
                 address='127.0.0.1'):
        self.tls, self.greeting, self.caps, self.users = tls, greeting, list(caps), users
        self.mechanisms, self.reply, self.auth_early = mechanisms, reply or {}, auth_early
        self.messages, self.said, self.sessions, self.peers = [], [], 0, []
        self.now = self.most = 0
        self.context = None
        if tls:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(cert)
            if least:
                self.context.maximum_version = least
            if client_ca:
                self.context.load_verify_locations(client_ca)
                self.context.verify_mode = ssl.CERT_REQUIRED
        self.lock = threading.Lock()
        self.talking = set()
        self.s = socket.socket(socket.AF_INET6 if ':' in address else socket.AF_INET)
        self.s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.s.bind((address, port))
        self.s.listen(100)
        opened.append(self)
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self.s.shutdown(socket.SHUT_RDWR)
        self.s.close()

    def hang_up(self):
        """Closes, and ends the sessions that are open."""
        self.close()
        with self.lock:
            for c in self.talking:
                with contextlib.suppress(OSError):
                    socket.socket(fileno=os.dup(c)).shutdown(socket.SHUT_RDWR)

    def _accept(self):
        while True:
            try:
                c, _ = self.s.accept()
            except OSError:
                return
            with self.lock:
                self.sessions += 1
                self.now += 1
                self.talking.add(c.fileno())
                self.most = max(self.most, self.now)
            threading.Thread(target=self._serve, args=(c, c.fileno()), daemon=True).start()

    def _serve(self, c, number):
        try:
            Session(self, c).run()
        except (OSError, Gone):
            pass
        finally:
            with self.lock:
                self.now -= 1
                self.talking.discard(number)
            try:
                c.close()
            except OSError:
                pass


class Session:
    def __init__(self, relay, c):
        self.r, self.c, self.raw, self.secure, self.user = relay, c, b'', False, None
        self.mail, self.rcpt = None, []

    def secured(self):
        try:
            self.c = self.r.context.wrap_socket(self.c, server_side=True)
        except (ssl.SSLError, OSError) as e:
            self.r.said.append(f'TLS failed {e}')
            raise Gone from e
        peer = self.c.getpeercert()
        self.r.peers.append(peer)
        self.secure = True
        self.raw = b''

    def put(self, b):
        self.c.sendall(b)

    def line(self):
        while b'\r\n' not in self.raw:
            b = self.c.recv(65536)
            if not b:
                raise Gone
            self.raw += b
        x, self.raw = self.raw.split(b'\r\n', 1)
        return x

    def data(self):
        raw, seen = bytearray(self.raw), 0
        while not raw.startswith(b'.\r\n') and raw.find(b'\r\n.\r\n', seen) < 0:
            seen = max(0, len(raw) - 4)
            b = self.c.recv(65536)
            if not b:
                raise Gone
            raw += b
        self.raw = bytes(raw)
        if self.raw.startswith(b'.\r\n'):
            x, self.raw = b'', self.raw[3:]
        else:
            x, self.raw = self.raw.split(b'\r\n.\r\n', 1)
            x += b'\r\n'
        return x

    def auth(self, line):
        """Whether it was proved who it is."""
        words = line.decode().split()
        kind = words[1].upper()
        first = words[2] if len(words) > 2 else None

        def ask(text):
            self.put(b'334 ' + base64.b64encode(text) + b'\r\n')
            return base64.b64decode(self.line())

        if kind == 'PLAIN':
            _, user, password = (base64.b64decode(first) if first else ask(b'')).split(b'\0')
        elif kind in ('XOAUTH2', 'OAUTHBEARER'):
            said = base64.b64decode(first).decode()
            user, token = re.search('user=([^\1]*)' if kind == 'XOAUTH2' else 'n,a=([^,]*),', said)[1], \
                re.search('\1auth=Bearer ([^\1]*)\1\1$', said)[1]
            return user, self.r.users.get(user, '\0') == token
        elif kind == 'LOGIN':
            user = base64.b64decode(first) if first else ask(b'Username:')
            password = ask(b'Password:')
        else:
            challenge = b'<1.2@relay>'
            user, mac = ask(challenge).rsplit(b' ', 1)
            key = self.r.users.get(user.decode(), '').encode()
            return user.decode(), hmac.new(key, challenge, hashlib.md5).hexdigest().encode() == mac
        return user.decode(), self.r.users.get(user.decode(), '\0').encode() == password

    def usual(self, verb, line):
        if verb in ('EHLO', 'HELO'):
            caps = list(self.r.caps)
            if self.r.tls == 'starttls' and not self.secure:
                caps.append('STARTTLS')
            if self.r.users is not None and (self.secure or not self.r.tls or self.r.auth_early):
                caps.append('AUTH ' + self.r.mechanisms)
            lines = ['relay'] + (caps if verb == 'EHLO' else [])
            return ''.join(f'250{" " if i == len(lines) - 1 else "-"}{x}\r\n'
                           for i, x in enumerate(lines)).encode()
        if verb == 'MAIL':
            self.mail, self.rcpt = line.decode('utf-8', 'replace'), []
            return b'250 2.1.0 Ok\r\n'
        if verb == 'RCPT':
            self.rcpt.append(line.decode('utf-8', 'replace'))
            return b'250 2.1.5 Ok\r\n'
        if verb == '.':
            return b'250 2.0.0 taken\r\n'
        if verb in ('RSET', 'NOOP'):
            return b'250 2.0.0 Ok\r\n'
        return b'500 5.5.1 what?\r\n'

    def run(self):
        if self.r.tls == 'implicit':
            self.secured()
        self.put(self.r.greeting)
        if self.r.greeting[:1] != b'2':
            return
        while True:
            line = self.line()
            verb = line.split(b' ')[0].split(b':')[0].decode('latin1').upper()
            self.r.said.append((verb, self.secure))
            hook = self.r.reply.get(verb)
            out = hook(self, line) if callable(hook) else hook
            if out is not None:
                self.put(out)
                if out[:1] in (b'4', b'5') or verb not in ('DATA', 'QUIT', 'STARTTLS'):
                    continue
            if verb == 'STARTTLS':
                if out is None:
                    self.put(b'220 2.0.0 go on\r\n')
                self.secured()
            elif verb == 'AUTH':
                self.user, ok = self.auth(line)
                self.put(b'235 2.7.0 welcome\r\n' if ok else b'535 5.7.8 no such user or password\r\n')
            elif verb == 'DATA':
                if not self.rcpt:
                    self.put(b'554 5.5.1 no valid recipients\r\n')
                    continue
                self.put(b'354 go on\r\n')
                content = self.data()
                self.r.said.append(('.', self.secure))
                hook = self.r.reply.get('.')
                out = hook(self, content) if callable(hook) else hook
                out = out or self.usual('.', b'')
                if out[:1] == b'2':
                    with self.r.lock:
                        self.r.messages.append({'mail': self.mail, 'rcpt': self.rcpt, 'content': content,
                                                'user': self.user, 'secure': self.secure})
                self.put(out)
                self.rcpt = []
            elif verb == 'QUIT':
                self.put(b'221 2.0.0 bye\r\n')
                return
            elif out is None:
                self.put(self.usual(verb, line))


def sink(port, *options, folder=None):
    """Postfix's own; it refuses to run as root, even as the root of a namespace."""
    dump = ['-d', os.path.join(folder, 'sink.')] if folder else []
    p = subprocess.Popen(['unshare', '-U', '--map-user=1000', 'smtp-sink', *options, *dump,
                          f'127.0.0.1:{port}', '500'], stdout=subprocess.DEVNULL,
                         stderr=subprocess.PIPE)
    opened.append(p)
    end = time.monotonic() + LONG
    while time.monotonic() < end and p.poll() is None:
        try:
            socket.create_connection(('127.0.0.1', port), LONG).close()
            return p
        except OSError:
            time.sleep(0.05)
    p.kill()
    raise AssertionError(f'smtp-sink {options} does not listen: {p.stderr.read()}')


class Names:
    """UDP name server: {name: {'A': [...], 'MX': [...], 'PTR': [...]}}; a name that is not there is NXDOMAIN, one
    that is None gets no answer."""

    def __init__(self, port, table, address='127.0.0.1'):
        self.table, self.ttl = table, 5
        self.s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.s.bind((address, port))
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            q, peer = self.s.recvfrom(4096)
            at, labels = 12, []
            while q[at]:
                labels.append(q[at + 1:at + 1 + q[at]].decode())
                at += 1 + q[at]
            kind = struct.unpack('!H', q[at + 1:at + 3])[0]
            name = '.'.join(labels).lower()
            records = []
            if name in self.table and self.table[name] is None:
                continue
            for k, values in self.table.get(name, {}).items():
                for v in values:
                    if k == 'A' and kind == 1:
                        records.append((1, socket.inet_aton(v)))
                    elif k == 'AAAA' and kind == 28:
                        records.append((28, socket.inet_pton(socket.AF_INET6, v)))
                    elif k == 'PTR' and kind == 12:
                        records.append((12, b''.join(bytes([len(x)]) + x.encode() for x in v.split('.')) + b'\0'))
                    elif k == 'MX' and kind == 15:
                        host = b''.join(bytes([len(x)]) + x.encode() for x in v.split('.') if x) + b'\0'
                        records.append((15, struct.pack('!H', 10) + host))
            head = q[:2] + struct.pack('!HHHHH', 0x8180 | (0 if name in self.table else 3), 1,
                                       len(records), 0, 0)
            body = b''.join(b'\xc0\x0c' + struct.pack('!HHIH', t, 1, self.ttl, len(d)) + d for t, d in records)
            self.s.sendto(head + q[12:at + 5] + body, peer)


class Way:
    """From port `here` to port `there`, each direction late by `seconds`: what netem would do, where
    the kernel has it."""

    def __init__(self, here, there, seconds):
        self.there, self.seconds = there, seconds
        started = threading.Event()
        threading.Thread(target=lambda: asyncio.run(self._run(here, started)), daemon=True).start()
        started.wait(LONG)

    async def _run(self, here, started):
        server = await asyncio.start_server(self._one, '127.0.0.1', here, backlog=200)
        started.set()
        await server.serve_forever()

    async def _one(self, r, w):
        await asyncio.sleep(2 * self.seconds)     # the handshake of TCP takes its round trip
        r2, w2 = await asyncio.open_connection('127.0.0.1', self.there)
        await asyncio.gather(self._pipe(r, w2), self._pipe(r2, w))

    async def _pipe(self, r, w):
        loop = asyncio.get_running_loop()
        while True:
            b = await r.read(65536)
            loop.call_later(self.seconds, w.write if b else w.close, *((b,) if b else ()))
            if not b:
                return
