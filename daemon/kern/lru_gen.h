/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The multi-gen LRU's file in debugfs: the ages of a cgroup's pages, and ageing on request, which
 * is how the bits that the processor sets on access are collected.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "model.h"

#define LRU_GEN_PATH "/sys/kernel/debug/lru_gen"
/* The kernel keeps four (MAX_NR_GENS in 6.12). */
#define LRU_GEN_MAX 8

/* Expected outcomes that the direct caller handles. */
enum lru_gen_cond {
	LRU_GEN_OK = 0,
	LRU_GEN_MORE,   /* lru_gen_step(): call again */
	LRU_GEN_GONE,   /* the file does not list that cgroup */
	LRU_GEN_ABSENT, /* no such file: debugfs is not mounted, or a kernel without it */
	LRU_GEN_DENIED, /* not allowed: kernel lockdown (Secure Boot), or the unit's sandbox */
	LRU_GEN_OFF,    /* the multi-gen LRU or its page-table walk is switched off */
};

struct lru_gen_generation {
	uint64_t seq;    /* generation number, the youngest is the greatest */
	uint64_t age_ms; /* since it was begun */
	uint64_t anon_bytes, file_bytes;
};

/* One node's lists of the cgroup, oldest generation first. */
struct lru_gen_node {
	int node;
	size_t n;
	struct lru_gen_generation generations[LRU_GEN_MAX];
};

struct lru_gen_ages {
	uint32_t id; /* of the cgroup in this file; belongs to it while it exists */
	size_t n_nodes;
	struct lru_gen_node nodes[NODES_MAX];
};

/* Whether generations are kept at all and page tables are walked, of @enabled, the text of
 * /sys/kernel/mm/lru_gen/enabled ("0x0007"). LRU_GEN_OK, LRU_GEN_OFF, or -EBADMSG. */
MUST_USE int lru_gen_parse_enabled(const char *enabled);
/* The same, asked of the kernel; LRU_GEN_ABSENT where it has no multi-gen LRU; or -errno. */
MUST_USE int lru_gen_check_enabled(void);

/* ---- reading: the file lists all cgroups, so it is read a piece at a time */

struct lru_gen_reader;

/**
 * lru_gen_reader_new() - look for one cgroup
 * @path:        of the file, LRU_GEN_PATH but in tests; NULL: the text comes by lru_gen_feed()
 * @cgroup_path: as the kernel has it, "/taskmem.slice/…/node0/join"
 *
 * Return: LRU_GEN_OK, LRU_GEN_ABSENT, LRU_GEN_DENIED or -errno.
 */
MUST_USE int lru_gen_reader_new(const char *path, const char *cgroup_path,
				struct lru_gen_reader **ret);
/* NULL is fine. */
void lru_gen_reader_free(struct lru_gen_reader *reader);

/**
 * lru_gen_step() - read the next piece (4 KiB at most, some ten cgroups)
 *
 * Return: LRU_GEN_MORE, LRU_GEN_OK (lru_gen_reader_ages() has it), LRU_GEN_GONE or -errno
 * (-EBADMSG: a text this parser does not know).
 */
MUST_USE int lru_gen_step(struct lru_gen_reader *reader);
/* After LRU_GEN_OK; borrowed. */
const struct lru_gen_ages *lru_gen_reader_ages(const struct lru_gen_reader *reader);

/* One more piece of the text; @len 0 is its end. Return: as lru_gen_step(). */
MUST_USE int lru_gen_feed(struct lru_gen_reader *reader, const char *text, size_t len);

/* ---- ageing */

/* The file open for commands. LRU_GEN_OK, LRU_GEN_ABSENT, LRU_GEN_DENIED or -errno. */
MUST_USE int lru_gen_open(const char *path, int *ret_fd);

#define LRU_GEN_COMMAND_MAX 64
/**
 * lru_gen_command() - the text that ages one node's lists of a cgroup
 *
 * Written to the file it walks the page tables of the cgroup's processes: what was touched since
 * the last walk comes into the youngest generation, then a new one is begun. Seen under
 * emulation: 86 ms a GiB of small pages, 12 ms of huge ones. Not to be written on the event loop.
 * -EINVAL: the cgroup or the generation is not there (any more). A generation older than the
 * youngest is accepted and does nothing.
 *
 * Returns @buf.
 */
const char *lru_gen_command(uint32_t id, const struct lru_gen_node *node,
			    char buf[static LRU_GEN_COMMAND_MAX]);

/* Of @node: bytes in generations @seq and younger. Either pointer may be NULL. */
void lru_gen_sum(const struct lru_gen_node *node, uint64_t seq, uint64_t *ret_anon,
		 uint64_t *ret_file);
