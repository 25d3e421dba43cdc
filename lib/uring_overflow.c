/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A completion queue that is too small.
 *
 * The kernel keeps what does not fit and hands it over when it is entered again (FEAT_NODROP), so
 * nothing is lost or out of order. But each such completion is an allocation, and ends a
 * multishot receive, which must be armed again. How many come at a time is not known beforehand:
 * a buffer of 32 KiB can hold 500 messages, each with a completion. So a queue that overflows again
 * and again becomes twice as large, where the kernel can do that (6.13); elsewhere it goes on.
 *
 * Tried on 6.18: what is in the queue, and in the kernel behind it, comes over in order. Requests that
 * were not submitted yet do not: they are lost without a word, hence the submit. A ring with
 * IORING_SETUP_TASKRUN_FLAG or an eventfd must not be resized while requests are under way, for
 * kernels before 2026 may write to the memory of the old one then; ours has neither.
 */

#include <errno.h>

#include "base/mono.h"
#include "uring.h"

#define OFTEN 4              /* turns with an overflow, */
#define OFTEN_NS NS_PER_SEC  /* within such a time */
#define CQ_ENTRIES_MAX 65536 /* the kernel's own limit */

static bool is_often(struct uring *u)
{
	uint64_t now_ns = mono_now_ns();

	if (now_ns > u->overflow_since_ns + OFTEN_NS) {
		u->overflow_since_ns = now_ns;
		u->n_overflows = 0;
	}
	return ++u->n_overflows >= OFTEN;
}

int uring_look_at_overflow(struct uring *u)
{
	struct io_uring_params params = {
		.flags = IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP,
		.sq_entries = u->ring.sq.ring_entries,
		.cq_entries = 2 * u->ring.cq.ring_entries,
	};
	int r;

	if (!io_uring_cq_has_overflow(&u->ring) || !u->can.has_resize || !is_often(u) ||
	    params.cq_entries > CQ_ENTRIES_MAX)
		return 0;
	u->n_overflows = 0;
	if (io_uring_submit(&u->ring) < 0 || io_uring_sq_ready(&u->ring) > 0)
		return 0; /* the next time */
	r = io_uring_resize_rings(&u->ring, &params);
	/* an old kernel, or a ring without DEFER_TASKRUN */
	if (r == -EINVAL)
		u->can.has_resize = false;
	/* else no memory, which is no reason to stop; unless the kernel has the new one already and
	 * it could not be mapped: liburing has unmapped the old one by then */
	if (r < 0 && !u->ring.cq.khead) {
		u->ring.sq = (struct io_uring_sq){};
		u->ring.cq = (struct io_uring_cq){};
		u->is_broken = true;
		return r;
	}
	return 0;
}
