/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What the file does, seen on 6.12.117 (mm/vmscan.c):
 *
 * - Reading lists every cgroup, in at most 4 KiB a read(2). Going on at a position walks the list
 *   of cgroups from its beginning again, so this is done a piece at a time and stops early.
 * - "+ id node max_gen can_swap force" walks the page tables of the cgroup's processes. Pages
 *   found touched come into generation max_gen, then max_gen + 1 is begun. So, after a first
 *   ageing that clears the bits and one more n seconds later, generations max_gen and max_gen + 1
 *   hold what was touched in these n seconds, to the page: 16393 pages for a loop over 16384,
 *   65551 for 65536, the same for a mapped file.
 * - can_swap must be 1, also without swap: with 0 anonymous memory is not walked. force must be 1:
 *   else page tables that held nothing young last time are passed over, and pages in them count
 *   as cold though they are hot.
 * - Each node's lists are walked alone and see only the node's own pages.
 * - A max_gen that is not the present one: older does nothing and succeeds, younger is EINVAL;
 *   so is a cgroup that is gone.
 * - Nobody but a walk looks at the bits: pages that programs read with read(2) and do not map
 *   stay in the oldest generations however hot they are.
 * - With the multi-gen LRU switched off the file is still there, and empty of pages.
 * - Kernel lockdown (Secure Boot) refuses to open it: EPERM.
 */

#include "kern/lru_gen.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/parse.h"

#define ENABLED_PATH "/sys/kernel/mm/lru_gen/enabled"
#define ENABLED_CORE 1U
#define ENABLED_WALK 2U /* LRU_GEN_MM_WALK: page tables are walked by ageing */
#define PAGE_BYTES UINT64_C(4096)
#define PAGES_MAX (UINT64_MAX / PAGE_BYTES)
/* A cgroup's path has at most PATH_MAX bytes. */
#define LINE_BYTES_MAX (4096 + 64)
#define PIECE_BYTES 4096

struct lru_gen_reader {
	int fd; /* -1: fed */
	char *cgroup_path;
	bool is_here; /* within the lines of our cgroup */
	bool is_long; /* the line at hand is longer than any of the kernel's: passed over */
	size_t len;
	char line[LINE_BYTES_MAX];
	struct lru_gen_ages ages;
};

/* ---- on or off */

int lru_gen_parse_enabled(const char *enabled)
{
	uint64_t bits = 0;

	if (strncmp(enabled, "0x", 2) != 0 || enabled[2] == '\0')
		return -EBADMSG;
	for (const char *c = enabled + 2; *c; c++) {
		static const char digits[] = "0123456789abcdef";
		const char *digit = strchr(digits, *c);

		if (!digit || bits > UINT32_MAX)
			return -EBADMSG;
		bits = bits * 16 + (uint64_t)(digit - digits);
	}
	return (bits & ENABLED_CORE) && (bits & ENABLED_WALK) ? LRU_GEN_OK : LRU_GEN_OFF;
}

int lru_gen_check_enabled(void)
{
	char text[24];
	ssize_t n = file_read_small(AT_FDCWD, ENABLED_PATH, text, sizeof(text));

	if (n == -ENOENT)
		return LRU_GEN_ABSENT;
	return n < 0 ? (int)n : lru_gen_parse_enabled(text);
}

/* ---- open */

static int open_file(const char *path, int flags, int *ret_fd)
{
	int fd = open(path, flags | O_CLOEXEC | O_NOCTTY);

	if (fd >= 0) {
		*ret_fd = fd;
		return LRU_GEN_OK;
	}
	switch (errno) {
	case ENOENT:
	case ENOTDIR:
		return LRU_GEN_ABSENT;
	case EPERM:
	case EACCES:
	case EROFS:
		return LRU_GEN_DENIED;
	default:
		return -errno;
	}
}

int lru_gen_open(const char *path, int *ret_fd)
{
	return open_file(path, O_WRONLY, ret_fd);
}

int lru_gen_reader_new(const char *path, const char *cgroup_path, struct lru_gen_reader **ret)
{
	struct lru_gen_reader *reader = calloc(1, sizeof(*reader));
	int r = LRU_GEN_OK;

	if (!reader)
		return -ENOMEM;
	reader->fd = -1;
	reader->cgroup_path = strdup(cgroup_path);
	if (!reader->cgroup_path)
		r = -ENOMEM;
	else if (path)
		r = open_file(path, O_RDONLY, &reader->fd);
	if (r != LRU_GEN_OK) {
		lru_gen_reader_free(reader);
		return r;
	}
	*ret = reader;
	return LRU_GEN_OK;
}

void lru_gen_reader_free(struct lru_gen_reader *reader)
{
	if (!reader)
		return;
	fd_closep(&reader->fd);
	free(reader->cgroup_path);
	free(reader);
}

const struct lru_gen_ages *lru_gen_reader_ages(const struct lru_gen_reader *reader)
{
	return &reader->ages;
}

/* ---- lines */

/* The next word of @*line, cut off; NULL at the end. */
static char *next_word(char **line)
{
	char *word = *line + strspn(*line, " \t");
	size_t len = strcspn(word, " \t");

	if (len == 0)
		return NULL;
	*line = word + len;
	if (**line) {
		**line = '\0';
		(*line)++;
	}
	return word;
}

/* "memcg    12 /path": 1 when it is ours. The path may have spaces and goes to the line's end. */
static int parse_memcg(struct lru_gen_reader *reader, char *line)
{
	const char *id_text = next_word(&line);
	uint64_t id;

	if (!id_text || parse_u64(id_text, UINT32_MAX, &id) < 0)
		return -EBADMSG;
	line += strspn(line, " \t");
	if (strcmp(line, reader->cgroup_path) != 0)
		return 0;
	reader->ages.id = (uint32_t)id;
	return 1;
}

static int parse_node(struct lru_gen_ages *ages, char *line)
{
	const char *text = next_word(&line);
	uint64_t node;

	if (!text || parse_u64(text, NODES_MAX - 1, &node) < 0 || ages->n_nodes == NODES_MAX)
		return -EBADMSG;
	for (size_t i = 0; i < ages->n_nodes; i++)
		if (ages->nodes[i].node == (int)node)
			return -EBADMSG;
	ages->nodes[ages->n_nodes++] = (struct lru_gen_node){ .node = (int)node };
	return 0;
}

/* A number of pages; "x" behind it marks an evicted generation in the longer file. */
static int parse_pages(char *text, uint64_t *ret_bytes)
{
	size_t len = text ? strlen(text) : 0;
	uint64_t pages;

	if (len > 1 && text[len - 1] == 'x')
		text[len - 1] = '\0';
	if (len == 0 || parse_u64(text, PAGES_MAX, &pages) < 0)
		return -EBADMSG;
	*ret_bytes = pages * PAGE_BYTES;
	return 0;
}

/* "   4       5492      16393           0": number, age, anonymous and file pages. */
static int parse_generation(struct lru_gen_ages *ages, const char *seq, char *line)
{
	struct lru_gen_generation generation = {};
	const char *age = next_word(&line);
	struct lru_gen_node *node;

	if (ages->n_nodes == 0 || !age)
		return -EBADMSG;
	node = &ages->nodes[ages->n_nodes - 1];
	if (parse_u64(seq, UINT64_MAX - 1, &generation.seq) < 0 ||
	    parse_u64(age, UINT64_MAX, &generation.age_ms) < 0 ||
	    parse_pages(next_word(&line), &generation.anon_bytes) < 0 ||
	    parse_pages(next_word(&line), &generation.file_bytes) < 0)
		return -EBADMSG;
	if (node->n == LRU_GEN_MAX ||
	    (node->n > 0 && generation.seq <= node->generations[node->n - 1].seq))
		return -EBADMSG;
	node->generations[node->n++] = generation;
	return 0;
}

static int parse_line(struct lru_gen_reader *reader, char *line)
{
	char *word = next_word(&line);
	int r;

	if (!word)
		return LRU_GEN_MORE;
	if (strcmp(word, "memcg") == 0) {
		if (reader->is_here)
			return LRU_GEN_OK;
		r = parse_memcg(reader, line);
		reader->is_here = r > 0;
		return r < 0 ? r : LRU_GEN_MORE;
	}
	if (!reader->is_here)
		return LRU_GEN_MORE;
	if (strcmp(word, "node") == 0)
		r = parse_node(&reader->ages, line);
	else
		r = parse_generation(&reader->ages, word, line);
	return r < 0 ? r : LRU_GEN_MORE;
}

static int finish(const struct lru_gen_reader *reader)
{
	return reader->is_here ? LRU_GEN_OK : LRU_GEN_GONE;
}

int lru_gen_feed(struct lru_gen_reader *reader, const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		int r;

		if (text[i] != '\n') {
			if (reader->len < sizeof(reader->line) - 1)
				reader->line[reader->len++] = text[i];
			else
				reader->is_long = true;
			continue;
		}
		reader->line[reader->len] = '\0';
		reader->len = 0;
		if (reader->is_long) {
			reader->is_long = false;
			if (reader->is_here)
				return -EBADMSG;
			continue;
		}
		r = parse_line(reader, reader->line);
		if (r != LRU_GEN_MORE)
			return r;
	}
	if (len > 0)
		return LRU_GEN_MORE;
	return reader->len > 0 ? -EBADMSG : finish(reader); /* the kernel's lines are whole */
}

int lru_gen_step(struct lru_gen_reader *reader)
{
	char piece[PIECE_BYTES];
	ssize_t n = read(reader->fd, piece, sizeof(piece));

	if (n < 0)
		return errno == EINTR ? LRU_GEN_MORE : -errno;
	return lru_gen_feed(reader, piece, (size_t)n);
}

/* ---- ageing */

const char *lru_gen_command(uint32_t id, const struct lru_gen_node *node,
			    char buf[static LRU_GEN_COMMAND_MAX])
{
	uint64_t youngest = node->n ? node->generations[node->n - 1].seq : 0;

	(void)snprintf(buf, LRU_GEN_COMMAND_MAX, "+ %" PRIu32 " %d %" PRIu64 " 1 1\n", id,
		       node->node, youngest);
	return buf;
}

void lru_gen_sum(const struct lru_gen_node *node, uint64_t seq, uint64_t *ret_anon,
		 uint64_t *ret_file)
{
	uint64_t anon = 0, file = 0;

	for (size_t i = 0; i < node->n; i++) {
		const struct lru_gen_generation *g = &node->generations[i];

		if (g->seq < seq)
			continue;
		if (__builtin_add_overflow(anon, g->anon_bytes, &anon))
			anon = UINT64_MAX;
		if (__builtin_add_overflow(file, g->file_bytes, &file))
			file = UINT64_MAX;
	}
	if (ret_anon)
		*ret_anon = anon;
	if (ret_file)
		*ret_file = file;
}
