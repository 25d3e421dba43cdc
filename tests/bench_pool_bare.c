/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Peers of bench_pool that are no pools: an array and its top, in memory. Nothing that keeps
 * buffers in a stack is faster; they are the bounds for the ratio to others.
 *
 * The bare one has no look whether there is anything in it, who the thread is or which pool was
 * meant. The checked one (BENCH_CHECKED) does what no pool with the interface of taskmem can leave
 * out: it finds the thread's stack by the pool, and by the buffer when that is released, and looks
 * whether the stack is empty or full.
 */

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct pool {
	void *volatile *volatile top;
	void *volatile *volatile limit;
	void *volatile slots[1024]; /* a NULL below the lowest */
};

/* Of a size that keeps them apart, as buffers are. */
struct item {
	alignas(64) intptr_t stack; /* bytes from the thread pointer to its stack */
	void *data;
};

#ifdef BENCH_CHECKED
#define ACQUIRE(pool) acquire_checked(pool)
#define RELEASE(pool, buffer) ((void)(pool), release_checked(buffer))
#define ACQUIRE_BULK(pool, buffers, n) acquire_bulk_checked(pool, buffers, n)
#define RELEASE_BULK(pool, buffers, n) \
	((void)(pool), release_bulk_checked((struct item **)(buffers), n))
#define DATA(buffer) (((struct item *)(buffer))->data)
#else
#define ACQUIRE(pool) ((void)(pool), *--mine.top)
#define RELEASE(pool, buffer) ((void)(pool), (void)(*mine.top++ = (buffer)))
#define ACQUIRE_BULK(pool, buffers, n)  \
	((void)(pool), mine.top -= (n), \
	 memcpy(buffers, (const void *)mine.top, (n) * sizeof(void *)), true)
#define RELEASE_BULK(pool, buffers, n) \
	((void)(pool), memcpy((void *)mine.top, buffers, (n) * sizeof(void *)), mine.top += (n))
#define DATA(buffer) (buffer)
#endif
#define THREAD_BEGIN() fill()
#define THREAD_END() ((void)0)

static thread_local struct pool mine;

static void fill(void);

#ifdef BENCH_CHECKED
#define STACK_AT(offset) ((struct pool *)((char *)__builtin_thread_pointer() + (offset)))
/* all that the shared pool is: where each thread has its stack of it */
static intptr_t shared;

static inline void *acquire_checked(void *pool)
{
	struct pool *stack = STACK_AT(*(intptr_t *)pool);
	void *buffer = *--stack->top;

	if (__builtin_expect(!buffer, 0))
		abort();
	return buffer;
}

static inline void release_checked(struct item *buffer)
{
	struct pool *stack;
	void *volatile *top;

	if (__builtin_expect(!buffer, 0))
		return;
	stack = STACK_AT(buffer->stack);
	top = stack->top;
	*top = buffer;
	stack->top = top + 1;
	if (__builtin_expect(top >= stack->limit, 0))
		abort();
}

static inline bool acquire_bulk_checked(void *pool, void **buffers, unsigned int n)
{
	struct pool *stack = STACK_AT(*(intptr_t *)pool);
	void *volatile *top = stack->top - n;

	if (__builtin_expect(top < stack->slots + 1, 0))
		return false;
	stack->top = top;
	memcpy(buffers, (const void *)top, n * sizeof(void *));
	return true;
}

/* The buffers may be of any pools. */
static inline void release_bulk_checked(struct item **buffers, unsigned int n)
{
	intptr_t first = buffers[0]->stack, others = 0;
	struct pool *stack = STACK_AT(first);
	void *volatile *top = stack->top;

#pragma GCC unroll 4
	for (unsigned int i = 1; i < n; i++)
		others |= buffers[i]->stack ^ first;
	if (__builtin_expect(others || top + n > stack->limit, 0))
		abort();
	memcpy((void *)top, buffers, n * sizeof(void *));
	stack->top = top + n;
}
#endif

#include "bench_pool_loops.h"

static char memory[KEEP_MAX][BENCH_BYTES];
static thread_local struct item items[KEEP_MAX];

static void fill(void)
{
	mine.slots[0] = NULL;
	mine.top = mine.slots + 1;
	mine.limit = mine.slots + 1024;
	for (int i = 0; i < KEEP_MAX; i++) {
		items[i].stack = (char *)&mine - (char *)__builtin_thread_pointer();
		items[i].data = memory[i];
#ifdef BENCH_CHECKED
		*mine.top++ = &items[i];
#else
		*mine.top++ = memory[i];
#endif
	}
}

int main(void)
{
	fill();
#ifdef BENCH_CHECKED
	shared = items[0].stack;
	return serve((struct pool *)&shared);
#else
	return serve(&mine);
#endif
}
