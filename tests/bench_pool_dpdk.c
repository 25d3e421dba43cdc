/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Peer of bench_pool: DPDK's mempool with the largest per-thread cache, built by bench_pool
 * itself where the headers are there (it is no dependency of the build).
 *
 * --no-huge: 4 KiB pages, as the other side has them; this is about pointers.
 */

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_lcore.h>
#include <rte_mempool.h>

struct pool;

#define MEMPOOL(pool) ((struct rte_mempool *)(pool))
#define ACQUIRE(pool) acquire(MEMPOOL(pool))
#define RELEASE(pool, buffer) rte_mempool_put(MEMPOOL(pool), buffer)
#define ACQUIRE_BULK(pool, buffers, n) (rte_mempool_get_bulk(MEMPOOL(pool), buffers, n) == 0)
#define RELEASE_BULK(pool, buffers, n) rte_mempool_put_bulk(MEMPOOL(pool), buffers, n)
#define DATA(buffer) (buffer)
#define THREAD_BEGIN() ((void)rte_thread_register())
#define THREAD_END() rte_thread_unregister()

static inline void *acquire(struct rte_mempool *mempool)
{
	void *buffer;

	return rte_mempool_get(mempool, &buffer) == 0 ? buffer : NULL;
}

#include "bench_pool_loops.h"

int main(int argc, char *argv[])
{
	char *arguments[] = { argv[0], "--no-huge", "--no-pci",      "--no-telemetry",
			      "-m",    "300",       "--log-level=3", "-l",
			      "0",     NULL };
	struct rte_mempool *mempool;

	(void)argc;
	if (rte_eal_init(9, arguments) < 0)
		return 1;
	mempool =
		rte_mempool_create("bench", BENCH_BUFFERS, BENCH_BYTES, RTE_MEMPOOL_CACHE_MAX_SIZE,
				   0, NULL, NULL, NULL, NULL, SOCKET_ID_ANY, 0);
	if (!mempool) {
		fprintf(stderr, "bench_pool: no DPDK mempool: %s\n", rte_strerror(rte_errno));
		return 1;
	}
	return serve((struct pool *)mempool);
}
