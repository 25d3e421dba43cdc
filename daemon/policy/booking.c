/* SPDX-License-Identifier: Apache-2.0 */

#include "policy/booking.h"

#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "policy/entitle.h"

typedef unsigned __int128 u128;

uint64_t booking_of(const struct slot_policy *p)
{
	uint64_t bytes = MIN(p->grant_bytes, p->max_bytes);

	return MAX(bytes, p->min_bytes);
}

static uint64_t part_on(const struct node_info *nodes, size_t n_nodes, size_t k,
			const struct slot_policy *p, uint64_t bytes)
{
	if (p->node == nodes[k].node)
		return bytes;
	return p->node == NODE_ANY ? entitle_part_of_bytes(nodes, n_nodes, k, p->name, bytes) : 0;
}

uint64_t booking_total(const struct node_info *nodes, size_t n_nodes, size_t k,
		       const struct slot_policy *slots, size_t n_slots)
{
	u128 sum = 0;

	for (size_t i = 0; i < n_slots; i++)
		sum += part_on(nodes, n_nodes, k, &slots[i], booking_of(&slots[i]));
	return sum > ADMIT_BYTES_MAX ? ADMIT_BYTES_MAX : (uint64_t)sum;
}

uint64_t booking_nodes(const struct node_info *nodes, size_t n_nodes, const struct slot_policy *p)
{
	uint64_t set = 0;

	bool has_told_need = p->need_bytes > 0 && !p->is_need_predicted;

	if (booking_of(p) == 0 && !has_told_need && p->pool_min_bytes == 0)
		return 0;
	for (size_t k = 0; k < n_nodes; k++)
		if (p->node == NODE_ANY || p->node == nodes[k].node)
			set |= UINT64_C(1) << k;
	return set;
}

/* What the request's tier may book of nodes[k], and what of that is taken. */
struct room {
	uint64_t limit_bytes;
	uint64_t taken_bytes;
};

static struct room room_on(const struct node_info *nodes, size_t n_nodes, size_t k,
			   const struct slot_policy *slots, size_t n_slots,
			   const struct booking_rules *rules, const struct slot_policy *candidate)
{
	uint64_t distributable = nodes[k].budget_bytes - nodes[k].reserve_bytes;
	u128 limit = (u128)distributable * rules->overcommit_percent[candidate->tier] / 100;
	u128 taken = 0;

	for (size_t i = 0; i < n_slots; i++) {
		const struct slot_policy *p = &slots[i];

		if (strcmp(p->name, candidate->name) == 0)
			continue;
		taken += part_on(nodes, n_nodes, k, p,
				 p->tier <= candidate->tier ? booking_of(p) : p->min_bytes);
	}
	return (struct room){
		.limit_bytes = limit > ADMIT_BYTES_MAX ? ADMIT_BYTES_MAX : (uint64_t)limit,
		.taken_bytes = taken > ADMIT_BYTES_MAX ? ADMIT_BYTES_MAX : (uint64_t)taken,
	};
}

static uint64_t room_left(struct room room)
{
	return room.taken_bytes < room.limit_bytes ? room.limit_bytes - room.taken_bytes : 0;
}

static bool counts(const struct node_info *nodes, size_t k, const struct slot_policy *p)
{
	return p->node == nodes[k].node ||
	       (p->node == NODE_ANY && nodes[k].budget_bytes > nodes[k].reserve_bytes);
}

/* The most that can be booked on the candidate's node, or on all for one without a node, whose
 * parts are equal. @ret_k: the node that sets the limit. */
static uint64_t most_bookable(const struct node_info *nodes, size_t n_nodes,
			      const struct slot_policy *slots, size_t n_slots,
			      const struct booking_rules *rules,
			      const struct slot_policy *candidate, struct room *ret_room,
			      size_t *ret_k)
{
	uint64_t least = UINT64_MAX;
	size_t n = 0;

	for (size_t k = 0; k < n_nodes; k++) {
		struct room room;

		if (!counts(nodes, k, candidate))
			continue;
		n++;
		room = room_on(nodes, n_nodes, k, slots, n_slots, rules, candidate);
		if (room_left(room) < least) {
			least = room_left(room);
			*ret_room = room;
			*ret_k = k;
		}
	}
	return n == 0 ? 0 : MIN((u128)least * n, (u128)ADMIT_BYTES_MAX);
}

/* @asked: "need=1G"; @bytes: what it would book then, whatever its node */
static int refuse(const struct node_info *nodes, size_t n_nodes, const struct booking_rules *rules,
		  const struct slot_policy *p, const char *field, const char *asked, uint64_t bytes,
		  struct room room, size_t k, struct refusal *ret)
{
	char sum[FORMAT_BYTES_MAX], limit[FORMAT_BYTES_MAX], left[FORMAT_BYTES_MAX];
	u128 needed = (u128)room.taken_bytes + part_on(nodes, n_nodes, k, p, bytes);

	*ret = (struct refusal){
		.field = field,
		.node = nodes[k].node,
		.needed = needed > ADMIT_BYTES_MAX ? ADMIT_BYTES_MAX : (uint64_t)needed,
		.available = room.limit_bytes,
	};
	(void)snprintf(ret->message, sizeof(ret->message),
		       "%s on node %d%s: booked needs would sum to %s of %s (overcommit "
		       "%u.%02u for tier %u); %s is still free",
		       asked, nodes[k].node,
		       p->node == NODE_ANY ? " (its part of a slot on any node)" : "",
		       format_bytes(ret->needed, sum), format_bytes(room.limit_bytes, limit),
		       rules->overcommit_percent[p->tier] / 100,
		       rules->overcommit_percent[p->tier] % 100, p->tier,
		       format_bytes(room_left(room), left));
	return ADMIT_REFUSED;
}

static int refuse_need(const struct node_info *nodes, size_t n_nodes,
		       const struct booking_rules *rules, const struct booking_request *request,
		       const struct slot_policy *p, struct room room, size_t k, struct refusal *ret)
{
	char need[FORMAT_BYTES_MAX], smaller[FORMAT_BYTES_MAX], asked[2 * FORMAT_BYTES_MAX + 32];
	int n = snprintf(asked, sizeof(asked), "need=%s", format_bytes(p->need_bytes, need));

	if (request->min_grant_bytes < p->need_bytes)
		(void)snprintf(asked + n, sizeof(asked) - (size_t)n, " (min-grant=%s)",
			       format_bytes(request->min_grant_bytes, smaller));
	return refuse(nodes, n_nodes, rules, p, "need", asked, MAX(p->need_bytes, p->min_bytes),
		      room, k, ret);
}

static int admit_there(const struct node_info *nodes, size_t n_nodes,
		       const struct slot_policy *slots, size_t n_slots,
		       const struct booking_rules *rules, const struct booking_request *request,
		       struct slot_policy *p, struct refusal *refusal)
{
	struct room room = {};
	uint64_t most, grant;
	size_t k = 0;
	int r;

	p->grant_bytes = 0;
	r = admit(nodes, n_nodes, slots, n_slots, p, refusal);
	if (r != ADMIT_OK)
		return r;
	if (p->need_bytes > 0) {
		most = most_bookable(nodes, n_nodes, slots, n_slots, rules, p, &room, &k);
		grant = p->need_bytes;
		if (MAX(MIN(grant, p->max_bytes), p->min_bytes) > most)
			grant = most - most % BOOKING_GRAIN_BYTES;
		if (grant < request->min_grant_bytes && grant < p->need_bytes)
			return refuse_need(nodes, n_nodes, rules, request, p, room, k, refusal);
		p->grant_bytes = grant;
	}
	/* a guess is no reason to be held back */
	if (p->is_need_predicted && request->min_grant_bytes == 0 &&
	    (booking_nodes(nodes, n_nodes, p) & request->closed_nodes))
		p->grant_bytes = 0;
	if (booking_nodes(nodes, n_nodes, p) & request->closed_nodes) {
		*refusal = (struct refusal){ .field = "queue", .node = p->node };
		(void)snprintf(refusal->message, sizeof(refusal->message),
			       "a request that has waited long enough is served first; \"tmctl "
			       "queue\" shows it, and --wait waits behind it");
		return ADMIT_REFUSED;
	}
	return ADMIT_OK;
}

/* What is left of nodes[k] for choosing it. */
static uint64_t left_on(const struct node_info *nodes, size_t n_nodes, size_t k,
			const struct slot_policy *slots, size_t n_slots,
			const struct booking_rules *rules, const struct slot_policy *p)
{
	uint64_t distributable = nodes[k].budget_bytes - nodes[k].reserve_bytes;
	u128 promised = 0;

	if (p->need_bytes > 0)
		return room_left(room_on(nodes, n_nodes, k, slots, n_slots, rules, p));
	for (size_t i = 0; i < n_slots; i++)
		if (strcmp(slots[i].name, p->name) != 0)
			promised += part_on(nodes, n_nodes, k, &slots[i], slots[i].min_bytes);
	return promised < distributable ? distributable - (uint64_t)promised : 0;
}

int booking_admit(const struct node_info *nodes, size_t n_nodes, const struct slot_policy *slots,
		  size_t n_slots, const struct booking_rules *rules,
		  const struct booking_request *request, struct slot_policy *ret,
		  struct refusal *refusal)
{
	struct slot_policy best = request->policy;
	struct refusal best_refusal = {};
	uint64_t best_left = 0;
	int best_r = -1;

	if (!request->choose_node || n_nodes == 0) {
		int r = admit_there(nodes, n_nodes, slots, n_slots, rules, request, &best, refusal);

		if (r == ADMIT_OK)
			*ret = best;
		return r;
	}
	for (size_t k = 0; k < n_nodes; k++) {
		struct slot_policy there = request->policy;
		struct refusal why = {};
		uint64_t left;
		int r;

		there.node = nodes[k].node;
		r = admit_there(nodes, n_nodes, slots, n_slots, rules, request, &there, &why);
		if (r == ADMIT_BAD_VALUE) {
			*refusal = why;
			return r;
		}
		left = left_on(nodes, n_nodes, k, slots, n_slots, rules, &there);
		/* one that fits, then more of the need, then more room, then the lower number */
		if (best_r >= 0 && (r == ADMIT_OK) < (best_r == ADMIT_OK))
			continue;
		if (best_r >= 0 && (r == ADMIT_OK) == (best_r == ADMIT_OK) &&
		    (there.grant_bytes < best.grant_bytes ||
		     (there.grant_bytes == best.grant_bytes && left <= best_left)))
			continue;
		best = there;
		best_r = r;
		best_left = left;
		best_refusal = why;
	}
	if (best_r == ADMIT_OK)
		*ret = best;
	else
		*refusal = best_refusal;
	return best_r;
}

uint64_t booking_attainable(const struct node_info *nodes, size_t n_nodes,
			    const struct booking_rules *rules,
			    const struct booking_request *request)
{
	struct booking_request alone = *request;
	struct slot_policy granted;
	struct refusal refusal;

	alone.min_grant_bytes = 0;
	alone.closed_nodes = 0;
	if (booking_admit(nodes, n_nodes, NULL, 0, rules, &alone, &granted, &refusal) != ADMIT_OK)
		return 0;
	return granted.grant_bytes;
}

/* What the slot counts with for who is of @tier. */
static uint64_t counted_for(const struct slot_policy *p, uint32_t tier)
{
	return p->tier <= tier ? booking_of(p) : p->min_bytes;
}

int booking_change(const struct node_info *nodes, size_t n_nodes, const struct slot_policy *slots,
		   size_t n_slots, const struct booking_rules *rules, struct slot_policy *policy,
		   struct refusal *refusal)
{
	char max[FORMAT_BYTES_MAX], asked[FORMAT_BYTES_MAX + 16];
	uint64_t after = booking_of(policy), before = 0, most;
	int r = admit(nodes, n_nodes, slots, n_slots, policy, refusal);
	struct room room = {};
	bool is_tier = false;
	size_t k = 0;

	for (size_t i = 0; i < n_slots; i++) {
		if (strcmp(slots[i].name, policy->name) != 0)
			continue;
		before = counted_for(&slots[i], policy->tier);
		is_tier = policy->tier < slots[i].tier;
	}
	if (r != ADMIT_OK || after <= before || after == policy->min_bytes)
		return r;
	most = most_bookable(nodes, n_nodes, slots, n_slots, rules, policy, &room, &k);
	if (after <= most)
		return ADMIT_OK;
	if (policy->is_need_predicted) {
		policy->grant_bytes = MAX(before, most - most % BOOKING_GRAIN_BYTES);
		return ADMIT_OK;
	}
	if (is_tier)
		(void)snprintf(asked, sizeof(asked), "tier=%u", policy->tier);
	else
		(void)snprintf(asked, sizeof(asked), "max=%s",
			       format_bytes_exact(policy->max_bytes, max));
	return refuse(nodes, n_nodes, rules, policy, is_tier ? "tier" : "max", asked, after, room,
		      k, refusal);
}
