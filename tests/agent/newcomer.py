#!/usr/bin/env python3
"""What agent/README.md tells somebody who begins with the forwarder, done step by step: its first policy, its
credential, its program, its refusals, its commands.

    newcomer.py MAILREEVED MAILREEVECTL EXAMPLES MAILREEVE_SENDMAIL README     runs by itself in namespaces
"""
import os
import pathlib
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import parent_rig as rig  # noqa: E402
import shipped_test as shipped  # noqa: E402
from mail_rig import message  # noqa: E402
from parent_rig import verdict, wait_for  # noqa: E402

EXAMPLES, SENDMAIL, README = (pathlib.Path(x).resolve() for x in sys.argv[3:6])
RELAY = '192.0.2.5'
README = README.read_text()


def sendmail(a, user, *argv, sender='form@example.org'):
    """mailreeve-sendmail as that user: (status, what it says)."""
    how = {'user': shipped.USERS[user], 'group': shipped.USERS[user], 'extra_groups': []} if rig.many_users() else {}
    r = subprocess.run([str(a.dir / 'sendmail'), *argv], input=message('<x@test>', sender), capture_output=True, text=True, timeout=120,
                       cwd='/', env={**os.environ, 'MAILREEVE_SUBMISSION': str(a.run / 'submission.sock')}, **how)
    return r.returncode, r.stdout + r.stderr


def the_first_policy_is_the_one_of_the_examples():
    text = (EXAMPLES / 'first-mail.yaml').read_text().split('\ntests:')[0]
    told = re.search(r'```yaml\n(mailreeve: 1\nname: first-mail\n.*?)```', README, re.S)
    verdict(told and told[1].rstrip() == text[text.index('mailreeve: 1'):].rstrip(), 'README and examples/first-mail.yaml')


def every_step():
    far = shipped.network({'smtp.example.org': {'A': [RELAY]}})
    cert = shipped.certify('authority', 'smtp.example.org')
    relay = far.relay(465, RELAY, tls='implicit', cert=cert, users={'web7@example.org': 'correct horse'})
    secret = re.search(r'user: web7@example.org\n +password: correct horse\n', README)
    verdict(secret, 'the credential as README writes it')
    a = shipped.Host('first-mail.yaml', 'server', None if rig.many_users() else lambda t: t.replace('user: www-data', 'user: root')
                     .replace('only: forwarder', ''))
    subprocess.run(['cp', str(SENDMAIL), str(a.dir / 'sendmail')], check=True)
    a.begin()

    def amiss():
        r = a.ctl('status')
        return r.status == 1 and 'smart-host' in r.out
    verdict(wait_for(amiss, 60, 0.1), 'without its credential it says so', a.ctl('status'))
    a.secret('smart-host', secret[0].replace('    ', '') if secret else '')
    verdict(a.ctl('apply').status == 0, 'apply', a.said())
    verdict(wait_for(lambda: a.ctl('status').status == 0, 60, 0.1), 'then all is well', a.ctl('status'))

    status, said = sendmail(a, 'www-data', '-v', '-f', 'form@example.org', 'you@example.net')
    ident = re.search(r'queued as (\w+)', said)
    verdict(status == 0 and ident, 'a program writes', said)
    verdict(wait_for(lambda: relay.messages, 60, 0.1), 'the relay has it', a.said())
    verdict(relay.messages[0]['user'] == 'web7@example.org' and relay.messages[0]['secure'], 'under its name, with TLS', relay.messages)
    verdict(wait_for(lambda: 'delivered' in a.ctl('trace', ident[1]).out, 60, 0.1), 'trace', a.ctl('trace', ident[1]))
    status, said = sendmail(a, 'www-data', '-f', 'rector@example.org', 'you@example.net', sender='rector@example.org')
    verdict(status == 77 and 'not registered to send as rector@example.org' in said and 'postmaster@example.org' in said, 'refused', said)
    if rig.many_users():
        r = a.ctl('test-mail', 'you@example.net', '--from', 'form@example.org')
        verdict(r.status == 1 and 'this program is not registered to send mail' in r.out, 'another program', r)
        verdict(wait_for(lambda: 'uid=0 unit=' in a.said(), 60, 0.1), 'the log tells which', a.said())
    relay.hang_up()
    status, said = sendmail(a, 'www-data', '-v', '-f', 'form@example.org', 'you@example.net')
    ident = re.search(r'queued as (\w+)', said)
    verdict(ident and wait_for(lambda: ' pending ' in a.ctl('queue', 'list').out, 60, 0.1), 'queue list', a.ctl('queue', 'list'))
    for words in (('show', ident[1]), ('hold', ident[1]), ('release', ident[1]), ('retry', ident[1]), ('flush',), ('drop', ident[1], '--why', 'test')):
        r = wait_for(lambda words=words: (lambda x: x if x.status == 0 else None)(a.ctl('queue', *words)), 60, 0.2)
        verdict(r, f'queue {words[0]}', a.ctl('queue', *words))
    verdict(wait_for(lambda: 'test' in a.ctl('trace', ident[1]).out, 60, 0.2), 'trace of what was dropped', a.ctl('trace', ident[1]))
    metrics = a.ctl('metrics').out
    names = re.findall(r'^\| `(mailreeve_\w+)', README, re.M)
    verdict(len(names) > 10, 'README names metrics', names)
    for name in names:
        verdict(re.search(rf'^{name}[ {{]', metrics, re.M), f'metric {name}', metrics)
    a.end()


if __name__ == '__main__':
    rig.inside()
    shipped.machine()
    try:
        bad = rig.run_all([the_first_policy_is_the_one_of_the_examples, every_step], sys.argv[6:])
    finally:
        shipped.leave()
        subprocess.run(['umount', '-l', '/etc/ssl/certs'], check=False)
        shutil.rmtree(shipped.PLACE, ignore_errors=True)
    sys.exit(bad)
