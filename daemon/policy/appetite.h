/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * How many pages of its pools a task needs, as its load shows. Pure: samples in, a number out.
 *
 * A task starts as one that needs all it can get. When it has left a good part idle for some
 * seconds its need is what it used at most, and a quarter more. When it finds a pool empty it
 * needs all again, at once; and one for which that comes soon after its need was lowered is
 * believed the next time only after twice as long. So a need never oscillates with a load that
 * does: the longer it goes on the slower it is followed downwards, to once in a minute.
 */

#include <stdbool.h>
#include <stdint.h>

#define APPETITE_ALL UINT32_MAX
#define APPETITE_WINDOW 8   /* samples whose peak counts */
#define APPETITE_CALM_MIN 8 /* samples in a row before a need is lowered: 4 s of 0.5 s each */
#define APPETITE_CALM_MAX 128
#define APPETITE_REST 240 /* samples without hunger after which the patience is halved */

struct appetite_sample {
	uint32_t used_chunks; /* that hold buffers in use or waited for, and what is kept anyway */
	bool is_hungry;       /* wanted a buffer that more pages would have given, since the last */
};

struct appetite {
	uint32_t need_chunks; /* APPETITE_ALL: all it may have */
	bool is_hungry;       /* in the last sample */
	uint32_t used[APPETITE_WINDOW];
	uint32_t n_samples;
	uint32_t n_calm, calm_needed;
	uint32_t n_since_cut;    /* samples; 0: its need was not lowered since it was hungry */
	uint32_t n_since_hunger; /* samples */
};

void appetite_init(struct appetite *appetite);
/* One sample more. Return: true if the need is another one now. */
bool appetite_observe(struct appetite *appetite, const struct appetite_sample *sample);
