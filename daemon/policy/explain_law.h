/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The thresholds of the law (control.c, control_observe.c) with the numbers of one slot, and what is
 * known of its group beside what control_plan() leaves there. Pure. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "policy/control.h"

/* All slots of the group together, as they are now. */
struct explain_group {
	uint64_t used_bytes;
	uint32_t n_holding; /* scans that still have what others may take: nobody else is taxed */
};

/* Adds one slot of it. */
void explain_count_group(struct explain_group *of, const struct control_group *group,
			 const struct control_slot *slot);

/* In pages a tick unless said. What is "above" decides by one more, what is "from" by itself. */
struct explain_law {
	/* a need: so much comes back in a tick, and so much on average; */
	uint64_t refault_above;
	double mean_refault_above;
	/* or it waits so long and fetches so much, while it grows or has no more than its share */
	uint32_t stall_from_permille;
	uint64_t fetch_above;
	/* a scan: so much is turned over, pages, of which less is used again */
	uint64_t suspect_above, polluter_above;
	uint64_t reuse_restore_from, reuse_refill_from;
	/* pardon: of a whole turnover, on average, or so long without a stolen page; for what is
	 * restored only while so much comes back on average */
	uint64_t pardon_restore_from, pardon_refill_from;
	double pardon_mean_above, pardon_refault_above;
	uint32_t calm_from_ticks, idle_from_ticks;
	uint64_t holding_above_bytes; /* usage of a scan that has what others may take */
	/* nobody is taxed while the group's slots use less than that */
	uint64_t tax_from_used_bytes;
	/* the tax doubles when so much is taken in a tick, and is a floor when usage is again … */
	uint64_t tax_taken_from_bytes, proof_from_bytes;
	/* which is forgotten when it uses more than the first, less than the second */
	uint64_t floor_above_bytes, floor_below_bytes;
	uint64_t save_bytes; /* given back at a time in mode save */
};

struct explain_law explain_law(const struct control_group *group, const struct control_slot *slot);

/* Time in which nobody may have asked before a slot has its share again, and between what mode save
 * gives back. */
#define EXPLAIN_LENT_KEEP_NS (60 * CONTROL_TICK_NS)
#define EXPLAIN_SAVE_INTERVAL_NS (12 * CONTROL_TICK_NS)

#define EXPLAIN_LAW_MAX 1000
/* What the slot's class and protection hang on, one or more sentences: each threshold beside the
 * number that is held against it. "" where there is nothing to say. Returns @buf. */
const char *explain_law_words(const struct control_group *group, const struct control_slot *slot,
			      char buf[static EXPLAIN_LAW_MAX]);
