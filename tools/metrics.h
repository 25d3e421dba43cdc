/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The daemon's replies as OpenMetrics 1.0 text. */

#include <stdio.h>
#include <systemd/sd-json.h>

#include "base/attr.h"

/* What the text is, in HTTP's words. */
#define METRICS_TYPE "application/openmetrics-text; version=1.0.0; charset=utf-8"

/* Replies to GetInfo, ListSlots and ListCounters; borrowed. */
struct metrics {
	sd_json_variant *info, *slots, *counters;
};

/**
 * metrics_print() - all of it, with "# EOF" at the end
 *
 * What is null in the replies is left out, and so is what was counted of a slot that is in one
 * reply only, for it was made or removed in between. Numbers are whole or have six decimals:
 * nothing is rounded.
 *
 * Return: 0 or -ENOMEM; errors of @out are its own.
 */
MUST_USE int metrics_print(const struct metrics *metrics, FILE *out);
