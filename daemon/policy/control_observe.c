/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What a slot is shown to be, by its own counters.
 *
 * Usage that rises proves nothing, and pressure alone proves little: a scan stalls a third of its
 * time. Refaults in excess of what the slot's own churn explains are a need. A scan has refaults,
 * too; what it never has is reuse: the kernel counts no page of it as restored to the working set
 * and finds none worth keeping when it reclaims (pgrefill). So reuse is judged once for every
 * turnover, that is whenever as many pages as the slot has were stolen from it and replaced.
 *
 * Each threshold lies in a gap measured on Linux 6.12, multi-gen and legacy LRU:
 *
 *	                    restored / turned over   refilled / turned over
 *	scans               0 to 0.1 %               0 to 3.2 %
 *	hot sets            0.1 % (legacy) or more   20 % or more
 *	  multi-gen only    2.6 % or more
 */

#include "policy/control.h"

/* Refaults are a need above this part of the slot's own pages per tick: 1 % per second. At 2 % a
 * flip is missed in the model (flips_settle_and_none_is_missed), at 0.5 % flips on a slow machine
 * are worse than without a controller (flips_on_a_slow_machine_are_no_worse_than_without_us). */
#define NEED_REFAULT_DIVISOR 200
/* … and above this part of what is stolen from it: what it lost was wanted back. On 6.12 that is
 * 0.97 to 1 of hot sets and scans alike; cold memory is what does not come back. Only a choice in
 * between: of half and of twice as much nothing tells but the case with the number. */
#define NEED_CHURN_FACTOR 0.2
/* Stalled for 5 % of the time: half of that happens to every slot in a full machine. */
#define NEED_STALL_PERMILLE 50
/* … while 0.1 % of its pages a second are fetched. Who does so now and then, beside others that do
 * all the time, finds the group full, reclaims for them and waits for that: 16 % of a tick for
 * three pages of 18000 was seen on 6.12, and for none. A set that misses a hundredth fetches more. */
#define NEED_FETCH_DIVISOR 2000
/* A quarter of a turnover without reuse makes evidence doubtful, a whole one refutes it. At 0.1 %
 * restored a scan in 60M was cleared on 6.12 by the 20 pages of its own code; hot sets with little
 * more, which are those of the legacy LRU, are known by what is refilled. */
#define SUSPECT_DIVISOR 4
/* … unless it grew by an eighth meanwhile: then what it lacks may still be on its way. On 6.12 a loop
 * over a file, which reads all of it twice a second, was suspect before the tax on cold memory had
 * taken its third step, and a scan for the rest of the run. An eighth is what a first turnover of
 * one that fills up grows by, and not what usage is about at rest. */
#define SUSPECT_GROWN_DIVISOR 8
#define REUSE_RESTORE_DIVISOR 200
#define REUSE_REFILL_DIVISOR 10
/* A label is taken off at twice what avoids it: a single burst of a scan must not do. 1.5 % of
 * the flow is between the 0.1 % of scans and the 2.6 % of hot sets above; and 4 pages in a tick,
 * which is what readers of hot files had at least on 6.12 and scans never, keep a stray page of a
 * small flow from being so much. Within that gap it is a choice: half and twice as much fail no
 * test of the law. */
#define PARDON_RESTORE_DIVISOR 100
#define PARDON_RATE 0.015
#define PARDON_PAGES 4.0
/* … and a 25th of what was stolen from it came back, on average. A scan that is left nothing else
 * loses its own code again and again to what it reads, and that is restored, with the legacy LRU of
 * 6.12 up to 2.4 % of what is stolen: pardoned for it, it had its share again every four seconds.
 * Of who was pardoned with reason 4.9 % or more came back. */
#define PARDON_CHURN_FACTOR 0.04
/* Three seconds without a stolen page: there is no pressure to judge it under. */
#define CALM_TICKS 6
/* No processor time and no faults for so long. Below a thousandth of a processor is none. */
#define IDLE_TICKS 8
#define IDLE_CPU_US (CONTROL_TICK_NS / 1000 / 1000)
#define IDLE_FAULTS 8
#define IDLE_PERIOD_NS (8 * CONTROL_TICK_NS)
/* Retests cost the others refaults, so they get rarer while they fail. */
#define RETEST_LAST_NS (960 * CONTROL_TICK_NS)
/* Weight of the newest tick in the averages: about four ticks, as memory.stat may be two seconds
 * old. Only a choice: an eighth and a half fail no test. */
#define MEAN_WEIGHT 0.25

static uint64_t pages(uint64_t bytes)
{
	return bytes / CONTROL_PAGE;
}

/* What was counted since the last sample. 0 for a counter that went back. */
static uint64_t counted(uint64_t now, uint64_t before)
{
	return now > before ? now - before : 0;
}

/* The same, scaled to one tick. */
static uint64_t per_tick(uint64_t now, uint64_t before, uint64_t elapsed_ns)
{
	uint64_t delta = counted(now, before);

	if (elapsed_ns == CONTROL_TICK_NS)
		return delta;
	return (uint64_t)((double)delta * (double)CONTROL_TICK_NS / (double)elapsed_ns);
}

static void average(double *mean, uint64_t value)
{
	*mean += ((double)value - *mean) * MEAN_WEIGHT;
}

static void observe_rates(struct control_slot *slot, uint64_t elapsed_ns)
{
	struct control_track *track = &slot->track;
	const struct memory_sample *now = &slot->sample, *last = &track->last;
	uint64_t stall_us = per_tick(now->stall_us, last->stall_us, elapsed_ns);

	track->refault_pages = per_tick(now->refault_pages, last->refault_pages, elapsed_ns);
	track->restore_pages = per_tick(now->restore_pages, last->restore_pages, elapsed_ns);
	track->refill_pages = per_tick(now->refill_pages, last->refill_pages, elapsed_ns);
	track->steal_pages = per_tick(now->steal_pages, last->steal_pages, elapsed_ns);
	track->stall_permille = (uint32_t)MIN(UINT64_C(1000), stall_us * 1000000 / CONTROL_TICK_NS);
	track->grown_pages = pages(counted(now->current_bytes, last->current_bytes));
	average(&track->mean_refault, track->refault_pages);
	average(&track->mean_restore, track->restore_pages);
	average(&track->mean_steal, track->steal_pages);
	average(&track->mean_flow, MAX(track->refault_pages, track->steal_pages));
}

static void window_clear(struct control_slot *slot)
{
	struct control_track *track = &slot->track;

	track->turnover_pages = track->window_restore = track->window_refill = 0;
	track->window_bytes = slot->sample.current_bytes;
}

static bool has_reuse(const struct control_track *track)
{
	return track->window_restore * REUSE_RESTORE_DIVISOR >= track->turnover_pages ||
	       track->window_refill * REUSE_REFILL_DIVISOR >= track->turnover_pages;
}

static bool is_missed(const struct control_track *track)
{
	return track->mean_refault > PARDON_CHURN_FACTOR * track->mean_steal;
}

static bool is_pardoned(const struct control_track *track)
{
	return (track->window_restore * PARDON_RESTORE_DIVISOR >= track->turnover_pages &&
		is_missed(track)) ||
	       track->window_refill * REUSE_REFILL_DIVISOR >= track->turnover_pages;
}

static void pardon(struct control_track *track)
{
	track->is_polluter = false;
	track->retest_interval_ns = 0;
}

/* A window of one turnover is over. */
static void window_judge(struct control_slot *slot, uint64_t now_ns)
{
	struct control_track *track = &slot->track;

	if (track->is_polluter && is_pardoned(track)) {
		pardon(track);
	} else if (!track->is_polluter && !has_reuse(track)) {
		track->is_polluter = true;
		track->retest_interval_ns =
			track->retest_interval_ns == 0
				? CONTROL_RETEST_FIRST_NS
				: MIN(2 * track->retest_interval_ns, RETEST_LAST_NS);
		track->retest_ns = now_ns + track->retest_interval_ns;
	} else if (!track->is_polluter) {
		track->retest_interval_ns = 0;
	}
	window_clear(slot);
}

void control_acquit(struct control_slot *slot)
{
	pardon(&slot->track);
	window_clear(slot);
}

static void observe_turnover(struct control_slot *slot, uint64_t now_ns)
{
	struct control_track *track = &slot->track;
	const struct memory_sample *now = &slot->sample, *last = &track->last;
	uint64_t own = pages(now->current_bytes);
	uint64_t shrunk = pages(counted(last->current_bytes, now->current_bytes));
	uint64_t stolen = counted(now->steal_pages, last->steal_pages);

	track->calm_ticks = stolen == 0 ? track->calm_ticks + 1 : 0;
	if (track->calm_ticks >= CALM_TICKS) {
		window_clear(slot);
		pardon(track);
		return;
	}
	if (stolen > shrunk)
		track->turnover_pages += stolen - shrunk;
	track->window_restore += counted(now->restore_pages, last->restore_pages);
	track->window_refill += counted(now->refill_pages, last->refill_pages);
	if (track->turnover_pages > own)
		window_judge(slot, now_ns);
	if (!track->is_polluter)
		return;
	if (track->mean_restore > PARDON_PAGES &&
	    track->mean_restore > PARDON_RATE * track->mean_flow && is_missed(track)) {
		pardon(track);
	} else if (now_ns >= track->retest_ns) {
		track->is_polluter = false;
		window_clear(slot);
	}
}

static void observe_idleness(struct control_slot *slot, uint64_t elapsed_ns)
{
	struct control_track *track = &slot->track;
	uint64_t cpu_us = per_tick(slot->sample.cpu_us, track->last.cpu_us, elapsed_ns);
	uint64_t faults = per_tick(slot->sample.fault_count, track->last.fault_count, elapsed_ns);

	if (cpu_us < IDLE_CPU_US && faults < IDLE_FAULTS && track->refault_pages == 0)
		track->idle_ticks += (uint32_t)MAX(UINT64_C(1), elapsed_ns / CONTROL_TICK_NS);
	else
		track->idle_ticks = 0;
}

static bool is_needy(const struct control_slot *slot)
{
	const struct control_track *track = &slot->track;

	if (track->refault_pages * NEED_REFAULT_DIVISOR > pages(slot->sample.current_bytes) &&
	    track->mean_refault > NEED_CHURN_FACTOR * track->mean_steal)
		return true;
	return track->stall_permille >= NEED_STALL_PERMILLE &&
	       MAX(track->refault_pages, track->grown_pages) * NEED_FETCH_DIVISOR >
		       pages(slot->sample.current_bytes) &&
	       (track->grown_pages > 0 || slot->sample.current_bytes <= slot->share_bytes);
}

static bool is_suspect(const struct control_slot *slot)
{
	const struct control_track *track = &slot->track;
	uint64_t current = slot->sample.current_bytes;
	bool is_growing = current > track->window_bytes + current / SUSPECT_GROWN_DIVISOR;

	return track->turnover_pages * SUSPECT_DIVISOR > pages(current) && !has_reuse(track) &&
	       (!is_growing || control_is_retested(slot));
}

static enum control_class classify(const struct control_slot *slot)
{
	const struct control_track *track = &slot->track;

	if (track->is_polluter)
		return CONTROL_POLLUTER;
	if (is_needy(slot))
		return is_suspect(slot) ? CONTROL_SUSPECT : CONTROL_EVIDENCE;
	return track->idle_ticks >= IDLE_TICKS ? CONTROL_IDLE : CONTROL_QUIET;
}

void control_observe(struct control_slot *slot, uint64_t now_ns)
{
	struct control_track *track = &slot->track;
	enum control_class class = CONTROL_NEW;

	if (!slot->is_fresh)
		return;
	if (track->sampled_ns != 0 && now_ns > track->sampled_ns) {
		uint64_t elapsed_ns = now_ns - track->sampled_ns;

		observe_rates(slot, elapsed_ns);
		if (counted(slot->sample.stall_us, track->last.stall_us) > 0)
			track->stalled_ns = now_ns;
		observe_idleness(slot, elapsed_ns);
		observe_turnover(slot, now_ns);
		class = classify(slot);
	} else {
		window_clear(slot);
	}
	if (class != track->class || track->since_ns == 0) {
		track->class = class;
		track->since_ns = now_ns;
	}
	track->last = slot->sample;
	track->sampled_ns = now_ns;
}

bool control_is_due(const struct control_track *track, uint64_t now_ns, uint64_t cpu_us)
{
	return track->class != CONTROL_IDLE || now_ns >= track->sampled_ns + IDLE_PERIOD_NS ||
	       cpu_us > track->last.cpu_us + IDLE_CPU_US;
}

bool control_is_retested(const struct control_slot *slot)
{
	return slot->track.retest_interval_ns != 0 && !slot->track.is_polluter;
}

const char *control_class_name(enum control_class class)
{
	static const char *const names[CONTROL_CLASSES] = {
		[CONTROL_NEW] = "new",           [CONTROL_QUIET] = "quiet",
		[CONTROL_EVIDENCE] = "evidence", [CONTROL_SUSPECT] = "suspect",
		[CONTROL_POLLUTER] = "polluter", [CONTROL_IDLE] = "idle",
	};

	return class >= 0 && class < CONTROL_CLASSES ? names[class] : "unknown";
}
