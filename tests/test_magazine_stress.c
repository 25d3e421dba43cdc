/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Magazines under stress: acquirers that wait without a limit, releasers in other threads, pages that
 * come and go in between. A wake-up that is missed (FLINK-17182) ends the test by its own time limit.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "pool_fixture.h"
#include "suite.h"

#define SIZE ((size_t)4096)
#define ACQUIRERS 4
#define RELEASERS 2
#define TURNS 30000
#define QUEUE 256

/* Buffers on their way from acquirers to releasers. */
static struct {
	pthread_mutex_t lock;
	struct tm_buffer *items[QUEUE];
	atomic_uint n;
} queue = { .lock = PTHREAD_MUTEX_INITIALIZER };
static atomic_uint n_acquiring, n_errors;
static atomic_ulong n_turns;

static bool enqueue(struct tm_buffer *buffer)
{
	bool fits;

	pthread_mutex_lock(&queue.lock);
	fits = queue.n < QUEUE;
	if (fits)
		queue.items[queue.n++] = buffer;
	pthread_mutex_unlock(&queue.lock);
	return fits;
}

static struct tm_buffer *dequeue(uint64_t random)
{
	struct tm_buffer *buffer = NULL;
	uint32_t i;

	pthread_mutex_lock(&queue.lock);
	if (queue.n > 0) {
		i = (uint32_t)(random % queue.n);
		buffer = queue.items[i];
		queue.items[i] = queue.items[--queue.n];
	}
	pthread_mutex_unlock(&queue.lock);
	return buffer;
}

struct stress {
	struct tm_pool *pool;
	uint64_t stamp;
};

/* Marks the buffer as its holder's, and looks whether anybody else has it. */
static void check_in(struct tm_buffer *buffer, uint64_t stamp)
{
	atomic_ulong *owner = buffer->data;

	if (atomic_exchange(owner, stamp) != 0)
		atomic_fetch_add(&n_errors, 1);
}

static void check_out(struct tm_buffer *buffer)
{
	atomic_ulong *owner = buffer->data;

	if (atomic_exchange(owner, 0) == 0)
		atomic_fetch_add(&n_errors, 1);
}

static void *acquire_for_ever(void *userdata)
{
	struct stress *s = userdata;
	struct tm_buffer *bulk[16], *buffer;
	unsigned int seed = (unsigned int)s->stamp;
	uint32_t n;

	for (int turn = 0; turn < TURNS; turn++) {
		/* no time-out: a wake-up that is missed ends the test by its own */
		if (rand_r(&seed) % 8 == 0) {
			n = tm_pool_acquire_bulk(s->pool, bulk, 1 + (uint32_t)rand_r(&seed) % 16);
		} else {
			buffer = rand_r(&seed) % 2 ? tm_pool_acquire(s->pool) : NULL;
			if (!buffer && tm_pool_acquire_wait(s->pool, UINT64_MAX, &buffer) != 0)
				abort();
			bulk[0] = buffer;
			n = 1;
		}
		for (uint32_t i = 0; i < n; i++)
			check_in(bulk[i], s->stamp);
		for (uint32_t i = 0; i < n; i++) {
			if (rand_r(&seed) % 2 && enqueue(bulk[i]))
				continue;
			check_out(bulk[i]);
			tm_buffer_release(bulk[i]);
		}
		atomic_fetch_add(&n_turns, 1);
	}
	atomic_fetch_sub(&n_acquiring, 1);
	return NULL;
}

static void *release_for_ever(void *userdata)
{
	struct stress *s = userdata;
	struct tm_buffer *bulk[8];
	unsigned int seed = (unsigned int)s->stamp;
	uint32_t n = 0;

	while (atomic_load(&n_acquiring) > 0 || n > 0 || queue.n > 0) {
		bulk[n] = dequeue((uint64_t)rand_r(&seed));
		if (bulk[n])
			check_out(bulk[n++]);
		else if (n == 0)
			usleep(50);
		if (n == 8 || (n > 0 && !bulk[n])) {
			tm_buffer_release_bulk(bulk, n);
			n = 0;
		}
	}
	return NULL;
}

/* Acquirers that wait, releasers in other threads, pages that come and go in between: everybody
 * is served, no buffer has two holders, and nobody waits while a buffer is idle. */
static void stress_pool(uint32_t min, uint32_t max, bool resizes)
{
	struct stress s[ACQUIRERS + RELEASERS];
	pthread_t threads[ACQUIRERS + RELEASERS];
	struct tm_pool_stats now;
	struct tm_pool *pool;

	set_up(resizes ? 4 : 2);
	ck_assert_int_eq(tm_pool_open(slot, "magazine", SIZE, min, max, &pool), 0);
	atomic_store(&n_errors, 0);
	atomic_store(&n_acquiring, ACQUIRERS);
	for (int i = 0; i < ACQUIRERS + RELEASERS; i++) {
		s[i] = (struct stress){ .pool = pool, .stamp = (uint64_t)i + 1 };
		ck_assert_int_eq(pthread_create(&threads[i], NULL,
						i < ACQUIRERS ? acquire_for_ever : release_for_ever,
						&s[i]),
				 0);
	}
	for (uint32_t i = 0; atomic_load(&n_acquiring) > 0; i++) {
		if (resizes && i % 4 == 0)
			fake_daemon_set_share(fake, 1 + i / 4 % 4);
		(void)tm_slot_dispatch(slot);
		now = stats(pool);
		ck_assert(now.waiters == 0 || now.idle == 0);
		usleep(300);
	}
	for (int i = 0; i < ACQUIRERS + RELEASERS; i++)
		ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
	ck_assert_uint_eq(atomic_load(&n_errors), 0);
	now = stats(pool);
	ck_assert_uint_eq(now.held, 0);
	ck_assert_uint_eq(now.waiters, 0);
	ck_assert_uint_eq(now.idle, now.buffers);
	ck_assert_int_eq(tm_pool_close(pool), 0);
	tear_down();
}

START_TEST(nobody_waits_for_ever_on_a_pool_that_is_nearly_empty)
{
	stress_pool(128, 140, /* resizes= */ false);
}
END_TEST

START_TEST(nobody_waits_for_ever_on_a_pool_that_is_half_full)
{
	stress_pool(300, 300, /* resizes= */ false);
}
END_TEST

START_TEST(nobody_waits_for_ever_while_pages_come_and_go)
{
	stress_pool(1, 0, /* resizes= */ true);
}
END_TEST

START_TEST(nobody_waits_for_ever_on_a_pool_without_magazines)
{
	stress_pool(8, 8, /* resizes= */ false);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("magazine_stress");
	TCase *tc = tcase_create("magazine_stress");

	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, nobody_waits_for_ever_on_a_pool_that_is_nearly_empty);
	tcase_add_test(tc, nobody_waits_for_ever_on_a_pool_that_is_half_full);
	tcase_add_test(tc, nobody_waits_for_ever_while_pages_come_and_go);
	tcase_add_test(tc, nobody_waits_for_ever_on_a_pool_without_magazines);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
