# What `run` has done with the rules of each policy, in the machine: put into the kernel as nft's text
# and by lib/nl, listed both times, and proved. The listings go to the disk, where `run` compares them.
#
#     sh rules.sh FOLDER LOAD MAILREEVE DISK
cd "$1" || exit 1
load=$2 mailreeve=$3 disk=$4
mkdir -p out
mount --bind passwd /etc/passwd
while read -r group; do mkdir -p "/sys/fs/cgroup/$group"; done <cgroups

proofs() {
	good=0 bad=0
	while read -r path point; do
		if "$mailreeve" compile --prove "$path" --point "$point" --to plan 2>proof.err >/dev/null; then
			good=$((good + 1))
		else
			bad=$((bad + 1))
			echo "FAIL proof of $path at $point: $(cat proof.err)"
		fi
	done <points
	echo "    $good points proved"
	echo "$good passed, $bad failed"
}

step() {
	"$@" >said 2>&1 && return
	echo "FAIL $n: $*: $(cat said)"
	good=0
}

loads() {
	all=0 wrong=0
	for plan in *.plan; do
		n=${plan%.plan} good=1
		step nft -f "$n.nft"
		nft -s list ruleset >"out/$n.text.list"
		"$load" --show >"out/$n.text.show"
		nft flush ruleset
		step "$load" "$plan"
		step "$load" --again "$plan"
		nft -s list ruleset >"out/$n.netlink.list"
		"$load" --show >"out/$n.netlink.show"
		step "$load" --remove "$plan"
		nft list ruleset >"out/$n.gone"
		nft flush ruleset
		all=$((all + good)) wrong=$((wrong + 1 - good))
	done
	echo "    $all points loaded"
	echo "$all passed, $wrong failed"
}

proofs &
loads
wait
tar cf "$disk" out
