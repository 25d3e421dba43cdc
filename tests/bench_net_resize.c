/* SPDX-License-Identifier: Apache-2.0 */

/*
 * bench_net: a pool that grows and shrinks under full traffic.
 *
 * The task keeps the last buffers that it received, as an operator over a window of its stream does,
 * and looks at each byte when a buffer leaves the window: so what arrives is read, whatever became
 * of the page meanwhile. When the slot's share grows, so does the window, and each page more is
 * filled by the stream; when it shrinks the task works its window off, a few old buffers for each
 * new one, and when nothing comes because the window has all that is left, so many in each turn of
 * the engine. The daemon is the tests' one, with pages of 2 MiB like the real one, or with small
 * ones, of which only the bytes have to be
 * right: no slot has them.
 *
 * The other side is the same task with a pool that has all pages from the start and keeps them: its
 * window grows and shrinks just so. What differs is the resizing alone: asking for pages, clearing
 * and mapping them, draining, withdrawing from the kernel, giving back.
 *
 * Rates are those of the time from the order on, as long for both, in which the pool is resized and
 * goes on. The pages are back when the node's free count says so (of small ones: when the
 * file has none), which is counted from the order, so the time the task itself takes is in it.
 */

#include "bench_net.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/attr.h"
#include "base/mono.h"
#include "bench_huge.h"
#include "fake_daemon.h"
#include "taskmem.h"

#define PER_CHUNK ((uint32_t)(TM_CHUNK_BYTES / BENCH_BUFFER_BYTES))
#define BASE_CHUNKS 32 /* of the small pool */
#define BASE_WINDOW 512
#define WORKS_OFF 4                   /* old buffers for each new one, while there are too many */
#define PATIENCE_NS (60 * NS_PER_SEC) /* for what takes a second where nobody else works */
#define LOOK_NS 1000000               /* at the free count, so often */
#define WAIT_MS 20

/* In the window, oldest first, in a ring. */
struct kept {
	struct tm_buffer *buffer;
	uint64_t at;
	uint32_t which, offset, length;
};

/* What a channel is in the middle of. */
struct stream {
	uint64_t at;
	uint32_t which;
};

static const struct bench_plan *plan;
static struct bench_shared *shared;
static struct fake_daemon *daemon_of_tests;
static struct tm_engine *engine;
static struct kept *window;
static uint32_t window_size, first, n_kept, limit; /* the ring's, and what the task wants to keep */
static uint32_t n_open;
static uint64_t bytes, n_wrong;
static uint64_t n_free_wanted; /* of the machine, when the pages are back */

/* ---- the task */

static uint32_t count_grown(const struct bench_plan *p)
{
	return BASE_CHUNKS + p->resize_chunks;
}

/* What is floating besides the window, and what is posted, is the engine's. */
uint32_t resize_count_chunks(uint32_t resize_chunks)
{
	uint32_t n = BASE_CHUNKS + resize_chunks;

	return n + n / 8 + 4;
}

static uint32_t get_limit(bool is_large)
{
	return is_large ? count_grown(plan) * PER_CHUNK : BASE_WINDOW;
}

static void drop_oldest(void)
{
	struct kept *kept = &window[first];
	const uint8_t *data = (const uint8_t *)kept->buffer->data + kept->offset;

	n_wrong += pattern_count_wrong(data, kept->length, kept->which, kept->at);
	tm_buffer_release(kept->buffer);
	first = (first + 1) % window_size;
	n_kept--;
}

static void work_off(void)
{
	for (int i = 0; i < WORKS_OFF && n_kept > limit; i++)
		drop_oldest();
}

static void on_data(struct tm_channel *channel, struct tm_buffer *buffer, uint32_t offset,
		    uint32_t length, void *userdata)
{
	struct stream *stream = tm_channel_get_userdata(channel);

	(void)userdata;
	if (stream->which == 0 && length >= sizeof(uint64_t))
		stream->which = pattern_find_which((const uint8_t *)buffer->data + offset);
	if (n_kept == window_size)
		drop_oldest();
	window[(first + n_kept++) % window_size] = (struct kept){
		.buffer = buffer,
		.at = stream->at,
		.which = stream->which,
		.offset = offset,
		.length = length,
	};
	stream->at += length;
	bytes += length;
	work_off();
}

static int on_open(struct tm_channel *channel, void *userdata)
{
	struct stream *stream = calloc(1, sizeof(*stream));

	(void)userdata;
	tm_channel_set_userdata(channel, stream);
	atomic_store(&shared->n_accepted, ++n_open);
	return stream ? 0 : -ENOMEM;
}

static void on_resize(struct tm_slot *slot, uint32_t old_chunks, uint32_t new_chunks,
		      void *userdata)
{
	(void)slot;
	(void)old_chunks;
	(void)userdata;
	limit = get_limit(/* is_large= */ new_chunks > BASE_CHUNKS);
}

/* ---- orders */

static void order(bool is_large)
{
	if (plan->is_fixed)
		limit = get_limit(is_large);
	else
		fake_daemon_set_share(daemon_of_tests,
				      is_large ? resize_count_chunks(plan->resize_chunks)
					       : BASE_CHUNKS);
}

static uint64_t count_free(void)
{
	if (plan->is_huge)
		return huge_count_free();
	return resize_count_chunks(plan->resize_chunks) - fake_daemon_count_backed(daemon_of_tests);
}

static bool is_full(void)
{
	return n_kept >= get_limit(/* is_large= */ true);
}

static bool is_back(void)
{
	static uint64_t next_ns;
	uint64_t now_ns = meter_now_ns();

	if (plan->is_fixed)
		return n_kept <= BASE_WINDOW;
	if (now_ns < next_ns)
		return false;
	next_ns = now_ns + LOOK_NS;
	return count_free() >= n_free_wanted;
}

static bool has_all(void)
{
	uint64_t sent = atomic_load(&shared->sent);

	return sent > 0 && bytes >= sent - 1;
}

/* ---- the run */

static bool is_over(void)
{
	return atomic_load(&shared->is_over);
}

/* What there is too much of goes whether something arrives or not: if the window has all buffers of
 * the pages that stay, nothing can. */
static int run_once(int timeout_ms)
{
	int r = tm_engine_run(engine, n_kept > limit ? 0 : timeout_ms);

	work_off();
	return r;
}

static int run_for(uint64_t ns)
{
	uint64_t end_ns = meter_now_ns() + ns;
	int r = 0;

	while (r >= 0 && !is_over() && meter_now_ns() < end_ns)
		r = run_once(WAIT_MS);
	return r;
}

static int run_until(bool (*is_done)(void), const char *what)
{
	uint64_t end_ns = meter_now_ns() + PATIENCE_NS;
	int r = 0;

	while (r >= 0 && !is_done())
		r = meter_now_ns() < end_ns ? run_once(1) : -ETIMEDOUT;
	if (r == -ETIMEDOUT)
		fprintf(stderr, "bench_net: %s: not after %u s; the task keeps %u buffers\n", what,
			(unsigned)(PATIENCE_NS / NS_PER_SEC), n_kept);
	return r;
}

/* As long as the plan says; and on, if it is not @is_done by then, which is noted. */
static int measure(bool (*is_done)(void), const char *what, uint64_t *ret_bytes, uint64_t *ret_ns,
		   uint64_t *ret_done_ns)
{
	uint64_t begin_ns = meter_now_ns(), now_ns = begin_ns, first_byte = bytes, done_ns = 0;
	int r = 0;

	for (; r >= 0 && !is_over() && now_ns < begin_ns + plan->run_ns; now_ns = meter_now_ns()) {
		r = run_once(WAIT_MS);
		if (done_ns == 0 && is_done())
			done_ns = meter_now_ns();
	}
	*ret_bytes = bytes - first_byte;
	*ret_ns = now_ns - begin_ns;
	if (r >= 0 && !is_over() && done_ns == 0) {
		r = run_until(is_done, what);
		done_ns = meter_now_ns();
	}
	*ret_done_ns = done_ns - begin_ns;
	return r;
}

static int measure_both(struct bench_result *result)
{
	int r = run_for(plan->warm_ns);

	order(/* is_large= */ true);
	if (r >= 0)
		r = measure(is_full, "the pool is grown and full", &result->grow_bytes,
			    &result->grow_ns, &result->full_ns);
	if (r >= 0)
		r = run_for(plan->warm_ns);
	n_free_wanted = count_free() + plan->resize_chunks;
	order(/* is_large= */ false);
	if (r >= 0)
		r = measure(is_back, "the pages are back", &result->shrink_bytes,
			    &result->shrink_ns, &result->back_ns);
	return r;
}

/* The sender ends, and what it has sent arrives. */
static int finish(struct bench_result *result)
{
	uint64_t sent;
	int r;

	atomic_store(&shared->is_over, true);
	r = run_until(has_all, "all has arrived");
	sent = atomic_load(&shared->sent);
	if (r == -ETIMEDOUT && sent > 0)
		r = 0; /* lost */
	while (n_kept > 0)
		drop_oldest();
	result->lost_bytes = n_wrong + sent - 1 - bytes;
	return r;
}

static int open_pool(struct tm_pool **ret_pool)
{
	uint32_t n_file = resize_count_chunks(plan->resize_chunks);
	uint32_t n_chunks = plan->is_fixed ? n_file : BASE_CHUNKS;
	struct tm_attach_options options = { .size = sizeof(options) };
	struct tm_slot *slot;
	int r;

	/* The daemon, too: who asks it for a page waits, and its thread would have to wait for the
	 * sender's processor if that was where it had been last. */
	meter_pin(1);
	daemon_of_tests = fake_daemon_new(n_file, n_chunks);
	if (plan->is_huge)
		fake_daemon_use_huge_pages(daemon_of_tests);
	options.socket = fake_daemon_get_socket(daemon_of_tests);
	options.min_chunks = n_chunks;
	r = tm_slot_attach(&options, &slot);
	if (r < 0)
		return r;
	tm_slot_set_resize_handler(slot, on_resize, NULL);
	return tm_pool_open(slot, "resized", BENCH_BUFFER_BYTES,
			    plan->is_fixed ? n_file * PER_CHUNK : BASE_WINDOW, 0, ret_pool);
}

static int open_engine(struct tm_pool *pool)
{
	const struct tm_handlers handlers = {
		.size = sizeof(handlers),
		.open = on_open,
		.data = on_data,
	};
	struct tm_engine_options options = {
		.size = sizeof(options),
		/* the window is not to be theirs in equal parts */
		.credit_buffers = 2 * get_limit(/* is_large= */ true) / plan->n_connections,
		.max_channels = plan->n_connections,
	};
	int r = tm_engine_new(pool, &options, &handlers, NULL, &engine);

	if (r < 0)
		return r;
	r = tm_engine_listen(engine, "tcp:127.0.0.1:0");
	if (r < 0)
		return r;
	atomic_store(&shared->port, r);
	r = 0;
	while (n_open < plan->n_connections && r >= 0 && !is_over())
		r = tm_engine_run(engine, WAIT_MS);
	return r;
}

/* The process ends afterwards, so nothing is taken down. */
int receive_resized(const struct bench_plan *the_plan, struct bench_shared *the_shared)
{
	struct tm_pool *pool;
	int r;

	plan = the_plan;
	shared = the_shared;
	limit = BASE_WINDOW;
	/* all buffers that there are */
	window_size = resize_count_chunks(plan->resize_chunks) * PER_CHUNK;
	window = calloc(window_size, sizeof(*window));
	if (!window)
		return -ENOMEM;
	memset(window, 0, window_size * sizeof(*window)); /* else it costs while it grows */
	r = open_pool(&pool);
	if (r >= 0)
		r = open_engine(pool);
	if (r >= 0)
		r = measure_both(&shared->result);
	if (r >= 0 && !is_over())
		r = finish(&shared->result);
	return r;
}
