/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The other side of a demonstration: "serve" deals text to connections, "count" counts what a
 * program gets on its standard input, "hog" wants memory. Results are JSON, one object per line.
 */

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zlib.h>

#include "base/fd.h"
#include "base/mono.h"
#include "base/parse.h"

#define BLOCK_BYTES ((size_t)64 << 10)
#define TEXT_MAX ((size_t)64 << 20)
#define CONNECTIONS_MAX 256
#define LICENSES "/usr/share/common-licenses/"

static int fail(const char *what, int error)
{
	fprintf(stderr, "demo_stream: %s: %s\n", what, strerror(-error));
	return EXIT_FAILURE;
}

static int usage(void)
{
	fputs("Usage: demo_stream serve --port P --bytes N [--connections C] [--source FILE]...\n"
	      "       demo_stream count < TEXT\n"
	      "       demo_stream hog --bytes SIZE [--seconds S] [--pace OPS]\n"
	      "                       [--pattern random|touch-once|scan]\n"
	      "serve: C connections (default 1) to 127.0.0.1:P and ::1 get N bytes together, as\n"
	      "       whole lines of the files (default: licenses), then it ends.\n"
	      "hog:   touches pages of SIZE for S seconds (default 10), at most OPS a second.\n",
	      stderr);
	return 2;
}

/* ------------------------------------------------------------------ serve */

/* One connection: its next byte is source[offset], its stream ends after left bytes. */
struct peer {
	int fd;
	uint64_t left, bytes, lines;
	size_t offset;
	uint32_t crc32;
};

struct source {
	char *text; /* ends in a newline */
	size_t len;
};

static int source_add(struct source *source, const char *path)
{
	CLEANUP(freep) char *text = NULL;
	size_t len;
	char *both;
	int r = file_read_all(AT_FDCWD, path, TEXT_MAX, &text, &len);

	if (r < 0)
		return r;
	both = realloc(source->text, source->len + len + 1);
	if (!both)
		return -ENOMEM;
	source->text = both;
	memcpy(both + source->len, text, len);
	source->len += len;
	if (source->len > 0 && both[source->len - 1] != '\n')
		both[source->len++] = '\n';
	return 0;
}

static int source_add_default(struct source *source)
{
	static const char *const names[] = { "GPL-3", "LGPL-2.1", "Apache-2.0", "MPL-1.1",
					     "GFDL-1.3" };
	int r;

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		char path[128];

		snprintf(path, sizeof(path), LICENSES "%s", names[i]);
		r = source_add(source, path);
		if (r < 0 && r != -ENOENT)
			return r;
	}
	return source->len > 0 ? 0 : -ENOENT;
}

static uint64_t count_lines(const char *data, size_t len)
{
	const char *end = data + len;
	uint64_t n = 0;

	while (data < end && (data = memchr(data, '\n', (size_t)(end - data)))) {
		n++;
		data++;
	}
	return n;
}

/* Where the next block ends: at a newline, at the text's end, or with the stream. */
static size_t block_len(const struct source *source, const struct peer *peer)
{
	size_t room = source->len - peer->offset, len = MIN(room, BLOCK_BYTES);
	const char *newline;

	if (len >= peer->left)
		return (size_t)peer->left;
	newline = memrchr(source->text + peer->offset, '\n', len);
	return newline ? (size_t)(newline - source->text) + 1 - peer->offset : len;
}

/* Sends what the socket takes of one block. Return: 0 or -errno. */
static int serve_block(const struct source *source, struct peer *peer)
{
	const char *data = source->text + peer->offset;
	size_t len = block_len(source, peer);
	ssize_t n;

	/* the stream ends as text does, whatever the number of bytes that were asked for */
	if (peer->left == 1 && *data != '\n')
		data = "\n";
	else if (len == peer->left && len > 1 && data[len - 1] != '\n')
		len--;
	n = send(peer->fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	peer->crc32 = (uint32_t)crc32_z(peer->crc32, (const Bytef *)data, (size_t)n);
	peer->lines += count_lines(data, (size_t)n);
	peer->bytes += (uint64_t)n;
	peer->left -= (uint64_t)n;
	peer->offset = (peer->offset + (size_t)n) % source->len;
	return 0;
}

static void report_peer(const struct peer *peer, size_t index)
{
	printf("{\"connection\":%zu,\"bytes\":%" PRIu64 ",\"lines\":%" PRIu64
	       ",\"crc32\":\"%08" PRIx32 "\"}\n",
	       index, peer->bytes, peer->lines, peer->crc32);
	fflush(stdout);
}

static int serve_all(const struct source *source, struct peer *peers, size_t n_peers)
{
	struct pollfd fds[CONNECTIONS_MAX];
	size_t n_open = n_peers;
	int r;

	for (size_t i = 0; i < n_peers; i++)
		fds[i] = (struct pollfd){ .fd = peers[i].fd, .events = POLLOUT };
	while (n_open > 0) {
		if (poll(fds, n_peers, -1) < 0 && errno != EINTR)
			return -errno;
		for (size_t i = 0; i < n_peers; i++) {
			if (fds[i].fd < 0 || !fds[i].revents)
				continue;
			r = peers[i].left > 0 ? serve_block(source, &peers[i]) : 0;
			if (r < 0)
				return r;
			if (peers[i].left > 0)
				continue;
			report_peer(&peers[i], i);
			close(peers[i].fd);
			fds[i].fd = -1;
			n_open--;
		}
	}
	return 0;
}

static int listen_at(uint16_t port)
{
	/* one socket for both families */
	const struct sockaddr_in6 address = { .sin6_family = AF_INET6,
					      .sin6_port = htobe16(port),
					      .sin6_addr = IN6ADDR_ANY_INIT };
	const struct sockaddr_in address4 = { .sin_family = AF_INET, .sin_port = htobe16(port) };
	const struct sockaddr *any = (const struct sockaddr *)&address;
	socklen_t len = sizeof(address);
	int yes = 1, no = 0, fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd >= 0) {
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof(no));
	} else { /* a kernel without IPv6 */
		fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		any = (const struct sockaddr *)&address4;
		len = sizeof(address4);
	}
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	if (bind(fd, any, len) < 0 || listen(fd, CONNECTIONS_MAX) < 0)
		return -errno;
	return fd;
}

static int serve(uint16_t port, uint64_t bytes, size_t n_peers, struct source *source)
{
	struct peer peers[CONNECTIONS_MAX] = {};
	int listen_fd = listen_at(port), r;

	if (listen_fd < 0)
		return fail("listen", listen_fd);
	fprintf(stderr, "demo_stream: %zu connections at port %u\n", n_peers, port);
	for (size_t i = 0; i < n_peers; i++) {
		peers[i].fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
		if (peers[i].fd < 0)
			return fail("accept", -errno);
		/* each begins elsewhere in the text, the first one has the remainder */
		peers[i].left = bytes / n_peers + (i == 0 ? bytes % n_peers : 0);
		peers[i].offset = source->len / n_peers * i;
		while (peers[i].offset > 0 && source->text[peers[i].offset - 1] != '\n')
			peers[i].offset--;
	}
	close(listen_fd);
	r = serve_all(source, peers, n_peers);
	return r < 0 ? fail("send", r) : EXIT_SUCCESS;
}

static int serve_main(int argc, char *argv[])
{
	static const struct option table[] = { { "port", required_argument, NULL, 'p' },
					       { "bytes", required_argument, NULL, 'b' },
					       { "connections", required_argument, NULL, 'c' },
					       { "source", required_argument, NULL, 's' },
					       {} };
	struct source source = {};
	uint64_t port = 0, bytes = 0, connections = 1;
	int code, r = 0;

	while ((code = getopt_long(argc, argv, "", table, NULL)) >= 0 && r >= 0) {
		if (code == 'p')
			r = parse_u64(optarg, UINT16_MAX, &port);
		else if (code == 'b')
			r = parse_bytes(optarg, &bytes);
		else if (code == 'c')
			r = parse_u64(optarg, CONNECTIONS_MAX, &connections);
		else if (code == 's')
			r = source_add(&source, optarg);
		else
			return usage();
	}
	if (r < 0)
		return fail(argv[optind - 1], r);
	if (optind < argc || port == 0 || bytes == 0 || connections == 0)
		return usage();
	if (source.len == 0)
		r = source_add_default(&source);
	if (r < 0)
		return fail(LICENSES, r);
	r = serve((uint16_t)port, bytes, connections, &source);
	free(source.text);
	return r;
}

/* ------------------------------------------------------------------ count */

static int count_main(void)
{
	static char block[BLOCK_BYTES];
	uint64_t bytes = 0, lines = 0, words = 0;
	bool is_in_word = false;
	uLong sum = 0;
	ssize_t n;

	while ((n = read(STDIN_FILENO, block, sizeof(block))) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return fail("standard input", -errno);
		for (ssize_t i = 0; i < n; i++) {
			unsigned char c = (unsigned char)block[i];
			bool is_space = c == ' ' || (c >= '\t' && c <= '\r');

			words += !is_space && !is_in_word;
			is_in_word = !is_space;
			lines += c == '\n';
		}
		bytes += (uint64_t)n;
		sum = crc32_z(sum, (const Bytef *)block, (size_t)n);
	}
	printf("{\"bytes\":%" PRIu64 ",\"lines\":%" PRIu64 ",\"words\":%" PRIu64
	       ",\"crc32\":\"%08lx\"}\n",
	       bytes, lines, words, sum);
	return EXIT_SUCCESS;
}

/* ------------------------------------------------------------------ hog */

enum pattern { PATTERN_RANDOM, PATTERN_TOUCH_ONCE, PATTERN_SCAN };

struct hog {
	unsigned char *memory;
	uint64_t n_pages, page_bytes;
	enum pattern pattern;
	uint64_t ops, random;
};

/* xorshift64: the same pages in the same order every time. */
static uint64_t next_random(struct hog *hog)
{
	hog->random ^= hog->random << 13;
	hog->random ^= hog->random >> 7;
	hog->random ^= hog->random << 17;
	return hog->random;
}

/* One op: writes one byte of one page. Return: false when the pattern has nothing to do. */
static bool hog_touch(struct hog *hog)
{
	uint64_t page = hog->ops % hog->n_pages;

	if (hog->pattern == PATTERN_TOUCH_ONCE && hog->ops >= hog->n_pages)
		return false;
	if (hog->pattern == PATTERN_RANDOM)
		page = next_random(hog) % hog->n_pages;
	hog->memory[page * hog->page_bytes]++;
	hog->ops++;
	return true;
}

static uint64_t resident_bytes(const struct hog *hog)
{
	CLEANUP(freep) unsigned char *map = malloc(hog->n_pages);
	uint64_t n = 0;

	if (!map || mincore(hog->memory, hog->n_pages * hog->page_bytes, map) < 0)
		return 0;
	for (uint64_t i = 0; i < hog->n_pages; i++)
		n += map[i] & 1;
	return n * hog->page_bytes;
}

/* At most @pace touches (0: no limit) until @until_ns, in bursts of a hundredth of a second. */
static void hog_second(struct hog *hog, uint64_t pace, uint64_t until_ns)
{
	uint64_t done = 0, begin_ns = mono_now_ns(), now_ns;

	while ((now_ns = mono_now_ns()) < until_ns) {
		uint64_t due = pace ? pace * (now_ns - begin_ns) / NS_PER_SEC + 1 : UINT64_MAX;
		bool has_work = true;

		for (int i = 0; i < 256 && done < due && has_work; i++, done++)
			has_work = hog_touch(hog);
		if (done >= due || !has_work)
			usleep(10000);
	}
}

static int hog_run(struct hog *hog, uint64_t seconds, uint64_t pace)
{
	uint64_t begin_ns = mono_now_ns();

	for (uint64_t second = 1; second <= seconds; second++) {
		uint64_t before = hog->ops;

		hog_second(hog, pace, begin_ns + second * NS_PER_SEC);
		printf("{\"second\":%" PRIu64 ",\"ops\":%" PRIu64 ",\"residentBytes\":%" PRIu64
		       "}\n",
		       second, hog->ops - before, resident_bytes(hog));
		if (fflush(stdout) != 0)
			return fail("standard output", -errno);
	}
	return EXIT_SUCCESS;
}

static int parse_pattern(const char *text, enum pattern *ret)
{
	static const char *const names[] = { [PATTERN_RANDOM] = "random",
					     [PATTERN_TOUCH_ONCE] = "touch-once",
					     [PATTERN_SCAN] = "scan" };

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		if (strcmp(names[i], text) == 0) {
			*ret = (enum pattern)i;
			return 0;
		}
	}
	return -EINVAL;
}

static int hog_main(int argc, char *argv[])
{
	static const struct option table[] = { { "bytes", required_argument, NULL, 'b' },
					       { "seconds", required_argument, NULL, 's' },
					       { "pattern", required_argument, NULL, 'p' },
					       { "pace", required_argument, NULL, 'o' },
					       {} };
	struct hog hog = { .page_bytes = (uint64_t)sysconf(_SC_PAGESIZE),
			   .random = UINT64_C(0x9e3779b97f4a7c15) };
	uint64_t bytes = 0, seconds = 10, pace = 0;
	int code, r = 0;

	while ((code = getopt_long(argc, argv, "", table, NULL)) >= 0 && r >= 0) {
		if (code == 'b')
			r = parse_bytes(optarg, &bytes);
		else if (code == 's')
			r = parse_u64(optarg, UINT32_MAX, &seconds);
		else if (code == 'p')
			r = parse_pattern(optarg, &hog.pattern);
		else if (code == 'o')
			r = parse_u64(optarg, UINT32_MAX, &pace);
		else
			return usage();
	}
	if (r < 0)
		return fail(argv[optind - 1], r);
	hog.n_pages = bytes / hog.page_bytes;
	if (optind < argc || hog.n_pages == 0)
		return usage();
	hog.memory = mmap(NULL, hog.n_pages * hog.page_bytes, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (hog.memory == MAP_FAILED)
		return fail("mmap", -errno);
	/* whole small pages, so that pressure and counts are not rounded to 2 MiB */
	(void)madvise(hog.memory, hog.n_pages * hog.page_bytes, MADV_NOHUGEPAGE);
	return hog_run(&hog, seconds, pace);
}

int main(int argc, char *argv[])
{
	const char *verb = argc > 1 ? argv[1] : "";

	if (strcmp(verb, "serve") == 0)
		return serve_main(argc - 1, argv + 1);
	if (strcmp(verb, "count") == 0 && argc == 2)
		return count_main();
	if (strcmp(verb, "hog") == 0)
		return hog_main(argc - 1, argv + 1);
	return usage();
}
