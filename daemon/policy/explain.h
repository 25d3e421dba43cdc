/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Why a slot has the memory it has: every term of the plan, of the law (policy/control.h) and of
 * what holds it up, in numbers and in sentences. Pure. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "model.h"
#include "policy/control.h"
#include "policy/explain_law.h"

/* What the slots of one tier have in one group; of them those that are divided by weight, being
 * neither at their guarantee nor at their max. */
struct explain_tier {
	uint64_t bytes;
	uint64_t divided_bytes, divided_weight;
	uint32_t n_slots;
};

/* A slot of the tier, to be counted in @tier. */
void explain_count(struct explain_tier *tier, const struct slot_policy *policy,
		   uint64_t share_bytes, uint64_t guaranteed_bytes);

struct explain_input {
	const struct slot_policy *policy;
	struct explain_tier tier;
	uint64_t share_bytes;
	uint64_t guaranteed_bytes;            /* min and what its tasks asked for, as honoured */
	uint64_t requested_bytes;             /* of it what its tasks asked for */
	uint64_t budget_bytes, reserve_bytes; /* of its node, or of all */
	uint64_t usage_bytes, swap_bytes, low_bytes;
	uint64_t unreclaimable_bytes;
	uint64_t kernel_max_bytes, brake_bytes; /* memory.max, memory.high; BYTES_UNLIMITED: none */
	bool is_shrinking;                      /* memory.max is on its way to the policy's */
	const char *shrink_note;                /* why it does not get on; "": it does */
	uint64_t booked_bytes;
	bool is_frozen, is_unprotected;
	uint64_t leak_bytes_per_s; /* 0: no leak */
	bool is_enforced;          /* false: there are no limits on this host */
	/* NULL: the law is not at work */
	const struct control_group *group;
	const struct control_slot *control;
	struct explain_group others; /* with the slot itself */
	bool is_dry;                 /* the law only says what it would do */
};

#define EXPLAIN_TERMS 72
/* All that is known, first the plan's. Returns their number. */
size_t explain_terms(const struct explain_input *in, uint64_t now_ns,
		     struct control_term terms[static EXPLAIN_TERMS]);

#define EXPLAIN_REASON_MAX 2400
/* The same in sentences. Returns @buf. */
const char *explain_reason(const struct explain_input *in, char buf[static EXPLAIN_REASON_MAX]);
