/* SPDX-License-Identifier: Apache-2.0 */

/* bench_net's own side: an engine over a pool of the tests' daemon, with 4 KiB pages. */

#include "bench_net.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fake_daemon.h"
#include "taskmem.h"

#define WAIT_MS 20

static const struct bench_plan *plan;
static uint64_t bytes, events;
static uint32_t n_open;
static int reply_fd = -1;

static int on_open(struct tm_channel *channel, void *userdata)
{
	struct bench_shared *shared = userdata;

	atomic_store(&shared->n_accepted, ++n_open);
	return tm_channel_set_latency(channel, plan->latency_us);
}

static void on_data(struct tm_channel *channel, struct tm_buffer *buffer, uint32_t offset,
		    uint32_t length, void *userdata)
{
	(void)channel;
	(void)userdata;
	bytes += length;
	events++;
	if (reply_fd >= 0)
		(void)!send(reply_fd, (char *)buffer->data + offset, length, MSG_NOSIGNAL);
	if (!hold_add(plan, buffer))
		tm_buffer_release(buffer);
}

/* Once, so that its pages are not mistaken for something of a connection. */
static void touch_all(struct tm_pool *pool)
{
	static struct tm_buffer *all[BENCH_POOL_BUFFERS];
	uint32_t n = tm_pool_acquire_bulk(pool, all, BENCH_POOL_BUFFERS);

	for (uint32_t i = 0; i < n; i++)
		memset(all[i]->data, 0, all[i]->capacity);
	tm_buffer_release_bulk(all, n);
}

static int open_pool(struct tm_pool **ret_pool)
{
	uint32_t n_chunks = BENCH_POOL_BUFFERS / (TM_CHUNK_BYTES / BENCH_BUFFER_BYTES);
	struct fake_daemon *daemon = fake_daemon_new(n_chunks, n_chunks);
	struct tm_attach_options options = {
		.size = sizeof(options),
		.socket = fake_daemon_get_socket(daemon),
	};
	struct tm_slot *slot;
	int r;

	r = tm_slot_attach(&options, &slot);
	if (r < 0)
		return r;
	return tm_pool_open(slot, "bench", BENCH_BUFFER_BYTES, BENCH_POOL_BUFFERS, 0, ret_pool);
}

static int wait_for_connections(struct bench_shared *shared, struct tm_engine *engine)
{
	int r = 0;

	while (n_open < plan->n_connections && r >= 0 && !atomic_load(&shared->is_over))
		r = tm_engine_run(engine, WAIT_MS);
	if (r < 0 || plan->kind != BENCH_PING)
		return r;
	while (atomic_load(&shared->reply_port) == 0)
		usleep(1000);
	reply_fd = sender_connect(atomic_load(&shared->reply_port));
	return reply_fd < 0 ? reply_fd : 0;
}

/* The process ends afterwards, so nothing is taken down. */
static int receive(const struct bench_plan *the_plan, struct bench_shared *shared,
		   enum tm_engine_kind kind)
{
	const struct tm_handlers handlers = {
		.size = sizeof(handlers),
		.open = on_open,
		.data = on_data,
	};
	struct tm_engine_options options = {
		.size = sizeof(options),
		.kind = kind,
		.credit_buffers = the_plan->credit_buffers,
		.max_channels = the_plan->n_connections,
	};
	struct tm_pool_stats stats = { .size = sizeof(stats) };
	struct tm_engine *engine;
	struct tm_pool *pool;
	struct tm_buffer *done;
	int r;

	plan = the_plan;
	r = open_pool(&pool);
	if (r >= 0 && plan->kind == BENCH_IDLE)
		touch_all(pool);
	idle_begin(plan);
	if (r >= 0)
		r = tm_engine_new(pool, &options, &handlers, shared, &engine);
	if (r < 0)
		return r;
	r = tm_engine_listen(engine, "tcp:127.0.0.1:0");
	if (r < 0)
		return r;
	meter_pin(1);
	atomic_store(&shared->port, r);
	r = wait_for_connections(shared, engine);
	meter_start(plan, shared);
	while (r >= 0 && !meter_is_done(bytes, events, events)) {
		r = tm_engine_run(engine, plan->awake == BENCH_RECEIVER ? 0
					  : plan->hold_ns               ? 1
									: WAIT_MS);
		while ((done = hold_take(plan)))
			tm_buffer_release(done);
	}
	if (tm_pool_get_stats(pool, &stats) >= 0)
		shared->result.n_held = stats.held;
	return atomic_load(&shared->is_over) ? 0 : r;
}

int receive_by_taskmem(const struct bench_plan *the_plan, struct bench_shared *shared)
{
	if (the_plan->kind == BENCH_RESIZE)
		return receive_resized(the_plan, shared);
	return receive(the_plan, shared, TM_ENGINE_URING);
}

int receive_by_taskmem_epoll(const struct bench_plan *the_plan, struct bench_shared *shared)
{
	return receive(the_plan, shared, TM_ENGINE_EPOLL);
}
