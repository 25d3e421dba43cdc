/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Peers that do not read and are there, and peers that are not there any more. The latter are at the
 * end of a network device that is switched off.
 */

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mono.h"
#include "device_fixture.h"
#include "engine.h"
#include "send_fixture.h"

#define TIMEOUT_S 1
/* With rare probes, as before 6.15, and on a busy machine; the kernel alone takes 14 s or more. */
#define GONE_MAX_NS (12 * NS_PER_SEC)

static void make_patient(int kind, enum variant variant)
{
	struct tm_engine_options options = {
		.send_buffers = 8,
		.peer_timeout_s = TIMEOUT_S,
		.zero_copy = variant == PINNED ? TM_ZERO_COPY_ALWAYS : TM_ZERO_COPY_NEVER,
	};

	make(kind, variant, 32768, 64, 64);
	tm_engine_free(engine);
	engine = new_engine(kind, &options, &send_handlers, NULL);
	listen_tcp();
}

static void run_for(uint64_t ns)
{
	uint64_t end_ns = mono_now_ns() + ns;

	while (mono_now_ns() < end_ns)
		ck_assert_int_ge(tm_engine_run(engine, 100), 0);
}

/* ---- there */

static void check_slow_reader(int kind, enum variant variant)
{
	struct reader reader;
	int fd;

	make_patient(kind, variant);
	fd = open_peer();
	stall(seen.channel[0]);
	run_for(3 * TIMEOUT_S * NS_PER_SEC);
	ck_assert_uint_eq(seen.n_closed, 0);
	ck_assert_uint_eq(channel_stats(seen.channel[0]).queued, 8);
	ck_assert_int_eq(tm_channel_shutdown_send(seen.channel[0]), 0);
	start_reader(&reader, fd);
	run_until(&seen.n_closed, 1);
	ck_assert_int_eq(seen.error, 0);
	check_reader(&reader, seen.position);
	tear_down();
}

START_TEST(a_peer_that_is_there_may_read_as_late_as_it_likes)
{
	check_slow_reader(_i, COPIED);
	check_slow_reader(_i, PINNED);
}
END_TEST

static void check_late_reader(int kind, enum variant variant)
{
	struct reader reader;
	uint64_t sent;
	int fd;

	make_patient(kind, variant);
	fd = open_peer();
	stall(seen.channel[0]);
	sent = channel_stats(seen.channel[0]).sent_bytes;
	tm_channel_close(seen.channel[0]);
	run_for(3 * TIMEOUT_S * NS_PER_SEC);
	ck_assert_uint_eq(seen.n_closed, 1);
	start_reader(&reader, fd);
	run_until_released();
	ck_assert_int_eq(pthread_join(reader.thread, NULL), 0);
	ck_assert(!reader.is_wrong);
	ck_assert_uint_ge(reader.bytes, sent);
	tear_down();
}

START_TEST(what_the_kernel_has_of_a_closed_channel_may_be_read_as_late)
{
	check_late_reader(_i, COPIED);
	check_late_reader(_i, PINNED);
}
END_TEST

START_TEST(without_anything_unacknowledged_nobody_is_looked_at)
{
	struct reader reader;
	uint64_t begin_ns;
	int fd;

	make_patient(_i, COPIED);
	fd = open_peer();
	ck_assert_int_eq(write(fd, "x", 1), 1);
	run_until_quiet();
	ck_assert(list_is_empty(&engine->waiting));
	start_reader(&reader, fd);
	seen.is_quiet = true;
	seen.total = 10000;
	ck_assert_int_eq(send_piece(seen.channel[0]), 0);
	run_until_quiet();
	ck_assert(!list_is_empty(&engine->waiting));
	run_for(2 * NS_PER_SEC);
	ck_assert(list_is_empty(&engine->waiting));
	begin_ns = mono_now_ns();
	ck_assert_int_eq(tm_engine_run(engine, 2500), 0);
	ck_assert_uint_ge(mono_now_ns() - begin_ns, 2400 * NS_PER_MSEC);
	ck_assert_int_eq(tm_channel_shutdown_send(seen.channel[0]), 0);
	run_until(&seen.n_closed, 1);
	check_reader(&reader, seen.position);
	tear_down();
}
END_TEST

/* ---- gone */

/* False: there is nothing to be tested. Else the peer's socket. */
static bool connect_far(int kind, enum variant variant, int *ret_fd)
{
	if (!make_devices()) {
		puts("patience: no network devices of its own here, left out");
		return false;
	}
	make_patient(kind, variant);
	port = tm_engine_listen(engine, "tcp:" DEVICE_ADDRESS ":0");
	ck_assert_int_gt(port, 0);
	*ret_fd = connect_device();
	run_until(&seen.n_open, 1);
	return true;
}

static void *switch_off(void *userdata)
{
	(void)userdata;
	return system("ip link set tm1 down") == 0 ? &port : NULL;
}

/* Without any other reason to wake up than that. */
static void check_gone(void)
{
	uint64_t begin_ns = mono_now_ns();

	while (seen.n_closed == 0) {
		ck_assert_uint_lt(mono_now_ns() - begin_ns, GONE_MAX_NS);
		ck_assert_int_ge(tm_engine_run(engine, -1), 0);
	}
	ck_assert_int_eq(seen.error, -ETIMEDOUT);
	ck_assert_uint_ge(mono_now_ns() - begin_ns, TIMEOUT_S * NS_PER_SEC / 2);
	run_until_released();
}

static void check_gone_before(int kind, enum variant variant)
{
	int fd;

	if (!connect_far(kind, variant, &fd))
		return;
	ck_assert_ptr_nonnull(call_there(switch_off, NULL));
	seen.is_quiet = true;
	seen.total = 10000;
	ck_assert_int_eq(send_piece(seen.channel[0]), 0);
	check_gone();
	close(fd);
	tear_down();
}

START_TEST(a_peer_that_does_not_acknowledge_is_gone)
{
	check_gone_before(_i, COPIED);
}
END_TEST

START_TEST(a_peer_that_does_not_acknowledge_what_is_pinned_is_gone)
{
	check_gone_before(_i, PINNED);
}
END_TEST

static void check_gone_while_shut(int kind, enum variant variant)
{
	int fd;

	if (!connect_far(kind, variant, &fd))
		return;
	stall(seen.channel[0]);
	run_for(2 * TIMEOUT_S * NS_PER_SEC);
	ck_assert_uint_eq(seen.n_closed, 0);
	ck_assert_ptr_nonnull(call_there(switch_off, NULL));
	check_gone();
	close(fd);
	tear_down();
}

START_TEST(a_peer_whose_window_is_shut_is_gone_without_answers)
{
	check_gone_while_shut(_i, COPIED);
}
END_TEST

START_TEST(a_peer_whose_window_is_shut_to_what_is_pinned_is_gone_without_answers)
{
	check_gone_while_shut(_i, PINNED);
}
END_TEST

START_TEST(pins_of_a_closed_channel_are_given_up_when_its_peer_is_gone)
{
	uint64_t begin_ns;
	int fd;

	if (!connect_far(_i, PINNED, &fd))
		return;
	stall(seen.channel[0]);
	tm_channel_close(seen.channel[0]);
	run_until(&seen.n_closed, 1);
	ck_assert_ptr_nonnull(call_there(switch_off, NULL));
	begin_ns = mono_now_ns();
	run_until_released();
	ck_assert_uint_lt(mono_now_ns() - begin_ns, GONE_MAX_NS);
	ck_assert(list_is_empty(&engine->waiting));
	close(fd);
	tear_down();
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		a_peer_that_is_there_may_read_as_late_as_it_likes,
		what_the_kernel_has_of_a_closed_channel_may_be_read_as_late,
		without_anything_unacknowledged_nobody_is_looked_at,
		a_peer_that_does_not_acknowledge_is_gone,
		a_peer_that_does_not_acknowledge_what_is_pinned_is_gone,
		a_peer_whose_window_is_shut_is_gone_without_answers,
		a_peer_whose_window_is_shut_to_what_is_pinned_is_gone_without_answers,
		pins_of_a_closed_channel_are_given_up_when_its_peer_is_gone,
	};

	return run_send_suite("patience", tests, ARRAY_LEN(tests));
}
