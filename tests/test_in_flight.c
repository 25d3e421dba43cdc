/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What a channel may have unreleased follows its throughput, and the memory that this frees goes
 * back.
 *
 * The engine's clock is ours: it stands still until a test moves it, so nothing here depends on how
 * fast the machine is. What the task reports of its pool is read as by the daemon, which decides
 * by the same rules how many pages it needs.
 */

#include <check.h>
#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/attr.h"
#include "base/fd.h"
#include "base/mono.h"
#include "engine_fixture.h"
#include "policy/appetite.h"
#include "pool/report.h"

#define EXCLUSIVE 2
#define SECOND_US 1000000
#define PERIOD_MS 200
#define WAIT_NS (60 * NS_PER_SEC)
#define STEPS_MAX 1000

/* ---- the clock */

static _Atomic uint64_t engine_now_ns = NS_PER_SEC;

/* In place of the C library's, for the library as well. */
int clock_gettime(clockid_t clock, struct timespec *ts)
{
	if (clock != CLOCK_MONOTONIC_COARSE)
		return (int)syscall(SYS_clock_gettime, clock, ts);
	ts->tv_sec = (time_t)(engine_now_ns / NS_PER_SEC);
	ts->tv_nsec = (long)(engine_now_ns % NS_PER_SEC);
	return 0;
}

static void pass_ms(uint64_t ms)
{
	engine_now_ns += ms * NS_PER_MSEC;
}

/* ---- channels */

static struct tm_channel_stats stats_of(const struct stream *s)
{
	struct tm_channel_stats cs = { .size = sizeof(cs) };

	ck_assert_int_eq(tm_channel_get_stats(s->channel, &cs), 0);
	return cs;
}

static uint32_t window_of(const struct stream *s)
{
	return stats_of(s).window_buffers;
}

static struct stream *find_stream(uint8_t id)
{
	for (uint32_t i = 0; i < n_streams; i++)
		if (streams[i].has_id && streams[i].id == id)
			return &streams[i];
	ck_abort_msg("stream %u has sent nothing", id);
}

static void set_up_windows(int kind, size_t buffer_bytes, uint32_t n_buffers, uint32_t credit,
			   uint32_t target_us)
{
	set_up_slot(4);
	ck_assert_int_eq(tm_pool_open(slot, "net", buffer_bytes, n_buffers, n_buffers, &pool), 0);
	make_engine_of(kind, &(struct tm_engine_options){ .credit_buffers = credit,
							  .debloat_target_us = target_us });
	hold_all = true;
	listen_tcp();
}

/* All have received something, and hold as much as they may. */
static void run_until_full(uint32_t n)
{
	uint64_t end_ns = mono_now_ns() + WAIT_NS;
	uint32_t n_full = 0;

	while (n_full < n) {
		ck_assert_uint_lt(mono_now_ns(), end_ns);
		ck_assert_int_ge(tm_engine_run(engine, 10), 0);
		n_full = 0;
		for (uint32_t i = 0; i < n_streams; i++)
			n_full += streams[i].has_id &&
				  stats_of(&streams[i]).held >= window_of(&streams[i]);
	}
}

/* The oldest ones first, as a task that consumes what comes does. */
static void release(struct stream *s, uint32_t n)
{
	n = MIN(n, s->n_held);
	for (uint32_t i = 0; i < n; i++)
		tm_buffer_release(s->held[i]);
	s->n_held -= n;
	memmove(s->held, s->held + n, s->n_held * sizeof(*s->held));
}

/* A second in which each of the streams [first, first + n) consumes one buffer. */
static void consume_slowly(uint32_t first, uint32_t n)
{
	pass_ms(1000);
	for (uint32_t i = first; i < first + n; i++)
		release(find_stream((uint8_t)i), 1);
	for (int i = 0; i < 4; i++)
		ck_assert_int_ge(tm_engine_run(engine, 0), 0);
}

/* A fifth of a second in which each consumes all it has. */
static void consume_fast(uint32_t first, uint32_t n)
{
	pass_ms(PERIOD_MS);
	for (uint32_t i = first; i < first + n; i++)
		release(find_stream((uint8_t)i), UINT32_MAX);
}

static void end_all(uint32_t n)
{
	for (uint32_t i = 0; i < n_streams; i++) {
		if (!streams[i].is_closed)
			tm_channel_close(streams[i].channel);
		release_held(&streams[i]);
	}
	run_until_closed(n);
}

START_TEST(a_slow_consumer_has_its_exclusive_buffers_and_a_fast_one_all)
{
	struct peer peer = { .fd = -1, .listen_fd = -1 };
	struct stream *s;
	int steps = 0;

	set_up_windows(_i, 4096, 128, 20, SECOND_US);
	start_peer(&peer, 0, 1024 * MIB);
	run_until_open(1);
	run_until_full(1);
	s = find_stream(0);
	ck_assert_uint_eq(window_of(s), 20);
	while (window_of(s) > EXCLUSIVE || s->n_held > EXCLUSIVE) {
		ck_assert_int_lt(steps++, STEPS_MAX);
		consume_slowly(0, 1);
	}
	/* and stays there */
	for (int i = 0; i < 10; i++) {
		run_until_full(1);
		ck_assert_uint_le(s->n_held, EXCLUSIVE);
		consume_slowly(0, 1);
	}
	while (window_of(s) < 20) {
		ck_assert_int_lt(steps++, STEPS_MAX);
		run_until_full(1);
		consume_fast(0, 1);
	}
	run_until_full(1);
	ck_assert_uint_ge(s->n_held, 20);
	end_all(1);
	join_peers(&peer, 1);
	tear_down();
}
END_TEST

START_TEST(what_a_slow_one_leaves_a_fast_one_gets)
{
	struct peer peers[2] = {};
	struct stream *slow, *fast;
	int steps = 0;

	/* 26 float at most, and both want 18; while they do, none gets all of it again */
	set_up_windows(_i, 4096, 32, 20, SECOND_US);
	start_tcp_peers(peers, 2, 1024 * MIB);
	run_until_open(2);
	while (n_streams < 2 || !streams[0].has_id || !streams[1].has_id)
		ck_assert_int_ge(tm_engine_run(engine, 100), 0);
	run_until_quiet();
	slow = find_stream(0);
	fast = find_stream(1);
	while (window_of(slow) > EXCLUSIVE || slow->n_held > EXCLUSIVE || fast->n_held < 20) {
		ck_assert_int_lt(steps++, STEPS_MAX);
		/* it could do more than it gets */
		for (int i = 0; i < 20; i++) {
			release(fast, UINT32_MAX);
			while (fast->n_held < EXCLUSIVE)
				ck_assert_int_ge(tm_engine_run(engine, 100), 0);
		}
		consume_slowly(0, 1);
		run_until_quiet();
	}
	ck_assert_uint_eq(window_of(fast), 20);
	ck_assert_uint_eq(window_of(slow), EXCLUSIVE);
	end_all(2);
	join_peers(peers, 2);
	tear_down();
}
END_TEST

START_TEST(a_channel_with_little_to_do_keeps_its_window)
{
	static const uint8_t data[4096];
	int fd;

	set_up_windows(_i, 4096, 64, 20, SECOND_US);
	hold_all = false;
	fd = connect_tcp();
	run_until_open(1);
	/* a message in ten seconds, and what is held is released at once */
	for (uint64_t bytes = 1; bytes < 50; bytes++) {
		ck_assert_int_eq(write(fd, data, 1), 1);
		while (stats_of(&streams[0]).bytes < bytes)
			ck_assert_int_ge(tm_engine_run(engine, 100), 0);
		pass_ms(10000);
		ck_assert_uint_eq(window_of(&streams[0]), 20);
	}
	close(fd);
	run_until_closed(1);
	tear_down();
}
END_TEST

START_TEST(without_a_target_nothing_follows)
{
	struct peer peer = { .fd = -1, .listen_fd = -1 };

	set_up_windows(_i, 4096, 64, 0, 0);
	start_peer(&peer, 0, 1024 * MIB);
	run_until_open(1);
	for (int i = 0; i < 50; i++) {
		run_until_full(1);
		ck_assert_uint_eq(window_of(find_stream(0)), 10);
		consume_slowly(0, 1);
	}
	end_all(1);
	join_peers(&peer, 1);
	tear_down();
}
END_TEST

START_TEST(a_target_is_at_most_a_minute)
{
	struct tm_engine_options options = { .size = sizeof(options),
					     .kind = kinds[_i],
					     .debloat_target_us = 60000001 };
	struct tm_engine *other;

	set_up(_i, 4096, 8);
	ck_assert_int_eq(tm_engine_new(pool, &options, &handlers, &streams, &other), -EINVAL);
	options.debloat_target_us = 60000000;
	ck_assert_int_eq(tm_engine_new(pool, &options, &handlers, &streams, &other), 0);
	tm_engine_free(other);
	tear_down();
}
END_TEST

/* ---- consumers in other threads */

#define CONSUMERS 3
#define WORK_MAX 4096

static struct {
	pthread_mutex_t lock;
	struct tm_buffer *buffers[WORK_MAX];
	uint32_t n;
	bool is_over;
} work = { .lock = PTHREAD_MUTEX_INITIALIZER };

static void *consume_work(void *userdata)
{
	uint32_t turn = (uint32_t)(uintptr_t)userdata;
	struct tm_buffer *buffer;
	bool is_over = false;

	while (!is_over) {
		pthread_mutex_lock(&work.lock);
		buffer = work.n > 0 ? work.buffers[--work.n] : NULL;
		is_over = !buffer && work.is_over;
		pthread_mutex_unlock(&work.lock);
		if (turn++ % 64 == 0 || !buffer)
			usleep(500);
		tm_buffer_release(buffer);
	}
	return NULL;
}

/* What the data handler has kept is for whichever consumer comes first. */
static void hand_over(void)
{
	for (uint32_t i = 0; i < n_streams; i++) {
		struct stream *s = &streams[i];

		pthread_mutex_lock(&work.lock);
		while (s->n_held > 0) {
			ck_assert_uint_lt(work.n, WORK_MAX);
			work.buffers[work.n++] = s->held[--s->n_held];
		}
		pthread_mutex_unlock(&work.lock);
	}
}

START_TEST(no_release_is_missed_while_windows_open_and_close)
{
	struct peer peers[8] = {};
	pthread_t threads[CONSUMERS];
	uint32_t before[8] = {}, n_wider = 0, n_narrower = 0;

	/* tight: eight could have 96 */
	set_up_windows(_i, 4096, 64, 12, SECOND_US / 10);
	for (uintptr_t i = 0; i < CONSUMERS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, consume_work, (void *)i), 0);
	start_tcp_peers(peers, 8, 8 * MIB);
	for (uint32_t i = 0; n_closed < 8; i++) {
		for (uint32_t k = 0; k < n_streams; k++)
			before[k] = streams[k].is_closed ? 0 : window_of(&streams[k]);
		/* no time-out: what is missed is missed for ever */
		ck_assert_int_ge(tm_engine_run(engine, -1), 0);
		hand_over();
		/* a fifth of a second for what comes in 16 turns, or two seconds for one */
		if (i / 64 % 2 > 0)
			pass_ms(2000);
		else if (i % 16 == 0)
			pass_ms(PERIOD_MS);
		for (uint32_t k = 0; k < n_streams; k++) {
			if (streams[k].is_closed || before[k] == 0)
				continue;
			n_wider += window_of(&streams[k]) > before[k];
			n_narrower += window_of(&streams[k]) < before[k];
		}
	}
	ck_assert_uint_gt(n_wider, 0);
	ck_assert_uint_gt(n_narrower, 0);
	pthread_mutex_lock(&work.lock);
	work.is_over = true;
	pthread_mutex_unlock(&work.lock);
	for (int i = 0; i < CONSUMERS; i++)
		ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
	check_streams(8, 8 * MIB);
	join_peers(peers, 8);
	tear_down();
}
END_TEST

/* ---- the daemon's part */

#define PAGE_BUFFERS 4 /* of 512 KiB */
#define CHANNELS 4
#define CREDIT 8
#define SHARE 12

static int report_fd = -1;
static struct appetite appetite;
static uint64_t empty_total;

/* What it does twice a second. */
static void sample(void)
{
	struct pool_view views[POOL_REPORTS];
	struct appetite_sample s;
	uint32_t n_unreported;

	if (report_fd < 0) {
		ck_assert_int_eq(report_open(fake_daemon_take_pools(fake), &report_fd), 0);
		appetite_init(&appetite);
	}
	ck_assert_int_eq(report_read(report_fd, views, &n_unreported), 1);
	s.used_chunks = pool_view_needed_chunks(&views[0]);
	s.is_hungry = views[0].n_waiters > 0 || views[0].empty_total > empty_total;
	empty_total = views[0].empty_total;
	if (appetite_observe(&appetite, &s))
		fake_daemon_set_share(fake, MIN(appetite.need_chunks, (uint32_t)SHARE));
}

static bool windows_are(uint32_t buffers)
{
	for (uint32_t i = 0; i < CHANNELS; i++)
		if (window_of(&streams[i]) != buffers)
			return false;
	return true;
}

START_TEST(pages_go_back_when_consumers_slow_down_and_come_again)
{
	struct tm_slot_info info = { .size = sizeof(info) };
	struct peer peers[CHANNELS] = {};
	int steps = 0;

	/* the pool's minimum is one page, and four channels may have eight */
	set_up_slot(SHARE);
	ck_assert_int_eq(tm_pool_open(slot, "net", 2 * MIB / PAGE_BUFFERS, PAGE_BUFFERS, 0, &pool),
			 0);
	make_engine_of(_i, &(struct tm_engine_options){ .posted_buffers = 4,
							.credit_buffers = CREDIT,
							.debloat_target_us = SECOND_US });
	hold_all = true;
	listen_tcp();
	start_tcp_peers(peers, CHANNELS, 64 * 1024 * MIB);
	run_until_open(CHANNELS);
	run_until_full(CHANNELS);
	ck_assert_uint_ge(fake_daemon_count_present(fake), CHANNELS * CREDIT / PAGE_BUFFERS);
	sample();

	/* two each are two pages, one may be posted, and there is one to spare */
	while (!windows_are(EXCLUSIVE) || fake_daemon_count_present(fake) > 4) {
		ck_assert_int_lt(steps++, STEPS_MAX);
		consume_slowly(0, CHANNELS);
		sample();
		ck_assert_int_ge(tm_engine_run(engine, 10), 0);
	}
	/* nothing is owed: what was not there any more is not in use */
	ck_assert_int_eq(tm_slot_get_info(slot, &info), 0);
	ck_assert_uint_le(info.chunks_held, info.chunks_target);

	while (!windows_are(CREDIT) ||
	       fake_daemon_count_present(fake) < CHANNELS * CREDIT / PAGE_BUFFERS) {
		ck_assert_int_lt(steps++, STEPS_MAX);
		consume_fast(0, CHANNELS);
		sample();
		for (int i = 0; i < 10; i++)
			ck_assert_int_ge(tm_engine_run(engine, 10), 0);
	}
	run_until_full(CHANNELS);
	end_all(CHANNELS);
	join_peers(peers, CHANNELS);
	fd_closep(&report_fd);
	tear_down();
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		a_slow_consumer_has_its_exclusive_buffers_and_a_fast_one_all,
		what_a_slow_one_leaves_a_fast_one_gets,
		a_channel_with_little_to_do_keeps_its_window,
		without_a_target_nothing_follows,
		a_target_is_at_most_a_minute,
		no_release_is_missed_while_windows_open_and_close,
		pages_go_back_when_consumers_slow_down_and_come_again,
	};

	return run_suite("in_flight", tests, ARRAY_LEN(tests));
}
