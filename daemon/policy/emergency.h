/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What to do when the memory of a group of slots (a node's, or that of the slots without one) is
 * about to run out. Pure: the caller samples, calls emergency_step(), does the one thing it says
 * and calls again until it says EMERGENCY_NOTHING. One machine for each group.
 *
 *	do {
 *		fill in `in` (it may be the same sample again, without the "grew" flags);
 *		a = emergency_step(&e, &in);
 *		do what a.verb says;
 *	} while (a.verb != EMERGENCY_NOTHING);
 *	step again at a.wake_ns if it is not 0, else with the next regular sample;
 *
 * The ladder, its conditions and the reason of each bound are in emergency.c.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "model.h"

#define EMERGENCY_FREEZE_MAX_NS UINT64_C(2000000000) /* no slot is ever frozen for longer */
#define EMERGENCY_FREEZE_NS UINT64_C(1500000000)     /* asked for; the rest is for being late */
#define EMERGENCY_KILL_DELAY_NS UINT64_C(15000000000)
#define EMERGENCY_CHUNK_BYTES (UINT64_C(32) << 20)

/* What the machine notes on a slot; kept by the caller with the slot, zero for a new one. The
 * caller clears is_frozen or is_unprotected when the kernel did not take the write. */
struct emergency_mark {
	bool is_frozen;
	bool is_unprotected;   /* its memory.low is to be 0, whatever else is planned */
	uint64_t thaw_ns;      /* while frozen */
	uint64_t dry_until_ns; /* nothing could be reclaimed: not tried again before */
};

struct emergency_slot {
	const char *name; /* unique; breaks ties */
	uint32_t tier, weight;
	uint64_t usage_bytes, swap_bytes; /* memory.current, memory.swap.current */
	uint64_t share_bytes, guarantee_bytes;
	uint64_t file_bytes;        /* page cache that can be dropped */
	uint64_t reclaimable_bytes; /* of usage: the page cache, and anon as far as swap takes it */
	int64_t growth;             /* of anon and swap, bytes per second */
	uint64_t leak_rate;         /* while is_leaking, unhindered */
	uint64_t leak_age_ns;
	bool is_running; /* has processes, and is not being removed */
	bool is_idle;    /* no processor time worth mention */
	bool is_leaking;
	struct emergency_mark *mark;
};

struct emergency_input {
	uint64_t now_ns;
	bool is_unreadable;     /* the group could not be read: thaw what is due, nothing else */
	uint64_t usage_bytes;   /* of the group */
	uint64_t max_bytes;     /* memory.max of the group, what was lent included */
	uint64_t reserve_bytes; /* may be lent to it for a while; 0: nothing */
	uint64_t swap_free_bytes;
	uint64_t available_bytes; /* free and quickly freed memory of the node(s) */
	uint64_t total_bytes;   /* memory of the node(s); 0: unknown, available_bytes is ignored */
	uint32_t full_permille; /* PSI "full" of the group over the last second or so */
	/* memory.events of the group since the last step */
	bool has_hit_max;     /* max grew */
	bool has_oom;         /* oom grew */
	bool has_kernel_kill; /* oom_kill grew */
	/* the reclaim last begun has ended since the last step */
	bool has_reclaim_ended;
	uint64_t reclaimed_bytes; /* by how much the slot's usage fell meanwhile */
	struct emergency_slot *slots;
	size_t n_slots;
};

enum emergency_verb {
	EMERGENCY_NOTHING,
	EMERGENCY_BEGIN,        /* tell: there is an emergency; .cause says why */
	EMERGENCY_LEND_RESERVE, /* raise the group's memory.max by .bytes */
	EMERGENCY_UNPROTECT,    /* memory.low of .slot to 0, at once */
	EMERGENCY_RECLAIM,      /* begin to write .bytes to memory.reclaim of .slot, off the loop */
	EMERGENCY_FREEZE,       /* cgroup.freeze of .slot to 1; thaw it at .thaw_ns at the latest */
	EMERGENCY_THAW,         /* cgroup.freeze of .slot to 0 */
	EMERGENCY_KILL,         /* cgroup.kill of .slot */
	EMERGENCY_PROTECT,      /* memory.low of .slot is the plan's again */
	EMERGENCY_RETURN_RESERVE, /* bring the group's memory.max down by .bytes, without a kill */
	EMERGENCY_END,            /* tell: it is over */
};

enum emergency_cause {
	EMERGENCY_NO_CAUSE,
	EMERGENCY_RUNNING_OUT, /* at this growth what is left is used up in seconds */
	EMERGENCY_AT_LIMIT,    /* next to nothing is left, and the limit is hit */
	EMERGENCY_THRASHING,   /* a leak makes everyone stall */
	EMERGENCY_OOM,         /* the kernel has run out of memory in the group */
	EMERGENCY_HOST,        /* the node itself is short, whoever took it */
};

struct emergency_action {
	enum emergency_verb verb;
	size_t slot; /* index into in->slots */
	uint64_t bytes;
	uint64_t thaw_ns;
	uint64_t wake_ns; /* of EMERGENCY_NOTHING; 0: no need before the next regular sample */
};

/* Zero-initialised is calm. */
struct emergency {
	bool is_on;
	enum emergency_cause cause;
	uint64_t began_ns;
	/* what was done in this emergency */
	uint64_t lent_bytes;
	uint64_t reclaimed_bytes;
	uint32_t n_unprotected, n_freezes, n_kills;
	/* as of the last step */
	uint64_t left_bytes; /* the group can still grow by that much */
	uint64_t growth;     /* of all slots together, bytes per second, shrinking ones left out */
	uint64_t left_ns;    /* until then at that growth; UINT64_MAX: does not grow */
	/* the rest is its own */
	uint64_t near_bytes;
	uint64_t pressed_since_ns, calm_since_ns, wall_since_ns, imminent_since_ns,
		thrash_since_ns; /* 0: not now */
	uint64_t hit_ns, next_ns, kill_ns, freeze_ns;
	bool has_hit, has_killed, has_frozen, is_reclaiming;
	char reclaimed_slot[SLOT_NAME_MAX + 1];
	uint64_t chunk_bytes;
};

struct emergency_action emergency_step(struct emergency *e, const struct emergency_input *in);

/* More than its share, and not what reclaim could get: a leaker with all it has taken, others with
 * what they hold for good. Such a slot, and only such a slot, may be frozen or killed, and not while
 * its usage is at or below its guarantee. *@ret_bytes: above its share. */
bool emergency_is_over(const struct emergency_slot *slot, uint64_t *ret_bytes);

#define EMERGENCY_WORDS_MAX 600
/**
 * emergency_words() - one line for people: what is done, why to this slot, what was done before
 *                     and what would prevent it
 * @group:   "node 0"
 * @is_only_log: it is not done, only told
 *
 * Call it after emergency_step() has returned @action. Returns @buf; empty for EMERGENCY_NOTHING.
 */
const char *emergency_words(const struct emergency *e, const struct emergency_input *in,
			    const struct emergency_action *action, const char *group,
			    bool is_only_log, char buf[static EMERGENCY_WORDS_MAX]);

/* For listings: what is going on now, "" when calm. Returns @buf. */
const char *emergency_summary(const struct emergency *e, uint64_t now_ns, char *buf, size_t size);
