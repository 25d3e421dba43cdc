/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Runs the event loop and measures each turn: what one handler takes, for so long everybody else
 * has to wait.
 *
 * What counts is what the daemon itself took: its processor time, or all of the time if it slept
 * in a system call on the way. That another process had the processor meanwhile is nothing the
 * daemon did, and under emulation or on a full machine it would be most of what is seen.
 */

#include <stdint.h>
#include <systemd/sd-event.h>

#include "base/attr.h"

/* Zero-initialised. */
struct turns {
	uint64_t n;
	uint64_t n_over_10ms, n_over_100ms;
	uint64_t longest_ns;
	uint64_t longest_elapsed_ns; /* the longest by the clock, whoever had the processor */
};

/* As sd_event_loop(): until sd_event_exit(). Return: its code, or -errno. */
MUST_USE int turns_loop(sd_event *event, struct turns *turns);
