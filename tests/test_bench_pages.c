/* SPDX-License-Identifier: Apache-2.0 */

/* bench_pages runs, with so little memory that its numbers mean nothing, and reserves nothing. */

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/attr.h"
#include "suite.h"

/* Returns the exit status; *@ret_n is the number of lines in the nine columns of --tsv, all of them
 * with numbers above 0. */
static int run(const char *arguments, size_t *ret_n)
{
	char command[1024], line[256], name[64];
	double ours, peer, ratio, low, high;
	FILE *f;
	int status;

	*ret_n = 0;
	/* only root can reserve pages, and a test must not */
	(void)snprintf(command, sizeof(command), "%s '%s' %s",
		       geteuid() == 0 ? "setpriv --reuid 65534 --clear-groups" : "", BENCH_PAGES,
		       arguments);
	f = popen(command, "r");
	ck_assert_ptr_nonnull(f);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%63s %lf %lf %lf ns %lf %lf - -", name, &ours, &peer, &ratio,
			   &low, &high) != 6)
			continue;
		ck_assert_int_eq(strncmp(name, "pages.", 6), 0);
		ck_assert_double_gt(MIN(MIN(ours, peer), ratio), 0);
		ck_assert_double_le(low, high);
		(*ret_n)++;
	}
	status = pclose(f);
	ck_assert(WIFEXITED(status));
	return WEXITSTATUS(status);
}

START_TEST(each_figure_has_a_line_for_each_peer)
{
	size_t n;

	ck_assert_int_eq(run("--tsv --thp --mib 16 --reps 2", &n), 0);
	ck_assert_uint_eq(n, 4 * 2);
}
END_TEST

START_TEST(missing_pages_are_a_status_of_their_own)
{
	size_t n;

	ck_assert_int_eq(run("--tsv --mib 65536", &n), 77);
	ck_assert_uint_eq(n, 0);
}
END_TEST

START_TEST(what_cannot_be_is_refused)
{
	size_t n;

	ck_assert_int_eq(run("--mib 0", &n), 2);
	ck_assert_int_eq(run("--reps 0", &n), 2);
	ck_assert_int_eq(run("nothing", &n), 2);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("bench_pages");
	TCase *tc = tcase_create("bench_pages");

	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, each_figure_has_a_line_for_each_peer);
	tcase_add_test(tc, missing_pages_are_a_status_of_their_own);
	tcase_add_test(tc, what_cannot_be_is_refused);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
