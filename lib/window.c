/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The law of debloat.c, for one channel and for buffers that keep their size.
 *
 * Flink makes buffers smaller, which frees no memory; here there are fewer of them. So it is
 * buffers that are counted, and each as if it were full: with half of that in each, as many bytes
 * would be half as many buffers, and what they hold be consumed in half of the time. What was
 * released is what was received without what is still held, so whoever releases a buffer counts
 * nothing.
 *
 * Flink's throughput leaves out the time in which a task had nothing to consume. So does this one,
 * or a fast consumer of a sender that says little would have nothing left for when that says much.
 * The engine does not hear when the last buffer is released, only that there was none when the
 * next came; so all of the time since it looked before counts as idle then. A channel that had all
 * it may have is an exception: it is told of the first release.
 *
 * A period ends when something was released, and then counts as many as it took: else, with fewer
 * than one buffer in a period, the law would see nothing again and again, and now and then more
 * than it follows.
 */

#include "window.h"

#include "base/attr.h"
#include "base/mono.h"

#define PERIOD_NS (DEBLOAT_PERIOD_MS * NS_PER_MSEC)
#define PERIODS_MAX 100 /* after so many without news the mean is within 1/20000 of its goal */

void window_init(struct window *window, uint32_t buffer_bytes, uint32_t least, uint32_t most,
		 uint64_t now_ns)
{
	*window = (struct window){ .buffer_bytes = buffer_bytes,
				   .begin_ns = now_ns,
				   .seen_ns = now_ns };
	debloat_init(&window->law, (uint64_t)least * buffer_bytes, (uint64_t)most * buffer_bytes);
}

uint32_t window_count(const struct window *window)
{
	return (uint32_t)((window->law.told_bytes + window->buffer_bytes - 1) /
			  window->buffer_bytes);
}

/* The period is over. */
static bool tell_law(struct window *window, uint64_t n_released, uint64_t target_us)
{
	uint64_t busy_us = MAX(window->busy_ns / NS_PER_USEC, UINT64_C(1)), bytes_per_s;
	uint64_t n_periods = MIN(window->busy_ns / PERIOD_NS, (uint64_t)PERIODS_MAX);
	bool is_news = false;

	if (__builtin_mul_overflow(n_released * window->buffer_bytes, NS_PER_SEC / NS_PER_USEC,
				   &bytes_per_s))
		bytes_per_s = UINT64_MAX;
	bytes_per_s /= busy_us;
	do
		is_news |=
			debloat_observe(&window->law, bytes_per_s, target_us, /* n_buffers= */ 1);
	while (n_periods-- > 1);
	return is_news;
}

bool window_observe(struct window *window, const struct window_sample *sample, uint64_t target_us)
{
	uint64_t n_released = sample->n_released - window->n_released;
	bool is_news;

	if (sample->was_busy)
		window->busy_ns += sample->now_ns - window->seen_ns;
	window->seen_ns = sample->now_ns;
	if (sample->now_ns - window->begin_ns < PERIOD_NS || n_released == 0)
		return false;
	is_news = tell_law(window, n_released, target_us);
	window->begin_ns = sample->now_ns;
	window->busy_ns = 0;
	window->n_released = sample->n_released;
	return is_news;
}
