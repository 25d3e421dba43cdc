/* SPDX-License-Identifier: Apache-2.0 */

/*
 * That `tmctl explain` says what the law does: the law is driven to each threshold as it is told, and
 * one beyond; and there is no member that the law remembers or decides by and explain leaves out.
 */

#include "policy/explain.h"

#include <check.h>
#include <string.h>

#include "control_fixture.h"
#include "suite.h"

static struct explain_law law_of(const struct control_slot *slot)
{
	return explain_law(&group, slot);
}

static uint64_t pages(uint64_t bytes)
{
	return bytes / CONTROL_PAGE;
}

/* Each of these is run twice, with what is "above" as it is and one more, with what is "from" one less
 * and as it is: _i is 0 and 1. */

/* ---------------------------------------------------------------- need */

START_TEST(refaults_are_a_need_above_what_is_told)
{
	settle();
	a.sample.refault_pages += law_of(&a).refault_above + (uint64_t)_i;
	plan();
	ck_assert_int_eq(a.track.class, _i ? CONTROL_EVIDENCE : CONTROL_QUIET);
}
END_TEST

START_TEST(refaults_are_a_need_above_their_part_of_what_is_taken)
{
	settle();
	a.sample.steal_pages += 5000;
	a.sample.refault_pages += 1000 + (uint64_t)_i;
	plan();
	ck_assert_int_eq(a.track.class, _i ? CONTROL_EVIDENCE : CONTROL_QUIET);
	ck_assert_int_eq(a.track.mean_refault > law_of(&a).mean_refault_above, _i);
	ck_assert_double_eq_tol(law_of(&a).mean_refault_above, 250, 0.001);
}
END_TEST

START_TEST(waits_are_a_need_from_what_is_told)
{
	struct explain_law law;

	settle();
	law = law_of(&a);
	a.sample.stall_us += (law.stall_from_permille - 1 + (uint64_t)_i) * 500;
	a.sample.refault_pages += law.fetch_above + 1;
	plan();
	ck_assert_int_eq(a.track.class, _i ? CONTROL_EVIDENCE : CONTROL_QUIET);
}
END_TEST

START_TEST(waits_are_a_need_if_more_is_fetched_than_is_told)
{
	settle();
	a.sample.stall_us += 100000;
	a.sample.refault_pages += law_of(&a).fetch_above + (uint64_t)_i;
	plan();
	ck_assert_int_eq(a.track.class, _i ? CONTROL_EVIDENCE : CONTROL_QUIET);
}
END_TEST

START_TEST(slot_is_idle_from_so_many_ticks)
{
	settle();
	for (uint32_t i = 0; i < law_of(&a).idle_from_ticks - 1 + (uint32_t)_i; i++) {
		a.sample.cpu_us -= 100000; /* plan() adds it again */
		plan();
	}
	ck_assert_int_eq(a.track.class, _i ? CONTROL_IDLE : CONTROL_QUIET);
}
END_TEST

/* ---------------------------------------------------------------- scans */

START_TEST(slot_is_suspect_above_what_is_told)
{
	uint64_t n;

	settle();
	n = law_of(&a).suspect_above + (uint64_t)_i;
	a.sample.refault_pages += n;
	a.sample.steal_pages += n;
	plan();
	ck_assert_int_eq(a.track.class, _i ? CONTROL_SUSPECT : CONTROL_EVIDENCE);
}
END_TEST

START_TEST(reuse_clears_of_suspicion_from_what_is_told)
{
	bool is_refill = _i >= 2;
	uint64_t n = (is_refill ? 4001 : 201) - 1 + (uint64_t)(_i % 2); /* of 40001: rounded up */
	struct explain_law law;

	settle();
	a.sample.refault_pages += 40001;
	a.sample.steal_pages += 40001;
	*(is_refill ? &a.sample.refill_pages : &a.sample.restore_pages) += n;
	plan();
	law = law_of(&a);
	ck_assert_int_eq(a.track.class, _i % 2 ? CONTROL_EVIDENCE : CONTROL_SUSPECT);
	ck_assert_int_eq(n >= (is_refill ? law.reuse_refill_from : law.reuse_restore_from), _i % 2);
}
END_TEST

START_TEST(slot_is_a_scan_above_what_is_told)
{
	settle();
	a.sample.steal_pages += law_of(&a).polluter_above + (uint64_t)_i;
	plan();
	ck_assert_int_eq(a.track.class, _i ? CONTROL_POLLUTER : CONTROL_QUIET);
}
END_TEST

START_TEST(scan_is_pardoned_by_a_turnover_from_what_is_told)
{
	struct explain_law law;
	uint64_t more = (uint64_t)(_i % 2) - 1;

	make_polluter(&a);
	law = law_of(&a);
	a.sample.steal_pages += law.polluter_above + 1;
	if (_i < 2)
		a.sample.restore_pages += law.pardon_restore_from + more;
	else
		a.sample.refill_pages += law.pardon_refill_from + more;
	plan();
	ck_assert_uint_eq(a.track.turnover_pages, 0); /* it was judged */
	ck_assert_int_eq(!a.track.is_polluter, _i % 2);
}
END_TEST

/* @restored more in each tick until it is pardoned: the first time that the average is above. */
static void restore_until_pardoned(uint64_t steal, uint64_t restored)
{
	for (uint64_t i = 1; a.track.is_polluter; i++) {
		ck_assert_uint_lt(i, 55); /* the retest is not what ends it */
		a.sample.steal_pages += steal;
		a.sample.refault_pages += steal;
		a.sample.restore_pages += restored * i;
		plan();
		ck_assert_int_eq(a.track.is_polluter,
				 a.track.mean_restore <= law_of(&a).pardon_mean_above);
	}
}

START_TEST(scan_is_pardoned_by_its_average_above_what_is_told)
{
	make_polluter(&a);
	if (_i == 0) { /* 1.5 % of the flow */
		restore_until_pardoned(1000, 1);
		ck_assert_double_gt(law_of(&a).pardon_mean_above, 15);
		return;
	}
	for (int i = 0; i < 30; i++) { /* until little comes and goes */
		a.sample.steal_pages += 100;
		plan();
	}
	restore_until_pardoned(100, 1);
	ck_assert_double_eq(law_of(&a).pardon_mean_above, 4);
}
END_TEST

START_TEST(scan_is_pardoned_for_what_is_restored_if_more_comes_back_than_is_told)
{
	uint64_t steal = _i == 0 ? 200000 : 1000; /* of a turnover, and on average */

	make_polluter(&a);
	for (int i = 0; i < 30; i++) { /* until nothing comes back */
		a.sample.steal_pages += steal;
		plan();
	}
	for (uint64_t i = 1; a.track.is_polluter; i++) {
		ck_assert_uint_lt(i, 25); /* the retest is not what ends it */
		a.sample.steal_pages += steal;
		a.sample.restore_pages += steal / 40;
		a.sample.refault_pages += steal / 40 + i * steal / 1000;
		plan();
		ck_assert_int_eq(a.track.is_polluter,
				 a.track.mean_refault <= law_of(&a).pardon_refault_above);
	}
}
END_TEST

START_TEST(scan_is_pardoned_from_so_many_calm_ticks)
{
	make_polluter(&a);
	for (uint32_t i = 0; i < law_of(&a).calm_from_ticks - 1 + (uint32_t)_i; i++)
		plan();
	ck_assert_int_eq(!a.track.is_polluter, _i);
}
END_TEST

START_TEST(scan_has_what_others_may_take_above_what_is_told)
{
	struct explain_group others = {};

	make_polluter(&b);
	b.sample.current_bytes = law_of(&b).holding_above_bytes + (uint64_t)_i;
	explain_count_group(&others, &group, &a);
	explain_count_group(&others, &group, &b);
	ck_assert_uint_eq(others.n_holding, _i);
	ck_assert_uint_eq(others.used_bytes, a.sample.current_bytes + b.sample.current_bytes);
	plan();
	ck_assert_uint_eq(a.low_bytes / M, _i ? 520 : 500); /* 2 % and 1 % of the group more */
}
END_TEST

/* ---------------------------------------------------------------- the tax */

START_TEST(quiet_slots_lend_from_what_is_used_as_told)
{
	settle();
	b.sample.current_bytes =
		law_of(&b).tax_from_used_bytes - a.sample.current_bytes - 1 + (uint64_t)_i;
	count_need(&a);
	plan();
	ck_assert_uint_eq(group.n_evidence, _i);
}
END_TEST

START_TEST(tax_doubles_from_what_is_told)
{
	uint64_t before;

	settle();
	tax();
	before = b.track.tax_bytes;
	b.sample.steal_pages += pages(law_of(&b).tax_taken_from_bytes) - 1 + (uint64_t)_i;
	count_need(&a);
	plan();
	ck_assert_uint_eq(b.track.tax_bytes, _i ? 2 * before : before);
}
END_TEST

/* @b has lent, wants it back, and has this much more than would prove that it needed it. */
static void prove(uint64_t more)
{
	settle();
	for (int i = 0; i < 5; i++)
		tax();
	count_wait(&b);
	tax();
	ck_assert(b.track.is_proving);
	b.sample.current_bytes = law_of(&b).proof_from_bytes + more;
	tax();
}

START_TEST(what_is_lent_was_in_use_from_what_is_told)
{
	prove((uint64_t)_i - 1);
	ck_assert_int_eq(b.track.floor_bytes > 0, _i);
}
END_TEST

START_TEST(floor_is_forgotten_beyond_what_is_told)
{
	struct explain_law law;

	prove(0);
	law = law_of(&b);
	b.sample.current_bytes = _i < 2 ? law.floor_above_bytes + (uint64_t)(_i % 2)
					: law.floor_below_bytes - (uint64_t)(_i % 2);
	plan();
	ck_assert_int_eq(b.track.floor_bytes == 0, _i % 2);
}
END_TEST

START_TEST(shares_come_back_and_save_gives_back_when_it_is_told)
{
	uint64_t n = 0;

	settle();
	tax();
	for (; b.low_bytes < SHARE; n++)
		plan();
	ck_assert_uint_eq(n * CONTROL_TICK_NS, EXPLAIN_LENT_KEEP_NS);
	b.mode = SLOT_SAVE;
	plan();
	ck_assert_uint_eq(b.reclaim_bytes, law_of(&b).save_bytes);
	ck_assert_uint_gt(b.reclaim_bytes, 0);
	n = 0;
	do {
		plan();
		n++;
	} while (b.reclaim_bytes == 0);
	ck_assert_uint_eq(n * CONTROL_TICK_NS, EXPLAIN_SAVE_INTERVAL_NS);
}
END_TEST

/* ---------------------------------------------------------------- nothing is left out */

#define MS UINT64_C(1000000)
#define NOW (UINT64_C(1000000) * MS)

/* Every member, in order: its value, and the term that shows it. "(words)" are the sentences, "plan" a
 * term of the plan, and "-" is said to be no part of a decision. A member that is added does not
 * compile until it is listed, and one that is listed has to be seen. */
#define TRACK_MEMBERS(X)                                                               \
	X(class, CONTROL_POLLUTER, "(words)")                                          \
	X(since_ns, NOW - 3000 * MS, "classMsec")                                      \
	X(sampled_ns, NOW, "(words)")                                                  \
	X(last, { .current_bytes = 1 }, "-") /* rates are what differs from it */      \
	X(refault_pages, 2, "refaultNowBytesPerSecond")                                \
	X(restore_pages, 3, "-") /* its average and what the turnover has of it are */ \
	X(refill_pages, 4, "refillBytesPerSecond")                                     \
	X(steal_pages, 5, "stealNowBytesPerSecond")                                    \
	X(stall_permille, 6, "stallPermille")                                          \
	X(grown_pages, 7, "growthBytes")                                               \
	X(mean_refault, 8, "refaultBytesPerSecond")                                    \
	X(mean_restore, 9, "restoreBytesPerSecond")                                    \
	X(mean_steal, 10, "stealBytesPerSecond")                                       \
	X(mean_flow, 11, "flowBytesPerSecond")                                         \
	X(turnover_pages, 12, "turnoverBytes")                                         \
	X(window_restore, 13, "turnoverRestoreBytes")                                  \
	X(window_refill, 14, "turnoverRefillBytes")                                    \
	X(window_bytes, 34 * M, "turnoverFromBytes")                                   \
	X(calm_ticks, 15, "calmMsec")                                                  \
	X(idle_ticks, 16, "idleMsec")                                                  \
	X(is_polluter, true, "retestMsec") /* the class says it */                     \
	X(retest_ns, NOW + 17 * MS, "retestMsec")                                      \
	X(retest_interval_ns, 18 * MS, "retestIntervalMsec")                           \
	X(tax_bytes, 19, "taxBytes")                                                   \
	X(tax_from_bytes, 20, "taxedFromBytes")                                        \
	X(taxed_pages, 21, "taxedBytes")                                               \
	X(is_proving, true, "proving")                                                 \
	X(proof_bytes, 22, "proofBytes")                                               \
	X(taxed_ns, NOW - 23 * MS, "taxKeptMsec")                                      \
	X(floor_bytes, 24, "floorBytes")                                               \
	X(floor_until_ns, NOW + 25 * MS, "floorHeldMsec")                              \
	X(floor_hold_ticks, 26, "floorHoldMsec")                                       \
	X(low_bytes, 27 * M, "(words)") /* lawBytes is the same when it is read */     \
	X(saved_ns, NOW - 28 * MS, "saveWaitMsec")                                     \
	X(stalled_ns, NOW - 33 * MS, "stallWaitMsec")

#define SLOT_MEMBERS(X)                                                        \
	X(name, "a", "-")                                                      \
	X(weight, 100, "plan weight")                                          \
	X(tier, 1, "plan tier")                                                \
	X(mode, SLOT_SAVE, "saveWaitMsec")                                     \
	X(min_bytes, 90 * M, "leastBytes")                                     \
	X(share_bytes, 98 * M, "plan shareBytes")                              \
	X(max_bytes, 400 * M, "plan maxBytes")                                 \
	X(sample, { .current_bytes = 500 * M }, "seenBytes")                   \
	X(is_fresh, true, "-")                  /* what was seen then stays */ \
	X(track, { TRACK_MEMBERS(VALUE) }, "-") /* above */                    \
	X(low_bytes, 29 * M, "lawBytes")                                       \
	X(demand_bytes, 30 * M, "demandBytes")                                 \
	X(reclaim_bytes, 31 * M, "reclaimBytes")                               \
	X(is_changed, true, "-") /* written or not */

#define GROUP_MEMBERS(X)                                \
	X(bytes, 392 * M, "groupBytes")                 \
	X(fairness_permille, 650, "fairnessPermille")   \
	X(early_ns, NOW, "-") /* earlyLooks of nodes */ \
	X(n_evidence, 2, "groupNeedy")                  \
	X(n_polluter, 3, "groupScans")                  \
	X(freed_bytes, 32 * M, "groupFreedBytes")       \
	X(reserve_bytes, 33 * M, "groupReserveBytes")

#define VALUE(member, value, shown) value,
#pragma GCC diagnostic push
#pragma GCC diagnostic error "-Wmissing-field-initializers"
static const struct control_track full_track = { TRACK_MEMBERS(VALUE) };
static const struct control_slot full_slot = { SLOT_MEMBERS(VALUE) };
static const struct control_group full_group = { GROUP_MEMBERS(VALUE) };
#pragma GCC diagnostic pop

struct member {
	const char *name, *shown;
	size_t offset, size;
};
#define MEMBER(type, member, shown) \
	{ #member, shown, offsetof(type, member), sizeof(((type *)NULL)->member) },
#define TRACK_MEMBER(member, value, shown) MEMBER(struct control_track, member, shown)
#define SLOT_MEMBER(member, value, shown) MEMBER(struct control_slot, member, shown)
#define GROUP_MEMBER(member, value, shown) MEMBER(struct control_group, member, shown)
static const struct member track_members[] = { TRACK_MEMBERS(TRACK_MEMBER) };
static const struct member slot_members[] = { SLOT_MEMBERS(SLOT_MEMBER) };
static const struct member group_members[] = { GROUP_MEMBERS(GROUP_MEMBER) };

struct told {
	struct control_term terms[EXPLAIN_TERMS];
	size_t n;
	char reason[EXPLAIN_REASON_MAX];
};

static void tell(struct told *told)
{
	struct slot_policy policy = { .name = "a", .weight = 100, .tier = 1, .max_bytes = 400 * M };
	struct explain_input in = { .policy = &policy,
				    .share_bytes = 98 * M,
				    .kernel_max_bytes = BYTES_UNLIMITED,
				    .brake_bytes = BYTES_UNLIMITED,
				    .shrink_note = "",
				    .is_enforced = true,
				    .group = &group,
				    .control = &a };

	told->n = explain_terms(&in, NOW, told->terms);
	(void)explain_reason(&in, told->reason);
}

static const struct control_term *find(const struct told *told, const char *name)
{
	for (size_t i = 0; i < told->n; i++)
		if (strcmp(told->terms[i].name, name) == 0)
			return &told->terms[i];
	ck_abort_msg("no term %s", name);
}

/* Without each member in turn what shows it is another one. */
static void check_members(const struct member *members, size_t n, void *object)
{
	static struct told with, without;
	uint8_t kept[sizeof(struct control_slot)];

	tell(&with);
	for (size_t i = 0; i < n; i++) {
		const struct member *m = &members[i];
		uint8_t *at = (uint8_t *)object + m->offset;

		ck_assert(i == 0 || m->offset > members[i - 1].offset); /* as in the header */
		if (strcmp(m->shown, "-") == 0)
			continue;
		if (strncmp(m->shown, "plan ", 5) == 0) {
			(void)find(&with, m->shown + 5);
			continue;
		}
		memcpy(kept, at, m->size);
		memset(at, 0, m->size);
		tell(&without);
		memcpy(at, kept, m->size);
		if (m->shown[0] == '(')
			ck_assert_msg(strcmp(with.reason, without.reason) != 0,
				      "no word of %s in: %s", m->name, with.reason);
		else
			ck_assert_msg(find(&with, m->shown)->value !=
					      find(&without, m->shown)->value,
				      "%s does not show %s", m->shown, m->name);
	}
}

START_TEST(every_member_that_decides_is_told)
{
	a = full_slot;
	a.track = full_track;
	group = full_group;
	check_members(track_members, ARRAY_LEN(track_members), &a.track);
	check_members(slot_members, ARRAY_LEN(slot_members), &a);
	check_members(group_members, ARRAY_LEN(group_members), &group);
}
END_TEST

/* ---------------------------------------------------------------- words */

static void says(const struct control_slot *slot, const char *words)
{
	char buf[EXPLAIN_LAW_MAX];

	ck_assert_msg(strstr(explain_law_words(&group, slot, buf), words), "no \"%s\" in: %s",
		      words, buf);
}

START_TEST(a_need_and_none_are_told_with_their_thresholds)
{
	settle();
	says(&a, "It would be a need if more than 5M/s came back, 1 % of its memory a second (now "
		 "0/s), and on average more than 0/s, a fifth of what is taken from it (now 0/s); "
		 "or if it waited 5 % of the time (now 0.0 %) and fetched more than 512K/s, 0.1 % "
		 "of its memory a second (now 0/s)");
	a.sample.refault_pages += 10 * MIB_PAGES;
	a.sample.steal_pages += 4 * MIB_PAGES;
	plan();
	says(&a,
	     "It is a need because 20M/s in the last half second are more than 5M/s, 1 % of its "
	     "memory a second, and 5M/s on average more than 408K/s, a fifth of what is taken "
	     "from it");
	setup();
	settle();
	a.sample.stall_us += 100000;
	a.sample.refault_pages += MIB_PAGES;
	plan();
	says(&a,
	     "It is a need because it waited 5 % of the time or more and fetched 2M/s, more than "
	     "512K/s, 0.1 % of its memory a second, with no more than its share");
	a.track.idle_ticks = 24;
	a.track.class = CONTROL_IDLE;
	says(&a, "It is idle after 4 s without processor time or faults (now 12 s)");
}
END_TEST

START_TEST(scans_are_told_with_what_would_clear_them)
{
	settle();
	count_scan(&a, 400);
	plan();
	says(&a,
	     "It is suspect because more than 125M, a quarter of its memory, are turned over since "
	     "it used 500M, from which it has not grown by an eighth of what it uses, and less "
	     "than 1M of that, 0.5 %, were restored (0) and less than 20M, 10 %, found in "
	     "use (0); at more than 500M, all of its memory, it is a scan");
	count_scan(&a, 400);
	plan();
	count_scan(&a, 400);
	plan();
	says(&a,
	     "It is pardoned if 5M (1 %) are restored or 50M (10 %) found in use of the next 500M "
	     "turned over (so far 0 and 0 of 0); if more than");
	says(&a,
	     "1.5 % of what comes and goes (now 0/s); for what is restored only while more than");
	says(&a,
	     "4 % of what is taken (now 231.3M/s); after 3 s in which nothing is taken (now 0.0 s); or "
	     "when its share grows by half");
	says(&a, "nobody else is taxed");
	a.track.tax_bytes = M; /* of the time before */
	ck_assert(!strstr(explain_law_words(&group, &a, (char[EXPLAIN_LAW_MAX]){ 0 }), "It lends"));
	a.track.tax_bytes = 0;
	while (a.track.is_polluter) {
		count_scan(&a, 300);
		plan();
	}
	says(&a, "It was a scan and is tested again until more than 500M, all of its memory, are "
		 "turned over");
}
END_TEST

START_TEST(what_is_lent_and_kept_is_told_with_what_moves_it)
{
	settle();
	tax();
	says(&b, "It lends 5M at a time, twice as much when 1.3M of that, a quarter, are taken in "
		 "half a second (now 0), down to a protection of 20M");
	plan();
	says(&b,
	     "Nobody is in need now: in 30 s, 30 s after the last one was, it is protected at its "
	     "share, until then at no more than it uses");
	tax();
	b.sample.current_bytes = SHARE / 2;
	plan();
	b.sample.current_bytes += 100 * M;
	a.sample.current_bytes = B - b.sample.current_bytes;
	count_need(&a);
	plan();
	says(&b, "It grew by 200M/s within its share, and lends nothing while that is more than an "
		 "eighth of its memory in half a second");
	setup();
	prove(0);
	says(&b, "For 10 s it lends nothing below ");
	says(&b, "forgotten if it comes to use more than ");
	setup();
	settle();
	for (int i = 0; i < 5; i++)
		tax();
	count_wait(&b);
	tax();
	says(&b, "What it lent was in use if it has ");
	b.mode = SLOT_OFF;
	ck_assert(!strstr(explain_law_words(&group, &b, (char[EXPLAIN_LAW_MAX]){ 0 }), "lent"));
	setup();
	settle();
	b.mode = SLOT_SAVE;
	for (int i = 0; i < 12 && b.reclaim_bytes == 0; i++)
		plan();
	says(&b,
	     "Mode save gives back 256K (0.05 %) every 6 s and 6 s after it waited for memory, next in 6 s");
}
END_TEST

/* Whatever the numbers are, the sentences are whole. */
START_TEST(the_longest_words_are_not_cut)
{
	static const double huge = 1e12;
	char law[EXPLAIN_LAW_MAX], reason[CONTROL_REASON_MAX];

	a = full_slot;
	a.share_bytes = a.sample.current_bytes = UINT64_MAX / 3000 * 2;
	a.low_bytes = a.track.low_bytes = a.share_bytes / 3 + (uint64_t)_i * a.share_bytes;
	a.track.refault_pages = a.track.steal_pages = a.track.turnover_pages = UINT64_MAX >> 14;
	a.track.window_restore = a.track.window_refill = a.track.grown_pages = UINT64_MAX >> 14;
	a.track.mean_refault = a.track.mean_restore = a.track.mean_steal = huge;
	a.track.mean_flow = huge;
	a.track.tax_bytes = a.track.proof_bytes = a.track.tax_from_bytes = UINT64_MAX >> 4;
	a.track.floor_bytes = a.low_bytes;
	a.track.stall_permille = 1000;
	a.track.calm_ticks = a.track.idle_ticks = UINT32_MAX;
	group.bytes = UINT64_MAX >> 4;
	group.n_evidence = UINT32_MAX;
	for (int class = 0; class < CONTROL_CLASSES; class ++)
		for (int bits = 0; bits < 4; bits++) {
			a.track.class = (enum control_class) class;
			a.track.is_proving = bits & 1;
			a.track.is_polluter = bits & 2;
			ck_assert_uint_lt(strlen(explain_law_words(&group, &a, law)),
					  EXPLAIN_LAW_MAX - 1);
			ck_assert_uint_lt(strlen(control_explain(&group, &a, reason)),
					  CONTROL_REASON_MAX - 1);
		}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("explain_law");
	TCase *law = tcase_create("law"), *words = tcase_create("words");

	tcase_add_checked_fixture(law, setup, NULL);
	tcase_add_loop_test(law, refaults_are_a_need_above_what_is_told, 0, 2);
	tcase_add_loop_test(law, refaults_are_a_need_above_their_part_of_what_is_taken, 0, 2);
	tcase_add_loop_test(law, waits_are_a_need_from_what_is_told, 0, 2);
	tcase_add_loop_test(law, waits_are_a_need_if_more_is_fetched_than_is_told, 0, 2);
	tcase_add_loop_test(law, slot_is_idle_from_so_many_ticks, 0, 2);
	tcase_add_loop_test(law, slot_is_suspect_above_what_is_told, 0, 2);
	tcase_add_loop_test(law, reuse_clears_of_suspicion_from_what_is_told, 0, 4);
	tcase_add_loop_test(law, slot_is_a_scan_above_what_is_told, 0, 2);
	tcase_add_loop_test(law, scan_is_pardoned_by_a_turnover_from_what_is_told, 0, 4);
	tcase_add_loop_test(law, scan_is_pardoned_by_its_average_above_what_is_told, 0, 2);
	tcase_add_loop_test(
		law, scan_is_pardoned_for_what_is_restored_if_more_comes_back_than_is_told, 0, 2);
	tcase_add_loop_test(law, scan_is_pardoned_from_so_many_calm_ticks, 0, 2);
	tcase_add_loop_test(law, scan_has_what_others_may_take_above_what_is_told, 0, 2);
	tcase_add_loop_test(law, quiet_slots_lend_from_what_is_used_as_told, 0, 2);
	tcase_add_loop_test(law, tax_doubles_from_what_is_told, 0, 2);
	tcase_add_loop_test(law, what_is_lent_was_in_use_from_what_is_told, 0, 2);
	tcase_add_loop_test(law, floor_is_forgotten_beyond_what_is_told, 0, 4);
	tcase_add_test(law, shares_come_back_and_save_gives_back_when_it_is_told);
	tcase_add_test(law, every_member_that_decides_is_told);
	tcase_add_checked_fixture(words, setup, NULL);
	tcase_add_test(words, a_need_and_none_are_told_with_their_thresholds);
	tcase_add_test(words, scans_are_told_with_what_would_clear_them);
	tcase_add_test(words, what_is_lent_and_kept_is_told_with_what_moves_it);
	tcase_add_loop_test(words, the_longest_words_are_not_cut, 0, 2);
	suite_add_tcase(suite, law);
	suite_add_tcase(suite, words);
	return suite_run(suite);
}
