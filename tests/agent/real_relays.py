#!/usr/bin/env python3
"""The whole agent before Postfix, Exim and OpenSMTPD of Debian, as relays: what comes to them comes as it was given,
and what they refuse stays, with the cause where people look. Each function is one test.

    real_relays.py MAILREEVED MAILREEVECTL CACHE OPENSMTPD_KEY.SO [TEST ...]     runs by itself in namespaces

Exim and OpenSMTPD are unpacked into CACHE, for they cannot be installed beside Postfix. Postfix and OpenSMTPD change
users: without root only Exim is tried.
"""
import contextlib
import ctypes
import email
import os
import pathlib
import re
import shutil
import signal
import smtplib
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import parent_rig as rig  # noqa: E402
import real_servers as real  # noqa: E402
import relay_world as world  # noqa: E402
from mail_rig import MailAgent, can_send  # noqa: E402
from parent_rig import verdict, wait_for  # noqa: E402

DAEMON, CTL, CACHE, KEY = (os.path.abspath(x) for x in sys.argv[1:5])
JUDGE = 10031
SECONDS = int(os.environ.get('WAIT', '60'))  # to wait at most for what is to come
KINDS = {'p': 'Postfix', 'e': 'Exim', 'o': 'OpenSMTPD'}
GOOD, NOBODY = '{password: good}', 'none'


class Ways:
    """The policy's relays and the servers' ports for them."""

    def __init__(self, top):
        self.top, self.relays, self.postfix, self.exim, self.opensmtpd, self.next = top, {}, {}, {}, {}, 10100
        self.at = {}

    def relay(self, name, port, tls, auth=GOOD, ca='ca', host='relay.example.org', more='', tls_more=''):
        self.relays[name] = f'''\
  {name}:
    ranges: [127.0.0.1]
    families: ipv4
    host: {host}
    tls: {{ca: {self.top}/{ca}.pem{tls_more}}}
    auth: {auth}
    endpoints: [{{port: {port}, tls: {tls}}}]
    {more}
'''
        return port

    def port(self):
        self.next += 1
        return self.next

    def refusals(self, kind, port, tls, expired):
        """Relays that must get nothing: by a good server at `port`, and one whose certificate is too old."""
        self.relay(f'{kind}-wrong', port, tls, auth='{password: wrong}')
        self.relay(f'{kind}-stranger', port, tls, ca='stranger-ca')
        self.relay(f'{kind}-name', port, tls, host='other.example.org')
        self.relay(f'{kind}-expired', expired, tls)

    def of_postfix(self, sasl):
        for mechanism in ('PLAIN', 'LOGIN', 'CRAM-MD5', 'SCRAM-SHA-1', 'SCRAM-SHA-256') if sasl else ():
            for tls in 'starttls', 'implicit':
                port = self.relay(f'p-{tls}-{mechanism.lower()}', self.port(), tls)
                self.postfix[port] = {'sasl': mechanism, 'wrapper': tls == 'implicit'}
        open_ = {'smtpd_sasl_auth_enable': 'no', 'mynetworks': '127.0.0.0/8',
                 'smtpd_relay_restrictions': 'permit_mynetworks, reject'}
        port = self.relay('p-clear', self.port(), 'forbidden', NOBODY)
        self.postfix[port] = {**open_, 'smtpd_tls_security_level': 'none'}
        port = self.relay('p-may', self.port(), 'none', NOBODY)
        self.postfix[port] = {**open_, 'smtpd_tls_security_level': 'may'}
        port = self.relay('p-small', self.port(), 'starttls', NOBODY)
        self.postfix[port] = {**open_, 'message_size_limit': '20000'}
        port = self.relay('p-certificate', self.port(), 'starttls', '{certificate: client}')
        self.postfix[port] = {'smtpd_sasl_auth_enable': 'no', 'smtpd_tls_CAfile': f'{self.top}/ca.pem',
                              'smtpd_tls_req_ccert': 'yes',
                              'smtpd_relay_restrictions': 'permit_tls_all_clientcerts, reject'}
        self.relay('p-no-certificate', port, 'starttls', NOBODY)
        port = self.relay('p-old', self.port(), 'starttls', NOBODY)
        aes = 'ECDHE-ECDSA-AES128-GCM-SHA256'
        self.postfix[port] = {**open_, 'smtpd_tls_mandatory_protocols': 'TLSv1.2', 'tls_high_cipherlist': aes,
                              'smtpd_tls_mandatory_ciphers': 'high'}
        self.relay('p-too-old', port, 'starttls', NOBODY, tls_more=', minimum: "1.3"')
        self.relay('p-cipher', port, 'starttls', NOBODY, tls_more=f', ciphers: [{aes}]')
        self.relay('p-other-cipher', port, 'starttls', NOBODY, tls_more=', ciphers: [ECDHE-ECDSA-CHACHA20-POLY1305]')
        port = self.relay('p-one', self.port(), 'starttls', NOBODY, more='connections: {at-most: 1}')
        self.postfix[port] = open_
        if not sasl:
            return
        expired = self.port()
        self.postfix[expired] = {'sasl': 'PLAIN',
                                 'smtpd_tls_chain_files': f'{self.top}/expired.key, {self.top}/expired.crt'}
        self.refusals('p', min(self.postfix), 'starttls', expired)

    def of_exim(self):
        for mechanism in 'PLAIN', 'LOGIN', 'CRAM-MD5':
            for tls in 'starttls', 'implicit':
                port = self.relay(f'e-{tls}-{mechanism.lower()}', self.port(), tls)
                self.exim[port] = (tls == 'implicit', mechanism)
        for name in 'small', 'certificate', 'expired':
            self.at[name] = self.port()
            self.exim[self.at[name]] = (name == 'expired', 'PLAIN')
        self.relay('e-small', self.at['small'], 'starttls')
        self.relay('e-certificate', self.at['certificate'], 'starttls', '{certificate: client}')
        self.relay('e-no-certificate', self.at['certificate'], 'starttls', NOBODY)
        port = min(self.exim)
        self.relay('e-one', port, 'starttls', more='connections: {at-most: 1}')
        self.refusals('e', port + 1, 'implicit', self.at['expired'])

    def of_opensmtpd(self):
        auth = 'auth <users>'
        start = self.relay('o-starttls-plain', self.port(), 'starttls')
        self.opensmtpd[start] = f'tls-require pki good {auth}'
        port = self.relay('o-implicit-plain', self.port(), 'implicit')
        self.opensmtpd[port] = f'smtps pki good {auth}'
        port = self.relay('o-clear', self.port(), 'forbidden', NOBODY)
        self.opensmtpd[port] = ''
        port = self.relay('o-certificate', self.port(), 'starttls', '{certificate: client}')
        self.opensmtpd[port] = 'tls-require verify pki good ca ours'
        self.relay('o-no-certificate', port, 'starttls', NOBODY)
        self.relay('o-one', start, 'starttls', more='connections: {at-most: 1}')
        expired = self.port()
        self.opensmtpd[expired] = f'tls-require pki expired {auth}'
        self.refusals('o', start, 'starttls', expired)

    def of_sink(self):
        for name in 's-eight', 's-seven':
            self.at[name] = self.relay(name, self.port(), 'forbidden', NOBODY)

    def policy(self):
        routes = ''.join(f'    - {{to: ["@{n}.example"], via: {n}}}\n' for n in self.relays)
        first = next(iter(self.relays))
        return (f'mailreeve: 1\nname: site\ncontact: root@example.org\nrelays:\n{"".join(self.relays.values())}'
                'points:\n  host:\n    kind: host\n    outbound:\n      block:\n'
                '        - {name: shut, ports: [25], with: reject}\n      otherwise: untouched\n'
                f'submission:\n  mode: spool\n  routes:\n{routes}    - {{to: any, via: {first}}}\n'
                '  unregistered: route\n')


# ---- the world -------------------------------------------------------------------------------------------------

top = ways = sink = judge = agent = None
servers = {}


def begin():
    global top, ways, sink, judge, agent
    found, _ = real.programs(CACHE, ask=False)
    rig.new_net()
    top = tempfile.mkdtemp(prefix='real-relays-')
    os.chmod(top, 0o755)
    world.certificates(top, rsa=True)
    world.hosts(top, '127.0.0.1 relay.example.org other.example.org')
    real.users(top)
    sink, judge, ways = world.Relay(real.NEXT), real.Judge(JUDGE), Ways(top)
    if rig.many_users():
        ways.of_postfix('saslpasswd2' in found)
        servers['p'] = real.Postfix(top, found, ways.postfix, JUDGE)
    if 'exim' in found:
        ways.of_exim()
        servers['e'] = real.Exim(top, found, ways.exim, **ways.at)
    if rig.many_users() and 'opensmtpd' in found:
        ways.of_opensmtpd()
        servers['o'] = real.OpenSmtpd(top, found, ways.opensmtpd, KEY)
    ways.of_sink()
    for s in servers.values():
        s.start()
    credentials = pathlib.Path(top) / 'credentials'
    credentials.mkdir()
    for name, text in (('good', f'user: {real.USER}\npassword: {real.PASSWORD}\n'),
                       ('wrong', f'user: {real.USER}\npassword: no\n'),
                       ('client', (pathlib.Path(top) / 'client.pem').read_text())):
        (credentials / name).write_text(text)
        (credentials / name).chmod(0o600)
    # as the service manager gives them
    agent = MailAgent(DAEMON, CTL, env={'CREDENTIALS_DIRECTORY': str(credentials)})
    agent.dir.chmod(0o755)
    agent.policy.write_text(ways.policy())
    agent.start()
    verdict(wait_for(lambda: agent.mail_up() and can_send(), SECONDS, 0.1), 'mail is taken', agent.said())


def end():
    for x in (agent, judge, sink):
        with contextlib.suppress(Exception):
            x.close() if x is not agent else x.end()
    for s in servers.values():
        s.stop()
    world.clear()
    if top:
        shutil.rmtree(top, ignore_errors=True)


number = 0


def content(ident, body=b'hello\r\n'):
    return (f'From: a@example.org\r\nTo: b@example.net\r\nSubject: {ident}\r\nMessage-ID: <{ident}@test>\r\n'
            f'Date: Sun, 22 Nov 2026 00:00:00 +0000\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n'
            f'Content-Transfer-Encoding: 8bit\r\nX-Folded: one\r\n\t two\r\n\r\n').encode() + body


ODD = (b'.\r\n..\r\n. one\r\n\r\nFrom here\r\n \r\ntrailing \t \r\n' + b'x' * 990 + b'\r\n' +
       'Grüße, 8 bits\r\n'.encode() + bytes(range(33, 127)) + b'\r\n.\r\n\r\n\r\n')


class Given:
    """A message given to the agent."""

    def __init__(self, relay, to='b', body=b'hello\r\n', session=None):
        global number
        number += 1
        self.relay, self.name = relay, f'm{number}-{relay}'
        self.to = [f'{x}@{relay}.example' for x in to.split()]
        self.content = content(self.name, body)
        with contextlib.ExitStack() as stack:
            s = session or stack.enter_context(smtplib.SMTP('localhost', 587, timeout=SECONDS))
            s.ehlo_or_helo_if_needed()
            s.mail('a@example.org', ['BODY=8BITMIME'])
            for x in self.to:
                s.rcpt(x)
            code, text = s.data(self.content)
        text = text.decode()
        verdict(code == 250, f'{self.name} is accepted', (code, text))
        self.id = (re.search(r'\b[0-9a-f]{16}\b', text) or [''])[0]

    def came(self):
        """What the last relay got of it."""
        return [m for m in list(sink.messages) if f'\r\nMessage-ID: <{self.name}@test>'.encode() in m['content'] and
                'FROM:<>' not in m['mail'].upper()]

    def show(self):
        return agent.ctl('queue', 'show', self.id).out

    def trace(self):
        return agent.ctl('trace', self.id).out


def unstuffed(b):
    return b'\r\n'.join(x[1:] if x.startswith(b'.') else x for x in b.split(b'\r\n'))


def arrived(g, seconds=SECONDS):
    return verdict(wait_for(g.came, seconds, 0.05), f'{g.name} arrives', (g.trace(), g.show(), agent.said()[-1500:]))


# ---- what comes ------------------------------------------------------------------------------------------------

def each_server_each_tls_each_mechanism_byte_for_byte():
    """RFC 5321 4.5.2, 3207, 8314, 4954; COL-35: TLS version and cipher are kept."""
    names = [n for n in ways.relays if '-starttls-' in n or '-implicit-' in n]
    with smtplib.SMTP('localhost', 587, timeout=SECONDS) as s:
        given = [Given(n, body=ODD, session=s) for n in names]
    for g in given:
        if not arrived(g):
            continue
        got = unstuffed(g.came()[0]['content'])
        at = got.find(b'From: a@example.org')
        verdict(got[at:] == g.content, f'{g.relay}: byte for byte', (got, g.content))
        verdict(wait_for(lambda g=g: re.search(r'delivered to .* TLSv1\.[23] (TLS_AES|ECDHE)\S*: 250', g.trace()),
                         SECONDS, 0.1), f'{g.relay}: TLS and cipher', g.trace())
    for kind, mechanisms in (('p', 'PLAIN LOGIN CRAM-MD5 SCRAM-SHA-1 SCRAM-SHA-256'), ('e', 'plain login cram')):
        for m in mechanisms.split() if f'{kind}-wrong' in ways.relays else []:
            mark = f'sasl_method={m},' if kind == 'p' else f' A={m}:u'
            verdict(servers[kind].log().count(mark) >= 2, f'{KINDS[kind]} saw {m} twice', servers[kind].log()[-3000:])


def smtp_sink_gets_the_very_bytes_or_seven_bits():
    """RFC 6152 3: it offers 8BITMIME, or does not."""
    for name, options in ('s-eight', []), ('s-seven', ['-8']):
        folder = pathlib.Path(top) / name
        folder.mkdir()
        folder.chmod(0o777)
        world.sink(ways.at[name], *options, folder=str(folder))
        g = Given(name, body=ODD)

        def got():
            said = b''.join(x.read_bytes() for x in folder.iterdir()).replace(b'\r\n', b'\n')
            return said[said.find(b'From: a@'):]

        def right():
            said, want = got(), g.content.replace(b'\r\n', b'\n')
            if options:
                if b'quoted-printable' not in said or max(said) > 127:
                    return False
                said, want = email.message_from_bytes(said).get_payload(decode=True), want.split(b'\n\n', 1)[1]
            return said.rstrip(b'\n') == want.rstrip(b'\n')
        verdict(wait_for(right, SECONDS, 0.1), f'{name}: byte for byte', (got(), g.trace()))
        verdict(wait_for(lambda g=g: 'delivered' in g.trace(), SECONDS, 0.1), f'{name}: delivered', g.trace())


# ---- what stays ------------------------------------------------------------------------------------------------

# A message that this relay must not get: it stays, and the cause is where people look.
def refused(relay, what, words, fate='held'):
    return Given(relay), what, words, fate


def see(rows):
    def one(g, what, words, fate):
        verdict(wait_for(lambda: re.search(words, g.show()), SECONDS, 0.1), f'{g.relay}: {what}: queue show',
                (g.show(), agent.said()[-800:]))
        # now and then one of those that are held tries
        verdict(wait_for(lambda: re.search(rf'^  {fate}', g.show(), re.M), SECONDS, 0.1), f'{g.relay}: {fate}', g.show())
        verdict(wait_for(lambda: re.search(words, g.trace()), SECONDS, 0.1), f'{g.relay}: trace', g.trace())
        verdict(wait_for(lambda: re.search(words, agent.said()), SECONDS, 0.1), f'{g.relay}: journal',
                agent.said()[-3000:])

    for row in rows:
        one(*row)

    def missing():
        said = agent.ctl('status').out
        return [(g.relay, said) for g, _, words, _ in rows if not re.search(f'relay +{g.relay}: .*({words})', said)]
    verdict(wait_for(lambda: not missing(), SECONDS, 0.5), 'status', missing())
    for g, *_ in rows:
        verdict(not g.came(), f'{g.relay}: nothing of it came')
        agent.ctl('queue', 'drop', g.id)


def a_wrong_password_holds():
    """RFC 4954 6: a 535 is no bounce."""
    see([refused(f'{k}-wrong', KINDS[k], r'535 ') for k in servers if f'{k}-wrong' in ways.relays])
    verdict('password: no' not in agent.said(), 'and is in no log')


def a_certificate_that_is_not_right_holds():
    """RFC 8314, 9525: untrusted, too old, of another name."""
    see([refused(f'{k}-{way}', KINDS[k], words) for k in servers if f'{k}-wrong' in ways.relays for way, words in (
        ('stranger', 'unable to get (local )?issuer'), ('expired', 'has expired'),
        ('name', 'the certificate is for relay.example.org, not other.example.org'))])


def versions_and_ciphers_are_as_the_policy_says():
    """COL-28, COL-38."""
    if 'p' not in servers:
        return
    given = [Given('p-old'), Given('p-cipher')]
    rows = [refused('p-too-old', 'TLS 1.2 where 1.3 is the least', r'TLS failed|TLS:'),
            refused('p-other-cipher', 'no cipher in common', r'handshake failure')]
    for g in given:
        if arrived(g) and wait_for(lambda g=g: 'delivered' in g.trace(), SECONDS, 0.1):
            verdict('TLSv1.2 ECDHE-ECDSA-AES128-GCM-SHA256: 250' in g.trace(), f'{g.relay}: trace', g.trace())
    see(rows)


def a_client_certificate_says_who_we_are():
    """COR-12."""
    given = [Given(f'{k}-certificate') for k in servers]
    without = [Given(f'{k}-no-certificate') for k in servers]
    for g in given:
        arrived(g)
    for g in without:
        # Postfix and OpenSMTPD end the session, Exim refuses the recipient
        verdict(wait_for(lambda g=g: re.search(r'put off for|refused for|failed', g.trace()), SECONDS, 0.1),
                f'{g.relay}: tried', g.trace())
        verdict(not g.came(), f'{g.relay}: nothing comes without it', g.trace())
        agent.ctl('queue', 'drop', g.id)


def tls_none_takes_what_there_is_and_forbidden_takes_none():
    """CAM-09, RFC 7435."""
    rows = [('p-clear', False), ('p-may', True)] if 'p' in servers else []
    rows += [('o-clear', False)] if 'o' in servers else []
    given = [(Given(n, body=ODD), secure) for n, secure in rows]
    for g, secure in given:
        if arrived(g):
            got = unstuffed(g.came()[0]['content'])
            verdict(got[got.find(b'From: a@'):] == g.content, f'{g.relay}: byte for byte', got)
            verdict(wait_for(lambda g=g: 'delivered' in g.trace(), SECONDS, 0.1) and
                    ('TLSv1' in g.trace()) == secure, f'{g.relay}: TLS', g.trace())


# ---- recipients, size, sessions ------------------------------------------------------------------------------

def later_until(rcpt):
    return '450 4.2.1 come again' if rcpt.startswith('later@') else \
        '550 5.1.1 nobody of that name here' if rcpt.startswith('nobody@') else None


WAYS = {'p': 'p-one', 'e': 'e-implicit-login', 'o': 'o-starttls-plain'}


def each_recipient_has_its_own_fate_and_4xx_becomes_2xx():
    """RFC 5321 4.2.1, 3.6.3, 3464: one is taken, one reported, one tried again."""
    judge.says = later_until
    wait = pathlib.Path(top) / 'exim' / 'later'
    if 'e' in servers:
        wait.touch()
    given = {k: Given(WAYS[k], 'b nobody later') for k in servers}
    for k, g in given.items():
        arrived(g)
        verdict(wait_for(lambda g=g: '450' in g.show() or '451' in g.show(), SECONDS, 0.1), f'{g.relay}: one waits',
                g.show())
        verdict(re.search(r'^to: <later@.*\n  pending', g.show(), re.M), f'{g.relay}: pending', g.show())
        report = wait_for(lambda g=g: [m for m in list(sink.messages) if b'report-type=delivery-status' in m['content']
                                       and f'rfc822; nobody@{g.relay}.example'.encode() in m['content']],
                          SECONDS, 0.1)
        verdict(report and b'550' in report[0]['content'] and 'FROM:<>' in report[0]['mail'].upper(),
                f'{g.relay}: a report from nobody to the sender', (report, g.trace()))
    judge.says = lambda rcpt: None
    if 'e' in servers:
        wait.unlink()
    for k, g in given.items():
        if k == 'o':               # it says so for ever
            agent.ctl('queue', 'drop', g.id)
            continue
        verdict(wait_for(lambda g=g: agent.ctl('queue', 'retry', g.id) and len(g.came()) == 2, SECONDS, 0.5),
                f'{g.relay}: the other came, too', g.trace())
        verdict(sorted(m['rcpt'][0].split('@')[0].split('<')[1] for m in g.came()) == ['b', 'later'],
                f'{g.relay}: each once', g.came())


def a_message_too_large_is_refused_before_it_is_sent():
    """RFC 1870: the relay's own SIZE; a report says so."""
    given = [Given(f'{k}-small', body=b'x' * 70 + b'\r\n' * 20000) for k in servers if k != 'o']
    for g in given:
        report = wait_for(lambda g=g: [m for m in list(sink.messages) if f'b@{g.relay}.example'.encode() in
                                       m['content'] and b'5.3.4' in m['content']], SECONDS, 0.1)
        verdict(report and b'takes no more than 20000' in report[0]['content'].replace(b'\r\n', b' '),
                f'{g.relay}: reported', (g.trace(), report))
        verdict(not g.came(), f'{g.relay}: nothing came')


def connections_are_kept_and_a_relay_that_ends_them_costs_nothing():
    """RFC 2920; Exim takes 10 messages of a connection, OpenSMTPD 10, Postfix all of them."""
    before = {k: s.log() for k, s in servers.items()}
    with smtplib.SMTP('localhost', 587, timeout=SECONDS) as s:
        given = [Given(f'{k}-one', session=s) for _ in range(35) for k in servers]
    for g in given:
        arrived(g)
        verdict(len(g.came()) == 1, f'{g.relay}: once', len(g.came()))
        verdict('put off' not in g.trace(), f'{g.name}: at the first attempt', g.trace())
    for k, (mark, most) in {'p': ('postfix/smtpd.* connect from', 2), 'e': ('SMTP connection from .*TCP/IP', 6),
                            'o': ('smtp connected', 6)}.items():
        if k in servers:
            n = len(re.findall(mark, servers[k].log()[len(before[k]):]))
            verdict(n <= most, f'{KINDS[k]}: few connections', n)


TESTS = [v for k, v in list(globals().items()) if callable(v) and getattr(v, '__module__', '') == '__main__'
         and v.__doc__ and not isinstance(v, type) and not v.__code__.co_argcount]


def main():
    if not os.environ.get('PARENT_INSIDE'):
        for why in real.programs(CACHE)[1]: # while there is a network
            print(f'not tried: {why}', flush=True)
    rig.inside()
    # who ends this, or the process that made the namespaces, ends what it started
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    ctypes.CDLL(None).prctl(1, signal.SIGTERM, 0, 0, 0) # PR_SET_PDEATHSIG
    began = time.monotonic()
    try:
        begin()
        print(f'begun: {time.monotonic() - began:.1f} s', flush=True)
        for t in TESTS:
            if sys.argv[5:] and t.__name__ not in sys.argv[5:]:
                continue
            began = time.monotonic()
            t()
            print(f'{t.__name__}: {time.monotonic() - began:.1f} s', flush=True)
    finally:
        end()
    print(f'{rig.passed} passed, {rig.failed} failed')
    sys.stdout.flush()
    os._exit(1 if rig.failed else 0)


if __name__ == '__main__':
    main()
