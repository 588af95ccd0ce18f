#!/usr/bin/env python3
"""`mailreevectl doctor`: the whole agent with a relay, and one thing wrong at a time.

    doctor.py MAILREEVED MAILREEVECTL [TEST ...]     runs by itself in namespaces; --see prints what is told

In the namespace 198.51.100.1 is this host, and the relay's address at the same time; the name server of
/etc/resolv.conf is ours. Nothing waits for a time: doctor itself says when it is over.
"""
import contextlib
import json
import os
import pathlib
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import parent_rig as rig  # noqa: E402
import relay_world as world  # noqa: E402
from mail_rig import MailAgent, can_send  # noqa: E402
from parent_rig import verdict, wait_for  # noqa: E402

SEE = '--see' in sys.argv
ARGS = [x for x in sys.argv[1:] if x != '--see']
DAEMON, CTL = (os.path.abspath(x) for x in ARGS[:2])
HOST, HERE = world.HOST, '198.51.100.1'
TOP = None
CREDENTIAL = 'user: u\npassword: p w\n'

POLICY = '''\
mailreeve: 1
name: site
contact: root@example.org
relays:
  smart:
    class: device
    ranges: [{ranges}]
    families: ipv4
    host: {host}
    reason: a test
    auth: {auth}
    tls: {{ca: {ca}{tls}}}
    accepts: {{recipients: any, message-size: up to {size}}}
    endpoints: [{endpoints}]
points:
  host:
    kind: host
    outbound:
      block:
        - {{name: shut, ports: [25], with: reject}}
      otherwise: untouched
kinds:
  web-application: {{limits: [{{messages: 1000, per: hour, over: defer}}]}}
submission:
  routes:
    - {{to: any, via: smart}}
  applications:
    web:
      runs-as: {{user: www-data}}
      kind: web-application
      owners: [web@example.org]
      senders: [{{envelope: web@example.org}}]
      locations:
        campus: {{cidr: [{cidr}], dns-registered: true}}
  unregistered: refuse
'''


# ---- the world ------------------------------------------------------------------------------------------------

class World:
    """One agent for all tests; each mends what it broke."""

    def __init__(self):
        for x in (['link', 'set', 'lo', 'up'], ['addr', 'add', f'{HERE}/32', 'dev', 'lo']):
            subprocess.run(['ip', *x], check=True)
        conf = TOP / 'resolv.conf'
        conf.write_text('nameserver 127.0.0.53\noptions timeout:1 attempts:1\n')
        subprocess.run(['mount', '--bind', str(conf), '/etc/resolv.conf'], check=True)
        world.hosts(str(TOP))
        self.table = {HOST: {'A': [HERE]}, 'moved.example.org': {'A': ['203.0.113.9']},
                      '1.100.51.198.in-addr.arpa': {'PTR': ['web.example.org']}, 'web.example.org': {'A': [HERE]}}
        self.names = world.Names(53, self.table, '127.0.0.53')
        self.credentials = TOP / 'credentials'
        self.credentials.mkdir()
        self.agent = MailAgent(DAEMON, CTL, options=['--credentials', str(self.credentials)])
        self.agent.dir.chmod(0o755)
        self.write()
        self.credential()
        self.relay = None
        self.good()

    def begin(self):
        self.agent.start()
        assert self.agent.status()['in_force'], self.agent.said()
        if not wait_for(lambda: self.agent.mail_up() and can_send(), 60, 0.1):
            raise RuntimeError('no mail is taken: ' + self.agent.said() + str(self.agent.ctl('status')))

    def write(self, **how):
        words = {'ranges': f'{HERE}/32', 'host': HOST, 'auth': '{password: smart-login}', 'ca': str(TOP / 'ca.pem'), 'tls': '',
                 'size': '5 MB', 'endpoints': '{port: 587, tls: starttls}', 'cidr': f'{HERE}/32'}
        self.agent.policy.write_text(POLICY.format(**{**words, **how}))

    def policy(self, **how):
        self.write(**how)
        r = self.agent.ctl('apply')
        assert r.status == 0, r

    def credential(self, text=CREDENTIAL, mode=0o600):
        path = self.credentials / 'smart-login'
        path.write_text(text)
        path.chmod(mode)

    def good(self, **how):
        """The relay as it ought to be, but for what is said."""
        if self.relay:
            self.relay.close()
        words = {'tls': 'starttls', 'cert': str(TOP / 'good.pem'), 'users': {'u': 'p w'}, 'address': HERE}
        self.relay = world.Relay(how.pop('port', 587), **{**words, **how})

    def ask(self, *words):
        """(status, checks) of doctor."""
        r = self.agent.ctl('doctor', *words, '--json')
        return r.status, json.loads(r.out)['checks'] if r.status < 2 else []

    def comes(self, check, outcome, word=''):
        """Waits for it: what `apply` began goes on behind its answer."""
        wait_for(lambda: any(x['check'] == check and x['verdict'] == outcome and word in x['text']
                             for x in self.ask()[1]))

    def see(self, check, outcome, *wanted):
        """Doctor finds that, in these words, and fails if it is a failure."""
        status, told = self.ask()
        if SEE:
            print(self.agent.ctl('doctor').out, flush=True)
        found = [x for x in told if x['check'] == check and x['verdict'] == outcome]
        text = ' '.join(x['text'] + ' / ' + x['do'] for x in found)
        verdict(bool(found) and all(w in text for w in wanted) and status == (outcome == 'fail'), f'{check}: {outcome}',
                (status, wanted, told))
        return told


# ---- all is well ------------------------------------------------------------------------------------------------

def a_way_without_faults_passes(w):
    status, told = w.ask()
    bad = [x for x in told if x['verdict'] not in ('pass', 'not asked') and x['check'] != 'clock']
    verdict(status == 0 and not bad, 'nothing is amiss', (status, told))
    passed = {x['check'] for x in told if x['verdict'] == 'pass'}
    want = {'agent', 'listener', 'spool', 'credential', 'firewall', 'clock', 'name', 'port', 'tls', 'auth', 'senders',
            'address', 'size', 'ciphers', 'dns'}
    verdict(passed == want, 'every check passes', (want - passed, told))
    listeners = [x for x in told if x['check'] == 'listener']
    verdict(len(listeners) == 3 and all('220' in x['text'] for x in listeners), 'three listeners answer', listeners)
    text = w.agent.ctl('doctor', 'smart').out
    verdict('relay smart' in text and 'none of 1' in text, 'in words', text)
    if SEE:
        print(text)
    verdict(not w.relay.messages and w.agent.queue() == 0, 'no mail was sent', w.relay.messages)
    verdict('p w' not in text + str(told) + w.agent.said(), 'no password is told', text)


def cam09_a_smart_host_without_tls_or_auth_passes(w):
    """Postfix's own smtp-sink."""
    sink = world.sink(2525)
    w.policy(ranges='127.0.0.1', host='127.0.0.1', auth='none', endpoints='{port: 2525, tls: none}')
    status, told = w.ask()
    by = {x['check']: x for x in told if x['relay']}
    verdict(status == 0 and by['tls']['verdict'] == 'pass' and 'in clear' in by['tls']['text'], 'no TLS, as the policy has it', told)
    verdict(by['auth']['verdict'] == by['ciphers']['verdict'] == 'not asked' and by['senders']['verdict'] == 'pass',
            'no AUTH, and a sender', told)
    sink.kill()
    sink.wait()
    w.policy()


def an_unknown_relay_is_named_with_those_there_are(w):
    r = w.agent.ctl('doctor', 'smrt')
    verdict(r.status == 2 and "no relay 'smrt'" in r.err and 'smart' in r.err, 'named', r)


def probes_leave_no_trace_at_the_relay_role(w):
    """COL-36: a probe counts for nothing: neither pauses nor alarms, and mail goes on as it did."""
    w.good(users={'u': 'another'})
    w.see('auth', 'fail', '535')
    w.good()
    relays = w.agent.status()['mail']['queue']['relays']
    verdict(not any(x['alarm'] or x['down'] for x in relays), 'no alarm', relays)
    verdict('the relay smart' not in w.agent.said(), 'nothing in the log', w.agent.said())
    w.see('auth', 'pass')


# ---- one thing wrong ------------------------------------------------------------------------------------------------

def a_port_that_is_closed(w):
    w.relay.close()
    w.relay = None
    w.see('port', 'fail', f'{HERE}:587', 'Connection refused', 'is the port right')
    w.good()


def a_port_of_several_that_is_closed_only_warns(w):
    w.policy(endpoints='{port: 465, tls: implicit}, {port: 587, tls: starttls}')
    told = w.see('port', 'warn', f'{HERE}:465', 'Connection refused')
    verdict(any(x['check'] == 'auth' and x['verdict'] == 'pass' for x in told), 'the other serves', told)
    w.policy()


def a_certificate_that_has_expired(w):
    w.good(cert=str(TOP / 'expired.pem'))
    w.see('tls', 'fail', 'expired on 2021-01-01', 'renew')


def a_certificate_of_another_name(w):
    w.good(cert=str(TOP / 'other.pem'))
    w.see('tls', 'fail', 'mx.example.net', HOST, '`host:`')


def a_certificate_of_an_authority_nobody_knows(w):
    w.good(cert=str(TOP / 'stranger.pem'))
    w.see('tls', 'fail', 'stranger-ca', 'ca: FILE')


def tls_that_is_too_old(w):
    w.policy(tls=', minimum: "1.3"')
    w.good(least=ssl.TLSVersion.TLSv1_2)
    w.see('tls', 'fail', '1.3', 'minimum')
    w.policy()


def no_cipher_in_common(w):
    w.policy(tls=', ciphers: [ECDHE-RSA-AES128-GCM-SHA256]')
    w.good()
    w.see('ciphers', 'fail', 'ECDHE-RSA-AES128-GCM-SHA256', 'none of the ciphers')
    w.policy()


def a_server_that_speaks_clear_where_tls_is_wanted(w):
    w.policy(endpoints='{port: 465, tls: implicit}')
    w.good(port=465, tls=None)
    w.see('tls', 'fail', f'TLS with {HERE}:465 fails', 'tls: implicit')
    w.policy()


def starttls_that_is_not_offered(w):
    w.good(tls=None)
    w.see('tls', 'fail', 'no STARTTLS')


def a_wrong_credential(w):
    w.good(users={'u': 'another'})
    w.see('auth', 'fail', "'smart-login'", '535', 'mailreevectl apply')


def a_relay_that_offers_no_auth(w):
    w.good(users=None)
    w.see('auth', 'fail', 'offers no AUTH', '`auth: none`')


def a_credential_that_is_missing_or_for_all_to_read(w):
    path = w.credentials / 'smart-login'
    path.unlink()
    w.see('credential', 'fail', str(path), 'no such file')
    w.credential(mode=0o644)
    told = w.see('credential', 'fail', 'mode 0644', 'chmod 0600')
    verdict('p w' not in str(told), 'no password is told', told)
    # and once the agent has read it so: the relay was not asked, the file is what is wrong
    w.policy()
    w.comes('auth', 'fail', 'mode 0644')
    w.see('auth', 'fail', 'mode 0644', 'see the check `credential`')
    w.credential()
    w.policy()
    w.comes('auth', 'pass')
    w.credential()
    w.see('credential', 'warn', 'changed after the agent read it', 'mailreevectl apply')
    w.policy()
    w.see('credential', 'pass')


def a_sender_that_the_relay_does_not_know(w):
    w.good(reply={'MAIL': lambda s, line: b'553 5.7.1 not yours\r\n' if b'web@' in line else None})
    w.see('senders', 'fail', 'web@example.org', '553', 'register')


def a_name_that_leads_outside_the_ranges(w):
    w.policy(host='moved.example.org')
    w.see('name', 'fail', '203.0.113.9', '`ranges`')
    w.policy(host='nothere.example.org')
    w.see('name', 'fail', 'nothere.example.org', 'spelt')
    w.policy()


def a_relay_that_takes_less_than_the_policy_promises(w):
    w.good(caps=('PIPELINING', '8BITMIME', 'SIZE 1000000'))
    w.see('size', 'fail', '1 MB', '5 MB', 'message-size: up to 1 MB')


def an_address_that_is_not_registered(w):
    """COL-37, COR-16: as the relay tells it, where it does."""
    w.policy(cidr='192.0.2.0/24')
    w.see('address', 'fail', HERE, 'web', 'register')
    w.policy()
    w.good(reply={'EHLO': lambda s, line: b'250-relay Hello web [203.0.113.77]\r\n250-SIZE 30000000\r\n' +
                  (b'250 AUTH PLAIN\r\n' if s.secure else b'250 STARTTLS\r\n')})
    w.see('address', 'fail', 'the relay sees us as 203.0.113.77')


def no_registration_in_dns(w):
    """CAM-15."""
    del w.table['1.100.51.198.in-addr.arpa']
    w.see('dns', 'fail', HERE, 'no PTR record')
    w.table['1.100.51.198.in-addr.arpa'] = {'PTR': ['elsewhere.example.org']}
    w.see('dns', 'fail', 'elsewhere.example.org', 'does not lead back')
    w.table['1.100.51.198.in-addr.arpa'] = {'PTR': ['web.example.org']}
    w.see('dns', 'pass', 'web.example.org')


def a_policy_on_the_disk_that_was_not_applied(w):
    w.write(size='6 MB')
    w.see('agent', 'warn', 'another than the one in force', 'mailreevectl apply')
    w.write()
    w.see('agent', 'pass')


def another_firewall_in_the_way_and_a_relay_that_hangs(w):
    """CAM-24; each way takes what doctor waits for, so both are seen at once."""
    w.relay.close()
    w.relay = None
    s = socket.create_server((HERE, 587))
    held = []

    def accept():
        with contextlib.suppress(OSError):
            while True:
                held.append(s.accept()[0])

    t = threading.Thread(target=accept, daemon=True)
    t.start()
    rig.nft('-f', '-', text='table inet custom {\n chain out {\n  type filter hook output priority 0;\n'
            '  tcp dport 465 counter drop comment "no mail"\n }\n}\n')
    w.policy(endpoints='{port: 587, tls: starttls}, {port: 465, tls: implicit}')
    told = w.see('firewall', 'fail', f'{HERE} port 465', 'table inet custom, chain out', 'no mail', 'nft -a list chain')
    ports = [x['text'] for x in told if x['check'] == 'port']
    verdict(any('says nothing' in x and ':587' in x for x in ports), 'it hangs', ports)
    verdict(any('no connection within' in x and ':465' in x for x in ports), 'it is swallowed', ports)
    s.shutdown(socket.SHUT_RDWR)
    t.join()
    for x in [s, *held]:
        x.close()
    rig.nft('delete', 'table', 'inet', 'custom')
    w.good()
    w.policy()
    w.see('firewall', 'pass')


TESTS = [v for v in list(globals().values()) if getattr(v, '__module__', '') == '__main__' and hasattr(v, '__code__')
         and v.__code__.co_varnames[:1] == ('w',)]


def main():
    global TOP
    rig.inside()
    TOP = pathlib.Path(tempfile.mkdtemp(prefix='mailreeve-doctor-'))
    TOP.chmod(0o755)
    world.certificates(str(TOP))
    w = World()
    try:
        w.begin()
        for t in TESTS:
            if not ARGS[2:] or t.__name__ in ARGS[2:]:
                began = time.monotonic()
                t(w)
                w.good()
                print(f'{t.__name__} {time.monotonic() - began:.1f} s', flush=True)
    except Exception:  # noqa: BLE001
        verdict(False, 'it came to an end', traceback.format_exc() + w.agent.said()[-3000:] + f' {w.agent.process.poll()}')
    w.agent.stop()
    said = w.agent.said()
    verdict('AddressSanitizer' not in said and 'runtime error' not in said, 'no sanitizer complains', said)
    w.agent.end()
    world.clear()
    subprocess.run(['umount', '-l', '/etc/hosts', '/etc/resolv.conf'], check=False)
    shutil.rmtree(TOP)
    print(f'{rig.passed} passed, {rig.failed} failed', flush=True)
    os._exit(1 if rig.failed else 0)


main()
