/* SPDX-License-Identifier: Apache-2.0 */

/* Pools: exact counts, waiting, several threads, several sizes, misuse. */

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mono.h"
#include "pool.h"
#include "pool_fixture.h"
#include "slot.h"
#include "suite.h"

#define SIZE ((size_t)32 << 10)
#define PER_CHUNK 64
#define STRESS_THREADS 4
#define STRESS_ROUNDS 20000

static struct tm_pool *open_pool(const char *name, size_t bytes, uint32_t min, uint32_t max)
{
	struct tm_pool *pool;

	ck_assert_int_eq(tm_pool_open(slot, name, bytes, min, max, &pool), 0);
	return pool;
}

START_TEST(a_pool_gives_exactly_max_buffers_and_takes_them_back)
{
	struct tm_buffer *buffers[100];
	struct tm_pool *pool;

	set_up(4);
	pool = open_pool("exact", SIZE, 10, 100);
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 100; i++) {
			ck_assert_ptr_nonnull(buffers[i] = tm_pool_acquire(pool));
			ck_assert_uint_eq(buffers[i]->capacity, SIZE);
			ck_assert_ptr_eq(buffers[i]->pool, pool);
			ck_assert_uint_eq((uintptr_t)buffers[i]->data % 4096, 0);
			memset(buffers[i]->data, i, SIZE);
		}
		ck_assert_ptr_null(tm_pool_acquire(pool));
		ck_assert_uint_eq(stats(pool).held, 100);
		ck_assert_uint_eq(stats(pool).idle, 0);
		ck_assert_uint_eq(stats(pool).buffers, 100);
		for (int i = 0; i < 100; i++) {
			ck_assert_int_eq(((unsigned char *)buffers[i]->data)[0], i);
			ck_assert_int_eq(((unsigned char *)buffers[i]->data)[SIZE - 1], i);
			tm_buffer_release(buffers[i]);
		}
		ck_assert_uint_eq(stats(pool).idle, 100);
	}
	ck_assert_uint_eq(stats(pool).high_water, 100);
	ck_assert_uint_eq(stats(pool).acquired_total, 300);
	ck_assert_uint_eq(stats(pool).empty_total, 3);
	ck_assert_int_eq(tm_pool_close(pool), 0);
	tear_down();
}
END_TEST

START_TEST(buffers_have_different_indexes_and_do_not_overlap)
{
	struct tm_buffer *buffers[2 * PER_CHUNK];
	bool seen[4 * PER_CHUNK] = {};
	struct tm_pool *pool;
	uintptr_t a, b;

	set_up(2);
	pool = open_pool("index", SIZE, 2 * PER_CHUNK, 0);
	for (int i = 0; i < 2 * PER_CHUNK; i++) {
		ck_assert_ptr_nonnull(buffers[i] = tm_pool_acquire(pool));
		ck_assert_uint_lt(buffers[i]->index, 4 * PER_CHUNK);
		ck_assert(!seen[buffers[i]->index]);
		seen[buffers[i]->index] = true;
		a = (uintptr_t)buffers[i]->data;
		for (int j = 0; j < i; j++) {
			b = (uintptr_t)buffers[j]->data;
			ck_assert(a >= b + SIZE || b >= a + SIZE);
		}
	}
	for (int i = 0; i < 2 * PER_CHUNK; i++)
		tm_buffer_release(buffers[i]);
	ck_assert_int_eq(tm_pool_close(pool), 0);
	tear_down();
}
END_TEST

START_TEST(open_refuses_impossible_values)
{
	struct tm_pool *pool = NULL;

	set_up(2);
	ck_assert_int_eq(tm_pool_open(slot, "x", 128, 1, 1, &pool), -EINVAL);
	ck_assert_int_eq(tm_pool_open(slot, "x", 3000, 1, 1, &pool), -EINVAL);
	ck_assert_int_eq(tm_pool_open(slot, "x", (size_t)2 << 20, 1, 1, &pool), -EINVAL);
	ck_assert_int_eq(tm_pool_open(slot, "x", SIZE, 2, 1, &pool), -EINVAL);
	ck_assert_int_eq(tm_pool_open(slot, "", SIZE, 1, 1, &pool), -EINVAL);
	ck_assert_int_eq(tm_pool_open(slot, "a name that is far longer than 31", SIZE, 1, 1, &pool),
			 -EINVAL);
	ck_assert_ptr_null(pool);
	tear_down();
}
END_TEST

/* FLINK-9708: a pool that could not be had left what was already taken for it with nobody. */
START_TEST(open_fails_with_nobufs_and_leaves_nothing_behind)
{
	struct tm_pool *pool = NULL, *other;

	set_up(2);
	ck_assert_int_eq(tm_pool_open(slot, "big", SIZE, 3 * PER_CHUNK, 0, &pool), -ENOBUFS);
	ck_assert_int_eq(tm_pool_open(slot, "huge", SIZE, 100 * PER_CHUNK, 0, &pool), -ENOBUFS);
	ck_assert_ptr_null(pool);
	ck_assert_uint_eq(fake_daemon_count_present(fake), 2);
	other = open_pool("fits", SIZE, 2 * PER_CHUNK, 0);
	ck_assert_int_eq(tm_pool_close(other), 0);
	tear_down();
}
END_TEST

START_TEST(open_asks_the_daemon_for_what_is_missing)
{
	struct tm_pool *pool;

	set_up(1);
	fake_daemon_set_share(fake, 4);
	pool = open_pool("grown", SIZE, 3 * PER_CHUNK + 1, 0);
	ck_assert_uint_eq(fake_daemon_count_present(fake), 4);
	ck_assert_uint_eq(stats(pool).idle, 4 * PER_CHUNK);
	ck_assert_int_eq(tm_pool_close(pool), 0);
	tear_down();
}
END_TEST

START_TEST(sizes_do_not_share_chunks)
{
	static const size_t sizes[] = { 256, 4096, SIZE, (size_t)1 << 20 };
	struct tm_buffer *buffers[ARRAY_LEN(sizes)];
	struct tm_pool *pools[ARRAY_LEN(sizes)], *extra;
	uintptr_t a, b;

	set_up(4);
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		pools[i] = open_pool("size", sizes[i], 1, 0);
		ck_assert_uint_eq(stats(pools[i]).idle, TM_CHUNK_BYTES / sizes[i]);
	}
	ck_assert_int_eq(tm_pool_open(slot, "none left", SIZE, 1, 1, &extra), -ENOBUFS);
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		ck_assert_ptr_nonnull(buffers[i] = tm_pool_acquire(pools[i]));
		memset(buffers[i]->data, (int)i, sizes[i]);
	}
	/* the chunk of each begins with its first buffer, as nothing else was acquired */
	for (size_t i = 1; i < ARRAY_LEN(sizes); i++) {
		a = (uintptr_t)buffers[i]->data;
		b = (uintptr_t)buffers[i - 1]->data;
		ck_assert_uint_ge(a > b ? a - b : b - a, TM_CHUNK_BYTES);
	}
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		ck_assert_int_eq(((unsigned char *)buffers[i]->data)[sizes[i] - 1], (int)i);
		tm_buffer_release(buffers[i]);
		ck_assert_int_eq(tm_pool_close(pools[i]), 0);
	}
	tear_down();
}
END_TEST

START_TEST(a_pool_grows_into_free_chunks_and_close_frees_them)
{
	struct tm_buffer *buffers[2 * PER_CHUNK];
	struct tm_pool *pool, *other;

	set_up(2);
	pool = open_pool("grow", SIZE, 0, 0);
	ck_assert_uint_eq(stats(pool).buffers, 0);
	for (int i = 0; i < 2 * PER_CHUNK; i++)
		ck_assert_ptr_nonnull(buffers[i] = tm_pool_acquire(pool));
	ck_assert_ptr_null(tm_pool_acquire(pool));
	ck_assert_int_eq(tm_pool_close(pool), -EBUSY);
	for (int i = 0; i < 2 * PER_CHUNK; i++)
		tm_buffer_release(buffers[i]);
	ck_assert_int_eq(tm_pool_close(pool), 0);
	other = open_pool("next", 4096, 1024, 1024);
	ck_assert_uint_eq(stats(other).idle, 1024);
	ck_assert_int_eq(tm_pool_close(other), 0);
	tear_down();
}
END_TEST

START_TEST(waiting_ends_at_the_time_out)
{
	struct tm_buffer *held[2], *none = NULL;
	struct tm_pool *pool;
	uint64_t begin_ns;

	set_up(1);
	pool = open_pool("wait", SIZE, 2, 2);
	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(tm_pool_acquire_wait(pool, 0, &held[i]), 0);
	begin_ns = mono_now_ns();
	ck_assert_int_eq(tm_pool_acquire_wait(pool, 30 * NS_PER_MSEC, &none), -ETIMEDOUT);
	ck_assert_uint_ge(mono_now_ns() - begin_ns, 30 * NS_PER_MSEC);
	ck_assert_ptr_null(none);
	ck_assert_uint_eq(stats(pool).waiters, 0);
	for (int i = 0; i < 2; i++)
		tm_buffer_release(held[i]);
	ck_assert_int_eq(tm_pool_close(pool), 0);
	tear_down();
}
END_TEST

START_TEST(waiting_asks_the_daemon_when_the_target_allows_more)
{
	struct tm_buffer *buffers[PER_CHUNK], *more;
	struct tm_pool *pool;

	set_up(1);
	pool = open_pool("ask", SIZE, PER_CHUNK, 0);
	for (int i = 0; i < PER_CHUNK; i++)
		ck_assert_ptr_nonnull(buffers[i] = tm_pool_acquire(pool));
	/* at the target nothing is asked */
	ck_assert_int_eq(tm_pool_acquire_wait(pool, 0, &more), -ETIMEDOUT);
	ck_assert_uint_eq(fake_daemon_count_grows(fake), 0);
	fake_daemon_set_available(fake, 0);
	fake_daemon_set_share(fake, 2);
	while (tm_slot_dispatch(slot) == 0)
		usleep(1000);
	ck_assert_ptr_null(tm_pool_acquire(pool));
	for (int i = 0; i < 10; i++)
		ck_assert_int_eq(tm_pool_acquire_wait(pool, 0, &more), -ETIMEDOUT);
	/* refused once, and not asked again so soon */
	ck_assert_uint_eq(fake_daemon_count_grows(fake), 1);
	fake_daemon_set_available(fake, 1);
	fake_daemon_set_share(fake, 2);
	while (tm_slot_dispatch(slot) == 0)
		usleep(1000);
	ck_assert_int_eq(tm_pool_acquire_wait(pool, 0, &more), 0);
	ck_assert_uint_eq(fake_daemon_count_present(fake), 2);
	tm_buffer_release(more);
	for (int i = 0; i < PER_CHUNK; i++)
		tm_buffer_release(buffers[i]);
	ck_assert_int_eq(tm_pool_close(pool), 0);
	tear_down();
}
END_TEST

/* Sixteen pages, all in use, and one buffer more; how many pages that are then. */
static uint32_t grow_from_sixteen(uint32_t max_buffers, uint32_t share)
{
	struct tm_buffer *buffers[16 * PER_CHUNK], *more;
	struct tm_pool *pool;
	uint32_t present;

	set_up(16);
	pool = open_pool("large", SIZE, 16 * PER_CHUNK, max_buffers);
	ck_assert_uint_eq(tm_pool_acquire_bulk(pool, buffers, 16 * PER_CHUNK), 16 * PER_CHUNK);
	fake_daemon_set_share(fake, share);
	while (tm_slot_dispatch(slot) == 0)
		usleep(1000);
	ck_assert_uint_eq(fake_daemon_count_grows(fake), 0);
	ck_assert_int_eq(tm_pool_acquire_wait(pool, 0, &more), 0);
	ck_assert_uint_eq(fake_daemon_count_grows(fake), 1);
	present = fake_daemon_count_present(fake);
	tm_buffer_release(more);
	tm_buffer_release_bulk(buffers, 16 * PER_CHUNK);
	ck_assert_int_eq(tm_pool_close(pool), 0);
	tear_down();
	return present;
}

START_TEST(a_large_pool_asks_for_a_sixteenth_more_at_a_time)
{
	ck_assert_uint_eq(grow_from_sixteen(0, 32), 18);
	/* not beyond what it may have, nor what the slot may */
	ck_assert_uint_eq(grow_from_sixteen(16 * PER_CHUNK + 1, 32), 17);
	ck_assert_uint_eq(grow_from_sixteen(0, 17), 17);
}
END_TEST

#define DRY_THREADS 4

static void *run_dry(void *userdata)
{
	struct tm_buffer *buffer;

	return tm_pool_acquire_wait(userdata, UINT64_MAX, &buffer) == 0 ? buffer : NULL;
}

/* All of a page is in use and some threads want one buffer more, while a call of another one to the
 * daemon is under way: they wait for their turn to ask. */
static void run_dry_at_once(void)
{
	struct tm_buffer *buffers[PER_CHUNK];
	pthread_t threads[DRY_THREADS];
	struct tm_pool *pool;
	void *more;

	set_up(1);
	pool = open_pool("dry", SIZE, PER_CHUNK, 0);
	ck_assert_uint_eq(tm_pool_acquire_bulk(pool, buffers, PER_CHUNK), PER_CHUNK);
	fake_daemon_set_share(fake, 1 + DRY_THREADS);
	while (tm_slot_dispatch(slot) == 0)
		usleep(1000);
	pthread_mutex_lock(&slot->call_lock);
	for (int i = 0; i < DRY_THREADS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, run_dry, pool), 0);
	usleep(20000); /* they wait; or come later, and find what there is then */
	pthread_mutex_unlock(&slot->call_lock);
	for (int i = 0; i < DRY_THREADS; i++) {
		ck_assert_int_eq(pthread_join(threads[i], &more), 0);
		ck_assert_ptr_nonnull(more);
		tm_buffer_release(more);
	}
	ck_assert_uint_eq(fake_daemon_count_grows(fake), 1);
	ck_assert_uint_eq(fake_daemon_count_present(fake), 2);
	tm_buffer_release_bulk(buffers, PER_CHUNK);
	ck_assert_int_eq(tm_pool_close(pool), 0);
	tear_down();
}

START_TEST(threads_that_run_dry_at_once_ask_for_one_page)
{
	for (int i = 0; i < 10; i++)
		run_dry_at_once();
}
END_TEST

struct turn {
	struct tm_pool *pool;
	atomic_int *clock;
	int order;
	struct tm_buffer *buffer;
};

static void *take_turn(void *userdata)
{
	struct turn *turn = userdata;

	if (tm_pool_acquire_wait(turn->pool, UINT64_MAX, &turn->buffer) == 0)
		turn->order = atomic_fetch_add(turn->clock, 1);
	return NULL;
}

/* FLINK-25960: buffers went to readers at random, and some starved. */
START_TEST(waiters_are_woken_first_come_first_served)
{
	struct turn turns[4] = {};
	pthread_t threads[4];
	struct tm_buffer *held;
	struct tm_pool *pool;
	atomic_int clock = 0;

	set_up(1);
	pool = open_pool("fifo", SIZE, 1, 1);
	ck_assert_ptr_nonnull(held = tm_pool_acquire(pool));
	for (int i = 0; i < 4; i++) {
		turns[i] = (struct turn){ .pool = pool, .clock = &clock, .order = -1 };
		ck_assert_int_eq(pthread_create(&threads[i], NULL, take_turn, &turns[i]), 0);
		while (stats(pool).waiters != (uint32_t)i + 1)
			usleep(500);
	}
	/* nobody may overtake those who wait */
	ck_assert_ptr_null(tm_pool_acquire(pool));
	for (int i = 0; i < 4; i++) {
		tm_buffer_release(held);
		ck_assert_ptr_null(tm_pool_acquire(pool));
		ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
		ck_assert_int_eq(turns[i].order, i);
		held = turns[i].buffer;
	}
	tm_buffer_release(held);
	ck_assert_uint_eq(stats(pool).idle, 1);
	ck_assert_int_eq(tm_pool_close(pool), 0);
	tear_down();
}
END_TEST

struct stress {
	struct tm_pool *pool;
	uint64_t stamp;
	atomic_uint *n_errors;
};

struct late {
	struct tm_pool *pool;
	struct tm_buffer *buffer;
	int r;
	atomic_bool is_over;
};

static void *wait_briefly(void *userdata)
{
	struct late *late = userdata;

	late->r = tm_pool_acquire_wait(late->pool, 100 * NS_PER_MSEC, &late->buffer);
	late->is_over = true;
	return NULL;
}

static void *release_it(void *userdata)
{
	tm_buffer_release(userdata);
	return NULL;
}

/* FLINK-9636: a request for buffers that was cancelled lost those which it had got by then. Here the
 * only buffer comes when the time is over and the waiter has not noticed yet: both want the lock. */
START_TEST(a_wait_that_is_given_up_as_its_buffer_comes_loses_none)
{
	pthread_t waiter, releaser;
	struct tm_buffer *held;
	struct tm_pool *pool;

	set_up(1);
	pool = open_pool("late", SIZE, 1, 1);
	for (int round = 0; round < 8; round++) {
		struct late late = { .pool = pool };

		ck_assert_ptr_nonnull(held = tm_pool_acquire(pool));
		ck_assert_int_eq(pthread_create(&waiter, NULL, wait_briefly, &late), 0);
		while (stats(pool).waiters == 0 && !late.is_over)
			usleep(1000);
		pthread_mutex_lock(&pool->lock);
		ck_assert_int_eq(pthread_create(&releaser, NULL, release_it, held), 0);
		usleep(150000);
		pthread_mutex_unlock(&pool->lock);
		ck_assert_int_eq(pthread_join(releaser, NULL), 0);
		ck_assert_int_eq(pthread_join(waiter, NULL), 0);
		ck_assert_uint_eq(stats(pool).waiters, 0);
		if (late.r == 0)
			tm_buffer_release(late.buffer);
		else
			ck_assert_int_eq(late.r, -ETIMEDOUT);
		ck_assert_uint_eq(stats(pool).idle, 1);
	}
	ck_assert_int_eq(tm_pool_close(pool), 0);
	tear_down();
}
END_TEST

/* Holds a few buffers at a time, each stamped with its owner at both ends. */
static void *stress(void *userdata)
{
	struct stress *s = userdata;
	struct tm_buffer *held[6] = {};
	unsigned int seed = (unsigned int)s->stamp;
	uint64_t *first, *last;

	for (int round = 0; round < STRESS_ROUNDS; round++) {
		int i = rand_r(&seed) % 6;

		if (!held[i]) {
			if (round % 3 == 0)
				(void)!tm_pool_acquire_wait(s->pool, NS_PER_MSEC, &held[i]);
			else
				held[i] = tm_pool_acquire(s->pool);
			if (!held[i])
				continue;
			first = held[i]->data;
			last = first + held[i]->capacity / sizeof(*last) - 1;
			*first = *last = s->stamp;
			continue;
		}
		first = held[i]->data;
		last = first + held[i]->capacity / sizeof(*last) - 1;
		if (*first != s->stamp || *last != s->stamp)
			atomic_fetch_add(s->n_errors, 1);
		tm_buffer_release(held[i]);
		held[i] = NULL;
	}
	for (int i = 0; i < 6; i++)
		tm_buffer_release(held[i]);
	return NULL;
}

START_TEST(no_buffer_is_given_to_two_threads)
{
	struct stress s[STRESS_THREADS];
	pthread_t threads[STRESS_THREADS];
	atomic_uint n_errors = 0;
	struct tm_pool *pool;

	set_up(2);
	pool = open_pool("stress", 4096, 1, 16);
	for (int i = 0; i < STRESS_THREADS; i++) {
		s[i] = (struct stress){ .pool = pool,
					.stamp = (uint64_t)i + 1,
					.n_errors = &n_errors };
		ck_assert_int_eq(pthread_create(&threads[i], NULL, stress, &s[i]), 0);
	}
	for (int i = 0; i < STRESS_THREADS; i++)
		ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
	ck_assert_uint_eq(atomic_load(&n_errors), 0);
	ck_assert_uint_eq(stats(pool).idle, 16);
	ck_assert_uint_eq(stats(pool).held, 0);
	ck_assert_int_eq(tm_pool_close(pool), 0);
	tear_down();
}
END_TEST

START_TEST(resizing_under_stress_gives_no_buffer_twice)
{
	struct stress s[STRESS_THREADS];
	pthread_t threads[STRESS_THREADS];
	atomic_uint n_errors = 0;
	struct tm_slot_info info = { .size = sizeof(info) };
	struct tm_pool *pool;

	set_up(8);
	pool = open_pool("resize", (size_t)1 << 20, 2, 0);
	for (int i = 0; i < STRESS_THREADS; i++) {
		s[i] = (struct stress){ .pool = pool,
					.stamp = (uint64_t)i + 1,
					.n_errors = &n_errors };
		ck_assert_int_eq(pthread_create(&threads[i], NULL, stress, &s[i]), 0);
	}
	for (uint32_t i = 0; i < 60; i++) {
		fake_daemon_set_share(fake, i % 2 ? 8 : 1 + i % 5);
		usleep(2000);
		ck_assert_int_ge(tm_slot_dispatch(slot), 0);
	}
	for (int i = 0; i < STRESS_THREADS; i++)
		ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
	ck_assert_uint_eq(atomic_load(&n_errors), 0);
	fake_daemon_set_share(fake, 1);
	do {
		usleep(1000);
		ck_assert_int_ge(tm_slot_dispatch(slot), 0);
		ck_assert_int_eq(tm_slot_get_info(slot, &info), 0);
	} while (info.chunks_held > 1);
	ck_assert_uint_eq(fake_daemon_count_present(fake), 1);
	ck_assert_uint_eq(fake_daemon_count_backed(fake), 1);
	ck_assert_uint_eq(stats(pool).idle, 2);
	ck_assert_int_eq(tm_pool_close(pool), 0);
	tear_down();
}
END_TEST

START_TEST(releasing_nothing_is_fine)
{
	tm_buffer_release(NULL);
	ck_assert_int_eq(tm_pool_close(NULL), 0);
	tm_slot_detach(NULL);
}
END_TEST

START_TEST(releasing_twice_aborts)
{
	struct tm_buffer *buffer;
	struct tm_pool *pool;

	set_up(1);
	pool = open_pool("twice", SIZE, 1, 0);
	ck_assert_ptr_nonnull(buffer = tm_pool_acquire(pool));
	tm_buffer_release(buffer);
	tm_buffer_release(buffer);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("pool");
	TCase *tc = tcase_create("pool");

	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, a_pool_gives_exactly_max_buffers_and_takes_them_back);
	tcase_add_test(tc, buffers_have_different_indexes_and_do_not_overlap);
	tcase_add_test(tc, open_refuses_impossible_values);
	tcase_add_test(tc, open_fails_with_nobufs_and_leaves_nothing_behind);
	tcase_add_test(tc, open_asks_the_daemon_for_what_is_missing);
	tcase_add_test(tc, sizes_do_not_share_chunks);
	tcase_add_test(tc, a_pool_grows_into_free_chunks_and_close_frees_them);
	tcase_add_test(tc, waiting_ends_at_the_time_out);
	tcase_add_test(tc, waiting_asks_the_daemon_when_the_target_allows_more);
	tcase_add_test(tc, a_large_pool_asks_for_a_sixteenth_more_at_a_time);
	tcase_add_test(tc, threads_that_run_dry_at_once_ask_for_one_page);
	tcase_add_test(tc, waiters_are_woken_first_come_first_served);
	tcase_add_test(tc, a_wait_that_is_given_up_as_its_buffer_comes_loses_none);
	tcase_add_test(tc, no_buffer_is_given_to_two_threads);
	tcase_add_test(tc, resizing_under_stress_gives_no_buffer_twice);
	tcase_add_test(tc, releasing_nothing_is_fine);
	tcase_add_test_raise_signal(tc, releasing_twice_aborts, SIGABRT);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
