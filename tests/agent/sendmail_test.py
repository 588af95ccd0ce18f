#!/usr/bin/env python3
"""mailreeve-sendmail against an agent that says what it is told to: exit statuses (sysexits.h) and options.

    sendmail_test.py MAILREEVE_SENDMAIL
"""
import contextlib
import os
import pathlib
import re
import select
import socket
import subprocess
import sys
import tempfile
import threading

PROGRAM = os.path.abspath(sys.argv[1])
FINE = {'': '220 h ESMTP', 'EHLO': '250 h', 'MAIL': '250 2.1.0 fine', 'RCPT': '250 2.1.5 fine', 'DATA': '354 go', '.': '250 2.0.0 taken',
        'QUIT': '221 2.0.0 bye'}
TEXT = 'Subject: x\nFrom: a@example.org\n\nhello\n'
passed = failed = 0


def verdict(ok, what, why=''):
    global passed, failed
    if ok:
        passed += 1
    else:
        failed += 1
        print(f'FAIL {what}: {why}', flush=True)


class Agent:
    """Answers each verb by `replies`; None closes the connection. What it heard is in .heard."""

    def __init__(self, folder, replies):
        self.path, self.replies, self.heard = os.path.join(folder, 's'), {**FINE, **replies}, []
        self.s = socket.socket(socket.AF_UNIX)
        self.s.bind(self.path)
        self.s.listen()
        self.t = threading.Thread(target=self.run, daemon=True)
        self.t.start()

    def run(self):
        with contextlib.suppress(OSError):     # it goes when it likes
            self.talk()

    def talk(self):
        c, _ = self.s.accept()
        with c, c.makefile('rb') as f:
            said = self.replies['']
            data = False
            while said is not None:
                c.sendall(said.encode() + b'\r\n')
                data = said.startswith('354')
                lines = []
                while True:
                    line = f.readline()
                    if not line:
                        return
                    lines.append(line.decode().rstrip('\r\n'))
                    if not data or line == b'.\r\n':
                        break
                self.heard += lines
                said = self.replies['.' if data else lines[0].split()[0].upper()]

    def end(self):
        self.s.shutdown(socket.SHUT_RDWR)
        self.s.close()
        self.t.join(60)
        os.unlink(self.path)


def run(folder, argv, replies=None, text=TEXT, name=None, stdin=None):
    """(status, output, errors, what the agent heard)"""
    a = Agent(folder, replies or {})
    program = PROGRAM
    if name:
        program = os.path.join(folder, name)
        os.symlink(PROGRAM, program)
    how = {'stdin': stdin} if stdin is not None else {'input': text.encode()}
    p = subprocess.run([program, *argv], capture_output=True, timeout=120, env={**os.environ, 'MAILREEVE_SUBMISSION': a.path}, **how)
    a.end()
    if name:
        os.unlink(program)
    return p.returncode, p.stdout.decode(), p.stderr.decode(), a.heard


STATUSES = (
    ('EX_OK', 0, {}, 'b@example.com'),
    ('a sender that is no mailbox: EX_DATAERR', 65, {'MAIL': '553 5.1.7 no'}, 'b@example.com'),
    ('content: EX_DATAERR', 65, {'.': '550 5.6.0 no'}, 'b@example.com'),
    ('there is no such person: EX_NOUSER', 67, {'RCPT': '550 5.1.1 nobody'}, 'b@example.com'),
    ('there is no such domain: EX_NOHOST', 68, {'RCPT': '550 5.1.2 nowhere'}, 'b@example.com'),
    ('refused for another reason: EX_UNAVAILABLE', 69, {'.': '554 5.4.6 a loop'}, 'b@example.com'),
    ('too large: EX_UNAVAILABLE', 69, {'MAIL': '552 5.3.4 too large'}, 'b@example.com'),
    ('not now, at the greeting: EX_TEMPFAIL', 75, {'': '421 4.3.2 busy'}, 'b@example.com'),
    ('not now, the sender: EX_TEMPFAIL', 75, {'MAIL': '451 4.7.1 a limit'}, 'b@example.com'),
    ('not now, a recipient: EX_TEMPFAIL', 75, {'RCPT': '450 4.2.0 later'}, 'b@example.com'),
    ('not now, at the end: EX_TEMPFAIL', 75, {'.': '452 4.3.1 no space'}, 'b@example.com'),
    ('it goes away: EX_TEMPFAIL', 75, {'.': None}, 'b@example.com'),
    ('what answers is no agent: EX_TEMPFAIL', 75, {'': 'hello there'}, 'b@example.com'),
    ('the policy forbids the sender: EX_NOPERM', 77, {'MAIL': '550 5.7.1 not registered; contact x@example.org'}, 'b@example.com'),
    ('the policy forbids a recipient: EX_NOPERM', 77, {'RCPT': '550 5.7.1 not there'}, 'b@example.com'),
    ('a recipient that is no address: EX_USAGE', 64, {}, 'a b@@'),
)


def statuses(d):
    for what, want, replies, to in STATUSES:
        status, out, err, heard = run(d, ['-f', 'a@example.org', to], replies)
        verdict(status == want, what, (status, err))
        verdict(out == '', f'{what}: nothing on standard output', out)
        said = next((r for r in replies.values() if r), '')
        verdict(want == 0 or want == 64 or said == 'hello there' or said in err.replace(': ', ' ') or said.split(' ', 2)[2] in err,
                f'{what}: in the words of the agent', err)
    status, _, err, _ = run(d, ['-f', 'a@example.org', *[f'r{i}@example.com' for i in range(1001)]])
    verdict(status == 64 and '1000' in err, 'more recipients than 1000: EX_USAGE', (status, err))
    fd = os.open(d, os.O_RDONLY)
    status, _, err, heard = run(d, ['-f', 'a@example.org', 'b@example.com'], stdin=fd)
    os.close(fd)
    verdict(status == 74 and '.' not in heard, 'standard input that cannot be read: EX_IOERR, and nothing is sent', (status, err, heard))
    status, _, err, heard = run(d, ['-t', '-f', 'a@example.org'], text='To: <<<\n\nx\n')
    verdict(status == 65, 'a To field that cannot be read: EX_DATAERR', (status, err))
    status, _, err, heard = run(d, ['-f', 'a@example.org', 'b@example.com', 'c@example.com'], {'RCPT': '550 5.1.1 no'})
    verdict(status == 67 and not any(x.startswith('DATA') for x in heard), 'one recipient refused: nobody gets it', heard)


def options(d):
    def envelope(*argv, text=TEXT):
        status, _, err, heard = run(d, list(argv), text=text)
        verdict(status == 0, ' '.join(argv), (status, err))
        return next(x for x in heard if x.startswith('MAIL')), [x for x in heard if x.startswith('RCPT')], heard

    for argv in (('-f', 'a@example.org'), ('-fa@example.org',), ('-r', 'a@example.org'), ('-f', 'A B <a@example.org>')):
        verdict(envelope(*argv, 'b@example.com')[0] == 'MAIL FROM:<a@example.org>', ' '.join(argv), argv)
    for empty in ('', '<>'):
        verdict(envelope('-f', empty, 'b@example.com')[0] == 'MAIL FROM:<>', f'-f {empty!r} is the null path')
    mail, to, heard = envelope('-i', '-B', '8bitmime', '-N', 'failure,delay', '-R', 'full', '-V', 'q+1', '-f', 'a@example.org', 'b@example.com')
    verdict(mail == 'MAIL FROM:<a@example.org> BODY=8BITMIME RET=FULL ENVID=q+2B1' and to == ['RCPT TO:<b@example.com> NOTIFY=FAILURE,DELAY'],
            '-B -N -R -V', (mail, to))
    for argv in (('-N', 'never,delay'), ('-N', 'sometimes'), ('-R', 'half'), ('-B', '9bit'), ('-bz',), ('-V', ''), ('-f',), ('-Q',)):
        verdict(run(d, [*argv, 'b@example.com'] if argv != ('-f',) else argv)[0] == 64, f'{argv}: EX_USAGE')
    _, to, _ = envelope('-t', '-f', 'a@example.org', 'b@example.com', text='To: b@example.com, C <c@example.com>\nCc: g: d@example.com, e@example.com;\n\nx\n')
    verdict(sorted(to) == [f'RCPT TO:<{x}@example.com>' for x in 'bcde'], '-t, each once', to)
    for argv in (('-oem',), ('-om',), ('-od', ), ('-O', 'DeliveryMode=b'), ('-em',), ('-G',), ('-m',), ('-n',), ('-U',), ('-h', '3'), ('-L', 'tag'),
                 ('-p', 'ESMTP'), ('-C', '/dev/null'), ('-X', '/dev/null'), ('-d0', ), ('-Am',), ('-v',), ('-bm',), ('-q',)):
        envelope(*argv, '-f', 'a@example.org', 'b@example.com')
    heard = envelope('-oi', '-f', 'a@example.org', 'b@example.com', text='Subject: x\n\na\n.\nb\n')[2]
    verdict('..' in heard and 'b' in heard, '-oi: a dot ends nothing', heard)
    heard = envelope('-f', 'a@example.org', 'b@example.com', text='Subject: x\n\na\n.\nb\n')[2]
    verdict('b' not in heard, 'without it a dot ends', heard)
    heard = envelope('-f', 'a@example.org', '--', '-b@example.com')[1]
    verdict(heard == ['RCPT TO:<-b@example.com>'], 'behind -- no option', heard)
    status, _, err, _ = run(d, ['-v', '-f', 'a@example.org', 'b@example.com'])
    verdict('-> MAIL FROM' in err and '<- 250' in err and not re.search(r'<- \d+ (\S+) \1 ', err), '-v shows what is said, once', err)
    for argv, name, text in ((['-bp'], None, 'mailreevectl queue list'), ([], 'mailq', 'mailreevectl queue list'), ([], 'newaliases', ''),
                             (['-bi'], None, ''), (['-q'], None, ''), (['-q15m'], None, '')):
        status, out, err, heard = run(d, argv, name=name)
        verdict(status == 0 and text in out and not heard, f'{name or argv}: no mail', (status, out, heard))
    _, out, _, _ = run(d, ['--help'])
    verdict(all(f'  -{x}' in out for x in 'tifrFbNRVBqvo'), '--help tells the options', out)


def bs_waits_for_the_greeting(d):
    """A program may write all it has to say at once: what came before the greeting would be cut off."""
    path, early = os.path.join(d, 's'), []
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(path)
        s.listen()
        p = subprocess.Popen([PROGRAM, '-bs'], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             env={**os.environ, 'MAILREEVE_SUBMISSION': path})
        p.stdin.write(b'QUIT\r\n')
        p.stdin.close()
        c, _ = s.accept()
        early = select.select([c], [], [], 0.5)[0]
        c.sendall(b'220 h ESMTP\r\n')
        with c, c.makefile('rb') as f:
            heard = f.readline()
            c.sendall(b'221 2.0.0 bye\r\n')
    said = p.stdout.read()
    verdict(not early and heard == b'QUIT\r\n' and p.wait(60) == 0 and said == b'220 h ESMTP\r\n221 2.0.0 bye\r\n',
            '-bs speaks after the greeting', (early, heard, said))
    os.unlink(path)


def main():
    with tempfile.TemporaryDirectory() as d:
        for part in (statuses, options, bs_waits_for_the_greeting):
            part(str(pathlib.Path(d)))
    print(f'{passed} passed, {failed} failed')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
