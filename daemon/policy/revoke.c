/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/revoke.h"

#include <stdlib.h>
#include <string.h>

#include "base/attr.h"

/*
 * The deadline counts from when it is set, not from when the pages became owed: a slot that is
 * changed from wait to force, or whose pages become another's guarantee, gives its tasks the same
 * time as any other. It is the caller's to tell them.
 */

static int compare_names(const struct revoke_slot *a, const struct revoke_slot *b)
{
	return strcmp(a->name, b->name);
}

/* Who has to give first for a guarantee. */
static int compare(const void *x, const void *y, void *userdata)
{
	const struct revoke_holder *a = x, *b = y;
	const struct revoke_slot *slots = userdata, *sa = &slots[a->slot], *sb = &slots[b->slot];
	bool a_waits = sa->revoke == SLOT_REVOKE_WAIT, b_waits = sb->revoke == SLOT_REVOKE_WAIT;

	if (a_waits != b_waits)
		return a_waits ? 1 : -1;
	if (sa->tier != sb->tier)
		return sa->tier > sb->tier ? -1 : 1;
	if (a->mark->since_ns != b->mark->since_ns)
		return a->mark->since_ns < b->mark->since_ns ? -1 : 1;
	if (a->slot != b->slot)
		return compare_names(sa, sb);
	return a->id < b->id ? -1 : a->id > b->id;
}

static void begin(struct revoke_holder *holder, uint64_t now_ns)
{
	holder->verb = REVOKE_NOTHING;
	holder->n_chunks = 0;
	holder->is_for_guarantee = false;
	if (holder->n_owed == 0)
		*holder->mark = (struct revoke_mark){ .is_killed = holder->mark->is_killed };
	else if (holder->mark->since_ns == 0)
		holder->mark->since_ns = now_ns;
}

/* What its going helps the node: not what its own slot would be short of then. */
static uint32_t help(struct revoke_slot *slot, uint32_t n_owed, uint64_t n_short)
{
	uint32_t n = (uint32_t)MIN((uint64_t)MIN(n_owed, slot->n_spare), n_short);

	slot->n_spare -= n;
	return n;
}

/* How many chunks each is to be made to give; holders in order. */
static void share_out(struct revoke_input *in)
{
	for (size_t k = 0; k < in->n_nodes; k++) {
		uint64_t n_short = in->nodes[k].n_short;

		for (size_t i = 0; i < in->n_holders && n_short > 0; i++) {
			struct revoke_holder *holder = &in->holders[i];
			struct revoke_slot *slot = &in->slots[holder->slot];
			uint32_t n;

			if (slot->node != NODE_ANY && slot->node != in->nodes[k].node)
				continue;
			n = help(slot, holder->n_owed - MIN(holder->n_owed, holder->n_chunks),
				 n_short);
			n_short -= n;
			if (n == 0)
				continue;
			holder->n_chunks += n;
			holder->is_for_guarantee = true;
		}
	}
}

static void decide(const struct revoke_input *in, struct revoke_holder *holder)
{
	const struct revoke_slot *slot = &in->slots[holder->slot];
	struct revoke_mark *mark = holder->mark;

	if (holder->n_owed == 0)
		return;
	holder->verb = REVOKE_WAIT;
	if (slot->revoke != SLOT_REVOKE_WAIT)
		holder->n_chunks = holder->n_owed;
	if (holder->n_chunks == 0)
		mark->deadline_ns = 0;
	else if (mark->deadline_ns == 0)
		mark->deadline_ns = in->now_ns + slot->grace_ns;
	if (mark->deadline_ns == 0 || mark->deadline_ns > in->now_ns || mark->is_killed)
		return;
	holder->verb = slot->revoke == SLOT_REVOKE_KILL ? REVOKE_KILL : REVOKE_FORCE;
}

uint64_t revoke_step(struct revoke_input *in)
{
	uint64_t wake_ns = 0;

	for (size_t i = 0; i < in->n_slots; i++) {
		struct revoke_slot *slot = &in->slots[i];

		slot->n_spare = slot->n_granted - MIN(slot->n_granted, slot->n_guaranteed);
	}
	for (size_t i = 0; i < in->n_holders; i++)
		begin(&in->holders[i], in->now_ns);
	if (in->n_holders > 0)
		qsort_r(in->holders, in->n_holders, sizeof(*in->holders), compare, in->slots);
	share_out(in);
	for (size_t i = 0; i < in->n_holders; i++) {
		const struct revoke_mark *mark = in->holders[i].mark;

		decide(in, &in->holders[i]);
		if (in->holders[i].verb == REVOKE_WAIT && mark->deadline_ns > in->now_ns &&
		    (wake_ns == 0 || mark->deadline_ns < wake_ns))
			wake_ns = mark->deadline_ns;
	}
	return wake_ns;
}
