/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * DAMON: how often which addresses of some processes are touched, sampled by the kernel on
 * request. One measurement is a machine that is stepped; what may block is handed out as a write
 * to be done elsewhere.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/attr.h"

#define DAMON_PATH "/sys/kernel/mm/damon/admin"
#define DAMON_PIDS_MAX 16
/* Of all processes. The kernel keeps to the upper one: what bounds its work, one page of each
 * region in each sample. The lower one bounds the error: few of so many are hot in part. */
#define DAMON_REGIONS_MAX 1000
#define DAMON_REGIONS_MIN 200
/* The window is so many aggregation intervals, after each of which the kernel tells counts, merges
 * and splits, and each of these so many samples. Regions halve from interval to interval where they
 * are hot in part. A sampling interval is as long as that leaves it: what a task comes back to
 * within one is seen as a whole. */
#define DAMON_AGGREGATIONS 5
#define DAMON_SAMPLES 2
#define DAMON_WINDOW_MS_MIN 3000

/* Expected outcomes that the direct caller handles. */
enum damon_cond {
	DAMON_OK = 0,
	DAMON_ABSENT, /* not in this kernel (CONFIG_DAMON_SYSFS, CONFIG_DAMON_VADDR) */
	DAMON_DENIED, /* sysfs is read-only here: the unit's sandbox */
	DAMON_BUSY,   /* somebody else uses it: it has one set of settings for all */
	DAMON_GONE,   /* the processes have ended */
};

/* Addresses of one process. */
struct damon_region {
	uint64_t start, end;
	uint32_t n_accesses; /* samples with a touch, of DAMON_SAMPLES */
};

enum damon_verb {
	DAMON_WRITE, /* write .text to damon_command_fd(), off the loop; its result to the next step */
	DAMON_WAIT, /* step again after .wait_ms */
	DAMON_STEP, /* step again at once, in another turn of the loop */
	DAMON_DONE, /* damon_result() has it; nothing is left behind */
};

struct damon_action {
	enum damon_verb verb;
	const char *text;
	uint64_t wait_ms;
};

struct damon;

/* What DAMON there is at @path (DAMON_PATH but in tests): DAMON_OK, _ABSENT, _DENIED, or -errno. */
MUST_USE int damon_check(const char *path);

/**
 * damon_new() - a measurement of processes, not begun
 * @pids:      1 .. DAMON_PIDS_MAX
 * @window_ms: how long to watch; at least DAMON_WINDOW_MS_MIN is
 *
 * Return: DAMON_OK, DAMON_ABSENT, DAMON_DENIED or -errno.
 */
MUST_USE int damon_new(const char *path, const pid_t *pids, size_t n_pids, uint64_t window_ms,
		       struct damon **ret);
/* In the middle of a measurement the kernel goes on with it; see damon_clean(). NULL is fine. */
void damon_free(struct damon *damon);
/* Ends a measurement that was left behind, by a daemon that was killed, say: it is known by a mark
 * in its settings. Somebody else's is left alone. May block for a tenth of a second. */
void damon_clean(const char *path);

/**
 * damon_step() - what comes next
 * @write_result: of the last DAMON_WRITE: bytes or -errno; 0 otherwise
 *
 * Errors are in damon_result(); the machine goes on to clean up and ends in DAMON_DONE.
 */
struct damon_action damon_step(struct damon *damon, int write_result);
/* Borrowed, until damon_free(); valid while a DAMON_WRITE is to be done. */
int damon_command_fd(const struct damon *damon);
/* Within which time a page was touched, or not, that was sampled. */
uint64_t damon_sample_ms(const struct damon *damon);
/* After DAMON_DONE: enum damon_cond or -errno; with DAMON_OK regions, borrowed. */
MUST_USE int damon_result(const struct damon *damon, const struct damon_region **ret_regions,
			  size_t *ret_n);
