/* SPDX-License-Identifier: Apache-2.0 */

/*
 * One row for each load: to the left a dot for each policy's mean throughput, with the interval as
 * a line, to the right its refaults on a logarithmic scale.
 */

#include <math.h>

#include "bench_report.h"

#define ROW 34
#define TOP 70
#define LABEL 430
#define PANEL 380
#define GAP 40
#define WIDTH (LABEL + 2 * PANEL + 2 * GAP)
#define MEAN_MAX 1.1
#define LOG_MAX 5.5 /* 300 000 refaults */

static const char *const colours[] = { "#888888", "#c49c94", "#1f77b4", "#bcbd22",
				       "#9467bd", "#e377c2", "#8c564b", "#d62728",
				       "#ff9896", "#ffbb78", "#98df8a", "#aec7e8",
				       "#c5b0d5", "#17becf", "#2ca02c", "#7f3b08" };

static const char *colour(size_t policy)
{
	return colours[policy % ARRAY_LEN(colours)];
}

static double mean_x(double mean)
{
	return LABEL + PANEL * fmin(fmax(mean, 0), MEAN_MAX) / MEAN_MAX;
}

static double refault_x(double refaults)
{
	return LABEL + PANEL + GAP + PANEL * fmin(log10(fmax(refaults, 1)), LOG_MAX) / LOG_MAX;
}

static void print_axes(FILE *f, double bottom)
{
	for (int i = 0; i <= 5; i++)
		fprintf(f,
			"<line x1=\"%.1f\" y1=\"%d\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"#ddd\"/>"
			"<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%.1f</text>\n",
			mean_x(i * 0.2), TOP, mean_x(i * 0.2), bottom, mean_x(i * 0.2), TOP - 6,
			i * 0.2);
	for (int i = 0; i <= 5; i++)
		fprintf(f,
			"<line x1=\"%.1f\" y1=\"%d\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"#ddd\"/>"
			"<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%s</text>\n",
			refault_x(pow(10, i)), TOP, refault_x(pow(10, i)), bottom,
			refault_x(pow(10, i)), TOP - 6,
			(const char *const[]){ "0", "10", "100", "1k", "10k", "100k" }[i]);
	fprintf(f,
		"<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\" font-weight=\"bold\">throughput of "
		"the useful tasks, 1: as if alone</text>\n"
		"<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\" font-weight=\"bold\">refaults of the "
		"useful tasks</text>\n",
		mean_x(MEAN_MAX / 2), TOP - 24, refault_x(pow(10, LOG_MAX / 2)), TOP - 24);
}

static void print_legend(FILE *f, const bool *is_used)
{
	const struct bench_policy *policy;
	double x = 10;

	for (size_t k = 0; (policy = bench_policy_at(k)); k++) {
		if (!is_used[k])
			continue;
		fprintf(f,
			"<circle cx=\"%.1f\" cy=\"16\" r=\"5\" fill=\"%s\"/>"
			"<text x=\"%.1f\" y=\"20\">%s</text>\n",
			x, colour(k), x + 9, policy->name);
		x += 90;
	}
}

static void print_dot(FILE *f, size_t policy, double y, double x, double low, double high)
{
	fprintf(f,
		"<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"%s\" "
		"stroke-width=\"2\"/><circle cx=\"%.1f\" cy=\"%.1f\" r=\"4\" fill=\"%s\"/>\n",
		low, y, high, y, colour(policy), x, y, colour(policy));
}

static bool print_row(FILE *f, const struct bench_store *store, const struct bench_load *load,
		      double y, bool *is_used)
{
	const struct bench_policy *policy;
	bool is_any = false;

	for (size_t k = 0; (policy = bench_policy_at(k)); k++) {
		struct bench_summary s = bench_summarize(store, load, policy);
		double at = y + 4 + 2.0 * (double)k;

		if (s.n == 0 || isnan(s.mean.median))
			continue;
		is_any = is_used[k] = true;
		print_dot(f, k, at, mean_x(s.mean.median), mean_x(s.mean.low), mean_x(s.mean.high));
		print_dot(f, k, at, refault_x(s.refaults.median), refault_x(s.refaults.low),
			  refault_x(s.refaults.high));
	}
	if (is_any)
		fprintf(f, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%s: %s</text>\n",
			LABEL - 10, y + ROW / 2.0, load->name, load->title);
	return is_any;
}

void bench_report_svg(FILE *f, const struct bench_store *store)
{
	const struct bench_load *load;
	bool is_used[64] = {};
	size_t n = 0, row = 0;

	while (bench_load_at(n))
		n++;
	fprintf(f,
		"<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%zu\" "
		"font-family=\"sans-serif\" font-size=\"10\">\n<rect width=\"100%%\" height=\"100%%\" "
		"fill=\"white\"/>\n<text x=\"10\" y=\"40\">%s LRU</text>\n",
		WIDTH, TOP + n * ROW + 10, store->is_legacy ? "legacy" : "multi-gen");
	print_axes(f, TOP + (double)n * ROW);
	for (size_t i = 0; (load = bench_load_at(i)); i++)
		row += print_row(f, store, load, TOP + (double)row * ROW, is_used);
	print_legend(f, is_used);
	fputs("</svg>\n", f);
}
