/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Brings one cgroup's memory.max to a target: policy/shrink.h decides, this reads and writes. */

#include <stdbool.h>
#include <stdint.h>

#include <systemd/sd-event.h>

#include "base/attr.h"
#include "kern/cgdir.h"
#include "kern/writer.h"
#include "policy/shrink.h"

struct limit {
	sd_event *event;
	struct writer *writer;
	struct cgdir *cg; /* borrowed */
	struct shrink shrink;
	struct write_op *op; /* memory.reclaim or memory.high in flight */
	sd_event_source *timer;
	bool has_ended; /* the write in flight has ended since the last step */
	int ended_result;
	/* Told when a target could not be had at once, and when such a one is reached at last. */
	void (*delayed)(struct limit *limit, void *userdata);
	void (*reached)(struct limit *limit, void *userdata);
	void *userdata;
	bool is_delayed;
};

/* @cg outlives the limit. A memory.high that an earlier daemon left as a brake is taken off. */
MUST_USE int limit_init(struct limit *limit, sd_event *event, struct writer *writer,
			struct cgdir *cg);
/* Zero-initialised or initialised; a reclaim in flight ends by itself. */
void limit_deinit(struct limit *limit);

/* cgdir_set_apart() was called for what the kernel's files contain already. */
void limit_adopt(struct limit *limit);

/* @target_bytes: BYTES_UNLIMITED for none. Replaces a target that is pending. @hold_until_ns: no
 * reclaim for it before that time; in the past or 0: at once. */
void limit_set(struct limit *limit, uint64_t target_bytes, uint64_t hold_until_ns, uint64_t now_ns);
/* cgdir_set_apart() was called: brings the kernel's files to the same target again. */
void limit_follow(struct limit *limit, uint64_t now_ns);
/* The wait for @hold_until_ns, if there is one, is over now. */
void limit_end_hold(struct limit *limit, uint64_t now_ns);

/* Has somebody else written memory.max or memory.high? Then it is brought back, as to any target, and
 * *@ret_file and *@ret_seen tell what was there. Nothing is looked at while a change is pending. */
bool limit_verify(struct limit *limit, uint64_t now_ns, enum cgdir_file *ret_file,
		  uint64_t *ret_seen);

/* What reclaim cannot take from @cg now, as the note of a shrink that does not get on counts it.
 * Return: enum cgdir_cond or -errno; @ret_bytes is left alone but for CGDIR_OK. */
MUST_USE int limit_read_stuck(struct cgdir *cg, uint64_t *ret_bytes);
