/* SPDX-License-Identifier: Apache-2.0 */
#include "api/call.h"
#include "api/encode.h"

/* Not part of ListSlots: 10000 slots with all their words take most of the 16 MiB that a message may
 * have. */

int api_list_counters(sd_varlink *link, sd_json_variant *parameters,
		      sd_varlink_method_flags_t flags, void *userdata)
{
	sd_json_variant *slots = NULL, *events = NULL;
	struct manager *manager = userdata;
	int r = sd_varlink_dispatch(link, parameters, (const sd_json_dispatch_field[]){ {} }, NULL);

	(void)flags;
	if (r != 0)
		return r;
	r = encode_counters(manager, &slots);
	if (r >= 0)
		r = encode_event_counts(manager_events(manager), &events);
	if (r >= 0)
		r = sd_varlink_replybo(link, SD_JSON_BUILD_PAIR_VARIANT("slots", slots),
				       SD_JSON_BUILD_PAIR_VARIANT("events", events));
	sd_json_variant_unref(slots);
	sd_json_variant_unref(events);
	return r;
}
