/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The queue is two arrays: the engine appends to one while the writer works through the other,
 * and they change places when the writer is done. Its length is bounded by the buffers of the
 * pool. The pipe is written without blocking and polled together with an eventfd: a program
 * may die while a grandchild keeps the reading end open, and then nobody would wake a writer
 * that sleeps in write(2).
 *
 * Checksums: each written part is summed once and combined into the stream's and the total's
 * sum (crc32_combine), instead of reading every byte twice.
 */

#include "feed.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <zlib.h>

#include "base/fd.h"
#include "base/list.h"
#include "base/mono.h"
#include "lines.h"

/* A server that runs for weeks must not collect the history of every connection. */
#define STREAMS_DESCRIBED 1024

struct feed_stream {
	struct list node; /* feed->streams */
	struct lines lines;
	uint64_t bytes, buffers;
	uint32_t crc32;
	int error;
	char name[64];
};

struct item {
	struct feed_stream *stream;
	struct tm_buffer *buffer; /* NULL: the stream has ended */
	const char *data;
	size_t length;
	int error;
};

struct queue {
	struct item *items;
	size_t n, n_allocated;
};

struct feed {
	struct feed_callbacks callbacks;
	int pipe_fd, abort_fd;
	size_t line_bytes;
	pthread_t thread;
	atomic_bool is_aborted;

	pthread_mutex_t lock;
	pthread_cond_t filled;
	struct queue queue; /* lock */
	bool is_finishing;  /* lock */
	uint64_t first_ns;  /* lock */

	/* writer only, until it has ended */
	struct list streams; /* ended ones, oldest first */
	size_t n_described;
	struct feed_totals totals;
	bool is_ragged; /* the stream that wrote last has ended without a newline */
};

static int queue_append(struct queue *queue, const struct item *item)
{
	if (queue->n == queue->n_allocated) {
		size_t n = queue->n_allocated ? 2 * queue->n_allocated : 64;
		struct item *items = reallocarray(queue->items, n, sizeof(*items));

		if (!items)
			return -ENOMEM;
		queue->items = items;
		queue->n_allocated = n;
	}
	queue->items[queue->n++] = *item;
	return 0;
}

void feed_abort(struct feed *feed)
{
	atomic_store(&feed->is_aborted, true);
	/* fails only when the counter is full, and then the descriptor is readable already */
	(void)eventfd_write(feed->abort_fd, 1);
}

/* Waits for room in the pipe. Return: false when there is no sense in writing any more. */
static bool wait_writable(struct feed *feed)
{
	struct pollfd fds[] = { { .fd = feed->pipe_fd, .events = POLLOUT },
				{ .fd = feed->abort_fd, .events = POLLIN } };

	if (poll(fds, ARRAY_LEN(fds), -1) < 0 && errno != EINTR)
		return false;
	return !atomic_load(&feed->is_aborted);
}

/* Return: false when not all of it was written: the feed is aborted then. */
static bool write_parts(struct feed *feed, struct iovec *parts, int n_parts)
{
	while (n_parts > 0 && !atomic_load(&feed->is_aborted)) {
		ssize_t n = writev(feed->pipe_fd, parts, n_parts);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN && wait_writable(feed))
			continue;
		if (n < 0) {
			if (!atomic_exchange(&feed->is_aborted, true))
				feed->callbacks.broken(feed->callbacks.userdata);
			return false;
		}
		for (; n_parts > 0 && (size_t)n >= parts->iov_len; parts++, n_parts--)
			n -= (ssize_t)parts->iov_len;
		if (n_parts > 0) {
			parts->iov_base = (char *)parts->iov_base + n;
			parts->iov_len -= (size_t)n;
		}
	}
	return n_parts == 0;
}

static void account(struct feed *feed, struct feed_stream *stream, const struct iovec *part)
{
	size_t len = part->iov_len;
	uLong sum = crc32_z(0, part->iov_base, len);

	stream->crc32 = (uint32_t)crc32_combine(stream->crc32, sum, (z_off_t)len);
	stream->bytes += len;
	feed->totals.crc32 = (uint32_t)crc32_combine(feed->totals.crc32, sum, (z_off_t)len);
	feed->totals.bytes += len;
}

/* Writes what is one piece of @stream's output, after the newline a former stream owes. */
static void pass_on(struct feed *feed, struct feed_stream *stream,
		    const struct iovec parts[static 2])
{
	struct iovec newline = { .iov_base = (char *)"\n", .iov_len = 1 };
	struct iovec rest[2] = { parts[0], parts[1] };

	if (feed->is_ragged && write_parts(feed, &newline, 1))
		feed->totals.newlines_added++;
	feed->is_ragged = false;
	if (!write_parts(feed, rest, 2))
		return;
	account(feed, stream, &parts[0]);
	account(feed, stream, &parts[1]);
	feed->totals.last_ns = mono_now_ns();
}

static void handle_data(struct feed *feed, const struct item *item)
{
	struct feed_stream *stream = item->stream;
	struct iovec parts[2];
	size_t n_cut = lines_cut(&stream->lines, item->data, item->length, parts);

	if (n_cut > 0 && !atomic_load(&feed->is_aborted))
		pass_on(feed, stream, parts);
	lines_keep(&stream->lines, item->data, item->length, n_cut);
	stream->buffers++;
	feed->totals.buffers++;
	feed->callbacks.release(item->buffer);
}

static void stream_free(struct feed_stream *stream)
{
	lines_deinit(&stream->lines);
	free(stream);
}

static void handle_end(struct feed *feed, const struct item *item)
{
	struct feed_stream *stream = item->stream;
	struct iovec parts[2] = { { .iov_base = stream->lines.kept,
				    .iov_len = stream->lines.n_kept } };

	if (stream->lines.n_kept > 0 && !atomic_load(&feed->is_aborted)) {
		pass_on(feed, stream, parts);
		feed->is_ragged = true;
	}
	stream->error = item->error;
	feed->totals.streams++;
	lines_deinit(&stream->lines);
	if (feed->n_described < STREAMS_DESCRIBED) {
		list_append(&feed->streams, &stream->node);
		feed->n_described++;
	} else {
		stream_free(stream);
	}
}

static void *writer_main(void *userdata)
{
	struct feed *feed = userdata;
	struct queue taken = {}, swapped;
	bool is_finishing = false;

	while (!is_finishing) {
		pthread_mutex_lock(&feed->lock);
		while (feed->queue.n == 0 && !feed->is_finishing)
			pthread_cond_wait(&feed->filled, &feed->lock);
		swapped = feed->queue;
		feed->queue = (struct queue){ taken.items, 0, taken.n_allocated };
		taken = swapped;
		is_finishing = feed->is_finishing;
		pthread_mutex_unlock(&feed->lock);
		for (size_t i = 0; i < taken.n; i++) {
			if (taken.items[i].buffer)
				handle_data(feed, &taken.items[i]);
			else
				handle_end(feed, &taken.items[i]);
		}
	}
	free(taken.items);
	return NULL;
}

int feed_new(int pipe_fd, size_t line_bytes, const struct feed_callbacks *callbacks,
	     struct feed **ret_feed)
{
	struct feed *feed = calloc(1, sizeof(*feed));
	int r;

	if (!feed)
		return -ENOMEM;
	feed->callbacks = *callbacks;
	feed->line_bytes = line_bytes;
	feed->pipe_fd = -1;
	list_init(&feed->streams);
	pthread_mutex_init(&feed->lock, NULL);
	pthread_cond_init(&feed->filled, NULL);
	feed->abort_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (feed->abort_fd < 0 || fcntl(pipe_fd, F_SETFL, O_WRONLY | O_NONBLOCK) < 0) {
		r = -errno;
		feed_free(feed);
		return r;
	}
	feed->pipe_fd = pipe_fd;
	r = -pthread_create(&feed->thread, NULL, writer_main, feed);
	if (r < 0) {
		feed->pipe_fd = -1; /* stays the caller's */
		feed_free(feed);
		return r;
	}
	*ret_feed = feed;
	return 0;
}

void feed_free(struct feed *feed)
{
	struct feed_stream *stream;

	if (!feed)
		return;
	LIST_FOREACH(&feed->streams, stream, node)
		stream_free(stream);
	fd_closep(&feed->pipe_fd);
	fd_closep(&feed->abort_fd);
	free(feed->queue.items);
	pthread_cond_destroy(&feed->filled);
	pthread_mutex_destroy(&feed->lock);
	free(feed);
}

struct feed_stream *feed_open(struct feed *feed, const char *name)
{
	struct feed_stream *stream = calloc(1, sizeof(*stream));

	if (!stream)
		return NULL;
	if (lines_init(&stream->lines, feed->line_bytes) < 0) {
		free(stream);
		return NULL;
	}
	list_init(&stream->node);
	snprintf(stream->name, sizeof(stream->name), "%s", name);
	return stream;
}

static int enqueue(struct feed *feed, const struct item *item)
{
	int r;

	pthread_mutex_lock(&feed->lock);
	r = queue_append(&feed->queue, item);
	if (feed->first_ns == 0)
		feed->first_ns = mono_now_ns();
	pthread_cond_signal(&feed->filled);
	pthread_mutex_unlock(&feed->lock);
	return r;
}

int feed_push(struct feed *feed, struct feed_stream *stream, struct tm_buffer *buffer,
	      const char *data, size_t length)
{
	const struct item item = { stream, buffer, data, length, 0 };
	int r = enqueue(feed, &item);

	if (r < 0)
		feed->callbacks.release(buffer);
	return r;
}

void feed_close(struct feed *feed, struct feed_stream *stream, int error)
{
	const struct item item = { .stream = stream, .error = error };

	/* without memory the end is lost: the stream is missing in the report, nothing else */
	(void)enqueue(feed, &item);
}

void feed_finish(struct feed *feed)
{
	pthread_mutex_lock(&feed->lock);
	feed->is_finishing = true;
	pthread_cond_signal(&feed->filled);
	pthread_mutex_unlock(&feed->lock);
	pthread_join(feed->thread, NULL);
	feed->totals.first_ns = feed->first_ns;
	fd_closep(&feed->pipe_fd);
	feed->pipe_fd = -1;
}

struct feed_totals feed_get_totals(const struct feed *feed)
{
	return feed->totals;
}

int feed_describe_streams(const struct feed *feed, sd_json_variant **ret_array)
{
	CLEANUP(sd_json_variant_unrefp) sd_json_variant *array = NULL;
	struct feed_stream *stream;
	char sum[9];
	int r;

	r = sd_json_variant_new_array(&array, NULL, 0);
	LIST_FOREACH(&feed->streams, stream, node) {
		if (r < 0)
			return r;
		snprintf(sum, sizeof(sum), "%08x", stream->crc32);
		r = sd_json_variant_append_arraybo(
			&array, SD_JSON_BUILD_PAIR_STRING("peer", stream->name),
			SD_JSON_BUILD_PAIR_UNSIGNED("bytes", stream->bytes),
			SD_JSON_BUILD_PAIR_UNSIGNED("buffers", stream->buffers),
			SD_JSON_BUILD_PAIR_STRING("crc32", sum),
			SD_JSON_BUILD_PAIR_STRING("error",
						  stream->error ? strerror(-stream->error) : ""));
	}
	if (r < 0)
		return r;
	*ret_array = TAKE(array);
	return 0;
}
