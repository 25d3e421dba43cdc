/* SPDX-License-Identifier: Apache-2.0 */

/*
 * First come, first served alone would leave memory idle behind one big request; first fit alone
 * would never serve it. So first fit, with a count: cheap, no reservation to be kept up to date
 * (nobody knows when a running slot ends), and the bound is plain to see.
 */

#include "policy/queue.h"

#include "base/attr.h"

bool queue_is_before(const struct queue_entry *a, const struct queue_entry *b)
{
	if (a->tier != b->tier)
		return a->tier < b->tier;
	if (a->since_ns != b->since_ns)
		return a->since_ns < b->since_ns;
	return a->sequence < b->sequence;
}

static bool is_turn_over(const struct queue_entry *entry, uint64_t now_ns)
{
	return entry->slot != 0 && entry->n_passed > 0 && now_ns >= entry->due_ns &&
	       now_ns - entry->due_ns >= QUEUE_TURN_NS;
}

bool queue_is_due(const struct queue_entry *entry, uint64_t now_ns)
{
	return entry->n_passed > 0 && now_ns >= entry->due_ns && !is_turn_over(entry, now_ns);
}

uint64_t queue_closed_nodes(struct queue_entry *const *entries, size_t n,
			    const struct queue_entry *entry, uint64_t now_ns)
{
	uint64_t closed = 0;

	for (size_t i = 0; i < n; i++)
		if (queue_is_before(entries[i], entry) && queue_is_due(entries[i], now_ns))
			closed |= entries[i]->nodes;
	return closed;
}

/* Is it the first that waits for its slot? The others' time has not come. */
static bool is_counted(struct queue_entry *const *entries, size_t n,
		       const struct queue_entry *entry)
{
	for (size_t i = 0; entry->slot != 0 && i < n; i++)
		if (entries[i]->slot == entry->slot && queue_is_before(entries[i], entry))
			return false;
	return true;
}

void queue_note_served(struct queue_entry *const *entries, size_t n,
		       const struct queue_entry *entry, uint64_t taken_nodes, uint64_t now_ns)
{
	for (size_t i = 0; i < n; i++) {
		struct queue_entry *other = entries[i];

		if (!(other->nodes & taken_nodes) || !queue_is_before(other, entry) ||
		    !is_counted(entries, n, other))
			continue;
		if (is_turn_over(other, now_ns))
			other->n_passed = 0;
		if (other->n_passed++ == 0)
			other->due_ns = now_ns + QUEUE_PASS_NS;
		if (other->n_passed == QUEUE_PASSES_MAX)
			other->due_ns = MIN(other->due_ns, now_ns);
	}
}

size_t queue_next(struct queue_entry *const *entries, size_t n, uint64_t now_ns, size_t *pass,
		  queue_fit_fn fit, void *userdata, uint64_t *ret_taken_nodes)
{
	uint64_t closed = 0;

	for (size_t i = 0; i < n; i++) {
		enum queue_fit r = QUEUE_DOES_NOT_FIT;

		if (i >= *pass)
			r = fit(i, closed, ret_taken_nodes, userdata);
		if (r != QUEUE_DOES_NOT_FIT) {
			*pass = i;
			return r == QUEUE_FITS ? i : QUEUE_INTERRUPTED;
		}
		if (queue_is_due(entries[i], now_ns))
			closed |= entries[i]->nodes;
	}
	*pass = 0;
	return QUEUE_NOBODY;
}

bool queue_tell(size_t n, size_t *next, queue_tell_fn tell, void *userdata)
{
	for (size_t asked = 0; asked < n; asked++) {
		if (*next >= n)
			*next = 0;
		if (!tell(*next, userdata))
			return false;
		++*next;
	}
	return true;
}
