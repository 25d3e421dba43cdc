/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the tests of pools share: a slot of a fake daemon, and the check that all came back. */

#include <check.h>
#include <stdint.h>

#include "fake_daemon.h"
#include "taskmem.h"

extern struct fake_daemon *fake;
extern struct tm_slot *slot;

/* A slot that may have @share chunks, attached. */
void set_up(uint32_t share);
/* Frees both, and checks that every chunk came back and no call was wrong. */
void tear_down(void);
struct tm_pool_stats stats(struct tm_pool *pool);
