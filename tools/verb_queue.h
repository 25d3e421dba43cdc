/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Waiting in the daemon's queue, for "add --wait". */

#include <stdint.h>
#include <systemd/sd-json.h>
#include <systemd/sd-varlink.h>

#include "base/attr.h"
#include "tmctl.h"

#define QUEUE_WAIT_NO_END UINT64_MAX

/**
 * queue_add() - AddSlot that waits for room
 * @params:    of AddSlot without the fields about waiting; requestId should be there, for with it
 *             a daemon that was restarted knows the slot it made
 * @wait_ns:   give up after so long; QUEUE_WAIT_NO_END
 * @ret_link:  must stay open while *@ret_reply is used
 *
 * A line to standard error whenever place or reason changes. Connects again, with the time it has
 * waited, when the daemon goes away.
 *
 * Return: 0, or the exit status after a sentence on standard error.
 */
MUST_USE int queue_add(const struct options *options, sd_json_variant *params, uint64_t wait_ns,
		       sd_varlink **ret_link, sd_json_variant **ret_reply);
