/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Static limits are memory.max, so that each task reclaims from itself at once and is not slept;
 * "equal" is memory.high, which is what one sets by hand on a machine without a controller.
 */

#include "bench_policy.h"

#include <errno.h>
#include <string.h>

#include "base/mono.h"

/*
 * The best of a handful tried by hand. `tests/run bench control --search LOAD` looks for better
 * ones: random splits, then steps from the best, by mean normalised throughput.
 */
static const struct {
	const char *load;
	uint16_t permille[BENCH_TASKS_MAX];
} splits[] = {
	{ "L2", { 550, 350, 100 } },
	{ "L4", { 200, 800 } },
};

int bench_policy_write(struct bench_world *world, struct bench_member *member, enum cgdir_file file,
		       uint64_t bytes)
{
	uint64_t start = mono_now_ns(), took;
	int r;

	if (member->limit_bytes == bytes)
		return 0;
	r = cgdir_write_u64(member->cg, file, bytes);
	took = mono_now_ns() - start;
	world->n_writes++;
	world->longest_write_ns = MAX(world->longest_write_ns, took);
	member->limit_bytes = bytes;
	return r > 0 ? -EIO : r;
}

static const uint16_t *split_to_try;

void bench_policy_try_split(const uint16_t *split)
{
	split_to_try = split;
}

const uint16_t *bench_policy_split(const char *load)
{
	if (split_to_try)
		return split_to_try;
	for (size_t i = 0; i < ARRAY_LEN(splits); i++)
		if (strcmp(splits[i].load, load) == 0)
			return splits[i].permille;
	return NULL;
}

static int none_tick(const struct bench_policy *policy, struct bench_world *world)
{
	(void)policy;
	(void)world;
	return 0;
}

static int equal_tick(const struct bench_policy *policy, struct bench_world *world)
{
	int r = 0;

	(void)policy;
	for (size_t i = 0; i < world->n && r == 0 && world->is_change; i++)
		r = bench_policy_write(world, &world->members[i], CG_MEMORY_HIGH,
				       world->budget_bytes / world->n / BENCH_PAGE * BENCH_PAGE);
	return r;
}

static int low_tick(const struct bench_policy *policy, struct bench_world *world)
{
	int r = 0;

	(void)policy;
	for (size_t i = 0; i < world->n && r == 0 && world->is_change; i++)
		r = bench_policy_write(world, &world->members[i], CG_MEMORY_LOW,
				       world->members[i].share_bytes);
	return r;
}

static int static_tick(const struct bench_policy *policy, struct bench_world *world)
{
	const uint16_t *split = bench_policy_split(world->load->name);
	int r = 0;

	(void)policy;
	if (!split)
		return -ENOENT;
	for (size_t i = 0; i < world->n && r == 0 && world->tick == 0; i++)
		r = bench_policy_write(world, &world->members[i], CG_MEMORY_MAX,
				       world->budget_bytes / 1000 * split[i]);
	return r;
}

static const enum bench_control_part no_restore = BENCH_NO_RESTORE, no_refill = BENCH_NO_REFILL,
				     no_scans = BENCH_NO_SCANS, no_stall = BENCH_NO_STALL,
				     no_tax = BENCH_NO_TAX;

static const struct bench_policy policies[] = {
	{ "none", "the kernel alone", false, false, none_tick, NULL },
	{ "equal", "memory.high = B / n", false, false, equal_tick, NULL },
	{ "low", "memory.low = share", true, false, low_tick, NULL },
	{ "static", "the best static memory.max found", false, false, static_tick, NULL },
	{ "senpai", "senpai, published constants", false, false, bench_senpai_tick,
	  &bench_senpai_published },
	{ "senpai6", "senpai, probing at every tick", false, false, bench_senpai_tick,
	  &bench_senpai_fast },
	{ "oomd", "oomd's senpai, immediate backoff", false, false, bench_oomd_tick, NULL },
	{ "ours", "the law of taskmemd", true, true, bench_control_tick, NULL },
	{ "ours-restore", "without restored pages", true, true, bench_control_tick, &no_restore },
	{ "ours-refill", "without pgrefill", true, true, bench_control_tick, &no_refill },
	{ "ours-scans", "without the rules for scans", true, true, bench_control_tick, &no_scans },
	{ "ours-stall", "without pressure", true, true, bench_control_tick, &no_stall },
	{ "ours-tax", "without the tax on quiet tasks", true, true, bench_control_tick, &no_tax },
};

const struct bench_policy *bench_policy_at(size_t i)
{
	return i < ARRAY_LEN(policies) ? &policies[i] : NULL;
}

const struct bench_policy *bench_policy_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(policies); i++)
		if (strcmp(policies[i].name, name) == 0)
			return &policies[i];
	return NULL;
}
