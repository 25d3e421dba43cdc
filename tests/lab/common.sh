# SPDX-License-Identifier: Apache-2.0
# Sourced by tests/run and tests/lab/*: where things are, messages, locks, children.
# shellcheck shell=bash disable=SC2034

lab_dir=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
src=$(realpath "$lab_dir/../..")
cache=$(realpath -m "${TASKMEM_CACHE:-/var/cache/taskmem}")
# The key makes a changed recipe a new root; whoever still runs in the old one keeps it.
root_key=$(cat "$lab_dir/root" "$lab_dir/guest/init.c" | sha256sum | cut -c1-12)
# The machine's kernel: Debian 13's own, or the newest one that is made for it.
kernel=${TASKMEM_KERNEL:-}
root=$cache/root-$root_key${kernel:+-$kernel}
# One build folder per source tree, so that two checkouts do not disturb each other.
build=$cache/build-$(printf %s "$src" | sha256sum | cut -c1-12)
stage=$build/gcc/stage

say() { printf '==> %s\n' "$*" >&2; }
note() { printf '    %s\n' "$*" >&2; }
die() {
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	exit 2
}

[[ $kernel =~ ^(backports)?$ ]] || die "TASKMEM_KERNEL is \"$kernel\"; it may be backports or empty"

now_ms() { date +%s%3N; }
# since_s MS: seconds since now_ms() gave MS, with one decimal
since_s() {
	local d=$(($(now_ms) - $1))
	printf '%d.%d' $((d / 1000)) $((d % 1000 / 100))
}

need_root() {
	[ "$(id -u)" = 0 ] && return
	die "this must be run as root: it makes a Debian 13 root in $cache and enters mount namespaces"
}

# Takes the shared lock of the root, which keeps other runs from removing it while this
# process or a child of it lives, then makes the root if it is missing.
use_root() {
	need_root
	mkdir -p "$cache" || die "cannot make the cache folder $cache (TASKMEM_CACHE names another)"
	exec {root_lock}>>"$root.lock"
	flock -s "$root_lock"
	[ -d "$root" ] || run_child "$lab_dir/root" || exit $?
}

# run_child CMD…: runs CMD so that a signal to this shell is acted on at once (bash handles
# traps only between commands, but interrupts `wait`), and so that CMD does not outlive it.
child=
run_child() {
	local rc
	setpriv --pdeathsig TERM -- "$@" <&0 &
	child=$!
	wait "$child"
	rc=$?
	child=
	return "$rc"
}

end_child() {
	[ -n "$child" ] || return 0
	kill -TERM "$child" 2>/dev/null
	wait "$child" 2>/dev/null
	child=
}
trap 'trap "" INT TERM HUP; end_child; exit 130' INT TERM HUP
