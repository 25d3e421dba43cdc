/* SPDX-License-Identifier: Apache-2.0 */

/* What a daemon finds of a grant that an earlier one made. Putting pages in needs cgroup v2 and is
 * tested on a real kernel; here they are transparent ones, which any host has. */

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "kern/hugetlb.h"
#include "kern/transparent.h"
#include "pool/grant.h"
#include "suite.h"

/* The ledger's head, and its bitmaps at the end of the file; N_CHUNKS is one word of each. */
#define AT_VERSION 8
#define VERSION 3
#define N_CHUNKS 64
enum { PRESENT, FILLING, REVOKED, HUGE_ONES, BITMAPS };

static struct grant *grant;
static int fds[GRANT_FDS];

static void setup(void)
{
	int pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);

	unsetenv("NOTIFY_SOCKET");
	ck_assert_int_ge(pidfd, 0);
	ck_assert_int_eq(grant_new(7, "sink", getpid(), pidfd, PAGES_TRANSPARENT, N_CHUNKS,
				   /* token= */ 99, &grant),
			 0);
	close(pidfd);
	grant_note_delivered(grant);
}

static uint64_t *ledger_bits(int ledger_fd, uint32_t n_bitmaps, off_t *ret_at)
{
	static uint64_t bits[BITMAPS];
	struct stat st;

	ck_assert_int_eq(fstat(ledger_fd, &st), 0);
	*ret_at = st.st_size - (off_t)(n_bitmaps * sizeof(bits[0]));
	ck_assert_int_eq(pread(ledger_fd, bits, n_bitmaps * sizeof(bits[0]), *ret_at),
			 (ssize_t)(n_bitmaps * sizeof(bits[0])));
	return bits;
}

/* As the helper and the daemon leave it when @present are the task's and @huge of them huge. */
static void fill(uint64_t present, uint64_t filling, uint64_t huge)
{
	bool is_huge;
	off_t at;
	uint64_t *bits = ledger_bits(grant->ledger_fd, BITMAPS, &at);

	bits[PRESENT] = present;
	bits[FILLING] = filling;
	bits[HUGE_ONES] = huge;
	ck_assert_int_eq(pwrite(grant->ledger_fd, bits, BITMAPS * sizeof(bits[0]), at),
			 BITMAPS * sizeof(bits[0]));
	for (uint32_t i = 0; i < N_CHUNKS; i++)
		if ((present | filling) >> i & 1)
			ck_assert_int_eq(transparent_put_in(grant->file_fd, i,
							    /* pagemap_fd= */ -1, &is_huge),
					 0);
}

/* The daemon is gone; its descriptors are in the fd store. */
static void leave(void)
{
	fds[0] = fcntl(grant->file_fd, F_DUPFD_CLOEXEC, 3);
	fds[1] = fcntl(grant->ledger_fd, F_DUPFD_CLOEXEC, 3);
	fds[2] = fcntl(grant->pidfd, F_DUPFD_CLOEXEC, 3);
	grant_leave(grant);
	grant = NULL;
}

static void adopt(void)
{
	char slot[SLOT_NAME_MAX + 1];

	ck_assert_int_eq(grant_adopt(fds, GRANT_FDS, &grant, slot), 0);
	ck_assert_str_eq(slot, "sink");
	ck_assert_uint_eq(grant->id, 7);
	ck_assert_uint_eq(grant->token, 99);
}

static void expect_present(uint64_t n_chunks)
{
	uint64_t present, size;

	ck_assert_int_eq(hugetlb_measure(grant->file_fd, &present, &size), 0);
	ck_assert_uint_eq(present, n_chunks);
	ck_assert_uint_eq(size, N_CHUNKS);
}

START_TEST(a_grant_keeps_its_kind_and_its_pages_over_a_restart)
{
	uint32_t chunks[N_CHUNKS];

	fill(/* present= */ 0xe, /* filling= */ 0xf0, /* huge= */ 0x36);
	leave();
	adopt();
	ck_assert_int_eq(grant->pages, PAGES_TRANSPARENT);
	ck_assert_uint_eq(grant->n_held, 3);
	/* what no task was told of is freed, and is not huge any more */
	expect_present(3);
	ck_assert_uint_eq(grant_count_huge(grant), 2);
	ck_assert_uint_eq(grant_list_chunks(grant, chunks), 3);
	ck_assert_uint_eq(chunks[2], 3);
	grant_release(grant);
}
END_TEST

/* Its task may run when the next daemon comes, and would only fault a fresh page in. */
START_TEST(what_a_killed_daemon_was_about_to_take_is_left_to_the_next_freeze)
{
	uint64_t *bits;
	off_t at;

	fill(/* present= */ 0xe, 0, 0);
	bits = ledger_bits(grant->ledger_fd, BITMAPS, &at);
	bits[PRESENT] = 0x6;
	bits[REVOKED] = 0x8;
	ck_assert_int_eq(pwrite(grant->ledger_fd, bits, BITMAPS * sizeof(bits[0]), at),
			 BITMAPS * sizeof(bits[0]));
	leave();
	adopt();
	ck_assert_uint_eq(grant->n_held, 2);
	ck_assert_uint_eq(grant->n_revoked, 1);
	expect_present(3);
	ck_assert(grant_has_strays(grant));
	grant_punch_revoked(grant);
	expect_present(2);
	ck_assert(!grant_has_strays(grant));
	grant_release(grant);
}
END_TEST

START_TEST(what_is_given_back_is_free_and_counts_as_huge_no_more)
{
	const uint32_t chunks[] = { 1, 3, 3 }, beyond[] = { 2, N_CHUNKS };

	fill(0xe, 0, 0x6);
	leave();
	adopt();
	ck_assert_int_eq(grant_return(grant, beyond, 2, 0), -EINVAL);
	expect_present(3);
	ck_assert_int_eq(grant_return(grant, chunks, 3, 0), 0);
	ck_assert_uint_eq(grant->n_held, 1);
	ck_assert_uint_eq(grant_count_huge(grant), 1);
	expect_present(1);
	leave();
	adopt();
	ck_assert_uint_eq(grant_count_huge(grant), 1);
	grant_release(grant);
}
END_TEST

START_TEST(a_ledger_of_an_earlier_version_is_taken_up)
{
	const uint32_t version = (uint32_t)_i;
	struct stat st;

	fill(0xe, 0, 0);
	leave();
	ck_assert_int_eq(fstat(fds[1], &st), 0);
	ck_assert_int_eq(ftruncate(fds[1], st.st_size - (VERSION - _i) * 8), 0);
	ck_assert_int_eq(pwrite(fds[1], &version, sizeof(version), AT_VERSION), sizeof(version));
	adopt();
	ck_assert_uint_eq(grant->n_held, 3);
	ck_assert_uint_eq(grant->n_revoked, 0);
	ck_assert_uint_eq(grant_count_huge(grant), 0);
	ck_assert_int_eq(fstat(grant->ledger_fd, &st), 0);
	grant_release(grant);
}
END_TEST

START_TEST(a_ledger_of_a_wrong_size_or_a_later_version_is_not)
{
	const uint32_t version = VERSION + 1;
	char slot[SLOT_NAME_MAX + 1];
	struct stat st;

	leave();
	ck_assert_int_eq(fstat(fds[1], &st), 0);
	ck_assert_int_eq(ftruncate(fds[1], st.st_size - 8), 0);
	ck_assert_int_eq(grant_adopt(fds, GRANT_FDS, &grant, slot), -EBADMSG);
	ck_assert_int_eq(ftruncate(fds[1], st.st_size), 0);
	ck_assert_int_eq(pwrite(fds[1], &version, sizeof(version), AT_VERSION), sizeof(version));
	ck_assert_int_eq(grant_adopt(fds, GRANT_FDS, &grant, slot), -EBADMSG);
	ck_assert_ptr_null(grant);
}
END_TEST

/* The bits of a grant of three pages, whose file is empty: there may be no such page on this host. */
static void write_bits(uint32_t bitmap, uint32_t first, uint32_t n)
{
	const size_t n_bytes = 3 * GIGANTIC_CHUNKS / 8;
	uint8_t bits[3 * GIGANTIC_CHUNKS / 8];
	struct stat st;
	off_t at;

	ck_assert_int_eq(fstat(grant->ledger_fd, &st), 0);
	at = st.st_size - (off_t)((BITMAPS - bitmap) * n_bytes);
	ck_assert_int_eq(pread(grant->ledger_fd, bits, n_bytes, at), (ssize_t)n_bytes);
	for (uint32_t i = first; i < first + n; i++)
		bits[i / 8] |= (uint8_t)(1 << i % 8);
	ck_assert_int_eq(pwrite(grant->ledger_fd, bits, n_bytes, at), (ssize_t)n_bytes);
}

START_TEST(of_gigantic_pages_a_restart_finds_whole_ones)
{
	uint32_t *chunks = calloc(3 * GIGANTIC_CHUNKS, sizeof(*chunks));
	int pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);

	ck_assert_ptr_nonnull(chunks);
	grant_release(grant);
	ck_assert_int_eq(grant_new(7, "sink", getpid(), pidfd, PAGES_GIGANTIC, 3 * GIGANTIC_CHUNKS,
				   99, &grant),
			 0);
	close(pidfd);
	grant_note_delivered(grant);
	/* one that is the task's, one of which the bits were being set, one that was being filled */
	write_bits(PRESENT, 0, 2 * GIGANTIC_CHUNKS - 1);
	write_bits(FILLING, 2 * GIGANTIC_CHUNKS - 1, GIGANTIC_CHUNKS + 1);
	leave();
	adopt();
	ck_assert_int_eq(grant->pages, PAGES_GIGANTIC);
	ck_assert_uint_eq(grant->n_held, GIGANTIC_CHUNKS);
	ck_assert_uint_eq(grant_count_huge(grant), GIGANTIC_CHUNKS);
	ck_assert_uint_eq(grant_list_chunks(grant, chunks), GIGANTIC_CHUNKS);
	ck_assert_uint_eq(chunks[GIGANTIC_CHUNKS - 1], GIGANTIC_CHUNKS - 1);
	/* less than a page is no growth */
	ck_assert_int_eq(grant_grow(grant, NULL, NULL, 0, GIGANTIC_CHUNKS - 1, NULL, NULL),
			 -ENOSPC);
	grant_release(grant);
	free(chunks);
}
END_TEST

int main(void)
{
	struct hugetlb_counts counts;
	Suite *s = suite_create("grant");
	TCase *tc = tcase_create("grant");

	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, a_grant_keeps_its_kind_and_its_pages_over_a_restart);
	tcase_add_test(tc, what_a_killed_daemon_was_about_to_take_is_left_to_the_next_freeze);
	tcase_add_test(tc, what_is_given_back_is_free_and_counts_as_huge_no_more);
	tcase_add_loop_test(tc, a_ledger_of_an_earlier_version_is_taken_up, 1, VERSION);
	tcase_add_test(tc, a_ledger_of_a_wrong_size_or_a_later_version_is_not);
	if (hugetlb_read(0, PAGES_GIGANTIC, &counts) == 0)
		tcase_add_test(tc, of_gigantic_pages_a_restart_finds_whole_ones);
	else
		fprintf(stderr, "this kernel has no pages of 1 GiB: those are not tested\n");
	suite_add_tcase(s, tc);
	return suite_run(s);
}
