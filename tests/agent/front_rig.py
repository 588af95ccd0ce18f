"""The role front in a child of front_rig, for tests: its queue and its parent are front_rig itself."""
import json
import os
import pathlib
import queue
import socket
import subprocess
import threading
import time

LONG = 60                      # seconds, for what surely comes: on a busy machine it takes its time

HEAD = """mailreeve: 1
name: front-test
contact: postmaster@example.org
networks:
  relay-servers: [192.0.2.0/28, "2001:db8:25::/64"]
relays:
  smart:
    class: device
    ranges: relay-servers
    host: smtp.example.org
    endpoints: [{port: 25, tls: starttls}]
    auth: none
    accepts: {recipients: any, message-size: up to 40 MB}
  inner:
    class: device
    ranges: relay-servers
    host: inner.example.org
    endpoints: [{port: 25, tls: starttls}]
    auth: none
    accepts: {recipients: ["@inner.example.org"], message-size: below 20 kB}
kinds:
  site: {limits: [{messages: 100000, per: hour, over: defer}]}
submission:
  listen: [127.0.0.1, "::1"]
  routes: [{to: ["@inner.example.org", "@other.example.org"], via: inner}, {to: any, via: smart}]
"""
WEB = """  applications:
    web:
      kind: site
      runs-as: {user: tester}
      owners: [web@example.org]
      senders: [{envelope: "*@example.org"}]
  unregistered: refuse
"""


class Front:
    def __init__(self, rig, folder, policy=HEAD + WEB, users=None, most=0, command_ms=0, nofile=0,
                 settle_ms=0):
        self.dir = pathlib.Path(folder)
        self.policy = self.dir / "policy.yaml"
        self.policy.write_text(policy)
        command = [rig, str(self.dir), str(self.policy), "0", str(most), str(command_ms), str(settle_ms)]
        if nofile:
            command = ["prlimit", f"--nofile={nofile}:{nofile}", *command]
        self.log = open(self.dir / "log", "a+")
        self.p = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log,
                                  text=True, bufsize=1)
        self.lines = queue.Queue()
        self.told = []
        threading.Thread(target=self._read, daemon=True).start()
        first = self.next()
        self.port, self.pid = first["port"], first["pid"]
        self.sock = str(self.dir / "submission.sock")
        self.users = users if users is not None else {"tester": os.getuid()}
        for name, uid in self.users.items():
            self.say(f"name {name} {uid}")
        self.say("names")
        waits = {"ready": 1, "taken": 2}
        while any(waits.values()):
            x = self.next()
            assert not x.get("err"), x
            if x.get("tell") in waits:
                waits[x["tell"]] -= 1

    def _read(self):
        for line in self.p.stdout:
            self.lines.put(json.loads(line))
        self.lines.put(None)

    def say(self, line):
        self.p.stdin.write(line + "\n")
        self.p.stdin.flush()

    def next(self, timeout=LONG):
        x = self.lines.get(timeout=timeout)
        if x is None:
            raise AssertionError("front_rig has ended: " + self.said())
        self.told.append(x)
        return x

    def until(self, kind, timeout=LONG):
        """The next thing of that kind."""
        end = time.monotonic() + timeout
        while True:
            x = self.next(max(end - time.monotonic(), 0.001))
            if x.get("tell") == kind or kind in x:
                return x

    def quiet(self, seconds=0.3):
        """What is told within so long."""
        out, end = [], time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            try:
                x = self.lines.get(timeout=left)
            except queue.Empty:
                break
            if x is None:
                break
            out.append(x)
        return out

    def so_far(self):
        """What has been told up to now: a question that is asked now is answered behind it."""
        self.say("count")
        out = []
        while (x := self.next()).get("tell") != "counted":
            out.append(x)
        return out

    def seals(self):
        return [x for x in self.so_far() if x.get("tell") == "seal"]

    def content(self, seal):
        return (self.dir / seal["id"]).read_bytes()[seal["offset"]:]

    def apply(self, policy):
        self.policy.write_text(policy)
        self.say(f"policy {self.policy}")
        return self.until("taken")

    def count(self):
        self.say("count")
        return self.until("counted")

    def stat(self):
        self.say("stat")
        return self.until("rss")

    def said(self):
        return (self.dir / "log").read_text()

    def stop(self):
        """Its exit status, after it was told to end."""
        self.say("stop")
        return self.end()

    def end(self):
        end = time.monotonic() + LONG
        last = {}
        while time.monotonic() < end:
            x = self.lines.get(timeout=LONG)
            if x is None:
                break
            last = x if "end" in x else last
        self.p.wait(LONG)
        self.log.close()
        return last.get("end"), last.get("signal")

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind:
            print("     it said: " + "".join(self.said().splitlines(True)[-5:]))
        if self.p.poll() is None:
            self.p.stdin.close()
            self.p.stdin = None
            end = self.end()
            if kind:
                print(f"     it ended with {end}")
            assert kind or end == (0, 0), f"the role ended with {end}"


class Client:
    """A client that says exactly what it is told to."""

    def __init__(self, where, greet=True):
        if isinstance(where, str):
            self.s = socket.socket(socket.AF_UNIX)
            self.s.connect(where)
        else:
            self.s = socket.create_connection(("127.0.0.1", where))
        self.s.settimeout(LONG)
        self.got = b""
        self.greeting = self.reply() if greet else None

    def send(self, *lines):
        self.s.sendall(b"".join(x if isinstance(x, bytes) else x.encode() + b"\r\n" for x in lines))

    def reply(self):
        """The next whole reply: its code and its text; None at the end."""
        lines = []
        while True:
            while b"\r\n" not in self.got:
                try:
                    more = self.s.recv(65536)
                except ConnectionError:
                    more = b""
                if not more:
                    return None
                self.got += more
            line, self.got = self.got.split(b"\r\n", 1)
            lines.append(line.decode("ascii"))
            if line[3:4] != b"-":
                return lines[-1][:3], "\n".join(lines)

    def say(self, *lines):
        """Sends each line and gives the last reply."""
        got = None
        for line in lines:
            self.send(line)
            got = self.reply()
        return got

    def begin(self, sender="a@example.org", to=("b@example.com",), options=""):
        """To the 354, pipelined; the code of each reply."""
        self.send("EHLO client.example.org")
        out = [self.reply()]
        self.send(f"MAIL FROM:<{sender}>{options}", *[f"RCPT TO:<{x}>" for x in to], "DATA")
        return out + [self.reply() for _ in range(2 + len(to))]

    def message(self, content, **envelope):
        """One message; the last reply."""
        got = self.begin(**envelope)
        if got[-1] is None or got[-1][0] != "354":
            return next(x for x in got if x is None or x[0] >= "400")
        self.send(content if isinstance(content, bytes) else content.replace("\n", "\r\n").encode(), b".\r\n")
        return self.reply()

    def close(self):
        self.s.close()
