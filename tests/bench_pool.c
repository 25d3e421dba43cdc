/* SPDX-License-Identifier: Apache-2.0 */

/*
 * bench_pool: what it costs to acquire and release a buffer, beside DPDK's mempool and the
 * allocators people use instead.
 *
 * peers: libdpdk-dev libjemalloc2 libmimalloc3 libtcmalloc-minimal4t64
 *
 * Each peer is a process of its own that stays for the whole run and does the same work
 * (bench_pool_loops.h) when told to. The peers take turns, many short ones, and the ratio is
 * taken within a turn: on a machine with other work the times wander, the ratios much less. The
 * numbers are medians; low and high are the quartiles of the ratio. A peer that is not there is
 * named with its package and left out. Nothing fails because of a number: bars are for people.
 *
 * Two peers are no pools but bounds (bench_pool_bare.c): "bare stack" is the same loop with an array
 * and its top and nothing else, "checked stack" finds it by the buffer and looks whether it is empty
 * or full, as it must where a buffer is released without naming its pool.
 * The bar of half of DPDK's time was set with DPDK 22.11, whose pair took 5 ns. That of 24.11
 * takes 1.9 to 2.5 ns where the bare stack takes 1.1, so half is at or below the bound.
 *
 * Both pools have 4 KiB pages here. That makes no difference where no data is touched, and the
 * touched cases say what it does otherwise.
 */

#include <errno.h>
#include <getopt.h>
#include <glob.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define REPS_DEFAULT 41
#define REPS_MAX 1001
#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

struct peer {
	const char *name, *package;
	const char *program; /* beside this one; NULL: built from what the package has */
	const char *preload; /* below the peers' folder */
	const char *colour;  /* of its bars */
	bool is_alone;       /* hands nothing to other threads */
	FILE *to, *from;     /* NULL: not there */
};

static struct peer peers[] = {
	{ .name = "taskmem", .program = "bench_pool_taskmem", .colour = "#0a7d3c" },
	{ .name = "dpdk", .package = "libdpdk-dev", .colour = "#3465a4" },
	{ .name = "bare stack",
	  .program = "bench_pool_bare",
	  .colour = "#d3d7cf",
	  .is_alone = true },
	{ .name = "checked stack",
	  .program = "bench_pool_checked",
	  .colour = "#888a85",
	  .is_alone = true },
	{ .name = "glibc", .program = "bench_pool_malloc", .colour = "#c17d11" },
	{ .name = "jemalloc",
	  .package = "libjemalloc2",
	  .program = "bench_pool_malloc",
	  .preload = "usr/lib/*/libjemalloc.so.2",
	  .colour = "#75507b" },
	{ .name = "mimalloc",
	  .package = "libmimalloc3",
	  .program = "bench_pool_malloc",
	  .preload = "usr/lib/*/libmimalloc.so.3",
	  .colour = "#cc0000" },
	{ .name = "tcmalloc",
	  .package = "libtcmalloc-minimal4t64",
	  .program = "bench_pool_malloc",
	  .preload = "usr/lib/*/libtcmalloc_minimal.so.4",
	  .colour = "#edd400" },
};

/* The bar is for the ratio to DPDK; 0: there is none. */
static const struct bench_case {
	const char *name, *request, *text;
	double bar;
} cases[] = {
	{ "keep-1", "pair 1 0 1", "acquire and release, 1 kept", 0.5 },
	{ "keep-32", "pair 32 0 1", "acquire and release, 32 kept", 0.5 },
	{ "keep-256", "pair 256 0 1", "acquire and release, 256 kept", 0.5 },
	{ "bulk-32", "bulk 32 0 1", "the same in bulks of 32, a buffer", 1.0 },
	{ "hand-1", "hand 1 0 2", "to another thread", 1.0 },
	{ "hand-2", "hand 2 0 2", "to each other, 2 threads", 1.0 },
	{ "keep-1-2t", "pair 1 0 2", "1 kept, 2 threads", 0 },
	{ "keep-32-2t", "pair 32 0 2", "32 kept, 2 threads", 0 },
	{ "keep-256-2t", "pair 256 0 2", "256 kept, 2 threads", 0 },
	{ "touch-1", "pair 1 1 1", "1 kept, 1 byte written in each", 0 },
	{ "touch-32", "pair 32 1 1", "32 kept, 1 byte written in each", 0 },
	{ "touch-256", "pair 256 1 1", "256 kept, 1 byte written in each", 0 },
};

static double times[ARRAY_LEN(cases)][ARRAY_LEN(peers)][REPS_MAX];

static void usage(FILE *to)
{
	fputs("usage: tests/run bench pool [--tsv] [--svg FILE] [--reps N] [CASE…]\n"
	      "\n"
	      "  --tsv       a line per figure: name, ours, peer, ratio, unit, low, high, bar, ok\n"
	      "  --svg FILE  draws the times as well\n"
	      "  --reps N    turns of each peer, 1 to 1001 (default 41)\n"
	      "\ncases:\n",
	      to);
	for (size_t c = 0; c < ARRAY_LEN(cases); c++)
		fprintf(to, "  %-12s%s\n", cases[c].name, cases[c].text);
}

/* The one file that matches below the peers' folder; NULL: none. Owned by the caller. */
static char *find_file(const char *pattern)
{
	const char *folder = getenv("BENCH_PEERS");
	char *path = NULL, *found = NULL;
	glob_t matches = {};

	if (!folder || !*folder || asprintf(&path, "%s/%s", folder, pattern) < 0)
		return NULL;
	if (glob(path, 0, NULL, &matches) == 0)
		found = strdup(matches.gl_pathv[0]);
	globfree(&matches);
	free(path);
	return found;
}

/* Builds the DPDK side with its inline functions. NULL: it cannot be done. */
static char *build_dpdk(char **ret_libraries)
{
	char *library = find_file("usr/lib/*/librte_mempool.so");
	char *command = NULL, *program = NULL, *slash, *arch;
	const char *folder = getenv("BENCH_PEERS");

	if (!library)
		return NULL;
	slash = strrchr(library, '/');
	*slash = '\0';
	arch = strrchr(library, '/') + 1; /* x86_64-linux-gnu */
	/* its libraries ask for others of the folder, and its headers for some of other packages */
	if (asprintf(&program, "%s/bench_pool_dpdk", folder) < 0 ||
	    asprintf(&command,
		     "cc -O2 -w -std=gnu23 -D_GNU_SOURCE -include rte_config.h -march=corei7 "
		     "-I'%1$s/usr/include' -I'%1$s/usr/include/dpdk' "
		     "-I'%1$s/usr/include/%5$s' -I'%1$s/usr/include/%5$s/dpdk' "
		     "'%2$s/bench_pool_dpdk.c' -o '%3$s' -L'%4$s' -Wl,-rpath-link,'%4$s' "
		     "-Wl,--no-as-needed -lrte_mempool_ring -lrte_mempool -lrte_ring -lrte_eal",
		     folder, BENCH_SOURCE, program, library, arch) < 0 ||
	    system(command) != 0) {
		free(program);
		program = NULL;
	}
	free(command);
	*ret_libraries = library;
	return program;
}

static void become(const char *program, const char *preload, const char *libraries, int in, int out)
{
	dup2(in, STDIN_FILENO);
	dup2(out, STDOUT_FILENO);
	for (int fd = STDERR_FILENO + 1; fd < 64; fd++)
		close(fd);
	if (preload)
		setenv("LD_PRELOAD", preload, 1);
	if (libraries)
		setenv("LD_LIBRARY_PATH", libraries, 1);
	execl(program, program, (char *)NULL);
	fprintf(stderr, "bench_pool: %s: %s\n", program, strerror(errno));
	_exit(127);
}

static char *path_beside(const char *self, const char *name)
{
	const char *slash = strrchr(self, '/');
	char *path = NULL;

	if (asprintf(&path, "%.*s%s", slash ? (int)(slash - self + 1) : 0, self, name) < 0)
		return NULL;
	return path;
}

static bool start(struct peer *peer, const char *self)
{
	char *program, *preload = NULL, *libraries = NULL;
	int to[2], from[2];
	char line[64];
	pid_t pid;

	program = peer->program ? path_beside(self, peer->program) : build_dpdk(&libraries);
	if (peer->preload)
		preload = find_file(peer->preload);
	if (!program || (peer->preload && !preload)) {
		free(program);
		return false;
	}
	if (pipe(to) < 0 || pipe(from) < 0)
		return false;
	pid = fork();
	if (pid == 0)
		become(program, preload, libraries, to[0], from[1]);
	free(program);
	free(preload);
	free(libraries);
	close(to[0]);
	close(from[1]);
	peer->to = fdopen(to[1], "w");
	peer->from = fdopen(from[0], "r");
	while (peer->from && fgets(line, sizeof(line), peer->from))
		if (strcmp(line, "ready\n") == 0)
			return true;
	peer->from = NULL;
	return false;
}

static bool ask(struct peer *peer, const char *request, double *ret_ns)
{
	char line[64];

	fprintf(peer->to, "%s\n", request);
	fflush(peer->to);
	return fgets(line, sizeof(line), peer->from) && sscanf(line, "%lf", ret_ns) == 1;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* @at: 0.5 for the median. Sorts a copy. */
static double quantile(const double *values, int n, double at)
{
	static double sorted[REPS_MAX];

	memcpy(sorted, values, (size_t)n * sizeof(*values));
	qsort(sorted, (size_t)n, sizeof(*sorted), compare);
	return sorted[(int)(at * (n - 1) + 0.5)];
}

static void print_row(size_t c, size_t p, int n_reps, bool is_tsv, bool is_first)
{
	static double ratios[REPS_MAX];
	double ours = quantile(times[c][0], n_reps, 0.5), peer = quantile(times[c][p], n_reps, 0.5);
	double ratio, low, high, bar = strcmp(peers[p].name, "dpdk") == 0 ? cases[c].bar : 0;
	const char *ok;

	for (int i = 0; i < n_reps; i++)
		ratios[i] = times[c][0][i] / times[c][p][i];
	ratio = quantile(ratios, n_reps, 0.5);
	low = quantile(ratios, n_reps, 0.25);
	high = quantile(ratios, n_reps, 0.75);
	ok = bar == 0 ? "-" : ratio <= bar ? "yes" : "no";
	if (is_tsv) {
		printf("pool.%s.%s\t%.3f\t%.3f\t%.4f\tns\t%.4f\t%.4f\t", cases[c].name,
		       peers[p].name, ours, peer, ratio, low, high);
		if (bar > 0)
			printf("%.2f\t%s\n", bar, ok);
		else
			printf("-\t%s\n", ok);
		return;
	}
	printf("%-36s %-13s %9.2f %9.2f %7.3f %7.3f %7.3f ", is_first ? cases[c].text : "",
	       peers[p].name, ours, peer, ratio, low, high);
	if (bar > 0)
		printf("%6.2f %s\n", bar, ok);
	else
		printf("%6s %s\n", "-", ok);
}

static bool takes_part(const struct peer *peer, size_t c)
{
	return peer->from && !(peer->is_alone && strncmp(cases[c].request, "hand", 4) == 0);
}

static bool is_wanted(size_t c, char *names[], int n_names)
{
	for (int i = 0; i < n_names; i++)
		if (strcmp(names[i], cases[c].name) == 0)
			return true;
	return n_names == 0;
}

/* Bars on a logarithmic scale, 0.1 ns to 10 us. */
static int draw(const char *path, int n_reps, char *names[], int n_names)
{
	FILE *f = fopen(path, "w");
	double ns;
	int y = 40, width;

	if (!f)
		return -errno;
	fprintf(f,
		"<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"900\" height=\"%zu\" "
		"font-family=\"sans-serif\" font-size=\"12\">\n"
		"<text x=\"10\" y=\"22\" font-size=\"15\">ns for each buffer of 32 KiB, "
		"logarithmic, less is better</text>\n",
		60 + ARRAY_LEN(cases) * (ARRAY_LEN(peers) * 15 + 12));
	for (size_t c = 0; c < ARRAY_LEN(cases); c++) {
		if (!is_wanted(c, names, n_names))
			continue;
		fprintf(f, "<text x=\"10\" y=\"%d\">%s</text>\n", y + 12, cases[c].text);
		for (size_t p = 0; p < ARRAY_LEN(peers); p++) {
			if (!takes_part(&peers[p], c))
				continue;
			ns = quantile(times[c][p], n_reps, 0.5);
			width = (int)(90 * (log10(ns) + 1));
			fprintf(f,
				"<rect x=\"240\" y=\"%d\" width=\"%d\" height=\"13\" fill=\"%s\"/>"
				"<text x=\"%d\" y=\"%d\">%s %.2f</text>\n",
				y, width > 1 ? width : 1, peers[p].colour,
				245 + (width > 1 ? width : 1), y + 11, peers[p].name, ns);
			y += 15;
		}
		y += 12;
	}
	fputs("</svg>\n", f);
	return fclose(f) == 0 ? 0 : -errno;
}

/* One turn of every peer in every case; every other one backwards. */
static bool take_turn(int rep, char *names[], int n_names)
{
	struct peer *peer;

	for (size_t c = 0; c < ARRAY_LEN(cases); c++) {
		if (!is_wanted(c, names, n_names))
			continue;
		for (size_t i = 0; i < ARRAY_LEN(peers); i++) {
			size_t p = rep % 2 ? ARRAY_LEN(peers) - 1 - i : i;

			peer = &peers[p];
			if (takes_part(peer, c) &&
			    !ask(peer, cases[c].request, &times[c][p][rep])) {
				fprintf(stderr, "bench_pool: %s died\n", peer->name);
				return false;
			}
		}
	}
	return true;
}

static bool start_all(const char *self)
{
	for (size_t p = 0; p < ARRAY_LEN(peers); p++) {
		if (start(&peers[p], self))
			continue;
		fprintf(stderr, "bench_pool: left out: %s (Debian package %s)\n", peers[p].name,
			peers[p].package ? peers[p].package : "none");
		if (p == 0)
			return false;
	}
	return true;
}

static void print_all(int n_reps, bool is_tsv, char *names[], int n_names)
{
	if (!is_tsv)
		printf("%-36s %-13s %9s %9s %7s %7s %7s %6s %s\n", "ns for each buffer", "peer",
		       "taskmem", "peer", "ratio", "low", "high", "bar", "ok");
	for (size_t c = 0; c < ARRAY_LEN(cases); c++) {
		bool is_first = true;

		for (size_t p = 1; p < ARRAY_LEN(peers); p++) {
			if (!takes_part(&peers[p], c) || !is_wanted(c, names, n_names))
				continue;
			print_row(c, p, n_reps, is_tsv, is_first);
			is_first = false;
		}
	}
}

static bool is_case(const char *name)
{
	for (size_t c = 0; c < ARRAY_LEN(cases); c++)
		if (strcmp(name, cases[c].name) == 0)
			return true;
	fprintf(stderr, "bench_pool: no case %s; see --help\n", name);
	return false;
}

int main(int argc, char *argv[])
{
	static const struct option options[] = { { "tsv", no_argument, NULL, 't' },
						 { "svg", required_argument, NULL, 's' },
						 { "reps", required_argument, NULL, 'r' },
						 { "help", no_argument, NULL, 'h' },
						 {} };
	const char *svg = NULL;
	bool is_tsv = false;
	int n_reps = REPS_DEFAULT, c, r;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 't':
			is_tsv = true;
			break;
		case 's':
			svg = optarg;
			break;
		case 'r':
			n_reps = atoi(optarg);
			break;
		case 'h':
			usage(stdout);
			return 0;
		default:
			usage(stderr);
			return 2;
		}
	}
	if (n_reps < 1 || n_reps > REPS_MAX) {
		fprintf(stderr, "bench_pool: --reps: use 1 to %d\n", REPS_MAX);
		return 2;
	}
	argc -= optind;
	argv += optind;
	for (int i = 0; i < argc; i++)
		if (!is_case(argv[i]))
			return 2;
	if (!start_all(program_invocation_name))
		return 1;
	for (int rep = 0; rep < n_reps; rep++)
		if (!take_turn(rep, argv, argc))
			return 1;
	print_all(n_reps, is_tsv, argv, argc);
	r = svg ? draw(svg, n_reps, argv, argc) : 0;
	if (r < 0)
		fprintf(stderr, "bench_pool: %s: %s\n", svg, strerror(-r));
	for (size_t p = 0; p < ARRAY_LEN(peers); p++)
		if (peers[p].to)
			fclose(peers[p].to); /* the end of its input ends it */
	while (wait(NULL) > 0)
		;
	return r < 0;
}
