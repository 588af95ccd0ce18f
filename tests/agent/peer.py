#!/usr/bin/env python3
"""Who is at the other end of a connection that was redirected to the forwarder, or was not.

peer.py --rig PROGRAM
"""

import argparse
import json
import os
import pathlib
import socket
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "netns"))

import report	# noqa: E402
import rig	# noqa: E402

PORT = 5870
RULES = f"""
table inet capture {{
	chain out {{
		type nat hook output priority -100; policy accept;
		oifname "lo" accept
		tcp dport 25 redirect to :{PORT}
	}}
}}
"""


def inode(fd):
	return os.fstat(fd).st_ino


def main():
	rig.enter()
	parser = argparse.ArgumentParser()
	parser.add_argument("--rig", required=True)
	args = parser.parse_args()
	args.rig = os.path.abspath(args.rig)
	r = report.Report()
	subprocess.run(["sh", "-ec", """
	ip link set lo up
	ip link add near type veth peer name far
	echo 0 >/proc/sys/net/ipv6/conf/near/accept_dad
	ip link set near up; ip link set far up
	ip addr add 192.0.2.77/24 dev near
	ip addr add 2001:db8:1::77/64 dev near nodad
	"""], check=True)
	subprocess.run(["nft", "-f", "-"], input=RULES, text=True, check=True)
	p = subprocess.Popen([args.rig, str(PORT)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
	p.stdout.readline()
	ways = (("to localhost", "127.0.0.1", PORT), ("to localhost, IPv6", "::1", PORT),
	    ("captured", "192.0.2.10", 25), ("captured, IPv6", "2001:db8:1::10", 25))
	with r.part("the program of a connection to the forwarder is known, captured or not"):
		for what, where, port in ways:
			s = socket.socket(socket.AF_INET6 if ":" in where else socket.AF_INET)
			s.settimeout(60)
			s.connect((where, port))
			said = json.loads(p.stdout.readline())
			r.same(what, (said["got"], said["uid"], said["inode"]), (0, os.getuid(), inode(s.fileno())))
			s.close()
	with r.part("of two users each is known, captured or not"):
		if rig.real_root():
			for what, where, port in ways:
				for user in (47001, 47002):
					program = "import socket,sys,os;s=socket.socket(socket.AF_INET6 if ':' in sys.argv[1] else " \
					    "socket.AF_INET);s.connect((sys.argv[1],int(sys.argv[2])));sys.stdin.readline()"
					c = subprocess.Popen([sys.executable, "-S", "-E", "-c",
					    f"import os,socket;os.setgroups([]);os.setresuid({user},{user},{user});" + program,
					    where, str(port)], stdin=subprocess.PIPE)
					said = json.loads(p.stdout.readline())
					r.same(f"{what}, {user}", (said["got"], said["uid"]), (0, user))
					c.stdin.close()
					c.wait(60)
		else:
			r.not_run("two users", "only root can become them")
	p.stdin.close()
	r.same("exit status", p.wait(60), 0)
	return r.end()


if __name__ == "__main__":
	sys.exit(main())
