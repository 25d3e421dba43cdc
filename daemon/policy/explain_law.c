/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The numbers here are those of control.c and control_observe.c once more, where their reasons are.
 * They are not shared: a measurement (tests/run bench control) counts as long as the text of the law
 * is the same, and hours of them should not be lost to words. tests/test_explain_law.c drives the law
 * to each threshold as it is told here, and one beyond.
 */

#include "policy/explain_law.h"

#include <stdio.h>

#include "base/parse.h"
#include "policy/text.h"

static uint64_t pages(uint64_t bytes)
{
	return bytes / CONTROL_PAGE;
}

/* The least count of which @divisor times as many is at least @value. */
static uint64_t part_from(uint64_t value, uint64_t divisor)
{
	return (value + divisor - 1) / divisor;
}

static uint64_t permille(uint64_t value, uint32_t part)
{
	return value / 1000 * part + value % 1000 * part / 1000;
}

static uint64_t proof_from_bytes(const struct control_track *track)
{
	uint64_t from = MAX(track->tax_from_bytes, track->proof_bytes);
	uint64_t lost = MIN(from - track->proof_bytes, (uint64_t)track->taxed_pages * CONTROL_PAGE);

	return track->proof_bytes + lost / 3;
}

struct explain_law explain_law(const struct control_group *group, const struct control_slot *slot)
{
	const struct control_track *track = &slot->track;
	uint64_t current = slot->sample.current_bytes, own = pages(current);
	uint64_t turnover = MAX(track->turnover_pages, own + 1); /* when it is judged */

	return (struct explain_law){
		.refault_above = own / 200,
		.mean_refault_above = 0.2 * track->mean_steal,
		.stall_from_permille = 50,
		.fetch_above = own / 2000,
		.suspect_above = own / 4,
		.polluter_above = own,
		.reuse_restore_from = part_from(track->turnover_pages, 200),
		.reuse_refill_from = part_from(track->turnover_pages, 10),
		.pardon_restore_from = part_from(turnover, 100),
		.pardon_refill_from = part_from(turnover, 10),
		.pardon_mean_above = MAX(4.0, 0.015 * track->mean_flow),
		.pardon_refault_above = 0.04 * track->mean_steal,
		.calm_from_ticks = 6,
		.idle_from_ticks = 8,
		.holding_above_bytes = track->low_bytes + control_hold_bytes(group, slot),
		.tax_from_used_bytes = group->bytes - group->bytes / 32,
		.tax_taken_from_bytes = track->tax_bytes / 4,
		.proof_from_bytes = proof_from_bytes(track),
		.floor_above_bytes = permille(track->floor_bytes, 1100),
		.floor_below_bytes = permille(track->proof_bytes, 930),
		.save_bytes = MIN(current / 2000, current - MIN(current, slot->min_bytes)) &
			      ~(CONTROL_PAGE - 1),
	};
}

static bool is_holding(const struct control_slot *slot, const struct explain_law *law)
{
	return slot->mode != SLOT_OFF &&
	       (slot->track.class == CONTROL_POLLUTER || control_is_retested(slot)) &&
	       slot->sample.current_bytes > law->holding_above_bytes;
}

void explain_count_group(struct explain_group *of, const struct control_group *group,
			 const struct control_slot *slot)
{
	struct explain_law law = explain_law(group, slot);

	of->used_bytes += slot->sample.current_bytes;
	of->n_holding += is_holding(slot, &law);
}

/* ---- sentences */

/* So many pages, and so many in each tick, as text that lives as long as the statement it is in. */
#define SIZE(pages) format_bytes((pages) * CONTROL_PAGE, (char[FORMAT_BYTES_MAX]){ 0 })
#define RATE(pages) SIZE((uint64_t)((double)(pages) * (1e9 / (double)CONTROL_TICK_NS)))
#define BYTES(bytes) format_bytes(bytes, (char[FORMAT_BYTES_MAX]){ 0 })

static uint64_t seconds(uint64_t ns)
{
	return (ns + 999999999) / 1000000000;
}

static uint64_t fetched(const struct control_track *track)
{
	return MAX(track->refault_pages, track->grown_pages);
}

static bool is_refault_needy(const struct control_track *track, const struct explain_law *law)
{
	return track->refault_pages > law->refault_above &&
	       track->mean_refault > law->mean_refault_above;
}

static void say_need(struct text *text, const struct control_track *track,
		     const struct explain_law *law)
{
	if (is_refault_needy(track, law))
		text_add(
			text,
			"It is a need because %s/s in the last half second are more than %s/s, 1 %% of "
			"its memory a second, and %s/s on average more than %s/s, a fifth of what is "
			"taken from it",
			RATE(track->refault_pages), RATE(law->refault_above),
			RATE(track->mean_refault), RATE(law->mean_refault_above));
	else
		text_add(
			text,
			"It is a need because it waited 5 %% of the time or more and fetched %s/s, more "
			"than %s/s, 0.1 %% of its memory a second, %s",
			RATE(fetched(track)), RATE(law->fetch_above),
			track->grown_pages > 0 ? "and grew" : "with no more than its share");
}

static void say_no_need(struct text *text, const struct control_slot *slot,
			const struct explain_law *law)
{
	const struct control_track *track = &slot->track;

	text_add(
		text,
		"It would be a need if more than %s/s came back, 1 %% of its memory a second (now "
		"%s/s), and on average more than %s/s, a fifth of what is taken from it (now %s/s); or "
		"if it waited 5 %% of the time (now %u.%u %%) and fetched more than %s/s, 0.1 %% of its "
		"memory a second (now %s/s)%s",
		RATE(law->refault_above), RATE(track->refault_pages), RATE(law->mean_refault_above),
		RATE(track->mean_refault), track->stall_permille / 10, track->stall_permille % 10,
		RATE(law->fetch_above), RATE(fetched(track)),
		slot->sample.current_bytes > slot->share_bytes ? ", while it grows" : "");
}

static void say_suspect(struct text *text, const struct control_track *track,
			const struct explain_law *law)
{
	text_add(
		text,
		"It is suspect because more than %s, a quarter of its memory, are turned over since it "
		"used %s, from which it has not grown by an eighth of what it uses, and less "
		"than %s of that, 0.5 %%, were restored (%s) and less than %s, 10 %%, found in use "
		"(%s); at more than %s, all of its memory, it is a scan",
		SIZE(law->suspect_above), BYTES(track->window_bytes), SIZE(law->reuse_restore_from),
		SIZE(track->window_restore), SIZE(law->reuse_refill_from),
		SIZE(track->window_refill), SIZE(law->polluter_above));
}

static void say_scan(struct text *text, const struct control_slot *slot,
		     const struct explain_law *law)
{
	const struct control_track *track = &slot->track;

	text_add(
		text,
		"It is pardoned if %s (1 %%) are restored or %s (10 %%) found in use of the next %s "
		"turned over (so far %s and %s of %s); if more than %s/s are restored on average, 1.5 "
		"%% of what comes and goes (now %s/s); for what is restored only while more than %s/s "
		"come back, 4 %% of what is taken (now %s/s); after 3 s in which nothing is taken (now "
		"%u.%u s); or when its share grows by half",
		SIZE(law->pardon_restore_from), SIZE(law->pardon_refill_from),
		SIZE(law->polluter_above + 1), SIZE(track->window_restore),
		SIZE(track->window_refill), SIZE(track->turnover_pages),
		RATE(law->pardon_mean_above), RATE(track->mean_restore),
		RATE(law->pardon_refault_above), RATE(track->mean_refault), track->calm_ticks / 2,
		track->calm_ticks % 2 * 5);
	if (is_holding(slot, law))
		text_add(text, ". While it uses more than %s (now %s) nobody else is taxed",
			 BYTES(law->holding_above_bytes), BYTES(slot->sample.current_bytes));
}

static void say_retest(struct text *text, const struct control_track *track,
		       const struct explain_law *law)
{
	text_add(
		text,
		". It was a scan and is tested again until more than %s, all of its memory, are turned "
		"over (now %s): with 0.5 %% of that restored (now %s) or 10 %% found in use (now %s) it "
		"is none",
		SIZE(law->polluter_above), SIZE(track->turnover_pages), SIZE(track->window_restore),
		SIZE(track->window_refill));
}

/* What is lent, and what the law has learnt of it. */
static void say_lending(struct text *text, const struct control_group *group,
			const struct control_slot *slot, const struct explain_law *law)
{
	const struct control_track *track = &slot->track;
	uint64_t now_ns = track->sampled_ns, kept_ns = track->taxed_ns + EXPLAIN_LENT_KEEP_NS;
	bool is_calm = track->class == CONTROL_QUIET || track->class == CONTROL_IDLE;
	bool is_taxed = is_calm && track->tax_bytes > 0;

	if (!is_calm && track->class != CONTROL_EVIDENCE)
		return;
	if (track->class == CONTROL_QUIET && group->n_evidence > 0 && control_is_filling(slot))
		text_add(
			text,
			". It grew by %s/s within its share, and lends nothing while that is more than "
			"an eighth of its memory in half a second",
			RATE(track->grown_pages));
	else if (track->is_proving)
		text_add(
			text,
			". What it lent was in use if it has %s again when it is quiet, a third of what "
			"it lost lately more than the %s that were left",
			BYTES(law->proof_from_bytes), BYTES(track->proof_bytes));
	else if (is_taxed && track->taxed_ns >= now_ns)
		text_add(
			text,
			". It lends %s at a time, twice as much when %s of that, a quarter, are taken in "
			"half a second (now %s), down to a protection of %s",
			BYTES(track->tax_bytes), BYTES(law->tax_taken_from_bytes),
			SIZE(track->steal_pages), BYTES(control_least_bytes(group, slot)));
	else if (is_calm && track->taxed_ns > 0 && slot->low_bytes < slot->share_bytes &&
		 group->n_evidence == 0 && kept_ns > now_ns)
		text_add(text,
			 ". Nobody is in need now: in %llu s, 30 s after the last one was, it is "
			 "protected at its share, until then at no more than it uses",
			 (unsigned long long)seconds(kept_ns - now_ns));
	if (track->floor_bytes > 0 && track->floor_until_ns > now_ns)
		text_add(text,
			 ". For %llu s it lends nothing below %s, which it needed before; that is "
			 "forgotten if it comes to use more than %s or less than %s",
			 (unsigned long long)seconds(track->floor_until_ns - now_ns),
			 BYTES(track->floor_bytes), BYTES(law->floor_above_bytes),
			 BYTES(law->floor_below_bytes));
}

static void say_saving(struct text *text, const struct control_slot *slot,
		       const struct explain_law *law)
{
	uint64_t now_ns = slot->track.sampled_ns;
	uint64_t next_ns =
		MAX(slot->track.saved_ns, slot->track.stalled_ns) + EXPLAIN_SAVE_INTERVAL_NS;

	text_add(
		text,
		". Mode save gives back %s (0.05 %%) every 6 s and 6 s after it waited for memory, next "
		"in %llu s",
		BYTES(law->save_bytes),
		(unsigned long long)seconds(next_ns > now_ns ? next_ns - now_ns : 0));
}

const char *explain_law_words(const struct control_group *group, const struct control_slot *slot,
			      char buf[static EXPLAIN_LAW_MAX])
{
	const struct control_track *track = &slot->track;
	struct explain_law law = explain_law(group, slot);
	struct text text = { .buf = buf, .size = EXPLAIN_LAW_MAX };

	buf[0] = '\0';
	switch (track->class) {
	case CONTROL_EVIDENCE:
		say_need(&text, track, &law);
		break;
	case CONTROL_SUSPECT:
		say_suspect(&text, track, &law);
		break;
	case CONTROL_POLLUTER:
		say_scan(&text, slot, &law);
		break;
	case CONTROL_IDLE:
		text_add(&text, "It is idle after 4 s without processor time or faults (now %u s)",
			 track->idle_ticks / 2);
		break;
	case CONTROL_QUIET:
		say_no_need(&text, slot, &law);
		break;
	case CONTROL_NEW:
	case CONTROL_CLASSES:
		return buf;
	}
	if (control_is_retested(slot))
		say_retest(&text, track, &law);
	if (slot->mode == SLOT_OFF)
		return buf;
	say_lending(&text, group, slot, &law);
	if (slot->mode == SLOT_SAVE &&
	    (track->class == CONTROL_QUIET || track->class == CONTROL_IDLE))
		say_saving(&text, slot, &law);
	return buf;
}
