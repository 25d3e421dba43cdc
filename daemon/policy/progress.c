/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The rate is an exponential average whose memory is about 5 s: after 5 s of a new speed two
 * thirds of it are the new one. Until then it is the mean since the start, lest a first sample
 * taken at once stands for seconds. A least-squares line over a ring of samples was no better on
 * the staircases that chunked reclaim makes and needs the ring. Irregular samples are weighted by
 * their length, dt / (dt + 2.5 s).
 */

#include "policy/progress.h"

#include "base/parse.h"

#define NS_PER_S UINT64_C(1000000000)
#define FLAT_NS (5 * NS_PER_S)
#define RATE_MEMORY_S 2.5
#define RATE_LEAST_S 0.2                   /* no word on the rate before */
#define ETA_MAX_NS (100 * 3600 * NS_PER_S) /* beyond that "unknown" is the honest word */
#define TOLERANCE_PERCENT 3
#define TOLERANCE_LEAST (UINT64_C(256) << 10) /* memory.current is exact to 64 pages per CPU */

static uint64_t distance(uint64_t a, uint64_t b)
{
	return a > b ? a - b : b - a;
}

static uint64_t percent_of(uint64_t bytes, unsigned percent)
{
	return MAX(bytes / 100 * percent, TOLERANCE_LEAST);
}

static bool is_growing(const struct progress *p)
{
	return p->to_bytes >= p->from_bytes;
}

static uint64_t left_to_go(const struct progress *p)
{
	if (is_growing(p))
		return p->to_bytes > p->now_bytes ? p->to_bytes - p->now_bytes : 0;
	return p->now_bytes > p->to_bytes ? p->now_bytes - p->to_bytes : 0;
}

static enum progress_phase judge(const struct progress *p)
{
	if (left_to_go(p) <= percent_of(p->to_bytes, TOLERANCE_PERCENT))
		return PROGRESS_REACHED;
	if (p->sampled_ns - p->flat_since_ns >= FLAT_NS)
		return PROGRESS_FLAT;
	return PROGRESS_MOVING;
}

void progress_start(struct progress *p, uint64_t from_bytes, uint64_t to_bytes, uint64_t now_ns)
{
	*p = (struct progress){
		.from_bytes = from_bytes,
		.to_bytes = to_bytes,
		.now_bytes = from_bytes,
		.started_ns = now_ns,
		.sampled_ns = now_ns,
		.flat_bytes = from_bytes,
		.flat_since_ns = now_ns,
	};
	p->phase = judge(p);
}

enum progress_phase progress_sample(struct progress *p, uint64_t now_ns, uint64_t usage_bytes)
{
	if (now_ns > p->sampled_ns) {
		double seconds = (double)(now_ns - p->sampled_ns) / (double)NS_PER_S;
		double moved = (double)usage_bytes - (double)p->now_bytes;
		double rate = (is_growing(p) ? moved : -moved) / seconds;
		double known = (double)(p->sampled_ns - p->started_ns) / (double)NS_PER_S;

		p->rate += (rate - p->rate) * seconds / (seconds + MIN(known, RATE_MEMORY_S));
		p->has_rate = p->has_rate || seconds + known >= RATE_LEAST_S;
		p->sampled_ns = now_ns;
	}
	p->now_bytes = usage_bytes;
	if (distance(usage_bytes, p->flat_bytes) > percent_of(p->to_bytes, 1)) {
		p->flat_bytes = usage_bytes;
		p->flat_since_ns = p->sampled_ns;
	}
	p->phase = judge(p);
	return p->phase;
}

static uint32_t permille_done(const struct progress *p)
{
	uint64_t whole = distance(p->from_bytes, p->to_bytes), left = left_to_go(p);

	if (p->phase == PROGRESS_REACHED || whole == 0)
		return 1000;
	if (left >= whole)
		return 0;
	return (uint32_t)((double)(whole - left) / (double)whole * 1000);
}

static uint64_t eta(const struct progress *p)
{
	double ns;

	if (p->phase == PROGRESS_REACHED)
		return 0;
	if (p->phase == PROGRESS_FLAT || !p->has_rate || p->rate < 1)
		return PROGRESS_ETA_UNKNOWN;
	ns = (double)left_to_go(p) / p->rate * (double)NS_PER_S;
	return ns > (double)ETA_MAX_NS ? PROGRESS_ETA_UNKNOWN : (uint64_t)ns;
}

struct progress_report progress_report(const struct progress *p)
{
	return (struct progress_report){
		.from_bytes = p->from_bytes,
		.to_bytes = p->to_bytes,
		.now_bytes = p->now_bytes,
		.permille = permille_done(p),
		.eta_ns = eta(p),
		.phase = p->phase,
	};
}

const char *progress_note(const struct progress *p)
{
	switch (p->phase) {
	case PROGRESS_REACHED:
		return "";
	case PROGRESS_FLAT:
		return is_growing(p) ? "the slot does not want more now"
				     : "no other slot wants the memory now";
	case PROGRESS_MOVING:
		return is_growing(p) ? "the slot grows as it asks for memory"
				     : "memory goes as other slots ask for it";
	}
	return "";
}
