/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What the tests of the control law share: a group of 1000 MiB with two slots of 500; a case says
 * what the kernel counted in each tick.
 */

#include <stdint.h>

#include "policy/control.h"

#define M (UINT64_C(1) << 20)
#define MIB_PAGES (M / CONTROL_PAGE)
#define B (1000 * M)
#define SHARE (500 * M)
/* No tax and no label goes below this … */
#define LEAST (B / 50)
/* … and changes of less are not written, so protection may stay as much above it. A tax begins
 * with as much. */
#define STEP (B / 200)

extern struct control_group group;
extern struct control_slot a, b;
extern uint64_t now_ns;

void setup(void);
/* @after_ns of the last one. */
void look(uint64_t after_ns);
/* A tick. */
void plan(void);
/* Both have been seen and are quiet. */
void settle(void);

/* What the kernel counts in a tick, before plan(): of a slot that wants back what it lost, 1 % of
 * its pages, */
void count_need(struct control_slot *slot);
/* … and waits for it: a need, however much is taken at the same time; */
void count_wait(struct control_slot *slot);
/* of a scan that turns over @permille of its memory. */
void count_scan(struct control_slot *slot, uint64_t permille);
void make_polluter(struct control_slot *slot);

/* @to takes from @from what it has above its protection. */
void take(struct control_slot *from, struct control_slot *to);
/* A tick in which @a asks, and takes what of @b is exposed. */
void tax(void);
