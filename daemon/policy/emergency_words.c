/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What an administrator reads at three in the morning: what was done, why to this slot and no
 * other, what was tried before, and what to change so that it does not happen again.
 */

#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "policy/emergency.h"
#include "policy/text.h"

#define NS_PER_S UINT64_C(1000000000)

static void add_seconds(struct text *t, uint64_t ns)
{
	text_add(t, "%llu.%llus", (unsigned long long)(ns / NS_PER_S),
		 (unsigned long long)(ns % NS_PER_S / (NS_PER_S / 10)));
}

/* "398M of 400M are in use, 12M are left and last 1.5s" */
static void add_situation(struct text *t, const struct emergency *e,
			  const struct emergency_input *in)
{
	char usage[FORMAT_BYTES_MAX], max[FORMAT_BYTES_MAX], left[FORMAT_BYTES_MAX];

	text_add(t, "%s of %s are in use, %s are left with swap and page cache",
		 format_bytes(in->usage_bytes, usage), format_bytes(in->max_bytes, max),
		 format_bytes(e->left_bytes, left));
	if (e->left_ns < 3600 * NS_PER_S) {
		text_add(t, " for ");
		add_seconds(t, e->left_ns);
	}
	if (in->full_permille >= 100)
		text_add(t, ", all stall %u%% of the time", in->full_permille / 10);
}

static void add_cause(struct text *t, const struct emergency *e, const struct emergency_input *in)
{
	switch (e->cause) {
	case EMERGENCY_NO_CAUSE:
		return;
	case EMERGENCY_RUNNING_OUT:
		text_add(t, "memory runs out: ");
		break;
	case EMERGENCY_AT_LIMIT:
		text_add(t, "memory is used up: ");
		break;
	case EMERGENCY_THRASHING:
		text_add(t, "a leak holds everyone up: ");
		break;
	case EMERGENCY_OOM:
		text_add(t, "the kernel ran out of memory: ");
		break;
	case EMERGENCY_HOST: {
		char available[FORMAT_BYTES_MAX];

		text_add(t, "the node has only %s available for all its programs: ",
			 format_bytes(in->available_bytes, available));
		break;
	}
	}
	add_situation(t, e, in);
}

/* "it leaks 8M a second for 45 s and has 250M, 117M above its share" */
static void add_guilt(struct text *t, const struct emergency_slot *slot)
{
	char has[FORMAT_BYTES_MAX], over[FORMAT_BYTES_MAX], rate[FORMAT_BYTES_MAX];
	uint64_t over_bytes;

	(void)emergency_is_over(slot, &over_bytes);
	if (slot->is_leaking)
		text_add(t, "it has grown %s a second for %llu s without using it again, ",
			 format_bytes(slot->leak_rate, rate),
			 (unsigned long long)(slot->leak_age_ns / NS_PER_S));
	text_add(t, "%s %s with swap, %s above its share", slot->is_leaking ? "has" : "it has",
		 format_bytes(slot->usage_bytes + slot->swap_bytes, has),
		 format_bytes(over_bytes, over));
}

static void add_rank(struct text *t, const struct emergency_input *in, size_t victim)
{
	const struct emergency_slot *slot = &in->slots[victim];
	bool has_lower = false, has_other = false;

	for (size_t i = 0; i < in->n_slots; i++) {
		uint64_t over;

		if (i == victim || !in->slots[i].is_running ||
		    !emergency_is_over(&in->slots[i], &over))
			continue;
		has_other = true;
		has_lower |= in->slots[i].tier < slot->tier;
	}
	if (!has_other)
		text_add(t, "no other slot is above its share");
	else if (has_lower)
		text_add(t, "its tier %u is the lowest above its share", slot->tier);
	else
		text_add(t, "of tier %u it is the %s", slot->tier,
			 slot->is_leaking ? "worst leak" : "furthest above its share by weight");
}

/* @n_freezes: without the one that is told of */
static void add_tried(struct text *t, const struct emergency *e, uint32_t n_freezes)
{
	char bytes[FORMAT_BYTES_MAX];
	size_t before = t->len;

	text_add(t, "; before: ");
	if (e->lent_bytes > 0)
		text_add(t, "%s of reserve lent, ", format_bytes(e->lent_bytes, bytes));
	if (e->n_unprotected > 0)
		text_add(t, "protection taken from %u slot%s, ", e->n_unprotected,
			 e->n_unprotected == 1 ? "" : "s");
	if (e->reclaimed_bytes > 0)
		text_add(t, "%s reclaimed, ", format_bytes(e->reclaimed_bytes, bytes));
	if (n_freezes > 0)
		text_add(t, "%u freeze%s, ", n_freezes, n_freezes == 1 ? "" : "s");
	if (t->len == before + strlen("; before: "))
		text_add(t, "nothing could be had without it");
	else
		t->len -= 2;
	t->buf[t->len] = '\0';
}

static void add_remedy(struct text *t, const struct emergency_slot *slot)
{
	if (slot->is_leaking)
		text_add(t, "; find the leak, or give %s a max so that only it suffers",
			 slot->name);
	else
		text_add(t,
			 "; give %s more weight or min, the node a larger budget or swap, or run "
			 "less on it",
			 slot->name);
}

static const char *verb_words(enum emergency_verb verb, bool is_only_log)
{
	switch (verb) {
	case EMERGENCY_UNPROTECT:
		return is_only_log ? "would lose its protection for now"
				   : "loses its protection for now";
	case EMERGENCY_RECLAIM:
		return is_only_log ? "would give back memory" : "gives back memory";
	case EMERGENCY_FREEZE:
		return is_only_log ? "would be frozen" : "is frozen for 1.5 s";
	case EMERGENCY_KILL:
		return is_only_log ? "would be killed" : "is killed";
	case EMERGENCY_THAW:
		return "is thawed";
	case EMERGENCY_PROTECT:
		return "is protected again";
	default:
		return "";
	}
}

const char *emergency_words(const struct emergency *e, const struct emergency_input *in,
			    const struct emergency_action *action, const char *group,
			    bool is_only_log, char buf[static EMERGENCY_WORDS_MAX])
{
	const struct emergency_slot *slot = in->n_slots > 0 ? &in->slots[action->slot] : NULL;
	struct text t = { buf, EMERGENCY_WORDS_MAX, 0 };
	char bytes[FORMAT_BYTES_MAX];

	buf[0] = '\0';
	switch (action->verb) {
	case EMERGENCY_NOTHING:
		break;
	case EMERGENCY_BEGIN:
		text_add(&t, "emergency on %s: ", group);
		add_cause(&t, e, in);
		break;
	case EMERGENCY_END:
		text_add(&t, "the emergency on %s is over after ", group);
		add_seconds(&t, in->now_ns - e->began_ns);
		text_add(&t, ": %u frozen, %u killed", e->n_freezes, e->n_kills);
		break;
	case EMERGENCY_LEND_RESERVE:
		text_add(&t, "%s%s of reserve to the slots of %s: ",
			 is_only_log ? "would lend " : "lent ", format_bytes(action->bytes, bytes),
			 group);
		add_situation(&t, e, in);
		break;
	case EMERGENCY_RETURN_RESERVE:
		text_add(&t, "the slots of %s give %s of reserve back", group,
			 format_bytes(action->bytes, bytes));
		break;
	case EMERGENCY_THAW:
	case EMERGENCY_PROTECT:
		text_add(&t, "slot %s %s", slot->name, verb_words(action->verb, is_only_log));
		break;
	case EMERGENCY_UNPROTECT:
	case EMERGENCY_RECLAIM:
		text_add(&t, "slot %s %s", slot->name, verb_words(action->verb, is_only_log));
		if (action->verb == EMERGENCY_RECLAIM)
			text_add(&t, ", %s", format_bytes(action->bytes, bytes));
		text_add(&t, ": ");
		if (slot->is_leaking)
			add_guilt(&t, slot);
		else if (slot->is_idle || !slot->is_running)
			text_add(&t, "it is idle");
		else
			text_add(&t, "higher tiers need it");
		text_add(&t, "; on %s ", group);
		add_situation(&t, e, in);
		break;
	case EMERGENCY_FREEZE:
	case EMERGENCY_KILL:
		text_add(&t, "slot %s %s: ", slot->name, verb_words(action->verb, is_only_log));
		add_guilt(&t, slot);
		text_add(&t, ", ");
		add_rank(&t, in, action->slot);
		text_add(&t, "; on %s ", group);
		add_situation(&t, e, in);
		add_tried(&t, e, e->n_freezes - (action->verb == EMERGENCY_FREEZE));
		add_remedy(&t, slot);
		break;
	}
	return buf;
}

const char *emergency_summary(const struct emergency *e, uint64_t now_ns, char *buf, size_t size)
{
	static const char *const causes[] = {
		[EMERGENCY_NO_CAUSE] = "",
		[EMERGENCY_RUNNING_OUT] = "memory runs out",
		[EMERGENCY_AT_LIMIT] = "memory is used up",
		[EMERGENCY_THRASHING] = "a leak holds everyone up",
		[EMERGENCY_OOM] = "the kernel ran out of memory",
		[EMERGENCY_HOST] = "the node is short of memory",
	};
	struct text t = { buf, size, 0 };
	char bytes[FORMAT_BYTES_MAX];

	buf[0] = '\0';
	if (!e->is_on)
		return buf;
	text_add(&t, "%s, for ", causes[e->cause]);
	add_seconds(&t, now_ns - e->began_ns);
	text_add(&t, "; %s left", format_bytes(e->left_bytes, bytes));
	if (e->lent_bytes > 0)
		text_add(&t, ", %s of reserve lent", format_bytes(e->lent_bytes, bytes));
	if (e->n_unprotected > 0)
		text_add(&t, ", %u without protection", e->n_unprotected);
	if (e->n_freezes > 0 || e->n_kills > 0)
		text_add(&t, ", %u frozen and %u killed so far", e->n_freezes, e->n_kills);
	return buf;
}
