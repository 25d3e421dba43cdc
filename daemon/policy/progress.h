/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* How far a change of memory has come, and when it will be through. Pure: time is an argument. */

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"

#define PROGRESS_ETA_UNKNOWN UINT64_MAX

enum progress_phase {
	PROGRESS_MOVING = 0,
	PROGRESS_REACHED, /* usage is within 3 % of the target, or beyond it */
	PROGRESS_FLAT,    /* usage has not moved for 5 s: the slot wants no more, or no other
			   * slot wants what it may lose; the share holds nevertheless */
};

struct progress {
	uint64_t from_bytes, to_bytes; /* usage when the change was made, and its aim */
	uint64_t now_bytes;            /* last sample */
	uint64_t started_ns, sampled_ns;
	uint64_t flat_bytes, flat_since_ns;
	double rate; /* bytes per second towards the target, < 0 away from it */
	bool has_rate;
	enum progress_phase phase;
};

struct progress_report {
	uint64_t from_bytes, to_bytes, now_bytes;
	uint32_t permille; /* of the way, 0 .. 1000; 1000 when REACHED */
	uint64_t eta_ns;   /* from the last sample; 0 when REACHED, or PROGRESS_ETA_UNKNOWN */
	enum progress_phase phase;
};

/* @from_bytes: usage now; @to_bytes: what it is meant to become, never BYTES_UNLIMITED. */
void progress_start(struct progress *p, uint64_t from_bytes, uint64_t to_bytes, uint64_t now_ns);

/* One usage sample, a few per second. Times never go back; a sample at the same time only
 * replaces the value. Returns the phase as of this sample; it may go back to MOVING, a caller
 * that wants an end stops at the first other one. */
enum progress_phase progress_sample(struct progress *p, uint64_t now_ns, uint64_t usage_bytes);

struct progress_report progress_report(const struct progress *p);

/* A sentence part for a MOVING or FLAT change, such as "the slot does not want more now"; "" for
 * REACHED. */
const char *progress_note(const struct progress *p);
