/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Handlers that call whatever they may, while other threads release, dispatch and resize. No lock is
 * held around a handler, so none of it can stop another: in Flink a pool called back under its own lock
 * and the receiver took its own, while who held that one released a buffer (FLINK-9676, FLINK-18595,
 * FLINK-22946). Such a deadlock ends the test by its time limit.
 */

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/attr.h"
#include "base/mono.h"
#include "engine_fixture.h"

/* Few buffers, of which channels have few credits, so that some always wait for one or the other. */
#define SHARE 4
#define BUFFER_BYTES (128 << 10)
#define CREDIT 3
#define ROUNDS 10
#define PEERS 8
#define PEER_BYTES (2 * MIB)
#define RELEASERS 3
#define WORK_MAX 16

/* Buffers that other threads are to release. */
static struct {
	pthread_mutex_t lock;
	struct tm_buffer *buffers[WORK_MAX];
	uint32_t n;
} work = { .lock = PTHREAD_MUTEX_INITIALIZER };
static atomic_bool is_over;
static atomic_uint n_resizes, n_others, n_opens, n_closes;
static _Thread_local unsigned seed;

static bool chance(int one_in)
{
	return rand_r(&seed) % one_in == 0;
}

static void hand_over(struct tm_buffer *buffer)
{
	bool fits;

	pthread_mutex_lock(&work.lock);
	fits = work.n < WORK_MAX;
	if (fits)
		work.buffers[work.n++] = buffer;
	pthread_mutex_unlock(&work.lock);
	if (!fits)
		tm_buffer_release(buffer);
}

static struct tm_buffer *take_over(void)
{
	struct tm_buffer *buffer;

	pthread_mutex_lock(&work.lock);
	buffer = work.n > 0 ? work.buffers[--work.n] : NULL;
	pthread_mutex_unlock(&work.lock);
	return buffer;
}

static void *release_for_others(void *userdata)
{
	struct tm_buffer *buffer;

	seed = (unsigned)(uintptr_t)userdata;
	for (;;) {
		buffer = take_over();
		if (!buffer && is_over)
			return NULL;
		if (!buffer || chance(32))
			usleep(100);
		tm_buffer_release(buffer);
	}
}

/* A pool of its own, which takes pages of the first one and gives them back. */
static void use_another_pool(void)
{
	struct tm_buffer *some[8];
	struct tm_pool *other;
	uint32_t n;

	if (tm_pool_open(slot, "other", 4096, (uint32_t)rand_r(&seed) % 2, 0, &other) < 0)
		return;
	n = tm_pool_acquire_bulk(other, some, ARRAY_LEN(some));
	tm_buffer_release_bulk(some, n);
	ck_assert_int_eq(tm_pool_close(other), 0);
	n_others++;
}

static void do_anything(void)
{
	struct tm_buffer *some[4], *one;
	struct tm_pool_stats now;
	uint32_t n = tm_pool_acquire_bulk(pool, some, ARRAY_LEN(some));

	for (uint32_t i = 0; i < n; i++)
		hand_over(some[i]);
	if (chance(4))
		use_another_pool();
	if (tm_pool_acquire_wait(pool, 0, &one) == 0)
		hand_over(one);
	tm_buffer_release(tm_pool_acquire_overdraft(pool));
	now = stats(); /* of one moment: pages come and go */
	ck_assert_uint_le(now.posted, now.buffers);
}

static int on_channel_open(struct tm_channel *channel, void *userdata)
{
	(void)channel;
	(void)userdata;
	n_opens++;
	do_anything();
	return 0;
}

static void on_channel_data(struct tm_channel *channel, struct tm_buffer *buffer, uint32_t offset,
			    uint32_t length, void *userdata)
{
	(void)offset;
	(void)length;
	(void)userdata;
	if (chance(2))
		tm_buffer_release(buffer);
	else
		hand_over(buffer);
	do_anything();
	if (chance(8))
		(void)tm_slot_dispatch(slot);
	if (chance(200))
		tm_channel_close(channel);
}

static void on_channel_close(struct tm_channel *channel, int error, void *userdata)
{
	(void)channel;
	(void)error;
	(void)userdata;
	n_closes++;
	do_anything();
	use_another_pool();
}

static void on_resize(struct tm_slot *of, uint32_t old_chunks, uint32_t new_chunks, void *userdata)
{
	(void)old_chunks;
	(void)new_chunks;
	n_resizes++;
	tm_slot_set_resize_handler(of, on_resize, userdata);
	do_anything();
	use_another_pool();
	if (chance(2))
		(void)tm_slot_dispatch(of);
}

/* The resize handler runs in here as well as in the engine's thread. */
static void *dispatch_for_ever(void *userdata)
{
	seed = (unsigned)(uintptr_t)userdata;
	while (!is_over) {
		(void)tm_slot_dispatch(slot);
		usleep(200);
	}
	return NULL;
}

START_TEST(handlers_may_call_anything_while_others_release)
{
	const struct tm_handlers own = { .size = sizeof(own),
					 .open = on_channel_open,
					 .data = on_channel_data,
					 .close = on_channel_close };
	const struct tm_engine_options options = { .size = sizeof(options),
						   .kind = kinds[_i],
						   .credit_buffers = CREDIT };
	uint64_t end_ns = mono_now_ns() + 90 * NS_PER_SEC;
	pthread_t releasers[RELEASERS], dispatcher;

	set_up_slot(SHARE);
	ck_assert_int_eq(tm_pool_open(slot, "net", BUFFER_BYTES, 4, 0, &pool), 0);
	ck_assert_int_eq(tm_engine_new(pool, &options, &own, NULL, &engine), 0);
	tm_slot_set_resize_handler(slot, on_resize, NULL);
	listen_tcp();
	for (uintptr_t i = 0; i < RELEASERS; i++)
		ck_assert_int_eq(pthread_create(&releasers[i], NULL, release_for_others, (void *)i),
				 0);
	ck_assert_int_eq(pthread_create(&dispatcher, NULL, dispatch_for_ever, (void *)RELEASERS),
			 0);
	for (uint32_t round = 0; round < ROUNDS; round++) {
		struct peer peers[PEERS] = {};

		start_tcp_peers(peers, PEERS, PEER_BYTES);
		for (uint32_t turn = 0; n_closes < (round + 1) * PEERS; turn++) {
			ck_assert_uint_lt(mono_now_ns(), end_ns);
			if (turn % 8 == 0)
				fake_daemon_set_share(fake, 1 + turn / 8 * 7 % SHARE);
			ck_assert_int_ge(tm_engine_run(engine, 10), 0);
		}
		join_peers(peers, PEERS);
	}
	is_over = true;
	for (int i = 0; i < RELEASERS; i++)
		ck_assert_int_eq(pthread_join(releasers[i], NULL), 0);
	ck_assert_int_eq(pthread_join(dispatcher, NULL), 0);
	/* its last handler may have handed over when they had gone, and have set itself again */
	tm_slot_set_resize_handler(slot, NULL, NULL);
	release_for_others(NULL);
	ck_assert_uint_eq(n_opens, ROUNDS * PEERS);
	ck_assert_uint_gt(n_resizes, 0);
	ck_assert_uint_gt(n_others, 0);
	tear_down();
}
END_TEST

int main(void)
{
	const TTest *const tests[] = { handlers_may_call_anything_while_others_release };

	return run_suite("handlers", tests, ARRAY_LEN(tests));
}
