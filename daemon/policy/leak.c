/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A leak is memory that is taken steadily and never looked at again. Four signs, all needed, over
 * six buckets of 5 s:
 *
 * - Growth in every bucket, and none grows less than a quarter of the mean. memory.stat may be 2 s
 *   old (6.12 flushes it that often), so a steady rate shows as 60 to 140 % of itself in a bucket;
 *   a table that doubles, a batch, a burst has buckets without growth.
 * - It does not slow down: the last two buckets grow at least 2/3 of the first two. What fills up
 *   (a cache, a table whose keys begin to repeat) slows down long before it ends.
 * - New ground: it is higher than where it once fell from. A collected heap climbs to the same
 *   height again and again. (Its very first climb, if it takes more than 30 s, does look like
 *   a leak; so does a table that is filled at a constant rate for so long, while nothing of it is
 *   swapped out. Neither matters before memory is short, and then reuse tells them apart.)
 * - No reuse: what was swapped out and came back, or was found in use by reclaim, is less than
 *   1/16 of the growth. Of memory that is used at random as much comes back as goes, so the gap
 *   is wide; a program that leaks beside a working set of its own may be disturbed a little.
 *   Without swap, or before memory is short, there is nothing to see here and the sign holds.
 *
 * It is over when the slot falls by a tenth, when what it has is used after all, or when it stands
 * still for two buckets though nothing holds it back. A slot that is frozen or cannot get memory
 * stands still, too: such buckets are left out.
 */

#include "policy/leak.h"

#include <string.h>

#include "base/parse.h"

#define PAGE_BYTES UINT64_C(4096)
#define KIB UINT64_C(1024)
#define NS_PER_S UINT64_C(1000000000)
/* Below this a leak takes hours to matter, and the staleness of memory.stat is as large. */
#define RATE_LEAST (64 * KIB)
#define FALL_LEAST (1024 * KIB) /* a fall by less is noise, whatever part of the slot it is */
#define REUSE_PART 16           /* see above */
#define STILL_PART 8            /* of the rate it had: less than that is standing still */
#define STILL_BUCKETS 2
#define RECENT_NS (900 * NS_PER_S / 1000) /* between the samples that leak_growth() keeps */

static uint64_t rate_of(int64_t bytes, uint64_t span_ns)
{
	if (bytes <= 0 || span_ns == 0)
		return 0;
	return (uint64_t)((double)bytes * (double)NS_PER_S / (double)span_ns);
}

static void bucket_start(struct leak *leak, const struct leak_sample *s)
{
	leak->now = (struct leak_bucket){
		.start_ns = s->now_ns,
		.start_bytes = s->bytes,
		.start_reuse = s->reuse_pages,
	};
	leak->is_hindered = s->is_held_back;
}

static void forget(struct leak *leak, const struct leak_sample *s)
{
	leak->n_past = 0;
	bucket_start(leak, s);
}

static void bucket_keep(struct leak *leak, const struct leak_sample *s)
{
	struct leak_bucket b = leak->now;

	b.span_ns = s->now_ns - b.start_ns;
	b.grown_bytes = (int64_t)(s->bytes - b.start_bytes);
	/* counters begin anew when a slot of the same name does */
	b.reused_bytes =
		s->reuse_pages > b.start_reuse ? (s->reuse_pages - b.start_reuse) * PAGE_BYTES : 0;
	if (leak->n_past == LEAK_BUCKETS)
		memmove(leak->past, leak->past + 1, (LEAK_BUCKETS - 1) * sizeof(*leak->past));
	else
		leak->n_past++;
	leak->past[leak->n_past - 1] = b;
}

/* Growth and reuse of past[@from] to past[@to - 1]. */
static void sum(const struct leak *leak, uint32_t from, uint32_t to, int64_t *ret_grown,
		uint64_t *ret_span_ns, uint64_t *ret_reused)
{
	*ret_grown = 0;
	*ret_span_ns = *ret_reused = 0;
	for (uint32_t i = from; i < to; i++) {
		*ret_grown += leak->past[i].grown_bytes;
		*ret_span_ns += leak->past[i].span_ns;
		*ret_reused += leak->past[i].reused_bytes;
	}
}

static bool is_unused(int64_t grown, uint64_t reused)
{
	return grown > 0 && reused <= (uint64_t)grown / REUSE_PART;
}

/* All four signs; *@ret_rate when they hold. */
static bool shows_leak(const struct leak *leak, const struct leak_sample *s, uint64_t *ret_rate)
{
	uint64_t span, reused, mean, first, last, ignored;
	int64_t grown, part;

	if (leak->n_past < LEAK_BUCKETS)
		return false;
	sum(leak, 0, LEAK_BUCKETS, &grown, &span, &reused);
	mean = rate_of(grown, span);
	if (mean < RATE_LEAST || !is_unused(grown, reused))
		return false;
	for (uint32_t i = 0; i < LEAK_BUCKETS; i++)
		if (rate_of(leak->past[i].grown_bytes, leak->past[i].span_ns) < mean / 4)
			return false;
	sum(leak, 0, 2, &part, &span, &ignored);
	first = rate_of(part, span);
	sum(leak, LEAK_BUCKETS - 2, LEAK_BUCKETS, &part, &span, &ignored);
	last = rate_of(part, span);
	if (last < first / 3 * 2 || s->bytes <= leak->old_top_bytes + leak->old_top_bytes / 10)
		return false;
	*ret_rate = mean;
	return true;
}

/* Stands still, or uses what it has. */
static bool shows_end(const struct leak *leak)
{
	uint64_t span, reused;
	int64_t grown;

	if (leak->n_past < STILL_BUCKETS)
		return false;
	sum(leak, leak->n_past - STILL_BUCKETS, leak->n_past, &grown, &span, &reused);
	return rate_of(grown, span) < leak->rate / STILL_PART || !is_unused(grown, reused);
}

/* A tenth below its top: it gives memory back, and is no leak until it is higher than ever. */
static bool has_fallen(struct leak *leak, const struct leak_sample *s)
{
	if (s->bytes >= leak->top_bytes) {
		leak->top_bytes = s->bytes;
		/* well above the old height: what it holds now was never given back */
		if (s->bytes > leak->old_top_bytes + leak->old_top_bytes / 4)
			leak->old_top_bytes = 0;
		return false;
	}
	if (leak->top_bytes - s->bytes < MAX(leak->top_bytes / 10, FALL_LEAST))
		return false;
	leak->old_top_bytes = MAX(leak->old_top_bytes, leak->top_bytes);
	leak->top_bytes = s->bytes;
	return true;
}

bool leak_has_let_go(const struct leak *leak, uint64_t bytes)
{
	/* the old top, too: the fall may have been seen while the process was about to end */
	return bytes < MAX(leak->top_bytes, leak->old_top_bytes) / 8;
}

static void recent_add(struct leak *leak, const struct leak_sample *s)
{
	uint32_t n = leak->n_recent;

	if (n >= 2 && s->now_ns - leak->recent_ns[n - 2] < RECENT_NS) {
		n--; /* the last one is too near to be kept: the new one takes its place */
	} else if (n == LEAK_RECENT) {
		memmove(leak->recent_ns, leak->recent_ns + 1, (n - 1) * sizeof(uint64_t));
		memmove(leak->recent_bytes, leak->recent_bytes + 1, (n - 1) * sizeof(uint64_t));
		n--;
	}
	leak->recent_ns[n] = s->now_ns;
	leak->recent_bytes[n] = s->bytes;
	leak->n_recent = n + 1;
}

int64_t leak_growth(const struct leak *leak)
{
	uint32_t last = leak->n_recent - 1;
	uint64_t span_ns;

	if (leak->n_recent < 2)
		return 0;
	span_ns = leak->recent_ns[last] - leak->recent_ns[0];
	if (span_ns < RECENT_NS)
		return 0;
	return (int64_t)((double)(int64_t)(leak->recent_bytes[last] - leak->recent_bytes[0]) *
			 (double)NS_PER_S / (double)span_ns);
}

bool leak_add(struct leak *leak, const struct leak_sample *s)
{
	uint64_t rate;

	if (!leak->has_sample) {
		leak->has_sample = true;
		leak->top_bytes = s->bytes;
		bucket_start(leak, s);
		recent_add(leak, s);
		return false;
	}
	if (s->now_ns <= leak->recent_ns[leak->n_recent - 1])
		return leak->is_leaking;
	recent_add(leak, s);
	if (has_fallen(leak, s)) {
		leak->is_leaking = false;
		forget(leak, s);
		return false;
	}
	leak->is_hindered |= s->is_held_back;
	if (s->now_ns - leak->now.start_ns < LEAK_BUCKET_NS)
		return leak->is_leaking;

	/* Growth against resistance is growth; standing still against it is nothing. */
	if (!leak->is_hindered || s->bytes > leak->now.start_bytes + FALL_LEAST)
		bucket_keep(leak, s);
	bucket_start(leak, s);
	if (shows_leak(leak, s, &rate)) {
		if (!leak->is_leaking)
			leak->since_ns = leak->past[0].start_ns;
		leak->is_leaking = true;
		leak->rate = rate;
	} else if (leak->is_leaking && shows_end(leak)) {
		leak->is_leaking = false;
	}
	return leak->is_leaking;
}
