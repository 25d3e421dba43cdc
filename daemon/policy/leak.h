/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Tells a leak from memory that is wanted, by what the kernel counts of one slot. Pure: time is
 * an argument. The signs, their reasons and their limits are in leak.c.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"

#define LEAK_BUCKETS 6
#define LEAK_BUCKET_NS UINT64_C(5000000000) /* six of them are the 30 s a leak is watched */
#define LEAK_RECENT 4

struct leak_sample {
	uint64_t now_ns;
	uint64_t bytes;       /* anonymous memory, shmem and swap of the slot */
	uint64_t reuse_pages; /* workingset_refault_anon + workingset_restore_anon, since ever */
	bool is_held_back;    /* frozen, or stalled for lack of memory: that it stands still proves
			       * nothing */
};

struct leak_bucket {
	uint64_t start_ns, start_bytes, start_reuse;
	uint64_t span_ns;
	int64_t grown_bytes;
	uint64_t reused_bytes;
};

/* Zero-initialised is a slot that was never seen. */
struct leak {
	bool is_leaking;
	uint64_t rate; /* bytes per second while it leaks, as last seen unhindered */
	uint64_t since_ns;
	/* the rest is its own */
	bool has_sample, is_hindered;
	struct leak_bucket now;
	struct leak_bucket past[LEAK_BUCKETS]; /* oldest first */
	uint32_t n_past;
	uint64_t top_bytes;     /* highest since the last fall */
	uint64_t old_top_bytes; /* height from which it once fell: below it, nothing is new */
	uint64_t recent_ns[LEAK_RECENT], recent_bytes[LEAK_RECENT];
	uint32_t n_recent;
};

/* One sample, every 0.2 to 5 s; times never go back (one that does is ignored).
 * Returns leak->is_leaking. */
bool leak_add(struct leak *leak, const struct leak_sample *sample);

/* Whether @bytes are next to nothing of what the slot once had: all of it is given back, or its
 * process is gone. */
bool leak_has_let_go(const struct leak *leak, uint64_t bytes);

/* Growth over the last samples (1 to 4 s), bytes per second, < 0 when it shrinks. For every slot,
 * leaking or not; 0 before there are two samples a second apart. */
int64_t leak_growth(const struct leak *leak);
