/* SPDX-License-Identifier: Apache-2.0 */

#include "gather.h"

#include "base/attr.h"

void gather_note(struct gather *gather, uint32_t length, uint64_t channel_bytes,
		 uint64_t window_bytes)
{
	gather->n_bytes += length;
	if (channel_bytes >= window_bytes / 8 * 7)
		gather_hurry(gather);
}

uint32_t gather_end_turn(struct gather *gather)
{
	uint32_t wait_us = gather->wait_us;

	if (gather->n_bytes < GATHER_BYTES)
		wait_us = 0;
	else if (gather->is_held_up)
		wait_us /= 2;
	else
		wait_us = MIN(wait_us + GATHER_STEP_US, (uint32_t)GATHER_MAX_US);
	*gather = (struct gather){ .wait_us = wait_us };
	return wait_us;
}
