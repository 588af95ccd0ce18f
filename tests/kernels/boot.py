#!/usr/bin/env python3
"""Boots another kernel under emulation and runs one command in it.

    boot.py [--kernel PACKAGE] [--cache FOLDER] [--seconds N] --with PATH... -- COMMAND...

The kernel is a package of Debian's (by default the one that Debian 12 itself has); the machine is
qemu's emulation, so nothing of this machine's kernel is in it, and no privilege is needed. In it run
busybox and what --with names: programs come with the libraries that they need, folders whole
(python: with its library). The command's exit status is this program's; its output is printed as it
comes.

    kernel(package, cache)     the kernel's file, the folder of its modules; NoKernel
    image(...)                 what runs in the machine, once for many boots
    Machine(...)               one boot: lines(), pause(), resume(), cut()
"""
import argparse
import contextlib
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading

# Disks are NVMe: the kernels for clouds have that built in. The network is not up when the command
# starts.
INIT = """#!/bin/busybox sh
/bin/busybox mkdir -p /bin /sbin /proc /sys /dev /tmp /run /etc /root /var/lib
/bin/busybox --install -s /bin 2>/dev/null
export PATH=/usr/bin:/usr/sbin:/bin:/sbin HOME=/root
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/shm
mount -t tmpfs shm /dev/shm
mount -t tmpfs run /run
chmod 1777 /tmp
mount -t cgroup2 cgroup /sys/fs/cgroup
printf 'root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n' > /etc/passwd
printf 'root:x:0:\ndaemon:x:1:\nmail:x:8:\nnogroup:x:65534:\n' > /etc/group
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

# of python's library, what no test here imports
NO_PYTHON = shutil.ignore_patterns('test', 'tests', 'idlelib', 'tkinter', 'lib2to3', 'ensurepip', 'config-*',
                                   'pydoc_data', 'distutils', 'dist-packages', 'site-packages', 'sqlite3', 'turtledemo',
                                   'unittest', 'venv', 'xmlrpc', 'dbm', 'curses')


class NoKernel(Exception):
    """The package cannot be had."""


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


def put_python(root, seen):
    real = os.path.realpath(sys.executable)
    put(root, real, seen)
    (root / 'usr/bin').mkdir(parents=True, exist_ok=True)
    for name in ('python3', os.path.basename(sys.executable)):
        with contextlib.suppress(FileExistsError):
            os.symlink(real, root / 'usr/bin' / name)
    lib = os.path.dirname(os.__file__)
    shutil.copytree(lib, root / lib.lstrip('/'), ignore=NO_PYTHON, dirs_exist_ok=True)
    for name in ('_ctypes', '_hashlib', '_json', '_struct'):
        for so in pathlib.Path(lib, 'lib-dynload').glob(f'{name}.*.so'):
            for x in libraries(so):
                put(root, x, seen)


def kernel(package, folder):
    """Fetches the package; gives the kernel's file and the folder of its modules."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    deb = next(iter(folder.glob('linux-image-*.deb')), None)
    try:
        if deb is None:
            if package == 'debian':
                out = subprocess.run(['apt-cache', 'depends', 'linux-image-cloud-amd64'], check=True,
                                     capture_output=True, text=True).stdout
                found = re.search(r'Depends: (linux-image\S+)', out)
                if not found:
                    raise NoKernel('the package lists name no kernel: apt-get update')
                package = found.group(1)
            subprocess.run(['apt-get', 'download', '-q', '-o', 'APT::Sandbox::User=root',
                            '-o', 'Acquire::Retries=1', '-o', 'Acquire::http::Timeout=20',
                            '-o', 'Acquire::https::Timeout=20', package], cwd=folder, check=True,
                           capture_output=True, text=True, timeout=240)
            deb = next(iter(folder.glob('linux-image-*.deb')))
        to = folder / 'image'
        if not to.exists():
            part = folder / 'part'
            shutil.rmtree(part, ignore_errors=True)
            subprocess.run(['dpkg-deb', '-x', deb, part], check=True)
            part.rename(to)
    except subprocess.CalledProcessError as e:
        raise NoKernel((e.stderr or str(e)).strip().split('\n')[-1]) from None
    except (subprocess.TimeoutExpired, StopIteration, OSError) as e:
        raise NoKernel(f'{type(e).__name__}: {e}') from None
    return next(iter(to.glob('boot/vmlinuz-*'))), next(iter(to.glob('lib/modules/*')))


def pack(root, to):
    with open(to, 'wb') as f:
        names = subprocess.run(['find', '.', '-print0'], cwd=root, check=True, capture_output=True).stdout
        subprocess.run(['cpio', '-0', '-o', '-H', 'newc', '--quiet', '-R', '0:0'], cwd=root, input=names, stdout=f,
                       check=True)


def image(to, modules, files, python=False):
    """Packs all that is in the machine but the command into the file `to`."""
    with tempfile.TemporaryDirectory() as tmp:
        root = pathlib.Path(tmp)
        (root / 'bin').mkdir(parents=True)
        (root / 'work-in-here').mkdir()
        shutil.copy2('/bin/busybox', root / 'bin/busybox')
        seen, names = set(), []
        # busybox' own shell takes its own ip before any other
        (root / 'usr/bin').mkdir(parents=True)
        shutil.copy2('/bin/dash', root / 'usr/bin/sh')
        for lib in libraries('/bin/dash'):
            put(root, lib, seen)
        for f in files:
            put(root, f, seen)
        if python:
            put_python(root, seen)
        found = {x.name.split('.')[0].replace('-', '_'): x for x in modules.rglob('*.ko*')}
        for m in MODULES:
            if m in found:
                shutil.copy2(found[m], root / found[m].name)
                names.append('/' + found[m].name)
        (root / 'modules').write_text('\n'.join(names) + '\n')
        (root / 'init').write_text(INIT)
        os.chmod(root / 'init', 0o755)
        pack(root, to)


class Machine:
    """One boot of the image with a command."""

    running, over = [], False

    @classmethod
    def end_all(cls, *_):
        """For a signal: all end now and no other begins, so that everybody tidies up."""
        cls.over = True
        for m in cls.running:
            m.process.kill()

    def __init__(self, linux, initrd, command, disks=(), seconds=540, memory=2048):
        if Machine.over:
            raise RuntimeError('told to end')
        self.tmp = tempfile.TemporaryDirectory()
        self.status = None
        root = pathlib.Path(self.tmp.name, 'root')
        root.mkdir()
        (root / 'command').write_text(command + '\n')
        extra = pathlib.Path(self.tmp.name, 'extra')
        pack(root, extra)
        whole = pathlib.Path(self.tmp.name, 'initrd')
        with open(whole, 'wb') as f:    # the kernel unpacks one after the other
            for part in (initrd, extra):
                with open(part, 'rb') as g:
                    shutil.copyfileobj(g, f)
                f.write(b'\0' * (-f.tell() % 512))
        argv = ['qemu-system-x86_64', '-machine', 'q35', '-cpu', 'max', '-accel', 'tcg,thread=multi',
                '-smp', '2', '-m', str(memory), '-nographic', '-no-reboot', '-nodefaults',
                '-serial', 'stdio', '-kernel', str(linux), '-initrd', str(whole),
                '-append', 'console=ttyS0 quiet panic=-1 random.trust_cpu=on no_timer_check']
        for i, disk in enumerate(disks):
            argv += ['-drive', f'file={disk},format=raw,if=none,id=d{i},cache=writeback',
                     '-device', f'nvme,drive=d{i},serial=d{i}']
        self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                                        errors='replace')
        Machine.running.append(self)
        self.timer = threading.Timer(seconds, self.process.kill)
        self.timer.start()

    def lines(self):
        """What it says, until it ends; then status is what the command left, or None."""
        for line in self.process.stdout:
            line = re.sub(r'\x1b(\[[0-9;?]*[a-zA-Z]|c)', '', line).rstrip('\r\n')
            if re.match(r'(SeaBIOS|Booting from)|\[ *[0-9.]+\] reboot:|$', line):
                continue
            m = re.match(r'ended-with-status (\d+)', line)
            if m:
                self.status = int(m.group(1))
            else:
                yield line

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def cut(self):
        """The power goes: what the guest has not written to its disk is lost."""
        self.process.kill()
        self.process.wait()

    def close(self):
        self.timer.cancel()
        Machine.running.remove(self)
        if self.process.poll() is None:
            self.cut()
        self.process.stdout.close()
        self.tmp.cleanup()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def main():
    signal.signal(signal.SIGTERM, Machine.end_all)
    at = sys.argv.index('--') if '--' in sys.argv else len(sys.argv)
    p = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    p.add_argument('--kernel', default='debian')
    p.add_argument('--cache', help='a folder that keeps the kernel for the next time')
    p.add_argument('--seconds', type=int, default=540)
    p.add_argument('--memory', type=int, default=2048, help='MiB')
    p.add_argument('--python', action='store_true', help='with python and its library')
    p.add_argument('--disk', nargs='*', default=[], help='files that are its disks: /dev/nvme0n1, ...')
    p.add_argument('--with', dest='files', nargs='*', default=[])
    a = p.parse_args(sys.argv[1:at])
    with tempfile.TemporaryDirectory() as tmp:
        try:
            linux, modules = kernel(a.kernel, a.cache or tmp)
        except NoKernel as e:
            print(f'no kernel: {e}')
            return 77
        initrd = pathlib.Path(tmp, 'image.cpio')
        image(initrd, modules, a.files, a.python)
        with Machine(linux, initrd, ' '.join(sys.argv[at + 1:]), a.disk, a.seconds, a.memory) as m:
            for line in m.lines():
                print(line, flush=True)
    if m.status is None:
        print('the machine ended without a status')
        return 3
    return m.status


if __name__ == '__main__':
    sys.exit(main())
