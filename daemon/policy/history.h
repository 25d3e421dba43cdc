/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What slots of a name used to need, so that the next one of that name can be booked for it.
 * Pure: time is an argument, in seconds of the real-time clock, for it goes on over reboots. A
 * clock that is set back makes nothing younger: such a moment counts as the latest seen. When it stays
 * so for a whole window it was ahead before, not behind now, and what is known ages from there on.
 *
 * The rules, exactly:
 *
 *  - Demand is noted as often as one likes; of each window of 300 s counts its peak. A window
 *    that is closed early counts as the part of 300 s that it was open (at least 1/300).
 *  - In a window in which the slot was found to be a scan its page cache does not count, not even
 *    before that: a scan fills whatever is free first, and nobody knows it by then.
 *  - Peaks go into buckets: bucket 0 is [0, 1 MiB), bucket i is [b(i), b(i+1)) with b(1) = 1 MiB
 *    and b(i+1) = b(i) + floor(b(i) / 20): 5 % each, 370 of them up to 64 TiB; the last one takes
 *    all above.
 *  - A peak weighs 1, or 2^(-age / half-life) later. A bucket below a millionth of its name's
 *    weight is dropped.
 *  - The 95th percentile is the upper end of the first bucket at which 95 % of the weight is
 *    reached. The prediction is that times 1.15, rounded up to a MiB.
 *  - A kill for lack of memory with b bytes in use makes the prediction at least
 *    max(1.2 * b, b + 100 MiB), rounded up to a MiB, for one half-life: one kill in two days is
 *    nothing in a percentile and everything to the one who was killed. One that is more than a
 *    half-life ahead of the clock was told by another clock, and counts no more.
 *  - At most HISTORY_NAMES_MAX names; the one not seen for longest makes room.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "model.h"

#define HISTORY_WINDOW_S 300
#define HISTORY_HALF_LIFE_S (UINT64_C(48) * 3600)
#define HISTORY_BUCKETS 371
/* More than there can be slots, so that no running one is forgotten. */
#define HISTORY_NAMES_MAX (SLOTS_MAX + SLOTS_MAX / 2)

struct history_bucket {
	uint32_t index; /* 0 .. HISTORY_BUCKETS-1 */
	double weight;  /* > 0, at the time .as_of_s of its name */
};

/* All that is known of one name. */
struct history_entry {
	char name[SLOT_NAME_MAX + 1];
	uint64_t seen_s;  /* when demand was last noted */
	uint64_t as_of_s; /* moment for which the weights are meant */
	size_t n_buckets;
	struct history_bucket *buckets; /* ascending by index */
	uint64_t oom_bytes;             /* what a kill makes of the prediction; 0: none */
	uint64_t oom_s;
	char *extra; /* text kept for whoever stores the history, opaque here; may be NULL */
	/* the open window; not stored */
	bool is_open, is_scan;
	uint64_t window_s, window_bytes, window_kept_bytes;
};

/* What a slot uses at a moment. */
struct history_use {
	uint64_t bytes;      /* in memory and in swap */
	uint64_t kept_bytes; /* of it what is no page cache */
	bool is_scan;        /* it reads on and on and uses nothing again */
};

struct history_prediction {
	uint64_t bytes;     /* 0: nothing is known of the name */
	uint64_t p95_bytes; /* upper end of the bucket; 0 if only a kill is known */
	double windows;     /* weight of what it rests on, in windows of today */
	bool is_by_oom;     /* a kill raised it */
};

struct history;

/* @half_life_s: >= 1. NULL without memory. */
MUST_USE struct history *history_new(uint64_t half_life_s);
void history_free(struct history *history);
/* For CLEANUP(). */
void history_freep(struct history **history);
/* A copy to be stored while the original goes on; NULL without memory. */
MUST_USE struct history *history_clone(const struct history *history);

/**
 * history_note_use() - the slot uses that now
 * @name: valid as a slot's
 *
 * Opens a window when there is none, closes it when its time is over. Return: 0 or -ENOMEM.
 */
MUST_USE int history_note_use(struct history *history, const char *name,
			      const struct history_use *use, uint64_t now_s);
/* The same of one that is no scan. */
MUST_USE int history_note(struct history *history, const char *name, uint64_t bytes,
			  uint64_t now_s);
/* The window ends now: the slot is removed, or the daemon ends. No window: nothing happens.
 * Return: 0 or -ENOMEM. */
MUST_USE int history_close(struct history *history, const char *name, uint64_t now_s);
/* The same for all names. */
MUST_USE int history_close_all(struct history *history, uint64_t now_s);
/* A task of the slot was killed for lack of memory when the slot used @bytes. 0 or -ENOMEM. */
MUST_USE int history_note_oom(struct history *history, const char *name, uint64_t bytes,
			      uint64_t now_s);

struct history_prediction history_predict(const struct history *history, const char *name,
					  uint64_t now_s);

/* In order of names. */
size_t history_count(const struct history *history);
const struct history_entry *history_nth(const struct history *history, size_t i);
/**
 * history_put() - take an entry from a file
 * @entry: .buckets and .extra are copied; the window is not looked at
 *
 * Return: 0, -EINVAL (name, order, index or weight out of bounds), -EEXIST, or -ENOMEM.
 */
MUST_USE int history_put(struct history *history, const struct history_entry *entry);

/* Upper end of a bucket, bytes. @index < HISTORY_BUCKETS. */
uint64_t history_bucket_end(uint32_t index);
/* The bucket that @bytes fall into. */
uint32_t history_bucket_of(uint64_t bytes);
