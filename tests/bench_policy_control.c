/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The law of taskmemd itself: control_plan() on the kernel's counters, its result to memory.low.
 * A part is switched off by not showing the law what it goes by, by taking from it what it
 * remembers, or by writing less than it says, so that the law needs no switches for the sake of a
 * benchmark.
 */

#include "bench_policy.h"

static struct memory_sample shown(const struct memory_sample *sample, unsigned hidden)
{
	struct memory_sample s = *sample;

	if (hidden & BENCH_NO_RESTORE)
		s.restore_pages = 0;
	if (hidden & BENCH_NO_REFILL)
		s.refill_pages = 0;
	if (hidden & BENCH_NO_SCANS) /* all that is stolen was of use */
		s.refill_pages = s.steal_pages;
	if (hidden & BENCH_NO_STALL)
		s.stall_us = 0;
	return s;
}

/* What the law remembers from tick to tick is taken from it, too. */
static void forget(struct control_track *track, unsigned hidden)
{
	if (hidden & BENCH_NO_FLOOR) {
		track->floor_bytes = 0;
		track->floor_hold_ticks = 0;
		track->is_proving = false;
	}
	if ((hidden & BENCH_NO_RETEST) && track->is_polluter)
		track->retest_ns = UINT64_MAX;
}

uint64_t bench_control_low(struct control_slot *slot, unsigned hidden)
{
	forget(&slot->track, hidden);
	if (hidden & BENCH_NO_LENDING)
		return MIN(slot->low_bytes, MAX(slot->share_bytes, slot->min_bytes));
	return slot->low_bytes;
}

uint64_t bench_control_early_ns(struct bench_world *world, uint64_t now_ns, uint64_t next_ns)
{
	return control_early_ns(&world->group, now_ns, next_ns);
}

int bench_control_tick(const struct bench_policy *policy, struct bench_world *world)
{
	unsigned hidden = policy->arg ? *(const enum bench_control_part *)policy->arg : 0;
	struct control_slot *slots[BENCH_TASKS_MAX];
	int r;

	world->group.bytes = world->share_bytes;
	world->group.fairness_permille = hidden & BENCH_NO_TAX ? 1000 : 0;
	for (size_t i = 0; i < world->n; i++) {
		struct bench_member *m = &world->members[i];

		m->slot.name = world->load->tasks[i].name;
		m->slot.weight = m->weight;
		m->slot.tier = TIER_DEFAULT;
		m->slot.mode = SLOT_SHARE;
		m->slot.min_bytes = m->min_bytes;
		m->slot.share_bytes = m->share_bytes;
		m->slot.max_bytes = BYTES_UNLIMITED;
		m->slot.sample = shown(&m->sample, hidden);
		slots[i] = &m->slot;
	}
	r = control_plan(&world->group, slots, world->n, world->now_ns);
	for (size_t i = 0; i < world->n && r == 0; i++) {
		struct bench_member *m = &world->members[i];

		uint64_t low_bytes = bench_control_low(&m->slot, hidden);

		m->note = control_class_name(m->slot.track.class);
		if (m->slot.is_changed)
			r = bench_policy_write(world, m, CG_MEMORY_LOW, low_bytes);
	}
	return r;
}
