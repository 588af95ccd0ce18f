#!/usr/bin/env python3
"""What `run` has done in the machine with the other kernel; it stands there at the paths of here.

    inside.py SOURCE BUILD nl|agreement|agent|leak|memory [long]

Each part prints what failed and at its end "N passed, M failed".
"""
import os
import pathlib
import re
import subprocess
import sys
import time

SOURCE, BUILD = (pathlib.Path(x) for x in sys.argv[1:3])
LONG = sys.argv[4:] == ['long']
for folder in ('tests/agent', 'tests/agree'):
    sys.path.insert(0, str(SOURCE / folder))
import nl_agree  # noqa: E402
import parent_rig as rig  # noqa: E402
from parent_rig import Agent, nft, verdict, wait_for  # noqa: E402

MAILREEVE = str(BUILD / 'gen/mailreeve')
LOAD = str(BUILD / 'tests/agree/nl_load')
# what Debian 12's kernel has; the agent must find it out by itself
OLD = {'tables with an owner': 'yes', 'that outlive it': 'no', 'deletion of what may not be there': 'no',
       'acknowledged ends of batches': 'no', "counts of sets' elements": 'no', 'elements changed in place': 'no'}


def old():
    return os.uname().release.startswith('6.1.')


# ---- lib/nl -----------------------------------------------------------------------------------

def cmocka(program, rounds):
    began = time.monotonic()
    p = subprocess.run([BUILD / program], capture_output=True, text=True, env={**os.environ, 'ROUNDS': str(rounds)})
    out = p.stdout + p.stderr
    good = len(re.findall(r'^\[       OK \]', out, re.M))
    rig.passed += good
    if p.returncode or not good:
        verdict(False, program, out[-2000:])
    print(f'{program}: {good} tests, {time.monotonic() - began:.1f} s')
    return out


def nl():
    rounds = 60 if LONG else 8
    cmocka('tests/agree/nl_talk_test', rounds)
    out = cmocka('tests/agree/nl_edit_test', rounds)
    cmocka('tests/unit/watch_test', rounds)
    if LONG:
        cmocka('tests/unit/nl_test', rounds)
        cmocka('tests/unit/nl_edit_test', rounds)
    found = dict(re.findall(r"^([a-z' ]+): (yes|no|not known)$", out, re.M))
    for what, is_so in found.items():
        print(f'    {what}: {is_so}')
    if old():
        verdict(found == OLD, 'the probe finds what this kernel has', found)


# ---- rules --------------------------------------------------------------------------------------

def agreement():
    """Plans of every feature and random ones, in all the ways that lib/nl puts rules; `run` itself has
    the shipped ones."""
    p = subprocess.run(['python3', SOURCE / 'tests/agree/nl_agree.py', LOAD, BUILD / 'tests/agree/nl_plans',
                        BUILD / 'tests/agree/out_forms', MAILREEVE, SOURCE / 'policies', SOURCE / 'examples'],
                       capture_output=True, text=True, env={**os.environ, 'COUNT': '2'})
    print(p.stdout)
    # a kernel without copies of sets has no changes in place, and nothing else may be amiss
    compared = re.search(r'([1-9]\d*) comparisons, (\d+) differ', p.stdout)
    verdict(compared and compared[2] == '0', 'nl_agree', p.stdout[-2000:] + p.stderr[-1000:])


# ---- the agent ------------------------------------------------------------------------------------

def an_owner_that_takes_the_rules_along_is_never_used():
    a = Agent(DAEMON, CTL).start()
    s = a.status()
    flags = re.search(r'table inet mailreeve-host \{\n\tflags (.*)', nft('list', 'ruleset'))
    if old():
        verdict(not s['owner'] and not s['persist'] and not flags, 'no owner', s)
        verdict('no tables that outlive their owner' in a.said(), 'said in the log', a.said())
        verdict(all(f'{k}: {v}\n' in s['features'] for k, v in OLD.items()), 'features', s['features'])
    a.kill()
    verdict(rig.refused_ports() == {25}, 'rules stay when all roles are killed')
    a.end()


def an_edit_behind_its_back_is_told_with_its_pid_and_healed():
    a = Agent(DAEMON, CTL).start()
    before = nl_agree.plain(nft('-s', 'list', 'ruleset'))
    for n in range(1, 4):
        chain = re.search(r'chain (outbound\S*) \{', nft('list', 'table', 'inet', 'mailreeve-host')).group(1)
        p = subprocess.Popen(['nft', 'insert', 'rule', 'inet', 'mailreeve-host', chain, 'accept'])
        began = time.monotonic()
        verdict(p.wait() == 0, 'nothing keeps others out')
        verdict(wait_for(lambda: a.status()['heals'] >= n, 60), 'healed', a.said())
        print(f'    healed and seen to be {time.monotonic() - began:.2f} s after the edit')
        now = nl_agree.plain(nft('-s', 'list', 'ruleset'))
        verdict(sorted(now.splitlines()) == sorted(before.splitlines()), 'the rules are the old ones', now)
        verdict(re.search(rf'nft\b.*\b{p.pid}\b', a.ctl('drift').out), 'who', a.ctl('drift').out)
    verdict(a.ctl('check').status == 0, 'check', a.ctl('check'))
    a.end()


def agent():
    inner = [an_owner_that_takes_the_rules_along_is_never_used,
             an_edit_behind_its_back_is_told_with_its_pid_and_healed]
    rig.run_all(inner)
    parent = ['apply_history_and_rollback', 'blocks_expire_and_outlive_a_restart',
              'drift_is_told_with_boxes_and_healed', 'attempts_are_told', 'root_becomes_the_agents_user',
              'without_a_root_parent_it_works_the_same']
    confirm = ['confirmed_in_time_it_stays', 'rollback_does_not_wait_for_the_deadline', 'machine_started_anew']
    os.environ['BESIDE'] = '1'         # one case at a time: the machine has one slow processor
    run = [['parent_test.py', DAEMON, CTL, *([] if LONG else parent)],
           ['parent_confirm.py', DAEMON, CTL, '--rounds', '2', '--kills', '20', *([] if LONG else ['--only', *confirm])]]
    if LONG:
        run.append(['apply_test.py', BUILD / 'tests/agent/apply_drive', MAILREEVE, SOURCE / 'policies',
                    SOURCE / 'examples'])
    for name, *args in run:
        p = subprocess.run(['python3', SOURCE / 'tests/agent' / name, *args], capture_output=True, text=True)
        print(p.stdout[-6000:])
        if not re.search(r'^\d+ passed, \d+ failed$', p.stdout, re.M):
            verdict(False, f'{name} to its end', p.stderr[-2000:])


# ---- packets while the agent replaces a policy ------------------------------------------------------

LISTED, ROUNDS = (2000, 40) if LONG else (1000, 10)
ROUTE = ('link add v0 type veth peer name v1', 'addr add 10.99.0.1/24 dev v0', 'link set v0 up', 'link set v1 up',
         'neigh replace 10.99.0.2 lladdr 02:00:00:00:00:02 dev v0', 'route add default via 10.99.0.2')


def leak():
    """Addresses that every policy refuses, and some that none does."""
    rig.new_net()
    for words in ROUTE:
        subprocess.run(['ip', *words.split()], check=True)
    a = Agent(DAEMON, CTL)
    for name, odd in (('one', 0), ('two', 1)):
        nets = ', '.join(f'198.18.{i >> 6}.{(i & 63) << 2}/{32 - (i % 7 == odd)}' for i in range(LISTED))
        a.write(25)
        text = a.policy.read_text().replace('with: reject, log: true', f'to: [{nets}], with: drop')
        (a.dir / name).write_text(text)
    (a.dir / 'go').write_text(f'cp {a.dir}/$1 {a.policy}\nexec {CTL} apply --run {a.run} >/dev/null\n')
    a.policy.write_text((a.dir / 'one').read_text())
    a.start()
    denied = ','.join(f'198.18.{i >> 6}.{(i & 63) << 2}' for i in range(0, LISTED, LISTED // 40))
    allowed = ','.join(f'198.18.{i >> 6}.{((i & 63) << 2) + 3}' for i in range(0, LISTED, LISTED // 20))
    go = ['sh', str(a.dir / 'go')]
    p = subprocess.run([BUILD / 'tests/bench/nl_leak', denied, allowed, str(ROUNDS), *go, 'two', '--', *go, 'one'],
                       capture_output=True, text=True, env={**os.environ, 'SSH_CONNECTION': ''})
    verdict(p.returncode == 0, 'nl_leak', p.stderr + a.said()[-1500:])
    sent, leaked, stopped, seconds, _ = (p.stdout or '0 1 1 1 0').split()
    print(f'    {ROUNDS} replacements under {int(sent) / float(seconds):,.0f} packets/s: {leaked} of {sent} '
          f'leaked, {stopped} stopped wrongly')
    verdict(leaked == '0' and stopped == '0' and int(sent) > 1000, 'none leaks', p.stdout)
    verdict(a.status()['generation'] == ROUNDS + 1 and a.status()['in_force'], 'each was put in force', a.status())
    a.end()


# ---- a control group with too little memory --------------------------------------------------------

GROUP = pathlib.Path('/sys/fs/cgroup/agent')


def in_group(name):
    """A word of the group's files: memory.events by its key, others whole."""
    file, _, key = name.partition(' ')
    text = (GROUP / file).read_text()
    return next((line.split()[1] for line in text.splitlines() if line.split()[0] == key), '0') if key else text.strip()


def memory():
    """The unit's MemoryMax= as the kernel sees it: whatever it kills, the rules are old or new, the agent's words
    are true, and with room it goes on by itself or when started again."""
    (GROUP.parent / 'cgroup.subtree_control').write_text('+memory')
    GROUP.mkdir()
    a = Agent(DAEMON, CTL)
    group = ['sh', '-c', f'echo $$ > {GROUP}/cgroup.procs && exec "$@"', 'sh']
    a.start(prefix=group)
    small = int(in_group('memory.current'))
    a.write_large(LISTED)
    verdict(a.ctl('apply').status == 0, 'with room', a.said())
    peak, told = int(in_group('memory.peak')), 0
    own = {role: int(pathlib.Path(f'/proc/{pid}/oom_score_adj').read_text()) for role, pid in a.roles().items()}
    verdict(own['apply'] > 0 == own['spawner'], 'roles go before the parent', own)
    print(f'    {small >> 10} KiB at rest, {peak >> 10} KiB at most with a policy of {LISTED:,} ranges')
    for n in range(12 if LONG else 6):
        room = small + (peak - small) * (11 - n if LONG else 10 - 2 * n) // 12
        old, new = rig.refused_ports(), 465 if n % 2 else 587
        a.write_large(LISTED)
        a.policy.write_text(a.policy.read_text().replace('ports: [25]', f'ports: [{new}]'))
        killed, deaths = int(in_group('memory.events oom_kill')), a.said().count('killed for want of memory')
        (GROUP / 'memory.max').write_text(str(room))
        r = a.ctl('apply')
        now, alive = rig.refused_ports(), a.process.poll() is None
        killed = int(in_group('memory.events oom_kill')) - killed
        (GROUP / 'memory.max').write_text('max')
        verdict(now in (old, {new}), 'old or new rules', (room, old, now, r))
        verdict(now == {new} if r.status == 0 else len(r.err) > 20, 'a true answer', (room, now, r))
        verdict(not killed or not alive or 'MemoryMax=' in r.err + a.status()['trouble'] or r.status == 0 or
                'does not run now' in r.err, 'why', (room, r, a.said()[-1500:]))
        verdict(alive or killed, 'the agent ends only by being killed', (room, r, a.said()[-2000:]))
        if not alive:
            a.start(prefix=group)
        verdict(wait_for(lambda: a.status()['in_force'] and a.status()['apply_up'], 120), 'with room it goes on', a.said()[-2000:])
        told += a.said().count('killed for want of memory') > deaths
        print(f'    {room >> 10} KiB: {killed} killed, {"the agent goes on" if alive else "the agent ended"}, '
              f'{"new" if now == {new} else "old"} rules; {(r.err or r.out).strip().splitlines()[-1][:150]}')
        verdict(a.ctl('apply').status == 0 and rig.refused_ports() == {new}, 'an apply does', a.said()[-2000:])
    verdict(int(in_group('memory.events oom_kill')) > 0, 'the kernel has killed', in_group('memory.events'))
    verdict(told, 'and the agent has said so', a.said()[-3000:])
    a.end()


if __name__ == '__main__':
    DAEMON, CTL = str(BUILD / 'agent/mailreeved'), str(BUILD / 'agent/ctl/mailreevectl')
    {'nl': nl, 'agreement': agreement, 'agent': agent, 'leak': leak, 'memory': memory}[sys.argv[3]]()
    print(f'{rig.passed} passed, {rig.failed} failed')
    sys.exit(rig.failed != 0)
