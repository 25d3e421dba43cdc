/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* One run: a load below one memory limit, under one policy. As root, on cgroup v2. */

#include <stdint.h>

#include "base/attr.h"
#include "bench_policy.h"
#include "bench_result.h"

struct bench_env {
	int root_fd;           /* of the cgroup tree, the bench's groups are made below it */
	int device_fd;         /* block device for files */
	uint64_t budget_bytes; /* B */
	const char *trace;     /* file for what every tick saw, or NULL */
	const uint16_t *split; /* of the policy "static", permille of B for each task */
};

/* Turns the machine into what the figures hold for: memory, swap, the device. Return: 0 or
 * -errno, with a message on standard error. @is_legacy: the LRU lists before the multi-gen ones. */
MUST_USE int bench_env_open(bool is_legacy, struct bench_env *ret);
void bench_env_close(struct bench_env *env);

/* @seed: the same accesses for the same number. On 0 the caller frees the series by
 * bench_series_free(). Return: 0, -ECHILD (a task can not be prepared or has ended, and has said why)
 * or another -errno. */
MUST_USE int bench_run(const struct bench_env *env, const struct bench_load *load,
		       const struct bench_policy *policy, uint64_t seed, struct bench_series *ret);
void bench_series_free(struct bench_series *s);
