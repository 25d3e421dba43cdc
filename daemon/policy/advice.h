/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Should a slot be moved to another node? Only one that starves for a while, that has been where it
 * is for a while, and only where it would have room to spare: a move costs a pause and leaves
 * charge behind, and a slot that moves to and fro is worse off than one that stays. Pure.
 */

#include <stdbool.h>
#include <stdint.h>

#include "model.h"

#define ADVICE_STARVED_NS (30 * UINT64_C(1000000000))
/* Need shows in bursts: so long without it is the end of starving. */
#define ADVICE_RESPITE_NS (5 * UINT64_C(1000000000))
/* At most one advice, and one move by it, in this time. */
#define ADVICE_INTERVAL_NS (900 * UINT64_C(1000000000))

/* Zero-initialised is a slot that never starved. */
struct advice {
	bool is_starving;
	uint64_t since_ns, seen_ns; /* it was first, and last, seen to starve */
	uint64_t quiet_until_ns;    /* nothing is told before: it was moved, or told of */
	bool is_advised;
	int node; /* where to; if .is_advised */
};

enum advice_verdict {
	ADVICE_NONE, /* nothing new */
	ADVICE_TELL, /* .node is advised from now on */
};

/**
 * advice_step() - one look
 * @is_in_need: it shows need of more memory than it is given, now
 * @relief:     a node that has room for it (placement_relief()), NODE_ANY: there is none, or it was
 *              not asked for; needed only while advice_wants_relief()
 *
 * .is_advised says whether a move is advised now, told or not; it is told while it is in need. @now_ns does not go back.
 */
enum advice_verdict advice_step(struct advice *advice, bool is_in_need, int relief,
				uint64_t now_ns);
/* Has it starved so long, as of the last look, that relief is to be looked for? */
bool advice_wants_relief(const struct advice *advice);
/* It is on another node now. */
void advice_note_moved(struct advice *advice, uint64_t now_ns);
