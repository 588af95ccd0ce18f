"""The whole agent with a relay behind it, in a namespace, for tests.

    Relay(port)          takes mail as a relay would, and remembers it
    MailAgent(...)       parent_rig's agent with a policy that has a submission
    send(...)            one message through localhost:587
"""
import contextlib
import os
import pathlib
import re
import smtplib
import socket
import socketserver
import threading
import time

import parent_rig as rig
from parent_rig import LONG, Agent, wait_for

PORT = 587

POLICY = '''\
mailreeve: 1
name: site
contact: root@example.org
relays:
  smart:
    ranges: [127.0.0.1, 127.0.0.9]
    families: ipv4
    host: 127.0.0.1
    reason: a test
    auth: {auth}
    endpoints: [{{port: {port}, tls: {tls}}}]
  other:
    ranges: [127.0.0.2]
    families: ipv4
    host: 127.0.0.2
    reason: a test
    auth: none
    endpoints: [{{port: {other}, tls: none}}]
points:
  host:
    kind: host
    outbound:
      block:
        - {{name: shut, ports: [25], with: reject, log: true}}
      otherwise: untouched
kinds:
  web-application: {{limits: [{{messages: 100000, per: hour, over: defer}}]}}
submission:
  mode: {mode}
  routes:
    - {{to: ["@two.example"], via: {second}}}
    - {{to: any, via: {via}}}
  applications:
    web:
      runs-as: {{user: www-data}}
      kind: web-application
      owners: [web@example.org]
      senders: [{{envelope: web@example.org}}]
      via: {via}
  unregistered: {unregistered}
'''


class Relay:
    """What it took is in .took: (recipients, Message-ID, seconds), and in .messages: (sender, recipients,
    content without the stuffed dots). refuse: recipients that get a 550; put_off: all who have a sender get a
    451, and .tries has the times, by `clock`."""

    def __init__(self, port, host='127.0.0.1', slow=0.0):
        self.host, self.port, self.slow = host, port, slow
        self.took, self.messages, self.refuse, self.sessions = [], [], set(), 0
        self.put_off, self.tries, self.clock = False, [], time.time
        self.server = None
        self.open = set()

    def start(self):
        relay = self

        class Session(socketserver.StreamRequestHandler):
            def say(self, text):
                self.wfile.write(text.encode() + b'\r\n')

            def handle(self):
                relay.open.add(self.connection)
                relay.sessions += 1
                with contextlib.suppress(OSError):
                    self.talk()
                relay.open.discard(self.connection)

            def talk(self):
                to, sender = [], ''
                self.say('220 relay.example.org ESMTP')
                while True:
                    line = self.rfile.readline(4096)
                    if not line:
                        return
                    word = line[:4].upper()
                    if word == b'EHLO':
                        self.say('250-relay.example.org\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SIZE 10000000\r\n'
                                 '250 ENHANCEDSTATUSCODES')
                    elif word == b'MAIL':
                        to = []
                        sender = re.search(rb'<(.*?)>', line).group(1).decode()
                        self.say('250 2.1.0 ok')
                    elif word == b'RCPT':
                        address = re.search(rb'<(.*?)>', line).group(1).decode()
                        if address in relay.refuse:
                            self.say('550 5.1.1 nobody of that name here')
                        elif relay.put_off and sender:
                            relay.tries.append(relay.clock())
                            self.say('451 4.3.0 later')
                        else:
                            to.append(address)
                            self.say('250 2.1.5 ok')
                    elif word == b'DATA' and not to:
                        self.say('554 5.5.1 no recipient')
                    elif word == b'DATA':
                        self.say('354 go on')
                        content = b''
                        while True:
                            line = self.rfile.readline(4096)
                            if not line:
                                return
                            if line == b'.\r\n':
                                break
                            content += line[1:] if line[:1] == b'.' else line
                        time.sleep(relay.slow)
                        found = re.search(rb'(?mi)^message-id:\s*(\S+)', content)
                        relay.messages.append((sender, tuple(to), content))
                        relay.took.append((tuple(to), found.group(1).decode() if found else '', time.monotonic()))
                        self.say('250 2.0.0 taken')
                    elif word == b'QUIT':
                        self.say('221 2.0.0 bye')
                        return
                    else:
                        self.say('250 2.0.0 ok')

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True
            request_queue_size = 100

        self.server = Server((self.host, self.port), Session)
        threading.Thread(target=self.server.serve_forever, kwargs={'poll_interval': 0.05}, daemon=True).start()
        return self

    def stop(self):
        if self.server:
            self.server.shutdown()
            self.server.server_close()
            self.server = None
        for s in list(self.open):
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)

    def ids(self):
        return [x[1] for x in self.took]


class MailAgent(Agent):
    def __init__(self, daemon, ctl, **kw):
        kw.setdefault('options', [])
        kw['options'] = ['--host', 'host.example.org', *kw['options']]
        super().__init__(daemon, ctl, **kw)

    def write_mail(self, mode='spool', via='smart', second='other', unregistered='{{via: {via}}}', port=2525,
                   other=2526, auth='none', tls='none', extra=''):
        self.policy.write_text(POLICY.format(mode=mode, via=via, second=second,
                                             unregistered=unregistered.format(via=via), port=port,
                                             other=other, auth=auth, tls=tls) + extra)

    def mail_up(self):
        return self.status()['mail']['up']

    def begin(self):
        self.start()
        if not wait_for(lambda: self.mail_up() and can_send(), 60, 0.1):
            raise RuntimeError('no mail is taken: ' + self.said() + str(self.ctl('status')))
        return self

    def queue(self):
        return self.status()['mail'].get('queue', {}).get('messages')


def can_send():
    try:
        with smtplib.SMTP('localhost', PORT, timeout=5) as s:
            return s.noop()[0] == 250
    except (OSError, smtplib.SMTPException):
        return False


def message(ident, sender='a@example.org', to='b@example.net'):
    return (f'From: {sender}\r\nTo: {to}\r\nSubject: test\r\nMessage-ID: {ident}\r\n'
            f'Date: Sun, 22 Nov 2026 00:00:00 +0000\r\n\r\nhello\r\n')


def send(ident, sender='a@example.org', to='b@example.net', host='localhost', timeout=LONG):
    """The reply to the content: (code, text). Raises what smtplib raises."""
    to = [to] if isinstance(to, str) else to
    with smtplib.SMTP(host, PORT, timeout=timeout, local_hostname='localhost') as s:
        s.ehlo()
        code, text = s.mail(sender)
        for x in to if code == 250 else []:
            code, text = s.rcpt(x)
            if code != 250:
                break
        if code == 250:
            code, text = s.data(message(ident, sender, to[0]))
        return code, text.decode()


def as_user(uid, what):
    """What the function gives, a text, when that user calls it."""
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            os.write(w, str(what()).encode())
        except BaseException as e:
            os.write(w, repr(e).encode())
        os._exit(0)
    os.close(w)
    out = b''
    while chunk := os.read(r, 65536):
        out += chunk
    os.close(r)
    os.waitpid(pid, 0)
    return out.decode()


__all__ = ['MailAgent', 'Relay', 'as_user', 'can_send', 'message', 'pathlib', 'rig', 'send', 'wait_for']
