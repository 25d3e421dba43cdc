/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/appetite.h"

#include "base/attr.h"

void appetite_init(struct appetite *appetite)
{
	*appetite =
		(struct appetite){ .need_chunks = APPETITE_ALL, .calm_needed = APPETITE_CALM_MIN };
}

static uint32_t peak(const struct appetite *appetite)
{
	uint32_t n = MIN(appetite->n_samples, (uint32_t)APPETITE_WINDOW), most = 0;

	for (uint32_t i = 0; i < n; i++)
		most = MAX(most, appetite->used[i]);
	return most;
}

/* What is used at most, and a quarter more, for it is seen at moments only. */
static uint32_t with_room(uint32_t used)
{
	uint32_t room = MAX(used / 4, UINT32_C(1));

	return used < APPETITE_ALL - 1 - room ? used + room : APPETITE_ALL - 1;
}

static void be_hungry(struct appetite *appetite)
{
	if (appetite->n_since_cut > 0 && appetite->n_since_cut <= APPETITE_REST)
		appetite->calm_needed = MIN(appetite->calm_needed * 2, (uint32_t)APPETITE_CALM_MAX);
	appetite->n_since_cut = 0;
	appetite->n_since_hunger = 0;
	appetite->n_calm = 0;
	appetite->need_chunks = APPETITE_ALL;
}

static void be_calm(struct appetite *appetite)
{
	uint32_t need = appetite->need_chunks, wanted = with_room(peak(appetite));

	if (wanted >= need) {
		appetite->n_calm = 0;
		appetite->need_chunks = wanted;
		return;
	}
	/* less than an eighth, or a page, is not worth to be moved */
	if (need != APPETITE_ALL && need - wanted <= MAX(need / 8, UINT32_C(1))) {
		appetite->n_calm = 0;
		return;
	}
	if (++appetite->n_calm < appetite->calm_needed)
		return;
	appetite->n_calm = 0;
	appetite->n_since_cut = 1;
	appetite->need_chunks = wanted;
}

bool appetite_observe(struct appetite *appetite, const struct appetite_sample *sample)
{
	uint32_t old = appetite->need_chunks;

	appetite->used[appetite->n_samples++ % APPETITE_WINDOW] = sample->used_chunks;
	if (appetite->n_samples == 2 * APPETITE_WINDOW)
		appetite->n_samples = APPETITE_WINDOW; /* never wraps, and the place is the same */
	appetite->is_hungry = sample->is_hungry;
	if (appetite->n_since_cut > 0)
		appetite->n_since_cut++;
	if (sample->is_hungry) {
		be_hungry(appetite);
	} else {
		be_calm(appetite);
		if (++appetite->n_since_hunger == APPETITE_REST) {
			appetite->n_since_hunger = 0;
			appetite->calm_needed =
				MAX(appetite->calm_needed / 2, (uint32_t)APPETITE_CALM_MIN);
		}
	}
	return appetite->need_chunks != old;
}
