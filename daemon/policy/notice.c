/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The controller moves a slot's protection twice a second, mostly by a little, and usage stays
 * close to it: a task that is told of each move would do nothing else. So a move counts from
 * 1 % on, and crossing usage counts only when it goes past it by a quarter of that: usage that
 * trembles about its target is no news.
 */

#include "policy/notice.h"

#define STEP_LEAST_BYTES (UINT64_C(4) << 20) /* less is a few batches of the kernel's counters */
#define STEP_PART 100
#define SLACK_PART 4

void notice_init(struct notice *n, uint64_t interval_ns)
{
	*n = (struct notice){ .interval_ns = interval_ns };
}

static uint64_t step_bytes(const struct notice *n)
{
	return MAX(n->told_bytes / STEP_PART, STEP_LEAST_BYTES);
}

static bool has_moved(const struct notice *n, uint64_t target_bytes)
{
	uint64_t by = target_bytes > n->told_bytes ? target_bytes - n->told_bytes
						   : n->told_bytes - target_bytes;

	return by > step_bytes(n);
}

/* Was usage on the other side of the target when that was told? */
static bool has_crossed(const struct notice *n, const struct notice_input *in)
{
	uint64_t slack = step_bytes(n) / SLACK_PART;

	if (in->target_bytes == n->told_bytes)
		return false;
	if (n->was_over)
		return in->target_bytes > in->usage_bytes &&
		       in->target_bytes - in->usage_bytes > slack;
	return in->usage_bytes > in->target_bytes && in->usage_bytes - in->target_bytes > slack;
}

static bool is_max_below_usage(const struct notice *n, const struct notice_input *in)
{
	return in->max_bytes < n->told_max_bytes && in->usage_bytes > in->max_bytes;
}

void notice_known(struct notice *n, const struct notice_input *in)
{
	n->told_bytes = in->target_bytes;
	n->told_max_bytes = in->max_bytes;
	n->has_told = true;
	n->was_over = in->usage_bytes > in->target_bytes;
	n->is_pressed = false;
}

static struct notice_decision send(struct notice *n, const struct notice_input *in,
				   enum notice_why why)
{
	struct notice_decision d = {
		.verb = NOTICE_SEND,
		.why = why,
		.before_bytes = n->has_told ? n->told_bytes : 0,
	};

	notice_known(n, in);
	n->has_sent = true;
	n->sent_ns = in->now_ns;
	return d;
}

static struct notice_decision later(uint64_t wake_ns)
{
	return (struct notice_decision){ .verb = NOTICE_LATER, .wake_ns = wake_ns };
}

struct notice_decision notice_step(struct notice *n, const struct notice_input *in)
{
	const struct notice_decision nothing = { .verb = NOTICE_NOTHING };
	bool is_over = in->usage_bytes > in->target_bytes, is_max;
	enum notice_why why = NOTICE_SHARE;

	if (n->has_told && in->max_bytes > n->told_max_bytes)
		n->told_max_bytes = in->max_bytes; /* so that lowering it again is news */
	is_max = n->has_told && is_max_below_usage(n, in);
	n->is_pressed = (n->is_pressed || in->why == NOTICE_PRESSURE) && is_over;
	if (!n->has_told) {
		why = NOTICE_START;
	} else if (n->is_pressed) {
		why = NOTICE_PRESSURE;
	} else if (is_max) {
		why = NOTICE_MAX;
	} else if (!has_moved(n, in->target_bytes) && !has_crossed(n, in)) {
		return nothing;
	} else if (in->target_bytes < n->told_bytes && !is_over) {
		return later(in->now_ns + n->interval_ns); /* nothing to give back yet */
	}
	if (n->has_sent && in->now_ns < n->sent_ns + n->interval_ns)
		return later(n->sent_ns + n->interval_ns);
	return send(n, in, why);
}
