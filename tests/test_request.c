/* SPDX-License-Identifier: Apache-2.0 */

/* A task asks for more memory: the library's side of it. */

#include <check.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "base/mono.h"
#include "fake_daemon.h"
#include "suite.h"
#include "taskmem.h"

#define M (UINT64_C(1) << 20)
#define WAIT_NS (10 * NS_PER_SEC)

static struct fake_daemon *fake;
static struct tm_slot *slot;

static void set_up(void)
{
	struct tm_attach_options options = { .size = sizeof(options) };

	fake = fake_daemon_new(4, 2);
	options.socket = fake_daemon_get_socket(fake);
	ck_assert_int_eq(tm_slot_attach(&options, &slot), 0);
}

static void tear_down(void)
{
	tm_slot_detach(slot);
	ck_assert_uint_eq(fake_daemon_count_errors(fake), 0);
	fake_daemon_free(fake);
}

static uint64_t requested(void)
{
	struct tm_slot_info info = { .size = sizeof(info) };

	ck_assert_int_eq(tm_slot_get_info(slot, &info), 0);
	return info.requested_bytes;
}

static void dispatch_until_requested(uint64_t bytes)
{
	struct pollfd pollfd = { .fd = tm_slot_fd(slot), .events = POLLIN };
	uint64_t end_ns = mono_now_ns() + WAIT_NS;

	while (requested() != bytes) {
		ck_assert(mono_now_ns() < end_ns);
		(void)poll(&pollfd, 1, 100);
		(void)tm_slot_dispatch(slot);
	}
}

/* The daemon hears of a closed connection a moment later. */
static void wait_until_held(uint64_t bytes)
{
	uint64_t end_ns = mono_now_ns() + WAIT_NS;

	while (fake_daemon_count_requested(fake) != bytes) {
		ck_assert(mono_now_ns() < end_ns);
		(void)usleep(1000);
	}
}

START_TEST(what_fits_is_held_until_it_is_released)
{
	struct tm_request_result result = { .size = sizeof(result) };

	set_up();
	fake_daemon_set_room(fake, 64 * M);
	ck_assert_int_eq(tm_slot_request(slot, 64 * M, 0, &result), 0);
	ck_assert_str_eq(result.message, "");
	ck_assert_uint_eq(fake_daemon_count_requested(fake), 64 * M);
	ck_assert_uint_eq(requested(), 64 * M);
	ck_assert_int_eq(tm_slot_request(slot, 1, 0, NULL), -EBUSY);
	tm_slot_release_request(slot);
	ck_assert_uint_eq(requested(), 0);
	wait_until_held(0);
	ck_assert_int_eq(tm_slot_request(slot, 32 * M, 0, NULL), 0);
	tear_down(); /* a detached slot has given it back */
}
END_TEST

START_TEST(a_refusal_names_the_number)
{
	struct tm_request_result result = { .size = sizeof(result) };

	set_up();
	fake_daemon_set_room(fake, 16 * M);
	ck_assert_int_eq(tm_slot_request(slot, 64 * M, 0, &result), -EDQUOT);
	ck_assert_uint_eq(result.needed_bytes, 64 * M);
	ck_assert_uint_eq(result.available_bytes, 16 * M);
	ck_assert_str_eq(result.message, "it does not fit");
	ck_assert_uint_eq(result.size, sizeof(result));
	ck_assert_uint_eq(requested(), 0);
	ck_assert_int_eq(tm_slot_request(slot, 0, 0, &result), -EINVAL);
	result.size = 1;
	ck_assert_int_eq(tm_slot_request(slot, 1, 0, &result), -EINVAL);
	ck_assert_int_eq(tm_slot_request(slot, 16 * M, 0, NULL), 0); /* nothing is left of it */
	tear_down();
}
END_TEST

static void *make_room(void *unused)
{
	(void)usleep(200000);
	fake_daemon_set_room(fake, 64 * M);
	return unused;
}

START_TEST(one_that_waits_gets_it_when_there_is_room)
{
	pthread_t thread;

	set_up();
	ck_assert_int_eq(pthread_create(&thread, NULL, make_room, NULL), 0);
	ck_assert_int_eq(tm_slot_request(slot, 64 * M, WAIT_NS, NULL), 0);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	ck_assert_uint_eq(fake_daemon_count_requested(fake), 64 * M);
	tear_down();
}
END_TEST

START_TEST(it_is_asked_for_again_after_a_restart_of_the_daemon)
{
	set_up();
	fake_daemon_set_room(fake, 64 * M);
	ck_assert_int_eq(tm_slot_request(slot, 64 * M, 0, NULL), 0);
	fake_daemon_stop(fake);
	dispatch_until_requested(0);
	ck_assert_uint_eq(fake_daemon_count_requested(fake), 0);
	fake_daemon_start(fake);
	dispatch_until_requested(64 * M);
	ck_assert_uint_eq(fake_daemon_count_requested(fake), 64 * M);
	tm_slot_release_request(slot);
	wait_until_held(0);
	tear_down();
}
END_TEST

START_TEST(after_a_restart_it_may_have_to_wait)
{
	set_up();
	fake_daemon_set_room(fake, 64 * M);
	ck_assert_int_eq(tm_slot_request(slot, 64 * M, 0, NULL), 0);
	fake_daemon_stop(fake);
	dispatch_until_requested(0);
	fake_daemon_start(fake);
	fake_daemon_set_room(fake, 0);
	for (int i = 0; i < 20; i++) {
		struct pollfd pollfd = { .fd = tm_slot_fd(slot), .events = POLLIN };

		(void)poll(&pollfd, 1, 50);
		(void)tm_slot_dispatch(slot);
	}
	ck_assert_uint_eq(requested(), 0);
	fake_daemon_set_room(fake, 64 * M);
	dispatch_until_requested(64 * M);
	tear_down();
}
END_TEST

static void *restart(void *unused)
{
	fake_daemon_stop(fake);
	(void)usleep(300000);
	fake_daemon_start(fake);
	fake_daemon_set_room(fake, 64 * M);
	return unused;
}

START_TEST(a_request_that_waits_survives_a_restart)
{
	pthread_t thread;

	set_up();
	ck_assert_int_eq(pthread_create(&thread, NULL, restart, NULL), 0);
	ck_assert_int_eq(tm_slot_request(slot, 64 * M, WAIT_NS, NULL), 0);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	wait_until_held(64 * M);
	tear_down();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("request");
	TCase *tcase = tcase_create("request");

	tcase_add_test(tcase, what_fits_is_held_until_it_is_released);
	tcase_add_test(tcase, a_refusal_names_the_number);
	tcase_add_test(tcase, one_that_waits_gets_it_when_there_is_room);
	tcase_add_test(tcase, it_is_asked_for_again_after_a_restart_of_the_daemon);
	tcase_add_test(tcase, after_a_restart_it_may_have_to_wait);
	tcase_add_test(tcase, a_request_that_waits_survives_a_restart);
	tcase_set_timeout(tcase, 60);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
