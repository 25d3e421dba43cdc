/* SPDX-License-Identifier: Apache-2.0 */

/* Populating needs cgroup v2 and is tested on a real kernel. Cases that need free huge pages
 * are left out, with a word, where there are none. */

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "kern/hugetlb.h"
#include "kern/topology.h"
#include "model.h"
#include "suite.h"

#define PAGES_NEEDED 3

static uint64_t count_free_pages(void)
{
	struct node_info nodes[NODES_MAX];
	struct hugetlb_counts counts;
	uint64_t n_free = 0;
	size_t n;

	if (topology_read(nodes, &n) < 0)
		return 0;
	for (size_t i = 0; i < n; i++) {
		if (hugetlb_read(nodes[i].node, PAGES_HUGE, &counts) == 0)
			n_free += counts.free;
	}
	return n_free;
}

static void expect_pages(int fd, uint64_t present, uint64_t size)
{
	uint64_t have_present, have_size;

	ck_assert_int_eq(hugetlb_measure(fd, &have_present, &have_size), 0);
	ck_assert_uint_eq(have_present, present);
	ck_assert_uint_eq(have_size, size);
}

START_TEST(a_new_file_is_sparse_sealed_and_private)
{
	CLEANUP(fd_closep) int fd = -1;
	struct stat st;

	ck_assert_int_eq(hugetlb_create("test", PAGES_HUGE, 1000, &fd), 0);
	expect_pages(fd, 0, 1000);
	ck_assert_int_eq(fstat(fd, &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0600);
	ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
	ck_assert_int_eq(fcntl(fd, F_GET_SEALS) & (F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL),
			 F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL);
	ck_assert_int_eq(ftruncate(fd, (off_t)CHUNK_BYTES), -1);
	ck_assert_int_eq(errno, EPERM);
	ck_assert_int_eq(ftruncate(fd, (off_t)(2000 * CHUNK_BYTES)), -1);
	ck_assert_int_eq(errno, EPERM);
}
END_TEST

START_TEST(impossible_sizes_are_refused)
{
	int fd = -1;

	ck_assert_int_eq(hugetlb_create("test", PAGES_HUGE, 0, &fd), -EINVAL);
	ck_assert_int_eq(hugetlb_create("test", PAGES_HUGE, UINT64_MAX, &fd), -EINVAL);
	ck_assert_int_eq(hugetlb_create("test", PAGES_HUGE, UINT64_C(1) << 42, &fd), -EINVAL);
	ck_assert_int_eq(hugetlb_create("test", PAGES_GIGANTIC, GIGANTIC_CHUNKS + 1, &fd), -EINVAL);
	ck_assert_int_eq(fd, -1);
}
END_TEST

START_TEST(a_file_tells_what_pages_it_is_of)
{
	for (int kind = 0; kind < PAGE_KINDS; kind++) {
		CLEANUP(fd_closep) int fd = -1;
		struct hugetlb_counts counts;
		enum page_kind told;

		if (kind == PAGES_GIGANTIC && hugetlb_read(0, PAGES_GIGANTIC, &counts) < 0)
			continue;
		ck_assert_int_eq(
			hugetlb_create("test", (enum page_kind)kind, 3 * GIGANTIC_CHUNKS, &fd), 0);
		ck_assert_int_eq(hugetlb_kind(fd, &told), 0);
		ck_assert_int_eq(told, kind);
		expect_pages(fd, 0, 3 * GIGANTIC_CHUNKS);
	}
}
END_TEST

START_TEST(punching_a_hole_in_a_hole_is_fine)
{
	CLEANUP(fd_closep) int fd = -1;

	ck_assert_int_eq(hugetlb_create("test", PAGES_HUGE, 8, &fd), 0);
	ck_assert_int_eq(hugetlb_punch(fd, 2, 3), 0);
	ck_assert_int_eq(hugetlb_punch(fd, 2, 0), 0);
	expect_pages(fd, 0, 8);
}
END_TEST

START_TEST(an_unknown_node_is_said_to_be_missing)
{
	struct hugetlb_counts counts = { .total = 7 };
	uint64_t have = 7;

	ck_assert_int_eq(hugetlb_read(NODES_MAX - 1, PAGES_HUGE, &counts), -ENOENT);
	ck_assert_uint_eq(counts.total, 7);
	ck_assert_int_eq(hugetlb_reserve(NODES_MAX - 1, PAGES_HUGE, 1, &have), -ENOENT);
	ck_assert_uint_eq(have, 7);
}
END_TEST

START_TEST(reserving_less_than_there_is_takes_nothing_away)
{
	struct hugetlb_counts before, after;
	uint64_t have = UINT64_MAX;

	ck_assert_int_eq(hugetlb_read(0, PAGES_HUGE, &before), 0);
	ck_assert_uint_le(before.free, before.total);
	ck_assert_int_eq(hugetlb_reserve(0, PAGES_HUGE, 0, &have), 0);
	ck_assert_uint_eq(have, before.total);
	ck_assert_int_eq(hugetlb_read(0, PAGES_HUGE, &after), 0);
	ck_assert_uint_eq(after.total, before.total);
}
END_TEST

START_TEST(punching_frees_the_pages_of_these_chunks_only)
{
	CLEANUP(fd_closep) int fd = -1;
	uint64_t n_free = count_free_pages();
	unsigned char *map;

	ck_assert_int_eq(hugetlb_create("test", PAGES_HUGE, 8, &fd), 0);
	ck_assert_int_eq(fallocate(fd, 0, 0, (off_t)(PAGES_NEEDED * CHUNK_BYTES)), 0);
	expect_pages(fd, PAGES_NEEDED, 8);
	ck_assert_uint_eq(count_free_pages(), n_free - PAGES_NEEDED);
	map = mmap(NULL, 8 * CHUNK_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd,
		   0);
	ck_assert_ptr_ne(map, MAP_FAILED);
	map[0] = 11;
	map[2 * CHUNK_BYTES] = 22;

	ck_assert_int_eq(hugetlb_punch(fd, 1, 1), 0);
	expect_pages(fd, PAGES_NEEDED - 1, 8);
	ck_assert_uint_eq(count_free_pages(), n_free - PAGES_NEEDED + 1);
	ck_assert_uint_eq(map[0], 11);
	ck_assert_uint_eq(map[2 * CHUNK_BYTES], 22);

	munmap(map, 8 * CHUNK_BYTES);
	ck_assert_int_eq(hugetlb_punch(fd, 0, 8), 0);
	expect_pages(fd, 0, 8);
	ck_assert_uint_eq(count_free_pages(), n_free);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("hugetlb");
	TCase *tc = tcase_create("hugetlb");
	struct hugetlb_counts counts;

	if (hugetlb_read(0, PAGES_HUGE, &counts) < 0) {
		fprintf(stderr, "this kernel has no 2 MiB pages: skipped\n");
		return 77;
	}
	tcase_add_test(tc, a_new_file_is_sparse_sealed_and_private);
	tcase_add_test(tc, impossible_sizes_are_refused);
	tcase_add_test(tc, a_file_tells_what_pages_it_is_of);
	tcase_add_test(tc, punching_a_hole_in_a_hole_is_fine);
	tcase_add_test(tc, an_unknown_node_is_said_to_be_missing);
	tcase_add_test(tc, reserving_less_than_there_is_takes_nothing_away);
	if (count_free_pages() >= PAGES_NEEDED)
		tcase_add_test(tc, punching_frees_the_pages_of_these_chunks_only);
	else
		fprintf(stderr, "fewer than %d huge pages free: punching is not tested\n",
			PAGES_NEEDED);
	suite_add_tcase(s, tc);
	return suite_run(s);
}
