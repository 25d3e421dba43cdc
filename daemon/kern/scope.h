/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* systemd's side of the tree: the delegated scope, its holder process, its MemoryMin=. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <systemd/sd-event.h>

#include "base/attr.h"

#define SCOPE_UNIT "taskmem-slots.scope"
#define SCOPE_SLICE "taskmem.slice"

/**
 * holder_start() - start the process that keeps the scope alive
 *
 * Runs this program again as "taskmemd --hold" in a session of its own, without open files.
 * When this returns the new program runs. Return: 0 or -errno (also that of the exec).
 */
MUST_USE int holder_start(pid_t *ret_pid);
/* Ends and reaps one that this process started. */
void holder_kill(pid_t pid);

/**
 * scope_create() - have systemd make the scope around @pid
 *
 * Clears away what a scope of that name left behind (a failed unit, one that is just
 * ending). Waits up to a few seconds.
 *
 * Return: 0 or -errno; -EEXIST: a scope of that name is there and does not go away.
 */
MUST_USE int scope_create(pid_t pid);

/* Is somebody stopping the scope? Its tasks may take their time to end. */
bool scope_is_ending(void);
/* Waits for that to be over, 150 s at most: what is put into such a scope ends with it. */
void scope_wait_ended(void);

/* A connection to systemd for the values of the scope. */
struct scope;

MUST_USE int scope_new(struct scope **ret_scope);
/* NULL is fine. */
void scope_free(struct scope *scope);
/* Answers are then taken on the loop; without, they are taken by the next call. */
MUST_USE int scope_attach_event(struct scope *scope, sd_event *event);
/**
 * scope_set_memory_min() - MemoryMin= of the scope and of its slice, until they end
 *
 * Does not wait. Return: 0, or -errno: it could not be sent, or the value before this one was
 * refused.
 */
MUST_USE int scope_set_memory_min(struct scope *scope, uint64_t bytes);
