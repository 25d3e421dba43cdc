/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Freezing a cgroup so that who did it can be told later: this daemon, an earlier one, or somebody
 * else, whose business it stays.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "kern/cgdir.h"
#include "kern/tree.h"

/**
 * freeze_begin() - cgroup.freeze = 1, and a note on the cgroup that it was us
 * @takes_pages: of its pools, before it runs on
 *
 * Returns at once, cgroup.events tells when all stand still. May be called again. Nothing is frozen
 * that could not be noted.
 *
 * Return: CGDIR_OK, CGDIR_BUSY (somebody else has frozen it, nothing was done), CGDIR_GONE,
 *         CGDIR_ABSENT or -errno.
 */
MUST_USE int freeze_begin(struct cgdir *cg, bool takes_pages);
/* cgroup.freeze = 0, whoever set it. As cgdir_write_u64(). */
MUST_USE int freeze_end(struct cgdir *cg);
/* Is it frozen, by us? A note of what is over is taken away. */
bool freeze_is_ours(struct cgdir *cg);

/* If somebody else has frozen @from, whose processes are about to move into @to, so is @to. As
 * cgdir_write_u64(). */
MUST_USE int freeze_follow(struct cgdir *from, struct cgdir *to);

/**
 * freeze_remember() - where to look when this daemon has ended
 *
 * "slots" in $RUNTIME_DIRECTORY becomes a link to the tree's directory. Return: 0, also without that
 * variable, or -errno.
 */
MUST_USE int freeze_remember(const struct tree *tree);
typedef void (*freeze_left_fn)(const char *name, int r, void *userdata);
/**
 * freeze_end_left() - thaws what a daemon that has ended left frozen
 * @told: called for each such slot; @r: CGDIR_OK or why it could not be thawed
 *
 * Needs no configuration, no bus and no controller, only freeze_remember()'s link. Where pages were
 * to be taken it may not use more huge pages than it does now: what was taken stays out of reach.
 *
 * Return: 0, or -errno (-ENXIO: there is no $RUNTIME_DIRECTORY; -ENOENT: nothing was remembered).
 */
MUST_USE int freeze_end_left(freeze_left_fn told, void *userdata);
