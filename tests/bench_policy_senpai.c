/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A published law, written from its description. senpai moves memory.high of one cgroup: it backs
 * off by the square of how far the stall time of an interval is above 10 ms, up to doubling, and
 * tightens by 1 % after six quiet seconds. Its least limit of 100 MiB is scaled to this bench as
 * ours is, B / 50, and the largest, of 100 GiB, is B: it would not come down from there in the time
 * of a run. It does not know of the other cgroups.
 *
 * A write of memory.high below usage reclaims in the writer, which is what the longest write of
 * this policy shows.
 */

#include "bench_policy.h"

#define LEAST_DIVISOR 50

const struct bench_senpai_law bench_senpai_published = {
	.tick_divisor = 2,
	.interval = 6,
	.pressure_us = 10000,
	.max_probe = 0.01,
	.max_backoff = 1.0,
	.coeff_probe = 10,
	.coeff_backoff = 20,
};
const struct bench_senpai_law bench_senpai_fast = {
	.tick_divisor = 1,
	.interval = 1,
	.pressure_us = 10000,
	.max_probe = 0.01,
	.max_backoff = 1.0,
	.coeff_probe = 10,
	.coeff_backoff = 20,
};

double bench_senpai_step(struct bench_senpai *s, const struct bench_senpai_law *law,
			 uint64_t total_us)
{
	double error, factor;

	s->integral_us += total_us - s->last_total_us;
	s->last_total_us = total_us;
	if (s->integral_us > law->pressure_us) {
		error = (double)s->integral_us / (double)law->pressure_us / law->coeff_backoff;
		factor = MIN(error * error * law->max_backoff, law->max_backoff);
	} else if (s->grace_ticks > 0) {
		s->grace_ticks--;
		return 0;
	} else {
		error = (double)law->pressure_us / (double)MAX(s->integral_us, UINT64_C(1)) /
			law->coeff_probe;
		factor = -MIN(error * error * law->max_probe, law->max_probe);
	}
	s->integral_us = 0;
	s->grace_ticks = law->interval - 1;
	return factor;
}

uint64_t bench_senpai_limit(double bytes, uint64_t budget_bytes)
{
	double most = (double)budget_bytes, least = most / LEAST_DIVISOR;

	return (uint64_t)MIN(MAX(bytes, least), most) / BENCH_PAGE * BENCH_PAGE;
}

static int senpai_write(struct bench_world *world, struct bench_member *m, double bytes)
{
	m->senpai.limit_bytes = bench_senpai_limit(bytes, world->budget_bytes);
	return bench_policy_write(world, m, CG_MEMORY_HIGH, m->senpai.limit_bytes);
}

int bench_senpai_tick(const struct bench_policy *policy, struct bench_world *world)
{
	const struct bench_senpai_law *law = policy->arg;
	int r = 0;

	/* it is started on tasks that run already */
	if (world->tick < 4 || world->tick % law->tick_divisor != 0)
		return 0;
	for (size_t i = 0; i < world->n && r == 0; i++) {
		struct bench_member *m = &world->members[i];
		struct bench_senpai *s = &m->senpai;
		double factor;

		if (!s->is_started) {
			*s = (struct bench_senpai){ .last_total_us = m->sample.stall_us,
						    .grace_ticks = law->interval,
						    .is_started = true };
			r = senpai_write(world, m, (double)m->sample.current_bytes);
			continue;
		}
		factor = bench_senpai_step(s, law, m->sample.stall_us);
		if (factor != 0)
			r = senpai_write(world, m, (double)s->limit_bytes * (1 + factor));
	}
	return r;
}
