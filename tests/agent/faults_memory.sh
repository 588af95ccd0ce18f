#!/bin/sh
# The role apply under a limit of its control group, as MemoryMax= of the unit sets it: the kernel charges
# the sets to who sends them. Whether the kernel kills the role or refuses: the old rules stay, whole,
# and a role started anew goes on. Needs a cgroup2 with memory that is ours: a machine made for it,
#
#     tests/kernels/boot.py --with FOLDER --with APPLY_DRIVE -- sh FOLDER/faults_memory.sh APPLY_DRIVE SMALL LARGE
#
# with plans of one point: SMALL of some prefixes, LARGE of 100,000.
drive=$1 small=$2 large=$3
group=/sys/fs/cgroup/role
failed=0
echo +memory > /sys/fs/cgroup/cgroup.subtree_control && mkdir $group || exit 1
cd /tmp && : > in && : > out
tail -n +1 -f in | $drive > out 2> err &

# Says a line; waits for an answer of a kind. Sets $told.
ask() {
	before=$(grep -c "$2" out)
	echo "$1" >> in
	for _ in $(seq 120); do
		[ "$(grep -c "$2" out)" -gt "$before" ] && break
		sleep 0.5
	done
	told=$(grep "$2" out | tail -1)
}

expect() {
	case "$told" in
	*"$1"*) ;;
	*) failed=$((failed + 1)); echo "FAIL $2: $told" ;;
	esac
}

ask "do $small" '"done"'; expect '"err": 0' 'begin'
for limit in 6 12 20 200; do
	ask stat '^{"pid"'
	pid=$(echo "$told" | tr -dc 0-9)
	echo max > $group/memory.max
	echo "$pid" > $group/cgroup.procs
	echo ${limit}M > $group/memory.max
	ask "do $large" '"done"\|"gone"'
	echo "$limit MiB: $(echo "$told" | cut -c1-150)"
	case "$told" in
	*'"err": 0'*) now=$large not=$small ;;
	*) now=$small not=$large ;;
	esac
	case "$told" in
	*'"err": 12'*) expect MemoryMax 'the cause is named' ;;
	*gone*) echo max > $group/memory.max; echo start >> in ;;
	esac
	ask "force $now" '"force"'; expect '"force": 1' 'rules in force'
	ask "force $not" '"force"'; expect '"force": 0' 'and no others'
	ask "do $small" '"done"'; expect '"err": 0' 'what is small goes on'
	ask check '"checked"'; expect '"in_force": 1' 'and is in force'
done
grep oom_kill $group/memory.events
echo "$failed failed"
[ $failed = 0 ]
