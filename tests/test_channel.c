/* SPDX-License-Identifier: Apache-2.0 */

/* Channels and listeners: how they begin and end; with io_uring and with epoll. */

#include <check.h>
#include <errno.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/mono.h"
#include "engine_fixture.h"

static unsigned port_of(int fd)
{
	struct sockaddr_in address = {};
	socklen_t length = sizeof(address);

	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&address, &length), 0);
	return ntohs(address.sin_port);
}

/* ---- ends */

static void reset(int fd)
{
	struct linger linger = { .l_onoff = 1, .l_linger = 0 };

	ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)), 0);
	close(fd);
}

START_TEST(a_reset_by_the_peer_is_reported)
{
	int fd;

	set_up(_i, 4096, 8);
	listen_tcp();
	fd = connect_tcp();
	run_until_open(1);
	reset(fd);
	run_until_closed(1);
	ck_assert_int_eq(streams[0].error, -ECONNRESET);
	tear_down();
}
END_TEST

START_TEST(a_reset_is_seen_while_the_channel_is_parked)
{
	static const uint8_t zeros[256 << 10];
	int fd;

	set_up(_i, 4096, 64);
	hold_first = true;
	listen_tcp();
	fd = connect_tcp();
	ck_assert_int_eq(send(fd, zeros, 128 << 10, 0), 128 << 10);
	run_until_open(1);
	run_until_quiet();
	ck_assert_uint_eq(streams[0].n_held, 10);
	reset(fd);
	run_until_closed(1);
	ck_assert_int_eq(streams[0].error, -ECONNRESET);
	/* the buffers outlive their channel */
	release_held(&streams[0]);
	tear_down();
}
END_TEST

START_TEST(a_hang_up_while_parked_loses_nothing_and_costs_no_cpu)
{
	struct peer peer = { .listen_fd = -1 };
	char name[64], address[80];
	uint32_t n_runs = 0;
	uint64_t end_ns;

	set_up(_i, 4096, 64);
	hold_first = true;
	/* a unix socket, whose other end is gone, reports POLLHUP for ever */
	snprintf(name, sizeof(name), "taskmem-test-%d", (int)getpid());
	snprintf(address, sizeof(address), "unix:@%s", name);
	ck_assert_int_eq(tm_engine_listen(engine, address), 0);
	peer.fd = bind_unix(name, false);
	start_peer(&peer, 0, 60 << 10);
	run_until_open(1);
	join_peers(&peer, 1);
	run_until_quiet();
	ck_assert_uint_eq(streams[0].n_held, 10);
	ck_assert_uint_eq(n_closed, 0);
	for (end_ns = mono_now_ns() + 200 * NS_PER_MSEC; mono_now_ns() < end_ns; n_runs++)
		ck_assert_int_eq(tm_engine_run(engine, 100), 0);
	ck_assert_uint_le(n_runs, 5);
	release_held(&streams[0]);
	run_until_closed(1);
	check_streams(1, 60 << 10);
	tear_down();
}
END_TEST

START_TEST(a_half_closed_stream_ends_in_order)
{
	struct peer peer = { .fd = -1, .listen_fd = -1, .half_close = true };

	set_up(_i, 32768, 16);
	listen_tcp();
	start_peer(&peer, 9, 3 * MIB + 17);
	run_until_closed(1);
	check_streams(1, 3 * MIB + 17);
	join_peers(&peer, 1);
	tear_down();
}
END_TEST

START_TEST(the_end_of_a_stream_is_not_hidden_by_an_empty_pool)
{
	struct tm_buffer *taken[4];
	uint32_t n_taken = 0;
	int fd;

	set_up(_i, 4096, 4);
	listen_tcp();
	hold_all = true;
	fd = connect_tcp();
	ck_assert_int_eq(send(fd, "\0", 1, 0), 1);
	run_until_open(1);
	run_until_quiet();
	while ((taken[n_taken] = tm_pool_acquire(pool)))
		n_taken++;
	close(fd);
	run_until_quiet();
	while (n_taken > 0)
		tm_buffer_release(taken[--n_taken]);
	release_held(&streams[0]);
	run_until_closed(1);
	ck_assert_int_eq(streams[0].error, 0);
	tear_down();
}
END_TEST

START_TEST(closing_a_channel_in_its_data_handler_ends_only_that_one)
{
	struct peer peers[4] = {};

	set_up(_i, 4096, 32);
	close_first = true;
	listen_tcp();
	start_tcp_peers(peers, 4, 4 * MIB);
	run_until_closed(4);
	for (uint32_t i = 0; i < n_streams; i++) {
		ck_assert_int_eq(streams[i].error, streams[i].id == 0 ? -ECANCELED : 0);
		ck_assert(!streams[i].is_wrong);
		if (streams[i].id == 0)
			ck_assert_uint_le(streams[i].bytes, 4096);
		else
			ck_assert_uint_eq(streams[i].bytes, 4 * MIB);
	}
	join_peers(peers, 4);
	tear_down();
}
END_TEST

START_TEST(an_open_handler_can_refuse)
{
	struct peer peer = { .fd = -1, .listen_fd = -1 };

	set_up(_i, 4096, 8);
	refuse_all = true;
	listen_tcp();
	start_peer(&peer, 1, MIB);
	run_until_closed(1);
	ck_assert_int_eq(streams[0].error, -EACCES);
	ck_assert_uint_eq(streams[0].bytes, 0);
	join_peers(&peer, 1);
	tear_down();
}
END_TEST

START_TEST(buffers_may_be_released_after_the_engine_is_gone)
{
	struct peer peer = { .fd = -1, .listen_fd = -1 };

	set_up(_i, 4096, 64);
	hold_first = true;
	listen_tcp();
	start_peer(&peer, 0, 2 * MIB);
	wait_for_backlog(&peer, 1);
	run_until_open(1);
	run_until_quiet();
	ck_assert_uint_eq(streams[0].n_held, 10);
	tm_engine_free(engine);
	ck_assert(streams[0].is_closed);
	ck_assert_int_eq(streams[0].error, -ECANCELED);
	engine = NULL;
	ck_assert_uint_eq(stats().held, 10);
	release_held(&streams[0]);
	join_peers(&peer, 1);
	tear_down();
}
END_TEST

static void *run_engine(void *userdata)
{
	(void)userdata;
	while (n_opened < 1 || streams[0].bytes < 40960)
		if (tm_engine_run(engine, 1000) < 0)
			return NULL;
	return &streams;
}

START_TEST(an_engine_may_be_freed_after_its_thread_ended)
{
	struct peer peer = { .fd = -1, .listen_fd = -1 };
	pthread_t thread;
	void *result;

	set_up(_i, 4096, 64);
	listen_tcp();
	ck_assert_int_eq(pthread_create(&thread, NULL, run_engine, NULL), 0);
	start_peer(&peer, 3, 256 * MIB);
	ck_assert_int_eq(pthread_join(thread, &result), 0);
	ck_assert_ptr_nonnull(result);
	tm_engine_free(engine);
	engine = NULL;
	ck_assert_uint_eq(n_closed, 1);
	join_peers(&peer, 1);
	tear_down();
}
END_TEST

/* ---- addresses */

/* The engine's own end of the connection whose other end is @fd. */
static int other_end(int fd)
{
	struct sockaddr_in local = {}, peer;
	socklen_t length = sizeof(local);

	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&local, &length), 0);
	for (int i = 3; i < 256; i++) {
		length = sizeof(peer);
		if (i != fd && getpeername(i, (struct sockaddr *)&peer, &length) == 0 &&
		    peer.sin_family == AF_INET && peer.sin_port == local.sin_port)
			return i;
	}
	ck_abort_msg("the engine has no such connection");
}

static int option_of(int fd, int level, int option)
{
	socklen_t length = sizeof(int);
	int value = -1;

	ck_assert_int_eq(getsockopt(fd, level, option, &value, &length), 0);
	return value;
}

static void check_patience(int fd, int timeout_s)
{
	ck_assert_int_eq(option_of(fd, SOL_SOCKET, SO_KEEPALIVE), timeout_s > 0);
	/* that would count the time of a shut window as well */
	ck_assert_int_eq(option_of(fd, IPPROTO_TCP, TCP_USER_TIMEOUT), 0);
	if (timeout_s == 0)
		return;
	ck_assert_int_eq(option_of(fd, IPPROTO_TCP, TCP_KEEPIDLE), timeout_s / 2);
	ck_assert_int_eq(option_of(fd, IPPROTO_TCP, TCP_KEEPINTVL), timeout_s / 12);
	ck_assert_int_eq(option_of(fd, IPPROTO_TCP, TCP_KEEPCNT), 6);
}

static void make_engine_with_timeout(int kind, uint32_t timeout_s)
{
	struct tm_engine_options options = { .size = sizeof(options),
					     .kind = kinds[kind],
					     .peer_timeout_s = timeout_s };

	tm_engine_free(engine);
	ck_assert_int_eq(tm_engine_new(pool, &options, &handlers, streams, &engine), 0);
	listen_tcp();
}

START_TEST(the_kernel_asks_whether_a_silent_peer_is_still_there)
{
	static const struct {
		uint32_t option;
		int seconds;
	} rows[] = { { 0, 120 }, { 24, 24 }, { TM_PEER_TIMEOUT_NEVER, 0 } };
	struct tm_engine_options bad = { .size = sizeof(bad), .peer_timeout_s = 40000 };
	struct tm_engine *none;
	char address[64];
	int fd, listen_fd, own_fd;

	set_up(_i, 4096, 8);
	ck_assert_int_eq(tm_engine_new(pool, &bad, &handlers, streams, &none), -EINVAL);
	for (uint32_t i = 0; i < ARRAY_LEN(rows); i++) {
		make_engine_with_timeout(_i, rows[i].option);
		fd = connect_tcp();
		run_until_open(i + 1);
		check_patience(other_end(fd), rows[i].seconds);
		close(fd);
		run_until_closed(i + 1);
	}
	/* connected by the engine */
	make_engine_with_timeout(_i, 0);
	listen_fd = socket(AF_INET, SOCK_STREAM, 0);
	ck_assert_int_eq(listen(listen_fd, 1), 0);
	snprintf(address, sizeof(address), "tcp:127.0.0.1:%u", port_of(listen_fd));
	ck_assert_int_eq(tm_engine_connect(engine, address, NULL), 0);
	run_until_open(ARRAY_LEN(rows) + 1);
	own_fd = accept(listen_fd, NULL, NULL);
	check_patience(other_end(own_fd), 120);
	close(own_fd);
	close(listen_fd);
	run_until_closed(ARRAY_LEN(rows) + 1);
	tear_down();
}
END_TEST

static char peer_seen[64];

static int note_peer(struct tm_channel *channel, void *userdata)
{
	(void)userdata;
	snprintf(peer_seen, sizeof(peer_seen), "%s", tm_channel_peer(channel));
	return 0;
}

START_TEST(the_peer_of_a_connection_reset_before_its_accept_has_a_name)
{
	const struct tm_handlers noting = { .size = sizeof(noting),
					    .open = note_peer,
					    .data = on_data };

	set_up(_i, 4096, 8);
	tm_engine_free(engine);
	ck_assert_int_eq(
		tm_engine_new(pool,
			      &(struct tm_engine_options){ .size = sizeof(struct tm_engine_options),
							   .kind = kinds[_i] },
			      &noting, streams, &engine),
		0);
	listen_tcp();
	reset(connect_tcp());
	peer_seen[0] = 0;
	while (!peer_seen[0])
		ck_assert_int_ge(tm_engine_run(engine, 1000), 0);
	ck_assert_str_eq(peer_seen, "tcp:");
	tear_down();
}
END_TEST

START_TEST(malformed_addresses_are_refused)
{
	static const char *const bad[] = {
		"",
		"tcp",
		"tcp:",
		"tcp:localhost",
		"tcp:localhost:",
		"tcp:localhost:http",
		"tcp:localhost:65536",
		"tcp:localhost:-1",
		"tcp:::1:80",
		"tcp:[::1]80",
		"tcp:[::1:80",
		"tcp:[]:80",
		"udp:localhost:80",
		"unix:",
		"unix:@",
		"unix:relative",
		"localhost:80",
	};
	char path[200] = "unix:/";

	set_up(_i, 4096, 8);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		ck_assert_int_eq(tm_engine_listen(engine, bad[i]), -EINVAL);
		ck_assert_int_eq(tm_engine_connect(engine, bad[i], NULL), -EINVAL);
	}
	ck_assert_int_eq(tm_engine_connect(engine, "tcp:localhost:0", NULL), -EINVAL);
	ck_assert_int_eq(tm_engine_connect(engine, "tcp:*:80", NULL), -EINVAL);
	memset(path + 6, 'x', 150);
	ck_assert_int_eq(tm_engine_listen(engine, path), -ENAMETOOLONG);
	tear_down();
}
END_TEST

START_TEST(listening_on_a_used_address_fails)
{
	char address[64], path[96];

	set_up(_i, 4096, 8);
	listen_tcp();
	snprintf(address, sizeof(address), "tcp:127.0.0.1:%d", port);
	ck_assert_int_eq(tm_engine_listen(engine, address), -EADDRINUSE);
	port = tm_engine_listen(engine, "tcp:*:0");
	ck_assert_int_gt(port, 0);
	snprintf(address, sizeof(address), "tcp::%d", port);
	ck_assert_int_eq(tm_engine_listen(engine, address), -EADDRINUSE);
	/* the fake daemon's socket is in use, too */
	snprintf(path, sizeof(path), "unix:%s", fake_daemon_get_socket(fake));
	ck_assert_int_eq(tm_engine_listen(engine, path), -EADDRINUSE);
	ck_assert_int_eq(access(fake_daemon_get_socket(fake), F_OK), 0);
	tear_down();
}
END_TEST

START_TEST(a_stale_socket_file_is_replaced_and_removed_in_the_end)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	char address[128];
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	set_up(_i, 4096, 8);
	snprintf(un.sun_path, sizeof(un.sun_path), "%s-stale", fake_daemon_get_socket(fake));
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&un, sizeof(un)), 0);
	close(fd);
	snprintf(address, sizeof(address), "unix:%s", un.sun_path);
	ck_assert_int_eq(tm_engine_listen(engine, address), 0);
	tm_engine_free(engine);
	engine = NULL;
	ck_assert_int_eq(access(un.sun_path, F_OK), -1);
	tear_down();
}
END_TEST

START_TEST(a_dual_stack_listener_takes_both_families)
{
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	int fd4, fd6;

	set_up(_i, 4096, 8);
	port = tm_engine_listen(engine, "tcp:*:0");
	ck_assert_int_gt(port, 0);
	fd4 = connect_tcp();
	run_until_open(1);
	ck_assert_int_eq(strncmp(tm_channel_peer(streams[0].channel), "tcp:127.0.0.1:", 14), 0);
	close(fd4);
	fd6 = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
	in6.sin6_port = htons((uint16_t)port);
	/* a machine without IPv6 has nothing to show here */
	if (fd6 >= 0 && connect(fd6, (struct sockaddr *)&in6, sizeof(in6)) == 0) {
		run_until_open(2);
		ck_assert_int_eq(strncmp(tm_channel_peer(streams[1].channel), "tcp:[::1]:", 10), 0);
	}
	if (fd6 >= 0)
		close(fd6);
	run_until_closed(n_opened);
	tear_down();
}
END_TEST

static void on_failed_connect(struct tm_channel *channel, int error, void *userdata)
{
	(void)channel;
	*(int *)userdata = error;
	n_closed++;
}

START_TEST(a_refused_connection_is_reported_to_the_close_handler)
{
	const struct tm_handlers only_close = { .size = sizeof(only_close),
						.data = on_data,
						.close = on_failed_connect };
	struct tm_engine_options options = { .size = sizeof(options), .kind = kinds[_i] };
	char address[64];
	int error = 0;

	set_up(_i, 4096, 8);
	tm_engine_free(engine);
	make_engine(_i, 0, 0, 0);
	listen_tcp();
	snprintf(address, sizeof(address), "tcp:127.0.0.1:%d", port);
	tm_engine_free(engine); /* the port was free a moment ago */
	ck_assert_int_eq(tm_engine_new(pool, &options, &only_close, &error, &engine), 0);
	ck_assert_int_eq(tm_engine_connect(engine, address, NULL), 0);
	run_until_closed(1);
	ck_assert_int_eq(error, -ECONNREFUSED);
	ck_assert_int_eq(tm_engine_connect(engine, "unix:/nonexistent/socket", NULL), 0);
	run_until_closed(2);
	ck_assert_int_eq(error, -ENOENT);
	tear_down();
}
END_TEST

START_TEST(more_than_max_channels_are_refused)
{
	int fds[6];
	char byte;

	set_up_slot(1);
	ck_assert_int_eq(tm_pool_open(slot, "net", 4096, 16, 16, &pool), 0);
	make_engine(_i, 0, 0, 4);
	listen_tcp();
	for (int i = 0; i < 6; i++)
		fds[i] = connect_tcp();
	run_until_open(4);
	run_until_quiet();
	ck_assert_uint_eq(n_opened, 4);
	ck_assert_int_eq(tm_engine_connect(engine, "unix:@x", NULL), -EMFILE);
	ck_assert_int_le(read(fds[5], &byte, 1), 0);
	for (int i = 0; i < 6; i++)
		close(fds[i]);
	run_until_closed(4);
	tear_down();
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		a_reset_by_the_peer_is_reported,
		a_reset_is_seen_while_the_channel_is_parked,
		a_hang_up_while_parked_loses_nothing_and_costs_no_cpu,
		a_half_closed_stream_ends_in_order,
		the_end_of_a_stream_is_not_hidden_by_an_empty_pool,
		closing_a_channel_in_its_data_handler_ends_only_that_one,
		an_open_handler_can_refuse,
		buffers_may_be_released_after_the_engine_is_gone,
		an_engine_may_be_freed_after_its_thread_ended,
		the_kernel_asks_whether_a_silent_peer_is_still_there,
		the_peer_of_a_connection_reset_before_its_accept_has_a_name,
		malformed_addresses_are_refused,
		listening_on_a_used_address_fails,
		a_stale_socket_file_is_replaced_and_removed_in_the_end,
		a_dual_stack_listener_takes_both_families,
		a_refused_connection_is_reported_to_the_close_handler,
		more_than_max_channels_are_refused,
	};

	return run_suite("channel", tests, ARRAY_LEN(tests));
}
