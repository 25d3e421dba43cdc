/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The lists name only what decides a bar: the law alone where memory or time is compared with a
 * number, what it is compared with elsewhere, and five repetitions where twenty phase changes are
 * asked for. What has to be known of every load takes hours and is left to a full comparison.
 */

#include <string.h>

#include "bench_load.h"
#include "bench_policy.h"

/* What a run takes besides its load, and a machine besides its runs. */
#define OVERHEAD_S 2
#define BOOT_S 12

uint32_t bench_list_reps(const char *list, const char *policy)
{
	size_t len = strlen(policy);

	for (const char *p = list; p; p = strchr(p, ',') ? strchr(p, ',') + 1 : NULL) {
		const char *digit = p + len + 1;
		uint32_t n = 0;

		if (strncmp(p, policy, len) != 0)
			continue;
		if (p[len] == ',' || p[len] == '\0')
			return 1;
		for (; p[len] == '*' && *digit >= '0' && *digit <= '9'; digit++)
			n = 10 * n + (uint32_t)(*digit - '0');
		if (n > 0)
			return MIN(n, (uint32_t)BENCH_QUICK_REPS_MAX);
	}
	return 0;
}

uint32_t bench_load_seconds(const struct bench_load *load)
{
	return load->warm_s + load->score_s + OVERHEAD_S;
}

/* Is @task one that no load before this one, and no task before it, has? */
static bool is_first(size_t load, size_t task)
{
	const struct bench_task *t = &bench_load_at(load)->tasks[task];

	for (size_t i = 0; i <= load; i++) {
		const struct bench_load *l = bench_load_at(i);

		for (size_t k = 0; l->quick && k < (i == load ? task : l->n_tasks); k++)
			if (bench_task_hash(&l->tasks[k]) == bench_task_hash(t))
				return false;
	}
	return true;
}

static void add_load(size_t i, struct bench_cost *cost)
{
	const struct bench_load *load = bench_load_at(i);
	const struct bench_policy *policy;

	for (size_t k = 0; (policy = bench_policy_at(k)); k++) {
		uint32_t n = bench_list_reps(load->quick, policy->name);

		cost->n_runs += n;
		cost->seconds += n * bench_load_seconds(load);
	}
	for (size_t k = 0; load->quick && k < load->n_tasks; k++) {
		struct bench_load solo = bench_load_solo(&load->tasks[k]);

		if (!bench_task_is_useful(&load->tasks[k]) || !is_first(i, k))
			continue;
		cost->n_solos++;
		cost->seconds += bench_load_seconds(&solo);
	}
}

struct bench_cost bench_quick_cost(uint32_t machine_s)
{
	struct bench_cost cost = {};
	uint32_t longest = 0;

	for (size_t i = 0; bench_load_at(i); i++) {
		add_load(i, &cost);
		longest = MAX(longest, bench_load_seconds(bench_load_at(i)));
	}
	/* a machine ends when the next run might not fit */
	machine_s -= MIN(machine_s / 2, longest);
	cost.n_boots = (cost.seconds + machine_s - 1) / MAX(machine_s, UINT32_C(1));
	cost.seconds += cost.n_boots * BOOT_S;
	return cost;
}
