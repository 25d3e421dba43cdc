# SPDX-License-Identifier: Apache-2.0
# The tests of receiving, of channels and of full rings on this kernel, which may be older than the
# host's: what the engine uses of io_uring depends on it.
# takes: 120
# timeout: 900
. ./lib.sh
ulimit -n 16384

for noun in receive channel floating overflow; do
	say "tests of $noun"
	ENGINE_BEST_ONLY=1 CK_TIMEOUT_MULTIPLIER=3 /usr/libexec/taskmem/test_$noun >"/run/$noun.log" 2>&1 ||
		fail "test_$noun: $(tail -n 20 "/run/$noun.log")"
	grep Checks "/run/$noun.log"
done
