/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * When the tasks of a slot are told what their memory should come to. Pure: one struct notice
 * for each audience (the tasks that watch, the command of on-resize=), stepped by the caller
 * whenever a number may have changed, as often as it likes:
 *
 *	d = notice_step(&n, &in);
 *	NOTICE_SEND:  tell the audience now; it counts as told
 *	NOTICE_LATER: step again at d.wake_ns, with the numbers of then
 *
 * So what is told is always the newest, and the last change is never lost: it stays due until it
 * is told or taken back.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "model.h"

struct notice_input {
	uint64_t now_ns;
	uint64_t target_bytes; /* what the slot should come to use */
	uint64_t usage_bytes;
	uint64_t max_bytes;  /* BYTES_UNLIMITED: none */
	enum notice_why why; /* NOTICE_PRESSURE: due however little the target moved */
};

enum notice_verb { NOTICE_NOTHING, NOTICE_SEND, NOTICE_LATER };

struct notice_decision {
	enum notice_verb verb;
	uint64_t wake_ns;      /* of NOTICE_LATER */
	enum notice_why why;   /* of NOTICE_SEND, like the next */
	uint64_t before_bytes; /* the target that was told before; 0: none */
};

struct notice {
	uint64_t interval_ns; /* no two of them within this time */
	uint64_t told_bytes, told_max_bytes;
	uint64_t sent_ns;
	bool has_told;   /* told_* hold */
	bool has_sent;   /* sent_ns holds */
	bool was_over;   /* usage was above the target when it was told */
	bool is_pressed; /* NOTICE_PRESSURE came and was not told yet */
};

/* Knows nothing: the first step with an audience tells it NOTICE_START. */
void notice_init(struct notice *n, uint64_t interval_ns);
/* The audience has learnt these numbers in another way. */
void notice_known(struct notice *n, const struct notice_input *in);

/**
 * notice_step() - is it time to tell?
 *
 * Due is a target that moved by more than 1 % and 4 MiB, or less when it crossed usage by a
 * fourth of that, or a memory.max that went below usage. A smaller target is told only while
 * usage is above it (else there is nothing to give back); until then it is looked at again
 * every interval.
 */
MUST_USE struct notice_decision notice_step(struct notice *n, const struct notice_input *in);
