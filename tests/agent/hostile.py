#!/usr/bin/env python3
"""Clients that mean it ill, and one that does not, for tests.

    hostile.py slow UID PORT N       holds N connections, each at another place of a session
    hostile.py flood UID PORT 1      connects and leaves, as fast as it can
    hostile.py good UID PORT 1       sends a message after the other; a line each: ms to the 220, how often it was turned
                                     away before (421: it connects again), the last code

Each as that user, until its standard input ends.
"""
import os
import select
import socket
import sys
import threading
import time


class Slow(threading.Thread):
    """Holds `n` connections, each at another place of a session, and lets a byte fall now and then."""

    def __init__(self, port, n):
        super().__init__(daemon=True)
        self.port, self.n, self.over = port, n, False
        self.open = []

    def start_one(self, i):
        s = socket.create_connection(("127.0.0.1", self.port))
        s.settimeout(2)
        way = i % 5
        try:
            s.recv(1000)
            if way == 1:
                s.sendall(b"EHLO x\r\nMAI")
            elif way >= 2:
                s.sendall(b"EHLO x\r\n")
                s.recv(1000)
                s.sendall(b"MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n")
                s.recv(1000)
                # a header as large as is read, without its end; or half a body
                s.setblocking(False)
                s.send(b"Subject: x\r\n" + (b"X: " + b"y" * 900 + b"\r\n") * (270 if way < 4 else 3))
        except (OSError, TimeoutError):
            pass
        return s

    def run(self):
        i = 0
        while not self.over:
            while len(self.open) < self.n and not self.over:
                try:
                    self.open.append(self.start_one(i))
                except OSError:
                    break
                i += 1
            live = []
            for s in self.open:
                try:
                    s.setblocking(False)
                    s.send(b"a")
                    live.append(s)
                except BlockingIOError:
                    live.append(s)
                except OSError:
                    s.close()
            self.open = live
            time.sleep(0.1)
        for s in self.open:
            s.close()


class Flood(threading.Thread):
    def __init__(self, port):
        super().__init__(daemon=True)
        self.port, self.over, self.made = port, False, 0

    def run(self):
        while not self.over:
            try:
                socket.create_connection(("127.0.0.1", self.port), 2).close()
                self.made += 1
            except OSError:
                time.sleep(0.01)


def good(port):
    """As told above; the code 0: it was cut off."""
    begun, code, away = time.monotonic(), b"421", -1
    try:
        while code == b"421" and time.monotonic() - begun < 60:
            away += 1
            time.sleep(0.01 if away else 0)
            s = socket.create_connection(("127.0.0.1", port), 120)
            f = s.makefile("rb")
            code = f.readline()[:3] or b"0"
        took = time.monotonic() - begun
        with s, f:
            for line in (b"HELO x", b"MAIL FROM:<a@example.org>", b"RCPT TO:<b@example.net>", b"DATA",
                         b"From: a@example.org\r\nSubject: x\r\n\r\nhello\r\n."):
                if code[:1] not in (b"2", b"3"):
                    break
                s.sendall(line + b"\r\n")
                code = f.readline()[:3] or b"0"
    except OSError:
        took, code = time.monotonic() - begun, b"0"
    return 1000 * took, away, code.decode()


def main():
    what, uid, port, n = sys.argv[1], *map(int, sys.argv[2:5])
    socket.getaddrinfo("127.0.0.1", port)
    if uid:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    if what == "good":
        print("%.1f %d %s" % good(port), flush=True)
        while not select.select([sys.stdin], [], [], 0.02)[0]:
            print("%.1f %d %s" % good(port), flush=True)
        return
    threads = [Flood(port)] if what == "flood" else [Slow(port, n // 2), Slow(port, n - n // 2)]
    for t in threads:
        t.start()
    sys.stdin.read()
    for t in threads:
        t.over = True
    for t in threads:
        t.join(10)


if __name__ == "__main__":
    main()
