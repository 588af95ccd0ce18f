"""The role apply in an empty network namespace, for tests and benchmarks.

    again_in_namespace()      runs the script once more in a user and network namespace
    Role(drive, ...)          the role, by apply_drive: ask() and wait for events
    compile_all(...)          plans of all points of the policies in folders
"""
import glob
import json
import os
import pathlib
import queue
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

LONG = 60                      # seconds, for what surely comes: on a busy machine it takes its time


def again_in_namespace():
    if os.environ.get('APPLY_INSIDE'):
        return
    os.environ['APPLY_INSIDE'] = '1'
    os.execvp('unshare', ['unshare', '-Urnm', sys.executable, *sys.argv])


def nft(*args, text=None, check=True):
    """nft's output; with check it has to succeed."""
    p = subprocess.run(['nft', *args], input=text, capture_output=True, text=True)
    if check and p.returncode:
        raise AssertionError(f'nft {args}: {p.stderr}')
    return p.stdout if check else p


class Role:
    def __init__(self, drive, *options):
        self.p = subprocess.Popen([drive, *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                  text=True, bufsize=1)
        self.lines = queue.Queue()
        self.events = []
        self.names = {}
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.p.stdout:
            self.lines.put((time.monotonic(), json.loads(line)))

    def say(self, line):
        self.p.stdin.write(line + '\n')
        self.p.stdin.flush()

    def next(self, timeout=LONG):
        """The next thing told; events are kept, with the time when they came."""
        try:
            when, x = self.lines.get(timeout=timeout)
        except queue.Empty:
            return None
        if x.get('tell') == 'event':
            x['when'] = when
            self.events.append(x)
        return x

    def until(self, wanted, timeout=LONG):
        end = time.monotonic() + timeout
        while True:
            left = end - time.monotonic()
            x = self.next(max(left, 0.001))
            if x is None or left < 0:
                raise AssertionError(f'nothing such came; events: {self.events[-5:]}')
            if wanted(x):
                return x

    def ask(self, line, timeout=LONG):
        self.say(line)
        key = {'force': 'force', 'stat': 'pid', 'kill': 'gone'}.get(line.split()[0])
        return self.until(lambda x: key in x if key else x.get('tell') not in (None, 'event'), timeout)

    def event(self, *kinds, timeout=LONG):
        """The first event of these kinds from now on."""
        return self.until(lambda x: x.get('kind') in kinds, timeout)

    def quiet(self, seconds):
        """Listens for so long; the events that came."""
        n, end = len(self.events), time.monotonic() + seconds
        while time.monotonic() < end:
            self.next(max(end - time.monotonic(), 0.001))
        return self.events[n:]

    def numbers(self):
        return ' '.join(f'{k}={v}' for k, v in self.names.items())

    def do(self, plan, gen=None):
        """Applies; names that it asks for get numbers."""
        for _ in range(50):
            x = self.ask(f'do {plan} {self.numbers()}' + (f' gen={gen}' if gen else ''))
            if x['err'] == 2 and 'no such user or unit' in x['text']:
                name = x['text'].split(': this host')[0]
                self.names[f'user:{name}'] = 5000 + len(self.names)
                self.names[f'unit:{name}'] = 5000 + len(self.names)
                continue
            return x
        raise AssertionError(x)

    def check(self):
        return self.ask('check')

    def pid(self):
        return self.ask('stat')['pid']

    def close(self):
        if self.p.poll() is None:
            self.p.stdin.close()
            try:
                self.p.wait(LONG)
            except subprocess.TimeoutExpired:
                self.p.kill()
                raise AssertionError('the role does not end with its channel') from None
        return self.p.returncode

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        code = self.close()
        assert kind or code == 0, f'the role ended with {code}'


def compile_all(mailreeve, folders, to):
    """[(name, plan file)] of all points of all policies."""
    out = []
    for folder in folders:
        for path in sorted(glob.glob(os.path.join(folder, '*.yaml'))):
            points = subprocess.run([mailreeve, 'points', path], capture_output=True, text=True).stdout
            for line in points.splitlines():
                point = line.split()[0]
                name = f'{os.path.basename(path)[:-5]}-{point}'
                run = subprocess.run([mailreeve, 'compile', '--no-prove', path, '--point', point, '--to',
                                      'plan'], capture_output=True)
                if run.returncode == 0:
                    file = os.path.join(to, name + '.plan')
                    pathlib.Path(file).write_bytes(run.stdout)
                    out.append((name, file))
    return out


def list_policy(mailreeve, to, name, prefixes, families='ipv4', point='host'):
    """A plan that blocks the prefixes, and says the rest is not its business."""
    ranges = pathlib.Path(to, name + '.ranges')
    ranges.write_text('\n'.join(prefixes) + '\n')
    policy = pathlib.Path(to, name + '.yaml')
    policy.write_text(f'''mailreeve: 1
name: bench
networks:
  list: {{ranges-from: {ranges.name}, families: {families}}}
points:
  {point}:
    kind: host
    outbound:
      block:
        - {{to: list, ports: [smtp], with: drop}}
      otherwise: untouched
''')
    return compile_point(mailreeve, policy, to)


def compile_point(mailreeve, policy, to):
    """The plan of a policy of one point, beside others in the folder."""
    run = subprocess.run([mailreeve, 'compile', '--no-prove', str(policy), '--to', 'plan'], capture_output=True)
    if run.returncode:
        raise AssertionError(run.stderr.decode())
    file = pathlib.Path(to, pathlib.Path(policy).stem + '.plan')
    file.write_bytes(run.stdout)
    return str(file)
