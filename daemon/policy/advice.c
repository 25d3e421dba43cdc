/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/advice.h"

bool advice_wants_relief(const struct advice *advice)
{
	return advice->is_starving && advice->seen_ns - advice->since_ns >= ADVICE_STARVED_NS;
}

enum advice_verdict advice_step(struct advice *a, bool is_in_need, int relief, uint64_t now_ns)
{
	if (is_in_need) {
		if (!a->is_starving)
			a->since_ns = now_ns;
		a->is_starving = true;
		a->seen_ns = now_ns;
	} else if (a->is_starving && now_ns - a->seen_ns >= ADVICE_RESPITE_NS) {
		a->is_starving = false;
	}
	a->is_advised = advice_wants_relief(a) && relief != NODE_ANY;
	if (!a->is_advised)
		return ADVICE_NONE;
	a->node = relief;
	if (!is_in_need || now_ns < a->quiet_until_ns)
		return ADVICE_NONE;
	a->quiet_until_ns = now_ns + ADVICE_INTERVAL_NS;
	return ADVICE_TELL;
}

void advice_note_moved(struct advice *advice, uint64_t now_ns)
{
	*advice = (struct advice){ .quiet_until_ns = now_ns + ADVICE_INTERVAL_NS };
}
