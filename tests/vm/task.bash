# SPDX-License-Identifier: Apache-2.0
# Sourced after lib.sh: tasks that obey (tests/vm_task.c).

vm_task=/usr/libexec/taskmem/vm_task
declare -A task_in task_out task_pids

# task NAME SLOT [PREFIX COMMAND…]: a task in the slot that waits for ask
task() {
	local name=$1 slot=$2 in out
	shift 2
	rm -f "/run/$name".{in,out}
	mkfifo -m 666 "/run/$name".{in,out}
	exec {in}<>"/run/$name.in" {out}<>"/run/$name.out"
	task_in[$name]=$in
	task_out[$name]=$out
	"$@" tmctl run "$slot" -- $vm_task task <"/run/$name.in" >"/run/$name.out" {in}>&- {out}>&- &
	task_pids[$name]=$!
}

# ask NAME LINE: the task's answer is in $reply
ask() {
	echo "$2" >&"${task_in[$1]}"
	read -r -t 30 -u "${task_out[$1]}" reply || fail "task $1 does not answer: $2"
}

# says NAME LINE JQ: the answer must fulfil the condition; an empty one: there is no answer
says() {
	if [ -z "$3" ]; then
		echo "$2" >&"${task_in[$1]}"
		return
	fi
	ask "$1" "$2"
	jq -e "$3" <<<"$reply" >/dev/null || fail "task $1, $2: $reply, not $3"
}

# task_ends NAME: waits for its end; $status says how it ended
task_ends() {
	wait "${task_pids[$1]}" 2>/dev/null
	status=$?
	exec {task_in[$1]}>&- {task_out[$1]}>&-
}
