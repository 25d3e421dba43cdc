/* SPDX-License-Identifier: Apache-2.0 */

/*
 * One group of bars for each figure of a case, ours first: the medians, with the quartiles as a
 * line. Each group has its own scale, from 0 to the largest of it, as groups have nothing in common.
 */

#include <errno.h>
#include <math.h>
#include <stdio.h>

#include "base/attr.h"
#include "bench_net_report.h"

#define WIDTH 900
#define TOP 34
#define ROW 15
#define LABEL 130 /* names of peers end here */
#define BAR 560   /* the longest one */
#define HEAD 20   /* of a group */
#define GAP 12

static const char *const colours[PEERS] = {
	[TASKMEM] = "#0a7d3c", [TASKMEM_EPOLL] = "#8ae234", [RECV] = "#c17d11",
	[READV] = "#3465a4",   [ONE_SHOT] = "#75507b",      [DIRECT] = "#ad7fa8",
	[IPERF3] = "#888a85",  [FIXED] = "#3465a4",
};

struct spread {
	double median, low, high;
};

static bool is_there(const struct bench_figures *figures, int p, int f)
{
	return !isnan(figures->at[p][f][0]);
}

static double largest(const struct bench_figures *figures, int f, int n_reps)
{
	double most = 0;

	for (int p = 0; p < PEERS; p++)
		if (is_there(figures, p, f))
			most = fmax(most, report_quantile(figures->at[p][f], n_reps, 0.75));
	return most;
}

static void draw_bar(FILE *f, const struct spread *s, int y, double most, enum bench_peer peer)
{
	double scale = most > 0 ? BAR / most : 0;

	fprintf(f,
		"<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%s</text>"
		"<rect x=\"%d\" y=\"%d\" width=\"%.1f\" height=\"12\" fill=\"%s\"/>"
		"<line x1=\"%.1f\" y1=\"%d\" x2=\"%.1f\" y2=\"%d\" stroke=\"black\"/>"
		"<text x=\"%.1f\" y=\"%d\">%.4g</text>\n",
		LABEL - 6, y + 10, bench_peer_names[peer], LABEL, y, fmax(s->median * scale, 1),
		colours[peer], LABEL + s->low * scale, y + 6, LABEL + s->high * scale, y + 6,
		LABEL + fmax(s->median, s->high) * scale + 6, y + 10, s->median);
}

/* Returns where the next group begins. */
static int draw_group(FILE *f, const struct bench_case *c, const struct bench_figures *figures,
		      enum bench_figure figure, int n_reps, int y)
{
	double most = largest(figures, figure, n_reps);

	fprintf(f, "<text x=\"10\" y=\"%d\" font-weight=\"bold\">%s: %s, %s; %s is better</text>\n",
		y + 12, c->text, report_name_of(figure), report_unit_of(c, figure),
		report_is_more_better(figure) ? "more" : "less");
	y += HEAD;
	for (int p = 0; p < PEERS; p++) {
		struct spread s;

		if (!is_there(figures, p, (int)figure))
			continue;
		s = (struct spread){
			.median = report_quantile(figures->at[p][figure], n_reps, 0.5),
			.low = report_quantile(figures->at[p][figure], n_reps, 0.25),
			.high = report_quantile(figures->at[p][figure], n_reps, 0.75),
		};
		draw_bar(f, &s, y, most, (enum bench_peer)p);
		y += ROW;
	}
	return y + GAP;
}

static int count_rows(const struct bench_figures *figures, int f)
{
	int n = 0;

	for (int p = 0; p < PEERS; p++)
		n += is_there(figures, p, f);
	return n;
}

static int measure_height(const struct bench_figures figures[], size_t n)
{
	int height = TOP;

	for (size_t c = 0; c < n; c++)
		for (int k = 0; k < FIGURES; k++)
			if (is_there(&figures[c], TASKMEM, k))
				height += HEAD + ROW * count_rows(&figures[c], k) + GAP;
	return height;
}

int report_draw(const char *path, const struct bench_case cases[],
		const struct bench_figures figures[], size_t n, int n_reps)
{
	FILE *f = fopen(path, "we");
	int y = TOP;

	if (!f)
		return -errno;
	fprintf(f,
		"<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" "
		"font-family=\"sans-serif\" font-size=\"12\">\n"
		"<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n"
		"<text x=\"10\" y=\"22\" font-size=\"15\">Receiving over TCP on loopback: medians "
		"and quartiles of %d turns</text>\n",
		WIDTH, measure_height(figures, n), n_reps);
	for (size_t c = 0; c < n; c++)
		for (int k = 0; k < FIGURES; k++)
			if (is_there(&figures[c], TASKMEM, k))
				y = draw_group(f, &cases[c], &figures[c], (enum bench_figure)k,
					       n_reps, y);
	fputs("</svg>\n", f);
	return fclose(f) == 0 ? 0 : -errno;
}
