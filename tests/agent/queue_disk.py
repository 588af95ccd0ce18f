#!/usr/bin/env python3
"""A full disk, by bytes and by inodes: queue_disk on a small tmpfs in a mount namespace."""
import os
import subprocess
import sys
import tempfile

if not os.environ.get('QUEUE_DISK_INSIDE'):
    os.environ['QUEUE_DISK_INSIDE'] = '1'
    os.execvp('unshare', ['unshare', '-Urm', sys.executable, *sys.argv])

for options in ('size=2m', 'size=64m,nr_inodes=40'):
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(['mount', '-t', 'tmpfs', '-o', options, 'tmpfs', folder], check=True)
        try:
            p = subprocess.run([sys.argv[1], folder], capture_output=True, text=True, timeout=200)
        finally:
            subprocess.run(['umount', '-l', folder], check=True)
        print(f'{options}: {p.stdout.strip()}')
        if p.returncode:
            sys.exit(f'{options}: status {p.returncode}\n{p.stderr}')
