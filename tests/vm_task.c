/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The task of the system tests. "task" obeys lines on standard input and answers each with one
 * line of JSON; the others are senders and peers that misbehave.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <systemd/sd-varlink.h>
#include <zlib.h>

#include "base/attr.h"
#include "base/fd.h"
#include "base/parse.h"
#include "base/mono.h"
#include "taskmem.h"

#define PAGE_BYTES 4096
#define HELD_MAX 8192
#define CHANNELS_MAX 2048
#define SEND_MAX 4096
#define NODES_SHOWN 4
#define TURN_MS 20

static int usage(void)
{
	fputs("Usage: vm_task task               lines: attach MIN MAX, open BYTES MIN MAX, take N,\n"
	      "                                  free N (newest), drop N (oldest), check, nodes,\n"
	      "                                  info, listen ADDRESS [SECONDS], channels, close, detach, quit,\n"
	      "                                  connect ADDRESS copy|pin, send (all it has), sent, exit\n"
	      "       vm_task memfd              attach without the library and abuse the memfd\n"
	      "       vm_task send PORT BYTES    bytes with a known checksum\n"
	      "       vm_task deaf               says its port, accepts, and never reads\n"
	      "       vm_task idle PORT N        N connections that say nothing\n"
	      "       vm_task garbage PORT N BYTES  N connections that send noise and stay\n"
	      "       vm_task reset PORT N       N connections that are reset in the middle\n"
	      "       vm_task vanish PORT N      N connections whose end is never told\n",
	      stderr);
	return 2;
}

static uint64_t number(const char *text)
{
	uint64_t value = 0;

	if (!text || parse_u64(text, UINT64_MAX, &value) < 0) {
		fprintf(stderr, "vm_task: \"%s\" is no number\n", text ? text : "");
		exit(2);
	}
	return value;
}

static void answer_error(int r)
{
	printf("{\"error\":\"%s\"}\n", strerrorname_np(-r));
}

/* ------------------------------------------------------------------ task */

struct stream {
	uint64_t bytes;
	uint32_t crc32;
	int error;
	bool is_closed;
};

struct task {
	struct tm_slot *slot;
	struct tm_pool *pool;
	struct tm_engine *engine;
	struct tm_channel *sending; /* of connect; NULL: it has failed */
	size_t buffer_bytes;
	struct tm_buffer *held[HELD_MAX];
	uint32_t n_held;
	struct stream streams[CHANNELS_MAX];
	uint32_t n_streams;
};

static int on_open(struct tm_channel *channel, void *userdata)
{
	struct task *task = userdata;

	if (task->n_streams == CHANNELS_MAX)
		return -EMFILE;
	task->streams[task->n_streams] = (struct stream){ .crc32 = (uint32_t)crc32(0, NULL, 0) };
	tm_channel_set_userdata(channel, &task->streams[task->n_streams++]);
	return 0;
}

static void on_data(struct tm_channel *channel, struct tm_buffer *buffer, uint32_t offset,
		    uint32_t length, void *userdata)
{
	struct stream *stream = tm_channel_get_userdata(channel);

	(void)userdata;
	stream->bytes += length;
	stream->crc32 =
		(uint32_t)crc32(stream->crc32, (const Bytef *)buffer->data + offset, length);
	tm_buffer_release(buffer);
}

static void on_close(struct tm_channel *channel, int error, void *userdata)
{
	struct stream *stream = tm_channel_get_userdata(channel);
	struct task *task = userdata;

	if (channel == task->sending)
		task->sending = NULL;
	if (!stream)
		return;
	stream->is_closed = true;
	stream->error = error;
}

static void cmd_attach(struct task *task, char *words[])
{
	const struct tm_attach_options options = {
		.size = sizeof(options),
		.min_chunks = (uint32_t)number(words[1]),
		.max_chunks = (uint32_t)number(words[2]),
	};
	struct tm_slot_info info = { .size = sizeof(info) };
	int r = tm_slot_attach(&options, &task->slot);

	if (r < 0) {
		answer_error(r);
		return;
	}
	tm_slot_get_info(task->slot, &info);
	printf("{\"pid\":%d,\"slot\":\"%s\",\"node\":%d,\"held\":%u,\"target\":%u}\n",
	       (int)getpid(), info.name, info.node, info.chunks_held, info.chunks_target);
}

static void cmd_open(struct task *task, char *words[])
{
	int r = tm_pool_open(task->slot, "test", number(words[1]), (uint32_t)number(words[2]),
			     (uint32_t)number(words[3]), &task->pool);

	if (r < 0) {
		answer_error(r);
		return;
	}
	task->buffer_bytes = number(words[1]);
	puts("{}");
}

/* Each page of a buffer begins with a value of its own. */
static uint64_t *page_word(const struct tm_buffer *buffer, size_t at)
{
	return (uint64_t *)((char *)buffer->data + at);
}

static uint64_t pattern(const struct tm_buffer *buffer, size_t at)
{
	return ((uint64_t)buffer->index << 32 | at) * UINT64_C(0x9e3779b97f4a7c15) + 1;
}

static void cmd_take(struct task *task, char *words[])
{
	uint64_t n = number(words[1]);
	struct tm_buffer *buffer;
	int r = 0;

	for (; n > 0 && task->n_held < HELD_MAX; n--) {
		r = tm_pool_acquire_wait(task->pool, 0, &buffer);
		if (r < 0)
			break;
		for (size_t at = 0; at < task->buffer_bytes; at += PAGE_BYTES)
			*page_word(buffer, at) = pattern(buffer, at);
		task->held[task->n_held++] = buffer;
	}
	printf("{\"buffers\":%u,\"error\":\"%s\"}\n", task->n_held,
	       r < 0 ? strerrorname_np(-r) : "");
}

static void cmd_free(struct task *task, char *words[])
{
	for (uint64_t n = number(words[1]); n > 0 && task->n_held > 0; n--)
		tm_buffer_release(task->held[--task->n_held]);
	printf("{\"buffers\":%u}\n", task->n_held);
}

static void cmd_drop(struct task *task, char *words[])
{
	uint32_t n = (uint32_t)MIN(number(words[1]), (uint64_t)task->n_held);

	for (uint32_t i = 0; i < n; i++)
		tm_buffer_release(task->held[i]);
	task->n_held -= n;
	memmove(task->held, task->held + n, task->n_held * sizeof(task->held[0]));
	printf("{\"buffers\":%u}\n", task->n_held);
}

static void cmd_check(struct task *task)
{
	uint64_t n_bad = 0;

	for (uint32_t i = 0; i < task->n_held; i++)
		for (size_t at = 0; at < task->buffer_bytes; at += PAGE_BYTES)
			n_bad += *page_word(task->held[i], at) != pattern(task->held[i], at);
	printf("{\"buffers\":%u,\"bad\":%" PRIu64 "}\n", task->n_held, n_bad);
}

/* move_pages(2) without a target says where each page is. */
static void cmd_nodes(struct task *task)
{
	uint32_t counts[NODES_SHOWN] = {}, n_absent = 0;

	for (uint32_t i = 0; i < task->n_held; i++) {
		for (size_t at = 0; at < task->buffer_bytes; at += PAGE_BYTES) {
			void *page = page_word(task->held[i], at);
			int status = -1;

			if (syscall(SYS_move_pages, 0, 1UL, &page, NULL, &status, 0) < 0 ||
			    status < 0 || status >= NODES_SHOWN)
				n_absent++;
			else
				counts[status]++;
		}
	}
	printf("{\"nodes\":[%u,%u,%u,%u],\"absent\":%u}\n", counts[0], counts[1], counts[2],
	       counts[3], n_absent);
}

static void cmd_info(struct task *task)
{
	struct tm_slot_info info = { .size = sizeof(info) };
	struct tm_pool_stats stats = { .size = sizeof(stats) };
	long long left_ms = 0;
	uint32_t n_open = 0;

	if (task->slot)
		tm_slot_get_info(task->slot, &info);
	if (task->pool)
		tm_pool_get_stats(task->pool, &stats);
	for (uint32_t i = 0; i < task->n_streams; i++)
		n_open += !task->streams[i].is_closed;
	if (info.return_by_ns > 0)
		left_ms = ((long long)info.return_by_ns - (long long)mono_now_ns()) / 1000000;
	printf("{\"slot\":\"%s\",\"chunks\":%u,\"target\":%u,\"draining\":%u,\"connected\":%d,"
	       "\"buffers\":%u,\"idle\":%u,\"held\":%u,\"posted\":%u,\"waiters\":%u,\"highWater\":%u,"
	       "\"accepted\":%u,\"open\":%u,\"requested\":%llu,\"revoked\":%u,\"leftMs\":%lld}\n",
	       info.name, info.chunks_held, info.chunks_target, info.chunks_draining,
	       info.connected, stats.buffers, stats.idle, stats.held, stats.posted, stats.waiters,
	       stats.high_water, task->n_streams, n_open, (unsigned long long)info.requested_bytes,
	       info.chunks_revoked, left_ms);
}

static const struct tm_handlers handlers = {
	.size = sizeof(handlers), .open = on_open, .data = on_data, .close = on_close
};

static const char *engine_name(const struct task *task)
{
	return tm_engine_get_kind(task->engine) == TM_ENGINE_URING ? "io_uring" : "epoll";
}

static void cmd_listen(struct task *task, char *words[])
{
	const struct tm_engine_options options = {
		.size = sizeof(options),
		.peer_timeout_s = words[2] ? (uint32_t)number(words[2]) : 0,
	};
	int r = tm_engine_new(task->pool, &options, &handlers, task, &task->engine);

	if (r >= 0)
		r = tm_engine_listen(task->engine, words[1] ? words[1] : "");
	if (r < 0)
		answer_error(r);
	else
		printf("{\"port\":%d,\"engine\":\"%s\"}\n", r, engine_name(task));
}

static void cmd_connect(struct task *task, char *words[])
{
	const struct tm_engine_options options = {
		.size = sizeof(options),
		.send_buffers = SEND_MAX,
		.zero_copy = words[2] && strcmp(words[2], "pin") == 0 ? TM_ZERO_COPY_ALWAYS
								      : TM_ZERO_COPY_NEVER,
	};
	int r = tm_engine_new(task->pool, &options, &handlers, task, &task->engine);

	if (r >= 0)
		r = tm_engine_connect(task->engine, words[1] ? words[1] : "", &task->sending);
	if (r < 0)
		answer_error(r);
	else
		printf("{\"engine\":\"%s\"}\n", engine_name(task));
}

/* The task has none of them any more. */
static void cmd_send(struct task *task)
{
	uint32_t n_sent = 0;
	int r = 0;

	while (task->n_held > 0 && r == 0) {
		r = task->sending ? tm_channel_send(task->sending, task->held[task->n_held - 1], 0,
						    (uint32_t)task->buffer_bytes, 0)
				  : -EPIPE;
		if (r == 0) {
			task->n_held--;
			n_sent++;
		}
	}
	printf("{\"buffers\":%u,\"error\":\"%s\"}\n", n_sent, r < 0 ? strerrorname_np(-r) : "");
}

static void cmd_sent(struct task *task)
{
	struct tm_channel_stats stats = { .size = sizeof(stats) };

	if (task->sending)
		(void)tm_channel_get_stats(task->sending, &stats);
	printf("{\"bytes\":%" PRIu64 ",\"queued\":%u}\n", stats.sent_bytes, stats.queued);
}

static void cmd_channels(struct task *task)
{
	const char *comma = "";

	printf("{\"channels\":[");
	for (uint32_t i = 0; i < task->n_streams; i++, comma = ",")
		printf("%s{\"bytes\":%" PRIu64
		       ",\"crc32\":\"%08x\",\"closed\":%s,\"error\":\"%s\"}",
		       comma, task->streams[i].bytes, task->streams[i].crc32,
		       task->streams[i].is_closed ? "true" : "false",
		       task->streams[i].error < 0 ? strerrorname_np(-task->streams[i].error) : "");
	puts("]}");
}

static void cmd_close(struct task *task)
{
	int r;

	tm_engine_free(TAKE(task->engine));
	r = tm_pool_close(task->pool);
	if (r < 0) {
		answer_error(r);
		return;
	}
	task->pool = NULL;
	puts("{}");
}

/* request BYTES MILLISECONDS */
static void cmd_request(struct task *task, char *words[])
{
	struct tm_request_result result = { .size = sizeof(result) };
	int r = tm_slot_request(task->slot, number(words[1]), number(words[2]) * 1000000, &result);

	if (r < 0)
		printf("{\"error\":\"%s\",\"needed\":%llu,\"available\":%llu,\"message\":\"%s\"}\n",
		       strerrorname_np(-r), (unsigned long long)result.needed_bytes,
		       (unsigned long long)result.available_bytes, result.message);
	else
		puts("{}");
}

/* false: that was the last line. */
static bool obey(struct task *task, char *line)
{
	char *words[4] = {}, *rest = NULL;

	line[strcspn(line, "\n")] = '\0';
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		words[i] = strtok_r(i == 0 ? line : NULL, " ", &rest);
	if (!words[0] || strcmp(words[0], "quit") == 0)
		return false;
	if (strcmp(words[0], "attach") == 0)
		cmd_attach(task, words);
	else if (strcmp(words[0], "open") == 0)
		cmd_open(task, words);
	else if (strcmp(words[0], "take") == 0)
		cmd_take(task, words);
	else if (strcmp(words[0], "free") == 0)
		cmd_free(task, words);
	else if (strcmp(words[0], "drop") == 0)
		cmd_drop(task, words);
	else if (strcmp(words[0], "check") == 0)
		cmd_check(task);
	else if (strcmp(words[0], "nodes") == 0)
		cmd_nodes(task);
	else if (strcmp(words[0], "info") == 0)
		cmd_info(task);
	else if (strcmp(words[0], "listen") == 0)
		cmd_listen(task, words);
	else if (strcmp(words[0], "channels") == 0)
		cmd_channels(task);
	else if (strcmp(words[0], "connect") == 0)
		cmd_connect(task, words);
	else if (strcmp(words[0], "send") == 0)
		cmd_send(task);
	else if (strcmp(words[0], "sent") == 0)
		cmd_sent(task);
	else if (strcmp(words[0], "exit") == 0)
		_exit(0); /* from the middle of what it does, without a word to anybody */
	else if (strcmp(words[0], "close") == 0)
		cmd_close(task);
	else if (strcmp(words[0], "request") == 0)
		cmd_request(task, words);
	else if (strcmp(words[0], "release") == 0) {
		tm_slot_release_request(task->slot);
		puts("{}");
	} else if (strcmp(words[0], "detach") == 0) {
		tm_slot_detach(TAKE(task->slot));
		puts("{}");
	} else
		puts("{\"error\":\"no such command\"}");
	return true;
}

/* Lives until "quit" or end of file; its end gives everything back, whatever it holds. */
static int task_main(void)
{
	static struct task task;
	struct pollfd fds[2] = { { .fd = STDIN_FILENO, .events = POLLIN } };
	char line[256];
	int r;

	setvbuf(stdin, NULL, _IONBF, 0); /* poll must see what is left */
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (;;) {
		fds[1] = (struct pollfd){ .fd = task.slot && !task.engine ? tm_slot_fd(task.slot)
									  : -1,
					  .events = POLLIN };
		if (task.engine) {
			r = tm_engine_run(task.engine, TURN_MS);
			if (r < 0) {
				fprintf(stderr, "vm_task: engine: %s\n", strerror(-r));
				return 1;
			}
		}
		if (poll(fds, ARRAY_LEN(fds), task.engine ? 0 : -1) < 0 && errno != EINTR)
			return 1;
		if (fds[1].revents)
			tm_slot_dispatch(task.slot);
		if (fds[0].revents && (!fgets(line, sizeof(line), stdin) || !obey(&task, line)))
			return 0;
	}
}

/* ------------------------------------------------------------------ memfd */

struct raw_grant {
	int fd;
	uint64_t id;
	bool is_answered;
};

static int on_raw_reply(sd_varlink *link, sd_json_variant *parameters, const char *error_id,
			sd_varlink_reply_flags_t flags, void *userdata)
{
	struct raw_grant *grant = userdata;

	(void)flags;
	grant->is_answered = true;
	if (error_id) {
		fprintf(stderr, "vm_task: Attach: %s\n", error_id);
		return 0;
	}
	grant->id = sd_json_variant_unsigned(sd_json_variant_by_key(parameters, "grant"));
	grant->fd = sd_varlink_take_fd(link, 0);
	return 0;
}

static int raw_attach(sd_varlink *link, struct raw_grant *grant)
{
	int r = sd_varlink_set_allow_fd_passing_input(link, 1);

	if (r >= 0)
		r = sd_varlink_bind_reply(link, on_raw_reply);
	if (r < 0)
		return r;
	(void)sd_varlink_set_userdata(link, grant);
	r = sd_varlink_observebo(link, "io.taskmem.Attach",
				 SD_JSON_BUILD_PAIR_UNSIGNED("wantedChunks", 1));
	while (r >= 0 && !grant->is_answered) {
		r = sd_varlink_process(link);
		if (r == 0)
			r = sd_varlink_wait(link, UINT64_MAX);
	}
	return r < 0 ? r : grant->fd;
}

static const char *outcome(int r)
{
	return r < 0 ? strerrorname_np(errno) : "done";
}

/* The one process that may end this grant does so. */
static void raw_detach(const struct raw_grant *grant)
{
	const char *error_id = NULL;
	sd_varlink *link = NULL;
	int r = sd_varlink_connect_address(&link, "/run/taskmem/io.taskmem");

	if (r >= 0)
		r = sd_varlink_callbo(link, "io.taskmem.Detach", NULL, &error_id,
				      SD_JSON_BUILD_PAIR_UNSIGNED("grant", grant->id));
	printf("{\"detach\":\"%s\"}\n", r < 0 ? strerrorname_np(-r) : error_id ? error_id : "done");
	sd_varlink_close_unref(link);
}

/* What a holder of the memfd could try to get more out of it than it was given. */
static int memfd_main(void)
{
	struct raw_grant grant = { .fd = -1 };
	sd_varlink *link = NULL;
	char path[32];
	struct stat st;
	int r = sd_varlink_connect_address(&link, "/run/taskmem/io.taskmem");

	if (r >= 0)
		r = raw_attach(link, &grant);
	if (r < 0 || fstat(grant.fd, &st) < 0) {
		fprintf(stderr, "vm_task: no memfd\n");
		return 1;
	}
	snprintf(path, sizeof(path), "/proc/self/fd/%d", grant.fd);
	printf("{\"pid\":%d,\"grant\":%" PRIu64 ",\"fd\":%d,\"mode\":\"%o\",\"uid\":%u",
	       (int)getpid(), grant.id, grant.fd, st.st_mode & 07777, st.st_uid);
	printf(",\"reopen\":\"%s\"", outcome(open(path, O_RDWR | O_CLOEXEC)));
	printf(",\"reopenRead\":\"%s\"", outcome(open(path, O_RDONLY | O_CLOEXEC)));
	printf(",\"chmod\":\"%s\"", outcome(fchmod(grant.fd, 0666)));
	printf(",\"grow\":\"%s\"",
	       outcome(ftruncate(grant.fd, st.st_size + (off_t)TM_CHUNK_BYTES)));
	printf(",\"shrink\":\"%s\"", outcome(ftruncate(grant.fd, 0)));
	printf(",\"unseal\":\"%s\"}\n", outcome(fcntl(grant.fd, F_ADD_SEALS, F_SEAL_WRITE)));
	fflush(stdout);
	(void)getchar();
	raw_detach(&grant);
	return 0;
}

/* ------------------------------------------------------------------ peers */

static int connect_to(uint64_t port)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_port = htons((uint16_t)port),
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		fprintf(stderr, "vm_task: connection: %s\n", strerror(errno));
		exit(1);
	}
	return fd;
}

/* Its end resets what it has accepted, as there is data that it has not read. */
static int deaf_main(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t length = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&address, length) < 0 || listen(fd, 16) < 0 ||
	    getsockname(fd, (struct sockaddr *)&address, &length) < 0) {
		fprintf(stderr, "vm_task: deaf: %s\n", strerror(errno));
		return 1;
	}
	printf("%u\n", ntohs(address.sin_port));
	fflush(stdout);
	while (accept(fd, NULL, NULL) >= 0)
		;
	return 1;
}

/* xorshift: the same noise for the same seed */
static void make_noise(uint64_t *seed, void *data, size_t bytes)
{
	uint64_t x = *seed, *words = data;

	for (size_t i = 0; i < bytes / sizeof(x); i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		words[i] = x;
	}
	*seed = x;
}

static int send_main(uint64_t port, uint64_t bytes)
{
	static char block[65536];
	uint64_t seed = (uint64_t)getpid() << 20 | 1, left = bytes;
	uint32_t sum = (uint32_t)crc32(0, NULL, 0);
	int fd = connect_to(port);

	while (left > 0) {
		size_t n = MIN(left, (uint64_t)sizeof(block));

		make_noise(&seed, block, sizeof(block));
		if (fd_write_all(fd, block, n) < 0)
			return 1;
		sum = (uint32_t)crc32(sum, (const Bytef *)block, (uInt)n);
		left -= n;
	}
	close(fd);
	printf("{\"bytes\":%" PRIu64 ",\"crc32\":\"%08x\"}\n", bytes, sum);
	return 0;
}

/* Connections that send @bytes each and then stay until this process ends. */
static int stay_main(uint64_t port, uint64_t n, uint64_t bytes)
{
	static char block[65536];
	uint64_t seed = 7;

	for (uint64_t i = 0; i < n; i++) {
		int fd = connect_to(port);

		make_noise(&seed, block, sizeof(block));
		for (uint64_t left = bytes; left > 0; left -= MIN(left, (uint64_t)sizeof(block)))
			if (fd_write_all(fd, block, MIN(left, (uint64_t)sizeof(block))) < 0)
				return 1;
	}
	puts("connected");
	fflush(stdout);
	pause();
	return 0;
}

static int reset_main(uint64_t port, uint64_t n)
{
	const struct linger linger = { .l_onoff = 1 };
	static char block[16384];
	uint64_t seed = 9;

	make_noise(&seed, block, sizeof(block));
	for (uint64_t i = 0; i < n; i++) {
		int fd = connect_to(port);

		if (fd_write_all(fd, block, sizeof(block)) < 0 ||
		    setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)) < 0)
			return 1;
		close(fd);
	}
	return 0;
}

/*
 * A socket in repair mode is closed without a packet: as if its machine had lost power. What was
 * sent must be acknowledged first, else the late acknowledgement finds nobody and is answered by
 * a reset, which a dead machine does not send.
 */
static int vanish(int fd)
{
	const int on = 1;
	int n_unacknowledged = 1;

	while (n_unacknowledged > 0) {
		if (ioctl(fd, SIOCOUTQ, &n_unacknowledged) < 0)
			return -errno;
		usleep(1000);
	}
	if (setsockopt(fd, IPPROTO_TCP, TCP_REPAIR, &on, sizeof(on)) < 0)
		return -errno;
	close(fd);
	return 0;
}

static int vanish_main(uint64_t port, uint64_t n)
{
	int fds[256], r = 0;

	n = MIN(n, (uint64_t)ARRAY_LEN(fds));
	for (uint64_t i = 0; i < n; i++) {
		fds[i] = connect_to(port);
		if (fd_write_all(fds[i], "half a line", 11) < 0)
			return 1;
	}
	for (uint64_t i = 0; i < n && r == 0; i++)
		r = vanish(fds[i]);
	if (r < 0)
		fprintf(stderr, "vm_task: vanish: %s\n", strerror(-r));
	return r < 0;
}

int main(int argc, char *argv[])
{
	const struct rlimit files = { 4096, 4096 };
	const char *verb = argc > 1 ? argv[1] : "";

	(void)signal(SIGPIPE, SIG_IGN);
	(void)setrlimit(RLIMIT_NOFILE,
			&files); /* the connections of these tests fit without, too */
	if (argc == 2 && strcmp(verb, "task") == 0)
		return task_main();
	if (argc == 2 && strcmp(verb, "memfd") == 0)
		return memfd_main();
	if (argc == 2 && strcmp(verb, "deaf") == 0)
		return deaf_main();
	if (argc == 4 && strcmp(verb, "send") == 0)
		return send_main(number(argv[2]), number(argv[3]));
	if (argc == 4 && strcmp(verb, "idle") == 0)
		return stay_main(number(argv[2]), number(argv[3]), 0);
	if (argc == 5 && strcmp(verb, "garbage") == 0)
		return stay_main(number(argv[2]), number(argv[3]), number(argv[4]));
	if (argc == 4 && strcmp(verb, "reset") == 0)
		return reset_main(number(argv[2]), number(argv[3]));
	if (argc == 4 && strcmp(verb, "vanish") == 0)
		return vanish_main(number(argv[2]), number(argv[3]));
	return usage();
}
