/* SPDX-License-Identifier: Apache-2.0 */

/* How long an engine spins: for the most impatient of its open channels, and for no other. */

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/mono.h"
#include "engine.h"
#include "engine_fixture.h"

/* ---- the count, on channels that are nothing else */

#define CHANNELS 24
#define STEPS 20000

static struct tm_engine counted = { .default_spin_us = 5 };
static struct tm_channel channels[CHANNELS];

static void set_up_channels(void)
{
	list_init(&counted.channels);
	for (int i = 0; i < CHANNELS; i++) {
		channels[i] = (struct tm_channel){ .engine = &counted, .fd = -1, .spin_us = 5 };
		list_append(&counted.channels, &channels[i].node);
	}
}

static uint32_t most_of_watched(void)
{
	uint32_t most = 0;

	for (int i = 0; i < CHANNELS; i++)
		if (channels[i].is_watched)
			most = MAX(most, channels[i].spin_us);
	return most;
}

START_TEST(the_most_impatient_open_channel_decides)
{
	set_up_channels();
	for (int i = 0; i < 3; i++)
		latency_begin(&channels[i]);
	ck_assert_uint_eq(counted.spin_us, 5);
	ck_assert_int_eq(tm_channel_set_latency(&channels[0], 70), 0);
	ck_assert_int_eq(tm_channel_set_latency(&channels[1], 70), 0);
	ck_assert_uint_eq(counted.spin_us, 70);
	latency_end(&channels[0]);
	latency_end(&channels[0]);
	ck_assert_uint_eq(counted.spin_us, 70);
	ck_assert_int_eq(tm_channel_set_latency(&channels[1], 0), 0);
	ck_assert_uint_eq(counted.spin_us, 5);
	/* one that is not open asks for nothing yet, one that is closed not any more */
	ck_assert_int_eq(tm_channel_set_latency(&channels[3], 90), 0);
	ck_assert_int_eq(tm_channel_set_latency(&channels[0], 90), 0);
	ck_assert_uint_eq(counted.spin_us, 5);
	latency_begin(&channels[3]);
	ck_assert_uint_eq(counted.spin_us, 90);
	for (int i = 1; i <= 3; i++)
		latency_end(&channels[i]);
	ck_assert_uint_eq(counted.spin_us, 0);
}
END_TEST

START_TEST(the_count_is_right_whatever_happens)
{
	unsigned seed = 7;

	set_up_channels();
	for (int i = 0; i < STEPS; i++) {
		struct tm_channel *channel = &channels[rand_r(&seed) % CHANNELS];

		if (rand_r(&seed) % 3 > 0)
			ck_assert_int_eq(
				tm_channel_set_latency(channel, (uint32_t)rand_r(&seed) % 6), 0);
		else if (channel->is_watched)
			latency_end(channel);
		else
			latency_begin(channel);
		ck_assert_uint_eq(counted.spin_us, most_of_watched());
	}
}
END_TEST

/* ---- the engine */

#define WAIT_MS 300

static uint32_t open_spin_us;

static int on_open(struct tm_channel *channel, void *userdata)
{
	(void)userdata;
	tm_channel_set_userdata(channel, &streams[n_streams]);
	streams[n_streams++] = (struct stream){ .channel = channel, .is_open = true };
	n_opened++;
	return tm_channel_set_latency(channel, open_spin_us);
}

static void open_engine(int kind, uint32_t spin_us)
{
	struct tm_engine_options options = {
		.size = sizeof(options),
		.kind = kinds[kind],
		.spin_us = spin_us,
	};
	struct tm_handlers mine = handlers;

	set_up_slot(4);
	ck_assert_int_eq(tm_pool_open(slot, "net", 4096, 64, 64, &pool), 0);
	mine.open = on_open;
	ck_assert_int_eq(tm_engine_new(pool, &options, &mine, &streams, &engine), 0);
	listen_tcp();
}

/* Of this thread, while the engine waits for what does not come. */
static uint64_t waiting_cpu_ns(void)
{
	struct timespec before, after;
	uint64_t begin_ns;

	run_until_quiet();
	begin_ns = mono_now_ns();
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &before);
	ck_assert_int_eq(tm_engine_run(engine, WAIT_MS), 0);
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &after);
	ck_assert_uint_ge(mono_now_ns() - begin_ns, (WAIT_MS - 1) * NS_PER_MSEC);
	return (uint64_t)(after.tv_sec - before.tv_sec) * NS_PER_SEC + (uint64_t)after.tv_nsec -
	       (uint64_t)before.tv_nsec;
}

START_TEST(one_impatient_channel_keeps_its_engine_awake)
{
	int patient, impatient;

	open_engine(_i, 0);
	patient = connect_tcp();
	run_until_open(1);
	/* how much time a busy machine gives is not known, but all of it is used */
	ck_assert_uint_lt(waiting_cpu_ns(), 3 * NS_PER_MSEC);
	open_spin_us = 1000000;
	impatient = connect_tcp();
	run_until_open(2);
	ck_assert_uint_gt(waiting_cpu_ns(), 3 * NS_PER_MSEC);
	close(impatient);
	run_until_closed(1);
	ck_assert_uint_lt(waiting_cpu_ns(), 3 * NS_PER_MSEC);
	close(patient);
	run_until_closed(2);
	tear_down();
}
END_TEST

START_TEST(an_engine_without_channels_sleeps)
{
	open_engine(_i, 1000000);
	ck_assert_uint_lt(waiting_cpu_ns(), 3 * NS_PER_MSEC);
	tear_down();
}
END_TEST

START_TEST(channels_begin_with_the_engine_s_and_keep_their_own)
{
	int fd;

	open_engine(_i, 40);
	open_spin_us = 40;
	fd = connect_tcp();
	run_until_open(1);
	ck_assert_uint_eq(engine->spin_us, 40);
	ck_assert_int_eq(tm_channel_set_latency(streams[0].channel, 60), 0);
	ck_assert_uint_eq(engine->spin_us, 60);
	ck_assert_int_eq(tm_channel_set_latency(streams[0].channel, 1000001), -EINVAL);
	ck_assert_uint_eq(engine->spin_us, 60);
	/* loopback is no device that could be asked */
	ck_assert_uint_eq(engine->n_on_device, 0);
	ck_assert(!engine->is_kernel_spinning);
	close(fd);
	run_until_closed(1);
	tear_down();
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		the_most_impatient_open_channel_decides,
		the_count_is_right_whatever_happens,
		one_impatient_channel_keeps_its_engine_awake,
		an_engine_without_channels_sleeps,
		channels_begin_with_the_engine_s_and_keep_their_own,
	};

	return run_suite("latency", tests, ARRAY_LEN(tests));
}
