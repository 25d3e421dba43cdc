/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* From what the kernel listed to what people are told. */

#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "model.h"
#include "view.h"

struct damon_region;
struct lru_gen_ages;

/**
 * heat_report_ages() - after an ageing that ended a window
 * @base_seq: by node number, the youngest generation when the window began
 * @report:   .window_ms, .refault_bytes, .stall_us and .cost_us are given, the rest is filled in;
 *            .window_ms becomes less when the kernel has merged what is older
 *
 * Return: 0 or -ENOMEM.
 */
MUST_USE int heat_report_ages(const struct lru_gen_ages *ages,
			      const uint64_t base_seq[static NODES_MAX],
			      struct heat_report *report);

/**
 * heat_report_regions() - the same of DAMON's regions, DAMON_SAMPLES pages of each
 * @sample_ms:   for which each page was watched
 * @usage_bytes: all memory of the slot, for what was not touched
 *
 * Return: 0 or -ENOMEM.
 */
MUST_USE int heat_report_regions(const struct damon_region *regions, size_t n, uint64_t sample_ms,
				 uint64_t usage_bytes, struct heat_report *report);
