/* SPDX-License-Identifier: Apache-2.0 */
#include "manager_private.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mono.h"
#include "message_ids.h"

/*
 * What emergencies need to know of each slot. Usage and swap are two reads of 3 µs a second;
 * memory.stat, which costs ten times as much, is read when one of them has moved, and a slot that
 * has not moved for a while is looked at every fourth second. Only while an emergency is near is
 * everything read each time, with the slot's processor time to see who is idle.
 */

#define MOVED_BYTES (UINT64_C(128) << 10)
#define STAT_AGE_NS (8 * NS_PER_SEC)
#define STILL_SAMPLES 8
#define STILL_AGE_NS (4 * NS_PER_SEC - NS_PER_SEC / 4)
#define IDLE_WINDOW_NS (2 * NS_PER_SEC)
#define IDLE_PART 100 /* less than 1 % of a processor */

static bool has_moved(uint64_t a, uint64_t b)
{
	return (a > b ? a - b : b - a) >= MOVED_BYTES;
}

void slot_watch_open(struct slot *slot)
{
	if (cgdir_read_events(slot->cg, &slot->watch.events) != CGDIR_OK)
		slot->watch.events = (struct cgdir_events){};
}

void slot_watch_close(struct slot *slot)
{
	if (slot->watch.mark.is_frozen)
		(void)!slot_thaw(slot, FREEZE_EMERGENCY); /* it may be gone */
	if (slot->watch.mark.is_unprotected)
		(void)!cgdir_write_u64(slot->cg, CG_MEMORY_LOW,
				       slot_planned_low_bytes(slot) & ~UINT64_C(4095));
	slot->watch.mark = (struct emergency_mark){};
}

static void sample_cpu(struct slot *slot, uint64_t now_ns)
{
	struct slot_watch *w = &slot->watch;
	uint64_t cpu_us;

	if (w->has_cpu && now_ns - w->cpu_ns < IDLE_WINDOW_NS)
		return;
	if (cgdir_read_cpu(slot->cg, &cpu_us) != CGDIR_OK)
		return;
	/* a base from an earlier emergency tells nothing of now */
	if (w->has_cpu && now_ns - w->cpu_ns < 4 * IDLE_WINDOW_NS && !w->mark.is_frozen)
		w->is_idle = (cpu_us - w->cpu_us) * NS_PER_USEC < (now_ns - w->cpu_ns) / IDLE_PART;
	w->has_cpu = true;
	w->cpu_us = cpu_us;
	w->cpu_ns = now_ns;
}

void slot_watch_sample(struct slot *slot, uint64_t now_ns, bool is_held_back, bool is_close)
{
	struct slot_watch *w = &slot->watch;
	struct leak_sample sample = { .now_ns = now_ns };
	bool has_changed;

	if (!slot->has_limit)
		return;
	if (!is_close && w->n_still >= STILL_SAMPLES && now_ns - w->sampled_ns < STILL_AGE_NS)
		return;
	if (cgdir_read_u64(slot->cg, CG_MEMORY_CURRENT, &w->usage_bytes) != CGDIR_OK)
		return;
	if (cgdir_read_u64(slot->cg, CG_MEMORY_SWAP_CURRENT, &w->swap_bytes) != CGDIR_OK)
		w->swap_bytes = 0;
	w->sampled_ns = now_ns;
	has_changed = has_moved(w->usage_bytes, w->stat_usage_bytes) ||
		      has_moved(w->swap_bytes, w->stat_swap_bytes);
	w->n_still = has_changed ? 0 : w->n_still + 1;
	if (is_close || has_changed || now_ns - w->stat_ns >= STAT_AGE_NS) {
		if (cgdir_read_stat(slot->cg, &w->stat) != CGDIR_OK)
			return;
		w->stat_ns = now_ns;
		w->stat_usage_bytes = w->usage_bytes;
		w->stat_swap_bytes = w->swap_bytes;
	}
	sample.bytes = w->stat.anon + w->stat.shmem + w->stat_swap_bytes;
	sample.reuse_pages = w->stat.refault_anon + w->stat.restore_anon;
	sample.is_held_back = is_held_back || w->mark.is_frozen;
	/* The next task in it is not the last one: what that had says nothing of its growth. */
	if (leak_has_let_go(&w->leak, sample.bytes) &&
	    cgdir_is_populated(slot->cg, &w->is_running) == CGDIR_OK && !w->is_running)
		w->leak = (struct leak){};
	(void)leak_add(&w->leak, &sample);
	if (!is_close) {
		w->is_idle = false;
		return;
	}
	sample_cpu(slot, now_ns);
	if (cgdir_is_populated(slot->cg, &w->is_running) != CGDIR_OK)
		w->is_running = false;
}

void slot_watch_describe(struct slot *slot, uint64_t swap_free_bytes, struct emergency_slot *ret)
{
	struct slot_watch *w = &slot->watch;
	const struct cgdir_stat *stat = &w->stat;
	uint64_t floor = cgdir_floor_bytes(stat);
	uint64_t file = stat->file - MIN(stat->file, stat->shmem);
	uint64_t above = w->usage_bytes > floor ? w->usage_bytes - floor : 0;
	uint64_t may_go = file + MIN(stat->anon + stat->shmem, swap_free_bytes);

	*ret = (struct emergency_slot){
		.name = slot->policy.name,
		.tier = slot->policy.tier,
		.weight = slot->policy.weight,
		.usage_bytes = w->usage_bytes,
		.swap_bytes = w->swap_bytes,
		.share_bytes = slot->share_bytes,
		.guarantee_bytes = slot->guaranteed_bytes,
		.file_bytes = MIN(file, w->usage_bytes),
		.reclaimable_bytes = MIN(may_go, above),
		.growth = leak_growth(&w->leak),
		.leak_rate = w->leak.rate,
		.leak_age_ns =
			w->sampled_ns > w->leak.since_ns ? w->sampled_ns - w->leak.since_ns : 0,
		.is_running = w->is_running && !slot->removal,
		.is_idle = w->is_idle,
		.is_leaking = w->leak.is_leaking,
		.mark = &w->mark,
	};
}

void slot_watch_kills(struct slot *slot, const char *group, bool has_group_oom)
{
	struct cgdir_events now, before = slot->watch.events;
	char had[FORMAT_BYTES_MAX], swap[FORMAT_BYTES_MAX], max[FORMAT_BYTES_MAX], why[200];
	const char *name = slot->policy.name;

	if (cgdir_read_events(slot->cg, &now) != CGDIR_OK)
		return;
	slot->watch.events = now;
	if (now.oom_kill <= before.oom_kill)
		return;
	(void)format_bytes(slot->policy.max_bytes, max);
	if (now.oom > before.oom)
		(void)snprintf(
			why, sizeof(why),
			"its own max of %s was used up and nothing of it could be reclaimed; "
			"raise max, add swap, or let it use less",
			max);
	else if (has_group_oom)
		(void)snprintf(
			why, sizeof(why),
			"the memory of %s was used up before anything else could be done, and it "
			"was the largest; give the node a larger budget or swap, or slots a max",
			group);
	else
		(void)snprintf(
			why, sizeof(why),
			"the machine itself ran out of memory; lower budget= in taskmemd.conf, "
			"or use less outside the slots");
	events_add(slot->manager->events, LOG_LEVEL_ERROR, "oom-kill", MESSAGE_OOM_KILL, name,
		   "the kernel killed %llu process%s of slot %s, which had %s and %s in swap: %s",
		   (unsigned long long)(now.oom_kill - before.oom_kill),
		   now.oom_kill - before.oom_kill == 1 ? "" : "es", name,
		   format_bytes(slot->watch.usage_bytes, had),
		   format_bytes(slot->watch.swap_bytes, swap), why);
}
