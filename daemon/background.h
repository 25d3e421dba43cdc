/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Work that waits for a disk, in a thread of its own beside the event loop. It shares nothing with
 * the loop: what it needs is a copy.
 */

#include <systemd/sd-event.h>

#include "base/attr.h"

struct background;

/* In the thread. Return: what the other end is told. */
typedef int (*background_work_fn)(void *userdata);
/* On the loop, when the thread has ended. */
typedef void (*background_done_fn)(int result, void *userdata);

/* Return: 0 or -errno; then nothing was called. */
MUST_USE int background_start(sd_event *event, background_work_fn work, background_done_fn done,
			      void *userdata, struct background **ret_background);
/* Waits for the end instead, which @done is not told of. Return: the work's result. */
MUST_USE int background_wait(struct background *background);
