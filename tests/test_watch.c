/* SPDX-License-Identifier: Apache-2.0 */

/* Notices about the slot's memory: hearing, answering, restarts of the daemon. */

#include <check.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/mono.h"
#include "fake_daemon.h"
#include "suite.h"
#include "taskmem.h"

#define M (UINT64_C(1) << 20)
#define WAIT_NS (10 * NS_PER_SEC)

static struct fake_daemon *fake;
static struct tm_slot *slot;
static struct tm_memory_notice heard; /* last */
static uint32_t n_heard;
static uint64_t report_bytes; /* what the handler answers; UINT64_MAX: nothing */

static void on_memory(struct tm_slot *of, const struct tm_memory_notice *notice, void *userdata)
{
	ck_assert_ptr_eq(of, slot);
	ck_assert_ptr_eq(userdata, &n_heard);
	ck_assert_uint_eq(notice->size, sizeof(*notice));
	heard = *notice;
	n_heard++;
	if (report_bytes != UINT64_MAX)
		ck_assert_int_eq(tm_slot_report_freed(of, report_bytes), 0);
}

static int attach(uint32_t flags)
{
	struct tm_attach_options options = {
		.size = sizeof(options),
		.socket = fake_daemon_get_socket(fake),
		.flags = flags,
	};

	n_heard = 0;
	report_bytes = UINT64_MAX;
	return tm_slot_attach(&options, &slot);
}

static void set_up(uint32_t flags)
{
	fake = fake_daemon_new(16, 4);
	fake_daemon_tell(fake, "share", 100 * M, 50 * M, UINT64_MAX, 0);
	ck_assert_int_eq(attach(flags), 0);
}

static void tear_down(void)
{
	tm_slot_detach(slot);
	ck_assert_uint_eq(fake_daemon_count_errors(fake), 0);
	fake_daemon_free(fake);
}

/* As a task with a loop of its own: poll, dispatch. */
static void run_until_heard(uint32_t n)
{
	struct pollfd pfd = { .fd = tm_slot_fd(slot), .events = POLLIN };
	uint64_t end_ns = mono_now_ns() + WAIT_NS;

	while (n_heard < n) {
		ck_assert_uint_lt(mono_now_ns(), end_ns);
		ck_assert_int_ge(poll(&pfd, 1, 1000), 0);
		ck_assert_int_ge(tm_slot_dispatch(slot), 0);
	}
}

static void run_quiet(void)
{
	struct pollfd pfd = { .fd = tm_slot_fd(slot), .events = POLLIN };

	while (poll(&pfd, 1, 50) > 0)
		ck_assert_int_ge(tm_slot_dispatch(slot), 0);
}

static void run_until_watchers(uint32_t n)
{
	uint64_t end_ns = mono_now_ns() + WAIT_NS;

	while (fake_daemon_count_watchers(fake) != n) {
		ck_assert_uint_lt(mono_now_ns(), end_ns);
		run_quiet();
	}
}

static const uint32_t all_flags[] = { 0, TM_ATTACH_NO_PAGES };

START_TEST(a_task_hears_the_numbers_of_now_and_then_each_change)
{
	set_up(all_flags[_i]);
	ck_assert_int_eq(tm_slot_watch(slot, on_memory, &n_heard), 0);
	run_until_heard(1);
	ck_assert_int_eq(heard.why, TM_NOTICE_START);
	ck_assert_uint_eq(heard.target_bytes, 100 * M);
	ck_assert_uint_eq(heard.usage_bytes, 50 * M);
	ck_assert_uint_eq(heard.max_bytes, UINT64_MAX);
	ck_assert_uint_eq(heard.deadline_ns, 0);

	fake_daemon_tell(fake, "max", 40 * M, 60 * M, 45 * M, 123000);
	run_until_heard(2);
	ck_assert_int_eq(heard.why, TM_NOTICE_MAX);
	ck_assert_uint_eq(heard.target_bytes, 40 * M);
	ck_assert_uint_eq(heard.before_bytes, 7);
	ck_assert_uint_eq(heard.usage_bytes, 60 * M);
	ck_assert_uint_eq(heard.max_bytes, 45 * M);
	ck_assert_uint_eq(heard.deadline_ns, 123000);
	fake_daemon_tell(fake, "pressure", 1, 2, 3, 0);
	run_until_heard(3);
	ck_assert_int_eq(heard.why, TM_NOTICE_PRESSURE);
	/* a later daemon may know more reasons */
	fake_daemon_tell(fake, "moon", 1, 2, 3, 0);
	run_until_heard(4);
	ck_assert_int_eq(heard.why, TM_NOTICE_SHARE);
	run_quiet();
	ck_assert_uint_eq(n_heard, 4);
	tear_down();
}
END_TEST

START_TEST(notices_that_pile_up_are_one_the_newest)
{
	set_up(all_flags[_i]);
	ck_assert_int_eq(tm_slot_watch(slot, on_memory, &n_heard), 0);
	run_until_heard(1);
	for (uint64_t i = 1; i <= 20; i++)
		fake_daemon_tell(fake, "share", i * M, 50 * M, UINT64_MAX, 0);
	do
		run_until_heard(n_heard + 1);
	while (heard.target_bytes != 20 * M);
	ck_assert_uint_le(n_heard, 21);
	run_quiet();
	ck_assert_uint_eq(heard.target_bytes, 20 * M);
	tear_down();
}
END_TEST

START_TEST(an_answer_names_the_notice_it_is_for)
{
	uint64_t bytes, notice;

	set_up(all_flags[_i]);
	report_bytes = 12 * M;
	ck_assert_int_eq(tm_slot_watch(slot, on_memory, &n_heard), 0);
	run_until_heard(1);
	ck_assert(fake_daemon_get_report(fake, &bytes, &notice));
	ck_assert_uint_eq(bytes, 12 * M);
	ck_assert_uint_eq(notice, 1);
	report_bytes = 0;
	fake_daemon_tell(fake, "share", 1 * M, 50 * M, UINT64_MAX, 0);
	run_until_heard(2);
	ck_assert(fake_daemon_get_report(fake, &bytes, &notice));
	ck_assert_uint_eq(bytes, 0);
	ck_assert_uint_eq(notice, 2);
	/* one that has not been told to the handler yet is not answered */
	fake_daemon_tell(fake, "share", 2 * M, 50 * M, UINT64_MAX, 0);
	ck_assert_int_eq(tm_slot_report_freed(slot, 5), 0);
	ck_assert(fake_daemon_get_report(fake, &bytes, &notice));
	ck_assert_uint_eq(bytes, 5);
	ck_assert_uint_eq(notice, 2);
	tear_down();
}
END_TEST

START_TEST(who_does_not_watch_makes_nobody_wait)
{
	struct tm_memory_notice notice = { .size = sizeof(notice) };

	set_up(0);
	ck_assert_uint_eq(fake_daemon_count_watchers(fake), 0);
	ck_assert_int_eq(tm_slot_get_memory(slot, &notice), -ENODATA);
	ck_assert_int_eq(tm_slot_watch(slot, on_memory, &n_heard), 0);
	ck_assert_uint_eq(fake_daemon_count_watchers(fake), 1);
	ck_assert_int_eq(tm_slot_get_memory(slot, &notice), 0);
	ck_assert_uint_eq(notice.target_bytes, 100 * M);
	ck_assert_uint_eq(notice.size, sizeof(notice));
	/* no more, then again */
	ck_assert_int_eq(tm_slot_watch(slot, NULL, NULL), 0);
	run_until_watchers(0);
	ck_assert_uint_eq(n_heard, 0);
	ck_assert_int_eq(tm_slot_watch(slot, on_memory, &n_heard), 0);
	run_until_heard(1);
	run_until_watchers(1);
	tear_down();
}
END_TEST

START_TEST(a_daemon_that_was_restarted_is_found_again)
{
	struct tm_slot_info info = { .size = sizeof(info) };

	set_up(all_flags[_i]);
	ck_assert_int_eq(tm_slot_watch(slot, on_memory, &n_heard), 0);
	run_until_heard(1);
	fake_daemon_stop(fake);
	run_quiet();
	ck_assert_int_eq(tm_slot_get_info(slot, &info), 0);
	ck_assert_int_eq(info.connected, 0);
	ck_assert_int_eq(tm_slot_report_freed(slot, 1), -ENOTCONN);
	fake_daemon_tell(fake, "share", 33 * M, 50 * M, UINT64_MAX, 0);
	fake_daemon_start(fake);
	run_until_heard(2);
	ck_assert_int_eq(heard.why, TM_NOTICE_START);
	ck_assert_uint_eq(heard.target_bytes, 33 * M);
	while (tm_slot_report_freed(slot, 1) == -ENOTCONN)
		run_quiet();
	if (_i == 0) /* the grant has a connection of its own */
		while (tm_slot_get_info(slot, &info) == 0 && !info.connected)
			run_quiet();
	ck_assert_int_eq(tm_slot_get_info(slot, &info), 0);
	ck_assert_int_eq(info.connected, 1);
	tear_down();
}
END_TEST

START_TEST(watching_may_begin_while_the_daemon_is_away)
{
	set_up(0);
	fake_daemon_stop(fake);
	ck_assert_int_eq(tm_slot_watch(slot, on_memory, &n_heard), 0);
	run_quiet();
	ck_assert_uint_eq(n_heard, 0);
	fake_daemon_start(fake);
	run_until_heard(1);
	ck_assert_uint_eq(heard.target_bytes, 100 * M);
	tear_down();
}
END_TEST

START_TEST(an_attachment_without_pages_takes_none)
{
	struct tm_slot_info info = { .size = sizeof(info) };
	struct tm_attach_options bad = { .size = sizeof(bad), .flags = 2 };
	struct tm_pool *pool;

	set_up(TM_ATTACH_NO_PAGES);
	ck_assert_int_eq(tm_slot_get_info(slot, &info), 0);
	ck_assert_str_eq(info.name, "fake");
	ck_assert_int_eq(info.node, 1);
	ck_assert_int_eq(info.connected, 1);
	ck_assert_uint_eq(info.chunks_held, 0);
	ck_assert_uint_eq(fake_daemon_count_present(fake), 0);
	ck_assert_int_eq(tm_pool_open(slot, "p", 4096, 1, 0, &pool), -ENOBUFS);
	ck_assert_uint_eq(fake_daemon_count_grows(fake), 0);
	ck_assert_uint_eq(n_heard, 0);
	tear_down();

	ck_assert_int_eq(tm_slot_attach(&bad, &slot), -EINVAL);
	bad.flags = TM_ATTACH_NO_PAGES;
	bad.max_chunks = 1;
	ck_assert_int_eq(tm_slot_attach(&bad, &slot), -EINVAL);
	bad.max_chunks = 0;
	bad.socket = "/nowhere/socket";
	ck_assert_int_eq(tm_slot_attach(&bad, &slot), -ENOENT);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("watch");
	TCase *tc = tcase_create("watch");

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, a_task_hears_the_numbers_of_now_and_then_each_change, 0, 2);
	tcase_add_loop_test(tc, notices_that_pile_up_are_one_the_newest, 0, 2);
	tcase_add_loop_test(tc, an_answer_names_the_notice_it_is_for, 0, 2);
	tcase_add_test(tc, who_does_not_watch_makes_nobody_wait);
	tcase_add_loop_test(tc, a_daemon_that_was_restarted_is_found_again, 0, 2);
	tcase_add_test(tc, watching_may_begin_while_the_daemon_is_away);
	tcase_add_test(tc, an_attachment_without_pages_takes_none);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
