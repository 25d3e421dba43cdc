/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Moves memory to where it is needed, by one knob: how much of each slot the kernel protects
 * (memory.low). A write to it is instant and reclaims nothing; below the inner group's memory.max
 * the kernel takes from what is above its protection when somebody else grows.
 *
 * Pure: counters and time in, protection out. Once per CONTROL_TICK_NS and group (a NUMA node's,
 * or that of the slots without one):
 *
 *	read the kernel's counters of each slot into .sample, set .is_fresh (slots that are not
 *	read this time keep their class); set the policy fields if they changed;
 *	control_plan(&group, slots, n, now_ns);
 *	write .low_bytes of each slot where .is_changed; reclaim .reclaim_bytes where not 0;
 *
 * The rules are in control.c and control_observe.c, and for users in taskmem-control(7).
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "model.h"

#define CONTROL_TICK_NS UINT64_C(500000000)
#define CONTROL_PAGE UINT64_C(4096)
#define CONTROL_RETEST_FIRST_NS (60 * CONTROL_TICK_NS) /* a scan is judged again after … */

/* What a slot is shown to be. Names in control_class_name(). */
enum control_class {
	CONTROL_NEW,      /* no two samples yet: protected as it is entitled */
	CONTROL_QUIET,    /* shows no need of more than it has */
	CONTROL_EVIDENCE, /* shows that it needs memory */
	CONTROL_SUSPECT,  /* would be evidence, but reuses nothing of what it turns over */
	CONTROL_POLLUTER, /* turned over all its memory and reused nothing: a scan */
	CONTROL_IDLE,     /* no processor time, no faults */
	CONTROL_CLASSES,
};

/* What the law remembers of a slot, and the terms of its last decision, for `tmctl explain`.
 * Zero-initialised is a slot that was never seen. */
struct control_track {
	enum control_class class;
	uint64_t since_ns; /* in this class */
	uint64_t sampled_ns;
	struct memory_sample last;
	/* of the last tick, scaled to CONTROL_TICK_NS */
	uint64_t refault_pages, restore_pages, refill_pages, steal_pages;
	uint32_t stall_permille; /* of wall time */
	uint64_t grown_pages;    /* since the sample before */
	/* averages over about four ticks, in pages per tick */
	double mean_refault, mean_restore, mean_steal, mean_flow; /* flow: max(refault, steal) */
	/* turnover window: pages stolen and replaced, and the reuse seen among them */
	uint64_t turnover_pages, window_restore, window_refill;
	uint64_t window_bytes; /* usage when it began */
	uint32_t calm_ticks;   /* in a row without a stolen page */
	uint32_t idle_ticks;
	/* scans */
	bool is_polluter;
	uint64_t retest_ns;          /* when the label is taken off for a turnover */
	uint64_t retest_interval_ns; /* doubles with every retest that fails */
	/* the tax on quiet slots */
	uint64_t tax_bytes;        /* protected less than it uses; 0: not begun */
	uint64_t tax_from_bytes;   /* usage when it began */
	double taxed_pages;        /* taken from it lately */
	bool is_proving;           /* evidence came from it: was what it lost in use? */
	uint64_t proof_bytes;      /* usage when that evidence came, and when it was proven */
	uint64_t taxed_ns;         /* last time */
	uint64_t floor_bytes;      /* usage with what it had lost; 0: nothing was proven */
	uint64_t floor_until_ns;   /* no tax until then */
	uint32_t floor_hold_ticks; /* 0: none was proven of this working set */
	uint64_t low_bytes;        /* in force */
	uint64_t saved_ns;         /* last reclaim of mode `save` */
	uint64_t stalled_ns;       /* last sample in which it had waited for memory */
};

struct control_slot {
	const char *name; /* breaks ties; unique */
	uint32_t weight;
	uint32_t tier; /* 0 .. TIERS-1 */
	enum slot_mode mode;
	uint64_t min_bytes;   /* guarantee as honoured */
	uint64_t share_bytes; /* entitlement E of the group's memory */
	uint64_t max_bytes;   /* BYTES_UNLIMITED: no cap */
	struct memory_sample sample;
	bool is_fresh; /* .sample was read for this tick */
	struct control_track track;
	/* results */
	uint64_t low_bytes;     /* for memory.low; page aligned */
	uint64_t demand_bytes;  /* what it is shown to need */
	uint64_t reclaim_bytes; /* mode `save`: to be reclaimed now, 0 for nothing */
	bool is_changed;        /* low_bytes differs enough from the last one to be written */
};

struct control_group {
	uint64_t bytes; /* B: what is divided among the slots: the sum of their shares */
	uint32_t fairness_permille; /* φ: protection of a slot that is not idle never falls below
				     * φ * share, a guarantee aside */
	uint64_t early_ns;          /* last look out of turn, for control_early_ns() */
	/* results */
	uint32_t n_evidence, n_polluter;
	uint64_t freed_bytes;   /* entitlement not protected now where it belongs */
	uint64_t reserve_bytes; /* used beyond .bytes, and promised to those who ask while all do */
};

/**
 * control_plan() - one tick of the law for the slots of one group
 * @slots:  array of @n pointers, at most SLOTS_MAX, any order; .track is kept between ticks
 * @now_ns: monotonic, later than at the last call
 *
 * For each slot low_bytes >= min_bytes. Slots with mode SLOT_OFF get their share, whatever they
 * do. O(n log n).
 *
 * The sum of low_bytes never exceeds max(@group->bytes, sum of shares), but in three cases. While all
 * ask that are not idle, it may be @group->reserve_bytes more, half of what they use beyond
 * @group->bytes and a 64th of these at most. The others are while nobody asks (n_evidence is 0); there
 * the slots concerned count in that sum of shares with something else, with control_least_bytes() at
 * least:
 *
 *	While a scan is pushed out, that is while one which is a scan, or is tested again, uses more
 *	than it was protected at and control_hold_bytes(): quiet and idle slots with their room,
 *	102 % of their usage and min(B / 100, share / 8); a suspect with 95 % of its usage, a scan
 *	with half.
 *
 *	Several scans, together: with nine tenths of what the others' usage leaves of B, each of
 *	these counted with its room or min_bytes, if that is more than they count with otherwise.
 *
 * Return: 0, -EINVAL for values out of bounds, or -ENOMEM; then results are not to be used.
 */
MUST_USE int control_plan(struct control_group *group, struct control_slot *const *slots, size_t n,
			  uint64_t now_ns);

/* The entitlement is another one: protection follows at once, and a tax begins anew; but a change
 * of less than a sixteenth leaves a slot that is taxed or in need to the next tick. A scan is one
 * until its share grows by half. */
void control_reshare(struct control_slot *slot, uint64_t share_bytes);

/* Is the slot to be read in full? One that is idle is so every four seconds, and as soon as it has
 * used the processor: @cpu_us is its counter of that. */
bool control_is_due(const struct control_track *track, uint64_t now_ns, uint64_t cpu_us);

/**
 * control_early_ns() - when to look at the group before its time
 * @now_ns:  its memory has just run out: somebody was charged beyond its memory.max
 * @next_ns: when control_plan() is due anyway
 *
 * While all was calm this may be a slot that begins to need more, and until it is looked at the
 * kernel makes room for it where it likes: the slot's own pages first, as those of who has more
 * look new to it.
 *
 * Return: when control_plan() is to be called besides, or 0: @next_ns is soon enough.
 */
uint64_t control_early_ns(struct control_group *group, uint64_t now_ns, uint64_t next_ns);

/* First part of control_plan(), for tests: classifies one slot by its sample. */
void control_observe(struct control_slot *slot, uint64_t now_ns);

/* It was a scan, and has a turnover to show that it is none any more. Until then it is protected
 * at a little only, and what it asks for is no reason to tax others. */
bool control_is_retested(const struct control_slot *slot);

/* What was seen of it that looks like a scan is forgotten. */
void control_acquit(struct control_slot *slot);

/* Least protection that the law may leave to the slot. */
uint64_t control_least_bytes(const struct control_group *group, const struct control_slot *slot);

/* Within its share it grows fast: what it lent is given back before it shows a need. */
bool control_is_filling(const struct control_slot *slot);

/* A scan that uses so much more than it is protected at still has what others may take, and while
 * it has, nobody else is taxed. What is taken from it in a tick it only reads. */
uint64_t control_hold_bytes(const struct control_group *group, const struct control_slot *slot);

/* "evidence", "quiet", … */
const char *control_class_name(enum control_class class);

/* One number of the decision. */
struct control_term {
	const char *name; /* static, as in the interface: "turnoverBytes", … */
	uint64_t value;   /* bytes, permille or milliseconds, as the name ends */
	const char *text; /* static: what it is, in a few words */
};
#define CONTROL_TERMS 33
/* All terms of the last decision, those of the plan and of the group left out (policy/explain.h).
 * Returns their number. */
size_t control_terms(const struct control_group *group, const struct control_slot *slot,
		     uint64_t now_ns, struct control_term terms[static CONTROL_TERMS]);

#define CONTROL_REASON_MAX 320
/* Why the slot has its class and its protection, in one or two sentences with today's numbers.
 * Returns @buf. */
const char *control_explain(const struct control_group *group, const struct control_slot *slot,
			    char buf[static CONTROL_REASON_MAX]);
