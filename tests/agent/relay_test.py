#!/usr/bin/env python3
"""The role relay against relays good and bad, real and scripted. Each function is one test; its
name says what it guards."""
import collections
import email
import glob
import os
import random
import re
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import relay_world as world  # noqa: E402
from relay_world import Relay, Rig, hosts, policy, sink  # noqa: E402

RIG = os.path.abspath(sys.argv[1])
ONLY = sys.argv[2:]
NAMES = None                   # the name server
PLAIN = 'endpoints: [{port: 2525, tls: forbidden}]'
START = 'endpoints: [{port: 587, tls: starttls}]'


def ca(folder):
    return f'tls: {{ca: {folder}/ca.pem}}'


def begin(folder, *keys, **how):
    rig = Rig(RIG, folder, '--servers', '127.0.0.1:5353')
    told = rig.policy(policy(folder, ('r', '\n'.join(keys)), **how))
    assert told['err'] == 0, told
    rig.wait(**{'is': 'ready'})
    return rig


def fates(result):
    return [x['fate'] for x in result['rcpt']]


def ends(rig):
    got = rig.end()
    assert got == (0, 0), (got, rig.log)


def silence():
    """198.51.100.9 and 2001:db8::9 take what is sent, and say nothing."""
    for a in '198.51.100.9/32', '2001:db8::9/128':
        subprocess.run(['ip', 'addr', 'replace', a, 'dev', 'lo', *(['nodad'] if ':' in a else [])],
                       check=True)
    subprocess.run(['nft', '-f', '-'], check=True, text=True, input='add table inet silence\n'
                   'add chain inet silence in { type filter hook input priority 0; }\n'
                   'flush chain inet silence in\n'
                   'add rule inet silence in ip daddr 198.51.100.0/24 drop\n'
                   'add rule inet silence in ip6 daddr 2001:db8::9 drop\n')


def until_delivered(rig, seconds=60):
    """Sends until one arrives."""
    end, n = time.monotonic() + seconds, 1000
    while fates(x := rig.sent(n)) != ['delivered']:
        assert time.monotonic() < end, x
        n += 1
        time.sleep(0.1)


# ---- Postfix's smtp-sink ---------------------------------------------------------------------


def smtp_sink_gets_the_very_bytes(folder):
    p = sink(2525, folder=folder)
    rig = begin(folder, PLAIN)
    content = b'Subject: x\r\n\r\n' + b'.\r\n..\r\n.a\r\n' + b'x' * 900 + b'\r\n' + b'line\r\n' * 50000 + b'.\r\n'
    x = rig.sent(1, 'b@example.com', 'c@example.com', content=content)
    assert fates(x) == ['delivered'] * 2 and x['connected'] and x['dsn'], x
    assert x['peer'] == '127.0.0.1:2525' and x['tls'] == '' and x['rcpt'][0]['code'] == 250
    got = open(glob.glob(folder + '/sink.*')[0], 'rb').read()
    assert got.count(b'X-Rcpt-Args') == 2
    assert got.rstrip(b'\n').endswith(content.replace(b'\r\n', b'\n').rstrip(b'\n'))
    ends(rig)
    p.kill()


def smtp_sink_refuses_at_each_stage(folder):
    for options, want, code in ((['-r', 'mail'], 'deferred', 450), (['-f', 'mail'], 'failed', 500),
                                (['-r', 'rcpt'], 'deferred', 450), (['-f', 'rcpt'], 'failed', 500),
                                (['-r', 'data'], 'deferred', 450), (['-f', 'data'], 'failed', 500),
                                (['-r', '.'], 'deferred', 450), (['-f', '.'], 'failed', 500),
                                (['-p', '-f', 'rcpt'], 'failed', 500),
                                (['-f', 'rcpt', '-B', '530 5.7.0 Authentication required'], 'held', 530)):
        p = sink(2525, *options)
        rig = begin(folder, PLAIN)
        x = rig.sent(1)
        assert fates(x) == [want] and x['rcpt'][0]['code'] == code and x['connected'], (options, x)
        if want == 'held':
            assert rig.state(alarm=1)
        ends(rig)
        p.kill()
        p.wait()


def smtp_sink_closes_at_each_stage(folder):
    for options, doubt in ((['-q', 'mail'], 0), (['-q', 'rcpt'], 0), (['-q', 'data'], 0),
                           (['-q', '.'], 1), (['-Q', 'mail'], 0), (['-Q', 'data'], 0),
                           (['-Q', '.'], 0)):
        p = sink(2525, *options)
        rig = begin(folder, PLAIN)
        x = rig.sent(1)
        assert fates(x) == ['deferred'] and x['doubt'] == doubt, (options, x)
        ends(rig)
        p.kill()
        p.wait()


def rfc5321_4_1_1_1_a_relay_without_esmtp_gets_helo(folder):
    p = sink(2525, '-e', folder=folder)
    rig = begin(folder, PLAIN)
    assert fates(rig.sent(1)) == ['delivered']
    assert b'X-Client-Proto: SMTP\n' in open(glob.glob(folder + '/sink.*')[0], 'rb').read()
    ends(rig)
    p.kill()


def the_relay_stops_and_comes_again(folder):
    rig = begin(folder, PLAIN)
    x = rig.sent(1)
    assert fates(x) == ['deferred'] and not x['connected'] and 'refused' in x['rcpt'][0]['text'].lower()
    assert rig.state(well=0, alarm=0)
    p = sink(2525)
    end = time.monotonic() + world.LONG
    n = 2
    while fates(rig.sent(n)) != ['delivered']:
        assert time.monotonic() < end
        n += 1
        time.sleep(0.2)
    assert rig.state(well=1)
    p.kill()
    p.wait()
    assert fates(rig.sent(100)) == ['deferred']
    ends(rig)


# ---- TLS ------------------------------------------------------------------------------------------


def col35_tls_is_told_with_version_and_cipher(folder):
    for keys, port, kind in ((START, 587, 'starttls'),
                             ('endpoints: [{port: 465, tls: implicit}]', 465, 'implicit')):
        r = Relay(port, tls=kind, cert=folder + '/good.pem')
        rig = begin(folder, keys, ca(folder))
        x = rig.sent(1)
        assert fates(x) == ['delivered'] and x['tls'] == 'TLSv1.3' and x['cipher'].startswith('TLS_'), x
        assert r.messages[0]['secure']
        ends(rig)
        r.close()


def a_certificate_that_is_not_right_holds_and_alarms(folder):
    for cert, word in (('expired', 'expired'), ('other', 'mx.example.net'), ('stranger', 'issuer')):
        for keys, port, kind in ((START, 587, 'starttls'),
                                 ('endpoints: [{port: 465, tls: implicit}]', 465, 'implicit')):
            r = Relay(port, tls=kind, cert=f'{folder}/{cert}.pem')
            rig = begin(folder, keys, ca(folder))
            x = rig.sent(1)
            assert fates(x) == ['held'] and not x['connected'], x
            assert word in x['rcpt'][0]['text'], (cert, x)
            assert rig.state(alarm=1, well=0)
            assert not r.messages and not any(v in ('MAIL', 'AUTH') for v, _ in
                                              [y for y in r.said if isinstance(y, tuple)])
            ends(rig)
            r.close()


def col28_the_lowest_version_holds(folder):
    r = Relay(587, tls='starttls', cert=folder + '/good.pem', least=ssl.TLSVersion.TLSv1_2)
    rig = begin(folder, START, f'tls: {{ca: {folder}/ca.pem, minimum: "1.3"}}')
    x = rig.sent(1)
    assert fates(x) != ['delivered'] and not r.messages, x
    ends(rig)
    rig = begin(folder, START, f'tls: {{ca: {folder}/ca.pem, minimum: "1.2"}}')
    assert rig.sent(1)['tls'] == 'TLSv1.2'
    ends(rig)
    r.close()


def another_file_of_roots_is_noticed(folder):
    """Replaced by another file of its name, where only the file was allowed at the start."""
    other = tempfile.mkdtemp(prefix='mailreeve-roots-')
    os.chmod(other, 0o755)
    shutil.copy(folder + '/stranger-ca.pem', other + '/ca.pem')
    r = Relay(587, tls='starttls', cert=folder + '/good.pem')
    rig = Rig(RIG, other + '/ca.pem', '--servers', '127.0.0.1:5353')
    rig.folder = folder
    assert rig.policy(policy(folder, ('r', START + '\n' + ca(other))))['err'] == 0
    x = rig.sent(1)
    assert fates(x) == ['held'] and 'issuer' in x['rcpt'][0]['text'], x
    shutil.copy(folder + '/ca.pem', other + '/new')
    os.rename(other + '/new', other + '/ca.pem')
    until_delivered(rig)
    ends(rig)
    r.close()
    shutil.rmtree(other)


def a_pinned_name_stands_for_the_host(folder):
    r = Relay(587, tls='starttls', cert=folder + '/other.pem')
    rig = begin(folder, START, f'tls: {{ca: {folder}/ca.pem, names: [mx.example.net]}}')
    assert fates(rig.sent(1)) == ['delivered']
    ends(rig)
    r.close()


def rfc3207_stripped_starttls_is_no_way_out(folder):
    for reply in ({}, {'STARTTLS': b'454 4.7.0 TLS not available\r\n'},
                  {'STARTTLS': b'501 5.5.4 what\r\n'}, {'EHLO': b'502 5.5.1 no\r\n'}):
        r = Relay(587, tls='starttls' if reply else None, cert=folder + '/good.pem', reply=reply,
                  users={'u': 'p'}, auth_early=True)
        rig = begin(folder, START, ca(folder), 'auth: {password: c}')
        rig.credential('c', 'user: u\npassword: p\n')
        x = rig.sent(1, flags='a')
        assert fates(x) == ['deferred'] and not x['connected'], x
        assert rig.state(well=0)
        assert {v for v, _ in r.said} <= {'EHLO', 'STARTTLS', 'QUIT', 'HELO'}, r.said
        ends(rig)
        r.close()


def rfc3207_4_2_bytes_before_tls_are_an_attack(folder):
    def injected(more, later):
        def hook(s, _):
            s.put(b'220 go on\r\n' + ('' if later else more).encode() if not later else b'220 go on\r\n')
            if later:
                time.sleep(0.05)
                s.put(more.encode())
            s.c.settimeout(3)
            while s.c.recv(65536):
                pass
            raise world.Gone
        return hook

    for more in ('250 x\r\n', '2', '220 again\r\n250-x\r\n250 AUTH PLAIN\r\n', '\x16\x03\x01'):
        for later in (False, True):
            r = Relay(587, tls='starttls', cert=folder + '/good.pem',
                      reply={'STARTTLS': injected(more, later)})
            rig = begin(folder, START, ca(folder))
            x = rig.sent(1)
            assert fates(x)[0] in ('deferred', 'held') and not x['connected'] and not r.messages, x
            if not later:
                assert rig.state(alarm=1), x
            assert [v for v, _ in r.said] == ['EHLO', 'STARTTLS'], r.said
            ends(rig)
            r.close()


def tls_that_is_not_required_is_used_or_given_up(folder):
    """`tls: none`: used where it is offered (RFC 7435), and its failure is no obstacle."""
    for cert, secure in (('good', True), ('expired', False)):
        r = Relay(2525, tls='starttls', cert=f'{folder}/{cert}.pem')
        rig = begin(folder, 'endpoints: [{port: 2525, tls: none}]', ca(folder))
        for n in 1, 2:
            x = rig.sent(n)
            assert fates(x) == ['delivered'] and bool(x['tls']) == secure, x
        assert all(m['secure'] == secure for m in r.messages) and r.sessions == (1 if secure else 2)
        ends(rig)
        r.close()
    r = Relay(2525, tls='starttls', cert=folder + '/good.pem')
    rig = begin(folder, PLAIN)
    assert fates(rig.sent(1)) == ['delivered'] and not r.messages[0]['secure']
    ends(rig)
    r.close()


def cor12_a_client_certificate_says_who_we_are(folder):
    r = Relay(587, tls='starttls', cert=folder + '/good.pem', client_ca=folder + '/ca.pem')
    rig = begin(folder, START, ca(folder), 'auth: {certificate: inst}')
    assert fates(rig.sent(1, flags='a')) == ['held']
    assert rig.credential('inst', open(folder + '/client.pem').read())['err'] == 0
    x = rig.sent(2, flags='a')
    assert fates(x) == ['delivered'], (x, rig.log, r.said)
    assert r.peers[-1]['subjectAltName'] == (('DNS', 'web.example.org'),), r.peers
    ends(rig)
    r.close()


# ---- AUTH ---------------------------------------------------------------------------------------------


def auth_by_each_mechanism_after_tls(folder):
    for mechanism in 'PLAIN', 'LOGIN', 'CRAM-MD5', 'XOAUTH2', 'OAUTHBEARER':
        word = 'token' if 'OAUTH' in mechanism else 'password'
        r = Relay(587, tls='starttls', cert=folder + '/good.pem', users={'u@x': 'p w' if word == 'password' else 'y.z'},
                  mechanisms=mechanism, auth_early=True)
        rig = begin(folder, START, ca(folder), 'auth: {password: c}')
        assert rig.credential('c', f'user: u@x\n{word}: {r.users["u@x"]}\n')['err'] == 0
        assert fates(rig.sent(1, flags='a')) == ['delivered']
        assert r.messages[0]['user'] == 'u@x' and ('AUTH', False) not in r.said
        ends(rig)
        r.close()


def a_wrong_credential_holds_alarms_and_is_not_hammered(folder):
    r = Relay(587, tls='starttls', cert=folder + '/good.pem', users={'u': 'right'})
    rig = begin(folder, START, ca(folder), 'auth: {password: c}')
    rig.credential('c', 'user: u\npassword: wrong\n')
    for n in range(1, 8):
        x = rig.sent(n, flags='a')
        assert fates(x) == ['held'] and x['rcpt'][0]['code'] == 535 and not x['connected'], x
    assert len([1 for v in r.said if v[0] == 'AUTH']) == 1, r.said
    assert '535' in rig.state(alarm=1)['text']
    rig.credential('c', 'user: u\npassword: right\n')
    assert fates(rig.sent(9, flags='a')) == ['delivered']
    assert rig.state(well=1, alarm=0)
    assert not any('wrong' in x or 'right' in x for x in rig.log), rig.log
    ends(rig)
    r.close()


def a_credential_that_the_policy_names_no_more_is_forgotten(folder):
    r = Relay(587, tls='starttls', cert=folder + '/good.pem', users={'u': 'right'})
    rig = begin(folder, START, ca(folder), 'auth: {password: c}')
    rig.credential('c', 'user: u\npassword: right\n')
    assert fates(rig.sent(1, flags='a')) == ['delivered']

    def named():
        return policy(folder, ('r', '\n'.join([START, ca(folder), 'auth: {password: c}'])))
    # one that stays named stays; the parent tells them behind each policy
    assert rig.policy(named())['err'] == 0 and fates(rig.sent(2, flags='a')) == ['delivered']
    assert rig.policy(policy(folder, ('r', '\n'.join([START, ca(folder)]))))['err'] == 0
    # the session by it ends
    end = time.monotonic() + 60
    while not any(v[0] == 'QUIT' for v in r.said if isinstance(v, tuple)):
        assert time.monotonic() < end, r.said
        time.sleep(0.05)
    assert rig.policy(named())['err'] == 0
    x = rig.sent(3, flags='a')
    assert fates(x) == ['held'] and 'never given' in x['rcpt'][0]['text'], x
    rig.credential('c', 'user: u\npassword: right\n')
    assert fates(rig.sent(4, flags='a')) == ['delivered']
    ends(rig)
    r.close()


def what_people_say_is_mended_is_tried_at_once(folder):
    """`queue flush`: neither the pause of an endpoint nor that of a credential holds."""
    rig = begin(folder, START, ca(folder), 'auth: {password: c}')
    rig.credential('c', 'user: u\npassword: p\n')
    for n in range(1, 4):
        assert fates(rig.sent(n, flags='a')) == ['deferred']
    r = Relay(587, tls='starttls', cert=folder + '/good.pem', users={'u': 'other'})
    rig.say('again')
    x = rig.sent(10, flags='a')
    assert fates(x) == ['held'] and x['rcpt'][0]['code'] == 535, x
    r.users['u'] = 'p'
    rig.say('again', 'another')
    rig.say('again', 'r')
    x = rig.sent(11, flags='a')
    assert fates(x) == ['delivered'], x
    ends(rig)
    r.close()


def a_missing_credential_holds_before_anybody_is_asked(folder):
    r = Relay(587, tls='starttls', cert=folder + '/good.pem', users={'u': 'p'})
    rig = begin(folder, START, ca(folder), 'auth: {password: c}')
    x = rig.sent(1, flags='a')
    assert fates(x) == ['held'] and 'c' in x['rcpt'][0]['text'] and rig.state(alarm=1)
    rig.credential('c', None)
    x = rig.sent(2, flags='a')
    assert fates(x) == ['held'] and '/etc/mailreeve/x' in x['rcpt'][0]['text'], x
    assert rig.credential('c', 'nonsense')['err'] != 0
    assert fates(rig.sent(3, flags='a')) == ['held']
    assert r.sessions == 0
    ends(rig)
    r.close()


def auth_refused_for_now_is_a_deferral(folder):
    r = Relay(587, tls='starttls', cert=folder + '/good.pem', users={'u': 'p'},
              reply={'AUTH': b'454 4.7.0 later\r\n'})
    rig = begin(folder, START, ca(folder), 'auth: {password: c}')
    rig.credential('c', 'user: u\npassword: p\n')
    x = rig.sent(1, flags='a')
    assert fates(x) == ['deferred'] and x['rcpt'][0]['code'] == 454, x
    ends(rig)
    r.close()


def col13_a_relay_without_auth_is_not_used(folder):
    r = Relay(587, tls='starttls', cert=folder + '/good.pem')
    rig = begin(folder, START, ca(folder), 'auth: {password: c}')
    rig.credential('c', 'user: u\npassword: p\n')
    assert fates(rig.sent(1, flags='a')) == ['held'] and not r.messages
    ends(rig)
    r.close()


def cam09_auth_is_not_used_where_it_is_not_asked(folder):
    r = Relay(587, tls='starttls', cert=folder + '/good.pem', users={'u': 'p'})
    rig = begin(folder, START, ca(folder), 'auth: {password: c, recipients: ["@example.net"]}')
    rig.credential('c', 'user: u\npassword: p\n')
    assert fates(rig.sent(1)) == ['delivered'] and r.messages[0]['user'] is None
    assert fates(rig.sent(2, flags='a')) == ['delivered'] and r.messages[1]['user'] == 'u'
    ends(rig)
    r.close()


def the_password_is_never_shown_without_tls(folder):
    for mechanism, fate in (('PLAIN LOGIN', 'held'), ('PLAIN CRAM-MD5', 'delivered')):
        r = Relay(2525, users={'u': 'p'}, mechanisms=mechanism)
        rig = begin(folder, PLAIN, 'auth: {password: c}')
        rig.credential('c', 'user: u\npassword: p\n')
        x = rig.sent(1, flags='a')
        assert fates(x) == [fate], x
        assert fate != 'held' or 'AUTH' not in [v for v, _ in r.said]
        ends(rig)
        r.close()


def an_application_has_a_credential_of_its_own(folder):
    r = Relay(587, tls='starttls', cert=folder + '/good.pem', users={'u': 'p', 'own': 'q'})
    rig = begin(folder, START, ca(folder), 'auth: {password: c}', applications='''  applications:
    form:
      kind: web
      runs-as: {user: form}
      owners: [x@example.org]
      senders: [{envelope: form@example.org}]
      via: r
      credential: form-own
kinds: {web: {limits: [{messages: 500, per: hour, over: defer}]}}
''')
    rig.credential('c', 'user: u\npassword: p\n')
    rig.credential('form-own', 'user: own\npassword: q\n')
    rig.sent(1, flags='a')
    rig.sent(2, flags='a', app='form')
    assert [m['user'] for m in r.messages] == ['u', 'own'] and r.sessions == 2
    ends(rig)
    r.close()


# ---- endpoints, names, addresses ------------------------------------------------------------------------


def the_second_endpoint_takes_over(folder):
    two = 'endpoints: [{port: 465, tls: implicit}, {port: 587, tls: starttls}]'
    for bad in (None, lambda: Relay(465, tls='implicit', cert=folder + '/expired.pem'),
                lambda: Relay(465, greeting=b'', tls=None)):
        first = bad() if bad else None
        r = Relay(587, tls='starttls', cert=folder + '/good.pem')
        if first and not first.tls:
            first.greeting = b'554 go away\r\n'
        rig = begin(folder, two, ca(folder))
        x = rig.sent(1)
        assert fates(x) == ['delivered'] and x['peer'].endswith(':587'), x
        assert '465' in rig.state(well=1)['text']
        ends(rig)
        r.close()
        if first:
            first.close()


def no_endpoint_without_tls_after_tls_has_failed(folder):
    first = Relay(587, tls='starttls', cert=folder + '/expired.pem')
    second = Relay(25)
    rig = begin(folder, 'endpoints: [{port: 587, tls: starttls}, {port: 25, tls: none}]', ca(folder))
    assert fates(rig.sent(1)) == ['held'] and second.sessions == 0
    ends(rig)
    first.close()
    second.close()


def a_greeting_of_4xx_or_5xx_defers(folder):
    for greeting in b'421 4.3.2 later\r\n', b'450 no\r\n', b'554 5.7.1 no\r\n':
        r = Relay(2525, greeting=greeting)
        rig = begin(folder, PLAIN)
        x = rig.sent(1)
        assert fates(x) == ['deferred'] and x['rcpt'][0]['code'] == int(greeting[:3]), x
        assert not x['connected'] and rig.state(well=0)
        ends(rig)
        r.close()


def cam10_an_address_outside_the_ranges_is_never_connected_to(folder):
    inside, outside = Relay(2525), Relay(2525, address='127.0.0.9')
    keys = PLAIN + '\nranges: [127.0.0.0/29]\nfamilies: ipv4'
    hosts(folder, '127.0.0.9 relay.example.org')
    rig = begin(folder, keys)
    x = rig.sent(1)
    assert fates(x) == ['deferred'] and '127.0.0.9' in x['rcpt'][0]['text'] and not x['connected'], x
    assert rig.state(alarm=1, well=0) and outside.sessions == 0
    ends(rig)
    hosts(folder, '127.0.0.9 relay.example.org', '127.0.0.1 relay.example.org')
    rig = begin(folder, keys)
    assert fates(rig.sent(1)) == ['delivered'] and outside.sessions == 0 and inside.messages
    assert '127.0.0.9' in rig.state(alarm=1, well=1)['text']
    ends(rig)
    inside.close()
    outside.close()


def cam11_a_name_is_asked_again_when_its_ttl_is_over(folder):
    """At each connection; a reload is not needed."""
    NAMES.ttl = 1
    NAMES.table['moved.test'] = {'A': ['127.0.0.1']}
    one, other = Relay(2525), Relay(2525, address='127.0.0.3')
    rig = begin(folder, PLAIN, 'host: moved.test', 'connections: {messages: 1}')
    assert fates(rig.sent(1)) == ['delivered'] and len(one.messages) == 1
    n, end = 1, time.monotonic() + 60
    NAMES.table['moved.test'] = {'A': ['127.0.0.3']}
    while not other.messages:
        n += 1
        assert fates(rig.sent(n)) == ['delivered'] and time.monotonic() < end
        time.sleep(0.2)
    NAMES.ttl = 5
    ends(rig)
    one.close()
    other.close()


def a_name_that_does_not_resolve_is_no_bounce(folder):
    hosts(folder)
    rig = begin(folder, PLAIN)
    x = rig.sent(1)
    assert fates(x) == ['deferred'] and 'resolve' in x['rcpt'][0]['text'] and not x['connected'], x
    assert rig.state(alarm=1)
    ends(rig)


def a_name_server_that_is_silent_is_no_bounce(folder):
    rig = begin(folder, PLAIN, 'host: silent.example.org')
    rig.send(1)
    x = rig.result(1)
    assert fates(x) == ['deferred'] and 'resolve' in x['rcpt'][0]['text'], x
    assert rig.state(alarm=0, well=0)
    ends(rig)


def the_next_address_is_tried_after_three_seconds(folder):
    silence()
    # the order is the system's (RFC 6724): IPv6 first
    hosts(folder, '2001:db8::9 relay.example.org', '127.0.0.1 relay.example.org')
    r = Relay(2525)
    rig = begin(folder, PLAIN, 'ranges: [127.0.0.0/8, "2001:db8::/64"]')
    began = time.monotonic()
    rig.send(1)
    x = rig.result(1)
    assert fates(x) == ['delivered'] and x['peer'] == '127.0.0.1:2525', x
    assert time.monotonic() - began > 2.5, 'the first address was not tried'
    ends(rig)
    r.close()


def ipv6_and_ipv4_are_both_tried(folder):
    hosts(folder, '::1 relay.example.org', '127.0.0.1 relay.example.org')
    for address, peer in (('::1', '[::1]:2525'), ('127.0.0.1', '127.0.0.1:2525')):
        r = Relay(2525, address=address)
        rig = begin(folder, PLAIN)
        x = rig.sent(1)
        assert fates(x) == ['delivered'] and x['peer'] == peer, x
        ends(rig)
        r.close()


def another_resolv_conf_is_noticed(folder):
    """Replaced by another file of its name, as resolvers' programs do."""
    etc = os.path.join(folder, 'etc')
    os.mkdir(etc)

    def conf(server):
        with open(etc + '/new', 'w') as f:
            f.write(f'nameserver {server}\noptions timeout:1 attempts:1\n')
        os.rename(etc + '/new', etc + '/resolv.conf')

    world.Names(53, {}, '127.0.0.53')
    world.Names(53, {'relay.example.org': {'A': ['127.0.0.1']}}, '127.0.0.54')
    with open(etc + '/hosts', 'w') as f:
        f.write('127.0.0.1 localhost\n')
    conf('127.0.0.53')
    r = Relay(2525)
    subprocess.run(['mount', '--bind', etc, '/etc'], check=True)
    try:
        rig = Rig(RIG, folder)
        assert rig.policy(policy(folder, ('r', PLAIN)))['err'] == 0
        x = rig.sent(1)
        assert fates(x) == ['deferred'] and 'no such name' in x['rcpt'][0]['text'], x
        conf('127.0.0.54')
        until_delivered(rig)
        ends(rig)
    finally:
        subprocess.run(['umount', '-l', '/etc'], check=True)
    r.close()


def names_are_resolved_for_the_queue(folder):
    rig = begin(folder, PLAIN)
    for i, (name, want) in enumerate((('mx.test', 'mx'), ('a.test', 'address'), ('null.test', 'none'),
                                      ('empty.test', 'none'), ('nowhere.test', 'none'),
                                      ('bad name', 'none'), ('..', 'none'))):
        rig.say('resolve', 100 + i, name)
        assert rig.wait(**{'is': 'resolved', 'token': 100 + i})['answer'] == want, name
    rig.say('resolve', 200, 'silent.example.org')
    assert rig.wait(**{'is': 'resolved', 'token': 200})['answer'] == 'not now'
    ends(rig)


# ---- nonsense --------------------------------------------------------------------------------------------


def nonsense_replies_lose_nothing(folder):
    def endless(s, _):
        for _ in range(64):
            s.put(b'250-' + b'x' * 65532)
        return b''

    for verb in 'EHLO', 'MAIL', 'RCPT', 'DATA', '.':
        for what in (b'hello\r\n', b'25\r\n', b'2500 x\r\n', b'250-x\r\n251 y\r\n', b'250 a\0b\r\n',
                     b'250 x\n', b'\r\n', b'999 x\r\n', b'250 a\r\n250 b\r\n250 c\r\n250 d\r\n', endless):
            r = Relay(2525, reply={verb: what})
            rig = begin(folder, PLAIN)
            x = rig.sent(1)
            assert fates(x)[0] in ('deferred', 'delivered'), (verb, what, x)
            # what was taken was taken
            assert fates(x) == ['deferred'] or verb in ('.', 'EHLO', 'MAIL', 'RCPT'), (verb, what, x)
            rig.say('memory')
            assert rig.wait(**{'is': 'memory'})['Anonymous'] < 16000
            ends(rig)
            r.close()


def a_mail_refused_for_now_is_not_refused_for_good_by_what_was_pipelined_behind_it(folder):
    """RFC 2920 3.1: 503 to RCPT and DATA after a 451 to MAIL; or a 354, and 554 to the lone dot."""
    for data, dot in (b'503 5.5.1 MAIL first\r\n', None), (b'354 go on\r\n', b'554 5.5.1 no recipient\r\n'):
        def late(s, _, data=data, dot=dot):
            if not dot:
                return data
            s.put(data)
            s.data()
            return dot

        for code, fate in (b'451', 'deferred'), (b'550', 'failed'):
            r = Relay(2525, reply={'MAIL': code + b' x\r\n', 'RCPT': b'503 5.5.1 MAIL first\r\n', 'DATA': late})
            rig = begin(folder, PLAIN)
            x = rig.sent(1, 'b@example.com', 'c@example.com')
            assert fates(x) == [fate] * 2 and [y['code'] for y in x['rcpt']] == [int(code)] * 2, (data, code, x)
            ends(rig)
            r.close()


def a_relay_that_talks_without_end_is_left(folder):
    def run(s, _):
        while True:
            s.put(b'250-' + b'x' * 400 + b'\r\n')

    r = Relay(2525, reply={'EHLO': run})
    rig = begin(folder, PLAIN)
    x = rig.sent(1)
    assert fates(x) == ['deferred'] and rig.state(alarm=1), x
    ends(rig)
    r.close()


# ---- messages ----------------------------------------------------------------------------------------------


def each_recipient_has_its_own_reply(folder):
    def rcpt(s, line):
        if b'no@' in line:
            return b'550 5.1.1 no such user\r\n'
        if b'later@' in line:
            return b'450 4.2.1 later\r\n'

    r = Relay(2525, reply={'RCPT': rcpt})
    rig = begin(folder, PLAIN)
    x = rig.sent(1, 'a@example.com', 'no@example.com', 'later@example.com', 'b@example.com')
    assert fates(x) == ['delivered', 'failed', 'deferred', 'delivered'], x
    assert x['rcpt'][1]['text'] == '5.1.1 no such user' and x['rcpt'][2]['code'] == 450
    assert len(r.messages) == 1 and len(r.messages[0]['rcpt']) == 2 or True
    ends(rig)
    r.close()


def too_many_recipients_go_in_another_transaction(folder):
    """RFC 9422 RCPTMAX, and RFC 5321 4.5.3.1.10 (452)."""
    def rcpt(s, line):
        if len(s.rcpt) >= 3:
            return b'452 4.5.3 too many recipients\r\n'

    for caps, reply, most in ((['PIPELINING', 'LIMITS RCPTMAX=4'], {}, 4), (['PIPELINING'], {'RCPT': rcpt}, 3),
                              (['LIMITS RCPTDOMAINMAX=1 RCPTMAX=50'], {}, 50)):
        r = Relay(2525, caps=caps, reply=reply)
        rig = begin(folder, PLAIN)
        x = rig.sent(1, *[f'u{i}@example{i % 2}.com' for i in range(10)])
        assert fates(x) == ['delivered'] * 10, (caps, x)
        told = [y for m in r.messages for y in m['rcpt']]
        assert len(told) == 10 == len(set(told)) and all(len(m['rcpt']) <= most for m in r.messages)
        if most == 50:
            assert len(r.messages) == 2
        ends(rig)
        r.close()


def rfc6152_eight_bits_become_seven_or_a_report(folder):
    r = Relay(2525, caps=['PIPELINING'])
    rig = begin(folder, PLAIN)
    body = 'MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n'
    x = rig.sent(1, content=(body + 'Gr\u00fc\u00dfe\r\n.\r\n' * 20000).encode(), flags='8')
    assert fates(x) == ['delivered'], x
    got = r.messages[0]['content']
    assert b'quoted-printable' in got and b'Gr=C3=BC=C3=9Fe' in got and max(got) < 128
    # what another reads of parts: text as it was, other things to the byte
    text, octets = 'Gr\u00fc\u00dfe\r\n'.encode() * 30, random.randbytes(70000).translate(None, b'\r\n\0') + b'\r\n' * 3
    head = b'MIME-Version: 1.0\r\nContent-Type: multipart/%s; boundary=b\r\n\r\n'
    parts = (b'--b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n' + text +
             b'\r\n--b\r\nContent-Type: application/octet-stream\r\n\r\n' +
             b'\r\n'.join(octets[i:i + 900] for i in range(0, len(octets), 900)) + b'\r\n--b--\r\n')
    assert fates(rig.sent(5, content=head % b'mixed' + parts, flags='8')) == ['delivered']
    read = email.message_from_bytes(r.messages[-1]['content']).get_payload()
    assert max(r.messages[-1]['content']) < 128
    assert read[0].get_payload(decode=True) == text.replace(b'\r\n', b'\n') or read[0].get_payload(decode=True) == text
    assert read[1].get_payload(decode=True) == b'\r\n'.join(octets[i:i + 900] for i in range(0, len(octets), 900))
    for n, signed in ((6, head % b'signed' + parts), (7, b'DKIM-Signature: v=1; b=x\r\n' + head % b'mixed' + parts)):
        x = rig.sent(n, content=signed, flags='8')
        assert fates(x) == ['failed'] and re.match('5.6.3 .*sign', x['rcpt'][0]['text']), x
    x = rig.sent(2, content='Subject: Gr\u00fc\u00dfe\r\n\r\nx\r\n'.encode(), flags='8')
    assert fates(x) == ['failed'] and x['rcpt'][0]['text'].startswith('5.6.3 '), x
    x = rig.sent(3, 'gr\u00fc\u00dfe@example.com', flags='u')
    assert fates(x) == ['failed'] and x['rcpt'][0]['text'].startswith('5.6.7 '), x
    assert fates(rig.sent(4)) == ['delivered']
    ends(rig)
    r.close()
    r = Relay(2525)
    rig = begin(folder, PLAIN)
    content = (body + 'Gr\u00fc\u00dfe\r\n').encode()
    rig.sent(1, content=content, flags='8')
    assert r.messages[0]['content'] == content and 'BODY=8BITMIME' in r.messages[0]['mail']
    ends(rig)
    r.close()


def rfc1870_a_message_too_large_is_not_begun(folder):
    r = Relay(2525, caps=['PIPELINING', 'SIZE 1000'])
    rig = begin(folder, PLAIN)
    x = rig.sent(1, content=b'a: b\r\n\r\n' + b'x' * 70 + b'\r\n' * 500)
    assert fates(x) == ['failed'] and x['rcpt'][0]['text'].startswith('5.3.4 ') and not r.messages, x
    ends(rig)
    r.close()


def a_content_that_cannot_be_said_never_reaches_its_end(folder):
    r = Relay(2525)
    rig = begin(folder, PLAIN)
    for n, bad in enumerate((b'a: b\n\nx\r\n', b'a: b\r\n\r\nx\ry\r\n', b'a: b\r\n\r\n\0\r\n',
                             b'a: b\r\n\r\nx\r\n.\r', b'a: b\r\n\r\nx\n.\nMAIL FROM:<x@y>\n',
                             # far behind what is sent at once
                             b'a: b\r\n\r\n' + b'x' * 62 + b'\r\n' + (b'y' * 62 + b'\r\n') * 20000 + b'\0')):
        x = rig.sent(10 + n, content=bad)
        assert fates(x) == ['failed'] and x['rcpt'][0]['text'].startswith('5.6.0 '), (bad, x)
    assert fates(rig.sent(30)) == ['delivered'] and len(r.messages) == 1
    ends(rig)
    r.close()


def a_large_message_is_never_whole_in_memory(folder):
    r = Relay(2525, caps=['PIPELINING', '8BITMIME', 'SIZE 100000000'])
    rig = begin(folder, PLAIN)
    content = b'a: b\r\n\r\n' + (b'y' * 76 + b'\r\n') * 400000
    rig.send(1, content=content)
    x = rig.result(1)
    assert fates(x) == ['delivered'] and r.messages[0]['content'] == content, x
    rig.say('memory')
    kb = rig.wait(**{'is': 'memory'})['Anonymous']
    assert kb < 12000, kb
    ends(rig)
    r.close()


def a_relay_that_stops_in_the_middle_of_content(folder):
    def data(s, _):
        s.put(b'354 go on\r\n')
        s.c.recv(100)
        raise world.Gone

    r = Relay(2525, reply={'DATA': data})
    rig = begin(folder, PLAIN)
    x = rig.sent(1, content=b'a: b\r\n\r\n' + (b'y' * 70 + b'\r\n') * 200000)
    assert fates(x) == ['deferred'] and not x['doubt'], x
    ends(rig)
    r.close()


def a_refusal_before_the_end_of_content_is_the_relays_word(folder):
    for says, fate, code in ((b'552 5.3.4 too large\r\n', 'failed', 552), (b'554-5.7.1 no\r\n554 5.7.1 attachment\r\n421 bye\r\n', 'failed', 554),
                             (b'452 4.3.1 full\r\n', 'deferred', 452), (b'421 4.3.2 bye\r\n', 'deferred', 0)):
        def data(s, _, says=says):
            s.put(b'354 go on\r\n')
            s.c.recv(100)
            s.put(says)
            s.c.settimeout(30)
            while s.c.recv(1 << 16):       # a relay that reads on: no reset may hide its word
                pass
            raise world.Gone

        def rcpt(s, line):
            return b'550 5.1.1 nobody\r\n' if b'nobody' in line else None

        r = Relay(2525, reply={'DATA': data, 'RCPT': rcpt})
        rig = begin(folder, PLAIN)
        x = rig.sent(1, 'a@example.net', 'nobody@example.net',
                     content=b'a: b\r\n\r\n' + (b'y' * 70 + b'\r\n') * 200000)
        assert fates(x) == [fate, 'failed'] and x['connected'] and not x['doubt'], (says, x)
        assert not code or x['rcpt'][0]['code'] == code, (says, x)
        assert x['rcpt'][1]['code'] == 550, x
        # of the relay it says nothing
        assert code == 0 or not rig.state(well=1)['alarm'], says
        ends(rig)
        r.close()


# ---- cancel ------------------------------------------------------------------------------------------------


def cancel_before_while_and_after(folder):
    go = threading.Event()

    def dot(s, _):
        go.wait(world.LONG)

    def data(s, _):
        s.put(b'354 go on\r\n')
        go.wait(world.LONG)
        s.r.raw_end = s.data()
        raise world.Gone

    # after the end of content: the relay's own word is awaited
    r = Relay(2525, reply={'.': dot})
    rig = begin(folder, PLAIN, 'connections: {at-most: 1}')
    rig.send(1)
    while ('.', False) not in r.said:
        time.sleep(0.02)
    rig.send(2)
    rig.send(3)
    rig.say('cancel', 1)
    rig.say('cancel', 2)
    x = rig.result(2)
    assert x['canceled'] and fates(x) == ['deferred'], x
    go.set()
    x = rig.result(1)
    assert not x['canceled'] and fates(x) == ['delivered'], x
    assert fates(rig.result(3)) == ['delivered']
    assert len(r.messages) == 2, r.messages
    ends(rig)
    r.close()
    # in the middle of content that the relay does not take
    go.clear()
    r = Relay(2525, reply={'DATA': data})
    r.raw_end = None
    rig = begin(folder, PLAIN)
    rig.send(4, content=b'a: b\r\n\r\n' + (b'y' * 70 + b'\r\n') * 200000)
    while ('DATA', False) not in r.said:
        time.sleep(0.02)
    time.sleep(0.2)
    rig.say('cancel', 4)
    x = rig.result(4)
    assert x['canceled'] and fates(x) == ['deferred'], x
    go.set()
    time.sleep(0.3)
    assert r.raw_end is None
    r.reply = {}
    assert fates(rig.sent(5)) == ['delivered']
    ends(rig)
    r.close()


# ---- many ------------------------------------------------------------------------------------------------------


def connections_are_kept_and_capped(folder):
    r = Relay(2525)
    rig = begin(folder, PLAIN, 'connections: {at-most: 2, messages: 5}')
    for n in range(1, 41):
        rig.send(n)
    assert all(fates(rig.result(n)) == ['delivered'] for n in range(1, 41))
    assert r.most <= 3 and 8 <= r.sessions <= 12, (r.most, r.sessions)
    ends(rig)
    r.close()
    r = Relay(2525)
    rig = begin(folder, PLAIN)
    for n in range(1, 21):
        assert fates(rig.sent(n)) == ['delivered']
    assert r.sessions == 1
    ends(rig)
    r.close()


def a_session_that_is_full_is_no_word_on_the_message(folder):
    """OpenSMTPD answers 452 to MAIL once it has had so many messages of a session; RFC 9422 MAILMAX."""
    def full(s, _):
        s.n = getattr(s, 'n', 0) + 1
        return b'452 4.5.3 too many messages sent\r\n' if s.n > most else None

    for most, fate, caps in ((3, 'delivered', []), (0, 'deferred', []), (3, 'delivered', ['LIMITS MAILMAX=3'])):
        r = Relay(2525, reply={'MAIL': full}, caps=['PIPELINING', *caps])
        rig = begin(folder, PLAIN, 'connections: {at-most: 1}')
        for n in range(1, 13):
            rig.send(n)
        for n in range(1, 13):
            assert fates(rig.result(n)) == [fate], (n, most)
        assert not caps or [s for s, _ in r.said].count('MAIL') == 12, 'it is not asked for more'
        assert most == 0 or r.sessions <= 6, r.sessions
        # a lone dot behind a refused MAIL is no message
        assert len([m for m in r.messages if m['content']]) == (12 if most else 0)
        ends(rig)
        r.close()


def a_kept_connection_that_was_closed_costs_nothing(folder):
    r = Relay(2525)
    rig = begin(folder, PLAIN)
    closing = []

    def mail(s, _):
        if s.mail and not closing:
            closing.append(1)
            raise world.Gone

    r.reply = {'MAIL': mail}
    for n in range(1, 6):
        assert fates(rig.sent(n)) == ['delivered']
    assert r.sessions == 2
    ends(rig)
    r.close()


def what_is_too_much_is_given_back(folder):
    silence()
    hosts(folder, '198.51.100.9 relay.example.org')
    rig = begin(folder, PLAIN, 'ranges: [198.51.100.0/24]\nfamilies: ipv4')
    for n in range(1, 601):
        rig.send(n)
    busy = [rig.result(n) for n in range(513, 601)]
    assert all(x['busy'] and fates(x) == ['deferred'] and not x['connected'] for x in busy)
    rig.say('memory')
    assert rig.wait(**{'is': 'memory'})['Anonymous'] < 16000
    rig.say('stop')
    assert all(rig.result(n)['canceled'] for n in range(1, 513))
    rig.wait(**{'is': 'exit', 'status': 0})


def a_dead_relay_does_not_stop_another(folder):
    silence()
    hosts(folder, '198.51.100.9 dead.example.org', '127.0.0.1 relay.example.org')
    r = Relay(2525)
    rig = Rig(RIG, folder, '--servers', '127.0.0.1:5353')
    assert rig.policy(policy(folder, ('r', PLAIN), ('dead', PLAIN + '\nhost: dead.example.org\n'
                             'ranges: [198.51.100.0/24]\nfamilies: ipv4')))['err'] == 0
    for n in range(1, 100):
        rig.send(n, relay='dead')
    for n in range(100, 140):
        assert fates(rig.sent(n)) == ['delivered']
    rig.p.stdin.close()
    rig.wait(**{'is': 'exit', 'status': 0})
    r.close()


def each_claim_has_one_result_and_arrives_at_most_once(folder):
    """A relay that does one thing in thirty wrong, and a queue that changes its mind."""
    seed = int(os.environ.get('SEED', time.time_ns() % 1000000))
    print(f'    seed {seed}')
    rnd = random.Random(seed)
    lock = threading.Lock()
    accepted, told = {}, {}

    def odd(s, line):
        with lock:
            k = rnd.randrange(200)
        if k == 0:
            raise world.Gone
        if k == 1:
            s.put(b'421 4.3.2 closing\r\n')
            raise world.Gone
        if k == 2:
            return b'nonsense\r\n'
        if k == 3:
            s.put(b'25')
            time.sleep(0.02)
            s.put(b'0 in two\r\n') if line[:4] != b'DATA' else s.put(b'1 no\r\n')
            return b''
        return b'450 4.0.0 later\r\n' if k == 4 else b'550 5.0.0 no\r\n' if k == 5 else None

    def dot(s, content):
        # RFC 2920 3.1: a 354 that nobody profits from gets a lone dot
        if not content:
            return b'554 5.5.1 no message\r\n'
        n = int(content.split(b'Subject: ')[1].split(b'\r\n')[0])
        out = odd(s, b'.')
        if out == b'':             # 250 in two pieces
            pass
        elif out is not None:
            return out
        with lock:
            accepted[n] = accepted.get(n, 0) + 1
            if rnd.randrange(100) == 0:
                raise world.Gone   # taken, and not told
        return out if out == b'' else None

    hooks = {v: odd for v in ('EHLO', 'MAIL', 'RCPT', 'DATA')}
    r = Relay(2525, reply={**hooks, '.': dot})
    rig = begin(folder, PLAIN, 'connections: {at-most: 8, messages: 50}')
    total = int(os.environ.get('CLAIMS', 1500))
    sent = done = 0
    canceled = set()
    while done < total:
        while sent < total and sent - done < 200:
            sent += 1
            rig.send(sent, content=b'Subject: %d\r\n\r\n' % sent + b'x\r\n' * rnd.randrange(3000))
            if rnd.randrange(10) == 0:
                back = rnd.randrange(max(1, sent - 40), sent + 1)
                rig.say('cancel', back)
                canceled.add(back)
        x = rig.wait(60, **{'is': 'result'})
        assert x['claim'] not in told, x
        told[x['claim']] = x
        done += 1
    time.sleep(0.3)
    try:
        extra = rig.wait(0.2, **{'is': 'result'})
        raise ValueError(extra)
    except AssertionError:
        pass
    for n, x in told.items():
        took = accepted.get(n, 0)
        assert took <= 1, (n, took, x)
        fate = fates(x)[0]
        if fate == 'delivered':
            assert took == 1 and not x['canceled'], (n, x)
        if x['canceled']:
            assert took == 0 and n in canceled, (n, x)
        # nonsense in the place of the answer is doubt, too
        if took and fate != 'delivered':
            assert x['doubt'] and fate == 'deferred', (n, x)
    kinds = collections.Counter((fates(x)[0], x['canceled'], x['doubt']) for x in told.values())
    print('   ', dict(kinds), f'{r.sessions} connections')
    ends(rig)
    r.close()


def a_wrong_certificate_is_told_where_the_other_port_is_closed(folder):
    """As where a policy names 465 and 587 and the relay has one of them: the last one tried would hide the cause."""
    r = Relay(465, tls='implicit', cert=f'{folder}/other.pem')
    rig = begin(folder, 'endpoints: [{port: 465, tls: implicit}, {port: 2599, tls: starttls}]', ca(folder))
    for claim in 1, 2:             # then also while the first is left alone
        x = rig.sent(claim)
        text = x['rcpt'][0]['text']
        # held: it shall not grow too old for what people have to mend
        assert fates(x) == ['held'] and 'the certificate is for mx.example.net' in text and 'refused' in text, x
    rig.state(well=0, alarm=1)
    other = Relay(2599, tls='starttls', cert=f'{folder}/good.pem')
    rig.say('again', 'r')
    assert fates(rig.sent(3)) == ['delivered'] and not r.messages and len(other.messages) == 1
    x = rig.state(well=1)
    assert x['alarm'] and re.match('port 2599 serves, for port 465 does not: .*mx.example.net', x['text']), x
    other.close()
    ends(rig)
    r.close()


def a_relay_that_is_slow_and_hangs_leaves_places_to_others(folder):
    """One that takes long to greet gets more connections than others, but not all there are."""
    go = threading.Event()
    slow = Relay(2525, reply={'EHLO': lambda s, _: time.sleep(0.03), '.': lambda s, _: go.wait(4 * world.LONG) and None})
    other = Relay(2526)
    rig = Rig(RIG, folder, '--servers', '127.0.0.1:5353')
    assert rig.policy(policy(folder, ('slow', PLAIN), ('other', PLAIN.replace('2525', '2526'))))['err'] == 0
    for n in range(128):
        rig.send(100 + n, relay='slow')
    end = time.monotonic() + world.LONG
    while slow.now < 36:
        assert time.monotonic() < end, slow.now
        time.sleep(0.05)
    time.sleep(0.5)            # for those that would be too many
    assert fates(rig.sent(1000, relay='other')) == ['delivered']
    assert slow.now == 36, slow.now
    go.set()
    for n in range(128):
        assert fates(rig.result(100 + n)) == ['delivered']
    ends(rig)
    slow.close()
    other.close()


def idle_connections_make_place_for_another_relay(folder):
    """Forty connections in all: those of relays that have nothing to do go."""
    r = Relay(2525, reply={'.': lambda s, _: time.sleep(0.3)})
    names = [f'r{i}' for i in range(45)]
    rig = Rig(RIG, folder, '--servers', '127.0.0.1:5353')
    assert rig.policy(policy(folder, *[(n, PLAIN) for n in names]))['err'] == 0
    for i, n in enumerate(names):
        rig.send(100 + i, relay=n)
    for i in range(len(names)):
        assert fates(rig.result(100 + i)) == ['delivered']
    # a thread of this relay may count on for a moment after the role has closed
    assert r.most <= 44, r.most
    # one with much to do gives places up to those that have none
    for i in range(200):
        rig.send(1000 + i, relay='r0')
    for i, n in enumerate(names):
        rig.send(2000 + i, relay=n)
    for i in list(range(1000, 1200)) + list(range(2000, 2045)):
        assert fates(rig.result(i)) == ['delivered']
    assert r.most <= 44, r.most
    ends(rig)
    r.close()


# ---- the policy, the end --------------------------------------------------------------------------------------


def a_reload_keeps_what_is_the_same_and_moves_what_is_not(folder):
    r, other = Relay(2525), Relay(2526)
    rig = begin(folder, PLAIN)
    rig.sent(1)
    assert rig.policy(policy(folder, ('r', PLAIN), ('s', PLAIN)))['err'] == 0
    rig.sent(2)
    assert r.sessions == 1
    assert rig.policy(policy(folder, ('r', 'endpoints: [{port: 2526, tls: forbidden}]')))['err'] == 0
    assert fates(rig.sent(3)) == ['delivered'] and len(other.messages) == 1
    x = rig.sent(4, relay='s')
    assert fates(x) == ['deferred'] and 'no relay' in x['rcpt'][0]['text'], x
    path = os.path.join(folder, 'bad.yaml')
    with open(path, 'w') as f:
        f.write('mailreeve: 1\nnonsense: 2\n')
    told = rig.policy(path)
    assert told['err'] and told['text'], told
    assert fates(rig.sent(5)) == ['delivered']
    ends(rig)
    r.close()
    other.close()


def stop_ends_what_travels_and_gives_back_what_waits(folder):
    go = threading.Event()
    r = Relay(2525, reply={'.': lambda s, _: go.wait(world.LONG) and None})
    rig = begin(folder, PLAIN, 'connections: {at-most: 1}')
    rig.send(1)
    while ('.', False) not in r.said:
        time.sleep(0.02)
    rig.send(2)
    rig.send(3)
    time.sleep(0.2)
    rig.say('stop')
    assert rig.result(3)['canceled']
    go.set()
    assert fates(rig.result(1)) == ['delivered']
    rig.wait(**{'is': 'exit', 'status': 0, 'signal': 0})
    r.close()


def a_thousand_messages_over_a_long_way(folder):
    p = sink(2525)
    world.Way(2626, 2525, 0.010)
    path = os.path.join(folder, 'k4.eml')
    with open(path, 'wb') as f:
        f.write(b'From: a@example.org\r\n\r\n' + (b'x' * 70 + b'\r\n') * 57)
    for keys, n in (('endpoints: [{port: 2626, tls: forbidden}]', 1000),
                    ('endpoints: [{port: 2525, tls: forbidden}]', 1000)):
        rig = begin(folder, keys)
        rig.say('burst', n, 500, 'r', 'a@example.org', path, 'b@example.com')
        x = rig.wait(120, **{'is': 'burst'})
        assert x['delivered'] == n, x
        print(f'    {n} of 4 KB, {"20 ms" if "2626" in keys else "no way"}: {n / x["us"] * 1e6:.0f}/s')
        ends(rig)
    p.kill()


TESTS = [v for v in list(globals().values()) if callable(v) and getattr(v, '__module__', '') == '__main__'
         and v.__code__.co_varnames[:1] == ('folder',) and v not in (ca, begin)]


def main():
    world.again_in_namespace()
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    top = tempfile.mkdtemp(prefix='mailreeve-relay-')
    os.chmod(top, 0o777)
    world.certificates(top)
    global NAMES
    NAMES = world.Names(5353, {'mx.test': {'MX': ['m.test']}, 'a.test': {'A': ['192.0.2.1']},
                       'null.test': {'MX': [''], 'A': ['192.0.2.1']}, 'empty.test': {},
                       'silent.example.org': None})
    bad = 0
    for t in TESTS:
        if ONLY and t.__name__ not in ONLY:
            continue
        for f in glob.glob(top + '/sink.*') + glob.glob(top + '/m*.eml'):
            os.unlink(f)
        hosts(top, '127.0.0.1 relay.example.org')
        began = time.monotonic()
        try:
            t(top)
            print(f'ok   {t.__name__} {time.monotonic() - began:.1f} s', flush=True)
        except Exception as e:  # noqa: BLE001
            import traceback
            bad += 1
            print(f'FAIL {t.__name__}: {type(e).__name__} {str(e)[:1500]}', flush=True)
            traceback.print_exc(limit=-2, file=sys.stdout)
        world.clear()
    subprocess.run(['umount', '/etc/hosts'], check=False)
    shutil.rmtree(top)
    print(f'{bad} failed')
    sys.stdout.flush()
    os._exit(1 if bad else 0)


main()
