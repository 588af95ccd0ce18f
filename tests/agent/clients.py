#!/usr/bin/env python3
"""The mail programs of a host, as they are: each hands a message to the whole agent, whose relay has it then
byte for byte; and each is refused, and shows whoever runs it why, and whom to ask.

    clients.py MAILREEVED MAILREEVECTL MAILREEVE_SENDMAIL FOLDER [TEST ...]

runs by itself in namespaces. Node's nodemailer is fetched into FOLDER before that, in the version that
nodemailer/package-lock.json names. Without a network it is left out, which CI=true does not allow.
"""
import email
import email.message
import email.policy
import json
import os
import pathlib
import re
import shutil
import smtplib
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import parent_rig as rig  # noqa: E402
from mail_rig import MailAgent, Relay, can_send  # noqa: E402
from parent_rig import verdict, wait_for  # noqa: E402

DAEMON, CTL, SENDMAIL, FOLDER = (os.path.abspath(x) for x in sys.argv[1:5])
LOCK = pathlib.Path(__file__).resolve().parent / 'nodemailer'
SENDER, FORGED, TO = 'app@example.org', 'rector@example.org', 'somebody@example.net'
# what a program may write that a careless way spoils: dots, blanks at an end, bytes above 127, a long line
BODY = 'first\n.\n..two\n.three\n\ntrailing  \nGr\u00fc\u00dfe\n' + 'x' * 900 + '\nFrom here\nlast\n'
SECONDS = 60

POLICY = '''\
mailreeve: 1
name: clients
contact: help@example.org
relays:
  smart:
    ranges: [127.0.0.1]
    families: ipv4
    host: 127.0.0.1
    reason: a test
    auth: none
    endpoints: [{{port: 2525, tls: none}}]
    accepts: {{message-size: up to 100 kB}}
points:
  host:
    kind: host
    outbound: {{block: {{ports: [smtp], with: reject}}, otherwise: untouched}}
kinds:
  program: {{limits: [{{messages: 100000, per: hour, over: defer}}]}}
submission:
  routes: [{{to: any, via: smart}}]
  applications:
    programs:
      kind: program
      runs-as: {{user: root}}
      owners: [help@example.org]
      senders: [{{envelope: app@example.org, header: app@example.org}}]
      {rewrite}
  unregistered: refuse
'''


class World:
    """The agent with its relay. A program's way to the submission socket is in env."""

    def __init__(self, rewrite=''):
        self.relay = Relay(2525).start()
        self.agent = MailAgent(DAEMON, CTL)
        self.agent.policy.write_text(POLICY.format(rewrite=rewrite))
        self.agent.begin()
        self.dir = self.agent.dir
        (self.dir / 'mailrc').write_text(f'set sendmail={SENDMAIL}\nset sendwait\nset dead=/dev/null\n')
        self.env = {**os.environ, 'MAILREEVE_SUBMISSION': str(self.agent.run / 'submission.sock'), 'LC_ALL': 'C.UTF-8',
                    'HOME': str(self.dir), 'MAILRC': str(self.dir / 'mailrc'), 'PATH': os.environ['PATH'] + ':/usr/sbin'}
        self.n = 0

    def run(self, argv, text=None, env=None):
        """(status, all that it printed)"""
        r = subprocess.run([str(x) for x in argv], input=text.encode() if isinstance(text, str) else text or b'',
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120, cwd=self.dir,
                           env={**self.env, **(env or {})})
        return r.returncode, r.stdout.decode(errors='replace')

    def file(self, name, text):
        p = self.dir / name
        p.write_bytes(text.encode() if isinstance(text, str) else text)
        return p

    def came(self, subject):
        """The one message of that subject at the relay: (sender, recipients, content); None."""
        def found():
            return [m for m in list(self.relay.messages) if subject_of(m[2]) == subject]
        wait_for(found, SECONDS, 0.02)
        got = found()
        verdict(len(got) == 1, f'{subject}: came once', (len(got), self.agent.said()[-2000:]))
        return got[0] if got else None

    def end(self):
        self.agent.end()
        self.relay.stop()


def subject_of(content):
    return str(email.message_from_bytes(content.split(b'\r\n\r\n')[0] + b'\r\n\r\n', policy=email.policy.default)['Subject'])


def message(subject, sender=SENDER, to=TO, more=''):
    return (f'From: {sender}\nTo: {to}\nSubject: {subject}\nDate: Sun, 22 Nov 2026 00:00:00 +0000\n'
            f'Message-ID: <{subject.replace(" ", ".")}@example.org>\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n'
            f'Content-Transfer-Encoding: 8bit\n{more}\n{BODY}')


def wire(text):
    return text.replace('\n', '\r\n').encode()


def whole(w, subject, sender=SENDER, to=(TO,), sent=None, text=BODY):
    """The relay has it: the envelope; the bytes, below what the forwarder writes on top of it; or where
    the program made the message itself (sent None), the text once what its header says is undone."""
    got = w.came(subject)
    if not got:
        return
    verdict(got[0] == sender and got[1] == tuple(to), f'{subject}: envelope', got[:2])
    if sent is not None:
        top, rest = got[2][:len(got[2]) - len(sent)], got[2][-len(sent):]
        verdict(rest == sent, f'{subject}: every byte', (rest[:300], sent[:300]))
        verdict(re.fullmatch(rb'Received: from \S.*?\r\n(?:[ \t].*\r\n)+', top, re.S) is not None,
                f'{subject}: a Received field above it and nothing else', top)
        return
    m = email.message_from_bytes(got[2], policy=email.policy.default)
    said = m.get_payload(decode=True).decode()
    verdict(said.replace('\r\n', '\n').rstrip('\n') == text.rstrip('\n'), f'{subject}: every byte of the text', got[2][-700:])
    verdict(all(m[x] for x in ('From', 'To', 'Date', 'Message-ID', 'Received')), f'{subject}: header', got[2][:800])


def told(said, name):
    """The program shows why, and whom to ask."""
    flat = re.sub(r'\s+', ' ', said)
    verdict('not registered to send as ' + FORGED in flat and 'contact help@example.org' in flat, f'{name}: shows why', said)


def nothing_came(w, name):
    verdict(not any(FORGED.encode() in m[2] or m[0] == FORGED for m in w.relay.messages), f'{name}: and nothing came')


# ---- SMTP to localhost, port 587 ----------------------------------------------------------------------------------

def python_smtplib(w):
    text = wire(message('smtplib'))
    with smtplib.SMTP('localhost', 587) as s:
        s.sendmail(SENDER, [TO], text, mail_options=['BODY=8BITMIME'])
    whole(w, 'smtplib', sent=text)
    with smtplib.SMTP('localhost', 587) as s:
        s.login('me', 'very-secret')
        s.sendmail(SENDER, [TO, 'other@example.net'], wire(message('smtplib login')))
    whole(w, 'smtplib login', to=(TO, 'other@example.net'), sent=wire(message('smtplib login')))
    m = email.message.EmailMessage()
    m['Subject'], m['From'], m['To'] = 'smtplib message', SENDER, TO      # Date and Message-ID are added for it
    m.set_content(BODY)
    with smtplib.SMTP('localhost', 587) as s:
        s.send_message(m)
    whole(w, 'smtplib message', text=BODY.replace('\nFrom', '\n>From'))       # that is Python's doing
    try:
        with smtplib.SMTP('localhost', 587) as s:
            s.sendmail(FORGED, [TO], wire(message('forged', FORGED)))
        said = 'nothing'
    except smtplib.SMTPSenderRefused as why:
        said = str(why)
    told(said, 'smtplib')
    try:
        with smtplib.SMTP('localhost', 587) as s:
            s.sendmail(SENDER, [TO], wire(message('forged in the header', FORGED)))
        said = 'nothing'
    except smtplib.SMTPDataError as why:
        said = str(why)
    told(said, 'smtplib, the From field')
    nothing_came(w, 'smtplib')
    try:
        with smtplib.SMTP('localhost', 587) as s:
            s.sendmail(SENDER, [TO], wire(message('large') + 'y' * 70 * 3000))
        said = 'nothing'
    except (smtplib.SMTPSenderRefused, smtplib.SMTPDataError) as why:
        said = str(why)
    verdict('552' in said and 'at most 100000 bytes' in said, 'smtplib: too large, and how much may be', said)


def swaks(w):
    base = ['swaks', '--server', 'localhost:587', '--to', TO]
    for name, options in (('swaks', []), ('swaks esmtp', ['--protocol', 'ESMTP']), ('swaks smtp', ['--protocol', 'SMTP']),
                          ('swaks pipelined', ['--pipeline']), ('swaks ipv6', ['--server', '[::1]:587']),
                          ('swaks tls', ['--tls-optional']),
                          ('swaks plain', ['--auth', 'PLAIN', '--auth-user', 'me', '--auth-password', 'very-secret']),
                          ('swaks login', ['--auth', 'LOGIN', '--auth-user', 'me', '--auth-password', 'very-secret']),
                          ('swaks auth', ['--auth-optional', '--auth-user', 'me', '--auth-password', 'very-secret'])):
        status, said = w.run([*base, '--from', SENDER, '--data', w.file('data', message(name)), *options])
        verdict(status == 0, name, said)
        whole(w, name, sent=wire(message(name)) + b'\r\n')      # its own, behind --data
    status, said = w.run([*base, '--from', SENDER, '--tls'])
    verdict(status == 29 and 'STARTTLS' in said, 'swaks: TLS is not offered on the loopback', (status, said))
    verdict('STARTTLS' not in w.run([*base, '--from', SENDER, '--quit-after', 'EHLO'])[1], 'swaks: nor named')
    status, said = w.run([*base, '--from', FORGED])
    verdict(status == 23, 'swaks: MAIL refused', (status, said))
    told(said, 'swaks')
    nothing_came(w, 'swaks')


def msmtp(w):
    base = ['msmtp', '--file=' + str(w.file('msmtprc', '')), '--host=localhost', '--port=587', '--tls=off']
    os.chmod(w.dir / 'msmtprc', 0o600)
    status, said = w.run([*base, '--auth=off', '--from=' + SENDER, TO], message('msmtp'))
    verdict(status == 0, 'msmtp', said)
    whole(w, 'msmtp', sent=wire(message('msmtp')))
    status, said = w.run([*base, '--auth=off', '--read-recipients', '--read-envelope-from'], message('msmtp t'))
    verdict(status == 0, 'msmtp -t', said)
    whole(w, 'msmtp t', sent=wire(message('msmtp t')))
    status, said = w.run([*base, '--auth=off', '--from=' + FORGED, TO], message('forged', FORGED))
    verdict(status == 65 or status == 77, 'msmtp: its status', status)
    told(said, 'msmtp')
    nothing_came(w, 'msmtp')


def curl(w):
    base = ['curl', '-sS', 'smtp://localhost:587/client.example.org', '--mail-rcpt', TO]
    status, said = w.run([*base, '--mail-from', SENDER, '-T', w.file('data', wire(message('curl')))])
    verdict(status == 0, 'curl', said)
    whole(w, 'curl', sent=wire(message('curl')))
    status, said = w.run([*base, '--mail-from', SENDER, '-T', w.file('data', message('curl crlf')), '--crlf'])
    verdict(status == 0, 'curl --crlf', said)
    whole(w, 'curl crlf', sent=wire(message('curl crlf')))
    status, said = w.run([*base, '--mail-from', SENDER, '--user', 'me:very-secret', '-T', w.file('data', wire(message('curl auth')))])
    verdict(status == 0, 'curl --user', said)
    whole(w, 'curl auth', sent=wire(message('curl auth')))
    # a file with lines that end with LF alone, and nobody who mends them
    status, said = w.run([*base, '-v', '--mail-from', SENDER, '-T', w.file('data', message('curl lf'))])
    verdict(status == 8 and '550 5.6.0' in said and 'LF' in said, 'curl: LF alone is refused in words', (status, said))
    status, said = w.run([*base, '--mail-from', FORGED, '-T', w.file('data', wire(message('forged', FORGED)))])
    verdict(status == 55 and '550' in said, 'curl: MAIL refused', (status, said))
    told(w.run([*base, '-v', '--mail-from', FORGED, '-T', w.file('data', wire(message('forged', FORGED)))])[1], 'curl -v')
    nothing_came(w, 'curl')


NODE = '''
const nodemailer = require('nodemailer');
const [where, from, to, subject, text] = process.argv.slice(2);
const way = where === '587' ? {host: 'localhost', port: 587} : {sendmail: true, path: where};
nodemailer.createTransport(way).sendMail({from, to, subject, text}).then(
    (sent) => { console.log(sent.response); },
    (why) => { console.log(why.message); process.exitCode = 1; });
'''


def nodemailer(w):
    if not (pathlib.Path(FOLDER) / 'node_modules/nodemailer').is_dir():
        print('nodemailer: not fetched, not tried')
        return
    env = {'NODE_PATH': FOLDER + '/node_modules'}
    program = w.file('send.js', NODE)
    for name, where in (('nodemailer', '587'), ('nodemailer sendmail', SENDMAIL)):
        status, said = w.run(['node', program, where, SENDER, TO, name, BODY], env=env)
        verdict(status == 0, name, said)
        whole(w, name)
    status, said = w.run(['node', program, '587', FORGED, TO, 'forged', BODY], env=env)
    verdict(status == 1, 'nodemailer: refused', said)
    told(said, 'nodemailer')
    nothing_came(w, 'nodemailer')


def git_send_email(w):
    patch = wire(f'From 0123456789012345678901234567890123456789 Mon Sep 17 00:00:00 2001\nFrom: {SENDER}\n'
                 f'Date: Sun, 22 Nov 2026 00:00:00 +0000\nSubject: SUBJECT\nMIME-Version: 1.0\n'
                 f'Content-Type: text/plain; charset=UTF-8\nContent-Transfer-Encoding: 8bit\n\n{BODY}').replace(b'\r', b'')
    base = ['git', '-c', f'user.email={SENDER}', '-c', 'user.name=App', 'send-email', '--quiet', '--confirm=never', '--to=' + TO,
            '--suppress-cc=all', '--smtp-server=localhost', '--smtp-server-port=587', '--transfer-encoding=8bit', '--no-validate']
    p = w.file('0001.patch', patch.replace(b'SUBJECT', b'git'))
    status, said = w.run([*base, '--from=' + SENDER, p])
    verdict(status == 0, 'git send-email', said)
    whole(w, 'git')
    status, said = w.run([*base, '--from=' + FORGED, p])
    verdict(status != 0, 'git send-email: refused', said)
    told(said, 'git send-email')
    nothing_came(w, 'git send-email')


# ---- sendmail(1) ----------------------------------------------------------------------------------------------------

def mail_1(w):
    status, said = w.run(['bsd-mailx', '-r', SENDER, '-s', 'mail', '-a', 'Content-Type: text/plain; charset=utf-8', TO], BODY)
    verdict(status == 0, 'mail', said)
    whole(w, 'mail')
    status, said = w.run(['bsd-mailx', '-r', FORGED, '-s', 'forged', TO], BODY)
    verdict(status != 0, 'mail: its status', status)
    told(said, 'mail')
    nothing_came(w, 'mail')


def php_mail(w):
    code = ('exit(mail($argv[1], $argv[2], $argv[3], "From: $argv[4]\\r\\nMIME-Version: 1.0\\r\\n'
            'Content-Type: text/plain; charset=utf-8\\r\\nContent-Transfer-Encoding: 8bit") ? 0 : 1);')

    def php(subject, sender):
        return w.run(['php', '-n', '-d', f'sendmail_path={SENDMAIL} -t -i -f {sender}', '-r', code, '--', TO, subject, BODY, sender])
    status, said = php('php', SENDER)
    verdict(status == 0, 'PHP mail()', said)
    whole(w, 'php')
    status, said = php('forged', FORGED)
    verdict(status == 1, 'PHP mail(): false', (status, said))
    told(said, 'PHP mail()')
    nothing_came(w, 'PHP mail()')


def sendmail_1(w):
    status, said = w.run([SENDMAIL, '-i', '-f', SENDER, TO], message('sendmail'))
    verdict(status == 0, 'sendmail', said)
    whole(w, 'sendmail', sent=wire(message('sendmail')))
    status, said = w.run([SENDMAIL, '-t', '-oi', '-f', SENDER], message('sendmail t', more='Bcc: hidden@example.net\n'))
    verdict(status == 0, 'sendmail -t', said)
    got = w.came('sendmail t')
    verdict(got and got[1] == (TO, 'hidden@example.net') and b'hidden' not in got[2], 'sendmail -t: Bcc goes, and is not told', got)
    p = subprocess.Popen([SENDMAIL, '-bs'], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=w.env)
    said = [p.stdout.readline()]
    stuffed = message('sendmail bs').replace('\n.', '\n..') + '.'
    for line in ('HELO x', f'MAIL FROM:<{SENDER}>', f'RCPT TO:<{TO}>', 'DATA', stuffed, 'QUIT'):
        p.stdin.write(wire(line + '\n'))
        p.stdin.flush()
        said.append(p.stdout.readline())
    verdict(p.wait(SECONDS) == 0 and [x[:3] for x in said] == [b'220', b'250', b'250', b'250', b'354', b'250', b'221'],
            'sendmail -bs', said)
    whole(w, 'sendmail bs', sent=wire(message('sendmail bs')))
    for argv, text, want in (([SENDMAIL, '-i', '-f', FORGED, TO], message('forged', FORGED), 77),
                             ([SENDMAIL, '-i', '-f', SENDER, 'no address'], message('x'), 64),
                             ([SENDMAIL, '-Z', TO], message('x'), 64),
                             ([SENDMAIL, '-i', '-f', SENDER], message('x'), 64),
                             ([SENDMAIL, '-i', '-f', SENDER, TO], message('x').encode() + b'a\0b\n', 65)):
        status, said = w.run(argv, text)
        verdict(status == want, f'sendmail {" ".join(argv[1:])}: {want}', (status, said))
        if want == 77:
            told(said, 'sendmail')
    status, said = w.run([SENDMAIL, '-i', '-f', SENDER, TO], message('x'), env={'MAILREEVE_SUBMISSION': str(w.dir / 'none')})
    verdict(status == 75 and 'mailreeved' in said, 'sendmail: no agent is for now', (status, said))
    nothing_came(w, 'sendmail')


def one_agent_for_all():
    w = World()
    for client in (python_smtplib, swaks, msmtp, curl, nodemailer, git_send_email, mail_1, php_mail, sendmail_1):
        if len(sys.argv) > 5 and client.__name__ not in sys.argv[5:] and 'one_agent_for_all' not in sys.argv[5:]:
            continue
        client(w)
    verdict(wait_for(lambda: 'no message waits' in w.agent.ctl('queue', 'list').out, SECONDS, 0.1), 'and nothing is left',
            w.agent.ctl('queue', 'list'))
    verdict('very-secret' not in w.agent.said(), 'no password is kept')
    w.end()


def cron():
    """What cron says at night, as its crond hands it over: root@machine becomes the registered address."""
    w = World(rewrite='rewrite: app@example.org')
    host = pathlib.Path('/etc/mailname').read_text().strip() if pathlib.Path('/etc/mailname').exists() else os.uname().nodename
    text = ('From: root (Cron Daemon)\nTo: root\nSubject: Cron <root@machine> run-parts /etc/cron.hourly\nMIME-Version: 1.0\n'
            'Content-Type: text/plain; charset=UTF-8\nContent-Transfer-Encoding: 8bit\nX-Cron-Env: <SHELL=/bin/sh>\n'
            'X-Cron-Env: <LOGNAME=root>\n\n' + BODY)
    status, said = w.run([SENDMAIL, '-i', '-FCronDaemon', '-B8BITMIME', '-oem', 'root'], text)
    verdict(status == 0, 'cron', said)
    got = w.came('Cron <root@machine> run-parts /etc/cron.hourly')
    verdict(got and got[0] == SENDER and len(got[1]) == 1 and got[1][0].startswith('root@'), 'cron: envelope', (got or [])[:2])
    m = email.message_from_bytes(got[2], policy=email.policy.default)
    verdict([a.addr_spec for a in m['From'].addresses] == [SENDER], 'cron: From', m['From'])
    verdict(got[2].split(b'\r\n\r\n', 1)[1] == wire(BODY), 'cron: every byte of the text', (host, got[2]))
    w.end()


def fetch():
    """nodemailer as the lock names it, into FOLDER, by npm."""
    want = json.loads((LOCK / 'package-lock.json').read_text())['packages']['node_modules/nodemailer']['version']
    have = pathlib.Path(FOLDER) / 'node_modules/nodemailer/package.json'
    if have.exists() and json.loads(have.read_text())['version'] == want:
        return
    os.makedirs(FOLDER, exist_ok=True)
    for name in ('package.json', 'package-lock.json'):
        shutil.copy(LOCK / name, FOLDER)
    r = subprocess.run(['npm', 'ci', '--ignore-scripts', '--no-audit', '--no-fund', '--no-update-notifier', '--fetch-retries=5',
                        '--fetch-timeout=60000'], cwd=FOLDER, capture_output=True, text=True)
    if r.returncode:
        print('nodemailer cannot be fetched: ' + r.stderr)
        if os.environ.get('CI') == 'true':
            sys.exit(1)


if __name__ == '__main__':
    if not os.environ.get('PARENT_INSIDE'):
        fetch()
    rig.inside()
    only = sys.argv[5:]
    sys.exit(rig.run_all([one_agent_for_all, cron], only if set(only) & {'cron', 'one_agent_for_all'} else
                         ['one_agent_for_all'] if only else ()))
