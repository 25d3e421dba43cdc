/* SPDX-License-Identifier: Apache-2.0 */

#include "send_fixture.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/mono.h"
#include "pattern.h"

struct seen seen;

/* Sends the next piece of the pattern. */
int send_piece(struct tm_channel *channel)
{
	uint32_t offset = (uint32_t)(seen.position % 7), length;
	struct tm_buffer *buffer = tm_pool_acquire(pool);
	int r;

	if (!buffer)
		return -ENOBUFS;
	length = seen.step ? seen.step : (uint32_t)(seen.position % 200 + 1);
	if (offset + length > buffer->capacity)
		offset = 0;
	if (length > seen.total - seen.position)
		length = (uint32_t)(seen.total - seen.position);
	memcpy((uint8_t *)buffer->data + offset, pattern_at(0, seen.position), length);
	r = tm_channel_send(channel, buffer, offset, length, 0);
	if (r == 0)
		seen.position += length;
	else
		tm_buffer_release(buffer);
	return r;
}

/* As much as fits. */
void send_more(struct tm_channel *channel)
{
	int r = 0;

	while (seen.position < seen.total && r == 0)
		r = send_piece(channel);
	if (seen.position < seen.total)
		ck_assert(r == -EAGAIN || r == -EPIPE);
	else if (seen.total > 0)
		ck_assert_int_eq(tm_channel_shutdown_send(channel), 0);
}

static int on_open(struct tm_channel *channel, void *userdata)
{
	(void)userdata;
	seen.channel[seen.n_open++] = channel;
	return 0;
}

static void on_receive(struct tm_channel *channel, struct tm_buffer *buffer, uint32_t offset,
		       uint32_t length, void *userdata)
{
	(void)userdata;
	if (seen.n_received == 0)
		memcpy(seen.text, (char *)buffer->data + offset, length < 15 ? length : 15);
	seen.n_received += length;
	/* its own credit is below the length of the queue, so that cannot be full */
	if (seen.should_echo)
		ck_assert_int_eq(tm_channel_send(channel, buffer, offset, length, 0), 0);
	else
		tm_buffer_release(buffer);
}

static void on_close(struct tm_channel *channel, int error, void *userdata)
{
	(void)userdata;
	for (uint32_t i = 0; i < 4; i++)
		if (seen.channel[i] == channel)
			seen.channel[i] = NULL;
	seen.n_closed++;
	seen.error = error;
	seen.held_at_close = stats().held;
}

static void on_end(struct tm_channel *channel, void *userdata)
{
	(void)userdata;
	seen.n_ended++;
	if (seen.should_shutdown_at_end)
		ck_assert_int_eq(tm_channel_shutdown_send(channel), 0);
}

static void on_writable(struct tm_channel *channel, void *userdata)
{
	struct tm_channel_stats now = { .size = sizeof(now) };

	(void)userdata;
	seen.n_writable++;
	ck_assert_int_eq(tm_channel_get_stats(channel, &now), 0);
	ck_assert_uint_le(now.queued, 4);
	if (!seen.is_quiet)
		send_more(channel);
}

const struct tm_handlers send_handlers = {
	.size = sizeof(send_handlers),
	.open = on_open,
	.data = on_receive,
	.close = on_close,
	.end = on_end,
	.writable = on_writable,
};

const struct tm_handlers short_handlers = {
	.size = sizeof(short_handlers),
	.open = on_open,
	.data = on_receive,
	.close = on_close,
};

void make(int kind, enum variant variant, size_t buffer_bytes, uint32_t min_buffers,
	  uint32_t max_buffers)
{
	struct tm_engine_options options = {
		.size = sizeof(options),
		.kind = kinds[kind],
		.credit_buffers = 6,
		.send_buffers = 8,
		.zero_copy = variant == PINNED ? TM_ZERO_COPY_ALWAYS : TM_ZERO_COPY_NEVER,
	};

	memset(&seen, 0, sizeof(seen));
	seen.should_shutdown_at_end = true;
	set_up_slot(8);
	ck_assert_int_eq(tm_pool_open(slot, "net", buffer_bytes, min_buffers, max_buffers, &pool),
			 0);
	ck_assert_int_eq(tm_engine_new(pool, &options, &send_handlers, NULL, &engine), 0);
	listen_tcp();
}

void remake(const struct tm_engine_options *options, const struct tm_handlers *with)
{
	tm_engine_free(engine);
	ck_assert_int_eq(tm_engine_new(pool, options, with, NULL, &engine), 0);
	listen_tcp();
}

void run_until(const uint32_t *count, uint32_t n)
{
	uint64_t end_ns = mono_now_ns() + 60 * NS_PER_SEC;

	while (*count < n) {
		ck_assert_uint_lt(mono_now_ns(), end_ns);
		ck_assert_int_ge(tm_engine_run(engine, 1000), 0);
	}
}

void run_until_released(void)
{
	uint64_t end_ns = mono_now_ns() + 60 * NS_PER_SEC;

	while (stats().held > 0) {
		ck_assert_uint_lt(mono_now_ns(), end_ns);
		ck_assert_int_ge(tm_engine_run(engine, 1000), 0);
	}
}

int open_peer(void)
{
	int fd = connect_tcp();

	run_until(&seen.n_open, seen.n_open + 1);
	return fd;
}

struct tm_channel_stats channel_stats(const struct tm_channel *channel)
{
	struct tm_channel_stats now = { .size = sizeof(now) };

	ck_assert_int_eq(tm_channel_get_stats(channel, &now), 0);
	return now;
}

void stall(struct tm_channel *channel)
{
	struct tm_channel_stats before = {}, now;
	uint64_t since_ns = mono_now_ns();

	seen.is_quiet = true;
	seen.step = 32768;
	seen.total = UINT64_MAX;
	while (mono_now_ns() - since_ns < 300 * NS_PER_MSEC) {
		send_more(channel);
		ck_assert_int_ge(tm_engine_run(engine, 50), 0);
		now = channel_stats(channel);
		if (now.sent_bytes != before.sent_bytes || now.queued < 8)
			since_ns = mono_now_ns();
		before = now;
	}
}

/* Checks the pattern until the end of file. */
static void *read_pattern(void *userdata)
{
	struct reader *reader = userdata;
	static _Thread_local uint8_t block[65536];
	ssize_t n;

	while ((n = read(reader->fd, block, sizeof(block))) > 0) {
		reader->is_wrong |= !pattern_is(block, (size_t)n, 0, reader->bytes);
		reader->bytes += (uint64_t)n;
	}
	close(reader->fd);
	return NULL;
}

void start_reader(struct reader *reader, int fd)
{
	*reader = (struct reader){ .fd = fd };
	ck_assert_int_eq(pthread_create(&reader->thread, NULL, read_pattern, reader), 0);
}

void check_reader(struct reader *reader, uint64_t bytes)
{
	ck_assert_int_eq(pthread_join(reader->thread, NULL), 0);
	ck_assert(!reader->is_wrong);
	ck_assert_uint_eq(reader->bytes, bytes);
}
