/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Shares are kept by memory.low, and that the group is at its memory.max, that memory.events "max"
 * counts and that tasks stall is a normal day when all are hungry. None of it is an emergency as
 * long as the kernel finds something to take. So what counts is what is *left*: free room below the
 * group's limit, page cache above guarantees, and free swap. When that is used up, the kernel
 * kills, and it takes the largest, not the guilty.
 *
 * It begins when
 *  - less than a tenth of the group is left and goes within 10 s (or less than a quarter within
 *    2 s: a fast one needs the warning earlier), or
 *  - next to nothing is left and the limit is hit, or
 *  - a leaking slot makes everyone stall 40 % of the time, or
 *  - the kernel had an OOM in the group, or the node itself has less than 1 % available,
 * for a second (less when it would be too late). Then, one thing at a time:
 *
 * 1 Lend the reserve, if the node has twice that available. It costs the slots nothing.
 * 2 Take protection away from leaking slots, idle ones, and, if nobody leaks, lower tiers, down to
 *   their guarantee, and reclaim from them until 5 % of the group is free.
 * 3 Freeze the worst leaker of the lowest tier that has one, for 1.5 s, at most every 15 s. What it
 *   holds can be reclaimed meanwhile, and what is reported stays true for the next decision.
 * 4 Kill by tier, then leakers, then what it holds above its share by weight. Only when the kernel
 *   is at the wall: at this growth the rest goes within 3 s, for 1 s on end; or nothing is left, the
 *   limit is hit and everyone stalls 20 % of the time, for 5 s; or a leaker has everyone stall
 *   60 % of the time for 10 s (systemd-oomd kills anybody at 60 %, after 30 s). Then nothing for 15 s
 *   (oomd and systemd-oomd wait as long): memory of many GiB takes seconds to be freed.
 *
 * Never a slot at or below its guarantee, never one that is not above its share. If nobody is, there
 * is nobody to blame and the kernel decides. A leak that fills the rest in less than a second is
 * faster than this machine, too.
 *
 * It ends when for 10 s nothing of it holds even with twice the room; then protection comes back,
 * and after 10 s more the reserve is taken back.
 */

#include "policy/emergency.h"

#include <stdio.h>
#include <string.h>

#include "base/parse.h"

#define MIB (UINT64_C(1) << 20)
#define MS UINT64_C(1000000)
#define NS_PER_S (1000 * MS)

#define PERIOD_NS (250 * MS) /* between steps while it matters */
#define HIT_NS (2000 * MS)   /* "max" counted in the last 2 s: the limit is being hit */
#define BEGIN_NS (1000 * MS)
#define CALM_NS (10000 * MS)
#define RETURN_NS (20000 * MS)
#define STEP_NS (500 * MS) /* after each thing done, to see what it did */
#define DRY_NS (5000 * MS)
#define REFREEZE_NS (15000 * MS)

#define OUT_NS (10000 * MS)
#define OUT_FAST_NS (2000 * MS)
#define IMMINENT_NS (3000 * MS)
#define IMMINENT_FOR_NS (1000 * MS)
#define WALL_FOR_NS (5000 * MS)
#define WALL_PERMILLE 200
#define THRASH_BEGIN_PERMILLE 400
#define THRASH_END_PERMILLE 200
#define THRASH_PERMILLE 600
#define THRASH_FREEZE_FOR_NS (5000 * MS)
#define THRASH_FOR_NS (10000 * MS)

/* "Next to nothing": 2 %, what the reserve is by default; at least 16 MiB, half a reclaim chunk; at
 * least 1.5 s of growth, so that there is time to act; at most an eighth, for small groups. */
#define NEAR_PART 50
#define NEAR_LEAST (16 * MIB)
#define NEAR_MOST_PART 8
#define HOST_PART 100
#define HOST_LEAST (16 * MIB)
#define FREE_PART 20 /* reclaim until this part of the group is free */
/* The kernel charges in batches of 64 pages a CPU, so usage may be a little above a share that is
 * held to the page. */
#define SLACK_PART 50
#define SLACK_LEAST (4 * MIB)
#define TAKE_LEAST MIB
/* From who does not leak only what helps: of a thousand idle slots most are left in peace. */
#define TAKE_PART 200

static const struct emergency_action nothing = { .verb = EMERGENCY_NOTHING };

static bool lasts(uint64_t since_ns, uint64_t now_ns, uint64_t for_ns)
{
	return since_ns != 0 && now_ns - since_ns >= for_ns;
}

static void note_since(uint64_t *since_ns, bool holds, uint64_t now_ns)
{
	if (!holds)
		*since_ns = 0;
	else if (*since_ns == 0)
		*since_ns = now_ns;
}

bool emergency_is_over(const struct emergency_slot *slot, uint64_t *ret_bytes)
{
	uint64_t slack = MAX(slot->share_bytes / SLACK_PART, SLACK_LEAST);
	uint64_t takes = slot->usage_bytes + slot->swap_bytes;
	uint64_t holds = slot->usage_bytes - MIN(slot->reclaimable_bytes, slot->usage_bytes);

	*ret_bytes = takes > slot->share_bytes ? takes - slot->share_bytes : 0;
	if (slot->usage_bytes <= slot->guarantee_bytes)
		return false;
	return (slot->is_leaking ? takes : holds) > slot->share_bytes + slack;
}

static bool may_suffer(const struct emergency_slot *slot)
{
	uint64_t over;

	return slot->is_running && emergency_is_over(slot, &over);
}

static bool has_guilty_leaker(const struct emergency_input *in)
{
	for (size_t i = 0; i < in->n_slots; i++)
		if (in->slots[i].is_leaking && may_suffer(&in->slots[i]))
			return true;
	return false;
}

/* ---- what is left */

static uint64_t above_guarantee(const struct emergency_slot *slot)
{
	return slot->usage_bytes > slot->guarantee_bytes ? slot->usage_bytes - slot->guarantee_bytes
							 : 0;
}

static void measure(struct emergency *e, const struct emergency_input *in)
{
	uint64_t growth = 0, near;

	e->left_bytes = in->max_bytes > in->usage_bytes ? in->max_bytes - in->usage_bytes : 0;
	e->left_bytes += in->swap_free_bytes;
	for (size_t i = 0; i < in->n_slots; i++) {
		const struct emergency_slot *slot = &in->slots[i];

		e->left_bytes += MIN(slot->file_bytes, above_guarantee(slot));
		/* a frozen slot will go on as it did */
		if (slot->mark->is_frozen)
			growth += slot->leak_rate;
		else if (slot->growth > 0)
			growth += (uint64_t)slot->growth;
	}
	e->growth = growth;
	e->left_ns =
		growth > 0 ? (uint64_t)((double)e->left_bytes / (double)growth * 1e9) : UINT64_MAX;
	near = MAX(in->max_bytes / NEAR_PART, NEAR_LEAST);
	near = MAX(near, growth + growth / 2);
	e->near_bytes = MIN(near, in->max_bytes / NEAR_MOST_PART);
	if (in->has_hit_max || in->has_oom) {
		e->has_hit = true;
		e->hit_ns = in->now_ns;
	}
	if (e->has_hit && in->now_ns - e->hit_ns > HIT_NS)
		e->has_hit = false;
}

static bool runs_out(const struct emergency *e, const struct emergency_input *in, uint64_t times)
{
	uint64_t lent = MIN(e->lent_bytes, e->left_bytes), left = e->left_bytes;
	uint64_t left_ns = e->left_ns;

	if (times > 1) { /* would it be without what was lent? */
		left -= lent;
		left_ns = e->growth > 0 ? (uint64_t)((double)left / (double)e->growth * 1e9)
					: UINT64_MAX;
	}
	return (left < in->max_bytes / 10 * times && left_ns < OUT_NS * times) ||
	       (left < in->max_bytes / 4 && left_ns < OUT_FAST_NS * times);
}

static bool is_host_short(const struct emergency_input *in, uint64_t times)
{
	return in->total_bytes > 0 &&
	       in->available_bytes < (in->total_bytes / HOST_PART + HOST_LEAST) * times;
}

/* Why there is an emergency, by what this step sees. */
static enum emergency_cause find_cause(const struct emergency *e, const struct emergency_input *in)
{
	if (in->has_oom)
		return EMERGENCY_OOM;
	if (e->left_bytes < e->near_bytes && e->has_hit)
		return EMERGENCY_AT_LIMIT;
	if (runs_out(e, in, 1))
		return EMERGENCY_RUNNING_OUT;
	if (in->full_permille >= THRASH_BEGIN_PERMILLE && e->has_hit && has_guilty_leaker(in))
		return EMERGENCY_THRASHING;
	if (is_host_short(in, 1))
		return EMERGENCY_HOST;
	return EMERGENCY_NO_CAUSE;
}

/* Nothing of it holds, with twice the room and without the reserve that was lent. */
static bool is_calm(const struct emergency *e, const struct emergency_input *in)
{
	uint64_t left = e->left_bytes - MIN(e->lent_bytes, e->left_bytes);

	return !in->has_oom && !(left < 2 * e->near_bytes && e->has_hit) && !runs_out(e, in, 2) &&
	       !(in->full_permille >= THRASH_END_PERMILLE && has_guilty_leaker(in)) &&
	       !is_host_short(in, 2);
}

static void observe(struct emergency *e, const struct emergency_input *in)
{
	enum emergency_cause cause;
	bool is_near, is_imminent;

	measure(e, in);
	cause = find_cause(e, in);
	is_near = e->left_bytes <= e->near_bytes;
	is_imminent = is_near && e->left_ns < IMMINENT_NS;
	note_since(&e->pressed_since_ns, cause != EMERGENCY_NO_CAUSE, in->now_ns);
	note_since(&e->calm_since_ns, is_calm(e, in), in->now_ns);
	note_since(&e->imminent_since_ns, is_imminent, in->now_ns);
	note_since(&e->wall_since_ns, is_near && e->has_hit && in->full_permille >= WALL_PERMILLE,
		   in->now_ns);
	note_since(&e->thrash_since_ns, in->full_permille >= THRASH_PERMILLE && e->has_hit,
		   in->now_ns);
	if (cause != EMERGENCY_NO_CAUSE)
		e->cause = cause;
	if (in->has_kernel_kill) { /* somebody has died just now: that has to be waited for */
		e->has_killed = true;
		e->kill_ns = in->now_ns;
	}
}

static struct emergency_slot *find_slot(const struct emergency_input *in, const char *name)
{
	for (size_t i = 0; i < in->n_slots; i++)
		if (strcmp(in->slots[i].name, name) == 0)
			return &in->slots[i];
	return NULL;
}

static void reclaim_ended(struct emergency *e, const struct emergency_input *in)
{
	struct emergency_slot *slot = find_slot(in, e->reclaimed_slot);

	e->is_reclaiming = false;
	e->reclaimed_bytes += in->reclaimed_bytes;
	if (slot && in->reclaimed_bytes < e->chunk_bytes / 4)
		slot->mark->dry_until_ns = in->now_ns + DRY_NS;
}

/* ---- what to do */

static struct emergency_action act(struct emergency *e, const struct emergency_input *in,
				   enum emergency_verb verb, size_t slot, uint64_t delay_ns)
{
	e->next_ns = in->now_ns + delay_ns;
	return (struct emergency_action){ .verb = verb, .slot = slot };
}

/* Thaws that are due come before everything and are never put off. */
static bool thaw_due(const struct emergency_input *in, struct emergency_action *ret)
{
	for (size_t i = 0; i < in->n_slots; i++) {
		struct emergency_mark *mark = in->slots[i].mark;

		if (!mark->is_frozen || in->now_ns < mark->thaw_ns)
			continue;
		mark->is_frozen = false;
		*ret = (struct emergency_action){ .verb = EMERGENCY_THAW, .slot = i };
		return true;
	}
	return false;
}

static bool lend(struct emergency *e, const struct emergency_input *in,
		 struct emergency_action *ret)
{
	uint64_t host = in->total_bytes / HOST_PART + HOST_LEAST;

	if (e->lent_bytes > 0 || in->reserve_bytes == 0 || e->cause == EMERGENCY_HOST)
		return false;
	if (in->total_bytes > 0 && in->available_bytes < host + 2 * in->reserve_bytes)
		return false;
	e->lent_bytes = in->reserve_bytes;
	*ret = act(e, in, EMERGENCY_LEND_RESERVE, 0, MIN(STEP_NS, e->left_ns / 8));
	ret->bytes = in->reserve_bytes;
	return true;
}

/* Whom to take from first: 3 leaking, 2 idle, 1 lower tier, 0 not at all. */
static int take_rank(const struct emergency_slot *slot, bool has_leaker, uint32_t top_tier)
{
	if (slot->is_leaking && may_suffer(slot))
		return 3;
	if (slot->is_idle || !slot->is_running)
		return 2;
	return !has_leaker && slot->tier > top_tier ? 1 : 0;
}

static bool take_before(const struct emergency_slot *a, int rank_a, const struct emergency_slot *b,
			int rank_b)
{
	if (rank_a != rank_b)
		return rank_a > rank_b;
	if (a->tier != b->tier)
		return a->tier > b->tier;
	if (above_guarantee(a) != above_guarantee(b))
		return above_guarantee(a) > above_guarantee(b);
	return strcmp(a->name, b->name) < 0;
}

static uint64_t take_bytes(const struct emergency_slot *slot)
{
	uint64_t bytes = MIN(above_guarantee(slot), slot->reclaimable_bytes);

	return MIN(bytes, EMERGENCY_CHUNK_BYTES) & ~UINT64_C(4095);
}

/* Protection goes first, from all of them at once; then chunks, one after the other. */
static bool take(struct emergency *e, const struct emergency_input *in,
		 struct emergency_action *ret)
{
	uint64_t room = in->max_bytes > in->usage_bytes ? in->max_bytes - in->usage_bytes : 0;
	bool has_leaker = has_guilty_leaker(in), may_reclaim = room < in->max_bytes / FREE_PART;
	size_t best = SIZE_MAX;
	uint32_t top_tier = TIERS;
	int best_rank = 0;

	for (size_t i = 0; i < in->n_slots; i++)
		if (in->slots[i].is_running && !in->slots[i].is_idle)
			top_tier = MIN(top_tier, in->slots[i].tier);
	for (size_t i = 0; i < in->n_slots; i++) {
		const struct emergency_slot *slot = &in->slots[i];
		int rank = take_rank(slot, has_leaker, top_tier);
		uint64_t least =
			rank == 3 ? TAKE_LEAST : MAX(TAKE_LEAST, in->max_bytes / TAKE_PART);

		if (rank == 0 && slot->mark->is_unprotected) { /* it woke up, or was no leak */
			slot->mark->is_unprotected = false;
			*ret = act(e, in, EMERGENCY_PROTECT, i, 0);
			return true;
		}
		if (rank == 0 || above_guarantee(slot) < least)
			continue;
		if (!slot->mark->is_unprotected) {
			slot->mark->is_unprotected = true;
			e->n_unprotected++;
			*ret = act(e, in, EMERGENCY_UNPROTECT, i, 0);
			return true;
		}
		if (!may_reclaim || e->is_reclaiming || in->now_ns < slot->mark->dry_until_ns ||
		    take_bytes(slot) < TAKE_LEAST)
			continue;
		if (best == SIZE_MAX || take_before(slot, rank, &in->slots[best], best_rank)) {
			best = i;
			best_rank = rank;
		}
	}
	if (best == SIZE_MAX)
		return false;
	e->is_reclaiming = true;
	e->chunk_bytes = take_bytes(&in->slots[best]);
	(void)snprintf(e->reclaimed_slot, sizeof(e->reclaimed_slot), "%s", in->slots[best].name);
	*ret = act(e, in, EMERGENCY_RECLAIM, best, MIN(STEP_NS, e->left_ns / 8));
	ret->bytes = e->chunk_bytes;
	return true;
}

static bool freeze(struct emergency *e, const struct emergency_input *in,
		   struct emergency_action *ret)
{
	const struct emergency_slot *worst = NULL;
	bool is_urgent =
		e->left_bytes <= 2 * e->near_bytes && (e->left_ns < 2 * IMMINENT_NS || e->has_hit);

	is_urgent |= lasts(e->thrash_since_ns, in->now_ns, THRASH_FREEZE_FOR_NS);
	if (!is_urgent || (e->has_frozen && in->now_ns - e->freeze_ns < REFREEZE_NS))
		return false;
	for (size_t i = 0; i < in->n_slots; i++) {
		const struct emergency_slot *slot = &in->slots[i];

		if (slot->mark->is_frozen || !slot->is_leaking || !may_suffer(slot))
			continue;
		if (worst && (slot->tier < worst->tier ||
			      (slot->tier == worst->tier && slot->leak_rate <= worst->leak_rate)))
			continue;
		worst = slot;
	}
	if (!worst)
		return false;
	e->has_frozen = true;
	e->freeze_ns = in->now_ns;
	e->n_freezes++;
	worst->mark->is_frozen = true;
	worst->mark->thaw_ns = in->now_ns + EMERGENCY_FREEZE_NS;
	*ret = act(e, in, EMERGENCY_FREEZE, (size_t)(worst - in->slots), EMERGENCY_FREEZE_NS);
	ret->thaw_ns = worst->mark->thaw_ns;
	return true;
}

static bool kill_before(const struct emergency_slot *a, const struct emergency_slot *b)
{
	uint64_t over_a, over_b;
	double weighed_a, weighed_b;

	if (a->tier != b->tier)
		return a->tier > b->tier;
	if (a->is_leaking != b->is_leaking)
		return a->is_leaking;
	(void)emergency_is_over(a, &over_a);
	(void)emergency_is_over(b, &over_b);
	weighed_a = (double)over_a / MAX(a->weight, 1u);
	weighed_b = (double)over_b / MAX(b->weight, 1u);
	if (weighed_a < weighed_b || weighed_a > weighed_b)
		return weighed_a > weighed_b;
	return strcmp(a->name, b->name) < 0;
}

static bool kill(struct emergency *e, const struct emergency_input *in,
		 struct emergency_action *ret)
{
	bool is_wall = lasts(e->imminent_since_ns, in->now_ns, IMMINENT_FOR_NS) ||
		       lasts(e->wall_since_ns, in->now_ns, WALL_FOR_NS);
	bool is_thrash = lasts(e->thrash_since_ns, in->now_ns, THRASH_FOR_NS);
	const struct emergency_slot *victim = NULL;

	if (!is_wall && !is_thrash)
		return false;
	if (e->has_killed && in->now_ns - e->kill_ns < EMERGENCY_KILL_DELAY_NS)
		return false;
	for (size_t i = 0; i < in->n_slots; i++) {
		const struct emergency_slot *slot = &in->slots[i];

		if (!may_suffer(slot) || (!is_wall && !slot->is_leaking))
			continue;
		if (!victim || kill_before(slot, victim))
			victim = slot;
	}
	if (!victim)
		return false;
	e->has_killed = true;
	e->kill_ns = in->now_ns;
	e->n_kills++;
	*ret = act(e, in, EMERGENCY_KILL, (size_t)(victim - in->slots), STEP_NS);
	return true;
}

/* Undoes one thing; the last is to say that it is over. */
static struct emergency_action undo(struct emergency *e, const struct emergency_input *in)
{
	struct emergency_action a;

	for (size_t i = 0; i < in->n_slots; i++) {
		if (!in->slots[i].mark->is_unprotected)
			continue;
		in->slots[i].mark->is_unprotected = false;
		return act(e, in, EMERGENCY_PROTECT, i, 0);
	}
	if (e->lent_bytes > 0) {
		if (!lasts(e->calm_since_ns, in->now_ns, RETURN_NS))
			return nothing;
		a = act(e, in, EMERGENCY_RETURN_RESERVE, 0, 0);
		a.bytes = e->lent_bytes;
		e->lent_bytes = 0;
		return a;
	}
	e->is_on = false;
	return act(e, in, EMERGENCY_END, 0, 0);
}

static bool begin(struct emergency *e, const struct emergency_input *in,
		  struct emergency_action *ret)
{
	uint64_t for_ns = MIN(BEGIN_NS, e->left_ns / 4);

	if (!in->has_oom && !lasts(e->pressed_since_ns, in->now_ns, MAX(for_ns, 1u)))
		return false;
	e->is_on = true;
	e->began_ns = in->now_ns;
	e->reclaimed_bytes = 0;
	e->n_unprotected = e->n_freezes = e->n_kills = 0;
	*ret = act(e, in, EMERGENCY_BEGIN, 0, 0);
	return true;
}

/* When to look again: often while it is on, or may be soon. */
static uint64_t next_look(const struct emergency *e, const struct emergency_input *in)
{
	uint64_t wake_ns = in->now_ns + PERIOD_NS;

	for (size_t i = 0; i < in->n_slots; i++)
		if (in->slots[i].mark->is_frozen)
			wake_ns = MIN(wake_ns, in->slots[i].mark->thaw_ns);
	if (e->is_on || e->pressed_since_ns != 0 ||
	    (e->left_bytes < in->max_bytes / 3 && e->left_ns < 2 * OUT_NS))
		return wake_ns;
	return wake_ns < in->now_ns + PERIOD_NS ? wake_ns : 0;
}

struct emergency_action emergency_step(struct emergency *e, const struct emergency_input *in)
{
	struct emergency_action a = nothing;

	if (in->has_reclaim_ended && e->is_reclaiming)
		reclaim_ended(e, in);
	if (thaw_due(in, &a) || in->is_unreadable)
		return a;
	if (in->max_bytes == BYTES_UNLIMITED || in->max_bytes == 0) {
		*e = (struct emergency){ .is_reclaiming = e->is_reclaiming };
		return nothing; /* a group without slots has no limit */
	}
	observe(e, in);
	if (!e->is_on) {
		if (!begin(e, in, &a))
			a.wake_ns = next_look(e, in);
		return a;
	}
	if (lasts(e->calm_since_ns, in->now_ns, CALM_NS)) {
		a = undo(e, in);
	} else if (e->pressed_since_ns != 0 && in->now_ns >= e->next_ns) {
		if (lend(e, in, &a) || take(e, in, &a) || freeze(e, in, &a) || kill(e, in, &a))
			return a;
	}
	if (a.verb == EMERGENCY_NOTHING)
		a.wake_ns = next_look(e, in);
	return a;
}
