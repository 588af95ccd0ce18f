#!/usr/bin/env python3
"""The control and metrics sockets: who may, what is no request, who reads slowly, and what is told.

    ctl_test.py MAILREEVED MAILREEVECTL [TEST ...]      runs by itself in namespaces
"""
import os
import pathlib
import random
import re
import socket
import struct
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import parent_rig as rig  # noqa: E402
from parent_rig import Agent, LONG, answer, connect, knock, outer_link, request, verdict, wait_for  # noqa: E402

DAEMON, CTL = (os.path.abspath(x) for x in sys.argv[1:3])
CONTROL_GROUP, STRANGER = 8, 4711      # the group mail of every Debian system


def agent(**kw):
    return Agent(DAEMON, CTL, **kw)


def as_user(uid, gid, groups, path):
    """What a process of that user gets from the control socket: an errno, or (status, text)."""
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups(groups)
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)
            s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            s.settimeout(LONG)
            s.connect(path)
            try:
                s.send(request(rig.STATUS))
            except OSError:
                pass
            os.write(w, repr(answer(s)).encode())
        except OSError as e:
            os.write(w, repr(e.errno).encode())
        os._exit(0)
    os.close(w)
    out = os.read(r, 65536).decode()
    os.close(r)
    os.waitpid(pid, 0)
    return eval(out)


def only_root_and_the_group_may_control():
    a = agent(options=['--group', 'mail']).start()
    os.chmod(a.dir, 0o755)
    path = str(a.run / 'control.sock')
    if rig.many_users():
        verdict(as_user(STRANGER, STRANGER, [], path) == 13, 'a stranger meets the mode of the socket')
        os.chmod(path, 0o777)
        status, said = as_user(STRANGER, STRANGER, [], path)
        verdict(status == 3 and 'may not control' in said, 'and is refused behind it', said)
        for gid, groups in ((CONTROL_GROUP, []), (STRANGER, [CONTROL_GROUP]), (STRANGER, [1, CONTROL_GROUP, 9])):
            status, said = as_user(STRANGER, gid, groups, path)
            verdict(status == 0 and 'in force' in said, f'a member may: {gid} {groups}', said)
        status, said = as_user(STRANGER, STRANGER, [1, 9], path)
        verdict(status == 3, 'another group may not', said)
        verdict('mailreeve_clients_refused_total 2\n' in a.ctl('metrics').out, 'counted', a.ctl('metrics'))
    else:
        verdict(os.stat(path).st_mode & 0o777 == 0o660, 'the mode of the socket')
        print('one user only: strangers are not tried here')
    verdict(a.ctl('status').status == 0, 'root may')
    a.end()


def what_is_no_request_is_answered_by_an_error():
    a = agent().start()
    whole = request(rig.STATUS)
    bad = [b'\0', b'x' * 11, b'\xff' * 12, whole[:-1], whole + b'\0', request(0), request(99), request(2 ** 32 - 1),
           whole[:8] + struct.pack('=I', 2 ** 32 - 1) + whole[12:], b'\0' * 60000,
           struct.pack('=III', 1, 1, 24) + struct.pack('=IIQII', 0, 0, 0, 2 ** 31, 0),
           request(rig.APPLY, address='x' * 60).replace(b'x' * 60, b'x' * 30 + b'\0' + b'x' * 29),
           request(rig.APPLY, address='y' * 5000)]
    for b in bad:
        s = connect(a)
        s.send(b)
        status, said = answer(s)
        verdict(status == 2 and 'no request' in said, f'{b[:30]!r}', (status, said))
        verdict(s.recv(100) == b'', 'and closed')
        s.close()
    s = connect(a)
    s.send(whole)
    s.send(whole)
    status, said = answer(s)
    verdict(status in (0, 2), 'two requests', (status, said))
    s.close()
    s = connect(a)
    socket.send_fds(s, [whole], [0, 1, 2, 0, 1, 2, 0])
    verdict(answer(s)[0] in (0, 2), 'descriptors that nobody wants')
    s.close()
    fds = len(list(pathlib.Path(f'/proc/{a.process.pid}/fd').iterdir()))
    for _ in range(3000):
        s = connect(a)
        b = bytearray(random.choice([whole, request(rig.CONFIRM), request(rig.PLAN + 20)]))
        for _ in range(random.randrange(6)):
            b[random.randrange(len(b))] = random.randrange(256)
        if random.random() < 0.3:
            b = b[:random.randrange(len(b) + 1)]
        op = struct.unpack('=I', (bytes(b) + b'\0' * 4)[:4])[0]
        if b and op not in (rig.APPLY, 13):
            s.send(b)
        s.close()
    verdict(wait_for(lambda: len(list(pathlib.Path(f'/proc/{a.process.pid}/fd').iterdir())) <= fds),
            'no descriptor is left open')
    first = a.ctl('status')            # compilations that nobody waits for any more may be ahead of it
    verdict(first.status in (0, 3) and wait_for(lambda: a.ctl('status').status == 0) and a.process.poll() is None,
            'it answers still', (first, a.said()[-500:]))
    a.end()


def clients_are_bounded_and_slow_ones_dropped():
    a = agent().start()
    idle = [connect(a) for _ in range(16)]
    r = a.ctl('status')
    verdict(r.status == 3, 'the seventeenth is turned away', r)
    idle.pop().close()
    verdict(wait_for(lambda: a.ctl('history').status == 0), 'when one goes, the next may come')
    for s in idle:
        verdict(s.recv(10) == b'', 'who asks nothing is dropped')
    # asks much, reads nothing
    slow = []
    for _ in range(8):
        s = connect(a)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        s.send(request(11))
        slow.append(s)
    verdict(a.ctl('status').status == 0, 'others are served meanwhile')
    for s in slow:
        s.close()
    verdict(a.ctl('status').status == 0, 'and afterwards')
    a.end()


# ---- metrics ----------------------------------------------------------------------------------------

NAME = re.compile(r'[a-zA-Z_:][a-zA-Z0-9_:]*\Z')
LABELS = re.compile(r'(?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*",?)*\Z')
SAMPLE = re.compile(r'([^ {]+)(?:\{(.*)\})? (\S+)\Z')


def faults(text):
    """What is not the text exposition format 0.0.4, or against its customs; the samples."""
    out, types, seen, samples, closed, last = [], {}, set(), {}, set(), None
    if text and not text.endswith('\n'):
        out.append('no line break at the end')
    for line in text.split('\n')[:-1]:
        if line.startswith('# '):
            word, name, rest = line[2:].split(' ', 2)
            if word == 'TYPE':
                if name in types or rest not in ('counter', 'gauge'):
                    out.append(line)
                if rest == 'counter' and not name.endswith('_total'):
                    out.append(f'a counter is called {name}')
                types[name] = rest
                if last:
                    closed.add(last)
                last = name
                if name in closed:
                    out.append(f'{name} is in two places')
            elif word == 'HELP':
                if name in seen or not rest:
                    out.append(line)
                seen.add(name)
            else:
                out.append(line)
            continue
        m = SAMPLE.match(line)
        if not m or not NAME.match(m[1]) or (m[2] and not LABELS.match(m[2])):
            out.append(line)
            continue
        try:
            float(m[3])
        except ValueError:
            out.append(line)
        if m[1] != last or m[1] not in seen:
            out.append(f'{line}: without TYPE and HELP before it')
        if (m[1], m[2]) in samples:
            out.append(f'{line}: twice')
        if not m[1].startswith('mailreeve_'):
            out.append(f'{line}: its name')
        samples[m[1], m[2]] = float(m[3])
    return out, samples


def read_socket(a, first=b''):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(LONG)
    s.connect(str(a.run / 'metrics.sock'))
    if first:
        s.send(first)
    out = b''
    while True:
        m = s.recv(65536)
        if not m:
            return out.decode()
        out += m


def metrics_are_what_prometheus_reads():
    d = pathlib.Path(rig.tempfile.mkdtemp(prefix='parent-'))
    (d / 'textfiles').mkdir()
    a = agent(folder=d, options=['--textfile', str(d / 'textfiles' / 'mailreeve.prom')])
    a.write(25)
    a.start()
    prom = d / 'textfiles' / 'mailreeve.prom'
    verdict(wait_for(lambda: prom.exists() and 'mailreeve_generation 1\n' in prom.read_text()), 'the textfile', a.said())
    outer_link()
    knock(25)
    verdict(wait_for(lambda: faults(a.ctl('metrics').out)[1].get(
        ('mailreeve_statement_packets_total', 'statement="outbound-shut"')), LONG, 0.2), 'counted', a.ctl('metrics'))
    for what, text in (('ctl', a.ctl('metrics').out), ('socket', read_socket(a)),
                       ('HTTP', read_socket(a, b'GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n'))):
        if what == 'HTTP':
            head, text = text.split('\r\n\r\n', 1)
            verdict(head.startswith('HTTP/1.0 200 OK') and f'Content-Length: {len(text)}' in head and
                    'version=0.0.4' in head, 'HTTP head', head)
        wrong, samples = faults(text)
        verdict(not wrong, what, wrong)
        verdict(samples.get(('mailreeve_in_force', None)) == 1 and
                samples.get(('mailreeve_statement_packets_total', 'statement="outbound-shut"'), 0) >= 1,
                f'{what}: samples', text)
    verdict(faults('x 1\n')[0] and faults('# TYPE mailreeve_a counter\n')[0] and
            faults('# HELP mailreeve_a_total b\n# TYPE mailreeve_a_total counter\nmailreeve_a_total{x="\\q"} 1\n')[0],
            'the checker finds faults')
    curl = subprocess.run(['curl', '-sS', '--max-time', '60', '--unix-socket', str(a.run / 'metrics.sock'),
                           'http://localhost/metrics'], capture_output=True, text=True) \
        if rig.shutil.which('curl') else None
    if curl:
        verdict(curl.returncode == 0 and not faults(curl.stdout)[0] and curl.stdout, 'curl', curl)
    f = d / 'textfiles' / 'mailreeve.prom'
    verdict(wait_for(f.exists) and not faults(f.read_text())[0], 'the textfile')
    verdict([x.name for x in (d / 'textfiles').iterdir()] == ['mailreeve.prom'], 'nothing beside it')
    for odd in (b'POST / HTTP/1.0\r\n\r\n', b'\0' * 5000, b'GET ' + b'x' * 20000):
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(LONG)
        s.connect(str(a.run / 'metrics.sock'))
        try:
            s.sendall(odd)
            verdict(s.recv(100) == b'', f'{odd[:8]!r} is not answered')
        except ConnectionError:
            pass
        s.close()
    many = []
    for _ in range(30):
        s = socket.socket(socket.AF_UNIX)
        s.connect(str(a.run / 'metrics.sock'))
        many.append(s)
    for s in many:
        s.close()
    verdict(wait_for(lambda: not faults(read_socket(a))[0] and read_socket(a)), 'it answers still')
    verdict(a.ctl('status').status == 0, 'and is well')
    a.end()


def figures_agree_with_their_words():
    a = agent().start()
    r = a.ctl('block', '192.0.2.9', '--for', '1h')
    verdict('blocked for 1 h' in r.out, 'an hour', r)
    a.policy.write_text(a.policy.read_text().replace('otherwise:', 'otherwize:', 1))
    r = a.ctl('apply')
    verdict(r.status == 1 and ('(1 error)' in r.err or re.search(r'\(\d\d* errors\)', r.err)) and
            '(1 errors)' not in r.err, 'errors', r)
    a.end()


def wrong_use_is_said():
    a = agent().start()
    for args, word in ((['aply'], 'did you mean'), (['apply', 'x'], 'number'), (['apply', '--confirm', '10'], '10min'),
                       (['apply', '--confirm'], 'missing'), (['block'], 'address'), (['block', '192.0.2.1'], '--for'),
                       (['status', 'now'], 'what is'), (['status', '--force'], 'does not take'),
                       (['drift', '--last', '0'], 'number')):
        r = subprocess.run([CTL, *args], capture_output=True, text=True, env={**os.environ, 'MAILREEVE_RUN': str(a.run)})
        verdict(r.returncode == 2 and word in r.stderr, args, r)
    for args, word in ((['--polcy', 'x'], '--policy'), (['--policy'], 'takes FILE'), (['--version=1'], 'nothing'),
                       (['--point', 'a', '--point', 'b'], 'twice')):
        r = subprocess.run([DAEMON, *args], capture_output=True, text=True)
        verdict(r.returncode == 2 and word in r.stderr, args, r)
    r = subprocess.run([CTL, 'status', '--run', '/nowhere'], capture_output=True, text=True)
    verdict(r.returncode == 3 and 'is mailreeved running?' in r.stderr, 'no agent', r)
    for args in (['--run', str(a.run), 'status', '--json'], [f'--run={a.run}', '--json', 'status'],
                 ['--last', '3', '--run', str(a.run), 'history']):
        r = subprocess.run([CTL, *args], capture_output=True, text=True)
        verdict(r.returncode == 0 and r.stdout, f'options before the command: {args}', r)
    r = subprocess.run([CTL, '--run', str(a.run)], capture_output=True, text=True)
    verdict(r.returncode == 2, 'and no command', r)
    for program in (CTL, DAEMON):
        r = subprocess.run([program, '--help'], capture_output=True, text=True)
        verdict(r.returncode == 0 and 'usage:' in r.stdout, 'help', r)
    a.end()


def manual_pages_are_well_formed():
    for args in ((CTL, 'manual'), (DAEMON, '--manual')):
        page = subprocess.run(args, capture_output=True, text=True).stdout
        verdict(page.startswith('.\\"') and '.SH NAME' in page and '.SH OPTIONS' in page, args, page[:200])


TESTS = [v for k, v in list(globals().items()) if callable(v) and getattr(v, '__module__', '') == '__main__'
         and k not in ('agent', 'as_user', 'faults', 'read_socket')]

if __name__ == '__main__':
    rig.inside()
    sys.exit(rig.run_all(TESTS, sys.argv[3:], rig.AT_ONCE))
