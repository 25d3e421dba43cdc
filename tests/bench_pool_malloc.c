/* SPDX-License-Identifier: Apache-2.0 */

/* Peer of bench_pool: malloc() of glibc, or of what LD_PRELOAD names. */

#include <stdlib.h>

struct pool;

#define ACQUIRE(pool) ((void)(pool), malloc(BENCH_BYTES))
#define RELEASE(pool, buffer) ((void)(pool), free(buffer))
#define ACQUIRE_BULK(pool, buffers, n) ((void)(pool), acquire_bulk(buffers, n))
#define RELEASE_BULK(pool, buffers, n) ((void)(pool), release_bulk(buffers, n))
#define DATA(buffer) (buffer)
#define THREAD_BEGIN() ((void)0)
#define THREAD_END() ((void)0)

static inline int acquire_bulk(void *buffers[], unsigned int n);
static inline void release_bulk(void *buffers[], unsigned int n);

#include "bench_pool_loops.h"

static inline int acquire_bulk(void *buffers[], unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		buffers[i] = malloc(BENCH_BYTES);
	return 1;
}

static inline void release_bulk(void *buffers[], unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		free(buffers[i]);
}

int main(void)
{
	return serve(NULL);
}
