/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What a task reports of its pools: a memfd that the task makes, writes and pays for, and that
 * the daemon reads with pread(2) when it wants to know. So nothing is sent while nobody asks, and
 * the numbers are those of now even if the task hangs.
 *
 * Each number is right by itself; several of them may be of different moments. The reader
 * believes none of it: it copies, checks bounds, and harms only this task by what it concludes.
 */

#include <stdatomic.h>
#include <stdint.h>

#define POOL_REPORT_MAGIC "tmpools"
#define POOL_REPORT_VERSION 1
#define POOL_REPORTS 63 /* pools beyond are not reported, only counted */
#define POOL_REPORT_NAME_MAX 31

struct pool_report {
	_Atomic uint32_t is_used; /* 0: nothing else of it is valid */
	uint32_t buffer_bytes, min_buffers, max_buffers;
	_Atomic uint32_t n_buffers;      /* all there are */
	_Atomic uint32_t n_out;          /* held by the task or posted */
	_Atomic uint32_t n_in_magazines; /* idle, in magazines of threads */
	_Atomic uint32_t n_posted;       /* of n_out */
	_Atomic uint32_t n_waiters;
	_Atomic uint32_t high_water;
	_Atomic uint32_t n_overdraft; /* of n_out, beyond max_buffers */
	_Atomic uint32_t n_chunks;    /* pages it has, those that drain included */
	_Atomic uint64_t acquired_total, empty_total;
	char name[POOL_REPORT_NAME_MAX + 1];
	uint64_t reserved[4];
};

struct pool_report_file {
	char magic[8];
	uint32_t version;
	_Atomic uint32_t n_unreported; /* open pools that found no room below */
	uint64_t reserved[14];
	struct pool_report pools[POOL_REPORTS];
};

_Static_assert(sizeof(struct pool_report) == 128, "known to other versions");
_Static_assert(sizeof(struct pool_report_file) == 8192, "known to other versions");
