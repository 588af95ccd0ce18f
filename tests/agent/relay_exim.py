#!/usr/bin/env python3
"""The role relay with a real Exim: STARTTLS, implicit TLS, AUTH.   relay_exim.py RIG EXIM

Exim does not go beside Postfix as a package; unpacked it does:
    apt-get download exim4-daemon-light && dpkg -x exim4-daemon-light_*.deb x
    tests/agent/relay_exim.py BUILD/tests/agent/relay_rig x/usr/sbin/exim4
"""
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import relay_world as world  # noqa: E402
from relay_world import Rig, certificates, hosts, policy  # noqa: E402

RIG, EXIM = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
CONF = '''
exim_path = {exim}
spool_directory = {folder}/spool
log_file_path = {folder}/%slog
primary_hostname = relay.example.org
daemon_smtp_ports = 2587 : 2465
tls_on_connect_ports = 2465
local_interfaces = 127.0.0.1
tls_advertise_hosts = *
tls_certificate = {folder}/good.crt
tls_privatekey = {folder}/good.key
acl_smtp_rcpt = rcpt
acl_smtp_data = accept
queue_only = true
never_users =
smtp_accept_max = 100
begin acl
rcpt:
  deny message = who are you
       !authenticated = *
  accept
begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = ${{if and{{{{eq{{$auth2}}{{u}}}}{{eq{{$auth3}}{{p w}}}}}}}}
login:
  driver = plaintext
  public_name = LOGIN
  server_prompts = Username:: : Password::
  server_condition = ${{if and{{{{eq{{$auth1}}{{u}}}}{{eq{{$auth2}}{{p w}}}}}}}}
{cram}'''
CRAM = '''cram:
  driver = cram_md5
  public_name = CRAM-MD5
  server_secret = ${if eq{$auth1}{u}{p w}fail}
'''


def exim(folder, cram):
    """Exim as the user that it was built for, who is whom we say in this namespace."""
    with open(folder + '/exim.conf', 'w') as f:
        f.write(CONF.format(exim=EXIM, folder=folder, cram=CRAM if cram else ''))
    shutil.rmtree(folder + '/spool', ignore_errors=True)
    os.mkdir(folder + '/spool')
    p = subprocess.Popen(['unshare', '-U', '--map-user=1000', '--map-group=1000', EXIM, '-C',
                          folder + '/exim.conf', '-bdf'], stdout=subprocess.DEVNULL,
                         stderr=subprocess.DEVNULL)
    for _ in range(200):
        try:
            socket.create_connection(('127.0.0.1', 2465), 1).close()
            return p
        except OSError:
            time.sleep(0.05)
    raise AssertionError('Exim does not listen')


def main():
    world.again_in_namespace()
    top = tempfile.mkdtemp(prefix='mailreeve-relay-exim-')
    os.chmod(top, 0o777)
    certificates(top)
    hosts(top, '127.0.0.1 relay.example.org')
    for name, line in ('passwd', 'Debian-exim:x:1000:1000::/tmp:/bin/sh\n'), ('group', 'Debian-exim:x:1000:\n'):
        with open('/etc/' + name) as old, open(f'{top}/{name}', 'w') as new:
            new.write(''.join(x for x in old if not x.startswith('Debian-exim')) + line)
        subprocess.run(['mount', '--bind', f'{top}/{name}', '/etc/' + name], check=True)
    for cram in True, False:
        p = exim(top, cram)
        for endpoint in '{port: 2587, tls: starttls}', '{port: 2465, tls: implicit}':
            for password, want in ('p w', 'delivered'), ('wrong', 'held'):
                rig = Rig(RIG, top)
                keys = f'endpoints: [{endpoint}]\ntls: {{ca: {top}/ca.pem}}\nauth: {{password: c}}'
                assert rig.policy(policy(top, ('r', keys)))['err'] == 0
                rig.credential('c', f'user: u\npassword: {password}\n')
                for n in range(1, 41):
                    rig.send(n, 'b@example.com', 'c@example.com', flags='a')
                for n in range(1, 41):
                    x = rig.result(n)
                    assert [y['fate'] for y in x['rcpt']] == [want] * 2, x
                    assert want == 'held' or x['tls'].startswith('TLSv1.'), x
                rig.say('stop')
                rig.wait(**{'is': 'exit', 'status': 0, 'signal': 0})
        with open(top + '/mainlog') as f:
            log = f.read()
        os.unlink(top + '/mainlog')
        taken = log.count(' <= a@example.org')
        assert taken == 80, taken
        assert '(recv): The TLS connection was non-properly' not in log, log[-3000:]
        assert log.count('Incorrect authentication') == 2, log[-3000:]
        p.kill()
        p.wait()
        print(f'ok   Exim, {"CRAM-MD5" if cram else "PLAIN"}, STARTTLS and implicit TLS')
    for name in 'passwd', 'group', 'hosts':
        subprocess.run(['umount', '/etc/' + name], check=False)
    shutil.rmtree(top, ignore_errors=True)


main()
