/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The law of taskmemd itself: control_plan() on the kernel's counters, its result to memory.low.
 * A part is switched off by not showing the law what it goes by, so that the law needs no
 * switches for the sake of a benchmark.
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
		m->slot.is_fresh = true;
		slots[i] = &m->slot;
	}
	r = control_plan(&world->group, slots, world->n, world->now_ns);
	for (size_t i = 0; i < world->n && r == 0; i++) {
		struct bench_member *m = &world->members[i];

		m->note = control_class_name(m->slot.track.class);
		if (m->slot.is_changed)
			r = bench_policy_write(world, m, CG_MEMORY_LOW, m->slot.low_bytes);
	}
	return r;
}
