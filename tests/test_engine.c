/* SPDX-License-Identifier: Apache-2.0 */

/* The receive engine: transfers, credit, starvation, resizes; with io_uring and with epoll. */

#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/mono.h"
#include "engine_fixture.h"

/* ---- transfers */

START_TEST(every_byte_arrives_over_tcp)
{
	struct peer peer = { .fd = -1, .listen_fd = -1 };

	set_up(_i, 32768, 64);
	listen_tcp();
	start_peer(&peer, 5, 64 * MIB);
	run_until_closed(1);
	check_streams(1, 64 * MIB);
	join_peers(&peer, 1);
	tear_down();
}
END_TEST

START_TEST(every_byte_arrives_over_a_unix_socket)
{
	struct peer peer = { .listen_fd = -1 };
	char name[64], address[80];

	set_up(_i, 32768, 64);
	snprintf(name, sizeof(name), "taskmem-test-%d", (int)getpid());
	snprintf(address, sizeof(address), "unix:@%s", name);
	ck_assert_int_eq(tm_engine_listen(engine, address), 0);
	peer.fd = bind_unix(name, false);
	start_peer(&peer, 6, 64 * MIB);
	run_until_closed(1);
	check_streams(1, 64 * MIB);
	join_peers(&peer, 1);
	tear_down();
}
END_TEST

START_TEST(every_byte_arrives_over_outgoing_connections)
{
	struct sockaddr_in in = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t length = sizeof(in);
	struct peer peers[2] = {};
	struct tm_channel *channel;
	char name[64], address[80];

	set_up(_i, 32768, 64);
	peers[0].listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(peers[0].listen_fd, (struct sockaddr *)&in, sizeof(in)), 0);
	ck_assert_int_eq(listen(peers[0].listen_fd, 4), 0);
	ck_assert_int_eq(getsockname(peers[0].listen_fd, (struct sockaddr *)&in, &length), 0);
	snprintf(name, sizeof(name), "taskmem-test-%d", (int)getpid());
	peers[1].listen_fd = bind_unix(name, true);
	start_peer(&peers[0], 7, 32 * MIB);
	start_peer(&peers[1], 8, 32 * MIB);

	snprintf(address, sizeof(address), "tcp:localhost:%d", ntohs(in.sin_port));
	ck_assert_int_eq(tm_engine_connect(engine, address, &channel), 0);
	ck_assert_str_eq(tm_channel_peer(channel), address);
	snprintf(address, sizeof(address), "unix:@%s", name);
	ck_assert_int_eq(tm_engine_connect(engine, address, NULL), 0);
	run_until_open(2);
	snprintf(address, sizeof(address), "tcp:127.0.0.1:%d", ntohs(in.sin_port));
	ck_assert_str_eq(tm_channel_peer(channel), address);
	run_until_closed(2);
	check_streams(2, 32 * MIB);
	join_peers(peers, 2);
	tear_down();
}
END_TEST

START_TEST(two_hundred_channels_at_once)
{
	struct peer *peers = calloc(200, sizeof(*peers));

	set_up(_i, 8192, 128);
	listen_tcp();
	start_tcp_peers(peers, 200, 256 << 10);
	run_until_closed(200);
	check_streams(200, 256 << 10);
	join_peers(peers, 200);
	free(peers);
	tear_down();
}
END_TEST

/* FLINK-16641: without exclusive buffers a sender had no credit to tell its backlog with, and waited for
 * ever. Here and in the next case there is not one for each channel. */
START_TEST(few_buffers_and_many_channels_starve_nobody)
{
	struct peer *peers = calloc(100, sizeof(*peers));

	set_up(_i, 4096, 3);
	listen_tcp();
	start_tcp_peers(peers, 100, 128 << 10);
	run_until_closed(100);
	check_streams(100, 128 << 10);
	join_peers(peers, 100);
	free(peers);
	tear_down();
}
END_TEST

START_TEST(one_buffer_is_enough_for_many_channels)
{
	struct peer peers[8] = {};

	set_up(_i, 4096, 1);
	listen_tcp();
	start_tcp_peers(peers, 8, 256 << 10);
	run_until_closed(8);
	check_streams(8, 256 << 10);
	join_peers(peers, 8);
	tear_down();
}
END_TEST

/* ---- credit */

START_TEST(credit_parks_a_channel_and_the_others_go_on)
{
	struct tm_channel_stats cs = { .size = sizeof(cs) };
	struct peer peers[4] = {};
	struct stream *parked = NULL;

	set_up(_i, 4096, 256);
	hold_first = true;
	listen_tcp();
	start_tcp_peers(peers, 4, 16 * MIB);
	wait_for_backlog(peers, 4);
	run_until_closed(3);
	run_until_quiet();
	for (uint32_t i = 0; i < n_streams; i++)
		if (!streams[i].is_closed)
			parked = &streams[i];
	ck_assert_ptr_nonnull(parked);
	ck_assert_uint_eq(parked->id, 0);
	ck_assert_uint_eq(parked->n_held, 10);
	ck_assert_int_eq(tm_channel_get_stats(parked->channel, &cs), 0);
	ck_assert_uint_eq(cs.held, 10);
	ck_assert_uint_ge(cs.parked_total, 1);
	ck_assert_uint_eq(cs.bytes, parked->bytes);
	/* what is not received backs up in the sockets, and no further */
	ck_assert_uint_lt(atomic_load(&peers[0].sent), 12 * MIB);
	release_held(parked);
	run_until_closed(4);
	check_streams(4, 16 * MIB);
	join_peers(peers, 4);
	tear_down();
}
END_TEST

static void *release_later(void *userdata)
{
	usleep(50000);
	release_held(userdata);
	return NULL;
}

START_TEST(a_release_by_another_thread_wakes_a_parked_channel)
{
	struct peer peer = { .fd = -1, .listen_fd = -1 };
	pthread_t thread;

	set_up(_i, 4096, 64);
	hold_first = true;
	listen_tcp();
	start_peer(&peer, 0, 2 * MIB);
	wait_for_backlog(&peer, 1);
	run_until_open(1);
	run_until_quiet();
	ck_assert_uint_eq(streams[0].n_held, 10);
	ck_assert_int_eq(pthread_create(&thread, NULL, release_later, &streams[0]), 0);
	/* no time-out: only the release can end this wait */
	ck_assert_int_ge(tm_engine_run(engine, -1), 0);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	run_until_closed(1);
	check_streams(1, 2 * MIB);
	join_peers(&peer, 1);
	tear_down();
}
END_TEST

static void *release_buffer_later(void *userdata)
{
	usleep(50000);
	tm_buffer_release(userdata);
	return NULL;
}

START_TEST(a_release_into_an_empty_pool_wakes_the_starved)
{
	struct peer peers[2] = {};
	struct tm_buffer *taken[16];
	uint32_t n_taken = 0;
	pthread_t thread;

	set_up(_i, 4096, 4);
	listen_tcp();
	/* what the engine has not posted is taken away */
	ck_assert_int_ge(tm_engine_run(engine, 0), 0);
	while ((taken[n_taken] = tm_pool_acquire(pool)))
		n_taken++;
	hold_all = true;
	start_tcp_peers(peers, 2, MIB);
	run_until_open(2);
	run_until_quiet();
	ck_assert_uint_eq(stats().idle, 0);
	ck_assert_uint_eq(stats().posted, 0);
	ck_assert_uint_eq(n_closed, 0);
	hold_all = false;
	streams[0].should_hold = streams[1].should_hold = false;
	ck_assert_uint_gt(n_taken, 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, release_buffer_later, taken[--n_taken]), 0);
	/* no time-out: only the release can end this wait */
	ck_assert_int_ge(tm_engine_run(engine, -1), 0);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	while (n_taken > 0)
		tm_buffer_release(taken[--n_taken]);
	run_until_closed(2);
	release_held(&streams[0]);
	release_held(&streams[1]);
	check_streams(2, MIB);
	join_peers(peers, 2);
	tear_down();
}
END_TEST

START_TEST(idle_connections_hold_no_buffer)
{
	int fds[100];

	set_up(_i, 4096, 32);
	listen_tcp();
	for (int i = 0; i < 100; i++)
		fds[i] = connect_tcp();
	run_until_open(100);
	run_until_quiet();
	ck_assert_uint_eq(stats().held, 0);
	ck_assert_uint_eq(stats().posted, kinds[_i] == TM_ENGINE_URING ? 16 : 0);
	ck_assert_uint_eq(stats().idle, kinds[_i] == TM_ENGINE_URING ? 16 : 32);
	for (int i = 0; i < 100; i++)
		close(fds[i]);
	run_until_closed(100);
	tear_down();
}
END_TEST

/* ---- the loop */

static void *wake_later(void *userdata)
{
	(void)userdata;
	usleep(50000);
	ck_assert_int_eq(tm_engine_wakeup(engine), 0);
	return NULL;
}

START_TEST(wakeup_ends_a_wait_without_time_out)
{
	pthread_t thread;

	set_up(_i, 4096, 8);
	ck_assert_int_eq(pthread_create(&thread, NULL, wake_later, NULL), 0);
	ck_assert_int_eq(tm_engine_run(engine, -1), 0);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	ck_assert_int_eq(tm_engine_wakeup(engine), 0);
	ck_assert_int_eq(tm_engine_run(engine, -1), 0);
	tear_down();
}
END_TEST

START_TEST(run_ends_at_its_time_out)
{
	uint64_t begin_ns;

	set_up(_i, 4096, 8);
	ck_assert_int_ge(tm_engine_run(engine, 0), 0);
	begin_ns = mono_now_ns();
	ck_assert_int_eq(tm_engine_run(engine, 40), 0);
	ck_assert_uint_ge(mono_now_ns() - begin_ns, 39 * NS_PER_MSEC);
	tear_down();
}
END_TEST

START_TEST(a_pool_in_use_by_an_engine_cannot_be_closed)
{
	set_up(_i, 4096, 8);
	ck_assert_int_eq(tm_pool_close(pool), -EBUSY);
	tear_down();
}
END_TEST

START_TEST(a_resize_under_traffic_loses_no_byte)
{
	struct tm_slot_info info = { .size = sizeof(info) };
	struct peer peers[8] = {};
	uint64_t n_bytes = 0;
	uint32_t n_changes = 0;

	set_up_slot(8);
	ck_assert_int_eq(tm_pool_open(slot, "net", 65536, 8, 0, &pool), 0);
	make_engine(_i, 64, 0, 0);
	listen_tcp();
	start_tcp_peers(peers, 8, 16 * MIB);
	while (n_closed < 8) {
		ck_assert_int_ge(tm_engine_run(engine, 1000), 0);
		n_bytes = 0;
		for (uint32_t i = 0; i < n_streams; i++)
			n_bytes += streams[i].bytes;
		if (n_bytes < n_changes * MIB)
			continue;
		n_changes++;
		fake_daemon_set_share(fake, n_changes % 2 ? 1 + n_changes / 2 % 3 : 8);
	}
	check_streams(8, 16 * MIB);
	join_peers(peers, 8);
	ck_assert_uint_gt(n_changes, 20);
	fake_daemon_set_share(fake, 1);
	do {
		ck_assert_int_ge(tm_engine_run(engine, 1000), 0);
		ck_assert_int_eq(tm_slot_get_info(slot, &info), 0);
	} while (info.chunks_held > 1);
	ck_assert_uint_eq(fake_daemon_count_present(fake), 1);
	ck_assert_uint_eq(fake_daemon_count_backed(fake), 1);
	tear_down();
}
END_TEST

START_TEST(posted_buffers_do_not_keep_an_owed_page)
{
	struct tm_slot_info info = { .size = sizeof(info) };
	struct peer peer = { .fd = -1, .listen_fd = -1 };
	struct tm_buffer *taken[3];

	/* two buffers a page: the task has the first page and half of the second */
	set_up_slot(2);
	ck_assert_int_eq(tm_pool_open(slot, "net", MIB, 1, 4, &pool), 0);
	for (int i = 0; i < 3; i++)
		ck_assert_ptr_nonnull(taken[i] = tm_pool_acquire(pool));
	make_engine(_i, 2, 0, 0);
	listen_tcp();
	ck_assert_int_ge(tm_engine_run(engine, 0), 0);
	ck_assert_uint_eq(stats().posted, kinds[_i] == TM_ENGINE_URING ? 1 : 0);
	tm_buffer_release(taken[2]);
	/* so the second one drains, which the engine has posted from */
	fake_daemon_set_share(fake, 1);
	do {
		ck_assert_int_ge(tm_engine_run(engine, 1000), 0);
		ck_assert_int_eq(tm_slot_get_info(slot, &info), 0);
	} while (info.chunks_held > 1);
	ck_assert_uint_eq(fake_daemon_count_backed(fake), 1);
	ck_assert_uint_eq(stats().held, 2);
	tm_buffer_release(taken[0]);
	tm_buffer_release(taken[1]);
	start_peer(&peer, 2, 8 * MIB);
	run_until_closed(1);
	check_streams(1, 8 * MIB);
	join_peers(&peer, 1);
	tear_down();
}
END_TEST

START_TEST(a_starved_engine_gets_pages_that_a_notice_allows)
{
	struct peer peer = { .fd = -1, .listen_fd = -1 };
	struct tm_buffer *taken[32];

	set_up_slot(1);
	ck_assert_int_eq(tm_pool_open(slot, "net", 65536, 32, 0, &pool), 0);
	for (int i = 0; i < 32; i++)
		ck_assert_ptr_nonnull(taken[i] = tm_pool_acquire(pool));
	make_engine(_i, 0, 0, 0);
	listen_tcp();
	start_peer(&peer, 4, 4 * MIB);
	run_until_open(1);
	run_until_quiet();
	ck_assert_uint_eq(streams[0].bytes, 0);
	fake_daemon_set_share(fake, 2);
	run_until_closed(1);
	check_streams(1, 4 * MIB);
	for (int i = 0; i < 32; i++)
		tm_buffer_release(taken[i]);
	join_peers(&peer, 1);
	tear_down();
}
END_TEST

START_TEST(auto_obeys_the_environment)
{
	struct tm_engine_options options = { .size = sizeof(options) };

	set_up(_i, 4096, 8);
	tm_engine_free(engine);
	setenv("TASKMEM_ENGINE", kinds[_i] == TM_ENGINE_URING ? "uring" : "epoll", 1);
	ck_assert_int_eq(tm_engine_new(pool, &options, &handlers, &streams, &engine), 0);
	ck_assert_int_eq(tm_engine_get_kind(engine), kinds[_i]);
	tm_engine_free(engine);
	setenv("TASKMEM_ENGINE", "steam", 1);
	ck_assert_int_eq(tm_engine_new(pool, &options, &handlers, &streams, &engine), -EINVAL);
	engine = NULL;
	tear_down();
}
END_TEST

static bool is_told(const char *engines)
{
	return strcmp(fake_daemon_get_engines(fake), engines) == 0;
}

START_TEST(the_daemon_is_told_of_each_kind_of_engine_and_a_new_one_again)
{
	const char *first = kinds[_i] == TM_ENGINE_URING ? "uring" : "epoll";
	struct tm_engine_options options = { .size = sizeof(options),
					     .kind = kinds[_i] == TM_ENGINE_URING
							     ? TM_ENGINE_EPOLL
							     : TM_ENGINE_URING };
	struct tm_engine *other;

	set_up(_i, 4096, 8);
	ck_assert(is_told(first)); /* on return, not some day */
	ck_assert_int_eq(tm_engine_new(pool, &options, &handlers, &streams, &other), 0);
	ck_assert(is_told("both"));
	tm_engine_free(other);
	fake_daemon_stop(fake);
	fake_daemon_start(fake);
	ck_assert(is_told("none"));
	for (int i = 0; i < 1000 && !is_told("both"); i++)
		ck_assert_int_ge(tm_engine_run(engine, 10), 0);
	ck_assert(is_told("both"));
	tear_down();
}
END_TEST

/* As container runtimes do by default. */
static void refuse_io_uring(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { .len = ARRAY_LEN(filter), .filter = filter };

	ck_assert_int_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	ck_assert_int_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

START_TEST(auto_takes_epoll_where_io_uring_is_refused)
{
	struct tm_engine_options options = { .size = sizeof(options) };
	struct peer peer = { .fd = -1, .listen_fd = -1 };

	set_up(_i, 4096, 8);
	tm_engine_free(engine);
	refuse_io_uring();
	options.kind = TM_ENGINE_URING;
	ck_assert_int_eq(tm_engine_new(pool, &options, &handlers, &streams, &engine), -EPERM);
	options.kind = TM_ENGINE_AUTO;
	ck_assert_int_eq(tm_engine_new(pool, &options, &handlers, &streams, &engine), 0);
	ck_assert_int_eq(tm_engine_get_kind(engine), TM_ENGINE_EPOLL);
	listen_tcp();
	start_peer(&peer, 1, MIB);
	run_until_closed(1);
	check_streams(1, MIB);
	join_peers(&peer, 1);
	tear_down();
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		every_byte_arrives_over_tcp,
		every_byte_arrives_over_a_unix_socket,
		every_byte_arrives_over_outgoing_connections,
		two_hundred_channels_at_once,
		few_buffers_and_many_channels_starve_nobody,
		one_buffer_is_enough_for_many_channels,
		credit_parks_a_channel_and_the_others_go_on,
		a_release_by_another_thread_wakes_a_parked_channel,
		a_release_into_an_empty_pool_wakes_the_starved,
		idle_connections_hold_no_buffer,
		wakeup_ends_a_wait_without_time_out,
		run_ends_at_its_time_out,
		a_pool_in_use_by_an_engine_cannot_be_closed,
		a_resize_under_traffic_loses_no_byte,
		posted_buffers_do_not_keep_an_owed_page,
		a_starved_engine_gets_pages_that_a_notice_allows,
		auto_obeys_the_environment,
		the_daemon_is_told_of_each_kind_of_engine_and_a_new_one_again,
		auto_takes_epoll_where_io_uring_is_refused,
	};

	return run_suite("engine", tests, ARRAY_LEN(tests));
}
