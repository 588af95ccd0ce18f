#!/usr/bin/env python3
"""The agent in a machine whose power goes: `run` starts it from the same disk again and again.

    power.py SOURCE BUILD first|second|third|torn

The state lies on an ext4 of its own disk. "The network is up" only behind READY=1, as
Before=network-pre.target has it. With a line CUT the power may go; the lines BEGIN and END of the
third start tell what is being done, and are with the host before the next thing is done.
"""
import glob
import os
import pathlib
import re
import socket
import subprocess
import sys
import termios
import time

SOURCE, BUILD, PART = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3]
sys.path.insert(0, str(SOURCE / 'tests/agent'))
import parent_rig as rig  # noqa: E402
from parent_rig import Agent, nft, refused_ports, verdict, wait_for  # noqa: E402

PORTS = (25, 465, 587)


def say(line):
    print(line, flush=True)
    termios.tcdrain(1)


def ends(word):
    """What was found goes out before the power does."""
    print(f'{rig.passed} passed, {rig.failed} failed')
    say(word)


class Boot(Agent):
    """The agent with the state on a disk, and the rules at READY=1."""

    def __init__(self, disk):
        folder = pathlib.Path(f'/var/lib/boot{len(rig.ALL)}')
        (folder / 'state').mkdir(parents=True)
        subprocess.run(['mount', '-t', 'ext4', disk, folder / 'state'], check=True)
        (folder / 'state/lost+found').exists() and (folder / 'state/lost+found').rmdir()
        super().__init__(str(BUILD / 'agent/mailreeved'), str(BUILD / 'agent/ctl/mailreevectl'), folder=folder)

    def boot(self):
        s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        s.bind(str(self.dir / 'notify'))
        s.settimeout(60)
        verdict('mailreeve' not in nft('list', 'tables'), 'a kernel without rules')
        self.start(ready=False, NOTIFY_SOCKET=str(self.dir / 'notify'))
        while s.recv(4096) != b'READY=1':
            pass
        self.at_ready = refused_ports()
        up = subprocess.run(['ip', 'link', 'show', 'up'], capture_output=True, text=True).stdout
        verdict(re.findall(r'^\d+: (\w+)', up, re.M) in (['lo'], []), 'the network is not up yet', up)
        subprocess.run(['ip', 'link', 'add', 'eth0', 'type', 'dummy'], check=True)
        subprocess.run(['ip', 'link', 'set', 'eth0', 'up'], check=True)
        wait_for(lambda: self.ctl('history').status == 0, 60, 0.1)
        damaged = list(self.state.glob('**/*.damaged'))
        verdict(not damaged and 'set aside' not in self.said(), 'nothing is torn', f'{damaged} {self.said()}')
        return self


def blocked(a, at_most):
    found = wait_for(lambda: re.search(r'203\.0\.113\.9 .*expires (?:(\d+)m)?(?:(\d+)s)?', nft('list', 'ruleset')), 60)
    left = found and int(found[1] or 0) * 60 + int(found[2] or 0)
    verdict(found and 3000 < left <= at_most, 'a block is there for the rest of its time', left)
    verdict([b['address'] for b in a.status()['blocked']] == ['203.0.113.9'], 'and known', a.status())
    return left or 0


def first():
    a = Boot('/dev/nvme0n1').boot()
    verdict(a.at_ready == {25}, 'a first start', a.said())
    verdict(a.ctl('block', '203.0.113.9', '--for', '1h').status == 0, 'block')
    a.write(465)
    r = a.ctl('apply', '--confirm', '10min')
    verdict(r.status == 0 and refused_ports() == {465} and a.status()['pending'], 'apply --confirm', r)
    ends('CUT')


def second():
    a = Boot('/dev/nvme0n1').boot()
    verdict(a.at_ready == {25}, 'before the network is up: the confirmed one', a.at_ready)
    s = a.status()
    verdict(not s['pending'] and s['in_force'] and s['generation'] == 1, 'status', s)
    verdict('not confirmed before the machine was started anew' in a.said(), 'the log says so', a.said())
    print(f'    the block has {blocked(a, 3600)} s left')
    a.write(465)
    verdict(a.ctl('apply', '--confirm', '10min').status == 0 and a.ctl('confirm').status == 0, 'confirm')
    ends('CUT')


def third():
    a = Boot('/dev/nvme0n1').boot()
    verdict(a.at_ready == {465}, 'what was confirmed is in force', a.at_ready)
    print(f'    the block has {blocked(a, 3600)} s left')
    g, shut, before = 0, 465, 25
    while True:
        g += 1
        port = PORTS[g % 3]
        a.write(port, name=f'site{g}')
        how = g % 4
        # BEGIN what is promised now, and what may be so from now on; END what is promised
        say(f'BEGIN {shut} {shut if how == 0 else before if how == 1 else port}')
        if how == 0:
            ok = a.ctl('apply', '--confirm', '10min').status == 0
            say(f'END {shut}')
            say(f'BEGIN {shut} {port}')
            ok = ok and a.ctl('confirm').status == 0
        elif how == 1:
            ok = a.ctl('rollback').status == 0
            say(f'END {before}')
            say(f'BEGIN {before} {port}')
            shut = before
            ok = ok and a.ctl('apply').status == 0
        else:
            ok = a.ctl('apply').status == 0
        if not ok:
            say(f'an apply failed: {a.said()[-800:]}')
            return
        before, shut = shut, port
        say(f'END {shut}')
        if g == 1:
            ends('LOOP')


def torn():
    """Each disk is one cut: those of argv, as PORT[,PORT] each."""
    for disk, may in zip(sorted(glob.glob('/dev/nvme*n1'), key=lambda x: int(re.findall(r'\d+', x)[0])), sys.argv[4:]):
        rig.new_net()
        a = Boot(disk).boot()
        verdict(len(a.at_ready) == 1 and a.at_ready <= {int(x) for x in may.split(',')}, f'cut with {may} promised',
                f'{a.at_ready}\n{a.said()}')
        s = a.status()
        verdict(s['in_force'] and not s['pending'], 'in force', s)
        if disk.endswith('nvme0n1'):
            a.write(25, name='later')
            verdict(a.ctl('apply').status == 0 and refused_ports() == {25}, 'it goes on', a.said())
        a.stop()
        subprocess.run(['umount', a.state], check=True)
    print(f'{rig.passed} passed, {rig.failed} failed')


if __name__ == '__main__':
    {'first': first, 'second': second, 'third': third, 'torn': torn}[PART]()
    if PART != 'torn':
        time.sleep(600)
    sys.exit(rig.failed != 0)
