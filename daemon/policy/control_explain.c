/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/control.h"

#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "policy/explain_law.h"

static uint64_t per_second(double pages_per_tick)
{
	return (uint64_t)(pages_per_tick * (double)(1000000000 / CONTROL_TICK_NS)) * CONTROL_PAGE;
}

/* The class in words, with the numbers that made it. */
static int explain_class(const struct control_slot *slot, char *buf, size_t size)
{
	const struct control_track *track = &slot->track;
	uint64_t turned = track->turnover_pages * CONTROL_PAGE;
	char a[FORMAT_BYTES_MAX], b[FORMAT_BYTES_MAX];

	switch (track->class) {
	case CONTROL_NEW:
		return snprintf(buf, size, "nothing is known of it yet");
	case CONTROL_EVIDENCE:
		return snprintf(buf, size,
				"it needs memory: %s/s of its own pages came back, it waited %u.%u "
				"%% of the time",
				format_bytes(per_second((double)track->refault_pages), a),
				track->stall_permille / 10, track->stall_permille % 10);
	case CONTROL_SUSPECT:
		return snprintf(
			buf, size,
			"it asks for memory, but of %s turned over since it was last judged "
			"it used nothing again (a scan?)",
			format_bytes(turned, a));
	case CONTROL_POLLUTER:
		return snprintf(
			buf, size,
			"it turned over all of its memory and used nothing of it again: a "
			"scan; next test in %llu s or when it stops",
			(unsigned long long)(track->retest_ns > track->sampled_ns
						     ? (track->retest_ns - track->sampled_ns) /
							       1000000000
						     : 0));
	case CONTROL_IDLE:
		return snprintf(buf, size, "it does nothing");
	case CONTROL_QUIET:
	case CONTROL_CLASSES:
		break;
	}
	return snprintf(buf, size, "it uses %s of its share of %s and shows no need of more",
			format_bytes(slot->sample.current_bytes, a),
			format_bytes(slot->share_bytes, b));
}

/* Why its protection is what it is. */
static void explain_low(const struct control_group *group, const struct control_slot *slot,
			char *buf, size_t size)
{
	const struct control_track *track = &slot->track;
	char low[FORMAT_BYTES_MAX], share[FORMAT_BYTES_MAX];
	const char *why = "a scan is pushed out";
	bool is_lent = track->class == CONTROL_EVIDENCE ||
		       (group->n_evidence > 0 && track->taxed_ns >= track->sampled_ns);

	if (is_lent)
		why = group->reserve_bytes > 0 ? "all ask, and it had less of the reserve"
					       : "others do not use all of theirs";
	(void)format_bytes(slot->low_bytes, low);
	(void)format_bytes(slot->share_bytes, share);
	if (slot->mode == SLOT_OFF)
		(void)snprintf(buf, size, "; mode off: protected at its share of %s", share);
	else if (slot->low_bytes > slot->share_bytes)
		(void)snprintf(buf, size, "; protected at %s, above its share of %s: %s", low,
			       share, why);
	else if (track->class == CONTROL_POLLUTER || track->class == CONTROL_SUSPECT ||
		 control_is_retested(slot))
		(void)snprintf(buf, size,
			       "; protected at %s until it is seen to use its memory again", low);
	else if (slot->low_bytes + CONTROL_PAGE <= slot->share_bytes && track->floor_bytes > 0 &&
		 slot->low_bytes + CONTROL_PAGE > track->floor_bytes)
		(void)snprintf(buf, size,
			       "; lends to %u in need and is protected at %s, not less: it needed "
			       "that before",
			       group->n_evidence, low);
	else if (slot->low_bytes + CONTROL_PAGE <= slot->share_bytes)
		(void)snprintf(buf, size,
			       "; lends what it does not need: protected at %s of its share of %s",
			       low, share);
	else
		(void)snprintf(buf, size, "; protected at its share of %s", share);
}

static uint64_t ms_until(uint64_t then_ns, uint64_t now_ns)
{
	return then_ns > now_ns ? (then_ns - now_ns) / 1000000 : 0;
}

size_t control_terms(const struct control_group *group, const struct control_slot *slot,
		     uint64_t now_ns, struct control_term terms[static CONTROL_TERMS])
{
	const struct control_track *t = &slot->track;
	bool is_lending = t->taxed_ns > 0 && slot->low_bytes < slot->share_bytes;
	uint64_t save_ns = slot->mode == SLOT_SAVE ? EXPLAIN_SAVE_INTERVAL_NS : 0;
	const struct control_term all[] = {
		{ "demandBytes", slot->demand_bytes, "shown to need" },
		{ "lawBytes", slot->low_bytes, "what the law protects; a dry run would" },
		{ "leastBytes", control_least_bytes(group, slot), "it may not protect less" },
		{ "classMsec", ms_until(now_ns, t->since_ns), "in this class for" },
		{ "refaultNowBytesPerSecond", per_second((double)t->refault_pages),
		  "came back soon, in the last half second" },
		{ "refaultBytesPerSecond", per_second(t->mean_refault), "the same on average" },
		{ "restoreBytesPerSecond", per_second(t->mean_restore), "of it in real use" },
		{ "stealNowBytesPerSecond", per_second((double)t->steal_pages),
		  "taken by the kernel in the last half second" },
		{ "stealBytesPerSecond", per_second(t->mean_steal), "the same on average" },
		{ "flowBytesPerSecond", per_second(t->mean_flow),
		  "came back or was taken, what was more of it" },
		{ "refillBytesPerSecond", per_second((double)t->refill_pages),
		  "found in use by reclaim" },
		{ "growthBytes", t->grown_pages * CONTROL_PAGE,
		  "it uses more than at the last look" },
		{ "idleMsec", t->idle_ticks * (CONTROL_TICK_NS / 1000000),
		  "without processor time or faults" },
		{ "calmMsec", t->calm_ticks * (CONTROL_TICK_NS / 1000000),
		  "nothing was taken from it" },
		{ "stallPermille", t->stall_permille, "of the time it waited for memory" },
		{ "turnoverBytes", t->turnover_pages * CONTROL_PAGE,
		  "taken and replaced since it was judged" },
		{ "turnoverFromBytes", t->window_bytes, "it used when that began" },
		{ "turnoverRestoreBytes", t->window_restore * CONTROL_PAGE,
		  "of that restored to the working set" },
		{ "turnoverRefillBytes", t->window_refill * CONTROL_PAGE,
		  "of that found in use by reclaim" },
		{ "retestMsec", t->is_polluter ? ms_until(t->retest_ns, now_ns) : 0,
		  "until a scan is tested again" },
		{ "retestIntervalMsec", t->retest_interval_ns / 1000000,
		  "between two tests; 0: it was no scan" },
		{ "taxBytes", t->tax_bytes, "of what it uses lent at a time" },
		{ "taxKeptMsec",
		  is_lending ? ms_until(t->taxed_ns + EXPLAIN_LENT_KEEP_NS, now_ns) : 0,
		  "until it lends nothing if nobody asks" },
		{ "taxedFromBytes", t->tax_bytes > 0 ? t->tax_from_bytes : 0,
		  "used when it began to lend" },
		{ "taxedBytes", (uint64_t)t->taxed_pages * CONTROL_PAGE,
		  "taken from it lately while it lent" },
		{ "proving", t->is_proving, "1: was what it lent in use? It keeps the rest" },
		{ "proofBytes", t->proof_bytes, "was left to it when that was asked or proven" },
		{ "floorBytes", t->floor_bytes, "needed when it was last seen to" },
		{ "floorHeldMsec", t->floor_bytes > 0 ? ms_until(t->floor_until_ns, now_ns) : 0,
		  "lends nothing of that for" },
		{ "floorHoldMsec", t->floor_hold_ticks * (CONTROL_TICK_NS / 1000000),
		  "the whole of that time; doubled if proven" },
		{ "reclaimBytes", slot->reclaim_bytes, "given back now in mode save" },
		{ "saveWaitMsec", save_ns > 0 ? ms_until(t->saved_ns + save_ns, now_ns) : 0,
		  "until 6 s after mode save last gave back" },
		{ "stallWaitMsec", save_ns > 0 ? ms_until(t->stalled_ns + save_ns, now_ns) : 0,
		  "until 6 s after it last waited for memory" },
	};
	size_t n = sizeof(all) / sizeof(all[0]);

	static_assert(sizeof(all) / sizeof(all[0]) <= CONTROL_TERMS);
	memcpy(terms, all, sizeof(all));
	return n;
}

const char *control_explain(const struct control_group *group, const struct control_slot *slot,
			    char buf[static CONTROL_REASON_MAX])
{
	int n = explain_class(slot, buf, CONTROL_REASON_MAX);

	if (n >= 0 && n < CONTROL_REASON_MAX)
		explain_low(group, slot, buf + n, CONTROL_REASON_MAX - (size_t)n);
	return buf;
}
