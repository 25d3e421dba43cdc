/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Pages that one process holds: a sealed memfd, the process, and a ledger of which
 * chunks have pages. The three descriptors live in systemd's fd store too, so a killed daemon
 * finds them again with every page where it was.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <systemd/sd-event.h>

#include "base/attr.h"
#include "base/list.h"
#include "kern/cgdir.h"
#include "model.h"

#define GRANT_CHUNKS_MAX 1048576 /* 2 TiB; bounds the ledger */
#define GRANT_FDS 3
#define GRANT_POOL_MAX 31

struct ledger;
struct populate;

struct grant {
	struct list in_slot; /* membership in the slot's list */
	uint32_t id;         /* unique while the slots' scope lives */
	pid_t pid;
	enum page_kind pages; /* all of them */
	int pidfd, file_fd, ledger_fd;
	struct ledger *ledger; /* shared mapping of ledger_fd */
	uint32_t n_file_chunks;
	uint32_t n_held;           /* chunks with pages, known to the task */
	uint32_t n_pending;        /* chunks being filled */
	uint64_t revocation;       /* number of the last one; 0: none since the daemon started */
	uint32_t n_revoked;        /* taken by force, and perhaps still used by the task */
	uint32_t wanted;           /* what the task asked for in all; bounds the target */
	uint64_t token;            /* of the request that made it, 0: none */
	uint32_t target;           /* what it should hold now */
	bool has_uring, has_epoll; /* receive engines that its task has told of */
	struct revoke_mark mark;
	uint32_t n_to_take; /* by force, once its slot is frozen */
	bool is_for_guarantee;
	uint64_t *draining; /* bitmap of what the task has set aside; NULL: it did not say */
	char pool[GRANT_POOL_MAX + 1]; /* that keeps most of it, as the task says; "" */
	void *subscriber;              /* the client's connection; NULL while it is away */
	bool is_known;                 /* the task has named it in a call, so it got the answer */
	bool is_refused;               /* asked for pages it is due, and there were none */
	bool is_announced;             /* the client knows of it: notices may follow */
	struct populate *populate;
	void (*grown)(struct grant *grant, int result, const uint32_t *chunks, size_t n,
		      void *userdata);
	void *grown_userdata;
	uint32_t *growing;            /* n_pending indexes */
	struct growth *waiting;       /* of the manager: its first pages are still owed by others */
	sd_event_source *exit_source; /* watches pidfd; owned by the manager */
	struct load *load;            /* of the manager: what its task reports of its pools */
	void *slot;                   /* struct slot of the manager */
};

/**
 * grant_new() - an empty grant for a process
 * @pidfd: duplicated
 * @token: kept with it
 *
 * Creates memfd and ledger and puts them in the fd store (nothing is stored when the daemon
 * does not run under systemd). Return: 0 or -errno.
 */
MUST_USE int grant_new(uint32_t id, const char *slot_name, pid_t pid, int pidfd,
		       enum page_kind pages, uint32_t n_file_chunks, uint64_t token,
		       struct grant **ret_grant);

/**
 * grant_adopt() - take up a grant from the fd store
 * @fds: its descriptors in any order; owned by the grant on success only
 * @ret_slot_name: the slot it belongs to
 *
 * Chunks that were being filled when the daemon died are freed: no task knows of them.
 * Return: 0, -EBADMSG (not a whole grant), -ESRCH (its process has ended or was never told of
 * it; pages freed, nothing adopted), or -errno.
 */
MUST_USE int grant_adopt(const int fds[static GRANT_FDS], size_t n_fds, struct grant **ret_grant,
			 char ret_slot_name[static SLOT_NAME_MAX + 1]);

/* Name in the fd store. Returns @buf. */
const char *grant_store_name(uint32_t id, char buf[static 32]);
/* Removes leftover descriptors of this name from the fd store. */
void grant_forget_stored(const char *store_name);

/**
 * grant_grow() - fill @n more chunks, lowest indexes first, and of gigantic pages whole ones only
 * @grown: called once from the loop; @result > 0 chunks (then @chunks lists them), or -errno:
 *         -ENOSPC when not a single one could be had
 *
 * Return: 0, -EBUSY (it is growing), -ENOSPC (the file has no room for one), -errno.
 */
MUST_USE int grant_grow(struct grant *grant, sd_event *event, struct cgdir *slot, int node,
			uint32_t n,
			void (*grown)(struct grant *, int, const uint32_t *, size_t, void *),
			void *userdata);

/* Frees the listed chunks; of revoked ones it says that the task is done with them, if @revocation is the last one.
 * Those that are neither stay so, for a task whose answer was lost asks again.
 * Not of gigantic pages. Return: 0, or -EINVAL when one is beyond the file: nothing is freed. */
MUST_USE int grant_return(struct grant *grant, const uint32_t *chunks, size_t n,
			  uint64_t revocation);

/**
 * grant_note_draining() - what the task will give back when its last buffer is released
 * @chunks: replaces what was said before; goes first when pages are taken by force
 * @pool:   the one that keeps most of it; at most GRANT_POOL_MAX bytes are kept
 *
 * Return: 0, -EINVAL (one is beyond the file) or -ENOMEM.
 */
MUST_USE int grant_note_draining(struct grant *grant, const uint32_t *chunks, size_t n,
				 const char *pool);

/**
 * grant_revoke() - take up to @n held chunks from a task that is frozen
 *
 * Those that drain first. The caller lowers the slot's limit before the task runs again, so that
 * a touch is SIGBUS; else it would only fault a fresh page. Punches again what was revoked before.
 * A page that the task has pinned (registered with io_uring, or on its way out by zero copy) leaves
 * the file, but is free only when the pin goes. Not while it grows, nor of transparent pages: no
 * limit makes a touch of those an error, it would find zeroes; nor of gigantic ones, which go with
 * the grant.
 * @revocation: a number not used before; @ret_chunks: room for @n. Return: how many.
 */
uint32_t grant_revoke(struct grant *grant, uint32_t n, uint64_t revocation, uint32_t *ret_chunks);
void grant_punch_revoked(struct grant *grant);
/* Are there pages in revoked chunks? The task has faulted them in, or a daemon was killed that was
 * about to take them. */
bool grant_has_strays(const struct grant *grant);
/* Indexes into @chunks (room for n_revoked). Returns their number. */
size_t grant_list_revoked(const struct grant *grant, uint32_t *chunks);

/* The task is told of the grant now: it outlives a lost connection and the daemon. */
void grant_note_delivered(struct grant *grant);

/* Held chunks that were one page of 2 MiB each when they were put in. */
uint32_t grant_count_huge(const struct grant *grant);

/* Indexes of the held chunks into @chunks (room for n_held). Returns their number. */
size_t grant_list_chunks(const struct grant *grant, uint32_t *chunks);

/* True if its process has ended. */
bool grant_is_orphaned(const struct grant *grant);

/* Frees every page and forgets the grant, in the fd store too. NULL is fine. */
void grant_release(struct grant *grant);
/* Drops the daemon's handles; pages, process and fd store stay as they are. NULL is fine. */
void grant_leave(struct grant *grant);
