/* SPDX-License-Identifier: Apache-2.0 */
#include "pool/grant.h"

#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <systemd/sd-daemon.h>

#include "base/fd.h"
#include "kern/hugetlb.h"

/*
 * Which chunks of a hugetlb file have pages cannot be asked of the kernel: SEEK_DATA reports
 * no holes and mincore() shows page tables (6.12). Which chunks of a plain file are huge pages only
 * shows in the page tables of who has it mapped, so the helper that puts them in looks. The daemon
 * keeps both in bitmaps, in a small memfd that outlives it in the fd store, and checks them against
 * st_blocks when it adopts.
 *
 * Bits are set in `filling` before the helper starts and move to `present` when it reports:
 * a daemon killed in between frees what it finds in `filling`.
 *
 * A chunk that was taken by force is in `revoked` until the task says that no buffer of it is in
 * use any more; only then may its index be filled again, else stale pointers of the task would
 * mean new buffers. Killed between the bits and the hole, the next daemon takes it again: the task
 * may run by then, and a hole takes nothing from a task that runs (grant_has_strays()).
 *
 * A page of 1 GiB is 512 chunks that come and go together: the kernel frees whole pages, of less it
 * only clears the bytes.
 */

#define LEDGER_MAGIC "tmgrant"
/* Also the number of bitmaps less one: 1 had none of revoked chunks, 2 none of huge ones. */
#define LEDGER_VERSION 3

struct ledger {
	char magic[8];
	uint32_t version;
	uint32_t id;
	int32_t pid;
	uint32_t n_file_chunks;
	uint32_t wanted;
	uint32_t is_delivered; /* the task was told of this grant */
	uint64_t token;
	char slot[SLOT_NAME_MAX + 1];
	uint64_t bits[]; /* words of present chunks, of filling, of revoked, of huge ones */
};

static size_t ledger_words(uint32_t n_file_chunks)
{
	return (n_file_chunks + 63) / 64;
}

static size_t ledger_bytes_of(uint32_t version, uint32_t n_file_chunks)
{
	return sizeof(struct ledger) +
	       (version + 1) * ledger_words(n_file_chunks) * sizeof(uint64_t);
}

static size_t ledger_bytes(uint32_t n_file_chunks)
{
	return ledger_bytes_of(LEDGER_VERSION, n_file_chunks);
}

static uint64_t *present_bits(const struct grant *grant)
{
	return grant->ledger->bits;
}

static uint64_t *filling_bits(const struct grant *grant)
{
	return grant->ledger->bits + ledger_words(grant->n_file_chunks);
}

static uint64_t *revoked_bits(const struct grant *grant)
{
	return grant->ledger->bits + 2 * ledger_words(grant->n_file_chunks);
}

/* Its words are written by helpers, too. */
static uint64_t *huge_bits(const struct grant *grant)
{
	return grant->ledger->bits + 3 * ledger_words(grant->n_file_chunks);
}

static bool bit_get(const uint64_t *bits, uint32_t i)
{
	return bits[i / 64] >> (i % 64) & 1;
}

static void bit_set(uint64_t *bits, uint32_t i)
{
	bits[i / 64] |= UINT64_C(1) << (i % 64);
}

static void bit_clear(uint64_t *bits, uint32_t i)
{
	bits[i / 64] &= ~(UINT64_C(1) << (i % 64));
}

/* Chunks of one page. */
static uint32_t granule(const struct grant *grant)
{
	return grant->pages == PAGES_GIGANTIC ? GIGANTIC_CHUNKS : 1;
}

/* Frees one chunk; of a page of several, the page with its first one. */
static void punch(struct grant *grant, uint32_t chunk)
{
	uint32_t n = granule(grant);

	if (chunk % n == 0)
		(void)hugetlb_punch(grant->file_fd, chunk, n);
	__atomic_fetch_and(&huge_bits(grant)[chunk / 64], ~(UINT64_C(1) << (chunk % 64)),
			   __ATOMIC_RELAXED);
}

const char *grant_store_name(uint32_t id, char buf[static 32])
{
	(void)snprintf(buf, 32, "grant-%u", id);
	return buf;
}

void grant_forget_stored(const char *store_name)
{
	(void)sd_notifyf(/* unset_environment= */ 0, "FDSTOREREMOVE=1\nFDNAME=%s", store_name);
}

static int grant_store(const struct grant *grant)
{
	char name[32], message[96];
	int fds[GRANT_FDS] = { grant->file_fd, grant->ledger_fd, grant->pidfd };
	int r;

	/* FDPOLL=0: a pidfd whose process ended must stay until the daemon has seen it. */
	(void)snprintf(message, sizeof(message), "FDSTORE=1\nFDNAME=%s\nFDPOLL=0",
		       grant_store_name(grant->id, name));
	r = sd_pid_notify_with_fds(0, /* unset_environment= */ 0, message, fds, GRANT_FDS);
	return r < 0 ? r : 0;
}

static struct grant *grant_alloc(void)
{
	struct grant *grant = calloc(1, sizeof(*grant));

	if (!grant)
		return NULL;
	list_init(&grant->in_slot);
	grant->pidfd = grant->file_fd = grant->ledger_fd = -1;
	return grant;
}

void grant_leave(struct grant *grant)
{
	if (!grant)
		return;
	list_remove(&grant->in_slot);
	if (grant->populate)
		populate_cancel(grant->populate);
	sd_event_source_disable_unref(grant->exit_source);
	if (grant->ledger)
		munmap(grant->ledger, ledger_bytes(grant->n_file_chunks));
	fd_closep(&grant->pidfd);
	fd_closep(&grant->file_fd);
	fd_closep(&grant->ledger_fd);
	free(grant->growing);
	free(grant->draining);
	free(grant);
}

static void grant_leavep(struct grant **grant)
{
	grant_leave(*grant);
}

void grant_release(struct grant *grant)
{
	char name[32];

	if (!grant)
		return;
	if (grant->populate) {
		populate_cancel(grant->populate);
		grant->populate = NULL;
	}
	/* First the books: killed after the punch, the next daemon must not count pages that are
	 * gone, of a process that lives on. */
	memset(present_bits(grant), 0, ledger_words(grant->n_file_chunks) * sizeof(uint64_t));
	/* The task may have left the descriptor to a child: closing ours would free nothing. */
	(void)hugetlb_punch(grant->file_fd, 0, grant->n_file_chunks);
	grant_forget_stored(grant_store_name(grant->id, name));
	grant_leave(grant);
}

static int grant_map_ledger(struct grant *grant)
{
	void *map = mmap(NULL, ledger_bytes(grant->n_file_chunks), PROT_READ | PROT_WRITE,
			 MAP_SHARED, grant->ledger_fd, 0);

	if (map == MAP_FAILED)
		return -errno;
	grant->ledger = map;
	return 0;
}

static int grant_make_ledger(struct grant *grant, const char *slot_name)
{
	int r;

	grant->ledger_fd = memfd_create("taskmem-ledger", MFD_CLOEXEC | MFD_NOEXEC_SEAL);
	if (grant->ledger_fd < 0)
		return -errno;
	if (ftruncate(grant->ledger_fd, (off_t)ledger_bytes(grant->n_file_chunks)) < 0)
		return -errno;
	r = grant_map_ledger(grant);
	if (r < 0)
		return r;
	grant->ledger->version = LEDGER_VERSION;
	grant->ledger->id = grant->id;
	grant->ledger->pid = grant->pid;
	grant->ledger->n_file_chunks = grant->n_file_chunks;
	grant->ledger->token = grant->token;
	(void)snprintf(grant->ledger->slot, sizeof(grant->ledger->slot), "%s", slot_name);
	memcpy(grant->ledger->magic, LEDGER_MAGIC, sizeof(LEDGER_MAGIC));
	return 0;
}

int grant_new(uint32_t id, const char *slot_name, pid_t pid, int pidfd, enum page_kind pages,
	      uint32_t n_file_chunks, uint64_t token, struct grant **ret_grant)
{
	CLEANUP(grant_leavep) struct grant *grant = NULL;
	char name[32];
	int r;

	if (n_file_chunks == 0 || n_file_chunks > GRANT_CHUNKS_MAX)
		return -EINVAL;
	grant = grant_alloc();
	if (!grant)
		return -ENOMEM;
	grant->id = id;
	grant->pid = pid;
	grant->pages = pages;
	grant->n_file_chunks = n_file_chunks;
	grant->token = token;
	grant->pidfd = fcntl(pidfd, F_DUPFD_CLOEXEC, 3);
	if (grant->pidfd < 0)
		return -errno;
	r = hugetlb_create(grant_store_name(id, name), pages, n_file_chunks, &grant->file_fd);
	if (r < 0)
		return r;
	r = grant_make_ledger(grant, slot_name);
	if (r < 0)
		return r;
	r = grant_store(grant);
	if (r < 0)
		return r;
	*ret_grant = TAKE(grant);
	return 0;
}

enum stored_kind { STORED_PIDFD, STORED_LEDGER, STORED_FILE };

/* A pidfd is no memfd; of the two memfds only the ledger is a plain one with our magic. */
static int stored_classify(int fd, enum stored_kind *ret_kind)
{
	char target[64], link[64];
	ssize_t n;

	(void)snprintf(link, sizeof(link), "/dev/fd/%d", fd);
	n = readlink(link, target, sizeof(target) - 1);
	if (n < 0)
		return -errno;
	target[n] = '\0';
	if (strncmp(target, "/memfd:", 7) != 0) {
		*ret_kind = STORED_PIDFD;
		return 0;
	}
	*ret_kind = strncmp(target, "/memfd:taskmem-ledger", 21) == 0 ? STORED_LEDGER : STORED_FILE;
	return 0;
}

/* Of an earlier version: room for what it did not know, as zeroes. */
static int adopt_old(int ledger_fd, const struct ledger *head, const struct stat *st)
{
	const uint32_t version = LEDGER_VERSION;
	size_t bytes = ledger_bytes(head->n_file_chunks);

	if ((size_t)st->st_size != ledger_bytes_of(head->version, head->n_file_chunks))
		return -EBADMSG;
	if (ftruncate(ledger_fd, (off_t)bytes) < 0)
		return -errno;
	if (pwrite(ledger_fd, &version, sizeof(version), offsetof(struct ledger, version)) !=
	    (ssize_t)sizeof(version))
		return -EIO;
	return 0;
}

static int adopt_ledger(struct grant *grant, int ledger_fd)
{
	struct ledger head;
	struct stat st;
	int r;

	if (pread(ledger_fd, &head, sizeof(head), 0) != (ssize_t)sizeof(head) ||
	    fstat(ledger_fd, &st) < 0)
		return -EBADMSG;
	if (memcmp(head.magic, LEDGER_MAGIC, sizeof(LEDGER_MAGIC)) != 0 ||
	    head.n_file_chunks == 0 || head.n_file_chunks > GRANT_CHUNKS_MAX)
		return -EBADMSG;
	if (head.version > 0 && head.version < LEDGER_VERSION) {
		r = adopt_old(ledger_fd, &head, &st);
		if (r < 0)
			return r;
	} else if (head.version != LEDGER_VERSION ||
		   (size_t)st.st_size != ledger_bytes(head.n_file_chunks)) {
		return -EBADMSG;
	}
	grant->id = head.id;
	grant->pid = head.pid;
	grant->wanted = head.wanted;
	grant->token = head.token;
	grant->n_file_chunks = head.n_file_chunks;
	grant->ledger_fd = fcntl(ledger_fd, F_DUPFD_CLOEXEC, 3);
	if (grant->ledger_fd < 0)
		return -errno;
	r = grant_map_ledger(grant);
	if (r < 0)
		return r;
	grant->ledger->slot[SLOT_NAME_MAX] = '\0';
	return 0;
}

/* The daemon was killed between the bits of a page: no task was told of it. */
static void forget_parts(struct grant *grant)
{
	uint64_t *bits = present_bits(grant);
	const size_t n_words = GIGANTIC_CHUNKS / 64;

	if (grant->pages != PAGES_GIGANTIC)
		return;
	for (size_t page = 0; page < ledger_words(grant->n_file_chunks); page += n_words) {
		uint64_t all = UINT64_MAX;

		for (size_t i = 0; i < n_words; i++)
			all &= bits[page + i];
		if (all != UINT64_MAX)
			memset(&bits[page], 0, n_words * sizeof(bits[0]));
	}
}

/* Frees every page that no task was told of: half-filled, or half-returned. */
static void adopt_chunks(struct grant *grant)
{
	uint32_t n = grant->n_file_chunks, hole = 0;

	memset(filling_bits(grant), 0, ledger_words(n) * sizeof(uint64_t));
	forget_parts(grant);
	for (uint32_t i = 0; i <= n; i++) {
		bool is_held = i < n && bit_get(present_bits(grant), i);

		if (i < n && !is_held && !bit_get(revoked_bits(grant), i))
			continue;
		if (i > hole)
			(void)hugetlb_punch(grant->file_fd, hole, i - hole);
		hole = i + 1;
		grant->n_held += is_held;
	}
	for (size_t i = 0; i < ledger_words(n); i++)
		huge_bits(grant)[i] &= present_bits(grant)[i];
	for (uint32_t i = 0; i < n; i++) {
		/* cannot be both, but for a daemon that was killed between the two */
		if (bit_get(present_bits(grant), i))
			bit_clear(revoked_bits(grant), i);
		else if (bit_get(revoked_bits(grant), i))
			grant->n_revoked++;
	}
}

bool grant_is_orphaned(const struct grant *grant)
{
	struct pollfd pfd = { .fd = grant->pidfd, .events = POLLIN };

	return poll(&pfd, 1, 0) > 0;
}

int grant_adopt(const int fds[static GRANT_FDS], size_t n_fds, struct grant **ret_grant,
		char ret_slot_name[static SLOT_NAME_MAX + 1])
{
	CLEANUP(grant_leavep) struct grant *grant = NULL;
	int found[GRANT_FDS] = { -1, -1, -1 };
	int r;

	if (n_fds != GRANT_FDS)
		return -EBADMSG;
	for (size_t i = 0; i < n_fds; i++) {
		enum stored_kind kind = STORED_PIDFD;

		r = stored_classify(fds[i], &kind);
		if (r < 0)
			return r;
		if (found[kind] >= 0)
			return -EBADMSG;
		found[kind] = fds[i];
	}
	grant = grant_alloc();
	if (!grant)
		return -ENOMEM;
	r = adopt_ledger(grant, found[STORED_LEDGER]);
	if (r < 0)
		return r;
	grant->file_fd = fcntl(found[STORED_FILE], F_DUPFD_CLOEXEC, 3);
	grant->pidfd = fcntl(found[STORED_PIDFD], F_DUPFD_CLOEXEC, 3);
	if (grant->file_fd < 0 || grant->pidfd < 0)
		return -errno;
	r = hugetlb_kind(grant->file_fd, &grant->pages);
	if (r < 0)
		return r;
	if (grant->n_file_chunks % granule(grant))
		return -EBADMSG;
	if (grant_is_orphaned(grant) || !grant->ledger->is_delivered) {
		(void)hugetlb_punch(grant->file_fd, 0, grant->n_file_chunks);
		return -ESRCH;
	}
	adopt_chunks(grant);
	memcpy(ret_slot_name, grant->ledger->slot, SLOT_NAME_MAX + 1);
	for (size_t i = 0; i < n_fds; i++)
		(void)close(fds[i]);
	*ret_grant = TAKE(grant);
	return 0;
}

/* The helper fills from the front of the list: the first @result chunks are there. */
static void on_populated(int result, void *userdata)
{
	struct grant *grant = userdata;
	uint32_t n = grant->n_pending;
	uint32_t n_present =
		result > 0 ? MIN((uint32_t)result, n) / granule(grant) * granule(grant) : 0;
	CLEANUP(freep) uint32_t *chunks = TAKE(grant->growing);

	grant->populate = NULL;
	grant->n_pending = 0;
	for (uint32_t i = 0; i < n; i++) {
		if (i < n_present)
			bit_set(present_bits(grant), chunks[i]);
		else
			punch(grant, chunks[i]);
		bit_clear(filling_bits(grant), chunks[i]);
	}
	grant->n_held += n_present;
	if (n_present == 0 && result >= 0)
		result = -ENOSPC;
	grant->grown(grant, result, chunks, n_present, grant->grown_userdata);
}

int grant_grow(struct grant *grant, sd_event *event, struct cgdir *slot, int node, uint32_t n,
	       void (*grown)(struct grant *, int, const uint32_t *, size_t, void *), void *userdata)
{
	uint32_t found = 0;
	int r;

	if (grant->populate)
		return -EBUSY;
	n = MIN(n, grant->n_file_chunks - grant->n_held - grant->n_revoked);
	n -= n % granule(grant);
	if (n == 0)
		return -ENOSPC;
	grant->growing = calloc(n, sizeof(*grant->growing));
	if (!grant->growing)
		return -ENOMEM;
	for (uint32_t i = 0; i < grant->n_file_chunks && found < n; i++) {
		if (bit_get(present_bits(grant), i) || bit_get(revoked_bits(grant), i))
			continue;
		bit_set(filling_bits(grant), i);
		grant->growing[found++] = i;
	}
	grant->n_pending = n;
	grant->grown = grown;
	grant->grown_userdata = userdata;
	grant->ledger->wanted = grant->wanted;
	r = populate_start(event, slot, node, grant->file_fd,
			   grant->pages == PAGES_TRANSPARENT ? huge_bits(grant) : NULL,
			   grant->growing, n, on_populated, grant, &grant->populate);
	if (r < 0) {
		for (uint32_t i = 0; i < n; i++)
			bit_clear(filling_bits(grant), grant->growing[i]);
		grant->n_pending = 0;
		free(TAKE(grant->growing));
	}
	return r;
}

int grant_return(struct grant *grant, const uint32_t *chunks, size_t n, uint64_t revocation)
{
	for (size_t i = 0; i < n; i++)
		if (chunks[i] >= grant->n_file_chunks)
			return -EINVAL;
	for (size_t i = 0; i < n; i++) {
		if (bit_get(revoked_bits(grant), chunks[i])) {
			/* It has not read yet that the chunk was taken. Filled again at once, that
			 * notice would be taken to mean the new page. */
			if (revocation != grant->revocation)
				continue;
			bit_clear(revoked_bits(grant), chunks[i]);
			punch(grant, chunks[i]); /* touched since */
			grant->n_revoked--;
			continue;
		}
		/* Listed twice, or given back before by a call whose answer was lost. */
		if (!bit_get(present_bits(grant), chunks[i]))
			continue;
		/* In this order: a page that no bit covers is freed by the next adoption. */
		bit_clear(present_bits(grant), chunks[i]);
		punch(grant, chunks[i]);
		grant->n_held--;
	}
	return 0;
}

/* ---- by force */

int grant_note_draining(struct grant *grant, const uint32_t *chunks, size_t n, const char *pool)
{
	size_t n_words = ledger_words(grant->n_file_chunks);

	for (size_t i = 0; i < n; i++)
		if (chunks[i] >= grant->n_file_chunks)
			return -EINVAL;
	if (!grant->draining)
		grant->draining = calloc(n_words, sizeof(*grant->draining));
	if (!grant->draining)
		return -ENOMEM;
	memset(grant->draining, 0, n_words * sizeof(*grant->draining));
	for (size_t i = 0; i < n; i++)
		bit_set(grant->draining, chunks[i]);
	(void)snprintf(grant->pool, sizeof(grant->pool), "%s", pool);
	return 0;
}

static void revoke_one(struct grant *grant, uint32_t chunk, uint32_t *ret_chunk)
{
	/* in this order: what neither bit covers is free to be filled again */
	bit_set(revoked_bits(grant), chunk);
	bit_clear(present_bits(grant), chunk);
	grant->n_revoked++;
	grant->n_held--;
	*ret_chunk = chunk;
}

/* Up to @n of the held chunks, from the end of the file on: pools are cut from its front. */
static uint32_t revoke_some(struct grant *grant, uint32_t n, bool is_draining, uint32_t *ret_chunks)
{
	uint32_t done = 0;

	for (uint32_t i = grant->n_file_chunks; i-- > 0 && done < n;) {
		if (!bit_get(present_bits(grant), i))
			continue;
		if (is_draining && !(grant->draining && bit_get(grant->draining, i)))
			continue;
		revoke_one(grant, i, &ret_chunks[done++]);
	}
	return done;
}

uint32_t grant_revoke(struct grant *grant, uint32_t n, uint64_t revocation, uint32_t *ret_chunks)
{
	uint32_t done = revoke_some(grant, n, /* is_draining= */ true, ret_chunks);

	done += revoke_some(grant, n - done, /* is_draining= */ false, ret_chunks + done);
	grant->revocation = revocation;
	grant_punch_revoked(grant);
	return done;
}

void grant_punch_revoked(struct grant *grant)
{
	for (uint32_t i = 0; grant->n_revoked > 0 && i < grant->n_file_chunks; i++)
		if (bit_get(revoked_bits(grant), i))
			punch(grant, i);
}

bool grant_has_strays(const struct grant *grant)
{
	uint64_t present, size;

	if (grant->n_revoked == 0 || grant->populate ||
	    hugetlb_measure(grant->file_fd, &present, &size) < 0)
		return false;
	return present > grant->n_held;
}

size_t grant_list_revoked(const struct grant *grant, uint32_t *chunks)
{
	size_t n = 0;

	for (uint32_t i = 0; i < grant->n_file_chunks && n < grant->n_revoked; i++)
		if (bit_get(revoked_bits(grant), i))
			chunks[n++] = i;
	return n;
}

void grant_note_delivered(struct grant *grant)
{
	grant->ledger->is_delivered = 1;
}

uint32_t grant_count_huge(const struct grant *grant)
{
	const uint64_t *bits = huge_bits(grant);
	uint32_t n = 0;

	if (grant->pages != PAGES_TRANSPARENT)
		return grant->n_held;
	for (size_t i = 0; i < ledger_words(grant->n_file_chunks); i++)
		n += (uint32_t)__builtin_popcountll(bits[i] & present_bits(grant)[i]);
	return n;
}

size_t grant_list_chunks(const struct grant *grant, uint32_t *chunks)
{
	size_t n = 0;

	for (uint32_t i = 0; i < grant->n_file_chunks; i++)
		if (bit_get(present_bits(grant), i))
			chunks[n++] = i;
	return n;
}
