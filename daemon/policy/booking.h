/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Admission by expected working set, beside the guarantees of policy/admit.h. Pure.
 *
 * A slot books max(min, min(grant, max)) of its node: what it was granted of its need, never less
 * than its guarantee. A slot that told no need books its guarantee. A request with a need fits
 * where
 *
 *   sum of the bookings of slots of its tier and higher ones
 *   + sum of the guarantees of slots of lower tiers + its own booking
 *      <= overcommit of its tier * (budget - reserve)
 *
 * Lower tiers count by their guarantees only, because that is all that a higher tier leaves
 * them when it needs its memory. A request without a need is tried by its guarantee alone: what
 * others are expected to need is no reason to refuse memory that can be promised. A change of tier
 * or max is tried as well (booking_change()).
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "model.h"
#include "policy/admit.h"

struct booking_rules {
	uint32_t overcommit_percent[TIERS]; /* BOOKING_PERCENT_MIN .. BOOKING_PERCENT_MAX */
};

#define BOOKING_PERCENT_MIN 10
#define BOOKING_PERCENT_MAX 1000
/* A grant that is smaller than the need is rounded down to this. */
#define BOOKING_GRAIN_BYTES (UINT64_C(1) << 20)

/* What the slot books, whatever its node. */
uint64_t booking_of(const struct slot_policy *policy);

/* What is booked of nodes[k] by all @slots, `any` slots by their parts. At most ADMIT_BYTES_MAX. */
uint64_t booking_total(const struct node_info *nodes, size_t n_nodes, size_t k,
		       const struct slot_policy *slots, size_t n_slots);

/* The set of nodes, bit k for nodes[k], that the slot takes memory or huge pages of; 0: none. A
 * need that was told takes, whatever was granted of it; one that was predicted by its grant. */
uint64_t booking_nodes(const struct node_info *nodes, size_t n_nodes,
		       const struct slot_policy *policy);

struct booking_request {
	struct slot_policy policy; /* .grant_bytes is ignored */
	bool choose_node;          /* .policy.node is ignored */
	uint64_t min_grant_bytes;  /* be content with so much; <= need_bytes */
	uint64_t closed_nodes;     /* nothing may be taken of these (policy/queue.h) */
};

/**
 * booking_admit() - may it join, where, and with how much of its need?
 * @nodes:   as for entitle()
 * @slots:   the others; one of the same name is replaced
 * @ret:     the policy with node and grant_bytes set; on ADMIT_OK only
 * @refusal: filled otherwise; .field "need" when only the need does not fit, "queue" when only
 *           @closed_nodes are in the way
 *
 * All that admit() asks, and the rule above. With choose_node the best node is, among those that
 * grant most of the need, the one with the most left (unbooked, or unpromised without a need),
 * then the lowest number; when there is none the refusal is that of the node with the most left.
 *
 * Return: an enum admit_cond.
 */
MUST_USE int booking_admit(const struct node_info *nodes, size_t n_nodes,
			   const struct slot_policy *slots, size_t n_slots,
			   const struct booking_rules *rules, const struct booking_request *request,
			   struct slot_policy *ret, struct refusal *refusal);

/**
 * booking_change() - may a slot become @policy, on its node and with the need that it has?
 * @slots:  all of them; that of its name is what it was
 * @policy: .grant_bytes as it was granted; less of a guess, if less fits
 *
 * All that admit() asks. If its booking grows, or counts in a higher tier than it did, the rule above
 * holds for it as for a new one: a max that cut off its grant may be raised, and its tier, where there
 * is room. What raises no sum always may be, also where the sum is too high, and what it books as its
 * guarantee is for admit() alone. Not for a new need: that is asked for by booking_admit().
 *
 * Return: an enum admit_cond; refusal.field is "tier" or "max", or one of admit()'s.
 */
MUST_USE int booking_change(const struct node_info *nodes, size_t n_nodes,
			    const struct slot_policy *slots, size_t n_slots,
			    const struct booking_rules *rules, struct slot_policy *policy,
			    struct refusal *refusal);

/**
 * booking_attainable() - what would be granted of the request's need if there were no other slot
 *
 * Of a need that was predicted it is in vain to wait for more: a task that had used nearly all of a
 * node is expected to need a fifth more. 0 where not even its guarantee fits.
 */
uint64_t booking_attainable(const struct node_info *nodes, size_t n_nodes,
			    const struct booking_rules *rules,
			    const struct booking_request *request);
