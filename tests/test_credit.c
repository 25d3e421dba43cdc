/* SPDX-License-Identifier: Apache-2.0 */

/* Exclusive and floating credits: tables by hand, and what must hold of any course of events. */

#include "credit.h"

#include <check.h>
#include <string.h>

#include "base/attr.h"
#include "suite.h"

#define ANY UINT32_MAX /* a backlog that is not known */
#define COURSES 20000
#define CHANNELS_MAX 40

START_TEST(all_but_the_exclusive_ones_float_and_never_less_than_half)
{
	static const struct {
		uint32_t n_buffers, n_channels, exclusive, floating;
	} rows[] = {
		{ 64, 1, 2, 62 },          { 64, 8, 2, 48 },    { 64, 16, 2, 32 },
		{ 64, 17, 2, 32 },         { 64, 4096, 2, 32 }, { 1, 8, 2, 1 },
		{ 3, 100, 2, 2 },          { 0, 5, 2, 0 },      { 64, 0, 2, 64 },
		{ 64, UINT32_MAX, 9, 32 }, { 64, 8, 0, 64 },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct credit c = { .n_buffers = rows[i].n_buffers,
				    .n_channels = rows[i].n_channels,
				    .exclusive = rows[i].exclusive,
				    .most = 10 };

		ck_assert_uint_eq(credit_count_floating(&c), rows[i].floating);
	}
}
END_TEST

START_TEST(while_little_is_used_each_may_have_the_most_there_is)
{
	/* 100 connections, 1000 credits, 256 buffers; their consumer releases at once */
	struct credit c = {
		.n_buffers = 256, .n_channels = 100, .exclusive = 2, .most = 10, .n_posted = 64
	};

	ck_assert(!credit_is_tight(&c, false));
	ck_assert_uint_eq(credit_grant(&c, false, 0, ANY), 10);
	ck_assert_uint_eq(credit_grant(&c, false, 3, 0), 7);
	ck_assert_uint_eq(credit_grant(&c, false, 10, ANY), 0);
	ck_assert_uint_eq(credit_grant(&c, false, 11, ANY), 0);
	/* 128 float, and 64 can be gone before the engine looks again */
	c.n_floating = 64;
	ck_assert(!credit_is_tight(&c, false));
	c.n_floating = 65;
	ck_assert(credit_is_tight(&c, false));
	c.n_floating = 33;
	ck_assert(credit_is_tight(&c, true));
	c.n_floating = 32;
	ck_assert(!credit_is_tight(&c, true));
}
END_TEST

START_TEST(a_small_pool_is_tight_while_any_floating_credit_is_used)
{
	struct credit c = {
		.n_buffers = 8, .n_channels = 4, .exclusive = 2, .most = 10, .n_posted = 4
	};

	ck_assert(!credit_is_tight(&c, true));
	c.n_floating = 1;
	ck_assert(credit_is_tight(&c, false));
}
END_TEST

START_TEST(tight_grants_by_hand)
{
	static const struct {
		const char *what;
		uint32_t n_buffers, n_channels, n_floating, held, backlog, granted;
	} rows[] = {
		{ "its exclusive ones, backlog or not", 64, 8, 48, 0, 0, 2 },
		{ "what it lacks of them", 64, 8, 48, 1, ANY, 1 },
		{ "none, with them and nothing in the socket", 64, 8, 0, 2, 0, 0 },
		{ "for its backlog only", 64, 8, 0, 2, 3, 3 },
		{ "exclusive ones first", 64, 8, 0, 1, 3, 3 },
		{ "up to the most there is", 64, 8, 0, 2, ANY, 8 },
		{ "half of what is left", 64, 8, 40, 2, ANY, 4 },
		{ "together with its own", 64, 8, 42, 4, ANY, 2 },
		{ "no more than are left for others", 64, 8, 44, 6, ANY, 0 },
		{ "not the last one", 64, 8, 47, 2, ANY, 0 },
		{ "all, if there is nobody else", 10, 1, 0, 2, ANY, 8 },
		{ "all that one other could not use", 14, 2, 0, 2, ANY, 5 },
		{ "none in a pool that has become smaller", 16, 4, 20, 2, ANY, 0 },
		{ "the exclusive ones even then", 16, 4, 20, 0, ANY, 2 },
		{ "none beyond the most", 64, 8, 0, 12, ANY, 0 },
		{ "nothing to divide", 0, 8, 0, 2, ANY, 0 },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct credit c = { .n_buffers = rows[i].n_buffers,
				    .n_channels = rows[i].n_channels,
				    .exclusive = 2,
				    .most = 10,
				    .n_usable = rows[i].n_channels * 8,
				    .n_floating = rows[i].n_floating };
		uint32_t granted = credit_grant(&c, true, rows[i].held, rows[i].backlog);

		ck_assert_msg(granted == rows[i].granted, "%s: %u", rows[i].what, granted);
	}
}
END_TEST

/* ---- any course of events */

struct course {
	struct credit c;
	uint32_t held[CHANNELS_MAX], most[CHANNELS_MAX];
};

/* The channel may have so many from now on. */
static void set_most(struct course *s, uint32_t i, uint32_t most)
{
	s->c.n_usable += (uint64_t)most - s->most[i];
	s->most[i] = most;
}

static void open_all(struct course *s, uint32_t most)
{
	s->c.n_usable = 0;
	for (uint32_t i = 0; i < s->c.n_channels; i++) {
		s->most[i] = s->c.exclusive;
		set_most(s, i, most);
	}
}

static struct course random_course(void)
{
	struct course s = { .c.n_channels = 1 + (uint32_t)random_below(CHANNELS_MAX),
			    .c.exclusive = (uint32_t)random_below(4) };

	/* the exclusive ones are at most half of the buffers: else nothing can be promised */
	s.c.n_buffers = 2 * s.c.n_channels * s.c.exclusive + (uint32_t)random_below(100);
	open_all(&s, s.c.exclusive + (uint32_t)random_below(12));
	return s;
}

static void count(struct course *s)
{
	s->c.n_floating = 0;
	for (uint32_t i = 0; i < s->c.n_channels; i++)
		if (s->held[i] > s->c.exclusive)
			s->c.n_floating += s->held[i] - s->c.exclusive;
}

static uint32_t take(struct course *s, uint32_t i, uint32_t backlog)
{
	uint32_t granted;

	s->c.most = s->most[i];
	granted = credit_grant(&s->c, true, s->held[i], backlog);
	REQUIRE(s->held[i] + granted <= s->most[i] || granted == 0);
	REQUIRE(granted <= MAX(backlog, s->c.exclusive));
	s->held[i] += granted;
	count(s);
	return granted;
}

START_TEST(the_sum_stays_within_the_pool_and_the_exclusive_ones_can_always_be_had)
{
	for (random_state = 1; random_state <= COURSES; random_state++) {
		uint64_t seed = random_state;
		struct course s = random_course();

		for (int step = 0; step < 100; step++) {
			uint32_t i = (uint32_t)random_below(s.c.n_channels), needed = 0;

			if (random_below(8) == 0)
				set_most(&s, i, s.c.exclusive + (uint32_t)random_below(12));
			if (random_below(3))
				(void)take(&s, i, (uint32_t)random_below(20));
			else if (s.held[i] > 0)
				s.held[i] -= 1 + (uint32_t)random_below(s.held[i]);
			count(&s);
			/* what all hold, and what those that hold less may still claim */
			for (uint32_t k = 0; k < s.c.n_channels; k++)
				needed += MAX(s.held[k], s.c.exclusive);
			REQUIRE(needed <= s.c.n_buffers);
			for (uint32_t k = 0; k < s.c.n_channels; k++) {
				s.c.most = s.most[k];
				if (s.held[k] < s.c.exclusive)
					REQUIRE(credit_grant(&s.c, true, s.held[k], 0) +
							s.held[k] ==
						s.c.exclusive);
			}
		}
		random_state = seed;
	}
}
END_TEST

/* Each turn of a busy channel: one buffer is released, and what it may have is taken. */
static void run_busy(struct course *s, uint32_t n_busy)
{
	for (int round = 0; round < 400; round++) {
		uint32_t i = (uint32_t)random_below(n_busy);

		if (s->held[i] > 0)
			s->held[i]--;
		count(s);
		(void)take(s, i, 1 + (uint32_t)random_below(12));
	}
	/* all of them have a backlog and hold on to what they get */
	for (int round = 0; round < 200; round++)
		for (uint32_t i = 0; i < n_busy; i++) {
			if (s->held[i] > s->c.exclusive)
				s->held[i]--;
			count(s);
			(void)take(s, i, ANY);
		}
}

START_TEST(all_who_want_more_come_to_the_same_number_whoever_was_first)
{
	for (random_state = 1; random_state <= COURSES / 10; random_state++) {
		uint64_t seed = random_state;
		struct course s = random_course();
		uint32_t n_busy = 1 + (uint32_t)random_below(s.c.n_channels);
		uint32_t least = UINT32_MAX, most = 0;

		run_busy(&s, n_busy);
		for (uint32_t i = 0; i < n_busy; i++) {
			least = MIN(least, s.held[i]);
			most = MAX(most, s.held[i]);
		}
		REQUIRE(most - least <= 1);
		REQUIRE(least >= s.c.exclusive);
		/* and nothing to speak of is left over: no more than one has, and one for the rest */
		if (most < s.most[0])
			REQUIRE(credit_count_floating(&s.c) - s.c.n_floating <=
				most - s.c.exclusive + 2);
		random_state = seed;
	}
}
END_TEST

START_TEST(one_that_comes_later_gets_its_part_as_the_others_release)
{
	struct course s = { .c = { .n_buffers = 100, .n_channels = 5, .exclusive = 2 } };

	open_all(&s, 64);
	/* four share 90 floating ones: 18 each and as many left */
	for (int round = 0; round < 100; round++)
		for (uint32_t i = 0; i < 4; i++) {
			s.held[i] -= s.held[i] > 2;
			count(&s);
			(void)take(&s, i, ANY);
		}
	for (uint32_t i = 0; i < 4; i++)
		ck_assert_uint_eq(s.held[i], 20);
	/* at once half of what is left, while nobody has released anything */
	ck_assert_uint_eq(take(&s, 4, ANY), 2 + 9);
	for (int round = 0; round < 100; round++)
		for (uint32_t i = 0; i < 5; i++) {
			s.held[i]--;
			count(&s);
			(void)take(&s, i, ANY);
		}
	for (uint32_t i = 0; i < 5; i++)
		ck_assert_uint_eq(s.held[i], 17);
}
END_TEST

START_TEST(what_others_may_not_have_goes_to_who_may)
{
	struct course s = { .c = { .n_buffers = 64, .n_channels = 12, .exclusive = 2 } };

	/* 40 float; if all may have as many, one that comes first takes half of them */
	open_all(&s, 42);
	ck_assert_uint_eq(take(&s, 0, ANY), 2 + 20);
	ck_assert_uint_eq(take(&s, 0, ANY), 0);
	/* ten are down to their exclusive ones, and one may have five more than these */
	for (uint32_t i = 2; i < 12; i++)
		set_most(&s, i, 2);
	set_most(&s, 1, 7);
	ck_assert_uint_eq(take(&s, 0, ANY), 15);
	ck_assert_uint_eq(take(&s, 1, ANY), 2 + 2);
	for (uint32_t i = 2; i < 12; i++)
		ck_assert_uint_eq(take(&s, i, ANY), 2);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("credit");
	TCase *tc = tcase_create("credit");

	tcase_set_timeout(tc, 120);
	suite_add_tcase(suite, tc);
	tcase_add_test(tc, all_but_the_exclusive_ones_float_and_never_less_than_half);
	tcase_add_test(tc, while_little_is_used_each_may_have_the_most_there_is);
	tcase_add_test(tc, a_small_pool_is_tight_while_any_floating_credit_is_used);
	tcase_add_test(tc, tight_grants_by_hand);
	tcase_add_test(tc, the_sum_stays_within_the_pool_and_the_exclusive_ones_can_always_be_had);
	tcase_add_test(tc, all_who_want_more_come_to_the_same_number_whoever_was_first);
	tcase_add_test(tc, one_that_comes_later_gets_its_part_as_the_others_release);
	tcase_add_test(tc, what_others_may_not_have_goes_to_who_may);
	return suite_run(suite);
}
