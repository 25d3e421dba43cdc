/* SPDX-License-Identifier: Apache-2.0 */

/* Exclusive and floating buffers: what consumers that keep theirs leave to the other channels. */

#include <check.h>
#include <errno.h>
#include <unistd.h>

#include "base/attr.h"
#include "base/mono.h"
#include "engine_fixture.h"

#define EXCLUSIVE 2
#define MOST 10

static struct tm_channel_stats stats_of(const struct stream *s)
{
	struct tm_channel_stats cs = { .size = sizeof(cs) };

	ck_assert_int_eq(tm_channel_get_stats(s->channel, &cs), 0);
	return cs;
}

static struct stream *find_stream(uint8_t id)
{
	for (uint32_t i = 0; i < n_streams; i++)
		if (streams[i].has_id && streams[i].id == id)
			return &streams[i];
	ck_abort_msg("stream %u has sent nothing", id);
}

static void release_all(void)
{
	n_holders = 0;
	for (uint32_t i = 0; i < n_streams; i++)
		release_held(&streams[i]);
}

/* All are open, so that each has its exclusive buffers, before the first one sends. */
static void open_peers(struct peer *peers, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		peers[i].fd = connect_tcp();
		peers[i].listen_fd = -1;
	}
	run_until_open(n);
}

static void start_peers(struct peer *peers, uint32_t first, uint32_t n, uint64_t bytes)
{
	for (uint32_t i = first; i < first + n; i++)
		start_peer(&peers[i], (uint8_t)i, bytes);
	wait_for_backlog(peers + first, n);
}

/* The first @n have had all the data that they may have; then nothing happens any more. */
static void run_until_parked(uint32_t n)
{
	uint64_t end_ns = mono_now_ns() + 60 * NS_PER_SEC;
	uint32_t n_parked = 0;

	while (n_parked < n) {
		ck_assert_uint_lt(mono_now_ns(), end_ns);
		ck_assert_int_ge(tm_engine_run(engine, 100), 0);
		n_parked = 0;
		for (uint32_t i = 0; i < n_streams; i++)
			n_parked += streams[i].has_id && !streams[i].is_closed &&
				    streams[i].id < n && stats_of(&streams[i]).parked_total > 0;
	}
	run_until_quiet();
}

/* Together, and the least and the most of one. */
static uint32_t count_held(uint32_t n, uint32_t *ret_least, uint32_t *ret_most)
{
	uint32_t sum = 0;

	*ret_least = UINT32_MAX;
	*ret_most = 0;
	for (uint32_t i = 0; i < n; i++) {
		uint32_t held = stats_of(find_stream((uint8_t)i)).held;

		*ret_least = MIN(*ret_least, held);
		*ret_most = MAX(*ret_most, held);
		sum += held;
	}
	return sum;
}

/* All of the first @n have what they may have at most. */
static void run_until_full(uint32_t n)
{
	uint64_t end_ns = mono_now_ns() + 60 * NS_PER_SEC;
	uint32_t least, most;

	while (count_held(n, &least, &most) < n * MOST) {
		ck_assert_uint_lt(mono_now_ns(), end_ns);
		ck_assert_int_ge(tm_engine_run(engine, 100), 0);
	}
	run_until_quiet();
	ck_assert_uint_eq(count_held(n, &least, &most), n * MOST);
}

/* FLINK-25960: whoever came first had the floating ones, and others starved. */
START_TEST(channels_that_keep_all_they_get_do_not_stop_the_others)
{
	struct peer peers[12] = {};
	uint32_t least, most, sum;

	/* eight would like to have 80 */
	set_up(_i, 4096, 64);
	n_holders = 8;
	listen_tcp();
	open_peers(peers, 12);
	start_peers(peers, 0, 12, 2 * MIB);
	run_until_closed(4);
	run_until_parked(8);
	ck_assert_uint_eq(n_closed, 4);
	sum = count_held(8, &least, &most);
	ck_assert_uint_eq(stats().held, sum);
	/* eight are open, so 16 are exclusive */
	ck_assert_uint_le(sum, 64);
	ck_assert_uint_ge(least, EXCLUSIVE);
	ck_assert_uint_le(most, MOST);
	ck_assert_uint_ge(sum, 32);
	release_all();
	run_until_closed(12);
	check_streams(12, 2 * MIB);
	join_peers(peers, 12);
	tear_down();
}
END_TEST

START_TEST(one_that_was_idle_finds_its_exclusive_buffers)
{
	struct peer peers[15] = {};
	uint32_t least, most;

	/* they are half of the pool but for two, or the share that is for small messages */
	set_up(_i, 4096, 64);
	n_holders = 14;
	listen_tcp();
	open_peers(peers, 14);
	peers[14].fd = connect_tcp();
	peers[14].listen_fd = -1;
	run_until_open(15);
	start_peers(peers, 0, 14, MIB);
	run_until_parked(14);
	ck_assert_uint_eq(n_closed, 0);
	(void)count_held(14, &least, &most);
	ck_assert_uint_ge(least, EXCLUSIVE);
	start_peer(&peers[14], 14, 8 * MIB);
	run_until_closed(1);
	ck_assert_uint_eq(find_stream(14)->bytes, 8 * MIB);
	release_all();
	run_until_closed(15);
	join_peers(peers, 15);
	tear_down();
}
END_TEST

START_TEST(what_one_releases_goes_to_those_who_were_refused)
{
	uint64_t end_ns = mono_now_ns() + 60 * NS_PER_SEC, refused = 0;
	struct peer peers[10] = {};
	uint32_t least, most, sum;

	set_up(_i, 4096, 48);
	n_holders = 10;
	listen_tcp();
	open_peers(peers, 10);
	start_peers(peers, 0, 10, MIB);
	run_until_parked(10);
	(void)count_held(10, &least, &most);
	for (uint8_t i = 0; i < 10; i++)
		refused += stats_of(find_stream(i)).short_total;
	ck_assert_uint_gt(refused, 0);
	/* half of them leave: the others come to hold more, though they release nothing */
	for (uint8_t i = 0; i < 5; i++)
		release_held(find_stream(i));
	run_until_closed(5);
	do {
		ck_assert_uint_lt(mono_now_ns(), end_ns);
		ck_assert_int_ge(tm_engine_run(engine, 100), 0);
		least = UINT32_MAX;
		sum = 0;
		for (uint8_t i = 5; i < 10; i++) {
			least = MIN(least, stats_of(find_stream(i)).held);
			sum += stats_of(find_stream(i)).held;
		}
	} while (least <= EXCLUSIVE || sum < 5 * EXCLUSIVE + 20);
	release_all();
	run_until_closed(10);
	check_streams(10, MIB);
	join_peers(peers, 10);
	tear_down();
}
END_TEST

static void *release_two_later(void *userdata)
{
	struct stream *s = userdata;

	usleep(50000);
	for (int i = 0; i < 2; i++)
		tm_buffer_release(s->held[--s->n_held]);
	return NULL;
}

START_TEST(a_release_by_another_thread_wakes_who_was_refused)
{
	struct peer peers[2] = {};
	struct stream *first, *second;
	uint32_t held_before;
	pthread_t thread;

	/* two would like to have 20 */
	set_up(_i, 4096, 12);
	n_holders = 2;
	listen_tcp();
	open_peers(peers, 2);
	start_peers(peers, 0, 2, MIB);
	run_until_parked(2);
	first = find_stream(0);
	second = find_stream(1);
	if (stats_of(first).held < stats_of(second).held) {
		first = find_stream(1);
		second = find_stream(0);
	}
	held_before = second->n_held;
	first->should_hold = false;
	/* the first one ends, and what it had floats */
	release_held(first);
	run_until_closed(1);
	run_until_quiet();
	ck_assert_uint_eq(second->n_held, MOST);
	ck_assert_uint_gt(second->n_held, held_before);
	/* no time-out: only the release can end this wait */
	ck_assert_int_eq(pthread_create(&thread, NULL, release_two_later, second), 0);
	ck_assert_int_ge(tm_engine_run(engine, -1), 0);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	run_until_quiet();
	ck_assert_uint_eq(second->n_held, MOST);
	release_all();
	run_until_closed(2);
	check_streams(2, MIB);
	join_peers(peers, 2);
	tear_down();
}
END_TEST

START_TEST(one_that_had_all_its_credit_gets_what_another_releases)
{
	struct peer peers[2] = {};
	struct stream *first;

	set_up(_i, 4096, 24);
	n_holders = 2;
	listen_tcp();
	open_peers(peers, 2);
	start_peers(peers, 0, 1, MIB);
	run_until_parked(1);
	run_until_full(1);
	first = find_stream(0);
	start_peers(peers, 1, 1, MIB);
	run_until_parked(2);
	/* it lacks one now, and is refused it */
	tm_buffer_release(first->held[--first->n_held]);
	run_until_quiet();
	ck_assert_uint_eq(first->n_held, MOST - 1);
	release_held(find_stream(1));
	run_until_closed(1);
	run_until_quiet();
	ck_assert_uint_eq(first->n_held, MOST);
	release_all();
	run_until_closed(2);
	check_streams(2, MIB);
	join_peers(peers, 2);
	tear_down();
}
END_TEST

START_TEST(one_whose_socket_is_empty_is_not_refused)
{
	static const uint8_t data[4 * 4096];
	int fds[2];

	/* 6 buffers float, and each of two holds 2 of them: as many are left */
	set_up(_i, 4096, 10);
	hold_all = true;
	listen_tcp();
	for (int i = 0; i < 2; i++)
		fds[i] = connect_tcp();
	run_until_open(2);
	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(write(fds[i], data, sizeof(data)), sizeof(data));
	run_until_quiet();
	ck_assert_uint_eq(stats().held, 8);
	ck_assert_uint_eq(stats().waiters, 0);
	/* and with one byte more it is */
	ck_assert_int_eq(write(fds[0], data, 1), 1);
	run_until_quiet();
	ck_assert_uint_eq(stats().held, 8);
	ck_assert_uint_eq(stats().waiters, 1);
	release_all();
	run_until_quiet();
	ck_assert_uint_eq(stats().waiters, 0);
	ck_assert_uint_eq(stats_of(&streams[0]).bytes + stats_of(&streams[1]).bytes,
			  2 * sizeof(data) + 1);
	for (int i = 0; i < 2; i++)
		close(fds[i]);
	run_until_closed(2);
	tear_down();
}
END_TEST

/* FLINK-17182: a release and the wish for a buffer crossed each other, and nobody was woken. The one that
 * releases is not parked, so only that somebody else is refused can be a reason to wake the engine. */
START_TEST(what_another_thread_releases_of_one_wakes_another_that_was_refused)
{
	static const uint8_t data[4 * 4096];
	struct stream *refused, *other;
	pthread_t thread;
	int fds[2];

	/* as many are left as each has of the 6 that float */
	set_up(_i, 4096, 10);
	hold_all = true;
	listen_tcp();
	for (int i = 0; i < 2; i++)
		fds[i] = connect_tcp();
	run_until_open(2);
	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(write(fds[i], data, sizeof(data)), sizeof(data));
	run_until_quiet();
	ck_assert_int_eq(write(fds[0], data, 1), 1);
	run_until_quiet();
	ck_assert_uint_eq(stats().held, 8);
	ck_assert_uint_eq(stats().waiters, 1);
	refused = stats_of(&streams[0]).short_total > 0 ? &streams[0] : &streams[1];
	other = refused == &streams[0] ? &streams[1] : &streams[0];
	/* no time-out: only the release can end this wait */
	ck_assert_int_eq(pthread_create(&thread, NULL, release_two_later, other), 0);
	while (stats_of(refused).bytes == sizeof(data))
		ck_assert_int_ge(tm_engine_run(engine, -1), 0);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	ck_assert_uint_eq(stats_of(refused).bytes, sizeof(data) + 1);
	ck_assert_uint_eq(stats().waiters, 0);
	release_all();
	for (int i = 0; i < 2; i++)
		close(fds[i]);
	run_until_closed(2);
	tear_down();
}
END_TEST

START_TEST(idle_channels_take_nothing_from_a_busy_one)
{
	struct peer peer = { .fd = -1, .listen_fd = -1 };
	int fds[100];

	set_up(_i, 4096, 64);
	n_holders = 1;
	listen_tcp();
	for (int i = 0; i < 100; i++)
		fds[i] = connect_tcp();
	run_until_open(100);
	ck_assert_uint_eq(stats().held, 0);
	start_peer(&peer, 0, MIB);
	run_until_open(101);
	run_until_parked(1);
	run_until_full(1);
	ck_assert_uint_eq(stats().held, MOST);
	release_all();
	run_until_closed(1);
	for (int i = 0; i < 100; i++)
		close(fds[i]);
	run_until_closed(101);
	join_peers(&peer, 1);
	tear_down();
}
END_TEST

START_TEST(pages_are_asked_for_before_anything_is_refused)
{
	struct peer peers[12] = {};

	/* 64 buffers a page: 120 are wanted, and three pages may be had */
	set_up_slot(4);
	ck_assert_int_eq(tm_pool_open(slot, "net", 32768, 64, 0, &pool), 0);
	make_engine(_i, 0, 0, 0);
	n_holders = 12;
	listen_tcp();
	start_tcp_peers(peers, 12, MIB);
	run_until_open(12);
	run_until_parked(12);
	run_until_full(12);
	ck_assert_uint_ge(stats().buffers, 128);
	release_all();
	run_until_closed(12);
	check_streams(12, MIB);
	join_peers(peers, 12);
	tear_down();
}
END_TEST

START_TEST(a_smaller_pool_leaves_each_its_exclusive_buffers)
{
	struct tm_slot_info info = { .size = sizeof(info) };
	struct peer peers[7] = {};
	uint32_t least, most, sum;

	/* 32 buffers a page */
	set_up_slot(4);
	ck_assert_int_eq(tm_pool_open(slot, "net", 65536, 32, 0, &pool), 0);
	make_engine(_i, 8, 0, 0);
	n_holders = 6;
	listen_tcp();
	open_peers(peers, 7);
	start_peers(peers, 0, 6, 4 * MIB);
	run_until_parked(6);
	run_until_full(6);
	/* one page is left when buffers come back, for 60 that are held now */
	fake_daemon_set_share(fake, 1);
	run_until_quiet();
	for (uint8_t i = 0; i < 6; i++)
		release_held(find_stream(i));
	for (uint32_t i = 0; i < n_streams; i++)
		streams[i].should_hold = true;
	do {
		ck_assert_int_ge(tm_engine_run(engine, 1000), 0);
		ck_assert_int_eq(tm_slot_get_info(slot, &info), 0);
		sum = count_held(6, &least, &most);
		ck_assert_uint_le(sum, stats().buffers);
	} while (info.chunks_held > 1);
	run_until_quiet();
	sum = count_held(6, &least, &most);
	ck_assert_uint_le(sum, 32 - EXCLUSIVE);
	ck_assert_uint_ge(least, EXCLUSIVE);
	ck_assert_uint_eq(stats().buffers, 32);
	start_peer(&peers[6], 6, 4 * MIB);
	run_until_closed(1);
	release_all();
	run_until_closed(7);
	check_streams(7, 4 * MIB);
	join_peers(peers, 7);
	tear_down();
}
END_TEST

START_TEST(exclusive_buffers_are_an_option)
{
	struct tm_engine_options options = { .size = sizeof(options),
					     .kind = kinds[_i],
					     .credit_buffers = 4,
					     .exclusive_buffers = 5 };
	struct tm_engine *other;

	set_up(_i, 4096, 32);
	ck_assert_int_eq(tm_engine_new(pool, &options, &handlers, &streams, &other), -EINVAL);
	options.exclusive_buffers = 4;
	ck_assert_int_eq(tm_engine_new(pool, &options, &handlers, &streams, &other), 0);
	tm_engine_free(other);
	options.credit_buffers = 0;
	options.exclusive_buffers = MOST + 1;
	ck_assert_int_eq(tm_engine_new(pool, &options, &handlers, &streams, &other), -EINVAL);
	/* one credit is one exclusive buffer */
	options.credit_buffers = 1;
	options.exclusive_buffers = 0;
	ck_assert_int_eq(tm_engine_new(pool, &options, &handlers, &streams, &other), 0);
	tm_engine_free(other);
	tear_down();
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		channels_that_keep_all_they_get_do_not_stop_the_others,
		one_that_was_idle_finds_its_exclusive_buffers,
		what_one_releases_goes_to_those_who_were_refused,
		a_release_by_another_thread_wakes_who_was_refused,
		one_that_had_all_its_credit_gets_what_another_releases,
		one_whose_socket_is_empty_is_not_refused,
		what_another_thread_releases_of_one_wakes_another_that_was_refused,
		idle_channels_take_nothing_from_a_busy_one,
		pages_are_asked_for_before_anything_is_refused,
		a_smaller_pool_leaves_each_its_exclusive_buffers,
		exclusive_buffers_are_an_option,
	};

	return run_suite("floating", tests, ARRAY_LEN(tests));
}
