/* SPDX-License-Identifier: Apache-2.0 */

/* Pages that go between the pools of one task, and beyond a pool's maximum for a while. */

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/attr.h"
#include "pool_fixture.h"
#include "suite.h"

#define SIZE ((size_t)32 << 10)
#define PER_CHUNK 64
#define MS UINT64_C(1000000)

static struct tm_pool *open_pool(const char *name, uint32_t min, uint32_t max)
{
	struct tm_pool *pool;

	ck_assert_int_eq(tm_pool_open(slot, name, SIZE, min, max, &pool), 0);
	return pool;
}

/* As a task does that has nothing else to do: only when it is told to. */
static void dispatch(void)
{
	struct pollfd pfd = { .fd = tm_slot_fd(slot), .events = POLLIN };

	if (poll(&pfd, 1, 1) > 0)
		(void)tm_slot_dispatch(slot);
}

/* Takes up to @n, waiting 1 ms at most for each. Returns how many. */
static uint32_t take(struct tm_pool *pool, uint32_t n, struct tm_buffer *buffers[])
{
	for (uint32_t i = 0; i < n; i++)
		if (tm_pool_acquire_wait(pool, MS, &buffers[i]) < 0)
			return i;
	return n;
}

static void give(struct tm_buffer *buffers[], uint32_t n)
{
	tm_buffer_release_bulk(buffers, n);
}

START_TEST(a_waiter_gets_what_another_pool_leaves_idle_without_a_dispatch)
{
	static struct tm_buffer *a[16 * PER_CHUNK], *b[16 * PER_CHUNK];
	struct tm_pool *first, *second;

	set_up(8);
	first = open_pool("first", PER_CHUNK, 0);
	second = open_pool("second", 0, 0);
	/* the first one had all, and is idle now but for two pages */
	ck_assert_uint_eq(take(first, 8 * PER_CHUNK, a), 8 * PER_CHUNK);
	give(a + 2 * PER_CHUNK, 6 * PER_CHUNK);
	ck_assert_uint_eq(stats(second).buffers, 0);
	/* two are used, and one more is left for what comes next */
	ck_assert_uint_eq(take(second, 16 * PER_CHUNK, b), 5 * PER_CHUNK);
	ck_assert_uint_eq(stats(first).buffers, 3 * PER_CHUNK);
	ck_assert_uint_eq(stats(first).held, 2 * PER_CHUNK);
	give(a, 2 * PER_CHUNK);
	ck_assert_uint_eq(take(second, 16 * PER_CHUNK, b + 5 * PER_CHUNK), 2 * PER_CHUNK);
	/* the minimum stays */
	ck_assert_uint_eq(stats(first).buffers, PER_CHUNK);
	give(b, 7 * PER_CHUNK);
	ck_assert_int_eq(tm_pool_close(first), 0);
	ck_assert_int_eq(tm_pool_close(second), 0);
	tear_down();
}
END_TEST

/* FLINK-9708: buffers were lost when a pool failed to get all it was to have. Here the second try for a
 * third pool takes idle pages of the first one before it fails, and the next try finds these. */
START_TEST(a_new_pools_minimum_goes_before_what_others_have_beyond_theirs)
{
	static struct tm_buffer *a[8 * PER_CHUNK];
	struct tm_pool *first, *second, *third;

	set_up(8);
	first = open_pool("first", PER_CHUNK, 0);
	ck_assert_uint_eq(take(first, 8 * PER_CHUNK, a), 8 * PER_CHUNK);
	/*
	 * Not while they are in use, and nothing is left behind. Flink opens such a pool with less than
	 * its minimum and the rest comes as the first one recycles (BufferPoolFactoryTest: 511 and 513 of
	 * 1024); who counts on the minimum then waits for who may never recycle (FLINK-12852,
	 * FLINK-31386). Between slots that course is allowed, as pages can be taken by force there:
	 * test_lend.c.
	 */
	ck_assert_int_eq(tm_pool_open(slot, "second", SIZE, 1, 0, &second), -ENOBUFS);
	give(a, 8 * PER_CHUNK);
	second = open_pool("second", 5 * PER_CHUNK, 0);
	ck_assert_uint_eq(stats(first).buffers, 3 * PER_CHUNK);
	ck_assert_uint_eq(stats(second).buffers, 5 * PER_CHUNK);
	ck_assert_int_eq(tm_pool_open(slot, "third", SIZE, 3 * PER_CHUNK, 0, &third), -ENOBUFS);
	third = open_pool("third", 2 * PER_CHUNK, 0);
	ck_assert_uint_eq(stats(first).buffers, PER_CHUNK);
	ck_assert_uint_eq(stats(second).buffers, 5 * PER_CHUNK);
	ck_assert_int_eq(tm_pool_close(first), 0);
	ck_assert_int_eq(tm_pool_close(second), 0);
	ck_assert_int_eq(tm_pool_close(third), 0);
	tear_down();
}
END_TEST

/*
 * FLINK-14872: a pool that is read from had the excess, and with it what another one was to get as its
 * minimum; it held all of it until something was written, for which that minimum was needed. Here two
 * tasks do so side by side, each with all the other could use.
 */
#define CHAINS 2

static struct chain {
	struct tm_pool *in, *out;
	atomic_uint n_turns;
} chains[CHAINS];
static atomic_bool is_over;

/* Gives back nothing of what it could get before it has written as much as its minimum. */
static void *read_then_write(void *userdata)
{
	struct tm_buffer *in[6 * PER_CHUNK], *out[PER_CHUNK];
	struct chain *chain = userdata;
	uint32_t n;

	while (!is_over) {
		n = 0;
		while (n < ARRAY_LEN(in) && tm_pool_acquire_wait(chain->in, 0, &in[n]) == 0)
			n++;
		for (int i = 0; i < PER_CHUNK; i++)
			ck_assert_int_eq(tm_pool_acquire_wait(chain->out, UINT64_MAX, &out[i]), 0);
		give(out, PER_CHUNK);
		give(in, n);
		chain->n_turns++;
	}
	return NULL;
}

START_TEST(who_holds_all_there_is_can_still_have_the_minimum_of_another_pool)
{
	pthread_t threads[CHAINS];
	struct tm_pool *other;

	set_up(6);
	for (int i = 0; i < CHAINS; i++) {
		chains[i].in = open_pool("in", 1, 0);
		chains[i].out = open_pool("out", PER_CHUNK, 0);
	}
	for (int i = 0; i < CHAINS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, read_then_write, &chains[i]), 0);
	for (int round = 0; round < 100; round++) {
		for (int i = 0; i < CHAINS; i++) {
			uint32_t before = chains[i].n_turns;

			for (int ms = 0; ms < 20000 && chains[i].n_turns == before; ms++)
				dispatch();
			ck_assert_msg(chains[i].n_turns != before, "round %d: %d hangs", round, i);
		}
		/* a minimum that is opened meanwhile is there, or the pool is not */
		if (tm_pool_open(slot, "other", SIZE, PER_CHUNK, PER_CHUNK, &other) == 0) {
			ck_assert_uint_eq(stats(other).idle, PER_CHUNK);
			ck_assert_int_eq(tm_pool_close(other), 0);
		}
	}
	is_over = true;
	for (int i = 0; i < CHAINS; i++) {
		ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
		ck_assert_int_eq(tm_pool_close(chains[i].in), 0);
		ck_assert_int_eq(tm_pool_close(chains[i].out), 0);
	}
	tear_down();
}
END_TEST

START_TEST(nothing_moves_while_nobody_waits)
{
	static struct tm_buffer *a[8 * PER_CHUNK];
	struct tm_pool *first, *second;

	set_up(8);
	first = open_pool("first", 0, 0);
	second = open_pool("second", PER_CHUNK, PER_CHUNK);
	ck_assert_uint_eq(take(first, 7 * PER_CHUNK, a), 7 * PER_CHUNK);
	give(a, 7 * PER_CHUNK);
	/* a pool at its maximum is not helped by pages */
	ck_assert_uint_eq(take(second, 2 * PER_CHUNK, a), PER_CHUNK);
	(void)tm_slot_dispatch(slot);
	ck_assert_uint_eq(stats(first).buffers, 7 * PER_CHUNK);
	give(a, PER_CHUNK);
	ck_assert_int_eq(tm_pool_close(first), 0);
	ck_assert_int_eq(tm_pool_close(second), 0);
	tear_down();
}
END_TEST

struct waiter {
	struct tm_pool *pool;
	struct tm_buffer *buffers[8 * PER_CHUNK];
	uint32_t n_wanted;
	atomic_uint n;
};

static void *wait_for_all(void *userdata)
{
	struct waiter *w = userdata;

	while (w->n < w->n_wanted) {
		ck_assert_int_eq(tm_pool_acquire_wait(w->pool, UINT64_MAX, &w->buffers[w->n]), 0);
		w->n++;
	}
	return NULL;
}

START_TEST(a_pool_above_its_part_gives_as_its_buffers_are_released)
{
	static struct tm_buffer *a[8 * PER_CHUNK];
	static struct waiter w;
	struct tm_pool *first;
	pthread_t thread;

	set_up(8);
	first = open_pool("first", 0, 0);
	w.pool = open_pool("second", 0, 0);
	w.n_wanted = 4 * PER_CHUNK;
	ck_assert_uint_eq(take(first, 8 * PER_CHUNK, a), 8 * PER_CHUNK);
	ck_assert_int_eq(pthread_create(&thread, NULL, wait_for_all, &w), 0);
	/* whatever page its buffers are of, in turn of all */
	for (uint32_t i = 0; i < PER_CHUNK; i++)
		for (uint32_t k = 0; k < 8; k++) {
			if (w.n == w.n_wanted)
				break;
			tm_buffer_release(a[k * PER_CHUNK + i]);
			a[k * PER_CHUNK + i] = NULL;
			if (k == 7)
				dispatch();
		}
	for (int i = 0; i < 5000 && w.n < w.n_wanted; i++) {
		dispatch();
	}
	ck_assert_uint_eq(w.n, w.n_wanted);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	ck_assert_uint_le(stats(first).buffers, 4 * PER_CHUNK);
	for (uint32_t i = 0; i < 8 * PER_CHUNK; i++)
		tm_buffer_release(a[i]);
	give(w.buffers, w.n_wanted);
	ck_assert_int_eq(tm_pool_close(first), 0);
	ck_assert_int_eq(tm_pool_close(w.pool), 0);
	tear_down();
}
END_TEST

START_TEST(a_waiter_that_found_the_others_busy_gets_their_page_when_they_are_idle)
{
	static struct tm_buffer *a[4 * PER_CHUNK];
	static struct waiter w;
	struct tm_pool *first;
	pthread_t thread;

	set_up(4);
	first = open_pool("first", 0, 0);
	w.pool = open_pool("second", 0, 0);
	/* more than its part is in use, and nothing moves; then one of the last page is released */
	for (w.n_wanted = 1; w.n_wanted <= 3; w.n_wanted++) {
		uint32_t n = take(first, 4 * PER_CHUNK, a);

		ck_assert_uint_ge(n, 3 * PER_CHUNK);
		ck_assert_int_eq(pthread_create(&thread, NULL, wait_for_all, &w), 0);
		while (w.n < w.n_wanted && stats(w.pool).waiters == 0)
			usleep(1000);
		for (int i = 0; i < 20; i++)
			dispatch();
		give(a, n);
		for (int i = 0; i < 3000 && w.n < w.n_wanted; i++)
			dispatch();
		ck_assert_uint_eq(w.n, w.n_wanted);
		ck_assert_int_eq(pthread_join(thread, NULL), 0);
	}
	give(w.buffers, w.n);
	ck_assert_int_eq(tm_pool_close(first), 0);
	ck_assert_int_eq(tm_pool_close(w.pool), 0);
	tear_down();
}
END_TEST

START_TEST(two_that_both_wait_end_with_the_same)
{
	static struct tm_buffer *a[8 * PER_CHUNK], *b[8 * PER_CHUNK];
	struct tm_pool *first, *second;
	uint32_t n_a, n_b;

	set_up(8);
	first = open_pool("first", 0, 0);
	second = open_pool("second", 0, 0);
	n_a = take(first, 6 * PER_CHUNK, a);
	n_b = take(second, 2 * PER_CHUNK, b);
	/* each releases a page now and then and wants more than there is */
	for (int turn = 0; turn < 50; turn++) {
		uint32_t less = MIN(n_a, (uint32_t)PER_CHUNK);

		n_a -= less;
		give(a + n_a, less);
		n_b += take(second, 8 * PER_CHUNK - n_b, b + n_b);
		n_a += take(first, 8 * PER_CHUNK - n_a, a + n_a);
		(void)tm_slot_dispatch(slot);
	}
	ck_assert_uint_ge(n_b, 4 * PER_CHUNK);
	ck_assert_uint_ge(n_a, 2 * PER_CHUNK);
	ck_assert_uint_eq(n_a + n_b, 8 * PER_CHUNK);
	give(a, n_a);
	give(b, n_b);
	ck_assert_int_eq(tm_pool_close(first), 0);
	ck_assert_int_eq(tm_pool_close(second), 0);
	tear_down();
}
END_TEST

START_TEST(pages_on_the_move_go_to_the_daemon_first)
{
	static struct tm_buffer *a[4 * PER_CHUNK];
	static struct waiter w;
	struct tm_slot_info info = { .size = sizeof(info) };
	struct tm_pool *first;
	pthread_t thread;

	set_up(4);
	first = open_pool("first", 0, 0);
	w.pool = open_pool("second", 0, 0);
	w.n_wanted = 1;
	ck_assert_uint_eq(take(first, 4 * PER_CHUNK, a), 4 * PER_CHUNK);
	ck_assert_int_eq(pthread_create(&thread, NULL, wait_for_all, &w), 0);
	while (stats(w.pool).waiters == 0)
		usleep(1000);
	(void)tm_slot_dispatch(slot);
	fake_daemon_set_share(fake, 2);
	do {
		dispatch();
		ck_assert_int_eq(tm_slot_get_info(slot, &info), 0);
	} while (info.chunks_target != 2);
	give(a, 2 * PER_CHUNK);
	for (int i = 0; i < 3000 && info.chunks_held > 2; i++) {
		dispatch();
		ck_assert_int_eq(tm_slot_get_info(slot, &info), 0);
	}
	ck_assert_uint_eq(info.chunks_held, 2);
	ck_assert_uint_eq(w.n, 0);
	give(a + 2 * PER_CHUNK, 2 * PER_CHUNK);
	for (int i = 0; i < 3000 && w.n < 1; i++) {
		dispatch();
	}
	ck_assert_uint_eq(w.n, 1);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	give(w.buffers, 1);
	ck_assert_int_eq(tm_pool_close(first), 0);
	ck_assert_int_eq(tm_pool_close(w.pool), 0);
	tear_down();
}
END_TEST

/* ---- overdraft */

static bool is_filled(const struct tm_buffer *buffer, unsigned char with)
{
	const unsigned char *data = buffer->data;

	for (uint32_t i = 0; i < buffer->capacity; i++)
		if (data[i] != with)
			return false;
	return true;
}

/* FLINK-31293, FLINK-29298: what was beyond a pool's size counted as available, or kept it from being
 * so, and who waited was not woken. */
START_TEST(overdraft_is_bounded_and_serves_nobody_else)
{
	struct tm_buffer *a[10], *over[10], *again;
	struct tm_pool *pool;
	uint32_t n;

	set_up(1);
	pool = open_pool("pool", 10, 10);
	ck_assert_uint_eq(tm_pool_acquire_bulk(pool, a, 10), 10);
	ck_assert_ptr_null(tm_pool_acquire(pool));
	for (n = 0; (over[n] = tm_pool_acquire_overdraft(pool)); n++)
		memset(over[n]->data, (int)n, over[n]->capacity);
	ck_assert_uint_eq(n, 5);
	ck_assert_uint_eq(stats(pool).overdraft, 5);
	ck_assert_uint_eq(stats(pool).held, 15);
	ck_assert_uint_eq(stats(pool).buffers, 15);
	ck_assert_uint_eq(stats(pool).high_water, 15);
	ck_assert_int_eq(tm_pool_close(pool), -EBUSY);
	for (n = 0; n < 5; n++)
		ck_assert(is_filled(over[n], (unsigned char)n));
	/* one that comes back is not idle */
	tm_buffer_release(over[0]);
	ck_assert_uint_eq(stats(pool).idle, 0);
	ck_assert_ptr_null(tm_pool_acquire(pool));
	ck_assert_int_eq(tm_pool_acquire_wait(pool, MS, &again), -ETIMEDOUT);
	over[0] = tm_pool_acquire_overdraft(pool);
	ck_assert_ptr_nonnull(over[0]);
	/* while there is an idle one that is taken */
	tm_buffer_release(a[0]);
	a[0] = tm_pool_acquire_overdraft(pool);
	ck_assert_ptr_nonnull(a[0]);
	ck_assert_uint_eq(stats(pool).overdraft, 5);
	ck_assert_int_eq(tm_pool_set_overdraft(pool, 65), -EINVAL);
	ck_assert_int_eq(tm_pool_set_overdraft(pool, 6), 0);
	over[5] = tm_pool_acquire_overdraft(pool);
	ck_assert_ptr_nonnull(over[5]);
	ck_assert_ptr_null(tm_pool_acquire_overdraft(pool));
	tm_buffer_release_bulk(over, 6);
	give(a, 10);
	ck_assert_uint_eq(stats(pool).buffers, 10);
	ck_assert_uint_eq(stats(pool).idle, 10);
	ck_assert_int_eq(tm_pool_close(pool), 0);
	tear_down();
}
END_TEST

/* Likewise, with somebody who waits without a limit. */
START_TEST(a_waiter_is_served_by_the_next_release_whatever_the_overdraft_does)
{
	struct tm_buffer *a[10], *over[5];
	static struct waiter w;
	pthread_t thread;

	set_up(1);
	w.pool = open_pool("pool", 10, 10);
	w.n_wanted = 2;
	ck_assert_uint_eq(tm_pool_acquire_bulk(w.pool, a, 10), 10);
	for (int i = 0; i < 5; i++)
		ck_assert_ptr_nonnull(over[i] = tm_pool_acquire_overdraft(w.pool));
	ck_assert_int_eq(pthread_create(&thread, NULL, wait_for_all, &w), 0);
	for (uint32_t i = 0; i < 2; i++) {
		while (stats(w.pool).waiters == 0)
			usleep(1000);
		/* neither one that comes back nor one that goes out is for it, or in its way */
		tm_buffer_release(over[i]);
		usleep(20000);
		ck_assert_uint_eq(stats(w.pool).waiters, 1);
		ck_assert_uint_eq(w.n, i);
		ck_assert_ptr_nonnull(over[i] = tm_pool_acquire_overdraft(w.pool));
		tm_buffer_release(a[i]);
		for (int ms = 0; ms < 20000 && w.n == i; ms++)
			usleep(1000);
		ck_assert_uint_eq(w.n, i + 1);
	}
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	ck_assert_uint_eq(stats(w.pool).overdraft, 5);
	give(over, 5);
	give(a + 2, 8);
	give(w.buffers, 2);
	ck_assert_uint_eq(stats(w.pool).idle, 10);
	ck_assert_int_eq(tm_pool_close(w.pool), 0);
	tear_down();
}
END_TEST

START_TEST(overdraft_takes_a_page_that_is_left_over_and_gives_it_back)
{
	static struct tm_buffer *a[PER_CHUNK], *b[4 * PER_CHUNK];
	struct tm_buffer *over[5];
	struct tm_pool *pool, *other;

	set_up(3);
	pool = open_pool("pool", PER_CHUNK, PER_CHUNK);
	other = open_pool("other", PER_CHUNK, 0);
	ck_assert_uint_eq(take(pool, PER_CHUNK, a), PER_CHUNK);
	for (int i = 0; i < 5; i++) {
		over[i] = tm_pool_acquire_overdraft(pool);
		ck_assert_ptr_nonnull(over[i]);
	}
	ck_assert_ptr_null(tm_pool_acquire_overdraft(pool));
	/* now nothing is left over, and the other one has what it is due */
	ck_assert_uint_eq(take(other, 4 * PER_CHUNK, b), PER_CHUNK);
	give(over, 5);
	(void)tm_slot_dispatch(slot);
	ck_assert_uint_eq(take(other, 3 * PER_CHUNK, b + PER_CHUNK), PER_CHUNK);
	/* there is no page for it any more, whatever the others' minimum */
	ck_assert_ptr_null(tm_pool_acquire_overdraft(pool));
	give(b, 2 * PER_CHUNK);
	ck_assert_ptr_null(tm_pool_acquire_overdraft(pool));
	give(a, PER_CHUNK);
	ck_assert_int_eq(tm_pool_close(pool), 0);
	ck_assert_int_eq(tm_pool_close(other), 0);
	tear_down();
}
END_TEST

START_TEST(overdraft_does_not_keep_a_page_that_is_owed_for_ever)
{
	struct tm_slot_info info = { .size = sizeof(info) };
	static struct tm_buffer *a[PER_CHUNK];
	struct tm_buffer *over;
	struct tm_pool *pool;

	set_up(2);
	pool = open_pool("pool", PER_CHUNK, PER_CHUNK);
	ck_assert_uint_eq(take(pool, PER_CHUNK, a), PER_CHUNK);
	over = tm_pool_acquire_overdraft(pool);
	ck_assert_ptr_nonnull(over);
	fake_daemon_set_share(fake, 1);
	do {
		dispatch();
		ck_assert_int_eq(tm_slot_get_info(slot, &info), 0);
	} while (info.chunks_target != 1);
	ck_assert_uint_eq(info.chunks_held, 2);
	tm_buffer_release(over);
	for (int i = 0; i < 3000 && info.chunks_held > 1; i++) {
		dispatch();
		ck_assert_int_eq(tm_slot_get_info(slot, &info), 0);
	}
	ck_assert_uint_eq(info.chunks_held, 1);
	ck_assert_ptr_null(tm_pool_acquire_overdraft(pool));
	give(a, PER_CHUNK);
	ck_assert_int_eq(tm_pool_close(pool), 0);
	tear_down();
}
END_TEST

START_TEST(a_page_for_overdraft_that_is_taken_by_force_can_be_replaced)
{
	static struct tm_buffer *a[PER_CHUNK];
	struct tm_buffer *over;
	struct tm_pool *pool;

	set_up(2);
	pool = open_pool("pool", 0, PER_CHUNK);
	ck_assert_uint_eq(take(pool, PER_CHUNK, a), PER_CHUNK);
	over = tm_pool_acquire_overdraft(pool);
	ck_assert_ptr_nonnull(over);
	fake_daemon_set_share(fake, 0);
	fake_daemon_revoke(fake, 2);
	for (int i = 0; i < 50; i++)
		dispatch();
	ck_assert_uint_eq(fake_daemon_count_revoked(fake), 2);
	tm_buffer_release(over);
	give(a, PER_CHUNK);
	for (int i = 0; i < 3000 && fake_daemon_count_revoked(fake) > 0; i++)
		dispatch();
	ck_assert_uint_eq(fake_daemon_count_revoked(fake), 0);
	fake_daemon_set_share(fake, 2);
	for (int i = 0; i < 50; i++)
		dispatch();
	/* the places that the pages had are as new */
	for (int round = 0; round < 2; round++) {
		ck_assert_uint_eq(take(pool, PER_CHUNK, a), PER_CHUNK);
		give(a, PER_CHUNK);
		ck_assert_uint_eq(stats(pool).idle, PER_CHUNK);
	}
	ck_assert_int_eq(tm_pool_close(pool), 0);
	tear_down();
}
END_TEST

START_TEST(an_overdraft_buffer_released_twice_aborts)
{
	struct tm_buffer *buffer;
	struct tm_pool *pool;

	set_up(1);
	pool = open_pool("twice", 1, 1);
	buffer = tm_pool_acquire(pool);
	ck_assert_ptr_nonnull(buffer);
	buffer = tm_pool_acquire_overdraft(pool);
	tm_buffer_release(buffer);
	tm_buffer_release(buffer);
}
END_TEST

/* ---- everything at once */

#define POOLS 3
#define WORKERS 4

static struct tm_pool *pools[POOLS];
static atomic_uint n_turns[WORKERS];

static void *work(void *userdata)
{
	unsigned id = (unsigned)(uintptr_t)userdata, seed = id + 1;
	struct tm_buffer *held[160];
	uint32_t n = 0;

	while (!is_over) {
		struct tm_pool *pool = pools[(unsigned)rand_r(&seed) % POOLS];
		uint32_t want = (uint32_t)rand_r(&seed) % 40;

		for (; want > 0 && n < ARRAY_LEN(held); want--) {
			/* who holds some never waits for ever: that would be a deadlock of its own */
			if (tm_pool_acquire_wait(pool, n > 0 ? MS : UINT64_MAX, &held[n]) < 0)
				break;
			*(unsigned *)held[n]->data = id;
			n++;
		}
		if (n < ARRAY_LEN(held) && (held[n] = tm_pool_acquire_overdraft(pool)))
			*(unsigned *)held[n++]->data = id;
		for (uint32_t i = 0; i < n; i++)
			ck_assert_uint_eq(*(unsigned *)held[i]->data, id);
		for (uint32_t less = n ? (uint32_t)rand_r(&seed) % (n + 1) : 0; less > 0; less--)
			tm_buffer_release(held[--n]);
		n_turns[id]++;
	}
	for (; n > 0; n--)
		tm_buffer_release(held[n - 1]);
	return NULL;
}

/* Threads that wait on pools which take pages from each other, while the slot shrinks and grows and
 * a fourth pool is opened and closed. A waiter nobody wakes would stop its thread for ever
 * (FLINK-29298: of a pool that was resized meanwhile). */
START_TEST(nobody_waits_for_ever_while_pools_take_from_each_other)
{
	static const char *const names[POOLS] = { "one", "two", "three" };
	pthread_t threads[WORKERS];
	uint32_t before[WORKERS] = {};
	struct tm_buffer *extra;
	struct tm_pool *fourth;

	set_up(6);
	for (int i = 0; i < POOLS; i++)
		pools[i] = open_pool(names[i], i == 0 ? 10 : 0, i == 2 ? 100 : 0);
	for (uintptr_t i = 0; i < WORKERS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, work, (void *)i), 0);
	for (int round = 0; round < 40; round++) {
		fake_daemon_set_share(fake, 2 + (uint32_t)round * 7 % 6);
		for (int i = 0; i < 25; i++) {
			dispatch();
		}
		if (tm_pool_open(slot, "four", 64 << 10, 0, 32, &fourth) == 0) {
			if (tm_pool_acquire_wait(fourth, MS, &extra) == 0)
				tm_buffer_release(extra);
			ck_assert_int_eq(tm_pool_close(fourth), 0);
		}
		if (round % 8 != 7)
			continue;
		for (int i = 0; i < WORKERS; i++) {
			for (int ms = 0; ms < 20000 && n_turns[i] == before[i]; ms++) {
				dispatch();
			}
			ck_assert_msg(n_turns[i] != before[i], "round %d: worker %d hangs", round,
				      i);
			before[i] = n_turns[i];
		}
	}
	is_over = true;
	for (int i = 0; i < WORKERS; i++)
		ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
	for (int i = 0; i < POOLS; i++) {
		ck_assert_uint_eq(stats(pools[i]).held, 0);
		ck_assert_uint_eq(stats(pools[i]).idle, stats(pools[i]).buffers);
		ck_assert_int_eq(tm_pool_close(pools[i]), 0);
	}
	tear_down();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("balance");
	TCase *between = tcase_create("between pools"), *beyond = tcase_create("overdraft");

	tcase_set_timeout(between, 60);
	tcase_add_test(between, a_waiter_gets_what_another_pool_leaves_idle_without_a_dispatch);
	tcase_add_test(between, a_new_pools_minimum_goes_before_what_others_have_beyond_theirs);
	tcase_add_test(between, who_holds_all_there_is_can_still_have_the_minimum_of_another_pool);
	tcase_add_test(between, nothing_moves_while_nobody_waits);
	tcase_add_test(between, a_pool_above_its_part_gives_as_its_buffers_are_released);
	tcase_add_test(between,
		       a_waiter_that_found_the_others_busy_gets_their_page_when_they_are_idle);
	tcase_add_test(between, two_that_both_wait_end_with_the_same);
	tcase_add_test(between, pages_on_the_move_go_to_the_daemon_first);
	tcase_add_test(between, nobody_waits_for_ever_while_pools_take_from_each_other);
	suite_add_tcase(suite, between);
	tcase_add_test(beyond, overdraft_is_bounded_and_serves_nobody_else);
	tcase_add_test(beyond, a_waiter_is_served_by_the_next_release_whatever_the_overdraft_does);
	tcase_add_test(beyond, overdraft_takes_a_page_that_is_left_over_and_gives_it_back);
	tcase_add_test(beyond, overdraft_does_not_keep_a_page_that_is_owed_for_ever);
	tcase_add_test(beyond, a_page_for_overdraft_that_is_taken_by_force_can_be_replaced);
	tcase_add_test_raise_signal(beyond, an_overdraft_buffer_released_twice_aborts, SIGABRT);
	suite_add_tcase(suite, beyond);
	return suite_run(suite);
}
