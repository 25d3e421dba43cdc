/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What its sysfs tree does, seen on 6.12.117:
 *
 * - kdamonds/nr_kdamonds makes and removes the directories 0, 1, … below it; there is one tree
 *   for the whole machine, so whoever finds it in use must leave it alone.
 * - Regions are told by a scheme that does nothing ("stat") and matches everything. Writing
 *   "update_schemes_tried_regions" to state waits for the end of an aggregation interval (0.1 s to
 *   1.05 s were seen with 1 s), "on" starts a thread (3 to 9 ms), "off" ends it (3 ms).
 * - For each sample the kernel draws a page of each region anew, clears its bit, and looks at it
 *   when the sampling interval is over; what it tells of a region is how many of these pages were
 *   touched. That is the part of the region that is touched within a sampling interval, with the
 *   error of a sample, and policy/heat takes it for that.
 * - With 50 ms and 1 s and 10 to 200 regions, of which each that had a touch was taken as a whole,
 *   64 MiB in 748 MiB of addresses were 131, 119, 87 and only after nine seconds 68 MiB: until the
 *   region was cut that was hot in part. A hot page was touched in half of the samples. With 500 ms
 *   and 200 regions the parts that were touched were 63.6 to 64.7 MiB after each of the first five
 *   intervals, and 128 and 256 MiB were 0.4 and 1.3 % off at most.
 * - nr_regions/min is into how many parts the addresses of each process are cut at first, and the
 *   sum of all by it is the largest region that merging makes. Neighbours are merged whose counts
 *   differ by at most a tenth of the largest: with few samples, only equal ones. All are split in
 *   two while there are no more than half of nr_regions/max (read in the source, not measured).
 * - A page counts as touched when its bit in the page table is set again after it was cleared. A
 *   processor sets it when it loads the translation, not on each access: memory whose translations
 *   all stay in the TLB looks untouched until something flushes them. With large pages that is
 *   gigabytes; under QEMU's emulation, whose TLB is very large, a task that is alone on its
 *   processor was seen with no access at all in nine seconds, and right beside another one.
 * - A thread whose processes have ended stops by itself; state says "off" then.
 * - Regions cover gaps between mappings, too, with no accesses.
 */

#include "kern/damon.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/parse.h"

/* "taskmem" as the greatest region size the scheme matches: no region is larger, and the settings
 * are known as ours by it. */
#define MARK UINT64_C(0x7461736b6d656d00)
/* Four files each, some 5 us to open, read and close one: below a millisecond a step. */
#define REGIONS_PER_STEP 16
#define CONTEXT "kdamonds/0/contexts/0/"
#define SCHEME CONTEXT "schemes/0/"

enum phase {
	BEGIN,
	STOP_OLD, /* a thread of ours that was left behind */
	TURNED_ON,
	WATCHED,
	UPDATED,
	READ,
	TURNED_OFF,
	ENDED,
};

struct damon {
	int dir_fd;
	int state_fd; /* kdamonds/0/state; -1: not there yet */
	enum phase phase;
	uint64_t sample_ms;
	size_t n_pids;
	pid_t pids[DAMON_PIDS_MAX];
	int result;
	size_t n_read; /* directories looked at */
	size_t n_regions;
	struct damon_region regions[DAMON_REGIONS_MAX];
};

/* ---- files */

static int cond_from(int error)
{
	switch (error) {
	case -ENOENT:
		return DAMON_ABSENT;
	case -EROFS:
	case -EACCES:
	case -EPERM:
		return DAMON_DENIED;
	case -EBUSY:
		return DAMON_BUSY;
	default:
		return error;
	}
}

static int read_number(int dir_fd, const char *path, uint64_t *ret)
{
	char text[32];
	ssize_t n = file_read_small(dir_fd, path, text, sizeof(text));

	if (n < 0)
		return (int)n;
	return parse_u64(text, UINT64_MAX, ret) < 0 ? -EBADMSG : 0;
}

static int write_number(int dir_fd, const char *path, uint64_t value)
{
	char text[24];

	(void)snprintf(text, sizeof(text), "%" PRIu64, value);
	return file_write_small(dir_fd, path, text);
}

static bool is_running(const struct damon *d)
{
	char text[16];

	return file_read_small(d->dir_fd, "kdamonds/0/state", text, sizeof(text)) > 0 &&
	       strcmp(text, "on") == 0;
}

static bool is_ours(const struct damon *d)
{
	uint64_t mark;

	return read_number(d->dir_fd, SCHEME "access_pattern/sz/max", &mark) == 0 && mark == MARK;
}

static int open_state(struct damon *d)
{
	if (d->state_fd < 0)
		d->state_fd = openat(d->dir_fd, "kdamonds/0/state", O_WRONLY | O_CLOEXEC);
	return d->state_fd < 0 ? -errno : 0;
}

int damon_check(const char *path)
{
	CLEANUP(fd_closep) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CLEANUP(fd_closep) int count = -1;

	if (fd < 0)
		return cond_from(-errno);
	count = openat(fd, "kdamonds/nr_kdamonds", O_WRONLY | O_CLOEXEC);
	return count < 0 ? cond_from(-errno) : DAMON_OK;
}

int damon_new(const char *path, const pid_t *pids, size_t n_pids, uint64_t window_ms,
	      struct damon **ret)
{
	struct damon *d;
	int r = damon_check(path);

	if (r != DAMON_OK)
		return r;
	if (n_pids == 0 || n_pids > DAMON_PIDS_MAX)
		return -EINVAL;
	d = calloc(1, sizeof(*d));
	if (!d)
		return -ENOMEM;
	d->state_fd = -1;
	d->sample_ms = MAX(window_ms, (uint64_t)DAMON_WINDOW_MS_MIN) /
		       (DAMON_AGGREGATIONS * DAMON_SAMPLES);
	d->n_pids = n_pids;
	memcpy(d->pids, pids, n_pids * sizeof(*pids));
	d->dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (d->dir_fd < 0) {
		r = -errno;
		free(d);
		return r;
	}
	*ret = d;
	return DAMON_OK;
}

void damon_free(struct damon *damon)
{
	if (!damon)
		return;
	fd_closep(&damon->state_fd);
	fd_closep(&damon->dir_fd);
	free(damon);
}

void damon_clean(const char *path)
{
	struct damon d = { .state_fd = -1 };

	d.dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (d.dir_fd < 0)
		return;
	if (is_ours(&d)) {
		if (is_running(&d))
			(void)file_write_small(d.dir_fd, "kdamonds/0/state", "off");
		/* refused while it runs */
		(void)write_number(d.dir_fd, "kdamonds/nr_kdamonds", 0);
	}
	fd_closep(&d.dir_fd);
}

int damon_command_fd(const struct damon *damon)
{
	return damon->state_fd;
}

/* ---- settings */

static int write_targets(struct damon *d)
{
	int r = write_number(d->dir_fd, CONTEXT "targets/nr_targets", d->n_pids);

	for (size_t i = 0; i < d->n_pids && r == 0; i++) {
		char path[64];

		(void)snprintf(path, sizeof(path), CONTEXT "targets/%zu/pid_target", i);
		r = write_number(d->dir_fd, path, (uint64_t)d->pids[i]);
	}
	return r;
}

/* In this order: each count makes the directories of what follows. */
static int configure(struct damon *d)
{
	uint64_t aggregate_us = d->sample_ms * DAMON_SAMPLES * 1000;
	uint64_t n_regions_min = DAMON_REGIONS_MIN / d->n_pids; /* it is of each process */
	const struct setting {
		const char *path;
		uint64_t value;
		const char *text; /* in place of the value */
	} settings[] = {
		{ "kdamonds/nr_kdamonds", 1, NULL },
		{ "kdamonds/0/contexts/nr_contexts", 1, NULL },
		{ CONTEXT "operations", 0, "vaddr" },
		{ CONTEXT "schemes/nr_schemes", 1, NULL },
		{ SCHEME "access_pattern/sz/max", MARK, NULL }, /* ours from here on */
		{ SCHEME "action", 0, "stat" },
		{ SCHEME "access_pattern/nr_accesses/max", UINT32_MAX, NULL },
		{ SCHEME "access_pattern/age/max", UINT32_MAX, NULL },
		{ CONTEXT "monitoring_attrs/intervals/sample_us", d->sample_ms * 1000, NULL },
		{ CONTEXT "monitoring_attrs/intervals/aggr_us", aggregate_us, NULL },
		{ CONTEXT "monitoring_attrs/intervals/update_us", aggregate_us, NULL },
		{ CONTEXT "monitoring_attrs/nr_regions/max", DAMON_REGIONS_MAX, NULL },
		{ CONTEXT "monitoring_attrs/nr_regions/min", n_regions_min, NULL },
	};
	int r = 0;

	for (size_t i = 0; i < ARRAY_LEN(settings) && r == 0; i++) {
		const struct setting *s = &settings[i];

		r = s->text ? file_write_small(d->dir_fd, s->path, s->text)
			    : write_number(d->dir_fd, s->path, s->value);
	}
	if (r == 0)
		r = write_targets(d);
	return r == 0 ? open_state(d) : r;
}

/* ---- regions */

/* 1 when there is such a region. Its number is that of its directory, which begin at 0. */
static int read_region(const struct damon *d, size_t number, struct damon_region *ret)
{
	CLEANUP(fd_closep) int fd = -1;
	struct damon_region region;
	uint64_t n_accesses;
	char path[64];
	int r;

	(void)snprintf(path, sizeof(path), SCHEME "tried_regions/%zu", number);
	fd = openat(d->dir_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	r = read_number(fd, "start", &region.start);
	if (r == 0)
		r = read_number(fd, "end", &region.end);
	if (r == 0)
		r = read_number(fd, "nr_accesses", &n_accesses);
	if (r < 0)
		return r;
	if (region.end < region.start)
		return -EBADMSG;
	region.n_accesses = (uint32_t)MIN(n_accesses, (uint64_t)UINT32_MAX);
	*ret = region;
	return 1;
}

/* 1 when there are more. */
static int read_some(struct damon *d)
{
	for (size_t i = 0; i < REGIONS_PER_STEP; i++) {
		struct damon_region region;
		int r;

		if (d->n_regions == DAMON_REGIONS_MAX)
			return 0;
		r = read_region(d, d->n_read, &region);
		if (r <= 0)
			return r;
		d->n_read++;
		d->regions[d->n_regions++] = region;
	}
	return 1;
}

/* ---- the machine */

/* Into the middle of the last interval: regions are told at its end. */
static uint64_t wait_ms(const struct damon *d)
{
	return d->sample_ms * (DAMON_AGGREGATIONS * DAMON_SAMPLES - DAMON_SAMPLES / 2);
}

static struct damon_action write_action(struct damon *d, enum phase next, const char *text)
{
	d->phase = next;
	return (struct damon_action){ .verb = DAMON_WRITE, .text = text };
}

/* Remembers why, and ends the kernel's thread if there is one. */
static struct damon_action give_up(struct damon *d, int result)
{
	d->result = result;
	if (is_running(d) && is_ours(d) && open_state(d) == 0)
		return write_action(d, TURNED_OFF, "off");
	d->phase = TURNED_OFF;
	return (struct damon_action){ .verb = DAMON_STEP };
}

static struct damon_action begin(struct damon *d)
{
	uint64_t n = 0;
	int r = read_number(d->dir_fd, "kdamonds/nr_kdamonds", &n);

	if (r == 0 && n > 0 && !is_ours(d)) {
		d->result = DAMON_BUSY;
		d->phase = ENDED; /* nothing to clean up that is ours */
		return (struct damon_action){ .verb = DAMON_DONE };
	}
	if (r == 0 && n > 0 && is_running(d)) {
		r = open_state(d);
		if (r == 0)
			return write_action(d, STOP_OLD, "off");
	}
	if (r == 0)
		r = configure(d);
	if (r < 0)
		return give_up(d, cond_from(r));
	return write_action(d, TURNED_ON, "on");
}

static struct damon_action stopped_old(struct damon *d)
{
	fd_closep(&d->state_fd);
	d->state_fd = -1;
	if (is_running(d))
		return give_up(d, DAMON_BUSY);
	/* as if it had never been */
	if (write_number(d->dir_fd, "kdamonds/nr_kdamonds", 0) < 0)
		return give_up(d, DAMON_BUSY);
	d->phase = BEGIN;
	return (struct damon_action){ .verb = DAMON_STEP };
}

static struct damon_action read_on(struct damon *d)
{
	int r = read_some(d);

	if (r < 0)
		return give_up(d, r);
	if (r > 0)
		return (struct damon_action){ .verb = DAMON_STEP };
	return give_up(d, DAMON_OK);
}

struct damon_action damon_step(struct damon *d, int write_result)
{
	switch (d->phase) {
	case BEGIN:
		return begin(d);
	case STOP_OLD:
		return stopped_old(d);
	case TURNED_ON:
		if (write_result < 0) /* a process that is gone: EINVAL */
			return give_up(d, write_result == -EINVAL ? DAMON_GONE
								  : cond_from(write_result));
		d->phase = WATCHED;
		return (struct damon_action){ .verb = DAMON_WAIT, .wait_ms = wait_ms(d) };
	case WATCHED:
		if (!is_running(d))
			return give_up(d, DAMON_GONE);
		return write_action(d, UPDATED, "update_schemes_tried_regions");
	case UPDATED:
		if (write_result < 0)
			return give_up(d, is_running(d) ? cond_from(write_result) : DAMON_GONE);
		d->phase = READ;
		return read_on(d);
	case READ:
		return read_on(d);
	case TURNED_OFF:
		if (is_ours(d) && !is_running(d))
			(void)write_number(d->dir_fd, "kdamonds/nr_kdamonds", 0);
		d->phase = ENDED;
		break;
	case ENDED:
		break;
	}
	return (struct damon_action){ .verb = DAMON_DONE };
}

uint64_t damon_sample_ms(const struct damon *damon)
{
	return damon->sample_ms;
}

int damon_result(const struct damon *damon, const struct damon_region **ret_regions, size_t *ret_n)
{
	if (damon->result == DAMON_OK) {
		*ret_regions = damon->regions;
		*ret_n = damon->n_regions;
	}
	return damon->result;
}
