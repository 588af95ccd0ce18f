#!/usr/bin/env python3
"""What `compile` shows in a real kernel, by default and with --prove.

    prove.py MAILREEVE PROVE_FAULTS PROVE_SHIM FOLDER...

Every point of every shipped policy and example is proved; planted faults are found
(prove_faults.c, and by the command itself where a library makes the kernel hear something
else). Inside a user namespace, without privileges and where no namespaces are
allowed; and nothing is left behind.
"""
import glob
import os
import subprocess
import sys
import tempfile

SKIP = 77
failed = passed = 0


def verdict(ok, what, why=''):
    global failed, passed
    passed += bool(ok)
    failed += not ok
    if not ok:
        print(f'FAIL {what}: {why}')


def run(*args, inside=(), **env):
    return subprocess.run([*inside, *args], capture_output=True, text=True,
                          env={**os.environ, 'NO_COLOR': '1', 'LC_ALL': 'C.UTF-8', **env})


def may_unshare(*flags):
    return run('unshare', *flags, 'true').returncode == 0


def main():
    mailreeve, faults, shim = (os.path.abspath(p) for p in sys.argv[1:4])
    policies = sorted(p for folder in sys.argv[4:] for p in glob.glob(os.path.abspath(folder) + '/*.yaml'))
    one = next(p for p in policies if p.endswith('/blocked-campus.yaml'))
    if not may_unshare('-Urn'):
        print('no namespaces without privileges: skipped')
        return SKIP
    for policy in policies:
        for line in run(mailreeve, 'points', policy).stdout.splitlines():
            point = line.split('\t')[0]
            plain = run(mailreeve, 'compile', '--no-prove', '--point', point, policy)
            for how in ([], ['--prove']):
                proved = run(mailreeve, 'compile', *how, '--point', point, policy)
                verdict((proved.returncode, proved.stdout, proved.stderr) ==
                        (0, plain.stdout, plain.stderr),
                        f'compile {how} {os.path.basename(policy)} {point}', proved.stderr)
    r = run(faults, *policies)
    print(r.stdout, end='')
    verdict(r.returncode == 0, 'planted faults', r.stderr[-2000:])
    with tempfile.TemporaryDirectory() as d:
        asan = os.environ.get('ASAN_OPTIONS', '') + ':verify_asan_link_order=0'
        for how in ([], ['--prove'], ['--to', 'plan'], ['--part', 'swap', '--slot', 'a']):
            r = run(mailreeve, 'compile', *how, '-o', d + '/out', one, LD_PRELOAD=shim, ASAN_OPTIONS=asan)
            verdict(r.returncode == 1 and 'error[E2003]' in r.stderr and not r.stdout and not os.listdir(d) and
                    'do pass with tcp 198.51.100.1 -> 203.0.113.1:25, and the policy says reject' in r.stderr,
                    'a kernel that hears another port', f'{r.returncode} {r.stdout} {r.stderr}')
        r = run(mailreeve, 'compile', '--no-prove', one, LD_PRELOAD=shim, ASAN_OPTIONS=asan)
        verdict(r.returncode == 0 and r.stdout and not r.stderr, '--no-prove asks no kernel', r.stderr)
    for inside in ('-Ur', '-Urn'):
        r = run(mailreeve, 'compile', '--prove', one, inside=('unshare', inside))
        verdict(r.returncode == 0 and 'table inet' in r.stdout, f'--prove in unshare {inside}', r.stderr)
    # A machine that allows no namespaces: said, told apart from a difference, nothing written.
    with tempfile.TemporaryDirectory() as d:
        script = 'for x in user net; do echo 0 >/proc/sys/user/max_${x}_namespaces; done; exec "$@"'
        r = run(mailreeve, 'compile', '--prove', '-o', d + '/out', one,
                inside=('unshare', '-Ur', 'sh', '-c', script, 'sh'))
        verdict(r.returncode == 2 and 'does not let us make a network namespace' in r.stderr and
                not r.stdout and not os.listdir(d), '--prove without namespaces',
                f'{r.returncode} {r.stdout} {r.stderr}')
        r = run(mailreeve, 'compile', one, inside=('unshare', '-Ur', 'sh', '-c', script, 'sh'))
        verdict(r.returncode == 0 and r.stdout == run(mailreeve, 'compile', '--no-prove', one).stdout and
                r.stderr.count('note: the rules are not proved') == 1 and
                'does not let us make a network namespace' in r.stderr, 'no namespaces, by default',
                f'{r.returncode} {r.stdout} {r.stderr}')
        r = run(mailreeve, 'compile', '--no-prove', one, inside=('unshare', '-Ur', 'sh', '-c', script, 'sh'))
        verdict(r.returncode == 0 and r.stdout and not r.stderr, '--no-prove without namespaces', r.stderr)
    r = run(mailreeve, 'compile', '--no-prove', '--prove', one)
    verdict(r.returncode == 2 and not r.stdout, '--prove and --no-prove', r.stderr)
    # Where 4 namespaces may be at once, 40 proofs one after the other leave none behind. (The kernel
    # takes a moment to clear one away.)
    script = """echo 4 >/proc/sys/user/max_net_namespaces
        for i in $(seq 40); do
            tries=0
            until "$@" >/dev/null 2>&1; do
                tries=$((tries + 1)); [ $tries -lt 50 ] || exit 9; sleep 0.1
            done
        done"""
    r = run(mailreeve, 'compile', '--prove', one, inside=('unshare', '-Ur', 'sh', '-c', script, 'sh'))
    verdict(r.returncode == 0, 'namespaces are left behind', f'{r.returncode} {r.stderr}')
    print(f'{passed} passed, {failed} failed')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
