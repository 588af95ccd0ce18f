#!/usr/bin/env python3
"""The role apply against the kernel of this machine, with the real nft as the other administrator.

    apply_test.py APPLY_DRIVE MAILREEVE FOLDER ...      runs by itself in namespaces

Each function below is a test; its name says what it guards.
"""
import os
import re
import subprocess
import sys
import tempfile
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import rig  # noqa: E402
from rig import Role, nft  # noqa: E402

DRIVE, MAILREEVE, *FOLDERS = [os.path.abspath(x) for x in sys.argv[1:]]
TMP = tempfile.mkdtemp(prefix='apply-')

FOREIGN = '''table inet foreign {
    set s { type ipv4_addr; flags interval; elements = { 10.0.0.0/8, 192.0.2.0/24 } }
    map m { type inet_service : verdict; elements = { 22 : accept } }
    counter c { }
    chain c {
        type filter hook forward priority 10; policy accept;
        ip saddr @s counter drop comment "of somebody else"
        tcp dport { 25, 587 } accept
    }
    chain d { }
}
table ip nat {
    chain post { type nat hook postrouting priority 100; policy accept; oifname "x" masquerade; }
}
'''


def foreign_now():
    return nft('-s', 'list', 'table', 'inet', 'foreign') + nft('-s', 'list', 'table', 'ip', 'nat')


def fresh(text=''):
    nft('flush', 'ruleset')
    if text:
        nft('-f', '-', text=text)


HOST = dict(rig.compile_all(MAILREEVE, [FOLDERS[0]], TMP)).get('cambridge-host-host') or \
    next(f for n, f in rig.compile_all(MAILREEVE, [FOLDERS[0]], TMP) if n.startswith('cambridge-host'))
LIST = rig.list_policy(MAILREEVE, TMP, 'list', [f'10.{i // 256}.{i % 256}.0/28' for i in range(2000)])
TABLE = 'mailreeve-host'


def chain_of(part):
    """The generation name of a chain of ours."""
    return next(x for x in re.findall(r'chain (\S+) \{', nft('list', 'table', 'inet', TABLE))
                if x.startswith(part))


def set_of(part):
    return next(x for x in re.findall(r'set (\S+) \{', nft('-t', 'list', 'table', 'inet', TABLE))
                if x.startswith(part))


def handle(chain, n):
    """The handle of a chain's nth rule."""
    out = nft('-a', 'list', 'chain', 'inet', TABLE, chain)
    return [x for x in re.findall(r'^\t\t.*# handle (\d+)$', out, re.M)][n - 1]


# ---- plans --------------------------------------------------------------------------------

def every_shipped_point_is_put_into_force_and_seen_to_be():
    n = 0
    for name, plan in rig.compile_all(MAILREEVE, FOLDERS, TMP):
        fresh(FOREIGN)
        if 'chains' in name:
            nft('add', 'table', 'inet', 'filter')
        before = foreign_now()
        with Role(DRIVE) as r:
            x = r.do(plan)
            assert x['err'] == 0, (name, x)
            assert x['changes'] > 0, (name, x)
            c = r.check()
            assert c['in_force'] == 1 and c['text'] == '', (name, c)
            assert r.ask(f'force {plan} {r.numbers()}')['force'] == 1, name
            again = r.do(plan)
            assert again['err'] == 0 and again['changes'] == 0, (name, again)
            assert not [e for e in r.quiet(0.15) if e['kind'] != 'note'], (name, r.events)
            # another role finds it, and takes it over
            r.ask('kill')
            r.say('start')
            x = r.do(plan)
            assert x['err'] == 0, (name, x)
            assert r.check()['in_force'] == 1, name
            assert not [e for e in r.quiet(0.15) if e['kind'] not in ('note',)], (name, r.events)
            assert foreign_now() == before, name
            assert r.ask('remove')['err'] == 0
            assert foreign_now() == before, name
            assert 'mailreeve' not in nft('list', 'ruleset'), name
        n += 1
    assert n > 20, n


def another_plan_takes_the_place_and_the_old_table_goes():
    fresh(FOREIGN)
    plans = dict(rig.compile_all(MAILREEVE, FOLDERS, TMP))
    router = plans['columbia-v1-campus'] if 'columbia-v1-campus' in plans else \
        next(f for n, f in plans.items() if n.startswith('columbia-v1'))
    with Role(DRIVE) as r:
        assert r.do(HOST)['err'] == 0
        assert r.do(router)['err'] == 0
        tables = nft('list', 'tables')
        assert 'inet mailreeve\n' in tables and 'mailreeve-host' not in tables, tables
        assert r.do(LIST)['err'] == 0
        assert 'inet mailreeve\n' not in nft('list', 'tables')
        assert r.check()['in_force'] == 1


def a_stale_generation_is_refused_with_words():
    fresh()
    with Role(DRIVE) as r:
        gen = r.do(HOST)['gen']
        nft('add', 'table', 'ip', 'other')
        x = r.do(LIST, gen=gen)
        assert x['err'] == 116 and 'generation' in x['text'], x
        assert r.check()['in_force'] == 1
        assert r.do(LIST, gen=x['gen'])['err'] == 0


def a_user_that_is_not_there_and_bytes_that_are_no_plan_leave_the_rules():
    fresh()
    bad = os.path.join(TMP, 'bad.plan')
    open(bad, 'wb').write(open(HOST, 'rb').read()[:-40])
    with Role(DRIVE) as r:
        assert r.do(LIST)['err'] == 0
        before = nft('list', 'ruleset')
        x = r.ask(f'do {HOST}')
        assert x['err'] == 2 and 'no such user' in x['text'], x
        x = r.ask(f'do {bad}')
        assert x['err'] == 74 and 'no plan' in x['text'], x
        assert nft('list', 'ruleset') == before
        assert r.check()['in_force'] == 1


def a_change_of_elements_is_an_edit_and_converges():
    fresh()
    a = rig.list_policy(MAILREEVE, TMP, 'a', [f'10.{i // 256}.{i % 256}.0/28' for i in range(3000)])
    b = rig.list_policy(MAILREEVE, TMP, 'b', [f'10.{i // 256}.{i % 256}.0/28' for i in range(3, 3003)])
    with Role(DRIVE) as r:
        assert r.do(a)['err'] == 0
        for plan in (b, a, b, b, a):
            r.quiet(0.1)
            x = r.do(plan)
            assert x['err'] == 0, x
            c = r.check()
            assert c['in_force'] == 1 and not c['text'], c
        assert not [e for e in r.events if e['kind'] not in ('note',)], r.events
        # somebody new finds it so
        r.ask('kill')
        r.say('start')
        assert r.do(a)['err'] == 0
        assert r.check()['in_force'] == 1


def other_numbers_of_names_are_put_into_force():
    fresh()
    with Role(DRIVE) as r:
        assert r.do(HOST)['err'] == 0
        name = next(k for k in r.names if k.startswith('user:') and r.names[k] and
                    f' {r.names[k]} ' in nft('-n', 'list', 'ruleset'))
        old = r.names[name]
        r.names[name] = 4242
        x = r.ask(f'host {r.numbers()}')
        assert x['err'] == 0 and x['changes'] > 0, x
        now = nft('-n', 'list', 'ruleset')
        assert 'skuid 4242' in now and f'skuid {old}' not in now, now
        r.names[name] = -1
        x = r.ask(f'host {r.numbers()}')
        now = nft('-n', 'list', 'ruleset')
        assert x['err'] == 0, x
        # a number that nobody has
        assert '4242' not in now and all(int(u) > 1 << 31 for u in re.findall(r'skuid (\d+)', now)
                                         if int(u) not in r.names.values()), now
        assert r.check()['in_force'] == 1
        assert not [e for e in r.quiet(0.2) if e['kind'] not in ('note',)]


# ---- drift --------------------------------------------------------------------------------

def healed(r, edit, says):
    """One transaction behind the role's back: found, named and healed."""
    before = foreign_now()
    n = len(r.events)
    p = subprocess.Popen(['nft', '-f', '-'], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    nft_pid = p.pid
    _, err = p.communicate('\n'.join(edit) + '\n')
    assert p.returncode == 0, (edit, err)
    x = r.event('healed', 'heal-failed')
    drift = [e for e in r.events[n:] if e['kind'] == 'drift']
    assert x['kind'] == 'healed', (edit, x)
    assert drift and re.search(says, drift[0]['what']), (edit, drift)
    assert drift[0]['program'] == 'nft' and drift[0]['pid'] == nft_pid, (drift[0], nft_pid)
    assert drift[0]['record'] > 20, drift
    assert x['program'] == 'nft', x
    c = r.check()
    assert c['in_force'] == 1 and c['text'] == '', (edit, c)
    assert foreign_now() == before, edit
    assert not [e for e in r.quiet(0.12) if e['kind'] == 'drift'], (edit, r.events[n:])
    return x


def role_with(plan, *options):
    r = Role(DRIVE, '--no-owner', *options)
    x = r.do(plan)
    assert x['err'] == 0, x
    r.quiet(0.12)
    return r


def kinds_of_host():
    out, judge = chain_of('outbound/'), chain_of('mail-output')
    return [
        ([f'delete rule inet {TABLE} {out} handle {handle(out, 3)}'], 'rule 3 of chain outbound deleted'),
        ([f'insert rule inet {TABLE} {out} tcp dport 25 accept'], 'a rule more in chain outbound, before rule 1'),
        ([f'replace rule inet {TABLE} {out} handle {handle(out, 2)} tcp dport 25 accept'],
         'rule 2 of chain outbound changed'),
        ([f'flush chain inet {TABLE} {judge}'], 'of chain mail-output deleted'),
        ([f'insert rule inet {TABLE} output accept'], 'a rule more in chain output'),
        ([f'replace rule inet {TABLE} output handle {handle("output", 1)} tcp dport 26 accept'],
         'rule 1 of chain output changed'),
        ([f'chain inet {TABLE} output {{ policy drop; }}'], 'policy of chain output is drop'),
        ([f'delete table inet {TABLE}'], 'table inet mailreeve-host deleted'),
        ([f'flush table inet {TABLE}'], 'of chain output deleted'),
        ([f'delete counter inet {TABLE} mailreeve/stamp'], 'the stamp deleted'),
        ([f'add chain inet {TABLE} foreign'], 'chain foreign added'),
        ([f'add chain inet {TABLE} foreign {{ type filter hook output priority -5; policy accept; }}'],
         'chain foreign added'),
        ([f'add set inet {TABLE} foreign {{ type ipv4_addr; }}'], 'set foreign added'),
        ([f'add counter inet {TABLE} foreign'], 'object foreign added'),
        ([f'add quota inet {TABLE} foreign {{ 5 mbytes }}'], 'object foreign added'),
        ([f'add set inet {TABLE} foreign {{ type ipv4_addr; }}', f'add chain inet {TABLE} foreign',
          f'add rule inet {TABLE} foreign ip saddr @foreign accept',
          f'insert rule inet {TABLE} {out} jump foreign'], 'rule more in chain outbound.*chain foreign added'),
        ([f'delete table inet {TABLE}', f'add table inet {TABLE}'], 'chain output deleted'),
        ([f'flush chain inet {TABLE} output', f'delete chain inet {TABLE} output'], 'chain output deleted'),
        ([f'add table inet {TABLE} {{ flags dormant; }}'], 'dormant'),
    ]


def each_kind_of_drift_of_rules_is_found_named_and_healed():
    fresh(FOREIGN)
    with role_with(HOST) as r:
        count = len(kinds_of_host())
    for i in range(count):
        fresh(FOREIGN)
        with role_with(HOST) as r:
            edit, says = kinds_of_host()[i]
            healed(r, edit, says)


def each_kind_of_drift_of_elements_is_found_named_and_healed():
    for elements, says in (
            (['delete element inet {t} {s} {{ 10.0.1.0/28 }}'], 'fewer'),
            (['add element inet {t} {s} {{ 198.51.100.0/24 }}'], '1 element more'),
            (['delete element inet {t} {s} {{ 10.0.1.0/28 }}', 'add element inet {t} {s} {{ 198.51.100.0/28 }}'],
             'other elements'),
            (['flush set inet {t} {s}'], '2000 elements fewer')):
        fresh(FOREIGN)
        with role_with(LIST) as r:
            s = set_of('')
            healed(r, [e.format(t=TABLE, s=s) for e in elements], says)
            assert '198.51.100' not in nft('list', 'ruleset')


def a_damaged_shard_alone_is_made_anew():
    fresh(FOREIGN)
    many = [f'10.{i // 256}.{i % 256}.{j}/32' for i in range(10000) for j in (0, 2, 4, 6)]
    big = rig.list_policy(MAILREEVE, TMP, 'shards', many)
    less = rig.list_policy(MAILREEVE, TMP, 'shards-less', many[:-3])
    with role_with(big) as r:
        def sets():
            return set(re.findall(r'set (list\S+) \{', nft('-t', 'list', 'table', 'inet', TABLE)))
        before = sets()
        assert len(before) > 2, before
        first, second = sorted(before)[:2]
        nft('-f', '-', text=f'delete element inet {TABLE} {first} {{ 10.0.0.0 }}\n'
            f'add element inet {TABLE} {first} {{ 10.0.0.9 }}\n'
            f'add element inet {TABLE} {second} {{ 192.0.2.1 }}\n')
        x = r.event('healed', 'heal-failed')
        assert x['kind'] == 'healed', x
        r.quiet(2)                         # the one whose count is the same is found in its turn
        c = r.check()
        assert c['in_force'] == 1, c
        after = sets()
        assert len(after) == len(before) and len(before & after) == len(before) - 2, (before, after)
        assert not {first, second} & after, (before, after)
        # and changes go on from there, for a new role too
        x = r.do(less)
        assert x['err'] == 0 and r.check()['in_force'] == 1, x
        r.ask('kill')
        r.say('start')
        x = r.do(less)
        assert x['err'] == 0 and x['changes'] == 0, x
        x = r.do(big)
        assert x['err'] == 0 and r.check()['in_force'] == 1, x
        assert not [e for e in r.quiet(1) if e['kind'] == 'drift'], r.events


def a_flush_of_the_whole_ruleset_is_healed():
    fresh(FOREIGN)
    with role_with(HOST) as r:
        nft('flush', 'ruleset')
        x = r.event('healed', 'heal-failed')
        assert x['kind'] == 'healed' and 'deleted' in x['what'] and x['program'] == 'nft', x
        assert r.check()['in_force'] == 1


def with_an_owner_nobody_else_can_edit_and_a_flush_passes_by():
    fresh(FOREIGN)
    with Role(DRIVE) as r:
        assert r.do(HOST)['err'] == 0
        c = r.check()
        if 'that outlive it: yes' not in c['features'] and not c['owner']:
            print('  (this kernel has no owners)')
            return
        for cmd in (f'delete table inet {TABLE}', f'insert rule inet {TABLE} output accept',
                    f'add chain inet {TABLE} x', f'flush chain inet {TABLE} output'):
            p = nft(*cmd.split(), check=False)
            assert p.returncode and 'not permitted' in p.stderr, (cmd, p.stderr)
        nft('flush', 'ruleset')
        assert r.check()['in_force'] == 1
        # dead, it leaves an orphan, which anybody may edit; the next one adopts and heals it
        r.ask('kill')
        assert 'jump' in nft('list', 'table', 'inet', TABLE)
        nft('insert', 'rule', 'inet', TABLE, chain_of('outbound/'), 'accept')
        r.say('start')
        assert r.do(HOST)['err'] == 0
        r.quiet(0.3)
        c = r.check()
        assert c['in_force'] == 1 and c['owner'] == 1, c
        p = nft('insert', 'rule', 'inet', TABLE, 'output', 'accept', check=False)
        assert p.returncode, 'the orphan was not adopted'


def what_another_owns_is_refused_with_words():
    fresh(FOREIGN)
    with Role(DRIVE) as r, Role(DRIVE) as other:
        assert r.do(HOST)['err'] == 0
        if not r.check()['owner']:
            print('  (this kernel has no owners)')
            return
        other.names = r.names
        # also what is in force already is not its own
        for plan in (LIST, HOST):
            x = other.do(plan)
            assert x['err'] == 1 and 'owns' in x['text'], x
        assert other.check()['owner'] == 0
        assert r.check()['in_force'] == 1


def check_says_who_holds_the_table_not_that_it_is_held():
    """An audit's number 8: a table of the same rules that another socket owns."""
    fresh()
    with Role(DRIVE) as r:
        assert r.do(HOST)['err'] == 0
        c = r.check()
        if not c['owner']:
            print('  (this kernel has no owners)')
            return
        # the orphan is adopted by another role as it is
        r.ask('kill')
        with Role(DRIVE) as other:
            other.names = r.names
            x = other.do(HOST)
            assert x['err'] == 0 and other.check()['owner'] == 1, x
            r.say('start')
            x = r.do(HOST)
            assert x['err'] == 1 and 'another program owns' in x['text'], x
            assert r.check()['owner'] == 0
            assert other.check()['in_force'] == 1
        assert r.do(HOST)['err'] == 0
        c = r.check()
        assert c['owner'] == 1 and c['in_force'] == 1, c
        assert r.ask('remove')['err'] == 0
    with Role(DRIVE, '--no-owner') as r:
        assert r.do(HOST)['err'] == 0
        assert r.check()['owner'] == 0


def others_commits_meanwhile_are_met_by_trying_again():
    fresh(FOREIGN)
    loop = 'while :; do echo "add table ip t$1; delete table ip t$1" | nft -f -; done'
    p = [subprocess.Popen(['sh', '-c', loop, 'sh', str(i)], start_new_session=True) for i in range(2)]
    try:
        with role_with(LIST) as r:
            tries, first = 0, r.check()['gen']
            for plan in (HOST, LIST) * 20:
                x = r.do(plan)
                assert x['err'] == 0, x
                tries += x['tries']
            others = r.check()['gen'] - first
            print(f'  ({tries} tries for 40 plans, {others} generations)')
            assert others > 150 and tries >= 40
    finally:
        for x in p:
            os.killpg(x.pid, 9)
            x.wait()
    with Role(DRIVE, '--no-owner') as r:
        assert r.do(LIST)['err'] == 0 and r.check()['in_force'] == 1


def the_time_of_a_stage_is_that_of_all_its_tries():
    """An audit's number 38: the last try, on a stage that is there, takes microseconds."""
    fresh()
    big = rig.list_policy(MAILREEVE, TMP, 'long', [f'10.{i // 256}.{i % 256}.{j}/32' for i in range(10000)
                                                   for j in (0, 2)])
    loop = 'while :; do echo "add table ip t; delete table ip t" | nft -f -; done'
    with Role(DRIVE) as r:
        calm = r.do(big)['stage_us']
        assert r.do(HOST)['err'] == 0
        p = subprocess.Popen(['sh', '-c', loop], start_new_session=True)
        try:
            tries = 0
            for _ in range(12):
                x = r.do(big)
                assert x['err'] != 0 or x['stage_us'] > calm / 4, (calm, x)
                tries += x['tries']
                r.do(HOST)
            print(f'  ({tries} tries for 12 plans)')
            assert tries > 12
        finally:
            os.killpg(p.pid, 9)
            p.wait()


def a_kept_socket_owns_across_a_restart():
    fresh()
    with Role(DRIVE, '--keep-socket') as r:
        assert r.do(HOST)['err'] == 0
        owner = r.check()['owner']
        r.ask('kill')
        if owner:
            p = nft('insert', 'rule', 'inet', TABLE, 'output', 'accept', check=False)
            assert p.returncode, 'the table lost its owner'
        r.say('start')
        x = r.do(HOST)
        assert x['err'] == 0 and x['changes'] == 0, x
        assert r.check()['in_force'] == 1


def a_program_that_keeps_at_it_is_met_with_patience():
    fresh(FOREIGN)
    with role_with(HOST) as r:
        for i in range(3):
            nft('insert', 'rule', 'inet', TABLE, 'output', 'accept')
            r.event('healed')
        began = time.monotonic()
        nft('insert', 'rule', 'inet', TABLE, 'output', 'accept')
        x = r.event('backs-off')
        assert x['us'] == 1000000 and x['times'] == 4 and x['program'] == 'nft', x
        assert 'healed in 1 second, or by `mailreevectl resume`' in r.events[-2]['what'], r.events[-2:]
        nft('insert', 'rule', 'inet', TABLE, 'output', 'accept')
        y = r.event('healed')
        assert y['when'] - began > 0.9, (x, y)
        nft('insert', 'rule', 'inet', TABLE, 'output', 'accept')
        x = r.event('backs-off')
        assert x['us'] == 2000000, x
        # an order puts the rules in force at once
        assert r.do(HOST)['err'] == 0
        assert r.check()['in_force'] == 1


def paused_drift_is_told_each_time_and_healed_afterwards():
    """An audit's numbers 22 and 23."""
    fresh(FOREIGN)
    with role_with(HOST) as r:
        assert r.ask('pause 600')['err'] == 0
        nft('insert', 'rule', 'inet', TABLE, 'output', 'accept')
        x = r.event('drift')
        assert 'paused: healed in 600 seconds' in x['what'] and x['us'] > 590000000, x
        nft('insert', 'rule', 'inet', TABLE, 'output', 'accept')
        x = r.event('drift')
        assert '2 rules more in chain output' in x['what'] and x['program'] == 'nft' and x['pid'], x
        for _ in range(5):                 # of a run the last is told, in its turn
            nft('insert', 'rule', 'inet', TABLE, 'output', 'accept')
        x = r.event('drift')
        assert '7 rules more in chain output' in x['what'] and x['record'] > 20, x
        assert not [e for e in r.quiet(0.5) if e['kind'] in ('drift', 'healed')], r.events
        assert r.check()['in_force'] == 0
        assert r.ask('pause 0')['err'] == 0
        r.event('healed')
        assert r.check()['in_force'] == 1


def others_changes_are_named_and_left_alone():
    fresh(FOREIGN)
    with Role(DRIVE) as r:
        assert r.do(HOST)['err'] == 0
        r.quiet(1.3)
        for cmd, says in (('add table ip new', 'table ip new added'),
                          ('add chain inet foreign e', 'chain e of table inet foreign added'),
                          ('insert rule inet foreign c tcp dport { 465 } drop', 'chain c of table inet foreign changed'),
                          ('delete chain inet foreign d', 'chain d of table inet foreign deleted'),
                          ('chain inet foreign c { policy drop; }', 'chain c of table inet foreign changed'),
                          ('delete table ip new', 'table ip new deleted')):
            nft(*cmd.split(' '))
            x = r.event('foreign')
            assert says in x['what'] and x['program'] == 'nft' and x['pid'], (cmd, x)
        nft('add', 'element', 'inet', 'foreign', 's', '{ 203.0.113.0/24 }')
        assert not [e for e in r.quiet(1.3) if e['kind'] == 'foreign'], r.events
        assert r.check()['in_force'] == 1


# ---- blocks, counters, recordings -----------------------------------------------------------

def blocks_last_as_long_as_they_should():
    fresh(FOREIGN)
    with Role(DRIVE, '--no-owner') as r:
        assert r.do(HOST)['err'] == 0
        r.quiet(1.2)
        assert r.ask('block 192.0.2.77 3')['err'] == 0
        assert r.ask('block 192.0.2.0/24 600')['err'] == 0       # around it
        assert r.ask('block 2001:db8::/48 600')['err'] == 0
        assert r.ask('block 2001:db8::1 900')['err'] == 0        # in it, for longer
        t = nft('list', 'table', 'inet', 'mailreeve-block')
        assert '2001:db8::1 timeout 15m' in t and 'reject with tcp reset' in t and 'blocked' in t, t
        for bad in ('127.0.0.1', '0.0.0.0/0', 'example.org', '10.0.0.1/8', '::1'):
            x = r.ask(f'block {bad} 10')
            assert x['err'] == 22 and x['text'], (bad, x)
        x = r.ask('block 198.51.100.1 0')
        assert x['err'] == 2, x
        assert r.ask('block 192.0.2.0/24 0')['err'] == 0
        t = nft('list', 'table', 'inet', 'mailreeve-block')
        assert '192.0.2.77' in t and '192.0.2.0/24' not in t, t
        # taken away by somebody: made again; nothing foreign
        n = len(r.events)
        nft('delete', 'table', 'inet', 'mailreeve-block')
        x = r.event('healed')
        assert 'mailreeve-block deleted' in x['what'] and x['program'] == 'nft', x
        t = nft('list', 'table', 'inet', 'mailreeve-block')
        assert '2001:db8::1' in t, t
        assert not [e for e in r.quiet(1.2) if e['kind'] not in ('note', 'drift', 'healed')], r.events[n:]
        # dead: the kernel ends them in time; the next role knows the rest
        r.ask('kill')
        time.sleep(2)
        assert '192.0.2.77' not in nft('list', 'table', 'inet', 'mailreeve-block')
        r.say('start')
        assert r.do(HOST)['err'] == 0
        assert r.ask('block 2001:db8::1 0')['err'] == 0 or True
        nft('delete', 'table', 'inet', 'mailreeve-block')
        r.event('healed')
        assert '2001:db8:' in nft('list', 'table', 'inet', 'mailreeve-block')
        assert r.ask('remove')['err'] == 0
        assert 'mailreeve' not in nft('list', 'ruleset')


BLOCK = 'mailreeve-block'


def each_change_of_the_blocks_is_found_named_and_healed():
    """An audit's number 2: flushed sets, rules put before, other times, with a plan and without."""
    fresh(FOREIGN)
    for plan in (HOST, None):
        for edit, says in (
                ([f'flush set inet {BLOCK} block4'], '2 of the blocks in set block4 deleted'),
                ([f'delete element inet {BLOCK} block6 {{ 2001:db8::/48 }}'], '1 of the blocks in set block6'),
                ([f'insert rule inet {BLOCK} output accept'], 'a rule more in chain output, before rule 1'),
                ([f'insert rule inet {BLOCK} output tcp dport != 143 drop'], 'a rule more in chain output'),
                ([f'add rule inet {BLOCK} input tcp dport 25 accept'], 'a rule more in chain input'),
                ([f'flush chain inet {BLOCK} forward'], 'rules 1 to 4 of chain forward deleted'),
                ([f'add element inet {BLOCK} block4 {{ 198.51.100.0/24 timeout 1h }}'], '1 block more in set block4'),
                ([f'add element inet {BLOCK} block4 {{ 198.51.100.7 }}'], '1 block more in set block4'),
                ([f'delete element inet {BLOCK} block4 {{ 192.0.2.77 }}',
                  f'add element inet {BLOCK} block4 {{ 192.0.2.77 timeout 20s }}'], 'end at another time'),
                ([f'chain inet {BLOCK} input {{ policy drop; }}'], 'the policy of chain input is drop'),
                ([f'add chain inet {BLOCK} own {{ type filter hook output priority -200; policy drop; }}'],
                 'chain own added'),
                ([f'add table inet {BLOCK} {{ flags dormant; }}'], 'dormant'),
                ([f'delete table inet {BLOCK}'], f'table inet {BLOCK} deleted')):
            with Role(DRIVE, '--no-owner') as r:
                if plan:
                    assert r.do(plan)['err'] == 0
                for what in ('192.0.2.77 600', '203.0.113.0/24 900', '2001:db8::/48 900'):
                    assert r.ask(f'block {what}')['err'] == 0, what
                assert not [e for e in r.quiet(0.3) if e['kind'] in ('drift', 'healed')], r.events
                if plan:
                    healed(r, edit, says)
                else:
                    nft('-f', '-', text='\n'.join(edit) + '\n')
                    x = r.event('healed', 'heal-failed')
                    assert x['kind'] == 'healed' and says in x['what'] and x['program'] == 'nft', (edit, x)
                t = nft('-s', 'list', 'table', 'inet', BLOCK)
                assert 'accept;' in t and ' drop' not in t and '198.51' not in t and 'own' not in t, (edit, t)
                for what in ('192.0.2.77 timeout 10m', '203.0.113.0/24 timeout 15m', '2001:db8::/48 timeout 15m'):
                    assert re.sub('/24|/48', '', what.split()[0]) in t, (edit, t)
                for what in ('192.0.2.77', '203.0.113.0/24', '2001:db8::/48'):
                    assert r.ask(f'block {what} 0')['err'] == 0
                assert BLOCK not in nft('list', 'tables')


def blocks_that_end_are_no_drift():
    fresh()
    with Role(DRIVE, '--no-owner') as r:
        for what in ('192.0.2.0/24 2', '192.0.2.77 4', '192.0.2.128/25 1', '2001:db8::1 1', '2001:db8::/64 600'):
            assert r.ask(f'block {what}')['err'] == 0, what
        for i in range(30):                # others' commits make it look
            nft('add', 'table', 'ip', f't{i}')
            r.quiet(0.2)
        assert not [e for e in r.events if e['kind'] != 'note'], r.events
        assert r.ask('block 192.0.2.77 0')['err'] == 2


def blocks_have_an_owner_and_a_second_role_says_so():
    fresh()
    with Role(DRIVE) as r:
        assert r.do(HOST)['err'] == 0
        if not r.check()['owner']:
            print('  (this kernel has no owners)')
            return
        assert r.ask('block 192.0.2.77 600')['err'] == 0
        for cmd in (f'delete table inet {BLOCK}', f'flush set inet {BLOCK} block4',
                    f'insert rule inet {BLOCK} output accept'):
            p = nft(*cmd.split(), check=False)
            assert p.returncode and 'not permitted' in p.stderr, (cmd, p.stderr)
        with Role(DRIVE) as other:
            x = other.ask('block 192.0.2.78 600')
            assert x['err'] == 1 and 'owns the table' in x['text'], x
            assert not [e for e in other.quiet(0.5) if e['kind'] != 'note'], other.events
        t = nft('list', 'table', 'inet', BLOCK)
        assert '192.0.2.77' in t and '192.0.2.78' not in t, t
        # dead, it leaves an orphan: adopted by the next
        r.ask('kill')
        nft('insert', 'rule', 'inet', BLOCK, 'output', 'accept')
        r.say('start')
        assert r.do(HOST)['err'] == 0
        r.quiet(0.5)
        t = nft('list', 'table', 'inet', BLOCK)
        assert '192.0.2.77' in t and 'accept\n' not in t, t
        p = nft('flush', 'set', 'inet', BLOCK, 'block4', check=False)
        assert p.returncode, 'the orphan was not adopted'
        assert r.ask('remove')['err'] == 0
        assert 'mailreeve' not in nft('list', 'ruleset')


def remove_takes_down_what_this_role_put_there_and_nothing_else():
    """An audit's number 6: a router's rules beside a host's, by another agent or by hand."""
    plans = dict(rig.compile_all(MAILREEVE, FOLDERS, TMP))
    router = next(f for n, f in plans.items() if n.startswith('columbia-v1'))
    for options in ([], ['--no-owner']):
        fresh(FOREIGN)
        with Role(DRIVE, *options) as a, Role(DRIVE, *options) as b:
            assert a.do(router)['err'] == 0
            x = b.ask('remove')
            assert x['err'] == 0 and 'no plan' in x['text'], x
            assert a.check()['in_force'] == 1
            assert b.do(HOST)['err'] == 0
            assert a.ask('block 192.0.2.77 600')['err'] == 0
            x = b.ask('remove')
            assert x['err'] == 0 and not x['text'], x
            tables = nft('list', 'tables')
            assert 'inet mailreeve\n' in tables and BLOCK in tables and TABLE not in tables, tables
            assert a.check()['in_force'] == 1
            assert a.ask('remove')['err'] == 0
            assert 'mailreeve' not in nft('list', 'ruleset')


def counters_and_recordings_are_given():
    fresh(FOREIGN)
    with Role(DRIVE) as r:
        x = r.ask('count')
        assert x['err'] == 2 and x['text'], x
        assert r.do(HOST)['err'] == 0
        x = r.ask('count')
        assert x['err'] == 0 and x['counters'] and 'mailreeve/stamp' not in x['counters'], x
        file = os.path.join(TMP, 'record')
        x = r.ask(f'record {file}')
        assert x['err'] == 0 and x['record'] == os.path.getsize(file) and x['gen'] == r.check()['gen'], x
        assert open(file, 'rb').read(8) == b'nlrecord'


def it_ends_with_its_channel_and_leaves_the_rules():
    fresh()
    r = Role(DRIVE)
    assert r.do(HOST)['err'] == 0
    assert r.close() == 0
    assert 'jump' in nft('list', 'table', 'inet', TABLE)


def main():
    only = os.environ.get('ONLY', '')
    tests = [f for n, f in globals().items() if callable(f) and getattr(f, '__module__', '') == '__main__' and
             f.__code__.co_argcount == 0 and n not in ('foreign_now', 'kinds_of_host', 'main')]
    failed = 0
    for f in tests:
        if only and only not in f.__name__:
            continue
        start = time.monotonic()
        try:
            f()
            print(f'ok      {f.__name__} ({time.monotonic() - start:.1f} s)', flush=True)
        except Exception:
            failed += 1
            print(f'FAILED  {f.__name__}', flush=True)
            traceback.print_exc()
    ran = sum(not only or only in f.__name__ for f in tests)
    print(f'{ran - failed} passed, {failed} failed')
    return 1 if failed else 0


if __name__ == '__main__':
    rig.again_in_namespace()
    sys.exit(main())
