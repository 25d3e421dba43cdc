/* SPDX-License-Identifier: Apache-2.0 */

/* Receiving: small messages in one buffer, many connections, and what runs out. */

#include <check.h>
#include <errno.h>
#include <malloc.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mono.h"
#include "engine_fixture.h"

/* Which of the kinds put several messages in one buffer. */
static bool packs(int kind)
{
	return kinds[kind] == TM_ENGINE_URING && kind < 2;
}

static uint64_t bytes_of(const struct stream *s)
{
	struct tm_channel_stats cs = { .size = sizeof(cs) };

	ck_assert_int_eq(tm_channel_get_stats(s->channel, &cs), 0);
	return cs.bytes;
}

/* Zeros, which are no pattern: only what channels count is of use. */
static void send_messages(int fd, uint32_t n, size_t bytes)
{
	char message[1024] = {};
	int on = 1;

	ck_assert_int_eq(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)), 0);
	for (uint32_t i = 0; i < n; i++) {
		ck_assert_int_eq(send(fd, message, bytes, MSG_NOSIGNAL), (ssize_t)bytes);
		/* one receive each, as far as possible */
		ck_assert_int_ge(tm_engine_run(engine, 100), 0);
	}
}

/* ---- small messages */

START_TEST(messages_in_one_buffer_count_as_one)
{
	struct tm_channel_stats cs = { .size = sizeof(cs) };
	int fd;

	set_up(_i, 32768, 64);
	hold_all = true;
	listen_tcp();
	fd = connect_tcp();
	run_until_open(1);
	send_messages(fd, 16, 64);
	ck_assert_int_eq(tm_channel_get_stats(streams[0].channel, &cs), 0);
	if (packs(_i)) {
		ck_assert_uint_eq(bytes_of(&streams[0]), 16 * 64);
		ck_assert_uint_gt(streams[0].n_held, 10);
		ck_assert_uint_eq(cs.held, 1);
		ck_assert_uint_eq(stats().held, 1);
		ck_assert_uint_eq(cs.parked_total, 0);
	} else {
		ck_assert_uint_eq(streams[0].n_held, 10);
		ck_assert_uint_eq(cs.held, 10);
	}
	release_held(&streams[0]);
	run_until_quiet();
	ck_assert_uint_eq(bytes_of(&streams[0]), 16 * 64);
	ck_assert_int_eq(tm_channel_get_stats(streams[0].channel, &cs), 0);
	ck_assert_uint_eq(cs.held, 0);
	close(fd);
	run_until_closed(1);
	tear_down();
}
END_TEST

START_TEST(messages_of_many_channels_share_buffers)
{
	int fds[32];

	set_up(_i, 32768, 64);
	hold_all = true;
	listen_tcp();
	for (int i = 0; i < 32; i++)
		fds[i] = connect_tcp();
	run_until_open(32);
	for (int i = 0; i < 32; i++)
		send_messages(fds[i], 1, 1000);
	run_until_quiet();
	for (uint32_t i = 0; i < 32; i++)
		ck_assert_uint_eq(bytes_of(&streams[i]), 1000);
	ck_assert_uint_eq(stats().held, packs(_i) ? 1 : 32);
	/* in another order than they came in */
	for (uint32_t i = 32; i-- > 0;)
		release_held(&streams[i]);
	for (int i = 0; i < 32; i++)
		close(fds[i]);
	run_until_closed(32);
	tear_down();
}
END_TEST

/* One bit of the buffers each channel gets is kept by another thread for a while. */
#define LATER 4096

static struct {
	pthread_mutex_t lock;
	struct tm_buffer *buffers[LATER];
	uint32_t n;
	bool is_over;
} later = { .lock = PTHREAD_MUTEX_INITIALIZER };

static void *release_shuffled(void *userdata)
{
	struct tm_buffer *buffer;
	unsigned seed = (unsigned)(uintptr_t)userdata;
	bool is_over = false;
	uint32_t i;

	while (!is_over) {
		pthread_mutex_lock(&later.lock);
		is_over = later.is_over && later.n == 0;
		buffer = NULL;
		if (later.n > 0) {
			i = (uint32_t)rand_r(&seed) % later.n;
			buffer = later.buffers[i];
			later.buffers[i] = later.buffers[--later.n];
		}
		pthread_mutex_unlock(&later.lock);
		tm_buffer_release(buffer);
		if (!buffer)
			usleep(10);
	}
	return NULL;
}

static void on_data_for_later(struct tm_channel *channel, struct tm_buffer *buffer, uint32_t offset,
			      uint32_t length, void *userdata)
{
	struct tm_buffer *mine = buffer;

	pthread_mutex_lock(&later.lock);
	if (later.n < LATER) {
		later.buffers[later.n++] = buffer;
		mine = NULL;
	}
	pthread_mutex_unlock(&later.lock);
	((struct stream *)tm_channel_get_userdata(channel))->bytes += length;
	(void)offset;
	(void)userdata;
	tm_buffer_release(mine);
}

#define MESSAGES 2000

static void *send_small(void *userdata)
{
	char message[128] = {};
	int fd = *(int *)userdata;

	for (int i = 0; i < MESSAGES; i++)
		if (send(fd, message, 1 + (size_t)i % 128, MSG_NOSIGNAL) < 0)
			break;
	close(fd);
	return NULL;
}

START_TEST(other_threads_release_pieces_in_any_order)
{
	struct tm_engine_options options = { .size = sizeof(options), .kind = kinds[_i] };
	struct tm_handlers shuffling = handlers;
	pthread_t senders[8], releasers[2];
	uint64_t bytes = 0;
	int fds[8];

	for (uint64_t i = 0; i < MESSAGES; i++)
		bytes += 1 + i % 128;
	set_up(_i, 4096, 64);
	tm_engine_free(engine);
	shuffling.data = on_data_for_later;
	ck_assert_int_eq(tm_engine_new(pool, &options, &shuffling, &streams, &engine), 0);
	listen_tcp();
	for (size_t i = 0; i < 2; i++)
		pthread_create(&releasers[i], NULL, release_shuffled, (void *)(i + 1));
	for (int i = 0; i < 8; i++) {
		fds[i] = connect_tcp();
		pthread_create(&senders[i], NULL, send_small, &fds[i]);
	}
	run_until_closed(8);
	for (int i = 0; i < 8; i++)
		pthread_join(senders[i], NULL);
	pthread_mutex_lock(&later.lock);
	later.is_over = true;
	pthread_mutex_unlock(&later.lock);
	for (int i = 0; i < 2; i++)
		pthread_join(releasers[i], NULL);
	for (int i = 0; i < 8; i++) {
		ck_assert_uint_eq(streams[i].bytes, bytes);
		ck_assert_int_eq(streams[i].error, 0);
	}
	tear_down();
}
END_TEST

START_TEST(pieces_may_be_released_after_the_engine_is_gone)
{
	int fd;

	set_up(_i, 4096, 64);
	hold_all = true;
	listen_tcp();
	fd = connect_tcp();
	run_until_open(1);
	send_messages(fd, 5, 100);
	ck_assert_uint_gt(streams[0].n_held, 0);
	tm_engine_free(engine);
	engine = NULL;
	close(fd);
	ck_assert_uint_ge(stats().held, 1);
	release_held(&streams[0]);
	tear_down();
}
END_TEST

START_TEST(a_stream_after_small_messages_fills_its_buffers)
{
	struct tm_channel_stats cs = { .size = sizeof(cs) };
	static char block[8 * MIB];
	size_t done = 0;
	ssize_t n;
	int fd;

	set_up(_i, 4096, 256);
	listen_tcp();
	fd = connect_tcp();
	run_until_open(1);
	send_messages(fd, 20, 64);
	while (done < sizeof(block)) {
		n = send(fd, block + done, sizeof(block) - done, MSG_DONTWAIT | MSG_NOSIGNAL);
		done += (size_t)MAX(n, (ssize_t)0);
		ck_assert_int_ge(tm_engine_run(engine, 0), 0);
	}
	run_until_quiet();
	ck_assert_int_eq(tm_channel_get_stats(streams[0].channel, &cs), 0);
	ck_assert_uint_eq(cs.bytes, 20 * 64 + sizeof(block));
	ck_assert_uint_lt(cs.buffers, 20 + 2 * sizeof(block) / 4096);
	close(fd);
	run_until_closed(1);
	tear_down();
}
END_TEST

/* ---- what runs out */

static rlim_t set_descriptors(rlim_t n)
{
	struct rlimit limit;
	rlim_t before;

	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	before = limit.rlim_cur;
	limit.rlim_cur = MIN(n, limit.rlim_max);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	return before;
}

START_TEST(without_descriptors_connections_wait_and_cost_no_cpu)
{
	uint32_t n_runs = 0;
	uint64_t end_ns;
	rlim_t before;
	int fds[4];

	set_up(_i, 4096, 16);
	listen_tcp();
	for (int i = 0; i < 4; i++)
		fds[i] = connect_tcp();
	/* before the accept is armed: io_uring looks at the limit then */
	before = set_descriptors((rlim_t)fds[3] + 2);
	run_until_open(1);
	for (end_ns = mono_now_ns() + 300 * NS_PER_MSEC; mono_now_ns() < end_ns; n_runs++)
		ck_assert_int_ge(tm_engine_run(engine, 1000), 0);
	ck_assert_uint_eq(n_opened, 1);
	ck_assert_uint_lt(n_runs, 20);
	(void)set_descriptors(before);
	run_until_open(4);
	for (int i = 0; i < 4; i++)
		close(fds[i]);
	run_until_closed(4);
	tear_down();
}
END_TEST

START_TEST(more_events_than_the_completion_queue_holds_lose_nothing)
{
	rlim_t before = set_descriptors(4096);
	static int fds[900];
	struct tm_handlers counting = handlers;
	struct tm_engine_options options = {
		.size = sizeof(options), .kind = kinds[_i], .posted_buffers = 8, .max_channels = 8
	};
	char byte;

	set_up(_i, 4096, 64);
	tm_engine_free(engine);
	ck_assert_int_eq(tm_engine_new(pool, &options, &counting, &streams, &engine), 0);
	listen_tcp();
	ck_assert_int_ge(tm_engine_run(engine, 0), 0);
	/* the engine sleeps through all of it: 512 completions have room */
	for (int i = 0; i < 900; i++)
		fds[i] = connect_tcp();
	run_until_open(8);
	for (int i = 8; i < 900; i++) /* refused, each of them, which is no event */
		while (recv(fds[i], &byte, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN)
			ck_assert_int_ge(tm_engine_run(engine, 10), 0);
	ck_assert_uint_eq(n_opened, 8);
	for (int i = 0; i < 900; i++)
		close(fds[i]);
	run_until_closed(8);
	(void)set_descriptors(before);
	tear_down();
}
END_TEST

/* ---- many */

#define IDLE 3000

static uint32_t n_idle_open;

static int count_open(struct tm_channel *channel, void *userdata)
{
	(void)channel;
	(void)userdata;
	n_idle_open++;
	return 0;
}

static void count_close(struct tm_channel *channel, int error, void *userdata)
{
	(void)channel;
	(void)userdata;
	ck_assert_int_eq(error, 0);
	n_idle_open--;
}

static void run_until_idle_open(uint32_t n)
{
	uint64_t end_ns = mono_now_ns() + 60 * NS_PER_SEC;

	while (n_idle_open != n) {
		ck_assert_uint_lt(mono_now_ns(), end_ns);
		ck_assert_int_ge(tm_engine_run(engine, 100), 0);
	}
}

static void release_at_once(struct tm_channel *channel, struct tm_buffer *buffer, uint32_t offset,
			    uint32_t length, void *userdata)
{
	(void)channel;
	(void)offset;
	(void)length;
	(void)userdata;
	tm_buffer_release(buffer);
}

START_TEST(thousands_of_idle_connections_hold_no_buffer)
{
	struct tm_handlers idle = handlers;
	struct tm_engine_options options = { .size = sizeof(options), .kind = kinds[_i] };
	rlim_t before = set_descriptors(2 * IDLE + 100);
	static int fds[IDLE];
	size_t heap_bytes;

	idle.open = count_open;
	idle.data = release_at_once;
	idle.close = count_close;
	set_up(_i, 4096, 128);
	tm_engine_free(engine);
	ck_assert_int_eq(tm_engine_new(pool, &options, &idle, NULL, &engine), 0);
	listen_tcp();
	ck_assert_int_ge(tm_engine_run(engine, 0), 0);
	heap_bytes = mallinfo2().uordblks;
	for (uint32_t i = 0; i < IDLE; i++) {
		fds[i] = connect_tcp();
		if (i % 500 == 499)
			run_until_idle_open(i + 1);
	}
	run_until_quiet();
	ck_assert_uint_eq(stats().held, 0);
	ck_assert_uint_le(stats().posted, 64);
#ifndef __SANITIZE_ADDRESS__
	ck_assert_uint_lt((mallinfo2().uordblks - heap_bytes) / IDLE, 512);
#endif
	/* none of them is forgotten */
	for (uint32_t i = 0; i < IDLE; i++)
		ck_assert_int_eq(send(fds[i], "", 1, MSG_NOSIGNAL), 1);
	run_until_quiet();
	ck_assert_uint_eq(stats().held, 0);
	for (uint32_t i = 0; i < IDLE; i++)
		close(fds[i]);
	run_until_idle_open(0);
	(void)set_descriptors(before);
	tear_down();
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		messages_in_one_buffer_count_as_one,
		messages_of_many_channels_share_buffers,
		other_threads_release_pieces_in_any_order,
		pieces_may_be_released_after_the_engine_is_gone,
		a_stream_after_small_messages_fills_its_buffers,
		without_descriptors_connections_wait_and_cost_no_cpu,
		more_events_than_the_completion_queue_holds_lose_nothing,
		thousands_of_idle_connections_hold_no_buffer,
	};

	return run_suite("receive", tests, ARRAY_LEN(tests));
}
