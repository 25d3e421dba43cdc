/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Magazines: what one thread has at hand is not lost to the others, whatever it does. Several
 * cases are defects that other buffer pools had: a wake-up that is missed, buffers that starve
 * in the wrong place, a leak when a thread ends, a close while buffers are at large.
 */

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mono.h"
#include "pool_fixture.h"
#include "suite.h"

#define SIZE ((size_t)4096)
#define PER_CHUNK 512

static struct tm_pool *open_pool(uint32_t min, uint32_t max)
{
	struct tm_pool *pool;

	ck_assert_int_eq(tm_pool_open(slot, "magazine", SIZE, min, max, &pool), 0);
	return pool;
}

/* A thread that does as it is told, and nothing meanwhile. */
struct worker {
	pthread_t thread;
	pthread_barrier_t begin, end;
	void (*job)(struct worker *worker);
	struct tm_pool *pool;
	struct tm_buffer *buffers[PER_CHUNK];
	uint32_t n;
};

static void *run_worker(void *userdata)
{
	struct worker *worker = userdata;

	for (;;) {
		pthread_barrier_wait(&worker->begin);
		if (!worker->job)
			return NULL;
		worker->job(worker);
		pthread_barrier_wait(&worker->end);
	}
}

static void worker_start(struct worker *worker, struct tm_pool *pool)
{
	*worker = (struct worker){ .pool = pool };
	pthread_barrier_init(&worker->begin, NULL, 2);
	pthread_barrier_init(&worker->end, NULL, 2);
	ck_assert_int_eq(pthread_create(&worker->thread, NULL, run_worker, worker), 0);
}

static void worker_do(struct worker *worker, void (*job)(struct worker *worker))
{
	worker->job = job;
	pthread_barrier_wait(&worker->begin);
	pthread_barrier_wait(&worker->end);
}

static void worker_stop(struct worker *worker)
{
	worker->job = NULL;
	pthread_barrier_wait(&worker->begin);
	ck_assert_int_eq(pthread_join(worker->thread, NULL), 0);
	pthread_barrier_destroy(&worker->begin);
	pthread_barrier_destroy(&worker->end);
}

/* Leaves a part of the pool in the worker's magazine. */
static void stock_up(struct worker *worker)
{
	struct tm_buffer *buffer = tm_pool_acquire(worker->pool);

	ck_assert_ptr_nonnull(buffer);
	tm_buffer_release(buffer);
}

static void acquire_all(struct worker *worker)
{
	worker->n = 0;
	while (worker->n < PER_CHUNK &&
	       (worker->buffers[worker->n] = tm_pool_acquire(worker->pool)))
		worker->n++;
}

static void release_all(struct worker *worker)
{
	while (worker->n > 0)
		tm_buffer_release(worker->buffers[--worker->n]);
}

START_TEST(a_thread_keeps_some_at_hand_and_they_count_as_idle)
{
	struct worker worker;
	struct tm_pool *pool;

	set_up(1);
	pool = open_pool(PER_CHUNK, PER_CHUNK);
	worker_start(&worker, pool);
	worker_do(&worker, stock_up);
	ck_assert_uint_gt(stats(pool).in_magazines, 0);
	ck_assert_uint_le(stats(pool).in_magazines, PER_CHUNK / 4 + 1);
	ck_assert_uint_eq(stats(pool).idle, PER_CHUNK);
	ck_assert_uint_eq(stats(pool).held, 0);
	worker_do(&worker, acquire_all);
	ck_assert_uint_eq(worker.n, PER_CHUNK);
	ck_assert_uint_eq(stats(pool).held, PER_CHUNK);
	ck_assert_uint_eq(stats(pool).high_water, PER_CHUNK);
	worker_do(&worker, release_all);
	ck_assert_uint_eq(stats(pool).idle, PER_CHUNK);
	worker_stop(&worker);
	ck_assert_int_eq(tm_pool_close(pool), 0);
	tear_down();
}
END_TEST

START_TEST(what_a_sleeping_thread_has_is_found_by_acquirers)
{
	struct tm_buffer *all[PER_CHUNK + 1];
	struct worker worker;
	struct tm_pool *pool;

	set_up(1);
	pool = open_pool(PER_CHUNK, PER_CHUNK);
	worker_start(&worker, pool);
	for (int round = 0; round < 20; round++) {
		worker_do(&worker, stock_up);
		if (round % 2) {
			ck_assert_uint_eq(tm_pool_acquire_bulk(pool, all, PER_CHUNK + 1),
					  PER_CHUNK);
		} else {
			for (int i = 0; i < PER_CHUNK; i++)
				ck_assert_ptr_nonnull(all[i] = tm_pool_acquire(pool));
			ck_assert_ptr_null(tm_pool_acquire(pool));
		}
		ck_assert_uint_eq(stats(pool).idle, 0);
		tm_buffer_release_bulk(all, PER_CHUNK);
		ck_assert_uint_eq(stats(pool).idle, PER_CHUNK);
	}
	worker_stop(&worker);
	ck_assert_int_eq(tm_pool_close(pool), 0);
	tear_down();
}
END_TEST

START_TEST(what_a_sleeping_thread_has_is_found_by_waiters)
{
	struct tm_buffer *all[PER_CHUNK];
	struct worker worker;
	struct tm_pool *pool;

	set_up(1);
	pool = open_pool(PER_CHUNK, PER_CHUNK);
	worker_start(&worker, pool);
	worker_do(&worker, stock_up);
	for (int i = 0; i < PER_CHUNK; i++)
		ck_assert_int_eq(tm_pool_acquire_wait(pool, 0, &all[i]), 0);
	tm_buffer_release_bulk(all, PER_CHUNK);
	worker_stop(&worker);
	ck_assert_int_eq(tm_pool_close(pool), 0);
	tear_down();
}
END_TEST

static void wait_for_one(struct worker *worker)
{
	ck_assert_int_eq(tm_pool_acquire_wait(worker->pool, UINT64_MAX, &worker->buffers[0]), 0);
	worker->n = 1;
}

START_TEST(a_release_goes_past_the_magazine_to_the_waiter)
{
	struct tm_buffer *all[PER_CHUNK];
	struct worker worker;
	struct tm_pool *pool;

	set_up(1);
	pool = open_pool(PER_CHUNK, PER_CHUNK);
	worker_start(&worker, pool);
	for (int round = 0; round < 20; round++) {
		ck_assert_uint_eq(tm_pool_acquire_bulk(pool, all, PER_CHUNK), PER_CHUNK);
		worker.job = wait_for_one;
		pthread_barrier_wait(&worker.begin);
		while (stats(pool).waiters == 0)
			usleep(100);
		tm_buffer_release(all[0]);
		pthread_barrier_wait(&worker.end);
		ck_assert_ptr_eq(worker.buffers[0], all[0]);
		tm_buffer_release_bulk(all + 1, PER_CHUNK - 1);
		worker_do(&worker, release_all);
	}
	worker_stop(&worker);
	ck_assert_int_eq(tm_pool_close(pool), 0);
	tear_down();
}
END_TEST

START_TEST(pages_come_back_out_of_a_sleeping_threads_magazine)
{
	static struct tm_buffer *all[4 * PER_CHUNK];
	struct tm_slot_info info = { .size = sizeof(info) };
	struct worker worker;
	struct tm_pool *pool;

	set_up(4);
	pool = open_pool(1, 4 * PER_CHUNK);
	worker_start(&worker, pool);
	ck_assert_uint_eq(tm_pool_acquire_bulk(pool, all, 4 * PER_CHUNK), 4 * PER_CHUNK);
	/* the last ones of each page go into the worker's magazine */
	for (int i = 0; i < 4 * PER_CHUNK; i++) {
		if (i % PER_CHUNK >= 100)
			tm_buffer_release(all[i]);
		else
			worker.buffers[worker.n++] = all[i];
	}
	worker_do(&worker, release_all);
	ck_assert_uint_gt(stats(pool).in_magazines, 400);
	fake_daemon_set_share(fake, 1);
	do {
		usleep(1000);
		(void)tm_slot_dispatch(slot);
		ck_assert_int_eq(tm_slot_get_info(slot, &info), 0);
	} while (info.chunks_held > 1);
	ck_assert_uint_eq(fake_daemon_count_present(fake), 1);
	/* and the thread goes on with what is left */
	worker_do(&worker, stock_up);
	ck_assert_uint_eq(stats(pool).idle, PER_CHUNK);
	worker_stop(&worker);
	ck_assert_int_eq(tm_pool_close(pool), 0);
	tear_down();
}
END_TEST

/* Else each of them would be put and taken one by one, with the lock of the depot held. */
START_TEST(what_one_thread_has_too_much_of_is_kept_for_the_next)
{
	static struct tm_buffer *all[4 * PER_CHUNK];
	struct worker worker;
	struct tm_pool *pool;

	set_up(4);
	pool = open_pool(4 * PER_CHUNK, 4 * PER_CHUNK);
	worker_start(&worker, pool);
	ck_assert_uint_eq(tm_pool_acquire_bulk(pool, all, 4 * PER_CHUNK), 4 * PER_CHUNK);
	for (int i = 0; i < 4 * PER_CHUNK; i++)
		tm_buffer_release(all[i]);
	/* a magazine of a quarter and as much beside it */
	ck_assert_uint_gt(stats(pool).in_magazines, 3 * PER_CHUNK / 2);
	ck_assert_uint_eq(stats(pool).idle, 4 * PER_CHUNK);
	worker_do(&worker, acquire_all);
	ck_assert_uint_eq(worker.n, PER_CHUNK);
	ck_assert_uint_eq(stats(pool).held, PER_CHUNK);
	ck_assert_uint_lt(stats(pool).in_magazines, 3 * PER_CHUNK / 2);
	worker_do(&worker, release_all);
	ck_assert_uint_eq(tm_pool_acquire_bulk(pool, all, 4 * PER_CHUNK), 4 * PER_CHUNK);
	ck_assert_uint_eq(stats(pool).in_magazines, 0);
	tm_buffer_release_bulk(all, 4 * PER_CHUNK);
	worker_stop(&worker);
	ck_assert_int_eq(tm_pool_close(pool), 0);
	tear_down();
}
END_TEST

START_TEST(a_thread_that_ends_gives_back_what_it_had)
{
	struct worker worker;
	struct tm_pool *pool;

	set_up(1);
	pool = open_pool(PER_CHUNK, PER_CHUNK);
	for (int i = 0; i < 10; i++) {
		worker_start(&worker, pool);
		worker_do(&worker, stock_up);
		worker_do(&worker, acquire_all);
		worker_do(&worker, release_all);
		worker_stop(&worker);
		ck_assert_uint_eq(stats(pool).idle, PER_CHUNK);
	}
	ck_assert_int_eq(tm_pool_close(pool), 0);
	tear_down();
}
END_TEST

/* FLINK-19964: a pool was destroyed while others still came back to it. */
START_TEST(close_takes_back_what_other_threads_have_and_the_next_pool_is_another_one)
{
	struct worker worker;
	struct tm_pool *pool;
	struct tm_buffer *held;

	set_up(1);
	pool = open_pool(PER_CHUNK, PER_CHUNK);
	worker_start(&worker, pool);
	for (int i = 0; i < 20; i++) {
		worker_do(&worker, stock_up);
		ck_assert_ptr_nonnull(held = tm_pool_acquire(pool));
		ck_assert_int_eq(tm_pool_close(pool), -EBUSY);
		worker_do(&worker, stock_up);
		tm_buffer_release(held);
		ck_assert_int_eq(tm_pool_close(pool), 0);
		pool = worker.pool = open_pool(i % 3 ? 20 : 1, i % 2 ? PER_CHUNK : 20);
		ck_assert_uint_eq(stats(pool).in_magazines, 0);
		worker_do(&worker, acquire_all);
		ck_assert_uint_eq(worker.n, i % 2 ? PER_CHUNK : 20);
		worker_do(&worker, release_all);
	}
	worker_stop(&worker);
	ck_assert_int_eq(tm_pool_close(pool), 0);
	tear_down();
}
END_TEST

START_TEST(more_pools_than_magazines_work_too)
{
	struct tm_pool *pools[40];
	struct tm_buffer *buffers[40 * 8], *more;
	int n = 0;

	set_up(8);
	for (int i = 0; i < 40; i++)
		ck_assert_int_eq(tm_pool_open(slot, "p", 256, 0, 0, &pools[i]), 0);
	for (int i = 0; i < 8; i++) {
		/* the last ones are those without */
		ck_assert_ptr_nonnull(buffers[n++] = tm_pool_acquire(pools[39 - i * 4]));
		ck_assert_ptr_nonnull(buffers[n++] = tm_pool_acquire(pools[39 - i * 4]));
	}
	ck_assert_ptr_null(more = tm_pool_acquire(pools[0]));
	/* of several pools in one bulk */
	tm_buffer_release_bulk(buffers, (uint32_t)n);
	for (int i = 0; i < 40; i++) {
		ck_assert_uint_eq(stats(pools[i]).held, 0);
		ck_assert_int_eq(tm_pool_close(pools[i]), 0);
	}
	tear_down();
}
END_TEST

START_TEST(bulks_of_any_size_are_exact)
{
	struct tm_buffer *buffers[2 * PER_CHUNK + 10];
	struct tm_pool *pool;
	uint32_t n, m;

	set_up(2);
	pool = open_pool(2 * PER_CHUNK, 2 * PER_CHUNK);
	random_state = 1;
	for (int round = 0; round < 500; round++) {
		n = (uint32_t)random_below(ARRAY_LEN(buffers));
		m = tm_pool_acquire_bulk(pool, buffers, n);
		ck_assert_uint_eq(m, MIN(n, 2U * PER_CHUNK));
		ck_assert_uint_eq(stats(pool).held, m);
		for (uint32_t i = 0; i < m; i++)
			memset(buffers[i]->data, round, 16);
		for (uint32_t i = 0; i < m; i += n) {
			n = 1 + (uint32_t)random_below(m - i);
			tm_buffer_release_bulk(buffers + i, n);
		}
		ck_assert_uint_eq(stats(pool).idle, 2 * PER_CHUNK);
	}
	ck_assert_uint_eq(tm_pool_acquire_bulk(pool, buffers, 0), 0);
	tm_buffer_release_bulk(NULL, 0);
	ck_assert_int_eq(tm_pool_close(pool), 0);
	tear_down();
}
END_TEST

START_TEST(releasing_twice_is_noticed_when_both_have_come_back)
{
	struct tm_buffer *buffer;
	struct tm_pool *pool;

	set_up(1);
	pool = open_pool(PER_CHUNK, PER_CHUNK);
	ck_assert_ptr_nonnull(buffer = tm_pool_acquire(pool));
	tm_buffer_release(buffer);
	tm_buffer_release(buffer);
	(void)!tm_pool_close(pool);
}
END_TEST

static pthread_key_t last_key;

/* Leak checkers would look at all that the parent had. */
static void exit_at_once(void *userdata)
{
	(void)userdata;
	_exit(7);
}

static void *end_in_child(void *userdata)
{
	pid_t pid;
	int status;

	stock_up(userdata);
	ck_assert_int_eq(pthread_key_create(&last_key, exit_at_once), 0);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		(void)pthread_setspecific(last_key, &last_key); /* after the library's */
		pthread_exit(NULL);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 7);
	return NULL;
}

START_TEST(a_forked_childs_thread_ends_without_the_parents_pools)
{
	struct worker userdata = {};
	pthread_t thread;

	set_up(1);
	userdata.pool = open_pool(PER_CHUNK, PER_CHUNK);
	ck_assert_int_eq(pthread_create(&thread, NULL, end_in_child, &userdata), 0);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	ck_assert_uint_eq(stats(userdata.pool).idle, PER_CHUNK);
	ck_assert_int_eq(tm_pool_close(userdata.pool), 0);
	tear_down();
}
END_TEST

/* ------------------------------------------------------------------ stress */

#define ROBBERIES 30000

static atomic_bool should_end;

/* Nothing but the inline paths. */
static void *use_magazine(void *userdata)
{
	struct tm_buffer *held[40];
	struct tm_pool *pool = userdata;
	uint64_t *stamps[40];

	for (uint64_t turn = 1; !atomic_load(&should_end); turn++) {
		uint32_t n = (uint32_t)(turn % 40);

		if (turn % 3 == 0) {
			if (tm_pool_acquire_bulk(pool, held, n) != n)
				abort();
		} else {
			for (uint32_t i = 0; i < n; i++)
				if (!(held[i] = tm_pool_acquire(pool)))
					abort();
		}
		for (uint32_t i = 0; i < n; i++) {
			stamps[i] = held[i]->data;
			if (*stamps[i] != 0)
				abort();
			*stamps[i] = turn;
		}
		for (uint32_t i = 0; i < n; i++)
			*stamps[i] = 0;
		if (turn % 5 == 0)
			tm_buffer_release_bulk(held, n);
		else
			for (uint32_t i = 0; i < n; i++)
				tm_buffer_release(held[i]);
	}
	return NULL;
}

START_TEST(a_magazine_in_use_is_robbed_without_loss)
{
	struct tm_pool *pool;
	struct tm_buffer *held;
	pthread_t threads[2];

	set_up(1);
	pool = open_pool(PER_CHUNK, PER_CHUNK);
	ck_assert_ptr_nonnull(held = tm_pool_acquire(pool));
	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, use_magazine, pool), 0);
	/* looks into all magazines, finds that one is held, and leaves the rest in the depot */
	for (int i = 0; i < ROBBERIES; i++)
		ck_assert_int_eq(tm_pool_close(pool), -EBUSY);
	atomic_store(&should_end, true);
	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
	ck_assert_uint_eq(stats(pool).held, 1);
	tm_buffer_release(held);
	ck_assert_int_eq(tm_pool_close(pool), 0);
	tear_down();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("magazine");
	TCase *tc = tcase_create("magazine");

	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, a_thread_keeps_some_at_hand_and_they_count_as_idle);
	tcase_add_test(tc, what_a_sleeping_thread_has_is_found_by_acquirers);
	tcase_add_test(tc, what_a_sleeping_thread_has_is_found_by_waiters);
	tcase_add_test(tc, a_release_goes_past_the_magazine_to_the_waiter);
	tcase_add_test(tc, pages_come_back_out_of_a_sleeping_threads_magazine);
	tcase_add_test(tc, what_one_thread_has_too_much_of_is_kept_for_the_next);
	tcase_add_test(tc, a_thread_that_ends_gives_back_what_it_had);
	tcase_add_test(tc,
		       close_takes_back_what_other_threads_have_and_the_next_pool_is_another_one);
	tcase_add_test(tc, more_pools_than_magazines_work_too);
	tcase_add_test(tc, bulks_of_any_size_are_exact);
	tcase_add_test_raise_signal(tc, releasing_twice_is_noticed_when_both_have_come_back,
				    SIGABRT);
	tcase_add_test(tc, a_forked_childs_thread_ends_without_the_parents_pools);
	tcase_add_test(tc, a_magazine_in_use_is_robbed_without_loss);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
