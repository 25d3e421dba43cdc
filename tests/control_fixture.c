/* SPDX-License-Identifier: Apache-2.0 */

#include "control_fixture.h"

#include <check.h>

#include "base/attr.h"

struct control_group group;
struct control_slot a, b;
uint64_t now_ns;

void setup(void)
{
	group = (struct control_group){ .bytes = B };
	a = (struct control_slot){
		.name = "a", .weight = 100, .share_bytes = SHARE, .max_bytes = BYTES_UNLIMITED
	};
	b = a;
	b.name = "b";
	a.sample.current_bytes = b.sample.current_bytes = SHARE;
	now_ns = UINT64_C(1000000000);
}

void look(uint64_t after_ns)
{
	struct control_slot *slots[] = { &a, &b };

	now_ns += after_ns;
	a.is_fresh = b.is_fresh = true;
	a.sample.cpu_us += 100000;
	b.sample.cpu_us += 100000;
	ck_assert_int_eq(control_plan(&group, slots, 2, now_ns), 0);
}

void plan(void)
{
	look(CONTROL_TICK_NS);
}

void settle(void)
{
	plan();
	plan();
	ck_assert_int_eq(a.track.class, CONTROL_QUIET);
	ck_assert_int_eq(b.track.class, CONTROL_QUIET);
}

void count_need(struct control_slot *slot)
{
	slot->sample.refault_pages += slot->sample.current_bytes / CONTROL_PAGE / 100;
}

void count_wait(struct control_slot *slot)
{
	count_need(slot);
	slot->sample.stall_us += 100000;
}

void count_scan(struct control_slot *slot, uint64_t permille)
{
	uint64_t pages = slot->sample.current_bytes / CONTROL_PAGE * permille / 1000;

	slot->sample.refault_pages += pages;
	slot->sample.steal_pages += pages;
}

void make_polluter(struct control_slot *slot)
{
	settle();
	for (int i = 0; i < 3; i++) {
		count_scan(slot, 400);
		plan();
	}
	ck_assert_int_eq(slot->track.class, CONTROL_POLLUTER);
}

void take(struct control_slot *from, struct control_slot *to)
{
	uint64_t bytes =
		from->sample.current_bytes - MIN(from->sample.current_bytes, from->track.low_bytes);

	from->sample.current_bytes -= bytes;
	from->sample.steal_pages += bytes / CONTROL_PAGE;
	to->sample.current_bytes += bytes;
}

void tax(void)
{
	take(&b, &a);
	count_need(&a);
	plan();
}
