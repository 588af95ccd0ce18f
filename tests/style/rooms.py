#!/usr/bin/env python3
"""The map of rooms, tested.

A line of code knows its room and what it may touch: an include that goes up,
a foreign header with a second owner, a banned call or a file that has grown
past one room's size fails here. HACKING.md tells the map to people.
"""
import pathlib
import re
import sys

TOP = pathlib.Path(__file__).resolve().parents[2]

# room: rooms it may include. A room may always include itself.
MAP = {
    'lib/base': [],
    'lib/text': ['lib/base'],
    'lib/doc': ['lib/base', 'lib/text'],
    'lib/addr': ['lib/base'],
    'lib/shape': ['lib/base', 'lib/text', 'lib/doc'],
    'lib/policy': ['lib/base', 'lib/text', 'lib/doc', 'lib/addr', 'lib/shape'],
    'lib/flow': ['lib/base', 'lib/text', 'lib/addr', 'lib/policy'],
    'lib/mail': ['lib/base', 'lib/text', 'lib/addr', 'lib/policy'],
    'lib/plan': ['lib/base', 'lib/text', 'lib/addr', 'lib/policy'],
    'lib/nl': ['lib/base', 'lib/plan'],
    'lib/vm': ['lib/base', 'lib/addr', 'lib/flow', 'lib/nl'],
    'lib/look': ['lib/base', 'lib/text', 'lib/addr', 'lib/policy', 'lib/flow', 'lib/mail'],
    'lib/world': ['lib/base', 'lib/text', 'lib/addr', 'lib/policy'],
    'lib/compile': ['lib/base', 'lib/text', 'lib/addr', 'lib/policy', 'lib/flow', 'lib/mail',
                    'lib/plan', 'lib/look'],
    'lib/prove': ['lib/base', 'lib/text', 'lib/addr', 'lib/policy', 'lib/flow', 'lib/plan', 'lib/nl',
                  'lib/vm'],
    'lib/tell': ['lib/base', 'lib/text', 'lib/addr', 'lib/policy', 'lib/flow', 'lib/look', 'lib/prove',
                 'lib/world'],
    'gen/out': ['lib/base', 'lib/text', 'lib/addr', 'lib/plan'],
    'gen': ['lib/base', 'lib/text', 'lib/doc', 'lib/addr', 'lib/policy', 'lib/flow', 'lib/mail',
            'lib/plan', 'lib/nl', 'lib/look', 'lib/world', 'lib/compile', 'lib/prove', 'lib/tell',
            'gen/out'],
    'agent/ipc': ['lib/base'],
    'agent/jail': ['lib/base'],
    'agent/log': ['lib/base'],
    'agent/tls': ['lib/base'],
    'agent/dns': ['lib/base'],
    'agent/sasl': ['lib/base'],
    'agent/peer': ['lib/base'],
    'agent/role': ['lib/base', 'lib/text', 'lib/doc', 'lib/addr', 'lib/policy', 'lib/flow', 'lib/mail', 'lib/vm',
                   'lib/plan', 'lib/nl', 'lib/look', 'lib/world', 'lib/compile', 'lib/prove', 'lib/tell',
                   'agent/ipc', 'agent/jail', 'agent/log', 'agent/peer', 'agent/smtp', 'agent/spool',
                   'agent/dns', 'agent/sasl', 'agent/tls'],
    'agent/smtp': ['lib/base', 'lib/mail'],
    'agent/spool': ['lib/base'],
    'agent/state': ['lib/base'],
    'agent/parent': ['lib/base', 'lib/addr', 'agent/ipc', 'agent/jail', 'agent/log', 'agent/role', 'agent/state'],
    'agent/ctl': ['lib/base', 'agent/ipc'],
    'agent': ['lib/base', 'lib/plan', 'lib/nl', 'agent/ipc', 'agent/jail', 'agent/log', 'agent/parent', 'agent/peer',
              'agent/role', 'agent/smtp'],
}

# a foreign header, or a folder of them: the one room that may include it
OWNER = {
    'yaml.h': 'lib/doc',
    'libcidr.h': 'lib/addr',
    'sha2.h': ('lib/base', 'lib/plan'),  # plan has a stream of its own through it
    'libmnl/': 'lib/nl',
    'libnftnl/': 'lib/nl',
    'linux/netfilter/': 'lib/nl',
    'linux/netfilter.h': 'lib/nl',
    'linux/netfilter_ipv4/': 'lib/nl',
    'linux/netfilter_ipv6/': 'lib/nl',
    'linux/openat2.h': 'lib/world',
    'sched.h': 'lib/prove',
    'seccomp.h': 'agent/jail',
    'linux/landlock.h': 'agent/jail',
    'linux/capability.h': ('agent/jail', 'lib/prove'),
    'linux/inet_diag.h': 'agent/peer',
    'linux/perf_event.h': 'agent/peer',
    'systemd/sd-journal.h': 'agent/log',
    'systemd/sd-daemon.h': 'agent/parent',
    'systemd/sd-event.h': 'agent/parent',
    'openssl/': 'agent/tls',
    'ares.h': 'agent/dns',
    'gsasl.h': 'agent/sasl',
}

# room: its files, and their companions (fdd_op beside fdd), that know no policy
GENERIC = {'lib/flow': ['lib/flow/field', 'lib/flow/ival', 'lib/flow/fdd']}

# room: of these rooms it may include these headers alone
PARTS = {'lib/vm': {'lib/flow': ['flow/field.h', 'flow/ival.h', 'flow/fdd.h'],
                    'lib/nl': ['nl/dump.h', 'nl/xtread.h']},
         'agent/smtp': {'lib/mail': ['mail/mail.h']},
         # the parent has no parsers: of the roles it knows only how an attempt is told
         'agent/parent': {'agent/role': ['role/attempt_ring.h', 'role/attempt_text.h']}}

BANNED = ['strcpy', 'strcat', 'sprintf', 'vsprintf', 'gets', 'strtok', 'atoi', 'atol', 'alloca',
          'popen', 'system', 'cidr_from_str', 'cidr_to_str']
# lib never prints, exits, or reads the clock or the environment; lib/world reads files and zones
LIB_BANNED = ['printf', 'puts', 'putchar', 'fprintf', 'exit', '_exit', 'time', 'getenv', 'fopen',
              'open', 'gettimeofday', 'clock_gettime', 'getaddrinfo', 'gethostbyname']
# room: what it may call all the same
ALLOWED = {'lib/prove': ['open']}  # its namespaces' own files in /proc
MOST_LINES = 800

errors = []


def room_of(path):
    rel = path.relative_to(TOP).as_posix()
    best = None
    for room in MAP:
        if rel.startswith(room + '/') and (best is None or len(room) > len(best)):
            best = room
    return best


def target_room(name):
    """The room of a quoted include: "addr/set.h" or "gen/args.h"."""
    for base in ('lib/', 'agent/', ''):
        path = TOP / (base + name)
        if path.exists():
            return room_of(path)
    return None


def code_only(text):
    """The text without comments and string literals, line breaks kept."""
    def blank(m):
        return re.sub(r'[^\n]', ' ', m.group(0))
    return re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', blank, text,
                  flags=re.S)


def check(path):
    room = room_of(path)
    rel = path.relative_to(TOP).as_posix()
    text = path.read_text()
    if room is None:
        errors.append(f'{rel}: in no room of the map')
        return
    if text.count('\n') > MOST_LINES and path.suffix in ('.c', '.h'):
        errors.append(f'{rel}: over {MOST_LINES} lines: is it one room?')
    for n, line in enumerate(text.split('\n'), 1):
        m = re.match(r'\s*#\s*include\s+([<"])([^>"]+)[>"]', line)
        if not m:
            continue
        kind, name = m.groups()
        if kind == '<':
            owner = OWNER.get(name) or next((r for f, r in OWNER.items()
                                             if f.endswith('/') and name.startswith(f)), None)
            owners = (owner,) if isinstance(owner, str) else owner or (room,)
            if room not in owners:
                errors.append(f'{rel}:{n}: <{name}> belongs to {" and ".join(owners)} alone')
            continue
        target = target_room(name)
        if target is None:
            errors.append(f'{rel}:{n}: "{name}" is in no room')
        elif target != room and target not in MAP[room]:
            errors.append(f'{rel}:{n}: {room} may not include {target} ("{name}")')
        parts = PARTS.get(room, {}).get(target)
        if parts and name not in parts:
            errors.append(f'{rel}:{n}: {room} may include of {target} only {", ".join(parts)}')
        if target == 'lib/policy' and rel.startswith(
                tuple(g + end for g in GENERIC.get(room, []) for end in '._')):
            errors.append(f'{rel}:{n}: the generic part of {room} may not include {target}')
    code = code_only(text)
    banned = BANNED + (LIB_BANNED if room.startswith('lib/') and room != 'lib/world' else [])
    for name in banned:
        if name in ALLOWED.get(room, []):
            continue
        for m in re.finditer(r'(?<![\w.>])' + name + r'\s*\(', code):
            line = code.count('\n', 0, m.start()) + 1
            errors.append(f'{rel}:{line}: {name}() is banned here')


def main():
    files = sorted(p for d in ('lib', 'gen', 'agent') for p in (TOP / d).rglob('*')
                   if p.suffix in ('.c', '.h', '.def'))
    if len(files) < 20:
        errors.append('the sources were not found')
    for path in files:
        check(path)
    hacking = (TOP / 'HACKING.md').read_text()
    for room in MAP:
        if f'`{room}`' not in hacking:
            errors.append(f'HACKING.md does not tell of the room {room}')
        if not (TOP / room).is_dir():
            errors.append(f'the map has a room {room} that does not exist')
    for e in errors:
        print(e)
    print(f'{len(files)} files')
    passed = 0 if errors else 1
    print(f'{passed} passed, {1 - passed} failed')
    return 1 if errors else 0


if __name__ == '__main__':
    sys.exit(main())
