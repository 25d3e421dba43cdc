/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Two calls of getrusage() a turn, 0.3 µs each. ru_nvcsw counts the times the thread gave up the
 * processor by itself: in a turn it does that only to wait for something, such as reclaim in a
 * write to memory.max, or another writer's lock. Times are exact, not of ticks (seen on 6.12).
 */

#include "turns.h"

#include <errno.h>
#include <sys/resource.h>

#include "base/mono.h"

struct moment {
	uint64_t now_ns, cpu_ns;
	long n_waits;
};

static uint64_t to_ns(struct timeval time)
{
	return (uint64_t)time.tv_sec * NS_PER_SEC + (uint64_t)time.tv_usec * NS_PER_USEC;
}

static struct moment moment_now(void)
{
	struct rusage usage = {};

	(void)getrusage(RUSAGE_THREAD, &usage); /* cannot fail */
	return (struct moment){
		.now_ns = mono_now_ns(),
		.cpu_ns = to_ns(usage.ru_utime) + to_ns(usage.ru_stime),
		.n_waits = usage.ru_nvcsw,
	};
}

static void note(struct turns *turns, const struct moment *begin, const struct moment *end)
{
	uint64_t elapsed_ns = end->now_ns - begin->now_ns;
	uint64_t own_ns = end->n_waits > begin->n_waits
				  ? elapsed_ns
				  : MIN(end->cpu_ns - begin->cpu_ns, elapsed_ns);

	turns->n++;
	turns->n_over_10ms += own_ns > 10 * NS_PER_MSEC;
	turns->n_over_100ms += own_ns > 100 * NS_PER_MSEC;
	turns->longest_ns = MAX(turns->longest_ns, own_ns);
	turns->longest_elapsed_ns = MAX(turns->longest_elapsed_ns, elapsed_ns);
}

/* sd_event_run() in its three parts, of which the second waits and the third calls handlers. */
static int run_once(sd_event *event, struct turns *turns)
{
	struct moment begin, end;
	int r = sd_event_prepare(event);

	if (r == 0)
		r = sd_event_wait(event, UINT64_MAX);
	if (r <= 0)
		return r;
	begin = moment_now();
	r = sd_event_dispatch(event);
	end = moment_now();
	note(turns, &begin, &end);
	return r;
}

int turns_loop(sd_event *event, struct turns *turns)
{
	int r, code;

	while (sd_event_get_state(event) != SD_EVENT_FINISHED) {
		r = run_once(event, turns);
		if (r < 0)
			return r;
	}
	r = sd_event_get_exit_code(event, &code);
	return r < 0 ? r : code;
}
