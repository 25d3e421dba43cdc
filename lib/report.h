/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the daemon can read of this task's pools: see base/pool_report.h. */

#include <stdatomic.h>
#include <stdbool.h>

#include "base/attr.h"
#include "base/pool_report.h"

struct tm_pool;
struct tm_slot;

/* Part of struct tm_slot; slot->lock but for fd, which is constant once it is open. */
struct slot_report {
	struct pool_report_file *file; /* NULL: not yet, or it could not be made */
	int fd;
	atomic_bool is_untold; /* the daemon that is there now has not got it */
};

void report_close(struct tm_slot *slot);
/* The first pool makes the file. Without one, or without room, the pool reports to itself. */
void report_add_pool(struct tm_slot *slot, struct tm_pool *pool);
void report_remove_pool(struct tm_slot *slot, struct tm_pool *pool);
/* Writes the pool's numbers; pool->lock held. */
void report_write(struct tm_pool *pool);
/* Hands the file to the daemon if there is one that has not got it. No lock held. */
void report_tell(struct tm_slot *slot);
