/* SPDX-License-Identifier: Apache-2.0 */

/*
 * bench_pool runs, with one turn, so that its numbers mean little. Where the allocators' packages
 * would be there is the C library, which is preloaded in their place: each peer but DPDK is there,
 * whatever the machine has installed.
 */

#include <check.h>
#include <dlfcn.h>
#include <gnu/libc-version.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/attr.h"
#include "suite.h"

#define LINES_MAX 64
#define LINE_MAX_BYTES 256
#define TEXT_MAX 65536
#define DEPTH_MAX 16

static const char *const stand_ins[] = { "libjemalloc.so.2", "libmimalloc.so.3",
					 "libtcmalloc_minimal.so.4" };
static const char *const present[] = { "taskmem",  "bare stack", "checked stack", "glibc",
				       "jemalloc", "mimalloc",   "tcmalloc" };

static char folder[] = "/tmp/taskmem-bench-XXXXXX", library_folder[64];
static char lines[LINES_MAX][LINE_MAX_BYTES];
static size_t n_lines;

static void set_up(void)
{
	char path[128];
	Dl_info libc;

	ck_assert_ptr_nonnull(mkdtemp(folder));
	(void)snprintf(path, sizeof(path), "%s/usr", folder);
	ck_assert_int_eq(mkdir(path, 0755), 0);
	(void)snprintf(path, sizeof(path), "%s/usr/lib", folder);
	ck_assert_int_eq(mkdir(path, 0755), 0);
	(void)snprintf(library_folder, sizeof(library_folder), "%s/usr/lib/here", folder);
	ck_assert_int_eq(mkdir(library_folder, 0755), 0);
	ck_assert_int_ne(dladdr((void *)gnu_get_libc_version, &libc), 0);
	for (size_t i = 0; i < ARRAY_LEN(stand_ins); i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", library_folder, stand_ins[i]);
		ck_assert_int_eq(symlink(libc.dli_fname, path), 0);
	}
	ck_assert_int_eq(setenv("BENCH_PEERS", folder, 1), 0);
	/* meson test has malloc fill what it gives */
	ck_assert_int_eq(unsetenv("MALLOC_PERTURB_"), 0);
}

static void tear_down(void)
{
	char path[128];

	for (size_t i = 0; i < ARRAY_LEN(stand_ins); i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", library_folder, stand_ins[i]);
		unlink(path);
	}
	rmdir(library_folder);
	(void)snprintf(path, sizeof(path), "%s/usr/lib", folder);
	rmdir(path);
	(void)snprintf(path, sizeof(path), "%s/usr", folder);
	rmdir(path);
	rmdir(folder);
}

/* Returns the exit status; what it says is in lines, errors as well. */
static int run(const char *arguments)
{
	char command[1024];
	FILE *f;
	int status;

	(void)snprintf(command, sizeof(command), "'%s' --reps 1 %s 2>&1", BENCH_POOL, arguments);
	f = popen(command, "r");
	ck_assert_ptr_nonnull(f);
	for (n_lines = 0; n_lines < LINES_MAX && fgets(lines[n_lines], LINE_MAX_BYTES, f);)
		n_lines++;
	status = pclose(f);
	ck_assert(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static const char *find(const char *text)
{
	for (size_t i = 0; i < n_lines; i++)
		if (strstr(lines[i], text))
			return lines[i];
	return NULL;
}

static double number(const char *text)
{
	char *end;
	double value = strtod(text, &end);

	ck_assert_msg(end != text && *end == '\0', "\"%s\" is no number", text);
	return value;
}

/* Nine fields; with one turn the quartiles are the ratio itself. */
static void check_row(const char *case_name, const char *peer, const char *bar)
{
	char name[64], line[LINE_MAX_BYTES], *rest = line, *fields[16];
	const char *found;
	double ours, theirs;
	size_t n = 0;

	(void)snprintf(name, sizeof(name), "pool.%s.%s\t", case_name, peer);
	found = find(name);
	ck_assert_msg(found, "no %s", name);
	(void)snprintf(line, sizeof(line), "%s", found);
	line[strcspn(line, "\n")] = '\0';
	while (n < ARRAY_LEN(fields) && (fields[n] = strsep(&rest, "\t")))
		n++;
	ck_assert_uint_eq(n, 9);
	ours = number(fields[1]);
	theirs = number(fields[2]);
	ck_assert_double_gt(ours, 0);
	ck_assert_double_gt(theirs, 0);
	/* as far as it can be told from what was rounded */
	ck_assert_double_eq_tol(number(fields[3]), ours / theirs, 0.01 * ours / theirs + 0.0002);
	ck_assert_str_eq(fields[4], "ns");
	ck_assert_str_eq(fields[5], fields[3]);
	ck_assert_str_eq(fields[6], fields[3]);
	ck_assert_str_eq(fields[7], bar);
	ck_assert_str_eq(fields[8], "-");
}

START_TEST(every_peer_has_a_line_of_nine_fields)
{
	ck_assert_int_eq(run("--tsv keep-1 bulk-32"), 0);
	/* ours is beside each of the others, and the bar is for DPDK only */
	for (size_t i = 1; i < ARRAY_LEN(present); i++) {
		check_row("keep-1", present[i], "-");
		check_row("bulk-32", present[i], "-");
	}
	ck_assert_ptr_null(find("pool.keep-32."));
	ck_assert_ptr_null(find("pool.keep-1.dpdk"));
	ck_assert_ptr_nonnull(find("left out: dpdk (Debian package libdpdk-dev)"));
	/* that, and no other */
	ck_assert_uint_eq(n_lines, 2 * (ARRAY_LEN(present) - 1) + 1);
}
END_TEST

START_TEST(a_stack_hands_nothing_to_other_threads)
{
	ck_assert_int_eq(run("--tsv hand-1"), 0);
	check_row("hand-1", "glibc", "-");
	ck_assert_ptr_null(find("stack"));
}
END_TEST

/* Each element is closed by its own end, and attributes are in quotes; texts have no entities. */
static bool is_well_formed(const char *text)
{
	const char *open[DEPTH_MAX], *end;
	size_t depth = 0, length;

	while ((text = strchr(text, '<'))) {
		text++;
		length = strcspn(text, " >/");
		end = strchr(text, '>');
		if (!end || memchr(text, '<', (size_t)(end - text)))
			return false;
		if (*text == '/') {
			length = (size_t)(end - ++text);
			if (depth == 0 || strcspn(open[--depth], " >") != length ||
			    strncmp(open[depth], text, length) != 0)
				return false;
		} else if (end[-1] != '/') {
			if (length == 0 || depth == DEPTH_MAX)
				return false;
			open[depth++] = text;
		}
		text = end;
	}
	return depth == 0;
}

/* Reads "#rrggbb" behind fill=. */
static const char *read_colour(const char *rect, char colour[static 8])
{
	const char *fill = strstr(rect, "fill=\"");

	ck_assert_ptr_nonnull(fill);
	fill += strlen("fill=\"");
	ck_assert_uint_eq(strcspn(fill, "\""), 7);
	ck_assert_int_eq(*fill, '#');
	ck_assert_uint_eq(strspn(fill + 1, "0123456789abcdef"), 6);
	memcpy(colour, fill, 7);
	colour[7] = '\0';
	return fill;
}

START_TEST(the_picture_has_a_bar_for_each_peer)
{
	static char text[TEXT_MAX];
	char path[] = "/tmp/taskmem-bench-XXXXXX", arguments[64], label[32];
	char colours[ARRAY_LEN(present)][8];
	const char *at = text;
	int fd = mkstemp(path);
	size_t n_bars = 0;
	ssize_t n;

	ck_assert_int_ge(fd, 0);
	(void)snprintf(arguments, sizeof(arguments), "--svg %s keep-1", path);
	ck_assert_int_eq(run(arguments), 0);
	n = read(fd, text, sizeof(text) - 1);
	ck_assert_int_gt(n, 0);
	close(fd);
	unlink(path);
	ck_assert(is_well_formed(text));
	ck_assert_int_eq(strncmp(text, "<svg xmlns=", strlen("<svg xmlns=")), 0);
	ck_assert_str_eq(text + n - strlen("</svg>\n"), "</svg>\n");
	for (; (at = strstr(at, "<rect ")); n_bars++) {
		ck_assert_uint_lt(n_bars, ARRAY_LEN(present));
		at = read_colour(at, colours[n_bars]);
		for (size_t i = 0; i < n_bars; i++)
			ck_assert_str_ne(colours[i], colours[n_bars]);
		(void)snprintf(label, sizeof(label), ">%s ", present[n_bars]);
		ck_assert_msg(strstr(at, label), "no %s", present[n_bars]);
	}
	ck_assert_uint_eq(n_bars, ARRAY_LEN(present));
	ck_assert_int_eq(run("--svg /nowhere/x.svg keep-1"), 1);
	ck_assert_ptr_nonnull(find("bench_pool: /nowhere/x.svg: "));
}
END_TEST

START_TEST(what_is_no_picture_is_found)
{
	ck_assert(is_well_formed("<svg a=\"b\"><text x=\"1\">t</text><rect/></svg>\n"));
	ck_assert(!is_well_formed("<svg><text>t</svg>"));
	ck_assert(!is_well_formed("<svg><text>t</tex></svg>"));
	ck_assert(!is_well_formed("<svg><text>t</texts></svg>"));
	ck_assert(!is_well_formed("<svg><rect </svg>"));
	ck_assert(!is_well_formed("<svg>"));
	ck_assert(!is_well_formed("</svg>"));
}
END_TEST

START_TEST(nonsense_is_refused)
{
	ck_assert_int_eq(run("keep-7"), 2);
	ck_assert_ptr_nonnull(find("no case keep-7"));
	ck_assert_int_eq(run("--reps 0 keep-1"), 2);
	ck_assert_int_eq(run("--reps 1002 keep-1"), 2);
	ck_assert_int_eq(run("--no-such-option"), 2);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("bench_pool");
	TCase *tc = tcase_create("bench_pool");

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_add_test(tc, every_peer_has_a_line_of_nine_fields);
	tcase_add_test(tc, a_stack_hands_nothing_to_other_threads);
	tcase_add_test(tc, the_picture_has_a_bar_for_each_peer);
	tcase_add_test(tc, what_is_no_picture_is_found);
	tcase_add_test(tc, nonsense_is_refused);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
