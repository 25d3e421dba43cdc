/* SPDX-License-Identifier: Apache-2.0 */

/* Pages that the daemon takes by force: deadlines, and what becomes of their buffers. */

#include <check.h>
#include <poll.h>
#include <unistd.h>

#include "base/mono.h"
#include "fake_daemon.h"
#include "suite.h"
#include "taskmem.h"

#define SIZE ((size_t)64 << 10) /* 32 buffers in a chunk */
#define PER_CHUNK 32
#define SHARE 4
#define ALL (SHARE * PER_CHUNK)
#define WAIT_NS (10 * NS_PER_SEC)

static struct fake_daemon *fake;
static struct tm_slot *slot;
static struct tm_pool *pool;
static struct tm_buffer *held[ALL];
static uint32_t n_calls, last_old, last_new;

static void on_resize(struct tm_slot *s, uint32_t old_chunks, uint32_t new_chunks, void *userdata)
{
	(void)s;
	(void)userdata;
	n_calls++;
	last_old = old_chunks;
	last_new = new_chunks;
}

static void set_up(void)
{
	struct tm_attach_options options = { .size = sizeof(options) };

	fake = fake_daemon_new(16, SHARE);
	options.socket = fake_daemon_get_socket(fake);
	ck_assert_int_eq(tm_slot_attach(&options, &slot), 0);
	ck_assert_int_eq(tm_pool_open(slot, "test", SIZE, PER_CHUNK, 0, &pool), 0);
	tm_slot_set_resize_handler(slot, on_resize, NULL);
	n_calls = 0;
}

static void tear_down(void)
{
	ck_assert_int_eq(tm_pool_close(pool), 0);
	tm_slot_detach(slot);
	ck_assert_uint_eq(fake_daemon_count_present(fake), 0);
	ck_assert_uint_eq(fake_daemon_count_errors(fake), 0);
	fake_daemon_free(fake);
}

static struct tm_slot_info info(void)
{
	struct tm_slot_info i = { .size = sizeof(i) };

	ck_assert_int_eq(tm_slot_get_info(slot, &i), 0);
	return i;
}

static bool has_revoked(uint32_t n)
{
	return info().chunks_revoked == n;
}

static bool is_held(uint32_t n)
{
	return info().chunks_held == n;
}

static bool is_target(uint32_t n)
{
	return info().chunks_target == n;
}

static bool is_acknowledged(uint32_t n)
{
	return fake_daemon_count_revoked(fake) == n;
}

static bool is_draining_told(uint32_t n)
{
	return fake_daemon_count_draining(fake) == n;
}

static bool is_connected(uint32_t n)
{
	return info().connected == (int)n;
}

static bool has_deadline(uint32_t n)
{
	return info().return_by_ns == n;
}

static void dispatch_until(bool (*claim)(uint32_t), uint32_t n)
{
	uint64_t end_ns = mono_now_ns() + WAIT_NS;
	struct pollfd pfd = { .fd = tm_slot_fd(slot), .events = POLLIN };

	while (!claim(n)) {
		ck_assert_uint_lt(mono_now_ns(), end_ns);
		ck_assert_int_ge(poll(&pfd, 1, 100), 0);
		ck_assert_int_ge(tm_slot_dispatch(slot), 0);
	}
}

/* As many as there are, each written to. */
static uint32_t take_all(void)
{
	uint32_t n = 0;

	while (n < ALL && tm_pool_acquire_wait(pool, 100 * NS_PER_MSEC, &held[n]) == 0)
		*(char *)held[n++]->data = 1;
	return n;
}

static void release(uint32_t from, uint32_t to)
{
	for (uint32_t i = from; i < to; i++)
		tm_buffer_release(held[i]);
}

START_TEST(a_deadline_is_told_once_and_is_gone_with_the_debt)
{
	set_up();
	ck_assert_uint_eq(take_all(), ALL);
	fake_daemon_set_share(fake, 2);
	dispatch_until(is_target, 2);
	ck_assert_uint_eq(info().return_by_ns, 0);
	ck_assert_uint_eq(n_calls, 1);
	fake_daemon_set_deadline(fake, 5000);
	dispatch_until(has_deadline, 5000);
	ck_assert_uint_eq(n_calls, 2);
	ck_assert_uint_eq(last_old, 2);
	ck_assert_uint_eq(last_new, 2);
	release(0, ALL);
	dispatch_until(is_held, 2);
	ck_assert_uint_eq(info().return_by_ns, 0);
	tear_down();
}
END_TEST

START_TEST(what_drains_is_told_and_goes_first)
{
	set_up();
	ck_assert_uint_eq(take_all(), ALL);
	release(0, PER_CHUNK / 2); /* of one chunk: that is the emptiest */
	fake_daemon_set_share(fake, 3);
	dispatch_until(is_draining_told, 1);
	fake_daemon_revoke(fake, 1);
	dispatch_until(has_revoked, 1);
	/* none of those that are left is touched by what was taken */
	for (uint32_t i = PER_CHUNK; i < ALL; i++)
		*(char *)held[i]->data = 2;
	ck_assert_uint_eq(fake_daemon_count_backed(fake), 3);
	release(PER_CHUNK / 2, ALL);
	dispatch_until(is_acknowledged, 0);
	tear_down();
}
END_TEST

START_TEST(buffers_of_revoked_pages_are_not_handed_out_again)
{
	uint32_t n;

	set_up();
	release(0, take_all());
	/* idle in this thread's magazine, and the task knows nothing of a smaller share */
	fake_daemon_set_share(fake, 2);
	fake_daemon_revoke(fake, 2);
	while (!is_acknowledged(2))
		usleep(1000);
	dispatch_until(is_held, 2);
	dispatch_until(is_acknowledged, 0);
	n = take_all();
	ck_assert_uint_eq(n, 2 * PER_CHUNK);
	ck_assert_uint_eq(fake_daemon_count_backed(fake), 2);
	release(0, n);
	tear_down();
}
END_TEST

START_TEST(a_buffer_of_a_revoked_page_is_released_safely_and_then_its_index_is_free)
{
	set_up();
	ck_assert_uint_eq(take_all(), ALL);
	fake_daemon_set_share(fake, 2);
	dispatch_until(is_target, 2);
	n_calls = 0;
	fake_daemon_revoke(fake, 2);
	dispatch_until(has_revoked, 2);
	ck_assert_uint_eq(n_calls, 1);
	ck_assert_uint_eq(info().chunks_held, 2);
	ck_assert_uint_eq(info().chunks_draining, 0);
	ck_assert_uint_eq(fake_daemon_count_revoked(fake), 2);
	release(0, ALL);
	/* also with checks of a debug build nothing was written there */
	ck_assert_uint_eq(fake_daemon_count_backed(fake), 2);
	dispatch_until(is_acknowledged, 0);
	ck_assert_uint_eq(info().chunks_revoked, 0);
	ck_assert_uint_eq(info().chunks_held, 2);
	fake_daemon_set_share(fake, SHARE);
	dispatch_until(is_target, SHARE);
	ck_assert_uint_eq(take_all(), ALL);
	release(0, ALL);
	tear_down();
}
END_TEST

START_TEST(pages_in_no_pool_are_acknowledged_at_once)
{
	set_up();
	/* one page is the pool's, three are nobody's */
	fake_daemon_stop(fake);
	dispatch_until(is_connected, 0);
	fake_daemon_set_share(fake, 1);
	fake_daemon_revoke(fake, 3);
	fake_daemon_start(fake);
	dispatch_until(is_connected, 1);
	dispatch_until(is_acknowledged, 0);
	dispatch_until(is_held, 1);
	ck_assert_uint_eq(take_all(), PER_CHUNK);
	ck_assert_uint_eq(fake_daemon_count_backed(fake), 1);
	release(0, PER_CHUNK);
	tear_down();
}
END_TEST

START_TEST(what_was_taken_while_the_daemon_is_away_is_learnt_afterwards)
{
	set_up();
	ck_assert_uint_eq(take_all(), ALL);
	fake_daemon_stop(fake);
	dispatch_until(is_connected, 0);
	fake_daemon_set_share(fake, 1);
	fake_daemon_revoke(fake, 3);
	fake_daemon_start(fake);
	dispatch_until(has_revoked, 3);
	ck_assert_uint_eq(info().chunks_held, 1);
	release(0, ALL);
	dispatch_until(is_acknowledged, 0);
	ck_assert_uint_eq(take_all(), PER_CHUNK);
	release(0, PER_CHUNK);
	tear_down();
}
END_TEST

START_TEST(a_pool_is_closed_with_revoked_pages_in_it)
{
	set_up();
	ck_assert_uint_eq(take_all(), ALL);
	fake_daemon_set_share(fake, 2);
	fake_daemon_revoke(fake, 2);
	dispatch_until(has_revoked, 2);
	release(0, ALL);
	ck_assert_int_eq(tm_pool_close(pool), 0);
	dispatch_until(is_acknowledged, 0);
	ck_assert_int_eq(tm_pool_open(slot, "test", SIZE, PER_CHUNK, 0, &pool), 0);
	tear_down();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("revoked");
	TCase *c = tcase_create("revoked");

	tcase_set_timeout(c, 60);
	tcase_add_test(c, a_deadline_is_told_once_and_is_gone_with_the_debt);
	tcase_add_test(c, what_drains_is_told_and_goes_first);
	tcase_add_test(c, buffers_of_revoked_pages_are_not_handed_out_again);
	tcase_add_test(c, a_buffer_of_a_revoked_page_is_released_safely_and_then_its_index_is_free);
	tcase_add_test(c, pages_in_no_pool_are_acknowledged_at_once);
	tcase_add_test(c, what_was_taken_while_the_daemon_is_away_is_learnt_afterwards);
	tcase_add_test(c, a_pool_is_closed_with_revoked_pages_in_it);
	suite_add_tcase(suite, c);
	return suite_run(suite);
}
