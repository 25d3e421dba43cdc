/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Peer of bench_pool that is no pool: an array and its top, in memory, without a look whether
 * there is anything in it, who the thread is or which pool was meant. Nothing that keeps buffers
 * in a stack is faster; it is the bound for the ratio to others.
 */

#include <string.h>

struct pool {
	void *volatile *volatile top;
	void *volatile slots[1024];
};

#define ACQUIRE(pool) ((void)(pool), *--mine.top)
#define RELEASE(pool, buffer) ((void)(pool), (void)(*mine.top++ = (buffer)))
#define ACQUIRE_BULK(pool, buffers, n)  \
	((void)(pool), mine.top -= (n), \
	 memcpy(buffers, (const void *)mine.top, (n) * sizeof(void *)), true)
#define RELEASE_BULK(pool, buffers, n) \
	((void)(pool), memcpy((void *)mine.top, buffers, (n) * sizeof(void *)), mine.top += (n))
#define DATA(buffer) (buffer)
#define THREAD_BEGIN() fill()
#define THREAD_END() ((void)0)

static thread_local struct pool mine;

static void fill(void);

#include "bench_pool_loops.h"

static char memory[KEEP_MAX][BENCH_BYTES];

static void fill(void)
{
	mine.top = mine.slots;
	for (int i = 0; i < KEEP_MAX; i++)
		*mine.top++ = memory[i];
}

int main(void)
{
	fill();
	return serve(&mine);
}
