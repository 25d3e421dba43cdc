/* SPDX-License-Identifier: Apache-2.0 */

/* Sending: order, bounds, both directions, latency. With io_uring and with epoll. */

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/attr.h"
#include "base/mono.h"
#include "pattern.h"
#include "send_fixture.h"

static void transfer(int kind, enum variant variant, uint32_t step, uint64_t total)
{
	struct reader reader;

	make(kind, variant, 32768, 64, 64);
	start_reader(&reader, open_peer());
	seen.step = step;
	seen.total = total;
	send_more(seen.channel[0]);
	run_until(&seen.n_closed, 1);
	ck_assert_int_eq(seen.error, 0);
	ck_assert_uint_eq(seen.position, total);
	check_reader(&reader, total);
	tear_down();
}

START_TEST(thousands_of_small_sends_keep_their_order)
{
	transfer(_i, COPIED, 0, MIB / 2 + 5);
	/* a full queue waits for an acknowledgement, which TCP may delay by 40 ms */
	transfer(_i, PINNED, 0, MIB / 16 + 5);
}
END_TEST

START_TEST(large_sends_arrive_whole)
{
	transfer(_i, COPIED, 32768, 16 * MIB + 77);
	transfer(_i, PINNED, 32768, 16 * MIB + 77);
}
END_TEST

static void check_full_queue(int kind, enum variant variant)
{
	struct reader reader;
	uint64_t refused, end_ns;
	uint32_t n_runs = 0;
	int fd;

	make(kind, variant, 32768, 64, 64);
	fd = open_peer();
	stall(seen.channel[0]);
	ck_assert_int_eq(send_piece(seen.channel[0]), -EAGAIN);
	ck_assert_uint_eq(stats().held, 8);
	ck_assert_uint_eq(channel_stats(seen.channel[0]).queued, 8);
	refused = channel_stats(seen.channel[0]).refused_total;
	ck_assert_uint_gt(refused, 0);
	/* and costs nothing */
	for (end_ns = mono_now_ns() + 200 * NS_PER_MSEC; mono_now_ns() < end_ns; n_runs++)
		ck_assert_int_eq(tm_engine_run(engine, 100), 0);
	ck_assert_uint_le(n_runs, 5);
	seen.n_writable = 0;
	start_reader(&reader, fd);
	run_until(&seen.n_writable, 1);
	run_until_released();
	ck_assert_uint_eq(seen.n_writable, 1);
	ck_assert_uint_eq(channel_stats(seen.channel[0]).sent_bytes, seen.position);
	ck_assert_uint_eq(channel_stats(seen.channel[0]).sent_buffers, seen.position / 32768);
	ck_assert_uint_eq(channel_stats(seen.channel[0]).refused_total, refused);
	ck_assert_int_eq(tm_channel_shutdown_send(seen.channel[0]), 0);
	run_until(&seen.n_closed, 1);
	check_reader(&reader, seen.position);
	tear_down();
}

START_TEST(a_full_queue_says_so_and_tells_when_there_is_room)
{
	check_full_queue(_i, COPIED);
	check_full_queue(_i, PINNED);
}
END_TEST

START_TEST(a_peer_that_stalls_holds_only_its_own_queue)
{
	struct reader reader;
	int fd;

	make(_i, COPIED, 32768, 64, 64);
	fd = open_peer();
	stall(seen.channel[0]);
	start_reader(&reader, open_peer());
	seen.is_quiet = false;
	seen.position = 0;
	seen.total = 4 * MIB;
	send_more(seen.channel[1]);
	run_until(&seen.n_closed, 1);
	check_reader(&reader, 4 * MIB);
	ck_assert_ptr_nonnull(seen.channel[0]);
	ck_assert_uint_eq(channel_stats(seen.channel[0]).queued, 8);
	/* what the kernel holds for it is bounded as well */
	ck_assert_uint_le(channel_stats(seen.channel[0]).sent_bytes, 16 * MIB);
	seen.is_quiet = true;
	close(fd);
	run_until(&seen.n_closed, 2);
	ck_assert_int_lt(seen.error, 0);
	tear_down();
}
END_TEST

/* ---- both directions */

struct echo_peer {
	pthread_t thread;
	int fd;
	uint64_t bytes;
};

static void *write_pattern(void *userdata)
{
	struct echo_peer *peer = userdata;
	uint64_t position = 0;

	while (position < peer->bytes)
		position += (uint64_t)write(peer->fd, pattern_at(0, position),
					    MIN((uint64_t)PATTERN_PIECE, peer->bytes - position));
	ck_assert_int_eq(shutdown(peer->fd, SHUT_WR), 0);
	return NULL;
}

static void echo(int kind, enum variant variant)
{
	struct echo_peer peer = { .bytes = 8 * MIB };
	struct reader reader;

	make(kind, variant, 32768, 64, 64);
	seen.should_echo = true;
	peer.fd = open_peer();
	ck_assert_int_eq(pthread_create(&peer.thread, NULL, write_pattern, &peer), 0);
	/* the peer ends its stream and still reads */
	start_reader(&reader, peer.fd);
	run_until(&seen.n_closed, 1);
	ck_assert_int_eq(seen.error, 0);
	ck_assert_uint_eq(seen.n_ended, 1);
	ck_assert_uint_eq(seen.n_received, 8 * MIB);
	ck_assert_int_eq(pthread_join(peer.thread, NULL), 0);
	check_reader(&reader, 8 * MIB);
	tear_down();
}

START_TEST(received_buffers_are_sent_on_and_give_their_credit_back)
{
	echo(_i, COPIED);
	echo(_i, PINNED);
}
END_TEST

START_TEST(without_an_end_handler_the_queue_is_sent_before_the_channel_ends)
{
	struct tm_engine_options options = { .size = sizeof(options), .kind = kinds[_i] };
	struct echo_peer peer = { .bytes = MIB };
	struct reader reader;

	make(_i, COPIED, 32768, 64, 64);
	remake(&options, &short_handlers);
	seen.should_echo = true;
	peer.fd = open_peer();
	ck_assert_int_eq(pthread_create(&peer.thread, NULL, write_pattern, &peer), 0);
	start_reader(&reader, peer.fd);
	run_until(&seen.n_closed, 1);
	ck_assert_int_eq(seen.error, 0);
	ck_assert_int_eq(pthread_join(peer.thread, NULL), 0);
	check_reader(&reader, MIB);
	tear_down();
}
END_TEST

START_TEST(after_shutdown_the_answer_is_still_received)
{
	char text[16] = {};
	int fd;

	make(_i, COPIED, 32768, 64, 64);
	fd = open_peer();
	seen.total = 10;
	send_more(seen.channel[0]);
	ck_assert_int_eq(tm_channel_shutdown_send(seen.channel[0]), 0);
	seen.total = 20;
	ck_assert_int_eq(send_piece(seen.channel[0]), -EPIPE);
	run_until_quiet();
	ck_assert_int_eq(recv(fd, text, sizeof(text), MSG_WAITALL), 10);
	ck_assert_uint_eq(seen.n_closed, 0);
	ck_assert_int_eq(send(fd, "answer", 6, 0), 6);
	close(fd);
	run_until(&seen.n_closed, 1);
	ck_assert_int_eq(seen.error, 0);
	ck_assert_str_eq(seen.text, "answer");
	tear_down();
}
END_TEST

START_TEST(an_ended_peer_may_wait_for_an_answer_that_takes_long)
{
	struct reader reader;
	int fd;

	make(_i, COPIED, 32768, 64, 64);
	seen.should_shutdown_at_end = false;
	fd = open_peer();
	ck_assert_int_eq(shutdown(fd, SHUT_WR), 0);
	run_until(&seen.n_ended, 1);
	run_until_quiet();
	ck_assert_uint_eq(seen.n_closed, 0);
	start_reader(&reader, fd);
	seen.step = 32768;
	seen.total = 4 * MIB;
	send_more(seen.channel[0]);
	run_until(&seen.n_closed, 1);
	ck_assert_int_eq(seen.error, 0);
	check_reader(&reader, 4 * MIB);
	tear_down();
}
END_TEST

START_TEST(what_is_queued_before_the_connection_stands_is_sent)
{
	struct tm_channel *channel;
	struct reader reader;
	char name[64], address[80];
	int listen_fd;

	make(_i, COPIED, 32768, 64, 64);
	snprintf(name, sizeof(name), "taskmem-test-send-%d", (int)getpid());
	snprintf(address, sizeof(address), "unix:@%s", name);
	listen_fd = bind_unix(name, true);
	ck_assert_int_eq(tm_engine_connect(engine, address, &channel), 0);
	seen.step = 32768;
	seen.total = 4 * MIB;
	send_more(channel);
	ck_assert_uint_eq(channel_stats(channel).queued, 8);
	run_until(&seen.n_open, 1);
	start_reader(&reader, accept(listen_fd, NULL, NULL));
	run_until(&seen.n_closed, 1);
	ck_assert_int_eq(seen.error, 0);
	check_reader(&reader, 4 * MIB);
	close(listen_fd);
	tear_down();
}
END_TEST

/* ---- other */

START_TEST(sends_out_of_bounds_are_refused)
{
	struct tm_buffer *buffer;
	int fd;

	make(_i, COPIED, 4096, 64, 64);
	fd = open_peer();
	buffer = tm_pool_acquire(pool);
	ck_assert_int_eq(tm_channel_send(seen.channel[0], buffer, 0, 0, 0), -EINVAL);
	ck_assert_int_eq(tm_channel_send(seen.channel[0], buffer, 0, 4097, 0), -EINVAL);
	ck_assert_int_eq(tm_channel_send(seen.channel[0], buffer, 1, 4096, 0), -EINVAL);
	ck_assert_int_eq(tm_channel_send(seen.channel[0], buffer, 4097, 1, 0), -EINVAL);
	ck_assert_int_eq(tm_channel_send(seen.channel[0], buffer, 1, UINT32_MAX, 0), -EINVAL);
	ck_assert_int_eq(tm_channel_send(seen.channel[0], buffer, 0, 1, 2), -EINVAL);
	ck_assert_int_eq(tm_channel_send(seen.channel[0], NULL, 0, 1, 0), -EINVAL);
	tm_buffer_release(buffer); /* still the caller's */
	close(fd);
	run_until(&seen.n_closed, 1);
	tear_down();
}
END_TEST

START_TEST(more_to_come_is_waited_for)
{
	struct tm_buffer *buffer;
	char text[8];
	int fd;

	make(_i, COPIED, 4096, 64, 64);
	fd = open_peer();
	for (int i = 0; i < 2; i++) {
		buffer = tm_pool_acquire(pool);
		memcpy(buffer->data, i == 0 ? "head" : "body", 4);
		ck_assert_int_eq(
			tm_channel_send(seen.channel[0], buffer, 0, 4, i == 0 ? TM_SEND_MORE : 0),
			0);
		run_until_quiet();
	}
	ck_assert_int_eq(recv(fd, text, 8, MSG_WAITALL), 8);
	ck_assert_int_eq(memcmp(text, "headbody", 8), 0);
	close(fd);
	run_until(&seen.n_closed, 1);
	tear_down();
}
END_TEST

/* Loopback copies always, so a channel that may choose has tried once at most. */
START_TEST(zero_copy_is_given_up_where_the_kernel_copies)
{
	struct tm_engine_options options = { .size = sizeof(options), .kind = kinds[_i] };
	struct reader reader;

	make(_i, COPIED, 32768, 64, 64);
	remake(&options, &short_handlers);
	start_reader(&reader, open_peer());
	seen.step = 32768;
	seen.total = UINT64_MAX;
	for (int i = 0; i < 32; i++)
		ck_assert_int_eq(send_piece(seen.channel[0]), 0);
	run_until_released();
	ck_assert_uint_eq(channel_stats(seen.channel[0]).sent_bytes, MIB);
	ck_assert_uint_eq(channel_stats(seen.channel[0]).zero_copy_total, 0);
	ck_assert_int_eq(tm_channel_shutdown_send(seen.channel[0]), 0);
	run_until(&seen.n_closed, 1);
	check_reader(&reader, MIB);
	tear_down();
}
END_TEST

static void *ping(void *userdata)
{
	int fd = *(int *)userdata;
	char byte;

	for (int i = 0; i < 1000; i++)
		if (send(fd, "x", 1, MSG_NOSIGNAL) != 1 || recv(fd, &byte, 1, 0) != 1)
			return NULL;
	close(fd);
	return userdata;
}

START_TEST(an_engine_that_spins_does_the_same)
{
	struct tm_engine_options options = { .size = sizeof(options),
					     .kind = kinds[_i],
					     .spin_us = 200 };
	struct tm_engine *none;
	pthread_t thread;
	void *result;
	int fd;

	make(_i, COPIED, 4096, 64, 64);
	remake(&options, &short_handlers);
	seen.should_echo = true;
	fd = open_peer();
	ck_assert_int_eq(pthread_create(&thread, NULL, ping, &fd), 0);
	run_until(&seen.n_closed, 1);
	ck_assert_int_eq(pthread_join(thread, &result), 0);
	ck_assert_ptr_nonnull(result);
	ck_assert_uint_eq(seen.n_received, 1000);
	/* it ends by itself, and by a call */
	ck_assert_int_eq(tm_engine_run(engine, 1), 0);
	ck_assert_int_eq(tm_engine_wakeup(engine), 0);
	ck_assert_int_eq(tm_engine_run(engine, -1), 0);
	options.spin_us = 2000000;
	ck_assert_int_eq(tm_engine_new(pool, &options, &short_handlers, NULL, &none), -EINVAL);
	tear_down();
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		thousands_of_small_sends_keep_their_order,
		large_sends_arrive_whole,
		a_full_queue_says_so_and_tells_when_there_is_room,
		a_peer_that_stalls_holds_only_its_own_queue,
		received_buffers_are_sent_on_and_give_their_credit_back,
		without_an_end_handler_the_queue_is_sent_before_the_channel_ends,
		after_shutdown_the_answer_is_still_received,
		an_ended_peer_may_wait_for_an_answer_that_takes_long,
		what_is_queued_before_the_connection_stands_is_sent,
		sends_out_of_bounds_are_refused,
		more_to_come_is_waited_for,
		zero_copy_is_given_up_where_the_kernel_copies,
		an_engine_that_spins_does_the_same,
	};

	return run_suite("send", tests, ARRAY_LEN(tests));
}
