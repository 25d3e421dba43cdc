/* SPDX-License-Identifier: Apache-2.0 */

/*
 * How sending ends: each buffer is released exactly once, whatever happens. A second release
 * aborts, a missing one (FLINK-20013: of a writer that failed or was cancelled) is seen in tear_down().
 */

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mono.h"
#include "pattern.h"
#include "send_fixture.h"

START_TEST(what_was_queued_is_released_when_connecting_fails)
{
	struct tm_channel *channel;

	make(_i, COPIED, 32768, 64, 64);
	ck_assert_int_eq(tm_engine_connect(engine, "unix:/nonexistent/socket", &channel), 0);
	seen.step = 32768;
	seen.total = 64 * MIB;
	send_more(channel);
	ck_assert_uint_eq(stats().held, 8);
	run_until(&seen.n_closed, 1);
	ck_assert_int_eq(seen.error, -ENOENT);
	ck_assert_uint_eq(seen.held_at_close, 0);
	tear_down();
}
END_TEST

static void reset_while_sending(int kind, enum variant variant)
{
	const struct linger linger = { .l_onoff = 1 };
	int fd;

	make(kind, variant, 32768, 64, 64);
	fd = open_peer();
	stall(seen.channel[0]);
	seen.n_writable = 0;
	ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)), 0);
	close(fd);
	run_until(&seen.n_closed, 1);
	ck_assert(seen.error == -ECONNRESET || seen.error == -EPIPE);
	ck_assert_uint_eq(seen.n_ended, 0);
	run_until_released();
	tear_down();
}

START_TEST(a_reset_by_the_peer_releases_what_was_queued)
{
	reset_while_sending(_i, COPIED);
	reset_while_sending(_i, PINNED);
}
END_TEST

START_TEST(what_a_peer_said_before_it_closed_is_still_received)
{
	char name[64], address[80];
	int fd;

	make(_i, COPIED, 32768, 64, 64);
	snprintf(name, sizeof(name), "taskmem-test-send-%d", (int)getpid());
	snprintf(address, sizeof(address), "unix:@%s", name);
	ck_assert_int_eq(tm_engine_listen(engine, address), 0);
	fd = bind_unix(name, false);
	run_until(&seen.n_open, 1);
	ck_assert_int_eq(send(fd, "no, thanks", 10, 0), 10);
	close(fd);
	seen.step = 32768;
	seen.total = 64 * MIB;
	send_more(seen.channel[0]);
	run_until(&seen.n_closed, 1);
	ck_assert_int_eq(seen.error, -EPIPE);
	ck_assert_str_eq(seen.text, "no, thanks");
	ck_assert_uint_eq(seen.held_at_close, 0);
	tear_down();
}
END_TEST

static void close_while_sending(int kind, enum variant variant)
{
	struct reader reader;
	int fd;

	make(kind, variant, 32768, 64, 64);
	fd = open_peer();
	stall(seen.channel[0]);
	tm_channel_close(seen.channel[0]);
	ck_assert_int_eq(send_piece(seen.channel[0]), -EPIPE);
	ck_assert_int_eq(tm_channel_shutdown_send(seen.channel[0]), -EPIPE);
	run_until(&seen.n_closed, 1);
	ck_assert_int_eq(seen.error, -ECANCELED);
	/* what the kernel has arrives, in order, and then the end */
	start_reader(&reader, fd);
	run_until_released();
	ck_assert_int_eq(pthread_join(reader.thread, NULL), 0);
	ck_assert(!reader.is_wrong);
	tear_down();
}

START_TEST(closing_a_channel_releases_what_was_queued)
{
	close_while_sending(_i, COPIED);
	close_while_sending(_i, PINNED);
}
END_TEST

static void free_while_sending(int kind, enum variant variant)
{
	uint64_t begin_ns;
	int fd;

	make(kind, variant, 32768, 64, 64);
	fd = open_peer();
	stall(seen.channel[0]);
	begin_ns = mono_now_ns();
	tm_engine_free(engine);
	engine = NULL;
	ck_assert_uint_lt(mono_now_ns() - begin_ns, 60 * NS_PER_SEC);
	ck_assert_uint_eq(seen.n_closed, 1);
	ck_assert_int_eq(seen.error, -ECANCELED);
	ck_assert_uint_eq(stats().held, 0);
	close(fd);
	tear_down();
}

START_TEST(freeing_the_engine_releases_what_was_queued)
{
	free_while_sending(_i, COPIED);
	free_while_sending(_i, PINNED);
}
END_TEST

static void *stall_in_thread(void *userdata)
{
	*(int *)userdata = open_peer();
	stall(seen.channel[0]);
	return NULL;
}

START_TEST(an_engine_with_sends_under_way_may_be_freed_after_its_thread_ended)
{
	pthread_t thread;
	int fd = -1;

	make(_i, PINNED, 32768, 64, 64);
	ck_assert_int_eq(pthread_create(&thread, NULL, stall_in_thread, &fd), 0);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	tm_engine_free(engine);
	engine = NULL;
	ck_assert_uint_eq(seen.n_closed, 1);
	ck_assert_uint_eq(stats().held, 0);
	close(fd);
	tear_down();
}
END_TEST

/* 1 MiB each, which are two buffers a page. */
static void send_big(struct tm_channel *channel)
{
	struct tm_buffer *buffer;

	ck_assert_int_eq(tm_pool_acquire_wait(pool, 0, &buffer), 0);
	for (size_t i = 0; i < MIB; i += PATTERN_PIECE, seen.position += PATTERN_PIECE)
		memcpy((uint8_t *)buffer->data + i, pattern_at(0, seen.position), PATTERN_PIECE);
	ck_assert_int_eq(tm_channel_send(channel, buffer, 0, MIB, 0), 0);
}

static void shrink_while_sending(int kind, enum variant variant)
{
	struct tm_slot_info info = { .size = sizeof(info) };
	uint64_t end_ns = mono_now_ns() + 30 * NS_PER_SEC;
	struct reader reader;
	int fd;

	make(kind, variant, MIB, 2, 0);
	fd = open_peer();
	seen.is_quiet = true;
	for (int i = 0; i < 8; i++)
		send_big(seen.channel[0]);
	while (tm_engine_run(engine, 50) > 0)
		;
	ck_assert_uint_gt(stats().held, 2);
	fake_daemon_set_share(fake, 1);
	while (tm_engine_run(engine, 50) > 0)
		;
	ck_assert_int_eq(tm_slot_get_info(slot, &info), 0);
	ck_assert_uint_gt(info.chunks_held, 1);
	start_reader(&reader, fd);
	while (info.chunks_held > 1) {
		ck_assert_uint_lt(mono_now_ns(), end_ns);
		ck_assert_int_ge(tm_engine_run(engine, 1000), 0);
		ck_assert_int_eq(tm_slot_get_info(slot, &info), 0);
	}
	ck_assert_int_eq(tm_channel_shutdown_send(seen.channel[0]), 0);
	run_until(&seen.n_closed, 1);
	check_reader(&reader, 8 * MIB);
	tear_down();
}

START_TEST(owed_pages_leave_when_their_buffers_are_sent)
{
	shrink_while_sending(_i, COPIED);
	shrink_while_sending(_i, PINNED);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		what_was_queued_is_released_when_connecting_fails,
		a_reset_by_the_peer_releases_what_was_queued,
		what_a_peer_said_before_it_closed_is_still_received,
		closing_a_channel_releases_what_was_queued,
		freeing_the_engine_releases_what_was_queued,
		an_engine_with_sends_under_way_may_be_freed_after_its_thread_ended,
		owed_pages_leave_when_their_buffers_are_sent,
	};

	return run_suite("send_end", tests, ARRAY_LEN(tests));
}
