/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* One cgroup v2 directory: kept file descriptors, pread and pwrite at offset 0. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/attr.h"
#include "model.h"

enum cgdir_file {
	CG_MEMORY_CURRENT,
	CG_MEMORY_PEAK,
	CG_MEMORY_MIN,
	CG_MEMORY_LOW,
	CG_MEMORY_HIGH,
	CG_MEMORY_MAX,
	CG_MEMORY_SWAP_CURRENT,
	CG_MEMORY_SWAP_MAX,
	CG_MEMORY_STAT,
	CG_MEMORY_NUMA_STAT,
	CG_MEMORY_EVENTS,
	CG_MEMORY_EVENTS_LOCAL,
	CG_MEMORY_PRESSURE,
	CG_MEMORY_RECLAIM,
	CG_CPU_STAT,
	CG_CGROUP_EVENTS,
	CG_CGROUP_PROCS,
	CG_CGROUP_KILL,
	CG_CGROUP_FREEZE,
	CG_CPUSET_MEMS,
	CG_CPUSET_CPUS,
	CG_HUGETLB_MAX,      /* hugetlb.2MB.max */
	CG_HUGETLB_RSVD_MAX, /* hugetlb.2MB.rsvd.max */
	CG_HUGETLB_CURRENT,
	CG_HUGETLB_NUMA_STAT,
	/* the same of hugetlb.1GB, where the processor has such pages */
	CG_GIGANTIC_MAX,
	CG_GIGANTIC_RSVD_MAX,
	CG_GIGANTIC_CURRENT,
	CG_GIGANTIC_NUMA_STAT,
	CG_FILES
};

/* Expected outcomes that the direct caller handles. */
enum cgdir_cond {
	CGDIR_OK = 0,
	CGDIR_GONE,   /* the directory was removed (ENOENT, ENODEV) */
	CGDIR_ABSENT, /* this file does not exist: controller or kernel feature missing */
	CGDIR_BUSY,   /* EBUSY: populated, or a limit below what is in use */
};

struct cgdir;

/* @name is one path component or a relative path below @parent_fd. 0, CGDIR_GONE or -errno. */
MUST_USE int cgdir_open(int parent_fd, const char *name, struct cgdir **ret_cg);
/* NULL is fine. */
void cgdir_close(struct cgdir *cg);
void cgdir_closep(struct cgdir **cg);
/* Directory fd (not O_PATH), borrowed; good for clone3(CLONE_INTO_CGROUP) and openat. */
int cgdir_dir_fd(const struct cgdir *cg);
/* The kept fd of @file for asynchronous writes or poll; borrowed. >= 0, or -ENOENT, -errno.
 * Blocking on purpose: io_uring fails writes to O_NONBLOCK kernel files with -EAGAIN. */
int cgdir_file_fd(struct cgdir *cg, enum cgdir_file file);

/* Another descriptor of @file, the caller's: poll tells of changes since it was last read, and a
 * pressure trigger belongs to its descriptor. CGDIR_OK, CGDIR_GONE, CGDIR_ABSENT or -errno. */
MUST_USE int cgdir_open_file(struct cgdir *cg, enum cgdir_file file, int *ret_fd);

/**
 * cgdir_set_apart() - memory that is charged to the cgroup and not counted as its memory
 *
 * From now on what memory.current, peak, min, low, high and max are read as is less by @bytes, and
 * what is written to them is put on top of it; memory.stat has it neither in file nor in shmem. The
 * kernel's files stay as they are until they are written. 0 at first.
 */
void cgdir_set_apart(struct cgdir *cg, uint64_t bytes);
uint64_t cgdir_get_apart(const struct cgdir *cg);
/* What @value is in the kernel's file, for who writes it by cgdir_file_fd(). */
uint64_t cgdir_kernel_value(const struct cgdir *cg, enum cgdir_file file, uint64_t value);

/* Numbers; the kernel's "max" is BYTES_UNLIMITED. Return: enum cgdir_cond or -errno; -EBADMSG
 * for text that is no number. This and the other read functions leave @ret alone on failure. */
MUST_USE int cgdir_read_u64(struct cgdir *cg, enum cgdir_file file, uint64_t *ret);
MUST_USE int cgdir_write_u64(struct cgdir *cg, enum cgdir_file file, uint64_t value);
MUST_USE int cgdir_write_text(struct cgdir *cg, enum cgdir_file file, const char *text);
/* The first @size - 1 bytes, 0-terminated. */
MUST_USE int cgdir_read_text(struct cgdir *cg, enum cgdir_file file, char *ret_text, size_t size);

/* As cgdir_write_u64() for memory.max and memory.high, but where the kernel can (6.16 and later) a
 * limit below usage is only set: the writer neither reclaims nor kills. Older kernels do both. */
MUST_USE int cgdir_write_limit(struct cgdir *cg, enum cgdir_file file, uint64_t value);

/* memory.stat in bytes, those of its keys that are used; keys the kernel lacks are 0. */
struct cgdir_stat {
	uint64_t anon, file, kernel, sock, shmem, unevictable, slab_reclaimable;
	uint64_t pgscan, pgsteal, pgrefill; /* pages, since creation */
	uint64_t pgsteal_proactive;         /* part of pgsteal, by memory.reclaim; since 6.15 */
	uint64_t pgfault;
	uint64_t refault_anon, refault_file, restore_anon, restore_file; /* pages */
};
MUST_USE int cgdir_read_stat(struct cgdir *cg, struct cgdir_stat *ret);
/* Of it what no reclaim takes: locked and pinned pages, sockets, and what the kernel keeps. */
uint64_t cgdir_floor_bytes(const struct cgdir_stat *stat);

/* memory.pressure: time in which some, or all, tasks waited for memory. CGDIR_ABSENT without PSI. */
struct cgdir_stall {
	uint64_t some_us, full_us;
};
MUST_USE int cgdir_read_stall(struct cgdir *cg, struct cgdir_stall *ret);

/* Processor time of the cgroup, from cpu.stat, which is there without the cpu controller, too. */
MUST_USE int cgdir_read_cpu(struct cgdir *cg, uint64_t *ret_us);

/* memory.events: how often a task was killed (oom_kill), how often max was hit. */
struct cgdir_events {
	uint64_t low, high, max, oom, oom_kill, oom_group_kill;
};
MUST_USE int cgdir_read_events(struct cgdir *cg, struct cgdir_events *ret);
/* memory.events.local: without what was counted for the limits of cgroups below. */
MUST_USE int cgdir_read_events_local(struct cgdir *cg, struct cgdir_events *ret);

/* Bytes per node: anon + file of memory.numa_stat, or hugetlb.2MB.numa_stat (@file).
 * @bytes[node] is 0 for nodes that are not listed. */
MUST_USE int cgdir_read_numa(struct cgdir *cg, enum cgdir_file file,
			     uint64_t bytes[static NODES_MAX]);

/* cgroup.events "populated". */
MUST_USE int cgdir_is_populated(struct cgdir *cg, bool *ret);
/* cgroup.events "frozen": cgroup.freeze is 1, and all processes stand still. */
MUST_USE int cgdir_is_frozen(struct cgdir *cg, bool *ret);
/**
 * cgdir_kill_process() - SIGKILL for one process of the cgroup, whoever's it is
 * @pidfd: of @pid
 *
 * It is moved into a cgroup below, without controllers of its own, which is killed; so that no
 * capability is needed (CAP_KILL) and no other process is hit. cgdir_forget_killed() removes that
 * cgroup once the process has ended; both are harmless at any time.
 *
 * Return: CGDIR_OK, CGDIR_GONE (the process has ended, or the cgroup), CGDIR_ABSENT or -errno.
 */
MUST_USE int cgdir_kill_process(struct cgdir *cg, pid_t pid, int pidfd);
void cgdir_forget_killed(struct cgdir *cg);
/* Number of processes in this very cgroup (cgroup.procs). */
MUST_USE int cgdir_count_processes(struct cgdir *cg, uint32_t *ret);
/* The first @max of them. */
MUST_USE int cgdir_list_processes(struct cgdir *cg, pid_t *pids, size_t max, size_t *ret_n);

/* Extended attribute user.taskmem.policy. get: 0-terminated heap text; CGDIR_ABSENT if none. */
MUST_USE int cgdir_get_policy(struct cgdir *cg, char **ret_text);
MUST_USE int cgdir_set_policy(struct cgdir *cg, const char *text);
