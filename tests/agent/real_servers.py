"""Debian's own mail servers as relays, in a namespace, for tests: each speaks STARTTLS, implicit TLS and AUTH at
ports of its own and hands on what it took to one more relay, where it can be read.

    programs(cache)       those that cannot be installed beside one another, unpacked (tests/peers/fetch)
    users(top)            /etc/passwd and /etc/group know their users
    Postfix(...), Exim(...), OpenSmtpd(...)   start(), stop(), .log()
    Judge(port)           Postfix asks it about each recipient: what it is to say can change

Postfix and OpenSMTPD change users, so they need the many of parent_rig.many_users(); Exim does not.
"""
import contextlib
import grp
import importlib.machinery
import importlib.util
import os
import pathlib
import pwd
import signal
import socket
import socketserver
import subprocess
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
NEXT = 2525                    # where they hand on to
USER, PASSWORD = 'u', 'p w'


# ---- packages --------------------------------------------------------------------------------------------

def programs(cache, ask=True):
    """{name: its program, and its environment}, and why others could not be had. Not ask: only what was fetched
    before."""
    loader = importlib.machinery.SourceFileLoader('fetch', str(HERE.parent / 'peers' / 'fetch'))
    fetch = importlib.util.module_from_spec(importlib.util.spec_from_loader('fetch', loader))
    loader.exec_module(fetch)
    found, why = {}, []
    for name in 'exim', 'opensmtpd', 'saslpasswd2':
        if not (pathlib.Path(cache) / name / 'whole').exists() and (why or not ask):
            why.append(f'{name} was not fetched')
            continue
        try:
            program, libraries = fetch.fetch(cache, name)
            found[name] = program, {**os.environ, 'LD_LIBRARY_PATH': str(libraries)}
        except (subprocess.SubprocessError, OSError, RuntimeError) as e:
            why.append(f'{name} cannot be had: {e}')
    return found, why


# ---- users -------------------------------------------------------------------------------------------------

def users(top):
    for name, line in ('passwd', '{0}:x:{1}:{1}::/nonexistent:/bin/sh\n'), ('group', '{0}:x:{1}:\n'):
        wanted = {'Debian-exim': 1000, 'opensmtpd': 1001, 'opensmtpq': 1002}
        with open('/etc/' + name) as old, open(f'{top}/{name}', 'w') as new:
            new.write(''.join(x for x in old if x.split(':')[0] not in wanted))
            new.write(''.join(line.format(n, i) for n, i in wanted.items()))
        subprocess.run(['mount', '--bind', f'{top}/{name}', '/etc/' + name], check=True)


def listens(port):
    with contextlib.suppress(OSError):
        socket.create_connection(('127.0.0.1', port), 1).close()
        return True
    return False


class Server:
    """ports: a number for each way in; start() waits for all of them."""

    def __init__(self, top, name, ports):
        self.dir = pathlib.Path(top) / name
        self.dir.mkdir()
        self.dir.chmod(0o755)
        self.top, self.name, self.ports, self.p = pathlib.Path(top), name, ports, None

    def spawn(self, argv, **how):
        with open(self.dir / 'said', 'a') as out:
            self.p = subprocess.Popen(argv, stdout=out, stderr=out, start_new_session=True, **how)
        end = time.monotonic() + 60
        while not all(listens(x) for x in self.ports):
            if self.p.poll() is not None or time.monotonic() > end:
                raise AssertionError(f'{self.name} does not listen: {self.log()[-3000:]}')
            time.sleep(0.05)
        return self

    def log(self):
        return ''.join(x.read_text(errors='replace') for x in (self.dir / 'said', self.dir / 'log') if x.exists())

    def stop(self):
        if self.p and self.p.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.p.pid, signal.SIGTERM)
            try:
                self.p.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(self.p.pid, signal.SIGKILL)
                self.p.wait(10)


# ---- Postfix -------------------------------------------------------------------------------------------------

class Judge:
    """Postfix's policy service: `says` gives the action for a recipient, None for none of its business."""

    def __init__(self, port):
        judge = self
        self.says = lambda rcpt: None

        class One(socketserver.StreamRequestHandler):
            def handle(self):
                with contextlib.suppress(OSError):
                    while True:
                        asked = {}
                        while line := self.rfile.readline().strip().decode():
                            k, _, v = line.partition('=')
                            asked[k] = v
                        if not asked:
                            return
                        self.wfile.write(f'action={judge.says(asked["recipient"]) or "DUNNO"}\n\n'.encode())

        class Asked(socketserver.ThreadingTCPServer):
            allow_reuse_address = daemon_threads = True

        self.server = Asked(('127.0.0.1', port), One)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class Postfix(Server):
    """services: {port: {parameter: value}}; `sasl`: the mechanisms, `wrapper`: implicit TLS."""
    MAIN = '''\
compatibility_level = 3.6
queue_directory = {dir}/queue
data_directory = {dir}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
myhostname = relay.example.org
mydestination =
mynetworks =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
relayhost = [127.0.0.1]:{next}
disable_dns_lookups = yes
smtp_dns_support_level = disabled
smtp_host_lookup = native
smtpd_peername_lookup = no
maillog_file = {dir}/log
maillog_file_prefixes = /
smtpd_relay_restrictions = permit_sasl_authenticated, reject
smtpd_recipient_restrictions = check_policy_service inet:127.0.0.1:{judge}
smtpd_tls_chain_files = {top}/good.key, {top}/good.crt
smtpd_tls_security_level = encrypt
smtpd_tls_auth_only = yes
smtpd_tls_received_header = yes
smtpd_sasl_auth_enable = {sasl}
smtpd_sasl_local_domain = relay.example.org
cyrus_sasl_config_path = {dir}/sasl
smtpd_client_connection_count_limit = 0
smtp_destination_concurrency_limit = 20
'''
    MASTER = '''\
postlog unix-dgram n - n - 1 postlogd
rewrite unix - - n - - trivial-rewrite
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
smtp unix - - n - - smtp
relay unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
proxymap unix - - n - - proxymap
anvil unix - - n - 1 anvil
showq unix n - n - - showq
'''

    def __init__(self, top, found, services, judge):
        super().__init__(top, 'postfix', services)
        uid, drop = pwd.getpwnam('postfix').pw_uid, grp.getgrnam('postdrop').gr_gid
        sasl = self.dir / 'sasl'
        for name in ['data', 'sasl', 'queue'] + ['queue/' + x for x in (
                'active', 'bounce', 'corrupt', 'defer', 'deferred', 'flush', 'hold', 'incoming', 'maildrop', 'pid',
                'private', 'public', 'saved', 'trace')]:
            (self.dir / name).mkdir()
            if name not in ('sasl', 'queue', 'queue/pid'):
                os.chown(self.dir / name, uid, drop if name in ('queue/maildrop', 'queue/public') else -1)
                (self.dir / name).chmod(0o710 if name == 'queue/public' else 0o730 if name == 'queue/maildrop' else
                                        0o700)
        master = self.MASTER
        for port, how in services.items():
            how = dict(how)
            mechanisms = how.pop('sasl', None)
            if mechanisms:
                how['smtpd_sasl_path'] = f's{port}'
                (sasl / f's{port}.conf').write_text('pwcheck_method: auxprop\nauxprop_plugin: sasldb\n'
                                                    f'sasldb_path: {sasl}/db\nmech_list: {mechanisms}\n')
            if how.pop('wrapper', False):
                how['smtpd_tls_wrappermode'] = 'yes'
            master += f'127.0.0.1:{port} inet n - n - 50 smtpd\n' + ''.join(
                f'  -o {{ {k} = {v} }}\n' for k, v in how.items())
        (self.dir / 'main.cf').write_text(self.MAIN.format(dir=self.dir, top=top, next=NEXT, judge=judge,
                                                             sasl='yes' if 'saslpasswd2' in found else 'no'))
        (self.dir / 'master.cf').write_text(master)
        if 'saslpasswd2' not in found:
            return
        program, env = found['saslpasswd2']
        subprocess.run([str(program), '-f', str(sasl / 'db'), '-u', 'relay.example.org', '-c', '-p', USER],
                       input=PASSWORD.encode(), check=True, capture_output=True, env=env)
        os.chown(sasl / 'db', uid, -1)

    def start(self):
        return self.spawn(['/usr/lib/postfix/sbin/master', '-c', str(self.dir), '-d'])


# ---- Exim ----------------------------------------------------------------------------------------------------

class Exim(Server):
    CONF = '''
exim_path = {exim}
spool_directory = {dir}/spool
log_file_path = {dir}/%slog
log_selector = +tls_cipher +tls_peerdn +smtp_connection
primary_hostname = relay.example.org
local_interfaces = 127.0.0.1
daemon_smtp_ports = {ports}
tls_on_connect_ports = {implicit}
tls_advertise_hosts = *
tls_certificate = ${{if eq{{$received_port}}{{{expired}}}{{{top}/expired.crt}}{{{top}/good.crt}}}}
tls_privatekey = ${{if eq{{$received_port}}{{{expired}}}{{{top}/expired.key}}{{{top}/good.key}}}}
tls_verify_certificates = {top}/ca.pem
tls_try_verify_hosts = *
message_size_limit = ${{if eq{{$received_port}}{{{small}}}{{20000}}{{50M}}}}
smtp_accept_max_per_connection = 10
smtp_accept_max = 100
deliver_drop_privilege = true
keep_environment = LD_LIBRARY_PATH
acl_smtp_rcpt = rcpt
acl_smtp_data = accept
never_users =
begin acl
rcpt:
  deny    message = nobody of that name here
          local_parts = nobody
  defer   message = come again
          local_parts = later
          condition = ${{if exists{{{dir}/later}}}}
  accept  condition = ${{if eq{{$received_port}}{{{certificate}}}{{$tls_in_certificate_verified}}{{0}}}}
  deny    message = who are you
          !authenticated = *
  accept
begin routers
next:
  driver = manualroute
  route_list = * 127.0.0.1 byname
  self = send
  transport = next
begin transports
next:
  driver = smtp
  port = {next}
  allow_localhost
  hosts_avoid_tls = *
begin retry
* * F,1h,1s
begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = ${{if and{{{{eq{{$auth2}}{{{user}}}}}{{eq{{$auth3}}{{{password}}}}}}}}}
  server_set_id = $auth2
  server_advertise_condition = {plain}
login:
  driver = plaintext
  public_name = LOGIN
  server_prompts = Username:: : Password::
  server_condition = ${{if and{{{{eq{{$auth1}}{{{user}}}}}{{eq{{$auth2}}{{{password}}}}}}}}}
  server_set_id = $auth1
  server_advertise_condition = {login}
cram:
  driver = cram_md5
  public_name = CRAM-MD5
  server_secret = ${{if eq{{$auth1}}{{{user}}}{{{password}}}fail}}
  server_set_id = $auth1
  server_advertise_condition = {cram}
'''

    def __init__(self, top, found, ways, **at):
        """ways: {port: (implicit, mechanism)}; expired, small, certificate: ports of that kind."""
        super().__init__(top, 'exim', ways)
        self.program, self.env = found['exim']
        (self.dir / 'spool').mkdir()

        def among(name):
            ports = ':'.join(str(p) for p, (_, m) in ways.items() if m == name)
            return f'${{if inlist{{$received_port}}{{{ports}}}}}'
        (self.dir / 'conf').write_text(self.CONF.format(
            exim=self.program, dir=self.dir, top=top, next=NEXT, user=USER, password=PASSWORD,
            ports=' : '.join(map(str, ways)), implicit=' : '.join(str(p) for p, (i, _) in ways.items() if i),
            plain=among('PLAIN'), login=among('LOGIN'), cram=among('CRAM-MD5'), **at))

    def start(self):
        # as the user that it was built for, who is whom we say in this namespace
        return self.spawn(['unshare', '-U', '--map-user=1000', '--map-group=1000', str(self.program), '-C',
                           str(self.dir / 'conf'), '-bdf', '-q1m'], env=self.env)

    def log(self):
        more = self.dir / 'mainlog'
        return super().log() + (more.read_text(errors='replace') if more.exists() else '')


# ---- OpenSMTPD -------------------------------------------------------------------------------------------------

class OpenSmtpd(Server):
    CONF = '''
pki good cert "{top}/rsa.crt"
pki good key "{top}/rsa.key"
pki expired cert "{top}/rsa-expired.crt"
pki expired key "{top}/rsa-expired.key"
ca ours cert "{top}/ca.pem"
table users {{ {user} = "{crypt}" }}
smtp limit max-mails 10
filter nobody phase rcpt-to match rcpt-to regex "^nobody@" reject "550 5.1.1 nobody of that name here"
filter later phase rcpt-to match rcpt-to regex "^later@" reject "450 4.2.1 come again"
filter both chain {{ nobody, later }}
{listen}
action next relay host "smtp://127.0.0.1:{next}"
match from any for any action next
'''

    def __init__(self, top, found, listen, key):
        """listen: {port: what stands behind `port N`}; key: the library of opensmtpd_key.c."""
        super().__init__(top, 'opensmtpd', listen)
        self.program, env = found['opensmtpd']
        self.env = {**env, 'LD_PRELOAD': key}
        for at in '/run', '/var/spool', '/var/lib':
            subprocess.run(['mount', '-t', 'tmpfs', '-o', 'mode=755', 'none', at], check=True)
        os.makedirs('/var/lib/opensmtpd/empty')
        crypt = subprocess.run(['openssl', 'passwd', '-6', PASSWORD], check=True, capture_output=True,
                               text=True).stdout.strip()
        conf = self.dir / 'conf'
        conf.write_text(self.CONF.format(top=top, next=NEXT, user=USER, crypt=crypt, listen=''.join(
            f'listen on 127.0.0.1 port {p} {x} filter both\n' for p, x in listen.items())))
        conf.chmod(0o600)

    def start(self):
        return self.spawn([str(self.program), '-dvf', str(self.dir / 'conf')], env=self.env)


__all__ = ['Exim', 'Judge', 'OpenSmtpd', 'PASSWORD', 'Postfix', 'USER', 'programs', 'users']
