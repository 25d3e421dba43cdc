/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Why a pool of its own: buffers that were received wait until the program reads them, and it
 * does not while it waits for room in its output. With one pool both could wait for the other.
 *
 * The reader takes a buffer, reads, and appends it to a queue that has room for all there are;
 * the engine's thread moves the queue into the channel, whose own queue is as long, so that
 * neither is ever full. That the buffers are few is the only bound, and the only back-pressure.
 *
 * The end: the program's side closes the pipe, the stream is ended after the last byte, and the
 * peer closes when it has read all. A peer that ends its own side at once may still read.
 */

#include "output.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/types.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <zlib.h>

#include "base/fd.h"
#include "base/mono.h"

struct piece {
	struct tm_buffer *buffer;
	uint32_t length;
};

struct output {
	struct tm_pool *pool;
	struct tm_engine *engine; /* lock: the reader wakes it, the sender frees it */
	enum tm_engine_kind engine_kind;
	struct tm_channel *channel; /* engine's thread; NULL once closed */
	uint32_t n_buffers;
	int pipe_fd, abort_fd; /* abort_fd ends the reader's wait for the pipe */
	pthread_t sender, reader;
	bool has_sender, has_reader;
	atomic_bool is_broken, should_close;

	pthread_mutex_t lock;
	pthread_cond_t settled;
	bool is_settled; /* lock: the connection stands or has failed */
	bool has_ended;  /* lock: nothing is appended any more */
	int error;       /* lock */
	uint32_t first, n_pieces;
	struct piece *pieces; /* lock; a ring of n_buffers */

	struct output_totals totals; /* the reader's, but for last_ns */
};

/* ---- the engine's thread */

static void settle(struct output *output, int error)
{
	pthread_mutex_lock(&output->lock);
	output->is_settled = true;
	if (!output->error)
		output->error = error;
	pthread_cond_signal(&output->settled);
	pthread_mutex_unlock(&output->lock);
}

static int on_open(struct tm_channel *channel, void *userdata)
{
	struct output *output = userdata;

	output->channel = channel;
	settle(output, 0);
	return 0;
}

/* What the peer says is not for the program. */
static void on_data(struct tm_channel *channel, struct tm_buffer *buffer, uint32_t offset,
		    uint32_t length, void *userdata)
{
	(void)channel;
	(void)offset;
	(void)length;
	(void)userdata;
	tm_buffer_release(buffer);
}

/* The peer may well have nothing to say; it still reads. */
static void on_end(struct tm_channel *channel, void *userdata)
{
	(void)channel;
	(void)userdata;
}

static void on_close(struct tm_channel *channel, int error, void *userdata)
{
	struct output *output = userdata;

	(void)channel;
	output->channel = NULL;
	output->totals.last_ns = mono_now_ns();
	atomic_store(&output->is_broken, true);
	/* fails only when the counter is full, and then the descriptor is readable already */
	(void)eventfd_write(output->abort_fd, 1);
	settle(output, error);
}

/* The oldest piece; false: there is none now, and *@ret_has_ended says whether one will come. */
static bool take_piece(struct output *output, struct piece *ret_piece, bool *ret_has_ended)
{
	bool has_one;

	pthread_mutex_lock(&output->lock);
	has_one = output->n_pieces > 0;
	*ret_has_ended = output->has_ended;
	if (has_one) {
		*ret_piece = output->pieces[output->first];
		output->first = (output->first + 1) % output->n_buffers;
		output->n_pieces--;
	}
	pthread_mutex_unlock(&output->lock);
	return has_one;
}

static void send_pieces(struct output *output)
{
	struct piece piece;
	bool has_ended;

	while (take_piece(output, &piece, &has_ended))
		/* fails only when the connection has failed, which its end will say */
		if (!output->channel ||
		    tm_channel_send(output->channel, piece.buffer, 0, piece.length, 0) < 0)
			tm_buffer_release(piece.buffer);
	if (has_ended && output->channel)
		(void)tm_channel_shutdown_send(output->channel);
}

static void *sender_main(void *userdata)
{
	struct output *output = userdata;
	struct tm_engine *engine;
	int r = 0;

	while (r >= 0 && !atomic_load(&output->is_broken)) {
		r = tm_engine_run(output->engine, -1);
		if (!output->channel)
			continue;
		if (atomic_load(&output->should_close))
			tm_channel_close(output->channel);
		else
			send_pieces(output);
	}
	if (r < 0)
		settle(output, r);
	pthread_mutex_lock(&output->lock);
	engine = TAKE(output->engine);
	pthread_mutex_unlock(&output->lock);
	tm_engine_free(engine); /* closes the channel, if it is still open */
	send_pieces(output);
	return NULL;
}

/* ---- the reader's thread */

/* Waits for the program to write. 0: the end; also when there is no sense in reading. */
static ssize_t read_pipe(struct output *output, struct tm_buffer *buffer)
{
	struct pollfd fds[] = { { .fd = output->pipe_fd, .events = POLLIN },
				{ .fd = output->abort_fd, .events = POLLIN } };
	ssize_t n;

	for (;;) {
		if (poll(fds, ARRAY_LEN(fds), -1) < 0 && errno != EINTR)
			return -errno;
		if (atomic_load(&output->is_broken))
			return 0;
		n = read(output->pipe_fd, buffer->data, buffer->capacity);
		if (n >= 0 || (errno != EINTR && errno != EAGAIN))
			return n < 0 ? -errno : n;
	}
}

static void account(struct output_totals *totals, const void *data, size_t length)
{
	if (totals->first_ns == 0)
		totals->first_ns = mono_now_ns();
	totals->bytes += length;
	totals->buffers++;
	totals->crc32 = (uint32_t)crc32_z(totals->crc32, data, length);
}

/* @n: what read_pipe() returned. */
static void pass_on(struct output *output, struct tm_buffer *buffer, ssize_t n)
{
	pthread_mutex_lock(&output->lock);
	if (n > 0)
		output->pieces[(output->first + output->n_pieces++) % output->n_buffers] =
			(struct piece){ buffer, (uint32_t)n };
	output->has_ended = n <= 0;
	if (n < 0 && !output->error)
		output->error = (int)n;
	if (output->engine)
		(void)tm_engine_wakeup(output->engine);
	pthread_mutex_unlock(&output->lock);
	if (n <= 0)
		tm_buffer_release(buffer);
}

static void *reader_main(void *userdata)
{
	struct output *output = userdata;
	struct tm_buffer *buffer;
	ssize_t n = 1;

	/* all buffers come back, sent or because the connection is gone */
	while (n > 0 && tm_pool_acquire_wait(output->pool, UINT64_MAX, &buffer) == 0) {
		n = read_pipe(output, buffer);
		if (n > 0)
			account(&output->totals, buffer->data, (size_t)n);
		pass_on(output, buffer, n);
	}
	fd_closep(&output->pipe_fd);
	output->pipe_fd = -1;
	return NULL;
}

/* ---- build and teardown */

/* A thread that gets no signals: those are waited for elsewhere, or end tmctl. */
static int start_thread(pthread_t *thread, void *(*main)(void *userdata), struct output *output)
{
	sigset_t all, before;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = -pthread_create(thread, NULL, main, output);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return r;
}

static int open_engine(struct output *output, const char *address, uint32_t latency_us)
{
	static const struct tm_handlers handlers = {
		.size = sizeof(handlers),
		.open = on_open,
		.data = on_data,
		.close = on_close,
		.end = on_end,
	};
	const struct tm_engine_options options = {
		.size = sizeof(options),
		.posted_buffers = 1, /* what the peer says is thrown away */
		.max_channels = 1,
		.send_buffers = output->n_buffers,
		.spin_us = latency_us,
	};
	int r = tm_engine_new(output->pool, &options, &handlers, output, &output->engine);

	return r < 0 ? r : tm_engine_connect(output->engine, address, NULL);
}

static int wait_connected(struct output *output)
{
	int r;

	pthread_mutex_lock(&output->lock);
	while (!output->is_settled)
		pthread_cond_wait(&output->settled, &output->lock);
	r = output->error;
	pthread_mutex_unlock(&output->lock);
	return r;
}

static struct output *output_new(uint32_t n_buffers)
{
	struct output *output = calloc(1, sizeof(*output));

	if (!output)
		return NULL;
	output->pipe_fd = -1;
	output->n_buffers = n_buffers;
	output->pieces = calloc(n_buffers, sizeof(*output->pieces));
	output->abort_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	pthread_mutex_init(&output->lock, NULL);
	pthread_cond_init(&output->settled, NULL);
	if (!output->pieces || output->abort_fd < 0) {
		output_free(output);
		return NULL;
	}
	return output;
}

int output_open(struct tm_slot *slot, const char *address, uint64_t buffer_bytes,
		uint32_t latency_us, struct output **ret_output)
{
	uint32_t n_buffers = (uint32_t)(TM_CHUNK_BYTES / buffer_bytes);
	struct output *output = output_new(n_buffers);
	int r;

	if (!output)
		return -ENOMEM;
	r = tm_pool_open(slot, "output", buffer_bytes, n_buffers, n_buffers, &output->pool);
	if (r >= 0)
		r = open_engine(output, address, latency_us);
	if (r >= 0) {
		output->engine_kind = tm_engine_get_kind(output->engine);
		r = start_thread(&output->sender, sender_main, output);
		output->has_sender = r >= 0;
	}
	if (r >= 0)
		r = wait_connected(output);
	if (r < 0) {
		output_free(output);
		return r;
	}
	*ret_output = output;
	return 0;
}

int output_start(struct output *output, int pipe_fd)
{
	int r;

	output->pipe_fd = pipe_fd;
	r = start_thread(&output->reader, reader_main, output);
	output->has_reader = r >= 0;
	if (r < 0)
		output->pipe_fd = -1; /* stays the caller's */
	return r;
}

void output_finish(struct output *output)
{
	if (output->has_reader)
		pthread_join(output->reader, NULL);
	output->has_reader = false;
	if (output->has_sender)
		pthread_join(output->sender, NULL);
	output->has_sender = false;
	output->totals.error = output->error;
}

/* Makes both threads end soon. */
static void give_up(struct output *output)
{
	pthread_mutex_lock(&output->lock);
	atomic_store(&output->should_close, true);
	if (output->engine)
		(void)tm_engine_wakeup(output->engine);
	pthread_mutex_unlock(&output->lock);
}

void output_free(struct output *output)
{
	struct piece piece;
	bool has_ended;

	if (!output)
		return;
	if (output->has_sender)
		give_up(output);
	output_finish(output);
	tm_engine_free(output->engine); /* only if no thread ever ran it */
	while (take_piece(output, &piece, &has_ended))
		tm_buffer_release(piece.buffer);
	(void)tm_pool_close(output->pool);
	fd_closep(&output->pipe_fd);
	fd_closep(&output->abort_fd);
	pthread_cond_destroy(&output->settled);
	pthread_mutex_destroy(&output->lock);
	free(output->pieces);
	free(output);
}

const char *output_get_engine(const struct output *output)
{
	return output->engine_kind == TM_ENGINE_EPOLL ? "epoll" : "io_uring";
}

struct output_totals output_get_totals(const struct output *output)
{
	return output->totals;
}
