/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TASKMEM_INLINE_H
#define TASKMEM_INLINE_H

/*
 * The fast paths of <taskmem.h>, which includes this file; do not include it by itself. It is a
 * second header only so that the first one stays a description. Nothing in it is for use by name.
 *
 * Each thread has a magazine per pool: an array of idle buffers with a NULL below the lowest one.
 * To acquire is to move @top down and read, to release is to write and move @top up. There is no
 * lock and no atomic instruction, yet other threads can empty a magazine at any time: they set
 * @limit to NULL and the slots to NULL, with membarrier(2) between these and the look at @top.
 * For this to work @top is written before the slot is read (acquire) and before @limit is read
 * (release); the fences below hold the compiler to that order, membarrier the processor. Whoever
 * reads a NULL calls the library, which finds out who got what. lib/magazine.c has the other
 * side and the proof by tests/model/magazine.pml.
 *
 * What compiled programs know, and what thus must not change while the library's soname ends in
 * .0: the members and order of struct tm_magazine_, struct tm_pool_head_ and struct tm_buffer,
 * how a magazine is found (@magazine_ bytes from the thread pointer), the order of reads and
 * writes in the functions here, and the four functions declared first. struct tm_buffer is made
 * by the library alone and may grow at its end.
 *
 * #define TM_NO_INLINE before including <taskmem.h> to call the library instead.
 */

#ifdef __cplusplus
extern "C" {
#endif

/* Of this thread for one pool. */
struct tm_magazine_ {
	struct tm_buffer **top;   /* where the next one goes; base - 1: an acquire found none */
	struct tm_buffer **limit; /* full from here on; NULL: released buffers go to the library */
	struct tm_buffer **base;
	void *inner;
};

/* How a struct tm_pool begins. */
struct tm_pool_head_ {
	intptr_t magazine_;
};

/* After @top was moved: found NULL; as tm_pool_acquire(). */
struct tm_buffer *tm_pool_acquire_slow_(struct tm_pool *pool);
/* After @top was moved by @n_moved, or 0, and buffers[0 .. n_moved) may be wrong. */
uint32_t tm_pool_acquire_bulk_slow_(struct tm_pool *pool, struct tm_buffer **buffers, uint32_t n,
				    uint32_t n_moved);
/* Put in the magazine, which is full or closed. */
void tm_buffer_release_slow_(struct tm_buffer *buffer);
/* Not put anywhere: the buffer came from a channel, which wants to know. */
void tm_buffer_release_owned_(struct tm_buffer *buffer);
/* @n_moved: as many were put in the magazine, all or none. */
void tm_buffer_release_bulk_slow_(struct tm_buffer *const *buffers, uint32_t n, uint32_t n_moved);

#if !defined(TM_NO_INLINE) && !defined(TM_INLINE) && defined(__has_builtin)
#if __has_builtin(__builtin_thread_pointer) && defined(__OPTIMIZE__)
/* With a body for inlining only: whoever takes the address gets the library's function. */
#define TM_INLINE extern __inline__ __attribute__((__gnu_inline__))
#endif
#endif

#ifdef TM_INLINE

#define TM_UNLIKELY_(x) __builtin_expect(!!(x), 0)
#define TM_MAGAZINE_(offset) \
	((struct tm_magazine_ *)((char *)__builtin_thread_pointer() + (offset)))

/* A copy that raced with another thread is thrown away after a look at @limit. Not memcpy(): for
 * a few dozen pointers the call would cost more than the copy. */
#ifdef __SANITIZE_THREAD__
#define TM_COPY_SOME_(to, from) \
	__atomic_store_n(to, __atomic_load_n(from, __ATOMIC_RELAXED), __ATOMIC_RELAXED)
#define TM_COPY_STEP_ 1
#else
#define TM_COPY_SOME_(to, from) __builtin_memcpy(to, from, 8 * sizeof(*(to)))
#define TM_COPY_STEP_ 8
#endif
#define TM_COPY_(to, from, n)                                         \
	do {                                                          \
		uint32_t i_ = 0, n_ = (n);                            \
		for (; i_ + TM_COPY_STEP_ <= n_; i_ += TM_COPY_STEP_) \
			TM_COPY_SOME_(&(to)[i_], &(from)[i_]);        \
		for (; i_ < n_; i_++)                                 \
			(to)[i_] = (from)[i_];                        \
	} while (0)

TM_INLINE struct tm_buffer *tm_pool_acquire(struct tm_pool *pool)
{
	struct tm_magazine_ *m = TM_MAGAZINE_(((struct tm_pool_head_ *)pool)->magazine_);
	struct tm_buffer **top = __atomic_load_n(&m->top, __ATOMIC_RELAXED) - 1;
	struct tm_buffer *buffer;

	__atomic_store_n(&m->top, top, __ATOMIC_RELEASE);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	buffer = __atomic_load_n(top, __ATOMIC_RELAXED);
	if (TM_UNLIKELY_(!buffer))
		return tm_pool_acquire_slow_(pool);
	return buffer;
}

TM_INLINE void tm_buffer_release(struct tm_buffer *buffer)
{
	struct tm_magazine_ *m;
	struct tm_buffer **top;

	if (TM_UNLIKELY_(!buffer))
		return;
	if (TM_UNLIKELY_(!buffer->magazine_)) {
		tm_buffer_release_owned_(buffer);
		return;
	}
	m = TM_MAGAZINE_(buffer->magazine_);
	top = __atomic_load_n(&m->top, __ATOMIC_RELAXED);
	__atomic_store_n(top, buffer, __ATOMIC_RELAXED);
	__atomic_store_n(&m->top, top + 1, __ATOMIC_RELEASE);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	if (TM_UNLIKELY_(top >= __atomic_load_n(&m->limit, __ATOMIC_RELAXED)))
		tm_buffer_release_slow_(buffer);
}

TM_INLINE uint32_t tm_pool_acquire_bulk(struct tm_pool *pool, struct tm_buffer **buffers,
					uint32_t n)
{
	struct tm_magazine_ *m = TM_MAGAZINE_(((struct tm_pool_head_ *)pool)->magazine_);
	struct tm_buffer **top = __atomic_load_n(&m->top, __ATOMIC_RELAXED);

	if (TM_UNLIKELY_(top - m->base < (ptrdiff_t)n))
		return tm_pool_acquire_bulk_slow_(pool, buffers, n, 0);
	top -= n;
	__atomic_store_n(&m->top, top, __ATOMIC_RELEASE);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	TM_COPY_(buffers, top, n);
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	if (TM_UNLIKELY_(!__atomic_load_n(&m->limit, __ATOMIC_RELAXED)))
		return tm_pool_acquire_bulk_slow_(pool, buffers, n, n);
	return n;
}

TM_INLINE void tm_buffer_release_bulk(struct tm_buffer *const *buffers, uint32_t n)
{
	struct tm_magazine_ *m;
	struct tm_buffer **top;
	intptr_t first, all, any;

	if (TM_UNLIKELY_(n == 0))
		return;
	first = buffers[0]->magazine_;
	all = any = first;
#pragma GCC unroll 4
	for (uint32_t i = 1; i < n; i++) {
		all &= buffers[i]->magazine_;
		any |= buffers[i]->magazine_;
	}
	/* of several pools, or one that somebody wants to hear of */
	if (TM_UNLIKELY_(all != any || !first)) {
		tm_buffer_release_bulk_slow_(buffers, n, 0);
		return;
	}
	m = TM_MAGAZINE_(first);
	top = __atomic_load_n(&m->top, __ATOMIC_RELAXED);
	if (TM_UNLIKELY_((uintptr_t)__atomic_load_n(&m->limit, __ATOMIC_RELAXED) <
			 (uintptr_t)(top + n))) {
		tm_buffer_release_bulk_slow_(buffers, n, 0);
		return;
	}
	TM_COPY_(top, buffers, n);
	__atomic_store_n(&m->top, top + n, __ATOMIC_RELEASE);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	if (TM_UNLIKELY_(!__atomic_load_n(&m->limit, __ATOMIC_RELAXED)))
		tm_buffer_release_bulk_slow_(buffers, n, n);
}

#endif /* TM_INLINE */

#ifdef __cplusplus
}
#endif
#endif
