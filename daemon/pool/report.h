/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What a task reports of its pools, read from a file that it writes: base/pool_report.h. */

#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/pool_report.h"

/* One pool, as its task says. Counts are of buffers and add up as far as the task is honest. */
struct pool_view {
	char name[POOL_REPORT_NAME_MAX + 1]; /* printable */
	uint32_t buffer_bytes;               /* power of two, 256 .. 1 MiB */
	uint32_t min_buffers, max_buffers;   /* min <= max */
	uint32_t n_buffers, n_held, n_posted, n_idle, n_in_magazines;
	uint32_t n_waiters, high_water, n_overdraft;
	uint32_t n_lent; /* above min_buffers */
	uint32_t n_chunks;
	uint64_t acquired_total, empty_total;
};

/**
 * report_open() - take a descriptor that a task has sent
 * @fd: closed in any case
 *
 * Return: 0, -EBADMSG (no sealed memfd of that size, or of another version), -errno.
 */
MUST_USE int report_open(int fd, int *ret_fd);

/**
 * report_read() - the pools as they are now
 * @views: room for POOL_REPORTS
 *
 * What cannot be true is cut to what can, a pool without a sound head is left out. Never blocks.
 *
 * Return: how many, or -errno, -EBADMSG. *ret_n_unreported: pools the file has no room for.
 */
MUST_USE int report_read(int fd, struct pool_view views[static POOL_REPORTS],
			 uint32_t *ret_n_unreported);

/* Pages that its buffers in use, those that are waited for and its min take; buffers lie close. */
uint32_t pool_view_needed_chunks(const struct pool_view *view);
