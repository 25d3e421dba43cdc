/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Several engines on one pool, each in a thread of its own.
 *
 * The threads wait without a time-out, so that whoever is forgotten is forgotten for ever: only
 * the main thread looks at the clock.
 */

#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/attr.h"
#include "base/mono.h"
#include "engine_fixture.h"
#include "pattern.h"

#define SIDES_MAX 4
#define PEERS_MAX 8 /* of a side */
#define WAIT_NS (60 * NS_PER_SEC)
#define BUFFER_BYTES 4096

#define INBOX_SIZE 1024

struct inbox {
	pthread_mutex_t lock;
	struct tm_buffer *buffers[INBOX_SIZE];
	uint32_t n;
};

/* An engine, its thread, and who sends to it. What is not atomic is the thread's, once it runs. */
struct side {
	struct tm_engine *engine;
	pthread_t thread;
	bool is_running;
	int port;
	bool keeps;         /* all that comes */
	struct side *other; /* whose thread releases what comes here; NULL: this one at once */
	struct inbox inbox; /* what it is to release */
	struct stream streams[PEERS_MAX];
	atomic_ulong n_opened, n_closed, n_bytes, n_kept;
	atomic_bool should_end, should_release;
	struct peer peers[PEERS_MAX];
	uint32_t n_peers;
};

static struct side sides[SIDES_MAX];

/* ---- the threads */

static int on_open_here(struct tm_channel *channel, void *userdata)
{
	struct side *side = userdata;
	struct stream *s = &side->streams[atomic_fetch_add(&side->n_opened, 1)];

	s->channel = channel;
	tm_channel_set_userdata(channel, s);
	return 0;
}

static void hand_over(struct side *to, struct tm_buffer *buffer)
{
	struct tm_buffer *mine = buffer;

	pthread_mutex_lock(&to->inbox.lock);
	if (to->inbox.n < INBOX_SIZE) {
		to->inbox.buffers[to->inbox.n++] = buffer;
		mine = NULL;
	}
	pthread_mutex_unlock(&to->inbox.lock);
	tm_buffer_release(mine);
	(void)tm_engine_wakeup(to->engine);
}

static void on_data_here(struct tm_channel *channel, struct tm_buffer *buffer, uint32_t offset,
			 uint32_t length, void *userdata)
{
	struct stream *s = tm_channel_get_userdata(channel);
	struct side *side = userdata;

	check_bytes(s, (const uint8_t *)buffer->data + offset, length);
	atomic_fetch_add(&side->n_bytes, length);
	if (side->keeps && s->n_held < HOLD_MAX) {
		s->held[s->n_held++] = buffer;
		atomic_fetch_add(&side->n_kept, 1);
	} else if (side->other) {
		hand_over(side->other, buffer);
	} else {
		tm_buffer_release(buffer);
	}
}

static void on_close_here(struct tm_channel *channel, int error, void *userdata)
{
	struct stream *s = tm_channel_get_userdata(channel);
	struct side *side = userdata;

	s->is_closed = true;
	s->error = error;
	s->channel = NULL;
	atomic_fetch_add(&side->n_closed, 1);
}

static const struct tm_handlers handlers_here = {
	.size = sizeof(handlers_here),
	.open = on_open_here,
	.data = on_data_here,
	.close = on_close_here,
};

static void release_inbox(struct side *side)
{
	pthread_mutex_lock(&side->inbox.lock);
	while (side->inbox.n > 0)
		tm_buffer_release(side->inbox.buffers[--side->inbox.n]);
	pthread_mutex_unlock(&side->inbox.lock);
}

static void release_kept(struct side *side)
{
	side->keeps = false;
	for (uint32_t i = 0; i < PEERS_MAX; i++)
		release_held(&side->streams[i]);
}

static void *run_side(void *userdata)
{
	struct side *side = userdata;

	while (!atomic_load(&side->should_end)) {
		if (tm_engine_run(side->engine, -1) < 0)
			abort();
		release_inbox(side);
		if (atomic_exchange(&side->should_release, false))
			release_kept(side);
	}
	return NULL;
}

/* ---- what the main thread does with them */

static void make_side(uint32_t k, int kind, const struct tm_engine_options *options)
{
	struct side *side = &sides[k];

	*side = (struct side){ .inbox.lock = PTHREAD_MUTEX_INITIALIZER };
	side->engine = new_engine(kind, options, &handlers_here, side);
	side->port = tm_engine_listen(side->engine, "tcp:127.0.0.1:0");
	ck_assert_int_gt(side->port, 0);
}

static void start_side(uint32_t k)
{
	ck_assert_int_eq(pthread_create(&sides[k].thread, NULL, run_side, &sides[k]), 0);
	sides[k].is_running = true;
}

static void stop_side(struct side *side)
{
	if (!TAKE(side->is_running))
		return;
	atomic_store(&side->should_end, true);
	ck_assert_int_eq(tm_engine_wakeup(side->engine), 0);
	ck_assert_int_eq(pthread_join(side->thread, NULL), 0);
}

static void make_sides(int kind, uint32_t n, const struct tm_engine_options *options)
{
	/* all before the first one posts anything */
	for (uint32_t k = 0; k < n; k++)
		make_side(k, kind, options);
}

static void set_up_pool(size_t buffer_bytes, uint32_t n_buffers)
{
	set_up_slot(4);
	ck_assert_int_eq(tm_pool_open(slot, "net", buffer_bytes, n_buffers, n_buffers, &pool), 0);
}

static void wait_for(const atomic_ulong *count, unsigned long least)
{
	uint64_t end_ns = mono_now_ns() + WAIT_NS;

	while (atomic_load(count) < least) {
		ck_assert_uint_lt(mono_now_ns(), end_ns);
		usleep(1000);
	}
}

/* @n connections more, open at both ends; nothing is sent. */
static void connect_peers(uint32_t k, uint32_t n)
{
	struct side *side = &sides[k];

	port = side->port;
	for (uint32_t i = 0; i < n; i++) {
		side->peers[side->n_peers].fd = connect_tcp();
		side->peers[side->n_peers++].listen_fd = -1;
	}
	wait_for(&side->n_opened, side->n_peers);
}

static void send_to(uint32_t k, uint64_t bytes)
{
	struct side *side = &sides[k];

	for (uint32_t i = 0; i < side->n_peers; i++)
		start_peer(&side->peers[i], (uint8_t)(k * PEERS_MAX + i), bytes);
}

/* All that was sent to it has come. */
static void check_side(uint32_t k, uint64_t bytes)
{
	struct side *side = &sides[k];

	wait_for(&side->n_closed, side->n_peers);
	ck_assert_uint_eq(atomic_load(&side->n_opened), side->n_peers);
	for (uint32_t i = 0; i < side->n_peers; i++) {
		ck_assert_int_eq(side->streams[i].error, 0);
		ck_assert(!side->streams[i].is_wrong);
		ck_assert_uint_eq(side->streams[i].bytes, bytes);
	}
	join_peers(side->peers, side->n_peers);
}

static void tear_down_sides(void)
{
	for (uint32_t k = 0; k < SIDES_MAX; k++)
		stop_side(&sides[k]);
	for (uint32_t k = 0; k < SIDES_MAX; k++) {
		release_inbox(&sides[k]);
		tm_engine_free(TAKE(sides[k].engine));
	}
	tear_down();
}

/* Nothing has come to any of them for a while. */
static void wait_until_quiet(void)
{
	unsigned long before = 0, now = 1;

	while (now != before) {
		before = now;
		usleep(100000);
		now = 1;
		for (uint32_t k = 0; k < SIDES_MAX; k++)
			now += atomic_load(&sides[k].n_bytes);
	}
}

static bool posts(int kind)
{
	return kinds[kind] == TM_ENGINE_URING;
}

/* Sides 0 .. @n-1, with @n_peers connections each. */
static void start_sides(uint32_t n, uint32_t n_peers)
{
	for (uint32_t k = 0; k < n; k++) {
		start_side(k);
		connect_peers(k, n_peers);
	}
}

/* All of them have @bytes to send at once, which arrive. */
static void pass_through(uint32_t n, uint64_t bytes)
{
	for (uint32_t k = 0; k < n; k++)
		send_to(k, bytes);
	for (uint32_t k = 0; k < n; k++)
		check_side(k, bytes);
}

/* ---- enough for all */

static const struct tm_engine_options defaults;

START_TEST(every_byte_arrives_at_four_engines)
{
	set_up_pool(BUFFER_BYTES, 512);
	make_sides(_i, 4, &defaults);
	start_sides(4, 4);
	pass_through(4, 2 * MIB);
	tear_down_sides();
}
END_TEST

START_TEST(engines_of_both_kinds_share_a_pool)
{
	int other = posts(_i) ? 3 : 0;

	set_up_pool(BUFFER_BYTES, 24);
	for (uint32_t k = 0; k < 4; k++)
		make_side(k, k % 2 ? other : _i, &defaults);
	start_sides(4, 4);
	pass_through(4, MIB);
	tear_down_sides();
}
END_TEST

START_TEST(what_one_receives_anothers_thread_releases)
{
	set_up_pool(BUFFER_BYTES, 128);
	make_sides(_i, 3, &defaults);
	for (uint32_t k = 0; k < 3; k++)
		sides[k].other = &sides[(k + 1) % 3];
	start_sides(3, 4);
	pass_through(3, 2 * MIB);
	tear_down_sides();
}
END_TEST

/* ---- not enough */

static void starve(int kind, uint32_t n_engines, uint32_t n_buffers, bool is_released_late)
{
	set_up_pool(BUFFER_BYTES, n_buffers);
	make_sides(kind, n_engines, &defaults);
	for (uint32_t k = 0; k < n_engines; k++) {
		if (is_released_late)
			sides[k].other = &sides[(k + 1) % n_engines];
		start_side(k);
		connect_peers(k, 4);
	}
	for (uint32_t k = 0; k < n_engines; k++)
		send_to(k, MIB / 4);
	for (uint32_t k = 0; k < n_engines; k++)
		check_side(k, MIB / 4);
	tear_down_sides();
}

START_TEST(of_a_pool_far_too_small_each_gets_something)
{
	starve(_i, 2, 2, false);
	starve(_i, 4, 5, false);
	starve(_i, 4, 5, true);
}
END_TEST

START_TEST(engines_take_turns_where_there_are_fewer_buffers_than_engines)
{
	starve(_i, 2, 1, false);
	starve(_i, 2, 1, true);
	starve(_i, 4, 3, false);
	starve(_i, 4, 3, true);
}
END_TEST

START_TEST(one_that_is_made_later_gets_what_idle_ones_have_posted)
{
	uint64_t end_ns = mono_now_ns() + WAIT_NS;

	/* a half, a third and the rest */
	set_up_pool(BUFFER_BYTES, 64);
	for (uint32_t k = 0; k < 3; k++) {
		make_side(k, _i, &defaults);
		start_side(k);
		connect_peers(k, 1);
	}
	while (posts(_i) && stats().idle > 0) {
		ck_assert_uint_lt(mono_now_ns(), end_ns);
		usleep(1000);
	}
	make_side(3, _i, &defaults);
	start_side(3);
	connect_peers(3, 4);
	send_to(3, MIB);
	check_side(3, MIB);
	/* and who has given them back still receives */
	for (uint32_t k = 0; k < 3; k++)
		send_to(k, MIB);
	for (uint32_t k = 0; k < 3; k++)
		check_side(k, MIB);
	tear_down_sides();
}
END_TEST

static void *acquire_and_release(void *userdata)
{
	struct tm_buffer *buffer;

	(void)userdata;
	if (tm_pool_acquire_wait(pool, WAIT_NS, &buffer) < 0)
		return NULL;
	tm_buffer_release(buffer);
	return &sides;
}

/* Of the only stream, which has number 0. */
static void send_part(int fd, uint64_t begin, uint64_t end)
{
	uint8_t piece[PATTERN_PIECE];

	for (; begin < end; begin += PATTERN_PIECE) {
		memcpy(piece, pattern_at(0, begin), sizeof(piece));
		if (begin == 0)
			piece[0] = 0;
		ck_assert_int_eq(send(fd, piece, sizeof(piece), MSG_NOSIGNAL), sizeof(piece));
	}
}

START_TEST(a_thread_that_waits_gets_what_an_idle_engine_has_posted)
{
	struct tm_buffer *taken[8];
	uint32_t n_taken = 0;
	pthread_t thread;
	void *result;
	int fd;

	set_up_pool(BUFFER_BYTES, 8);
	make_side(0, _i, &defaults);
	start_side(0);
	connect_peers(0, 1);
	fd = sides[0].peers[0].fd;
	/* its receive in the kernel takes several buffers at a time then */
	send_part(fd, 0, MIB);
	wait_for(&sides[0].n_bytes, MIB);
	ck_assert_uint_eq(stats().held, 0);
	while (n_taken < (posts(_i) ? 8 : 7) && (taken[n_taken] = tm_pool_acquire(pool)))
		n_taken++;
	ck_assert_uint_eq(n_taken, posts(_i) ? 4 : 7);
	ck_assert_int_eq(pthread_create(&thread, NULL, acquire_and_release, NULL), 0);
	ck_assert_int_eq(pthread_join(thread, &result), 0);
	ck_assert_ptr_nonnull(result);
	/* and finds none, but no fault either */
	send_part(fd, MIB, 2 * MIB);
	close(fd);
	wait_for(&sides[0].n_closed, 1);
	ck_assert_int_eq(sides[0].streams[0].error, 0);
	ck_assert(!sides[0].streams[0].is_wrong);
	ck_assert_uint_eq(sides[0].streams[0].bytes, 2 * MIB);
	tm_buffer_release_bulk(taken, n_taken);
	tear_down_sides();
}
END_TEST

/* ---- consumers that keep what they get */

START_TEST(consumers_that_keep_all_on_two_engines_do_not_stop_the_third)
{
	const struct tm_engine_options greedy = { .credit_buffers = 60 };
	uint64_t end_ns = mono_now_ns() + WAIT_NS;

	/* a third for each */
	set_up_pool(BUFFER_BYTES, 60);
	make_sides(_i, 3, &greedy);
	sides[0].keeps = sides[1].keeps = true;
	start_sides(3, 2);
	send_to(0, MIB);
	send_to(1, MIB);
	wait_for(&sides[0].n_kept, 4);
	wait_for(&sides[1].n_kept, 4);
	wait_until_quiet();
	ck_assert_uint_le(stats().held, 40);
	/* in each turn they might post what the third one has released */
	send_to(2, 4 * MIB);
	while (atomic_load(&sides[2].n_closed) < 2) {
		ck_assert_uint_lt(mono_now_ns(), end_ns);
		ck_assert_int_eq(tm_engine_wakeup(sides[0].engine), 0);
		ck_assert_int_eq(tm_engine_wakeup(sides[1].engine), 0);
		usleep(1000);
	}
	check_side(2, 4 * MIB);
	for (uint32_t k = 0; k < 2; k++) {
		ck_assert_uint_eq(atomic_load(&sides[k].n_closed), 0);
		atomic_store(&sides[k].should_release, true);
		ck_assert_int_eq(tm_engine_wakeup(sides[k].engine), 0);
	}
	check_side(0, MIB);
	check_side(1, MIB);
	tear_down_sides();
}
END_TEST

/* ---- changes */

static void wait_for_chunks(uint32_t n)
{
	uint64_t end_ns = mono_now_ns() + WAIT_NS;

	while (fake_daemon_count_present(fake) != n) {
		ck_assert_uint_lt(mono_now_ns(), end_ns);
		usleep(1000);
	}
}

/* Until the pool has all pages that the slot may have. */
static void grow_pool(uint32_t n_chunks)
{
	uint64_t end_ns = mono_now_ns() + WAIT_NS;
	static struct tm_buffer *taken[1024];
	uint32_t n = 0;

	while (stats().buffers < n_chunks * 128) {
		ck_assert_uint_lt(mono_now_ns(), end_ns);
		while (n < ARRAY_LEN(taken) - 1 && (taken[n] = tm_pool_acquire(pool)))
			n++;
		n += tm_pool_acquire_wait(pool, 0, &taken[n]) == 0;
		usleep(1000);
	}
	for (uint32_t i = 0; i < n; i++)
		tm_buffer_release(taken[i]);
}

START_TEST(a_share_that_shrinks_to_the_minimum_and_grows_loses_no_byte)
{
	const struct tm_engine_options greedy = { .posted_buffers = 128, .credit_buffers = 40 };
	unsigned long n_ended, n_rounds = 0;

	/* 128 buffers a page, and one page is the minimum */
	set_up_slot(4);
	ck_assert_int_eq(tm_pool_open(slot, "net", 16384, 128, 0, &pool), 0);
	make_sides(_i, 2, &greedy);
	for (uint32_t k = 0; k < 2; k++) {
		sides[k].other = &sides[1 - k];
		start_side(k);
		connect_peers(k, 4);
	}
	for (uint32_t k = 0; k < 2; k++)
		send_to(k, 32 * MIB);
	do {
		grow_pool(4);
		fake_daemon_set_share(fake, 1);
		wait_for_chunks(1);
		ck_assert_uint_le(stats().buffers, 128);
		n_ended = atomic_load(&sides[0].n_closed) + atomic_load(&sides[1].n_closed);
		n_rounds += n_ended == 0;
		fake_daemon_set_share(fake, 4);
	} while (n_ended < 8);
	ck_assert_uint_gt(n_rounds, 0);
	for (uint32_t k = 0; k < 2; k++)
		check_side(k, 32 * MIB);
	fake_daemon_set_share(fake, 1);
	wait_for_chunks(1);
	ck_assert_uint_eq(fake_daemon_count_backed(fake), 1);
	tear_down_sides();
}
END_TEST

START_TEST(what_an_engine_had_that_is_freed_goes_to_the_others)
{
	const struct tm_engine_options greedy = { .credit_buffers = 16 };

	/* the first one is alone for a while, and has all that there is */
	set_up_pool(BUFFER_BYTES, 16);
	make_side(0, _i, &greedy);
	sides[0].keeps = true;
	start_side(0);
	connect_peers(0, 4);
	send_to(0, MIB);
	wait_for(&sides[0].n_kept, 8);
	wait_until_quiet();
	for (uint32_t k = 1; k < 3; k++) {
		make_side(k, _i, &greedy);
		start_side(k);
		connect_peers(k, 4);
		send_to(k, 2 * MIB);
	}
	/* while the others receive, or wait for it */
	stop_side(&sides[0]);
	tm_engine_free(TAKE(sides[0].engine));
	ck_assert_uint_eq(atomic_load(&sides[0].n_closed), 4);
	release_kept(&sides[0]);
	for (uint32_t k = 1; k < 3; k++)
		check_side(k, 2 * MIB);
	join_peers(sides[0].peers, 4);
	/* each may post a third again */
	ck_assert_uint_eq(stats().held, 0);
	ck_assert_uint_le(stats().posted, 10);
	tear_down_sides();
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		every_byte_arrives_at_four_engines,
		engines_of_both_kinds_share_a_pool,
		what_one_receives_anothers_thread_releases,
		of_a_pool_far_too_small_each_gets_something,
		engines_take_turns_where_there_are_fewer_buffers_than_engines,
		one_that_is_made_later_gets_what_idle_ones_have_posted,
		a_thread_that_waits_gets_what_an_idle_engine_has_posted,
		consumers_that_keep_all_on_two_engines_do_not_stop_the_third,
		a_share_that_shrinks_to_the_minimum_and_grows_loses_no_byte,
		what_an_engine_had_that_is_freed_goes_to_the_others,
	};

	return run_suite("engines", tests, ARRAY_LEN(tests));
}
