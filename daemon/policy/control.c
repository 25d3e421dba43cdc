/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Where protection goes, once control_observe.c has said what each slot is.
 *
 * Protected at their entitlement, slots hold their shares to the MiB, but memory that its owner
 * does not use stays where it is. So while somebody shows evidence of need, quiet slots are taxed:
 * a little of what they use is not protected, and the kernel takes the coldest of it; where that
 * is taken and not missed, twice as much is next. Evidence of their own gives the entitlement back
 * at once. What then comes back was in use, and that is a floor to the tax, for longer each time
 * that it is found to be one; if it does not, the tax goes on. A scan loses its protection fast,
 * whether or not somebody asks, and while one still holds more than it should, nobody else is
 * taxed: the memory is there.
 *
 * Constants that are parts of the group's memory were found with two to four slots on it; with
 * many slots a part of their own share takes over (`small part of` below).
 */

#include "policy/control.h"

#include <errno.h>
#include <stdlib.h>

#include "base/maxmin.h"

/* The end of the tax: room for what a task needs to run at all. */
#define LEAST_GROUP_DIVISOR 50
#define LEAST_SHARE_DIVISOR 4
/* A scan needs a part of that only, what it reads now: everything else it reads over. */
#define LEAST_SCAN_DIVISOR 4
/* Usage this near to the slot's own cap is at the cap. One that reclaims from itself is below it
 * by what was freed last, 32 to 64 pages for each processor it runs on: 256K are a 64th of 16M.
 * Only a choice, not measured: from a 16th to a 1000th no test fails. */
#define CAPPED_DIVISOR 64
/* Nobody is taxed while more than this part of the group's memory is free. A full group has more
 * than its shares, for 2 % of a node are promised to nobody, which leaves 5 % for samples that are
 * not of one moment. Only a choice: from a 16th to a 1000th no test fails, at an 8th
 * nobody_is_taxed_while_memory_is_free does. */
#define FREE_DIVISOR 32
/* A scan with so much more than its protection still has what others may take. At a tenth of the
 * group hot readers are taxed too early (hot_readers_keep_their_files_beside_a_scan), at a 40th
 * the rest of a scan keeps others from being taxed and flips are missed
 * (hours_of_flips_beside_a_scan_stay_as_good_as_the_first). So it is with a 20th of the share, and
 * with all of it a slot of little is not left what it is entitled to
 * (hungry_slot_follows_its_share); a quarter would do. But what it reads in a tick nobody can take:
 * without a share that held up the tax for ever. */
#define HOLD_GROUP_DIVISOR 20
#define HOLD_SHARE_DIVISOR 2
/* A scan that is tested again is protected at this part more, at twice that the next time. In the
 * model tests of the whole share cost others 168 to 201 thousand refaults in ten minutes, these 65
 * to 81, and none if it did not grow, but then a reader whose share is small is labelled for ever.
 * At a fifth retest_of_a_scan_takes_nothing_from_others fails; for that reader no test does,
 * however little it is. */
#define RETEST_GROUP_DIVISOR 10
/* Room that a quiet slot gets above its usage while a scan is pushed out: what it adds in a tick
 * or two is not taken from it again. Each of many has it, hence little; what is not used the scan
 * keeps. Only a choice: of half and of twice as much nothing tells but the case with the number. */
#define ROOM_GROUP_DIVISOR 100
#define ROOM_SHARE_DIVISOR 8
/* Scans are protected from each other, but a tenth of what they hold stays to be had at once by
 * who comes to need it. Only a choice: from a half to all of it no test fails. */
#define SCANS_PERMILLE 900
/* Smaller changes are not written. And the tax begins with so little, for it may take what is hot,
 * and on a slow machine a hundredth of a hot set costs a second of work until it is back. */
#define STEP_GROUP_DIVISOR 200
#define STEP_SHARE_DIVISOR 16
/* Within its share it grows by so much in a tick: it begins to do something. What it touches for
 * the first time no counter calls a need, and taxed it would turn over the little that it has until
 * it looks like a scan (slot_has_its_due_in_time_after_any_change, machine 3990). Only a choice:
 * from a half to a 200th no test fails but the case with the number. */
#define FILLING_DIVISOR 8
/* A quarter of what is exposed was taken in a tick: twice as much is the next time. More is seldom
 * taken at first, for who is hungry has room of his own in what nobody is promised, too. */
#define TAX_TAKEN_DIVISOR 4
/* The tax goes on where it was for three seconds after the last evidence: evidence flickers. */
#define TAX_KEEP_NS (6 * CONTROL_TICK_NS)
/* What was lent and not missed stays so for half a minute, and until then a slot is promised no more
 * than it uses: what it adds slowly was in use once, and may be colder than what others have. On 6.12
 * a sort that was promised more took 6M from a hot task for 2M that it never used again. With all
 * shares promised again only who was lent something has pages to take, all of them in use, and when he
 * needs a few more the kernel ages them all to find some: on 6.12 it then took 9000 of 30000 of his own
 * in 1.5 s, in which he did nothing, and so in two of four phases. Who lent has cold ones, which go
 * first. */
#define LENT_KEEP_NS (60 * CONTROL_TICK_NS)
/* What was taken counts for about five ticks: it is that which brought the evidence, not what went
 * before and was not missed. */
#define TAXED_KEEP 0.8
/* It was hot if a third of that has come back when the slot is quiet again: a set in use regains
 * two fifths or more until then, a phase that ended nothing. Machines differ tenfold in how long
 * that takes, so no time is set. */
#define PROOF_DIVISOR 3
/* A proven floor holds for ten seconds, of which a test that is wrong costs one, and twice as long
 * each time that it is proven again; forty at most, for a phase may end meanwhile. */
#define FLOOR_HOLD_FIRST 20U
#define FLOOR_HOLD_LAST 80U
/* Less than this part of what it had and still quiet: that was no need, or is none any more. The
 * first tick of a flip takes pages in use by mistake: on 6.12 two flips were missed for a floor
 * that was false, and none in four runs since. How much less is only a choice: 86 to 96.5 % fail
 * no test. */
#define FLOOR_DISPROOF_PERMILLE 930
/* With so much more than it had then it is in another phase: nothing is known of that one's need.
 * On 6.12 two tasks in counter-phase missed both flips before, none since. At a fifth more
 * floor_of_another_phase_is_forgotten fails, at a 20th nothing. */
#define FLOOR_GROWN_PERMILLE 1100
/* A share that changes by less than this part moves no protection at once. */
#define RESHARE_DIVISOR 16
/* A scan whose share grows by so much is judged anew, with all of it: what could reuse nothing of
 * the little that it had may need the rest. Less is what slots that come and go make of it, and each
 * time a scan would take from the others. */
#define ACQUIT_DIVISOR 2
/* A look before its time comes when there is something to be seen: in 25 ms a slot that needs memory
 * fetched a hundred pages on 6.12, and 1800 by the next tick, each for one of its own. And no two
 * looks are nearer to each other, as counters of less than that say little. */
#define EARLY_DELAY_NS (CONTROL_TICK_NS / 20)
/* Not more often than that: an eighth more looks at most, where a full node is all there is to see. */
#define EARLY_REST_NS (8 * CONTROL_TICK_NS)
/* Mode save, the pace of TMO: 0.05 % every six seconds while there is no stall at all. It is what
 * its authors found fit for millions of machines, a quarter of what a slot uses in an hour;
 * mode_save_gives_back_slowly_and_never_while_it_stalls holds it to that. */
#define SAVE_INTERVAL_NS (12 * CONTROL_TICK_NS)
#define SAVE_DIVISOR 2000

static uint64_t permille(uint64_t value, uint32_t part)
{
	return value / 1000 * part + value % 1000 * part / 1000;
}

/* The smaller of a part of the group's memory and a part of the slot's share. */
static uint64_t small_part(const struct control_group *group, const struct control_slot *slot,
			   uint64_t group_divisor, uint64_t share_divisor)
{
	return MIN(group->bytes / group_divisor, slot->share_bytes / share_divisor);
}

static uint64_t step_bytes(const struct control_group *group, const struct control_slot *slot)
{
	return MAX(small_part(group, slot, STEP_GROUP_DIVISOR, STEP_SHARE_DIVISOR), CONTROL_PAGE);
}

uint64_t control_least_bytes(const struct control_group *group, const struct control_slot *slot)
{
	uint64_t least = small_part(group, slot, LEAST_GROUP_DIVISOR, LEAST_SHARE_DIVISOR);
	enum control_class class = slot->track.class;

	if (class == CONTROL_POLLUTER)
		least /= LEAST_SCAN_DIVISOR;
	if (class != CONTROL_IDLE && class != CONTROL_POLLUTER && class != CONTROL_SUSPECT)
		least = MAX(least, permille(slot->share_bytes, group->fairness_permille));
	return MAX(least, slot->min_bytes);
}

/* Needs memory, and its own cap is not the reason that it has none. At its cap it goes on asking for
 * what it was lent, or it would lose that and ask again half a second later; nobody loses more by it,
 * for there it reclaims from itself. */
static bool is_asking(const struct control_slot *slot)
{
	return slot->mode != SLOT_OFF && slot->track.class == CONTROL_EVIDENCE &&
	       !control_is_retested(slot) &&
	       (slot->sample.current_bytes < slot->max_bytes - slot->max_bytes / CAPPED_DIVISOR ||
		slot->sample.current_bytes > slot->share_bytes);
}

uint64_t control_hold_bytes(const struct control_group *group, const struct control_slot *slot)
{
	uint64_t stolen = (uint64_t)slot->track.mean_steal * CONTROL_PAGE;

	return MIN(group->bytes / HOLD_GROUP_DIVISOR,
		   MAX(slot->share_bytes / HOLD_SHARE_DIVISOR, stolen));
}

static bool is_holding(const struct control_group *group, const struct control_slot *slot)
{
	return slot->mode != SLOT_OFF &&
	       (slot->track.class == CONTROL_POLLUTER || control_is_retested(slot)) &&
	       slot->sample.current_bytes > slot->track.low_bytes + control_hold_bytes(group, slot);
}

/* ---- quiet slots */

static bool is_taxed(const struct control_track *track)
{
	return track->tax_bytes > 0 && !track->is_proving;
}

static void count_taxed(struct control_track *track)
{
	track->taxed_pages = track->taxed_pages * TAXED_KEEP + (double)track->steal_pages;
}

/* What it had when the least was left to it in the tick that ended. Within its share it loses what
 * the tax exposes and nothing else, and a small set in use has that back before anybody looks. */
static uint64_t lowest_bytes(const struct control_slot *slot)
{
	const struct control_track *track = &slot->track;
	uint64_t current = slot->sample.current_bytes;
	uint64_t back = MIN(track->steal_pages, track->refault_pages) * CONTROL_PAGE;

	return current > slot->share_bytes ? current : current - MIN(current, back);
}

/* Evidence from a slot that was taxed: was what it lost in use? */
static void begin_proof(const struct control_group *group, struct control_slot *slot)
{
	struct control_track *track = &slot->track;
	uint64_t slack = step_bytes(group, slot) / 2, left = slot->sample.current_bytes;

	if (!is_taxed(track))
		return;
	if (left + slack > track->tax_from_bytes)
		left = lowest_bytes(slot);
	if (left + slack > track->tax_from_bytes) {
		/* two hungry slots beside each other: nothing was taken yet */
		track->tax_bytes = 0;
		return;
	}
	track->is_proving = true;
	track->proof_bytes = left;
	count_taxed(track);
}

/* It is quiet again. Reclaim takes some pages in use along with cold ones, so a little that came
 * back is no proof. */
static void end_proof(const struct control_group *group, struct control_slot *slot, uint64_t now_ns)
{
	struct control_track *track = &slot->track;
	uint64_t current = slot->sample.current_bytes;
	uint64_t lost = MIN(track->tax_from_bytes - track->proof_bytes,
			    (uint64_t)track->taxed_pages * CONTROL_PAGE);

	track->is_proving = false;
	if (current < track->proof_bytes + lost / PROOF_DIVISOR) { /* the tax goes on */
		track->tax_from_bytes = current;
		track->taxed_pages = 0;
		return;
	}
	track->tax_bytes = 0;
	if (current > permille(track->tax_from_bytes, FLOOR_GROWN_PERMILLE))
		return;
	track->floor_bytes = MAX(current, track->proof_bytes + lost) + step_bytes(group, slot);
	track->proof_bytes = current;
	track->floor_hold_ticks = track->floor_hold_ticks == 0
					  ? FLOOR_HOLD_FIRST
					  : MIN(2 * track->floor_hold_ticks, FLOOR_HOLD_LAST);
	track->floor_until_ns = now_ns + track->floor_hold_ticks * CONTROL_TICK_NS;
}

/* A floor is of a working set: this is another one. */
static void forget_floor(struct control_slot *slot)
{
	struct control_track *track = &slot->track;
	uint64_t current = slot->sample.current_bytes;

	if (current <= permille(track->floor_bytes, FLOOR_GROWN_PERMILLE) &&
	    current >= permille(track->proof_bytes, FLOOR_DISPROOF_PERMILLE))
		return;
	track->floor_bytes = 0;
	track->floor_hold_ticks = 0;
}

static uint64_t tax(const struct control_group *group, struct control_slot *slot, uint64_t now_ns)
{
	struct control_track *track = &slot->track;
	uint64_t current = slot->sample.current_bytes, least = control_least_bytes(group, slot);

	track->taxed_ns = now_ns;
	if (track->floor_bytes > 0 && now_ns < track->floor_until_ns)
		return MAX(track->floor_bytes, least);
	if (track->tax_bytes == 0) {
		track->tax_bytes = step_bytes(group, slot);
		track->tax_from_bytes = current;
		track->taxed_pages = 0;
	} else if (slot->is_fresh) {
		count_taxed(track);
		if (track->steal_pages * CONTROL_PAGE >= track->tax_bytes / TAX_TAKEN_DIVISOR)
			track->tax_bytes = MIN(2 * track->tax_bytes, group->bytes);
	}
	return MAX(MIN(track->low_bytes, current - MIN(current, track->tax_bytes)), least);
}

bool control_is_filling(const struct control_slot *slot)
{
	uint64_t current = slot->sample.current_bytes;

	return current < slot->share_bytes &&
	       slot->track.grown_pages * CONTROL_PAGE > current / FILLING_DIVISOR;
}

static uint64_t quiet_bytes(const struct control_group *group, struct control_slot *slot,
			    bool is_scan_holding, uint64_t now_ns)
{
	struct control_track *track = &slot->track;

	if (is_scan_holding) {
		return permille(slot->sample.current_bytes, 1020) +
		       small_part(group, slot, ROOM_GROUP_DIVISOR, ROOM_SHARE_DIVISOR);
	}
	if (control_is_filling(slot)) {
		track->tax_bytes = 0;
		return slot->share_bytes;
	}
	if (group->n_evidence > 0)
		return tax(group, slot, now_ns);
	if (track->tax_bytes > 0 && now_ns < track->taxed_ns + TAX_KEEP_NS)
		return track->low_bytes;
	track->tax_bytes = 0;
	if (track->taxed_ns == 0 || now_ns >= track->taxed_ns + LENT_KEEP_NS)
		return slot->share_bytes;
	return MIN(MIN(track->low_bytes, slot->share_bytes), slot->sample.current_bytes);
}

/* ---- scans */

/* A retest is cheap at first, and those that get rarer because they failed are given more: a task
 * that would use its pages again must have some to show it. */
static uint64_t retest_bytes(const struct control_group *group, const struct control_slot *slot)
{
	uint64_t part = slot->track.retest_interval_ns / CONTROL_RETEST_FIRST_NS;
	uint64_t least = control_least_bytes(group, slot);

	return MIN(MAX(MIN(least + part * (group->bytes / RETEST_GROUP_DIVISOR), slot->share_bytes),
		       least),
		   slot->max_bytes);
}

/* ---- all slots */

/* What the slot would be protected at; for one with evidence, the most it may be. */
static uint64_t wanted_bytes(const struct control_group *group, struct control_slot *slot,
			     bool is_scan_holding, uint64_t now_ns)
{
	struct control_track *track = &slot->track;
	uint64_t held = MIN(track->low_bytes, slot->sample.current_bytes), bytes;

	if (slot->mode == SLOT_OFF || track->class == CONTROL_NEW)
		return slot->share_bytes;
	if (control_is_retested(slot))
		return retest_bytes(group, slot);
	if (track->is_proving && track->class != CONTROL_EVIDENCE)
		end_proof(group, slot, now_ns);
	forget_floor(slot);
	switch (track->class) {
	case CONTROL_EVIDENCE:
		begin_proof(group, slot);
		bytes = is_asking(slot) && group->n_evidence > 0 ? slot->max_bytes
								 : slot->share_bytes;
		break;
	case CONTROL_SUSPECT:
		bytes = MIN(track->low_bytes, permille(slot->sample.current_bytes, 950));
		break;
	case CONTROL_POLLUTER:
		bytes = held / 2;
		break;
	default:
		bytes = quiet_bytes(group, slot, is_scan_holding, now_ns);
		break;
	}
	/* Nobody asks: nobody needs to be promised what others lend. */
	if (group->n_evidence == 0 && !is_scan_holding)
		bytes = MIN(bytes, slot->share_bytes);
	return MIN(MAX(bytes, control_least_bytes(group, slot)), slot->max_bytes);
}

static int divide_tier(struct control_slot *const *slots, size_t n, struct claim *claims,
		       uint32_t tier, uint64_t *left)
{
	uint64_t later = 0;
	size_t n_claims = 0;
	int r;

	for (size_t i = 0; i < n; i++) {
		struct control_slot *slot = slots[i];
		/* Whoever is to have exactly his share has it as a guarantee here. */
		bool is_fixed = slot->mode == SLOT_OFF || slot->track.class == CONTROL_NEW;
		uint64_t min = is_fixed ? slot->low_bytes : MIN(slot->min_bytes, slot->low_bytes);

		if (slot->tier > tier)
			later += min;
		if (slot->tier != tier)
			continue;
		claims[n_claims++] = (struct claim){ .name = slot->name,
						     .weight = slot->weight,
						     .min = min,
						     .max = slot->low_bytes };
	}
	r = maxmin_divide(claims, n_claims, *left - MIN(*left, later));
	if (r < 0)
		return r;
	n_claims = 0;
	for (size_t i = 0; i < n; i++) {
		if (slots[i]->tier != tier)
			continue;
		slots[i]->low_bytes = claims[n_claims].share & ~(CONTROL_PAGE - 1);
		*left -= MIN(*left, claims[n_claims++].share);
	}
	return 0;
}

/* What nobody is promised goes to whoever is faster, and stays there: of two slots of one weight that
 * both asked one had 5 % more than the other for half a minute on 6.12. So while all ask, who has less
 * than his part of it is promised half of that; the other half is what reclaim finds. */
static void level(struct control_group *group, struct control_slot *const *slots, size_t n,
		  uint64_t used_bytes)
{
	uint64_t spare =
		MIN(used_bytes - MIN(used_bytes, group->bytes), group->bytes / FREE_DIVISOR);
	double part = (double)spare / (double)group->bytes;

	if (spare == 0) /* and so if nothing is divided */
		return;
	for (size_t i = 0; i < n; i++)
		if (slots[i]->track.class != CONTROL_IDLE && !is_asking(slots[i]))
			return;
	for (size_t i = 0; i < n; i++) {
		struct control_slot *slot = slots[i];
		uint64_t extra = (uint64_t)((double)slot->low_bytes * part);

		if (is_asking(slot) && slot->sample.current_bytes < slot->low_bytes + extra)
			slot->low_bytes = MIN(slot->low_bytes + extra / 2, slot->max_bytes);
	}
	group->reserve_bytes = spare / 2;
}

/* Entitlement that quiet slots do not use now goes to those with evidence, by tier and weight. */
static int divide(const struct control_group *group, struct control_slot *const *slots, size_t n)
{
	struct claim *claims = calloc(n, sizeof(*claims));
	uint64_t left = group->bytes;
	int r = claims ? 0 : -ENOMEM;

	for (uint32_t tier = 0; tier < TIERS && r >= 0; tier++)
		r = divide_tier(slots, n, claims, tier, &left);
	free(claims);
	return r;
}

/* Scans among themselves: their weights hold in what the others do not use. */
static int divide_scans(const struct control_group *group, struct control_slot *const *slots,
			size_t n)
{
	struct claim *claims = calloc(n, sizeof(*claims));
	uint64_t used = 0, least = 0;
	size_t n_claims = 0;
	int r;

	if (!claims)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		struct control_slot *slot = slots[i];

		if (slot->track.class != CONTROL_POLLUTER || slot->mode == SLOT_OFF) {
			used += MAX(permille(slot->sample.current_bytes, 1020) +
					    small_part(group, slot, ROOM_GROUP_DIVISOR,
						       ROOM_SHARE_DIVISOR),
				    slot->min_bytes);
			continue;
		}
		least += slot->low_bytes;
		claims[n_claims++] = (struct claim){ .name = slot->name,
						     .weight = slot->weight,
						     .min = slot->low_bytes,
						     .max = slot->max_bytes };
	}
	used = MIN(used, group->bytes);
	r = maxmin_divide(claims, n_claims,
			  MAX(least, permille(group->bytes - used, SCANS_PERMILLE)));
	n_claims = 0;
	for (size_t i = 0; i < n && r >= 0; i++)
		if (slots[i]->track.class == CONTROL_POLLUTER && slots[i]->mode != SLOT_OFF)
			slots[i]->low_bytes = claims[n_claims++].share;
	free(claims);
	return r;
}

static bool is_worth_writing(const struct control_group *group, const struct control_slot *slot)
{
	uint64_t before = slot->track.low_bytes, now = slot->low_bytes;
	uint64_t change = now > before ? now - before : before - now;

	if (change == 0)
		return false;
	return now == (slot->share_bytes & ~(CONTROL_PAGE - 1)) ||
	       change >= step_bytes(group, slot);
}

static uint64_t demand_bytes(const struct control_group *group, const struct control_slot *slot)
{
	const struct control_track *track = &slot->track;
	uint64_t current = slot->sample.current_bytes;

	switch (track->class) {
	case CONTROL_EVIDENCE: /* and what it faulted back in a second */
		return MIN(current + (uint64_t)(2 * track->mean_refault) * CONTROL_PAGE,
			   slot->max_bytes);
	case CONTROL_SUSPECT:
	case CONTROL_POLLUTER:
		return control_least_bytes(group, slot);
	case CONTROL_NEW:
		return slot->share_bytes;
	default:
		return is_taxed(track) ? MIN(current, slot->low_bytes) : current;
	}
}

static uint64_t save_bytes(struct control_slot *slot, uint64_t now_ns)
{
	struct control_track *track = &slot->track;
	bool is_calm = track->class == CONTROL_QUIET || track->class == CONTROL_IDLE;

	if (slot->mode != SLOT_SAVE || !is_calm ||
	    now_ns < MAX(track->saved_ns, track->stalled_ns) + SAVE_INTERVAL_NS ||
	    slot->sample.current_bytes <= slot->min_bytes)
		return 0;
	track->saved_ns = now_ns;
	return MIN(slot->sample.current_bytes / SAVE_DIVISOR,
		   slot->sample.current_bytes - slot->min_bytes) &
	       ~(CONTROL_PAGE - 1);
}

static void apply(struct control_slot *slot)
{
	slot->is_changed = slot->track.low_bytes != slot->low_bytes;
	slot->track.low_bytes = slot->low_bytes;
}

/* Puts what is worth writing in force; small increases when they are worth it together, for a scan
 * takes whatever nobody is promised; and every decrease while more is promised than there is. */
static void settle(const struct control_group *group, struct control_slot *const *slots, size_t n)
{
	uint64_t most = group->bytes + group->reserve_bytes, promised = 0, kept_back = 0;

	for (size_t i = 0; i < n; i++) {
		struct control_slot *slot = slots[i];

		slot->low_bytes = MAX(slot->low_bytes, slot->min_bytes) & ~(CONTROL_PAGE - 1);
		slot->is_changed = false;
		if (is_worth_writing(group, slot))
			apply(slot);
		kept_back += slot->low_bytes - MIN(slot->low_bytes, slot->track.low_bytes);
	}
	for (size_t i = 0; i < n; i++) {
		struct control_slot *slot = slots[i];

		if (slot->low_bytes > slot->track.low_bytes &&
		    kept_back >= group->bytes / STEP_GROUP_DIVISOR)
			apply(slot);
		promised += slot->track.low_bytes;
	}
	for (size_t i = 0; i < n; i++)
		if (promised > most && slots[i]->low_bytes < slots[i]->track.low_bytes)
			apply(slots[i]);
}

uint64_t control_early_ns(struct control_group *group, uint64_t now_ns, uint64_t next_ns)
{
	uint64_t early_ns = now_ns + EARLY_DELAY_NS;

	if (group->n_evidence > 0 || group->n_polluter > 0 || early_ns + EARLY_DELAY_NS > next_ns ||
	    (group->early_ns != 0 && now_ns < group->early_ns + EARLY_REST_NS))
		return 0;
	group->early_ns = early_ns;
	return early_ns;
}

static void conclude(struct control_group *group, struct control_slot *slot, uint64_t now_ns)
{
	slot->low_bytes = slot->track.low_bytes;
	if (slot->low_bytes < slot->share_bytes)
		group->freed_bytes += slot->share_bytes - slot->low_bytes;
	slot->demand_bytes = demand_bytes(group, slot);
	slot->reclaim_bytes = save_bytes(slot, now_ns);
}

void control_reshare(struct control_slot *slot, uint64_t share_bytes)
{
	struct control_track *track = &slot->track;
	bool is_scan = track->class == CONTROL_POLLUTER || track->class == CONTROL_SUSPECT;
	bool is_moved = is_taxed(track) || track->class == CONTROL_EVIDENCE;
	uint64_t old_bytes = slot->share_bytes;
	bool is_acquitted = share_bytes >= old_bytes + old_bytes / ACQUIT_DIVISOR;
	uint64_t change =
		share_bytes > old_bytes ? share_bytes - old_bytes : old_bytes - share_bytes;

	if (share_bytes == old_bytes)
		return;
	slot->share_bytes = share_bytes;
	if (slot->mode != SLOT_OFF && is_moved && change < old_bytes / RESHARE_DIVISOR) {
		/* What was learnt holds: one slot of many came or went. */
	} else if (slot->mode != SLOT_OFF && is_scan && !is_acquitted) {
		track->low_bytes = MIN(track->low_bytes, share_bytes);
	} else {
		if (is_acquitted)
			control_acquit(slot);
		track->low_bytes = share_bytes;
		track->tax_bytes = 0;
		track->is_proving = false;
		track->floor_bytes = MIN(track->floor_bytes, share_bytes);
	}
	track->low_bytes &= ~(CONTROL_PAGE - 1);
	slot->low_bytes = track->low_bytes;
}

int control_plan(struct control_group *group, struct control_slot *const *slots, size_t n,
		 uint64_t now_ns)
{
	uint64_t used_bytes = 0;
	bool is_scan_holding = false;
	int r = 0;

	if (n > SLOTS_MAX || group->fairness_permille > 1000)
		return -EINVAL;
	group->n_evidence = group->n_polluter = 0;
	group->freed_bytes = group->reserve_bytes = 0;
	for (size_t i = 0; i < n; i++) {
		if (slots[i]->tier >= TIERS)
			return -EINVAL;
		control_observe(slots[i], now_ns);
		used_bytes += slots[i]->sample.current_bytes;
		group->n_evidence += is_asking(slots[i]);
		group->n_polluter +=
			slots[i]->track.class == CONTROL_POLLUTER && slots[i]->mode != SLOT_OFF;
		is_scan_holding |= is_holding(group, slots[i]);
	}
	if (used_bytes < group->bytes - group->bytes / FREE_DIVISOR)
		group->n_evidence = 0; /* they get it from what is free */
	for (size_t i = 0; i < n; i++)
		slots[i]->low_bytes = wanted_bytes(group, slots[i], is_scan_holding, now_ns);
	if (group->n_evidence > 0)
		r = divide(group, slots, n);
	else if (group->n_polluter > 1)
		r = divide_scans(group, slots, n);
	if (r < 0)
		return r;
	if (group->n_evidence > 0)
		level(group, slots, n, used_bytes);
	settle(group, slots, n);
	for (size_t i = 0; i < n; i++)
		conclude(group, slots[i], now_ns);
	return 0;
}
