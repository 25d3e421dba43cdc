/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/control.h"

#include <stdio.h>

#include "base/parse.h"

/* The class in words, with the numbers that made it. */
static int explain_class(const struct control_slot *slot, char *buf, size_t size)
{
	const struct control_track *track = &slot->track;
	uint64_t turned = track->turnover_pages * CONTROL_PAGE;
	char a[FORMAT_BYTES_MAX], b[FORMAT_BYTES_MAX];

	switch (track->class) {
	case CONTROL_NEW:
		return snprintf(buf, size, "nothing is known of it yet");
	case CONTROL_EVIDENCE:
		return snprintf(buf, size,
				"it needs memory: %s/s of its own pages came back, it waited %u.%u "
				"%% of the time",
				format_bytes((uint64_t)(2 * track->mean_refault) * CONTROL_PAGE, a),
				track->stall_permille / 10, track->stall_permille % 10);
	case CONTROL_SUSPECT:
		return snprintf(
			buf, size,
			"it asks for memory, but of %s turned over since it was last judged "
			"it used nothing again (a scan?)",
			format_bytes(turned, a));
	case CONTROL_POLLUTER:
		return snprintf(
			buf, size,
			"it turned over all of its memory and used nothing of it again: a "
			"scan; next test in %llu s or when it stops",
			(unsigned long long)(track->retest_ns > track->sampled_ns
						     ? (track->retest_ns - track->sampled_ns) /
							       1000000000
						     : 0));
	case CONTROL_IDLE:
		return snprintf(buf, size, "it does nothing");
	case CONTROL_QUIET:
	case CONTROL_CLASSES:
		break;
	}
	return snprintf(buf, size, "it uses %s of its share of %s and shows no need of more",
			format_bytes(slot->sample.current_bytes, a),
			format_bytes(slot->share_bytes, b));
}

/* Why its protection is what it is. */
static void explain_low(const struct control_group *group, const struct control_slot *slot,
			char *buf, size_t size)
{
	const struct control_track *track = &slot->track;
	char low[FORMAT_BYTES_MAX], share[FORMAT_BYTES_MAX];

	(void)format_bytes(slot->low_bytes, low);
	(void)format_bytes(slot->share_bytes, share);
	if (slot->mode == SLOT_OFF)
		(void)snprintf(buf, size, "; mode off: protected at its share of %s", share);
	else if (slot->low_bytes > slot->share_bytes)
		(void)snprintf(buf, size, "; protected at %s, above its share of %s: %s", low,
			       share,
			       track->class == CONTROL_EVIDENCE ? "others do not use all of theirs"
								: "a scan is pushed out");
	else if (track->class == CONTROL_POLLUTER || track->class == CONTROL_SUSPECT)
		(void)snprintf(buf, size,
			       "; protected at %s until it is seen to use its memory again", low);
	else if (slot->low_bytes + CONTROL_PAGE <= slot->share_bytes && track->floor_bytes > 0)
		(void)snprintf(buf, size,
			       "; lends to %u in need and is protected at %s, not less: it needed "
			       "that before",
			       group->n_evidence, low);
	else if (slot->low_bytes + CONTROL_PAGE <= slot->share_bytes)
		(void)snprintf(buf, size,
			       "; lends what it does not need: protected at %s of its share of %s",
			       low, share);
	else
		(void)snprintf(buf, size, "; protected at its share of %s", share);
}

const char *control_explain(const struct control_group *group, const struct control_slot *slot,
			    uint64_t now_ns, char buf[static CONTROL_REASON_MAX])
{
	int n = explain_class(slot, buf, CONTROL_REASON_MAX);

	(void)now_ns;
	if (n >= 0 && n < CONTROL_REASON_MAX)
		explain_low(group, slot, buf + n, CONTROL_REASON_MAX - (size_t)n);
	return buf;
}
