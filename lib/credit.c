/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Flink gives each channel exclusive buffers, which lie there whether it has data or not, and lets
 * channels with a backlog fetch floating ones until there are none, first come, first served: a few
 * whose buffers are not released soon have them all. Here exclusive credits are a number that is
 * left over for others, and nobody gets the last floating ones.
 */

#include "credit.h"

#include "base/attr.h"

static uint32_t count_reserved(const struct credit *credit)
{
	uint64_t all = (uint64_t)credit->n_channels * credit->exclusive;

	return (uint32_t)MIN(all, (uint64_t)credit->n_buffers / 2);
}

uint32_t credit_count_floating(const struct credit *credit)
{
	return credit->n_buffers - count_reserved(credit);
}

bool credit_is_tight(const struct credit *credit, bool was_tight)
{
	uint32_t floating = credit_count_floating(credit);
	uint32_t room = floating - MIN(credit->n_posted, floating);

	/* to count from now on takes a system call or two for each channel, so not back and forth */
	return credit->n_floating > (was_tight ? room / 2 : room);
}

/* How many floating ones more, for one that has @own: half of what it and nobody have, and more
 * only if the others could not even use the rest. */
static uint32_t count_part(const struct credit *credit, uint32_t own)
{
	uint64_t floating = credit_count_floating(credit), all, others, part;

	if (credit->n_floating >= floating)
		return 0; /* the pool may have become smaller */
	all = floating - credit->n_floating + own;
	others = credit->n_usable -
		 MIN(credit->n_usable, (uint64_t)credit->most - credit->exclusive);
	part = MAX(all / 2, all - MIN(all, others));
	return part > own ? (uint32_t)part - own : 0;
}

uint32_t credit_grant(const struct credit *credit, bool is_tight, uint32_t held, uint32_t backlog)
{
	uint32_t lacking, floating, room = held < credit->most ? credit->most - held : 0;

	if (!is_tight)
		return room;
	lacking = held < credit->exclusive ? credit->exclusive - held : 0;
	floating = count_part(credit, held > credit->exclusive ? held - credit->exclusive : 0);
	floating = MIN(floating, backlog > lacking ? backlog - lacking : 0);
	return MIN(lacking + floating, room);
}
