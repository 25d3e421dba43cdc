/* SPDX-License-Identifier: Apache-2.0 */

/* bench_pool's own side: a pool of libtaskmem over the tests' daemon, with 4 KiB pages. */

#include "fake_daemon.h"
#include "taskmem.h"

struct pool;

#define ACQUIRE(pool) tm_pool_acquire((struct tm_pool *)(pool))
#define RELEASE(pool, buffer) ((void)(pool), tm_buffer_release(buffer))
#define ACQUIRE_BULK(pool, buffers, n) \
	(tm_pool_acquire_bulk((struct tm_pool *)(pool), (struct tm_buffer **)(buffers), n) == (n))
#define RELEASE_BULK(pool, buffers, n) \
	((void)(pool), tm_buffer_release_bulk((struct tm_buffer **)(buffers), n))
#define DATA(buffer) (((struct tm_buffer *)(buffer))->data)
#define THREAD_BEGIN() ((void)0)
#define THREAD_END() ((void)0)

#include "bench_pool_loops.h"

int main(void)
{
	uint32_t n_chunks = BENCH_BUFFERS / (TM_CHUNK_BYTES / BENCH_BYTES);
	struct fake_daemon *daemon = fake_daemon_new(n_chunks, n_chunks);
	struct tm_attach_options options = {
		.size = sizeof(options),
		.socket = fake_daemon_get_socket(daemon),
	};
	struct tm_slot *slot;
	struct tm_pool *pool;
	int r;

	r = tm_slot_attach(&options, &slot);
	if (r >= 0)
		r = tm_pool_open(slot, "bench", BENCH_BYTES, BENCH_BUFFERS, 0, &pool);
	if (r < 0) {
		fprintf(stderr, "bench_pool: no pool: %s\n", strerror(-r));
		return 1;
	}
	r = serve((struct pool *)pool);
	if (tm_pool_close(pool) < 0)
		r = 1;
	else
		tm_slot_detach(slot);
	fake_daemon_free(daemon);
	return r;
}
