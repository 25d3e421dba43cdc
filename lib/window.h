/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * How many buffers a channel may hold so that what it holds is consumed within a given time. Pure:
 * time is an argument. Of the engine's thread.
 */

#include <stdbool.h>
#include <stdint.h>

#include "debloat.h"

struct window {
	struct debloat law;
	uint32_t buffer_bytes;
	uint64_t begin_ns;   /* of the period that is under way */
	uint64_t seen_ns;    /* up to then it is known whether something was held */
	uint64_t busy_ns;    /* of the period: something was */
	uint64_t n_released; /* before the period */
};

/* What window_observe() is told. */
struct window_sample {
	uint64_t now_ns;
	uint64_t n_released; /* ever; grows */
	bool was_busy;       /* something was held all the time since the last sample */
};

/* Begins with the @most buffers of @buffer_bytes; never less than @least, which is 1 or more. */
void window_init(struct window *window, uint32_t buffer_bytes, uint32_t least, uint32_t most,
		 uint64_t now_ns);

/**
 * window_observe() - look at what was released
 * @sample:    when something is received, and when a channel that had all it may have gets on
 * @target_us: what is held should be consumed within that
 *
 * At the end of each period the law is told how much was consumed while something was held.
 *
 * Return: true if window_count() may be another number now.
 */
bool window_observe(struct window *window, const struct window_sample *sample, uint64_t target_us);

/* So many buffers may be held. */
uint32_t window_count(const struct window *window);
