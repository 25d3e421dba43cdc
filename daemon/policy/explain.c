/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A share is found by water-filling (base/maxmin.h), but what came out can be checked by anybody
 * with a pencil: a slot is at its guarantee, at its max, or has its part by weight of what those
 * have together that are at neither. So that is what is said, with the numbers.
 */

#include "policy/explain.h"

#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "policy/text.h"

/* ---- the share */

static bool is_divided(const struct slot_policy *policy, uint64_t share_bytes,
		       uint64_t guaranteed_bytes)
{
	return share_bytes > guaranteed_bytes && share_bytes < policy->max_bytes;
}

void explain_count(struct explain_tier *tier, const struct slot_policy *policy,
		   uint64_t share_bytes, uint64_t guaranteed_bytes)
{
	tier->n_slots++;
	tier->bytes += share_bytes;
	if (!is_divided(policy, share_bytes, guaranteed_bytes))
		return;
	tier->divided_bytes += share_bytes;
	tier->divided_weight += policy->weight;
}

/* ---- terms */

struct list {
	struct control_term *terms;
	size_t n;
};

static void add(struct list *list, const char *name, uint64_t value, const char *text)
{
	if (list->n < EXPLAIN_TERMS)
		list->terms[list->n++] = (struct control_term){ name, value, text };
}

static void add_limit(struct list *list, const char *name, uint64_t value, const char *text)
{
	if (value != BYTES_UNLIMITED)
		add(list, name, value, text);
}

static void add_plan(struct list *list, const struct explain_input *in)
{
	const struct slot_policy *p = in->policy;

	add(list, "weight", p->weight, "its claim beside others of its tier");
	add(list, "tier", p->tier, "0 is served first");
	add(list, "minBytes", p->min_bytes, "guaranteed by the administrator");
	add(list, "requestedBytes", in->requested_bytes, "guaranteed beyond that to its tasks");
	add(list, "guaranteedBytes", in->guaranteed_bytes,
	    "of both as much as its node can honour");
	add_limit(list, "maxBytes", p->max_bytes, "cap asked for");
	add(list, "nodeBudgetBytes", in->budget_bytes, "of its node for all slots");
	add(list, "nodeReserveBytes", in->reserve_bytes, "of that kept for emergencies");
	add(list, "tierBytes", in->tier.bytes, "shares of all slots of its tier");
	add(list, "tierSlots", in->tier.n_slots, "slots of its tier there");
	add(list, "dividedBytes", in->tier.divided_bytes,
	    "shares of those at neither guarantee nor max");
	add(list, "dividedWeight", in->tier.divided_weight, "their weights together");
	add(list, "shareBytes", in->share_bytes, "its entitlement, when all are hungry");
}

static void add_state(struct list *list, const struct explain_input *in)
{
	const struct slot_policy *p = in->policy;

	add(list, "usageBytes", in->usage_bytes, "used now");
	add(list, "swapBytes", in->swap_bytes, "in swap");
	add(list, "lowBytes", in->low_bytes, "protected now");
	add(list, "unreclaimableBytes", in->unreclaimable_bytes,
	    "cannot be taken: kernel, locked, no swap");
	add_limit(list, "kernelMaxBytes", in->kernel_max_bytes, "cap in force");
	add(list, "shrinking", in->is_shrinking, "1: that cap is being lowered");
	add_limit(list, "brakeBytes", in->brake_bytes, "memory.high, while it is");
	add(list, "needBytes", p->need_bytes, "expected to need; 0: nothing told");
	add(list, "grantBytes", p->grant_bytes, "granted of the need");
	add(list, "bookedBytes", in->booked_bytes, "counted for it by admission");
	add(list, "leakBytesPerSecond", in->leak_bytes_per_s, "grows and uses nothing again");
	add(list, "unprotected", in->is_unprotected, "1: an emergency took its protection");
	add(list, "frozen", in->is_frozen, "1: an emergency stopped it for a moment");
}

static void add_group(struct list *list, const struct explain_input *in)
{
	const struct control_group *g = in->group;

	add(list, "fairnessPermille", g->fairness_permille,
	    "of its share protected while it is not idle");
	add(list, "groupBytes", g->bytes, "divided among the slots beside it");
	add(list, "groupUsedBytes", in->others.used_bytes,
	    "used by them all when that was decided");
	add(list, "seenBytes", in->control->sample.current_bytes, "of that by it");
	add(list, "groupNeedy", g->n_evidence, "of them need more than is free");
	add(list, "groupScans", g->n_polluter, "of them scan");
	add(list, "groupHolding", in->others.n_holding, "scans that have what others may take");
	add(list, "groupFreedBytes", g->freed_bytes, "entitlement not protected where it belongs");
	add(list, "groupReserveBytes", g->reserve_bytes, "of the reserve promised, as all ask");
}

size_t explain_terms(const struct explain_input *in, uint64_t now_ns,
		     struct control_term terms[static EXPLAIN_TERMS])
{
	struct list list = { .terms = terms };

	static_assert(EXPLAIN_TERMS >= 26 + 8 + CONTROL_TERMS);
	add_plan(&list, in);
	add_state(&list, in);
	if (!in->control)
		return list.n;
	add_group(&list, in);
	return list.n + control_terms(in->group, in->control, now_ns, terms + list.n);
}

/* ---- sentences */

static void say_share(struct text *text, const struct explain_input *in)
{
	const struct slot_policy *p = in->policy;
	char share[FORMAT_BYTES_MAX], divided[FORMAT_BYTES_MAX], budget[FORMAT_BYTES_MAX];
	char reserve[FORMAT_BYTES_MAX];

	(void)format_bytes(in->share_bytes, share);
	if (in->share_bytes >= p->max_bytes)
		text_add(text, ". Its share of %s is its max", share);
	else if (in->share_bytes == 0)
		text_add(text, ". Its share is 0: higher tiers and guarantees take all");
	else if (in->share_bytes <= in->guaranteed_bytes)
		text_add(text,
			 ". Its share of %s is its guarantee: by weight it would have no more",
			 share);
	else
		text_add(text,
			 ". Its share of %s is weight %u of the %llu that divide %s in tier %u",
			 share, p->weight, (unsigned long long)in->tier.divided_weight,
			 format_bytes(in->tier.divided_bytes, divided), p->tier);
	text_add(text, "; %s %s for slots and keep%s %s as reserve",
		 p->node == NODE_ANY ? "all nodes have" : "its node has",
		 format_bytes(in->budget_bytes - MIN(in->reserve_bytes, in->budget_bytes), budget),
		 p->node == NODE_ANY ? "" : "s", format_bytes(in->reserve_bytes, reserve));
}

static void say_admission(struct text *text, const struct explain_input *in)
{
	const struct slot_policy *p = in->policy;
	char need[FORMAT_BYTES_MAX], grant[FORMAT_BYTES_MAX], requested[FORMAT_BYTES_MAX];

	if (p->need_bytes > 0)
		text_add(text, ". Of a need of %s%s %s are granted",
			 format_bytes(p->need_bytes, need),
			 p->is_need_predicted ? ", predicted from what the name needed before,"
					      : "",
			 format_bytes(p->grant_bytes, grant));
	if (in->requested_bytes > 0)
		text_add(text, ". Its tasks have asked for %s more of guarantee, which they hold",
			 format_bytes(in->requested_bytes, requested));
}

static void say_trouble(struct text *text, const struct explain_input *in)
{
	char from[FORMAT_BYTES_MAX], to[FORMAT_BYTES_MAX], floor[FORMAT_BYTES_MAX];
	char rate[FORMAT_BYTES_MAX];

	if (in->is_shrinking)
		text_add(
			text,
			". Its cap is going from %s to %s, no lower than the %s that cannot be taken%s%s",
			format_bytes(in->kernel_max_bytes, from),
			format_bytes(in->policy->max_bytes, to),
			format_bytes(in->unreclaimable_bytes, floor),
			in->shrink_note[0] ? ": " : "", in->shrink_note);
	if (in->leak_bytes_per_s > 0)
		text_add(text, ". It grows by %s a second and uses nothing of that again: a leak",
			 format_bytes(in->leak_bytes_per_s, rate));
	if (in->is_frozen)
		text_add(text, ". Memory runs out: it is frozen for a moment");
	else if (in->is_unprotected)
		text_add(text, ". Memory runs out: it is not protected for now");
}

/* What the class and the protection hang on. */
static void say_law(struct text *text, const struct explain_input *in)
{
	char words[EXPLAIN_LAW_MAX], from[FORMAT_BYTES_MAX], used[FORMAT_BYTES_MAX];
	struct explain_law law = explain_law(in->group, in->control);

	if (in->is_dry)
		text_add(text, ". This is a dry run: it stays protected at its share");
	if (explain_law_words(in->group, in->control, words)[0] != '\0')
		text_add(text, ". %s", words);
	if (in->control->mode != SLOT_OFF)
		text_add(
			text,
			". Of what is divided, %s are used; from %s on, and while no scan has what "
			"others may take (now %u), quiet slots lend to those in need (now %u)",
			format_bytes(in->others.used_bytes, used),
			format_bytes(law.tax_from_used_bytes, from), in->others.n_holding,
			in->group->n_evidence);
}

const char *explain_reason(const struct explain_input *in, char buf[static EXPLAIN_REASON_MAX])
{
	struct text text = { .buf = buf, .size = EXPLAIN_REASON_MAX };
	char law[CONTROL_REASON_MAX], share[FORMAT_BYTES_MAX];

	if (in->control)
		text_add(&text, "%s", control_explain(in->group, in->control, law));
	else if (in->is_enforced)
		text_add(
			&text,
			"the controller is off (control= in taskmemd.conf); protected at its share of %s",
			format_bytes(in->share_bytes, share));
	else
		text_add(&text, "limits are not enforced on this host");
	if (in->control)
		say_law(&text, in);
	say_share(&text, in);
	say_admission(&text, in);
	say_trouble(&text, in);
	return buf;
}
