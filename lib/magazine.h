/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The magazines of threads: idle buffers at hand without a lock, before the depot of a pool. */

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "pool.h"

/* Fewer buffers than this: no magazines. One would hold a good part of the pool. */
#define MAGAZINE_POOL_MIN 128
/* What a magazine holds at most; and no more than a quarter of its pool. */
#define MAGAZINE_MAX 512

/* Chooses which of the threads' magazines are this pool's; there may be none left. */
void magazine_attach_pool(struct tm_pool *pool);
/* 0: no buffer is out, all magazines have forgotten the pool. -EBUSY: they go on. */
MUST_USE int magazine_detach_pool(struct tm_pool *pool);

/* As tm_pool_acquire_bulk(), but it stops where it would have to grow or to take from others,
 * unless it has none yet. */
uint32_t magazine_take(struct tm_pool *pool, uint32_t n, struct tm_buffer *ret_buffers[]);
/* Empties all magazines and the stash into the depot and closes them. pool->lock held. They stay closed while
 * somebody waits, pages are owed or the pool is scarce, and are opened by their threads. */
void magazine_recall(struct tm_pool *pool);
/* What is in the magazines and the stash now; exact if their threads do nothing. pool->lock held. */
uint32_t magazine_count(const struct tm_pool *pool);
