/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Monotonic time. Policy code takes time as an argument and never calls this. */

#include <stdint.h>
#include <time.h>

#define NS_PER_SEC UINT64_C(1000000000)
#define NS_PER_MSEC UINT64_C(1000000)
#define NS_PER_USEC UINT64_C(1000)

static inline uint64_t mono_read_ns_(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_SEC + (uint64_t)ts.tv_nsec;
}

static inline uint64_t mono_now_ns(void)
{
	return mono_read_ns_(CLOCK_MONOTONIC);
}

/* As of the kernel's last tick, up to 10 ms ago: for much less than to ask for now. */
static inline uint64_t mono_tick_ns(void)
{
	return mono_read_ns_(CLOCK_MONOTONIC_COARSE);
}

/* When a timer is due again that came for @due_usec: a period later, so that no delay adds up. If it
 * missed more than one period (the process was stopped) a period from now: what was missed is not
 * made up for, one turn of a loop after the other. */
static inline uint64_t mono_next_usec(uint64_t due_usec, uint64_t period_usec)
{
	uint64_t now_usec = mono_now_ns() / NS_PER_USEC;

	return (now_usec > due_usec + period_usec ? now_usec : due_usec) + period_usec;
}
