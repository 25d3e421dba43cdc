/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Slots that change their node, and what they leave behind. For the manager's files. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/attr.h"
#include "fault.h"
#include "kern/cgdir.h"
#include "manager.h"

struct manager;
struct node_group;
struct slot;

/* ---- manager_place.c */
/* A task is about to start: if the slot is empty, and nobody named its node, it goes to the node
 * that suits it best now. What fails is logged; the slot stays where it is then. */
void slot_place_anew(struct slot *slot);
#define NODE_BEST (-2)
/* The slot's policy as it would be on @node, which may be NODE_BEST. */
MUST_USE enum fault_kind slot_admit_on(struct slot *slot, int node, struct slot_policy *ret_policy,
				       struct fault *ret_fault);

/* Once a second: tells of slots that starve while another node has room for them, and moves them
 * where the configuration allows it. */
void advice_tick(struct manager *manager, uint64_t now_ns);
#define ADVICE_TEXT_MAX ADVICE_VIEW_MAX
/* "has wanted more memory …: tmctl move NAME node=1", or "". Returns @buf. */
const char *slot_advice(const struct slot *slot, char buf[static ADVICE_TEXT_MAX]);

/* ---- manager_move.c */
/**
 * slot_relocate() - give the slot another cgroup, on the node of @policy
 * @policy: the slot's own but for node, is_node_auto and grant_bytes; was admitted
 * @done:   called when nobody is left in the old one, or later than can be waited for, and the new
 *          node is on disk; may be NULL
 *
 * Pages and processes follow off the loop, and so does the state file; what charge stays in the old cgroup is kept in it until it drains, unless the slot was
 * empty. The plan is made anew. There must be no grants.
 *
 * Return: FAULT_NONE; or the fault, then nothing has changed and @done is not called.
 */
MUST_USE enum fault_kind slot_relocate(struct slot *slot, const struct slot_policy *policy,
				       done_fn done, void *userdata, struct fault *ret_fault);

/* As it was with the policy @old, on another node, for the move could not be saved; who asked for
 * it is told so. Return: false if it stays. */
MUST_USE bool slot_move_back(struct slot *slot, const struct slot_policy *old);

/* Those that waited for pages to be moved are made now, unless they have to wait on. */
void manager_resume_joins(struct manager *manager);
/* At the end of the daemon. */
void manager_drop_joins(struct manager *manager);

/* ---- manager_leftover.c */
struct leftover; /* a cgroup that a slot has left, or is leaving */

/* Takes @cg, the cgroup of that name on @node, over on success. Return: 0 or -ENOMEM. */
MUST_USE int leftover_new(struct manager *manager, const char *name, int node, struct cgdir *cg,
			  struct leftover **ret_leftover);
/* Forgets it; the cgroup stays as it is. NULL is fine. */
void leftover_free(struct leftover *leftover);
/* Borrowed; NULL when there is none. @node NODES_MAX: on any of them, with processes in it. */
struct leftover *leftover_find(const struct manager *manager, const char *name, int node);
/* Brings its processes, and their pages, to the slot of its name; again after a restart. */
void leftover_begin(struct leftover *leftover);
/* Nothing of it is worth keeping: to be removed as soon as it is empty. */
void leftover_drop(struct leftover *leftover);
/* @done is called once, at the latest after 45 s if the disk is not slower. */
void leftover_set_done(struct leftover *leftover, done_fn done, void *userdata);
/* It is called now, if it was not. */
void leftover_answer(struct leftover *leftover, enum fault_kind kind, const struct fault *fault);
/* All that restoring has found. */
void leftovers_begin(struct manager *manager);
/* Once a second: what has drained is removed. */
void leftovers_tick(struct manager *manager);
/* At the end of the daemon. */
void leftovers_close(struct manager *manager);
/* The slot is gone: nothing more is kept for it. */
void leftovers_drop(struct manager *manager, const char *name);
/* Also with processes that are still in a cgroup it leaves. */
bool slot_is_populated(const struct slot *slot);
/* All processes of it, wherever they are by now. CGDIR_OK or as cgdir_write_u64(). */
MUST_USE int slot_kill_processes(struct slot *slot);
/* A group's memory.max, with what is charged to it and lies on another node, and the other way
 * round: what lies here counts here. */
uint64_t leftovers_group_max(const struct node_group *group, uint64_t max_bytes);
void leftovers_view(const struct slot *slot, struct slot_view *view);
/* No pages are being moved now; else a process that is put into a cgroup would wait for them. */
bool leftovers_are_still(const struct manager *manager);
