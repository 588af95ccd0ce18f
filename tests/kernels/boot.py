#!/usr/bin/env python3
"""Boots another kernel under emulation and runs one command in it.

    boot.py [--kernel PACKAGE] [--seconds N] --with PATH... -- COMMAND...

The kernel is a package of Debian's (by default the one that Debian 12 itself has); the machine is
qemu's emulation, so nothing of this machine's kernel is in it. In it run busybox and what --with
names: programs come with the libraries that they need, folders whole. The command's exit status is
this program's; its output is printed as it comes.
"""
import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import threading

INIT = """#!/bin/busybox sh
/bin/busybox mkdir -p /bin /sbin /proc /sys /dev /tmp /run /etc /root
/bin/busybox --install -s /bin
export PATH=/bin:/sbin:/usr/bin:/usr/sbin HOME=/root
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs run /run
mount -t cgroup2 cgroup /sys/fs/cgroup
echo root:x:0:0:root:/root:/bin/sh > /etc/passwd
echo root:x:0: > /etc/group
for m in $(cat /modules); do insmod $m 2>/dev/null; done
ip link set lo up
uname -r
cd /work-in-here
sh /command
echo "ended-with-status $?"
sync
poweroff -f
"""

# what nf_tables needs; each in the order that insmod takes
MODULES = ['nfnetlink', 'libcrc32c', 'nf_defrag_ipv4', 'nf_defrag_ipv6', 'nf_conntrack', 'nf_nat',
           'nf_tables', 'nft_ct', 'nft_limit', 'nft_log', 'nf_log_syslog', 'nfnetlink_log',
           'nft_counter', 'nf_reject_ipv4', 'nf_reject_ipv6', 'nft_reject', 'nft_reject_inet',
           'nft_reject_ipv4', 'nft_reject_ipv6', 'nft_fib', 'nft_fib_ipv4', 'nft_fib_ipv6',
           'nft_fib_inet', 'nf_socket_ipv4', 'nf_socket_ipv6', 'nft_socket', 'nft_chain_nat',
           'nft_redir', 'nft_masq', 'nft_nat', 'nft_quota', 'nft_connlimit', 'nft_objref',
           'veth', 'dummy', 'inet_diag', 'tcp_diag', 'netlink_diag', 'unix_diag', 'af_packet_diag']


def libraries(path):
    out = subprocess.run(['ldd', path], capture_output=True, text=True).stdout
    return [m for m in re.findall(r'(/\S+)', out) if os.path.exists(m)]


def put(root, path, seen):
    """Copies a program with its libraries, or a folder, to the same place below root."""
    path = os.path.abspath(path)
    if path in seen:
        return
    seen.add(path)
    to = root / path.lstrip('/')
    to.parent.mkdir(parents=True, exist_ok=True)
    if os.path.isdir(path):
        shutil.copytree(path, to, symlinks=True, dirs_exist_ok=True)
        return
    shutil.copy2(path, to)
    if os.access(path, os.X_OK) or '.so' in path:
        for lib in libraries(path):
            put(root, lib, seen)


def kernel(package, folder):
    """Fetches the package; gives the kernel's file and the folder of its modules."""
    deb = next(iter(pathlib.Path(folder).glob('linux-image-*.deb')), None)
    if deb is None:
        if package == 'debian':
            out = subprocess.run(['apt-cache', 'depends', 'linux-image-cloud-amd64'], check=True,
                                 capture_output=True, text=True).stdout
            package = re.search(r'Depends: (linux-image\S+)', out).group(1)
        subprocess.run(['apt-get', 'download', '-q', package], cwd=folder, check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deb = next(iter(pathlib.Path(folder).glob('linux-image-*.deb')))
    to = pathlib.Path(folder) / 'image'
    if not to.exists():
        subprocess.run(['dpkg-deb', '-x', deb, to], check=True)
    return next(iter(to.glob('boot/vmlinuz-*'))), next(iter(to.glob('lib/modules/*')))


def main():
    at = sys.argv.index('--') if '--' in sys.argv else len(sys.argv)
    p = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    p.add_argument('--kernel', default='debian')
    p.add_argument('--cache', help='a folder that keeps the kernel for the next time')
    p.add_argument('--seconds', type=int, default=540)
    p.add_argument('--memory', type=int, default=2048, help='MiB')
    p.add_argument('--with', dest='files', nargs='*', default=[])
    a = p.parse_args(sys.argv[1:at])
    command = sys.argv[at + 1:]
    with tempfile.TemporaryDirectory() as tmp:
        cache = a.cache or tmp
        os.makedirs(cache, exist_ok=True)
        image, modules = kernel(a.kernel, cache)
        root = pathlib.Path(tmp) / 'root'
        (root / 'bin').mkdir(parents=True)
        (root / 'work-in-here').mkdir()
        shutil.copy2('/bin/busybox', root / 'bin/busybox')
        seen, names = set(), []
        for f in a.files:
            put(root, f, seen)
        found = {x.name.split('.')[0].replace('-', '_'): x for x in modules.rglob('*.ko*')}
        for m in MODULES:
            if m in found:
                shutil.copy2(found[m], root / found[m].name)
                names.append('/' + found[m].name)
        (root / 'modules').write_text('\n'.join(names) + '\n')
        (root / 'command').write_text(' '.join(command) + '\n')
        (root / 'init').write_text(INIT)
        os.chmod(root / 'init', 0o755)
        initrd = pathlib.Path(tmp) / 'initrd'
        with open(initrd, 'wb') as f:
            names = subprocess.run(['find', '.', '-print0'], cwd=root, check=True,
                                   capture_output=True).stdout
            subprocess.run(['cpio', '-0', '-o', '-H', 'newc', '--quiet'], cwd=root, input=names,
                           stdout=f, check=True)
        q = subprocess.Popen(
            ['qemu-system-x86_64', '-machine', 'q35', '-cpu', 'max', '-accel', 'tcg,thread=multi',
             '-smp', '2', '-m', str(a.memory), '-nographic', '-no-reboot', '-nodefaults',
             '-serial', 'stdio', '-kernel', str(image), '-initrd', str(initrd),
             '-append', 'console=ttyS0 quiet panic=-1 random.trust_cpu=on'],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, errors='replace')
        status = None
        try:
            timer = threading.Timer(a.seconds, q.kill)
            timer.start()
            for line in q.stdout:
                line = re.sub(r'\x1b(\[[0-9;?]*[a-zA-Z]|c)', '', line).rstrip('\r\n')
                if re.match(r'(SeaBIOS|Booting from)|\[ *[0-9.]+\] reboot:|$', line):
                    continue
                m = re.match(r'ended-with-status (\d+)', line)
                if m:
                    status = int(m.group(1))
                else:
                    print(line, flush=True)
            timer.cancel()
        finally:
            q.kill()
            q.wait()
    if status is None:
        print('the machine ended without a status')
        return 3
    return status


if __name__ == '__main__':
    sys.exit(main())
