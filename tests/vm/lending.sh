# SPDX-License-Identifier: Apache-2.0
# Huge pages that one slot's tasks leave idle go to another slot whose tasks find their pools empty,
# come back when they are needed, and a guarantee is never lent.
# takes: 15
. ./lib.sh
. ./task.bash
fresh_daemon
MIB=1048576

share_is() { [ "$(slot "$1" .poolShareBytes)" = $(($2 * MIB)) ]; }
# takes what there is, once more; so the pool is found empty again and again
holds() {
	ask "$1" "take $3"
	[ "$(jq .buffers <<<"$reply")" -ge "$2" ]
}

expect add tmctl add idle node=1 pool=8M pool-max=128M
expect add tmctl add busy node=1 pool=8M pool-max=128M
share_is idle 64 || fail "$(tmctl list)"
share_is busy 64 || fail "$(tmctl list)"

say "an idle task keeps its share while nobody is short"
task t1 idle
says t1 "attach 1 0" '.held == 32'
says t1 "open 65536 0 0" '.error == null'
says t1 "take 64" '.buffers == 64'
sleep 6
says t1 info '.chunks == 32 and .target == 32'

say "somebody who is short gets what is idle"
task t2 busy
says t2 "attach 1 0" '.held == 32'
says t2 "open 65536 0 0" '.error == null'
says t2 "take 1024" '.buffers == 1024'
wait_for 10 "more than its half" holds t2 1600 1000
ask t1 info
jq -e '.held == 64 and .chunks <= 8' <<<"$reply" >/dev/null || fail "the idle task: $reply"
says t1 check '.buffers == 64 and .bad == 0'
says t2 check '.bad == 0'
tmctl show idle --pools
tmctl show idle --pools | grep -q "needs 3" || fail "its need is not shown"
share_is busy 120 || fail "$(tmctl list)"

say "and gives it back when the other one needs it"
ask t1 "take 1000"
[ "$(jq .buffers <<<"$reply")" -ge 128 ] || fail "the guarantee was lent: $reply"
wait_for 5 "shares are even again" share_is idle 64
says t2 "free 1000" '.error == null'
wait_for 10 "its half" holds t1 1024 1000
says t1 check '.bad == 0'
exit 0
