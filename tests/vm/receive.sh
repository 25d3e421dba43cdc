# SPDX-License-Identifier: Apache-2.0
# The tests of the engine, of receiving and of sending on this kernel, which may be older than the
# host's: what the engine uses of io_uring depends on it. All at once, as they mostly wait.
# takes: 55 busy
# timeout: 900
. ./lib.sh
ulimit -n 16384

nouns=(receive channel floating overflow engine engines fork send send_end latency in_flight patience)
pids=()
for noun in "${nouns[@]}"; do
	ENGINE_BEST_ONLY=1 CK_TIMEOUT_MULTIPLIER=3 /usr/libexec/taskmem/test_"$noun" >"/run/$noun.log" 2>&1 &
	pids+=($!)
done
for i in "${!nouns[@]}"; do
	wait "${pids[i]}" || fail "test_${nouns[i]}: $(tail -n 20 "/run/${nouns[i]}.log")"
	say "$(grep Checks "/run/${nouns[i]}.log") in test_${nouns[i]}"
done
