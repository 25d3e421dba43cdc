/* SPDX-License-Identifier: Apache-2.0 */

#include "engine_fixture.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/attr.h"
#include "base/mono.h"
#include "pattern.h"

#define WAIT_NS (60 * NS_PER_SEC)

const enum tm_engine_kind kinds[4] = { TM_ENGINE_URING, TM_ENGINE_URING, TM_ENGINE_URING,
				       TM_ENGINE_EPOLL };
/* $TASKMEM_URING for each, read once in a process, and each test is one */
static const char *const abilities[4] = { "", "packed", "plain", "" };

struct fake_daemon *fake;
struct tm_slot *slot;
struct tm_pool *pool;
struct tm_engine *engine;
struct stream streams[STREAMS_MAX];
uint32_t n_streams, n_opened, n_closed, n_holders;
bool hold_first, hold_all, close_first, refuse_all;
int port;

/* ---- handlers */

static int on_open(struct tm_channel *channel, void *userdata)
{
	struct stream *s = tm_channel_get_userdata(channel);

	ck_assert_ptr_eq(userdata, &streams);
	if (!s) {
		ck_assert_uint_lt(n_streams, STREAMS_MAX);
		s = &streams[n_streams++];
		s->channel = channel;
		tm_channel_set_userdata(channel, s);
	}
	ck_assert(!s->is_open);
	s->is_open = true;
	n_opened++;
	return refuse_all ? -EACCES : 0;
}

void check_bytes(struct stream *s, const uint8_t *data, uint32_t length)
{
	uint32_t header = 0;

	if (!s->has_id) {
		s->has_id = true;
		s->id = data[0];
		s->should_hold = hold_all || (hold_first && s->id == 0) || s->id < n_holders;
		s->should_close = close_first && s->id == 0;
		s->bytes = 1;
		header = 1;
	}
	if (!pattern_is(data + header, length - header, s->id, s->bytes))
		s->is_wrong = true;
	s->bytes += length - header;
}

void on_data(struct tm_channel *channel, struct tm_buffer *buffer, uint32_t offset, uint32_t length,
	     void *userdata)
{
	struct stream *s = tm_channel_get_userdata(channel);

	ck_assert_ptr_eq(userdata, &streams);
	ck_assert(s->is_open && !s->is_closed);
	ck_assert_uint_gt(length, 0);
	ck_assert_uint_le(offset + length, buffer->capacity);
	check_bytes(s, (const uint8_t *)buffer->data + offset, length);
	if (s->should_hold && s->n_held < HOLD_MAX) {
		s->held[s->n_held++] = buffer;
		return;
	}
	tm_buffer_release(buffer);
	if (s->should_close) {
		tm_channel_close(channel);
		tm_channel_close(channel);
	}
}

static void on_close(struct tm_channel *channel, int error, void *userdata)
{
	struct stream *s = tm_channel_get_userdata(channel);

	ck_assert_ptr_eq(userdata, &streams);
	ck_assert_ptr_nonnull(s);
	ck_assert(!s->is_closed);
	s->is_closed = true;
	s->error = error;
	s->channel = NULL;
	n_closed++;
}

const struct tm_handlers handlers = {
	.size = sizeof(handlers),
	.open = on_open,
	.data = on_data,
	.close = on_close,
};

void release_held(struct stream *s)
{
	s->should_hold = false;
	for (uint32_t i = 0; i < s->n_held; i++)
		tm_buffer_release(s->held[i]);
	s->n_held = 0;
}

/* ---- set-up */

void set_up_slot(uint32_t share)
{
	struct tm_attach_options options = { .size = sizeof(options) };

	fake = fake_daemon_new(16, share);
	options.socket = fake_daemon_get_socket(fake);
	ck_assert_int_eq(tm_slot_attach(&options, &slot), 0);
}

struct tm_engine *new_engine(int kind, const struct tm_engine_options *template,
			     const struct tm_handlers *with, void *userdata)
{
	struct tm_engine_options options = *template;
	struct tm_engine *made;

	options.size = sizeof(options);
	options.kind = kinds[kind];
	ck_assert_int_eq(setenv("TASKMEM_URING", abilities[kind], 1), 0);
	ck_assert_int_eq(tm_engine_new(pool, &options, with, userdata, &made), 0);
	ck_assert_int_eq(tm_engine_get_kind(made), kinds[kind]);
	return made;
}

void make_engine_of(int kind, const struct tm_engine_options *template)
{
	engine = new_engine(kind, template, &handlers, &streams);
}

void make_engine(int kind, uint32_t posted, uint32_t credit, uint32_t max_channels)
{
	const struct tm_engine_options options = {
		.posted_buffers = posted,
		.credit_buffers = credit,
		.max_channels = max_channels,
	};

	make_engine_of(kind, &options);
}

void set_up(int kind, size_t buffer_bytes, uint32_t n_buffers)
{
	set_up_slot(4);
	ck_assert_int_eq(tm_pool_open(slot, "net", buffer_bytes, n_buffers, n_buffers, &pool), 0);
	make_engine(kind, 0, 0, 0);
}

void listen_tcp(void)
{
	port = tm_engine_listen(engine, "tcp:127.0.0.1:0");
	ck_assert_int_gt(port, 0);
}

struct tm_pool_stats stats(void)
{
	struct tm_pool_stats s = { .size = sizeof(s) };

	ck_assert_int_eq(tm_pool_get_stats(pool, &s), 0);
	return s;
}

void tear_down(void)
{
	tm_engine_free(engine);
	ck_assert_uint_eq(stats().posted, 0);
	ck_assert_uint_eq(stats().held, 0);
	ck_assert_int_eq(tm_pool_close(pool), 0);
	tm_slot_detach(slot);
	ck_assert_uint_eq(fake_daemon_count_present(fake), 0);
	ck_assert_uint_eq(fake_daemon_count_errors(fake), 0);
	fake_daemon_free(fake);
}

void run_until_closed(uint32_t n)
{
	uint64_t end_ns = mono_now_ns() + WAIT_NS;

	while (n_closed < n) {
		ck_assert_uint_lt(mono_now_ns(), end_ns);
		ck_assert_int_ge(tm_engine_run(engine, 1000), 0);
	}
}

void run_until_open(uint32_t n)
{
	uint64_t end_ns = mono_now_ns() + WAIT_NS;

	while (n_opened < n) {
		ck_assert_uint_lt(mono_now_ns(), end_ns);
		ck_assert_int_ge(tm_engine_run(engine, 1000), 0);
	}
}

/* Runs until nothing has happened for a while. */
void run_until_quiet(void)
{
	while (tm_engine_run(engine, 100) > 0)
		;
}

void check_streams(uint32_t n, uint64_t bytes)
{
	ck_assert_uint_eq(n_streams, n);
	for (uint32_t i = 0; i < n; i++) {
		ck_assert(streams[i].is_closed);
		ck_assert_int_eq(streams[i].error, 0);
		ck_assert(!streams[i].is_wrong);
		ck_assert_uint_eq(streams[i].bytes, bytes);
	}
}

/* ---- peers */

int connect_tcp(void)
{
	struct sockaddr_in in = {
		.sin_family = AF_INET,
		.sin_port = htons((uint16_t)port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	return fd;
}

static void send_pattern(struct peer *p)
{
	uint8_t first[PATTERN_PIECE];
	ssize_t n;

	memcpy(first, pattern_at(p->id, 0), sizeof(first));
	first[0] = p->id;
	for (uint64_t position = 0; position < p->bytes; position += (uint64_t)n) {
		n = send(p->fd, position == 0 ? first : pattern_at(p->id, position),
			 MIN((uint64_t)PATTERN_PIECE, p->bytes - position), MSG_NOSIGNAL);
		if (n < 0)
			return;
		atomic_fetch_add(&p->sent, (unsigned long)n);
	}
}

static void *run_peer(void *userdata)
{
	struct peer *p = userdata;
	char byte;

	if (p->listen_fd >= 0)
		p->fd = accept(p->listen_fd, NULL, NULL);
	else if (p->fd < 0)
		p->fd = connect_tcp();
	send_pattern(p);
	if (p->half_close) {
		(void)shutdown(p->fd, SHUT_WR);
		(void)!read(p->fd, &byte, 1); /* until the engine closes */
	}
	close(p->fd);
	return NULL;
}

void start_peer(struct peer *p, uint8_t id, uint64_t bytes)
{
	p->id = id;
	p->bytes = bytes;
	ck_assert_int_eq(pthread_create(&p->thread, NULL, run_peer, p), 0);
}

void wait_for_backlog(const struct peer *peers, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		while (atomic_load(&peers[i].sent) < PATTERN_PIECE)
			usleep(1000);
}

void start_tcp_peers(struct peer *peers, uint32_t n, uint64_t bytes)
{
	for (uint32_t i = 0; i < n; i++) {
		peers[i].fd = peers[i].listen_fd = -1;
		start_peer(&peers[i], (uint8_t)i, bytes);
	}
}

void join_peers(struct peer *peers, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		ck_assert_int_eq(pthread_join(peers[i].thread, NULL), 0);
}

int bind_unix(const char *name, bool should_listen)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	socklen_t length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name));
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_int_ge(fd, 0);
	strcpy(un.sun_path + 1, name);
	if (should_listen) {
		ck_assert_int_eq(bind(fd, (struct sockaddr *)&un, length), 0);
		ck_assert_int_eq(listen(fd, 4), 0);
	} else {
		ck_assert_int_eq(connect(fd, (struct sockaddr *)&un, length), 0);
	}
	return fd;
}

static int run(const char *name, const TTest *const tests[], size_t n_tests, bool is_of_sending)
{
	Suite *suite = suite_create(name);
	TCase *tc = tcase_create(name);
	/* an emulated machine has time only for the way that its kernel would be used */
	const char *is_best_only = getenv("ENGINE_BEST_ONLY");
	int n_kinds = is_best_only || is_of_sending ? 1 : (int)ARRAY_LEN(kinds), epoll = 3;
	SRunner *runner;
	int n_failed;

	tcase_set_timeout(tc, 120);
	for (size_t i = 0; i < n_tests; i++) {
		tcase_add_loop_test(tc, tests[i], 0, n_kinds);
		if (is_of_sending && !is_best_only)
			tcase_add_loop_test(tc, tests[i], epoll, epoll + 1);
	}
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	n_failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return n_failed > 0;
}

int run_suite(const char *name, const TTest *const tests[], size_t n_tests)
{
	return run(name, tests, n_tests, /* is_of_sending= */ false);
}

int run_send_suite(const char *name, const TTest *const tests[], size_t n_tests)
{
	return run(name, tests, n_tests, /* is_of_sending= */ true);
}
