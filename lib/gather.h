/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * How long a thread that is about to sleep lets data gather before it is woken. Pure.
 *
 * While streams come in there is always more under way. Who wakes up for the first packet pays a
 * system call and a switch of threads for little data; who sleeps for another moment finds more of
 * it, at no cost but that moment. It is too long where a sender has to wait for it: when one channel
 * had nearly all that its receive may take. And it is none where little comes, or where what came is
 * answered, for somebody waits for that; of answers that other threads give later nothing is known
 * here.
 *
 * Seen on Linux 6.18 over loopback, credit of 10 buffers of 32 KiB: one stream is as quick as ever
 * with up to 95 % of its window in a turn (30 us), and loses a seventh once that is all of it (50 us).
 * Sixteen gain a half with 100 us.
 */

#include <stdbool.h>
#include <stdint.h>

#define GATHER_MAX_US 100
#define GATHER_STEP_US 8
#define GATHER_BYTES 65536 /* in one turn: less is little */

struct gather {
	uint32_t wait_us;
	/* of this turn */
	uint64_t n_bytes;
	bool is_held_up; /* by too long a wait */
};

/* @channel_bytes: what the channel had in this turn, with the @length bytes of this receive, of the
 * @window_bytes that it may have in one. */
void gather_note(struct gather *gather, uint32_t length, uint64_t channel_bytes,
		 uint64_t window_bytes);
/* Somebody waits for this thread to be awake, who does not show in bytes. */
static inline void gather_hurry(struct gather *gather)
{
	gather->is_held_up = true;
}

/* The turn is over. Return: for so many microseconds the next sleep may let data gather, 0 ..
 * GATHER_MAX_US; it rises step by step, is halved where senders wait, and drops to 0. */
uint32_t gather_end_turn(struct gather *gather);
