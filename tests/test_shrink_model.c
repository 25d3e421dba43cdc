/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The state machine of policy/shrink.h drives a small deterministic machine: one slot with locked,
 * cold and hot anon memory and page cache, some swap, and a kernel that reclaims at a fixed speed,
 * slows what is charged above memory.high and kills above memory.max when nothing is left to
 * reclaim.
 */

#include "policy/shrink.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "suite.h"

#define M (UINT64_C(1) << 20)
#define S UINT64_C(1000000000)
#define MS UINT64_C(1000000)

static struct shrink s;

#define TICK (20 * MS)
#define TICKS_PER_S 50

struct machine {
	uint64_t now_ns;
	/* the task: what it wants in memory, and what of that is */
	uint64_t hot_wanted, file_wanted;
	uint64_t locked, cold, hot, file;
	uint64_t swap_total, swap_used;
	uint64_t refault_rate; /* bytes per second it takes back */
	/* the kernel */
	uint64_t max, high, reclaim_rate;
	bool has_nonblocking_limits; /* 6.16: memory.max below usage is only set */
	uint64_t surge;              /* taken once, between the look and the write of memory.max */
	enum shrink_verb flight;     /* SHRINK_NOTHING: none */
	uint64_t flight_left;        /* bytes still asked of memory.reclaim */
	unsigned fruitless;
	bool has_ended;
	int result;
	/* seen */
	unsigned kills, writes_below_usage, brakes, writes;
	uint64_t blocked_bytes; /* reclaimed in a write of memory.max, on the loop */
	uint64_t brake_mark, brake_mark_ns, brake_idle_ns; /* longest brake without progress */
};

static uint64_t usage(const struct machine *m)
{
	return m->locked + m->cold + m->hot + m->file;
}

static uint64_t take(uint64_t *from, uint64_t most)
{
	uint64_t taken = MIN(*from, most);

	*from -= taken;
	return taken;
}

/* Page cache goes first, then cold and then hot anon as far as swap takes it. */
static uint64_t reclaim(struct machine *m, uint64_t bytes)
{
	uint64_t got = take(&m->file, bytes), anon, cold;

	anon = MIN(bytes - got, m->swap_total - m->swap_used);
	cold = take(&m->cold, anon);
	anon = cold + take(&m->hot, anon - cold);
	m->swap_used += anon;
	return got + anon;
}

/* @most bytes of what it misses; swapped-in pages free their swap. */
static void refault(struct machine *m, uint64_t most)
{
	uint64_t hot = MIN(m->hot_wanted - m->hot, most);
	uint64_t file = MIN(m->file_wanted - m->file, most - hot);

	m->hot += hot;
	m->swap_used -= MIN(m->swap_used, hot);
	m->file += file;
}

static void tick_task(struct machine *m)
{
	uint64_t want = m->refault_rate / TICKS_PER_S, free_below_high;

	free_below_high = m->high > usage(m) ? m->high - usage(m) : 0;
	if (want > free_below_high) /* the rest sleeps: some 64 pages per tick at most */
		want = free_below_high + MIN(want - free_below_high, UINT64_C(64) * 4096);
	refault(m, want);
	if (usage(m) > m->max) {
		uint64_t over = usage(m) - m->max;

		if (reclaim(m, over) < over)
			m->kills++;
	}
}

static void tick_write(struct machine *m)
{
	uint64_t most = m->reclaim_rate / TICKS_PER_S, got;

	if (m->flight == SHRINK_NOTHING)
		return;
	if (m->flight == SHRINK_SET_BRAKE)
		m->flight_left = usage(m) > m->high ? usage(m) - m->high : 0;
	got = reclaim(m, MIN(most, m->flight_left));
	m->flight_left -= got;
	m->fruitless = got == 0 ? m->fruitless + 1 : 0;
	if (m->flight_left == 0 || m->fruitless == 2) { /* 16 tries take some 20 ms */
		m->result = m->flight == SHRINK_RECLAIM && m->flight_left > 0 ? -EAGAIN : 0;
		m->flight = SHRINK_NOTHING;
		m->has_ended = true;
	}
}

static void tick(struct machine *m)
{
	tick_task(m);
	tick_write(m);
	m->now_ns += TICK;
	if (m->high == BYTES_UNLIMITED)
		return;
	if (usage(m) + M <= m->brake_mark) {
		m->brake_mark = usage(m);
		m->brake_mark_ns = m->now_ns;
	}
	m->brake_idle_ns = MAX(m->brake_idle_ns, m->now_ns - m->brake_mark_ns);
}

static struct shrink_input look(struct machine *m)
{
	struct shrink_input in = {
		.now_ns = m->now_ns,
		.current_bytes = usage(m),
		.kernel_max_bytes = m->max,
		.floor_bytes = m->locked,
		.swap_free_bytes = m->swap_total - m->swap_used,
		.anon_bytes = m->cold + m->hot,
		.file_bytes = m->file,
		.last_write_done = m->has_ended,
		.last_write_result = m->result,
	};

	m->has_ended = false;
	return in;
}

static void begin_write(struct machine *m, const struct shrink_action *a)
{
	/* one at a time; a brake takes the place of what gets nowhere, or has got there */
	REQUIRE(m->flight == SHRINK_NOTHING || a->verb == SHRINK_SET_BRAKE);
	m->flight = a->verb;
	m->flight_left = a->bytes;
	m->fruitless = 0;
	if (a->verb == SHRINK_SET_BRAKE) {
		if (m->high == BYTES_UNLIMITED) {
			m->brake_mark = usage(m);
			m->brake_mark_ns = m->now_ns;
		}
		m->high = a->bytes;
		m->brakes++;
	}
}

static void write_max(struct machine *m, uint64_t bytes)
{
	uint64_t over, got;

	m->hot += m->surge;
	m->hot_wanted += m->surge;
	m->surge = 0;
	m->writes++;
	m->writes_below_usage += bytes < usage(m);
	m->max = bytes;
	if (m->has_nonblocking_limits || usage(m) <= m->max)
		return;
	over = usage(m) - m->max;
	got = reclaim(m, over);
	m->blocked_bytes += got;
	m->kills += got < over;
}

/* Steps until it waits; returns when it next wants to be called. */
static uint64_t drive(struct machine *m)
{
	for (int i = 0; i < 10; i++) {
		struct shrink_input in = look(m);
		struct shrink_action a = shrink_step(&s, &in);

		switch (a.verb) {
		case SHRINK_NOTHING:
			return UINT64_MAX;
		case SHRINK_WAIT:
			REQUIRE(a.wake_ns > m->now_ns);
			return a.wake_ns;
		case SHRINK_RECLAIM:
			REQUIRE(a.bytes > 0 && a.bytes <= 32 * M);
			begin_write(m, &a);
			break;
		case SHRINK_SET_BRAKE:
			begin_write(m, &a);
			break;
		case SHRINK_CLEAR_BRAKE:
			REQUIRE(m->flight != SHRINK_SET_BRAKE);
			m->high = BYTES_UNLIMITED;
			break;
		case SHRINK_WRITE_MAX:
			write_max(m, a.bytes);
			break;
		}
	}
	ck_abort_msg("it never waits");
}

/* Runs for at most @seconds; returns whether the change went through. */
static bool run(struct machine *m, unsigned seconds)
{
	uint64_t wake = m->now_ns;

	for (unsigned i = 0; i < seconds * TICKS_PER_S; i++) {
		if (m->has_ended || m->now_ns >= wake)
			wake = drive(m);
		if (!s.is_pending && m->flight == SHRINK_NOTHING && !m->has_ended)
			return true;
		tick(m);
	}
	return false;
}

static struct machine machine_of(uint64_t locked, uint64_t cold, uint64_t hot, uint64_t file,
				 uint64_t swap, uint64_t refault_rate)
{
	return (struct machine){
		.now_ns = S,
		.locked = locked,
		.cold = cold,
		.hot = hot,
		.file = file,
		.hot_wanted = hot,
		.file_wanted = file,
		.swap_total = swap,
		.refault_rate = refault_rate,
		.max = BYTES_UNLIMITED,
		.high = BYTES_UNLIMITED,
		.reclaim_rate = 80 * M,
	};
}

static void aim(struct machine *m, uint64_t target)
{
	shrink_init(&s);
	shrink_set(&s, target, usage(m), m->now_ns);
}

static void check_harmless(const struct machine *m)
{
	REQUIRE(m->kills == 0);
	REQUIRE(m->writes_below_usage == 0);
	REQUIRE(m->brake_idle_ns <= 3500 * MS);
}

START_TEST(an_idle_task_is_squeezed_at_the_speed_of_reclaim)
{
	struct machine m = machine_of(0, 400 * M, 0, 0, 1024 * M, 0);

	aim(&m, 200 * M);
	ck_assert(run(&m, 4)); /* 204 M at 80 M/s */
	check_harmless(&m);
	ck_assert_uint_eq(m.max, 200 * M);
	ck_assert_uint_eq(m.brakes, 0);
	ck_assert_uint_eq(m.writes, 1);
}
END_TEST

START_TEST(page_cache_goes_without_swap)
{
	struct machine m = machine_of(0, 50 * M, 0, 300 * M, 0, 0);

	aim(&m, 100 * M);
	ck_assert(run(&m, 5));
	check_harmless(&m);
	ck_assert_uint_eq(m.cold, 50 * M);
}
END_TEST

START_TEST(a_task_that_refills_faster_than_reclaim_is_shrunk_by_the_brake)
{
	struct machine m = machine_of(20 * M, 0, 400 * M, 0, 1024 * M, 500 * M);

	aim(&m, 150 * M);
	ck_assert(run(&m, 30));
	check_harmless(&m);
	ck_assert_uint_gt(m.brakes, 0);
	ck_assert_uint_eq(m.max, 150 * M);
	ck_assert_uint_eq(m.high, BYTES_UNLIMITED);
}
END_TEST

START_TEST(a_busy_file_reader_is_shrunk_by_the_brake_without_swap)
{
	struct machine m = machine_of(20 * M, 30 * M, 0, 400 * M, 0, 500 * M);

	aim(&m, 150 * M);
	ck_assert(run(&m, 30));
	check_harmless(&m);
	ck_assert_uint_gt(m.brakes, 0);
	ck_assert_uint_eq(m.high, BYTES_UNLIMITED);
}
END_TEST

START_TEST(anon_without_swap_stays_pending_unharmed_until_the_task_lets_go)
{
	struct machine m = machine_of(0, 100 * M, 300 * M, 20 * M, 0, 500 * M);

	aim(&m, 200 * M);
	ck_assert(!run(&m, 60));
	check_harmless(&m);
	ck_assert_uint_eq(m.brakes, 0);
	ck_assert_uint_eq(m.writes, 0);
	ck_assert(s.is_pending);
	ck_assert_ptr_nonnull(strstr(s.note, "400M cannot be reclaimed: no swap is free"));

	m.hot = m.hot_wanted = 50 * M; /* it frees most of it */
	ck_assert(run(&m, 1));
	check_harmless(&m);
	ck_assert_uint_eq(m.max, 200 * M);
}
END_TEST

START_TEST(swap_that_fills_up_on_the_way_ends_the_brake_not_the_task)
{
	struct machine m = machine_of(0, 0, 400 * M, 0, 120 * M, 500 * M);

	aim(&m, 150 * M);
	ck_assert(!run(&m, 60));
	check_harmless(&m);
	ck_assert_uint_eq(m.high, BYTES_UNLIMITED);
	ck_assert_ptr_nonnull(strstr(s.note, "of swap is free"));
	m.swap_total = 1024 * M; /* swapon */
	ck_assert(run(&m, 40));
	check_harmless(&m);
}
END_TEST

START_TEST(locked_memory_is_named_and_left_alone)
{
	struct machine m = machine_of(300 * M, 50 * M, 0, 50 * M, 1024 * M, 0);

	aim(&m, 200 * M);
	ck_assert(!run(&m, 30));
	check_harmless(&m);
	ck_assert_ptr_nonnull(strstr(s.note, "locked, pinned or kernel memory"));
	shrink_set(&s, s.least_max_bytes, usage(&m), m.now_ns); /* as advised */
	ck_assert(run(&m, 10));
	check_harmless(&m);
}
END_TEST

START_TEST(changing_ones_mind_in_the_middle_leaves_no_brake)
{
	for (unsigned ms = 0; ms < 6000; ms += 100) {
		struct machine m = machine_of(20 * M, 0, 400 * M, 0, 1024 * M, 500 * M);
		uint64_t stop = m.now_ns + ms * MS, wake = 0;

		aim(&m, 150 * M);
		while (m.now_ns < stop) {
			if (m.has_ended || m.now_ns >= wake)
				wake = drive(&m);
			tick(&m);
		}
		shrink_set(&s, BYTES_UNLIMITED, usage(&m), m.now_ns);
		(void)run(&m, 2); /* a write in flight may have to end first */
		ck_assert_uint_eq(m.high, BYTES_UNLIMITED);
		ck_assert_uint_eq(m.max, BYTES_UNLIMITED);
		ck_assert(!s.is_pending);
		check_harmless(&m);
	}
}
END_TEST

START_TEST(a_slot_that_outgrows_its_new_max_gets_the_old_one_back_where_limits_do_not_block)
{
	struct machine m = machine_of(0, 300 * M, 0, 0, 1024 * M, 0);

	m.has_nonblocking_limits = true;
	m.surge = 20 * M;
	aim(&m, 200 * M);
	ck_assert(run(&m, 20));
	ck_assert_uint_eq(m.kills, 0);
	ck_assert_uint_eq(m.blocked_bytes, 0);
	ck_assert_uint_eq(m.writes_below_usage, 1);
	ck_assert_uint_eq(m.writes, 3); /* too early, back, and again when there is room */
	ck_assert_uint_eq(m.max, 200 * M);
}
END_TEST

START_TEST(and_keeps_it_as_long_as_nothing_can_be_reclaimed)
{
	struct machine m = machine_of(0, 300 * M, 0, 0, 104 * M, 0);

	m.has_nonblocking_limits = true;
	m.surge = 20 * M;
	aim(&m, 200 * M);
	ck_assert(!run(&m, 20));
	ck_assert_uint_eq(m.kills, 0);
	ck_assert_uint_eq(m.max, BYTES_UNLIMITED);
	ck_assert(s.is_pending && s.note[0]);
}
END_TEST

START_TEST(where_limits_block_the_write_takes_what_was_outgrown)
{
	struct machine m = machine_of(0, 300 * M, 0, 0, 1024 * M, 0);

	m.surge = 20 * M;
	aim(&m, 200 * M);
	ck_assert(run(&m, 20));
	ck_assert_uint_eq(m.kills, 0);
	ck_assert_uint_gt(m.blocked_bytes, 0);
	ck_assert_uint_le(m.blocked_bytes, 20 * M);
	ck_assert_uint_eq(m.writes, 1);
	ck_assert_uint_eq(m.max, 200 * M);
}
END_TEST

START_TEST(any_task_is_shrunk_unharmed_when_its_memory_can_be_reclaimed)
{
	unsigned through = 0, pending = 0, braked = 0;

	random_state = 1;
	for (int i = 0; i < 20000; i++) {
		struct machine m = machine_of(random_below(100) * M, random_below(300) * M,
					      random_below(300) * M, random_below(300) * M,
					      random_below(4) ? 1024 * M : random_below(300) * M,
					      random_below(3) ? random_below(1000) * M : 0);
		uint64_t target = random_below(usage(&m) + 20 * M), goal;
		bool is_through, must_be;

		target -= target % 4096;
		m.reclaim_rate = (20 + random_below(400)) * M;
		m.has_nonblocking_limits = i % 2;
		goal = target - shrink_margin(target);
		/* what the model promises: swap for everything, and room for the brake or a
		 * task that is slower than reclaim */
		must_be = m.swap_total == 1024 * M && m.locked + 16 * M < goal;
		must_be |= m.swap_total == 1024 * M && m.refault_rate == 0 && m.locked < goal;
		aim(&m, target);
		is_through = run(&m, 120);
		check_harmless(&m);
		if (must_be && !is_through)
			ck_abort_msg("case %d: %lluM of %lluM, refault %llu, reclaim %llu M/s: %s",
				     i, (unsigned long long)(usage(&m) / M),
				     (unsigned long long)(target / M),
				     (unsigned long long)(m.refault_rate / M),
				     (unsigned long long)(m.reclaim_rate / M), s.note);
		if (is_through) {
			REQUIRE(m.max == target);
			REQUIRE(m.high == BYTES_UNLIMITED);
		} else {
			REQUIRE(m.writes == 0);
			shrink_cancel(&s);
			(void)run(&m, 10);
			REQUIRE(m.high == BYTES_UNLIMITED);
		}
		through += is_through;
		pending += !is_through;
		braked += m.brakes > 0;
	}
	ck_assert_uint_gt(through, 10000);
	ck_assert_uint_gt(pending, 1000);
	ck_assert_uint_gt(braked, 2000);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("shrink_model");
	TCase *tc = tcase_create("model");

	tcase_set_timeout(tc, 30);
	tcase_add_test(tc, an_idle_task_is_squeezed_at_the_speed_of_reclaim);
	tcase_add_test(tc, page_cache_goes_without_swap);
	tcase_add_test(tc, a_task_that_refills_faster_than_reclaim_is_shrunk_by_the_brake);
	tcase_add_test(tc, a_busy_file_reader_is_shrunk_by_the_brake_without_swap);
	tcase_add_test(tc, anon_without_swap_stays_pending_unharmed_until_the_task_lets_go);
	tcase_add_test(tc, swap_that_fills_up_on_the_way_ends_the_brake_not_the_task);
	tcase_add_test(tc, locked_memory_is_named_and_left_alone);
	tcase_add_test(tc, changing_ones_mind_in_the_middle_leaves_no_brake);
	tcase_add_test(
		tc,
		a_slot_that_outgrows_its_new_max_gets_the_old_one_back_where_limits_do_not_block);
	tcase_add_test(tc, and_keeps_it_as_long_as_nothing_can_be_reclaimed);
	tcase_add_test(tc, where_limits_block_the_write_takes_what_was_outgrown);
	tcase_add_test(tc, any_task_is_shrunk_unharmed_when_its_memory_can_be_reclaimed);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
