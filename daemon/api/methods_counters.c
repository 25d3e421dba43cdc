/* SPDX-License-Identifier: Apache-2.0 */
#include "api/call.h"
#include "api/encode.h"

/* Not part of ListSlots: 10000 slots with all their words take most of the 16 MiB that a message may
 * have. */

int api_list_counters(struct call *call)
{
	sd_json_variant *slots = NULL, *events = NULL;
	int r = call_read(call, (const sd_json_dispatch_field[]){ {} }, NULL);

	if (r <= 0)
		return r;
	r = encode_counters(call->manager, &slots);
	if (r >= 0)
		r = encode_event_counts(manager_events(call->manager), &events);
	if (r >= 0)
		r = sd_varlink_replybo(call->link, SD_JSON_BUILD_PAIR_VARIANT("slots", slots),
				       SD_JSON_BUILD_PAIR_VARIANT("events", events));
	sd_json_variant_unref(slots);
	sd_json_variant_unref(events);
	return r;
}
