/* SPDX-License-Identifier: Apache-2.0 */

#include "pool_fixture.h"

#define FILE_CHUNKS 32 /* more than any test gives the slot */

struct fake_daemon *fake;
struct tm_slot *slot;

void set_up(uint32_t share)
{
	struct tm_attach_options options = { .size = sizeof(options) };

	fake = fake_daemon_new(FILE_CHUNKS, share);
	options.socket = fake_daemon_get_socket(fake);
	ck_assert_int_eq(tm_slot_attach(&options, &slot), 0);
}

void tear_down(void)
{
	tm_slot_detach(slot);
	ck_assert_uint_eq(fake_daemon_count_present(fake), 0);
	ck_assert_uint_eq(fake_daemon_count_errors(fake), 0);
	fake_daemon_free(fake);
}

struct tm_pool_stats stats(struct tm_pool *pool)
{
	struct tm_pool_stats s = { .size = sizeof(s) };

	ck_assert_int_eq(tm_pool_get_stats(pool, &s), 0);
	return s;
}
