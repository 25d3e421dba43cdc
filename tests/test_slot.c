/* SPDX-License-Identifier: Apache-2.0 */

/* The slot: attach, notices, giving pages back, restarts of the daemon. */

#include <check.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mono.h"
#include "fake_daemon.h"
#include "taskmem.h"
#include "suite.h"

#define SIZE ((size_t)64 << 10) /* 32 buffers in a chunk */
#define PER_CHUNK 32
#define WAIT_NS (10 * NS_PER_SEC)

static struct fake_daemon *fake;
static struct tm_slot *slot;

static int attach(uint32_t min_chunks, uint32_t max_chunks)
{
	struct tm_attach_options options = {
		.size = sizeof(options),
		.socket = fake_daemon_get_socket(fake),
		.min_chunks = min_chunks,
		.max_chunks = max_chunks,
	};

	return tm_slot_attach(&options, &slot);
}

static void set_up(uint32_t share)
{
	fake = fake_daemon_new(16, share);
	ck_assert_int_eq(attach(1, 0), 0);
}

static void tear_down(void)
{
	tm_slot_detach(slot);
	ck_assert_uint_eq(fake_daemon_count_present(fake), 0);
	ck_assert_uint_eq(fake_daemon_count_errors(fake), 0);
	fake_daemon_free(fake);
}

static struct tm_slot_info info(void)
{
	struct tm_slot_info i = { .size = sizeof(i) };

	ck_assert_int_eq(tm_slot_get_info(slot, &i), 0);
	return i;
}

static bool is_held(uint32_t n)
{
	return info().chunks_held == n;
}

static bool is_target(uint32_t n)
{
	return info().chunks_target == n;
}

static bool is_connected(uint32_t n)
{
	return info().connected == (int)n;
}

static bool is_draining(uint32_t n)
{
	return info().chunks_draining == n;
}

/* Polls and dispatches until the claim holds. */
static void dispatch_until(bool (*claim)(uint32_t), uint32_t n)
{
	uint64_t end_ns = mono_now_ns() + WAIT_NS;
	struct pollfd pfd = { .fd = tm_slot_fd(slot), .events = POLLIN };

	while (!claim(n)) {
		ck_assert_uint_lt(mono_now_ns(), end_ns);
		ck_assert_int_ge(poll(&pfd, 1, 1000), 0);
		ck_assert_int_ge(tm_slot_dispatch(slot), 0);
	}
}

/* Runs what is there already. */
static void dispatch_all(void)
{
	struct pollfd pfd = { .fd = tm_slot_fd(slot), .events = POLLIN };

	while (poll(&pfd, 1, 50) > 0)
		ck_assert_int_ge(tm_slot_dispatch(slot), 0);
}

static struct tm_pool *open_pool(uint32_t min, uint32_t max)
{
	struct tm_pool *pool;

	ck_assert_int_eq(tm_pool_open(slot, "test", SIZE, min, max, &pool), 0);
	return pool;
}

static struct tm_pool_stats stats(struct tm_pool *pool)
{
	struct tm_pool_stats s = { .size = sizeof(s) };

	ck_assert_int_eq(tm_pool_get_stats(pool, &s), 0);
	return s;
}

START_TEST(attach_grants_the_share_of_the_slot)
{
	set_up(5);
	ck_assert_str_eq(info().name, "fake");
	ck_assert_int_eq(info().node, 1);
	ck_assert_uint_eq(info().chunks_held, 5);
	ck_assert_uint_eq(info().chunks_target, 5);
	ck_assert_uint_eq(info().chunks_draining, 0);
	ck_assert_int_eq(info().connected, 1);
	tear_down();
}
END_TEST

START_TEST(attach_takes_no_more_than_max_chunks)
{
	struct tm_pool *pool;

	fake = fake_daemon_new(16, 8);
	ck_assert_int_eq(attach(2, 3), 0);
	ck_assert_uint_eq(info().chunks_held, 3);
	ck_assert_uint_eq(info().chunks_target, 3);
	ck_assert_int_eq(tm_pool_open(slot, "big", SIZE, 4 * PER_CHUNK, 0, &pool), -ENOBUFS);
	ck_assert_uint_eq(fake_daemon_count_present(fake), 3);
	tear_down();
}
END_TEST

START_TEST(attach_fails_when_fewer_than_min_chunks_are_to_be_had)
{
	fake = fake_daemon_new(16, 3);
	ck_assert_int_eq(attach(4, 0), -ENOBUFS);
	ck_assert_int_eq(attach(4, 3), -EINVAL);
	fake_daemon_free(fake);
}
END_TEST

START_TEST(attach_fails_without_a_daemon)
{
	struct tm_attach_options options = { .size = sizeof(options),
					     .socket = "/nonexistent/socket" };

	ck_assert_int_eq(tm_slot_attach(&options, &slot), -ENOENT);
	setenv("TASKMEM_SOCKET", "/nonexistent/other", 1);
	ck_assert_int_eq(tm_slot_attach(NULL, &slot), -ENOENT);
}
END_TEST

START_TEST(attach_refuses_a_file_that_could_shrink)
{
	fake = fake_daemon_new(16, 3);
	fake_daemon_omit_seals(fake);
	ck_assert_int_eq(attach(1, 0), -EBADMSG);
	fake_daemon_free(fake);
}
END_TEST

START_TEST(a_smaller_info_of_an_older_program_is_filled_as_far_as_it_goes)
{
	struct tm_slot_info i = { .size = offsetof(struct tm_slot_info, connected),
				  .connected = 77 };

	set_up(2);
	ck_assert_int_eq(tm_slot_get_info(slot, &i), 0);
	ck_assert_uint_eq(i.chunks_held, 2);
	ck_assert_int_eq(i.connected, 77);
	i.size = 0;
	ck_assert_int_eq(tm_slot_get_info(slot, &i), -EINVAL);
	tear_down();
}
END_TEST

static void on_resize(struct tm_slot *s, uint32_t old_chunks, uint32_t new_chunks, void *userdata)
{
	uint32_t *seen = userdata;

	ck_assert_ptr_eq(s, slot);
	seen[0]++;
	seen[1] = old_chunks;
	seen[2] = new_chunks;
}

START_TEST(free_chunks_are_returned_at_once_on_a_notice)
{
	uint32_t seen[3] = {};

	set_up(6);
	tm_slot_set_resize_handler(slot, on_resize, seen);
	fake_daemon_set_share(fake, 2);
	dispatch_until(is_held, 2);
	ck_assert_uint_eq(fake_daemon_count_present(fake), 2);
	ck_assert_uint_eq(seen[0], 1);
	ck_assert_uint_eq(seen[1], 6);
	ck_assert_uint_eq(seen[2], 2);
	tear_down();
}
END_TEST

START_TEST(a_chunk_is_returned_exactly_after_the_last_release)
{
	struct tm_buffer *buffers[2 * PER_CHUNK];
	struct tm_pool *pool;

	set_up(2);
	pool = open_pool(0, 0);
	for (int i = 0; i < 2 * PER_CHUNK; i++)
		ck_assert_ptr_nonnull(buffers[i] = tm_pool_acquire(pool));
	fake_daemon_set_share(fake, 0);
	dispatch_until(is_draining, 2);
	for (int i = 0; i < 2 * PER_CHUNK - 2; i++) {
		tm_buffer_release(buffers[i % 2 ? i : 2 * PER_CHUNK - 2 - i]);
		if (i % 2 == 0)
			buffers[2 * PER_CHUNK - 2 - i] = NULL;
	}
	/* released: 1, 3, 5 … and the even ones from the top but 0; 0 and the last are left */
	dispatch_all();
	ck_assert_uint_eq(stats(pool).held, 2);
	ck_assert_uint_eq(info().chunks_held, 2);
	ck_assert_uint_eq(fake_daemon_count_present(fake), 2);
	memset(buffers[0]->data, 1, SIZE);
	tm_buffer_release(buffers[0]);
	dispatch_until(is_held, 1);
	ck_assert_uint_eq(fake_daemon_count_present(fake), 1);
	tm_buffer_release(buffers[2 * PER_CHUNK - 1]);
	dispatch_until(is_held, 0);
	ck_assert_uint_eq(fake_daemon_count_backed(fake), 0);
	ck_assert_ptr_null(tm_pool_acquire(pool));
	ck_assert_int_eq(tm_pool_close(pool), 0);
	tear_down();
}
END_TEST

/* Buffers are handed out chunk by chunk. The first two chunks are emptied first, or the last two:
 * one of these is not what was chosen to drain. */
START_TEST(whichever_chunks_the_task_empties_first_are_returned)
{
	enum { N = 4 * PER_CHUNK };
	struct tm_buffer *buffers[N];
	struct tm_pool *pool;

	set_up(4);
	pool = open_pool(0, 0);
	for (int i = 0; i < N; i++)
		ck_assert_ptr_nonnull(buffers[i] = tm_pool_acquire(pool));
	fake_daemon_set_share(fake, 2);
	dispatch_until(is_draining, 2);
	for (int half = 0; half < 2; half++) {
		for (int i = 0; i < N / 2; i++)
			tm_buffer_release(buffers[i + (half ^ _i) * N / 2]);
		dispatch_until(is_held, 2);
		ck_assert_uint_eq(fake_daemon_count_present(fake), 2);
	}
	ck_assert_int_eq(tm_pool_close(pool), 0);
	tear_down();
}
END_TEST

START_TEST(a_draining_chunk_hands_out_no_buffer)
{
	struct tm_buffer *held, *other;
	struct tm_pool *pool;

	set_up(1);
	pool = open_pool(0, 0);
	ck_assert_ptr_nonnull(held = tm_pool_acquire(pool));
	ck_assert_ptr_nonnull(other = tm_pool_acquire(pool));
	fake_daemon_set_share(fake, 0);
	dispatch_until(is_draining, 1);
	ck_assert_uint_eq(stats(pool).idle, 0);
	ck_assert_ptr_null(tm_pool_acquire(pool));
	tm_buffer_release(other);
	ck_assert_ptr_null(tm_pool_acquire(pool));
	tm_buffer_release(held);
	dispatch_until(is_held, 0);
	ck_assert_int_eq(tm_pool_close(pool), 0);
	tear_down();
}
END_TEST

START_TEST(min_buffers_are_kept_whatever_the_notice_says)
{
	struct tm_pool *pool;

	set_up(6);
	pool = open_pool(2 * PER_CHUNK - 1, 0);
	fake_daemon_set_share(fake, 0);
	dispatch_until(is_held, 2);
	dispatch_all();
	ck_assert_uint_eq(info().chunks_held, 2);
	ck_assert_uint_eq(info().chunks_target, 0);
	ck_assert_uint_eq(stats(pool).idle, 2 * PER_CHUNK);
	ck_assert_int_eq(tm_pool_close(pool), 0);
	/* now nothing stands in the way */
	dispatch_until(is_held, 0);
	tear_down();
}
END_TEST

START_TEST(the_emptiest_chunk_drains_first)
{
	struct tm_buffer *buffers[PER_CHUNK + 1];
	struct tm_pool *pool;

	set_up(2);
	pool = open_pool(2 * PER_CHUNK, 0);
	ck_assert_int_eq(tm_pool_close(pool), 0);
	pool = open_pool(0, 0);
	for (int i = 0; i < PER_CHUNK + 1; i++)
		ck_assert_ptr_nonnull(buffers[i] = tm_pool_acquire(pool));
	tm_buffer_release(buffers[PER_CHUNK]);
	fake_daemon_set_share(fake, 1);
	/* the chunk of the last one was all idle: nothing has to be waited for */
	dispatch_until(is_held, 1);
	ck_assert_uint_eq(stats(pool).held, PER_CHUNK);
	for (int i = 0; i < PER_CHUNK; i++)
		tm_buffer_release(buffers[i]);
	ck_assert_int_eq(tm_pool_close(pool), 0);
	tear_down();
}
END_TEST

START_TEST(a_drain_is_taken_back_when_the_target_rises_again)
{
	struct tm_buffer *buffer;
	struct tm_pool *pool;

	set_up(1);
	pool = open_pool(0, 0);
	ck_assert_ptr_nonnull(buffer = tm_pool_acquire(pool));
	fake_daemon_set_share(fake, 0);
	dispatch_until(is_draining, 1);
	fake_daemon_set_share(fake, 1);
	dispatch_until(is_draining, 0);
	ck_assert_uint_eq(stats(pool).idle, PER_CHUNK - 1);
	tm_buffer_release(buffer);
	dispatch_all();
	ck_assert_uint_eq(info().chunks_held, 1);
	ck_assert_int_eq(tm_pool_close(pool), 0);
	tear_down();
}
END_TEST

static void *acquire_one(void *userdata)
{
	struct tm_buffer *buffer = NULL;

	if (tm_pool_acquire_wait(userdata, WAIT_NS, &buffer) < 0)
		return NULL;
	return buffer;
}

START_TEST(a_waiter_gets_a_buffer_of_a_chunk_that_a_notice_allows)
{
	struct tm_buffer *buffers[PER_CHUNK];
	struct tm_pool *pool;
	pthread_t thread;
	void *got;

	set_up(1);
	pool = open_pool(0, 0);
	for (int i = 0; i < PER_CHUNK; i++)
		ck_assert_ptr_nonnull(buffers[i] = tm_pool_acquire(pool));
	ck_assert_int_eq(pthread_create(&thread, NULL, acquire_one, pool), 0);
	while (stats(pool).waiters == 0)
		usleep(1000);
	fake_daemon_set_share(fake, 2);
	dispatch_until(is_held, 2);
	ck_assert_int_eq(pthread_join(thread, &got), 0);
	ck_assert_ptr_nonnull(got);
	tm_buffer_release(got);
	for (int i = 0; i < PER_CHUNK; i++)
		tm_buffer_release(buffers[i]);
	ck_assert_int_eq(tm_pool_close(pool), 0);
	tear_down();
}
END_TEST

START_TEST(a_slot_survives_a_restart_of_the_daemon)
{
	struct tm_buffer *buffer;
	struct tm_pool *pool;
	int fd;

	set_up(3);
	fd = tm_slot_fd(slot);
	pool = open_pool(PER_CHUNK, 0);
	ck_assert_ptr_nonnull(buffer = tm_pool_acquire(pool));
	fake_daemon_stop(fake);
	dispatch_until(is_connected, 0);
	tm_buffer_release(buffer);
	ck_assert_ptr_nonnull(buffer = tm_pool_acquire(pool));
	memset(buffer->data, 0x5a, SIZE);
	ck_assert_uint_eq(info().chunks_held, 3);
	fake_daemon_start(fake);
	dispatch_until(is_connected, 1);
	ck_assert_int_eq(((unsigned char *)buffer->data)[SIZE - 1], 0x5a);
	ck_assert_int_eq(tm_slot_fd(slot), fd);
	/* notices and calls work again */
	fake_daemon_set_share(fake, 1);
	dispatch_until(is_held, 1);
	fake_daemon_set_share(fake, 4);
	dispatch_until(is_target, 4);
	tm_buffer_release(buffer);
	ck_assert_int_eq(tm_pool_close(pool), 0);
	pool = open_pool(4 * PER_CHUNK, 0);
	ck_assert_uint_eq(info().chunks_held, 4);
	ck_assert_int_eq(tm_pool_close(pool), 0);
	tear_down();
}
END_TEST

START_TEST(what_became_owed_while_the_daemon_was_away_is_given_back_afterwards)
{
	struct tm_pool *pool;

	set_up(3);
	fake_daemon_stop(fake);
	dispatch_until(is_connected, 0);
	ck_assert_int_eq(tm_pool_open(slot, "more", SIZE, 4 * PER_CHUNK, 0, &pool), -ENOTCONN);
	fake_daemon_set_share(fake, 1);
	dispatch_all();
	ck_assert_uint_eq(info().chunks_held, 3);
	fake_daemon_start(fake);
	dispatch_until(is_held, 1);
	ck_assert_uint_eq(fake_daemon_count_present(fake), 1);
	tear_down();
}
END_TEST

START_TEST(a_slot_goes_on_alone_when_the_daemon_forgot_its_grant)
{
	struct tm_buffer *buffer;
	struct tm_pool *pool;
	uint64_t end_ns;

	set_up(1);
	pool = open_pool(PER_CHUNK, 0);
	fake_daemon_stop(fake);
	fake_daemon_forget(fake);
	fake_daemon_start(fake);
	dispatch_until(is_connected, 0);
	for (end_ns = mono_now_ns() + NS_PER_SEC; mono_now_ns() < end_ns;)
		dispatch_all();
	ck_assert_int_eq(info().connected, 0);
	ck_assert_ptr_nonnull(buffer = tm_pool_acquire(pool));
	memset(buffer->data, 1, SIZE);
	tm_buffer_release(buffer);
	ck_assert_int_eq(tm_pool_close(pool), 0);
	tm_slot_detach(slot);
	fake_daemon_free(fake);
}
END_TEST

START_TEST(a_detach_that_nobody_heard_is_told_at_the_next_attach)
{
	set_up(2);
	fake_daemon_stop(fake);
	ck_assert_int_eq(tm_slot_detach(slot), -ENOTCONN);
	fake_daemon_start(fake);
	ck_assert_int_eq(attach(1, 0), 0);
	ck_assert_uint_eq(fake_daemon_count_late_detaches(fake), 1);
	ck_assert_int_eq(tm_slot_detach(slot), 0);
	ck_assert_uint_eq(fake_daemon_count_late_detaches(fake), 1);
	ck_assert_uint_eq(fake_daemon_count_errors(fake), 0);
	fake_daemon_free(fake);
}
END_TEST

START_TEST(nothing_but_granted_pages_is_touched)
{
	struct tm_pool *pool;

	set_up(4);
	ck_assert_uint_eq(fake_daemon_count_backed(fake), 4);
	fake_daemon_set_share(fake, 2);
	dispatch_until(is_held, 2);
	ck_assert_uint_eq(fake_daemon_count_backed(fake), 2);
	fake_daemon_set_share(fake, 5);
	dispatch_until(is_target, 5);
	pool = open_pool(5 * PER_CHUNK, 0);
	ck_assert_uint_eq(fake_daemon_count_backed(fake), 5);
	for (int i = 0; i < 5 * PER_CHUNK; i++)
		memset(tm_pool_acquire(pool)->data, i, SIZE);
	ck_assert_uint_eq(fake_daemon_count_backed(fake), 5);
	fake_daemon_free(fake);
}
END_TEST

START_TEST(detaching_with_an_open_pool_aborts)
{
	set_up(1);
	(void)open_pool(1, 1);
	tm_slot_detach(slot);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("slot");
	TCase *tc = tcase_create("slot");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, attach_grants_the_share_of_the_slot);
	tcase_add_test(tc, attach_takes_no_more_than_max_chunks);
	tcase_add_test(tc, attach_fails_when_fewer_than_min_chunks_are_to_be_had);
	tcase_add_test(tc, attach_fails_without_a_daemon);
	tcase_add_test(tc, attach_refuses_a_file_that_could_shrink);
	tcase_add_test(tc, a_smaller_info_of_an_older_program_is_filled_as_far_as_it_goes);
	tcase_add_test(tc, free_chunks_are_returned_at_once_on_a_notice);
	tcase_add_test(tc, a_chunk_is_returned_exactly_after_the_last_release);
	tcase_add_loop_test(tc, whichever_chunks_the_task_empties_first_are_returned, 0, 2);
	tcase_add_test(tc, a_draining_chunk_hands_out_no_buffer);
	tcase_add_test(tc, min_buffers_are_kept_whatever_the_notice_says);
	tcase_add_test(tc, the_emptiest_chunk_drains_first);
	tcase_add_test(tc, a_drain_is_taken_back_when_the_target_rises_again);
	tcase_add_test(tc, a_waiter_gets_a_buffer_of_a_chunk_that_a_notice_allows);
	tcase_add_test(tc, a_slot_survives_a_restart_of_the_daemon);
	tcase_add_test(tc, what_became_owed_while_the_daemon_was_away_is_given_back_afterwards);
	tcase_add_test(tc, a_slot_goes_on_alone_when_the_daemon_forgot_its_grant);
	tcase_add_test(tc, a_detach_that_nobody_heard_is_told_at_the_next_attach);
	tcase_add_test(tc, nothing_but_granted_pages_is_touched);
	tcase_add_test_raise_signal(tc, detaching_with_an_open_pool_aborts, SIGABRT);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
