"""A relay that is a process of its own, so that it can be killed and stopped: it writes down what it takes before
it says so, and behaves badly at random where it is told to.

    hour_relay.py HOST PORT BOOK MOOD SEED

BOOK: lines of JSON, added to, one for each recipient of each message, and one (doubt) where the reply to its end
may not have been heard. MOOD: a file whose first byte is 'w' while it is to be wild. Recipients that begin with
"nobody" are refused. Content has to have the digest that its X-Digest says.
"""
import asyncio
import hashlib
import json
import mmap
import os
import random
import re
import sys
import time

CHANCE = 0.012                 # of a mishap, at each command


class Gone(Exception):
    pass


class Relay:
    def __init__(self, book, mood, seed):
        self.book = os.open(book, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        with open(mood, 'rb') as f:
            self.mood = mmap.mmap(f.fileno(), 1, prot=mmap.PROT_READ)
        self.random = random.Random(seed)

    def note(self, **what):
        os.write(self.book, (json.dumps({'t': time.monotonic(), **what}) + '\n').encode())

    def mishap(self):
        if self.mood[0:1] != b'w' or self.random.random() > CHANCE:
            return ''
        return self.random.choice(('later', 'later', 'close', 'hang', 'slow', 'slow'))

    async def rough(self, say, what):
        """Whether a mishap has answered the command."""
        kind = self.mishap()
        if kind == 'hang':
            for _ in range(self.random.randint(1, 40)):
                if self.mood[0:1] == b'w':
                    await asyncio.sleep(0.5)
        if kind == 'slow':
            await asyncio.sleep(self.random.uniform(0.05, 1))
        if kind == 'close':
            raise Gone
        if kind == 'later':
            await say(f'451 4.3.0 {what}: not now')
        return kind == 'later'

    async def session(self, r, w):
        async def say(text):
            w.write(text.encode() + b'\r\n')
            await w.drain()
        try:
            await self.talk(r, say)
        except (Gone, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            w.close()

    async def talk(self, r, say):
        begun, sender, to = False, '', []
        if self.mishap():
            await say('421 4.3.2 come again')
            return
        await say('220 relay.example.org ESMTP')
        while True:
            line = await r.readuntil(b'\r\n')
            word = line[:4].upper()
            if word == b'QUIT':
                await say('221 2.0.0 bye')
                return
            if (word == b'DATA' and not to) or (word == b'RCPT' and not begun):
                await say('503 5.5.1 not in that order')
                continue
            if word in (b'MAIL', b'RCPT', b'DATA') and await self.rough(say, word.decode()):
                if word != b'RCPT':
                    begun, to = False, []
                continue
            if word == b'EHLO':
                await say('250-relay.example.org\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SIZE 30000000\r\n'
                          '250 ENHANCEDSTATUSCODES')
            elif word == b'MAIL':
                begun, sender, to = True, re.search(rb'<(.*?)>', line).group(1).decode(), []
                await say('250 2.1.0 ok')
            elif word == b'RCPT':
                address = re.search(rb'<(.*?)>', line).group(1).decode()
                if address.startswith('nobody'):
                    await say('550 5.1.1 nobody of that name here')
                else:
                    to.append(address)
                    await say('250 2.1.5 ok')
            elif word == b'DATA':
                await say('354 go on')
                head = b''
                while not head.endswith(b'\r\n\r\n') and line != b'.\r\n':
                    head += (line := await r.readuntil(b'\r\n'))
                if line == b'.\r\n':
                    await say('554 5.6.0 no body')
                else:
                    body = await r.readuntil(b'\r\n.\r\n')
                    await self.take(say, sender, to, head, (b'\r\n' + body[:-3]).replace(b'\r\n..', b'\r\n.')[2:])
                begun, to = False, []
            else:
                await say('250 2.0.0 ok')

    async def take(self, say, sender, to, head, body):
        kind = self.mishap()
        name = re.search(rb'(?mi)^message-id:\s*(\S+)', head)
        digest = re.search(rb'(?mi)^x-digest:\s*(\S+)', head)
        name = name.group(1).decode() if name else ''
        whole = not digest or hashlib.sha256(body).hexdigest().encode() == digest.group(1)
        if kind == 'later':
            await say('451 4.3.0 the content: not now')
            return
        for x in to:
            self.note(id=name, to=x, sender=sender, whole=whole)
        if kind == 'close':
            self.note(id=name, doubt=True)
            raise Gone
        if kind:
            await asyncio.sleep(self.random.uniform(0.05, 3 if kind == 'slow' else 12))
        try:
            await say('250 2.0.0 taken')
        except OSError:
            self.note(id=name, doubt=True)
            raise


async def main():
    host, port, book, mood, seed = sys.argv[1:6]
    relay = Relay(book, mood, int(seed))
    server = await asyncio.start_server(relay.session, host, int(port), limit=8 << 20, backlog=200)
    async with server:
        await server.serve_forever()


if __name__ == '__main__':
    asyncio.run(main())
