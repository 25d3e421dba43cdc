/* SPDX-License-Identifier: Apache-2.0 */

/*
 * One table per kind of section: key, parser, place. A setter gets the value text and says in
 * one sentence what is wrong with it; the loop adds file and line. Nothing is guessed: an unknown
 * or repeated key is an error, because a budget that is silently not applied is found out late.
 */

#include "config.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h" /* freep() */
#include "base/parse.h"
#include "policy/admit.h"
#include "policy/history.h"

#define DEFAULT_BUDGET_PERMILLE 800
#define DEFAULT_RESERVE_PERMILLE 20
#define DEFAULT_NOTICE_GRACE_NS (1000 * UINT64_C(1000000))
#define NOTICE_GRACE_MAX_NS (10 * UINT64_C(1000000000))
#define DEFAULT_REVOKE_DEADLINE_MS 5000
#define HEAT_INTERVAL_MIN_NS (10 * UINT64_C(1000000000))
#define HEAT_INTERVAL_MAX_NS (24 * 3600 * UINT64_C(1000000000))
#define BUDGET_MAX_BYTES (UINT64_C(1) << 61)
#define HUGEPAGES_MAX (BUDGET_MAX_BYTES / CHUNK_BYTES)
#define REASON_MAX 320
#define HALF_LIFE_MIN_S 600
#define HALF_LIFE_MAX_S (UINT64_C(8760) * 3600)
#define WORD_MAX 64 /* longest wrong word that is worth a suggestion */

struct reason {
	char text[REASON_MAX];
};

PRINTF_LIKE(2, 3) static int wrong(struct reason *reason, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)vsnprintf(reason->text, sizeof(reason->text), format, args);
	va_end(args);
	return -EINVAL;
}

/* ---------------------------------------------------------------- values */

static int set_enforce(struct config *c, const char *value, struct reason *why)
{
	if (strcmp(value, "limits") == 0)
		c->enforce = CONFIG_ENFORCE_LIMITS;
	else if (strcmp(value, "pools-only") == 0)
		c->enforce = CONFIG_ENFORCE_POOLS_ONLY;
	else
		return wrong(why, "enforce=%.40s: use limits or pools-only", value);
	return 0;
}

static int set_emergency(struct config *c, const char *value, struct reason *why)
{
	if (strcmp(value, "on") == 0)
		c->emergency = CONFIG_EMERGENCY_ON;
	else if (strcmp(value, "log") == 0)
		c->emergency = CONFIG_EMERGENCY_LOG;
	else if (strcmp(value, "off") == 0)
		c->emergency = CONFIG_EMERGENCY_OFF;
	else
		return wrong(why, "emergency=%.40s: use on, log or off", value);
	return 0;
}

static int set_path(char *to, size_t size, const char *key, const char *value, struct reason *why)
{
	if (value[0] != '/')
		return wrong(why, "%s=%.80s: use an absolute path", key, value);
	if (strlen(value) >= size)
		return wrong(why, "%s= is longer than %zu bytes", key, size - 1);
	strcpy(to, value);
	return 0;
}

static int set_cgroup_root(struct config *c, const char *value, struct reason *why)
{
	if (!*value) {
		c->cgroup_root[0] = 0;
		return 0;
	}
	return set_path(c->cgroup_root, sizeof(c->cgroup_root), "cgroup_root", value, why);
}

static int set_socket(struct config *c, const char *value, struct reason *why)
{
	return set_path(c->socket, sizeof(c->socket), "socket", value, why);
}

static int set_state_directory(struct config *c, const char *value, struct reason *why)
{
	return set_path(c->state_directory, sizeof(c->state_directory), "state_directory", value,
			why);
}

static int set_group(struct config *c, const char *value, struct reason *why)
{
	if (!*value || strlen(value) >= sizeof(c->group) || strpbrk(value, " \t:/,"))
		return wrong(why, "group=%.40s: use the name of a group", value);
	strcpy(c->group, value);
	return 0;
}

static int set_log_level(struct config *c, const char *value, struct reason *why)
{
	if (log_level_parse(value, &c->log_level) < 0)
		return wrong(why, "log_level=%.40s: use error, warning, notice, info or debug",
			     value);
	return 0;
}

static int set_notice_grace(struct config *c, const char *value, struct reason *why)
{
	uint64_t grace_ns;

	if (parse_duration_ns(value, &grace_ns) < 0 || grace_ns > NOTICE_GRACE_MAX_NS)
		return wrong(why, "notice_grace=%.40s: use a time from 0 to 10s, such as 500ms",
			     value);
	c->notice_grace_ns = grace_ns;
	return 0;
}

/* "1.2" as 120; more than two decimals are refused. */
static int parse_percent(const char *text, uint32_t *ret)
{
	uint32_t percent = 0;
	int n_digits = 0, n_decimals = -1;

	for (; *text; text++) {
		if (*text == '.' && n_decimals < 0 && n_digits > 0) {
			n_decimals = 0;
			continue;
		}
		if (*text < '0' || *text > '9' || n_decimals == 2 || n_digits++ > 6)
			return -EINVAL;
		percent = percent * 10 + (uint32_t)(*text - '0');
		n_decimals += n_decimals >= 0;
	}
	if (n_digits == 0 || n_decimals == 0)
		return -EINVAL;
	for (int i = n_decimals < 0 ? 0 : n_decimals; i < 2; i++)
		percent *= 10;
	if (percent < BOOKING_PERCENT_MIN || percent > BOOKING_PERCENT_MAX)
		return -ERANGE;
	*ret = percent;
	return 0;
}

static int set_overcommit(struct config *c, const char *value, struct reason *why)
{
	struct booking_rules rules = {};
	char text[80], *rest = text, *word;
	uint32_t tier = 0;

	if (strlen(value) >= sizeof(text))
		return wrong(why, "overcommit= has more than %d numbers", TIERS);
	strcpy(text, value);
	while ((word = strsep(&rest, " \t"))) {
		if (!*word)
			continue;
		if (tier == TIERS)
			return wrong(why, "overcommit=%.40s: there are %d tiers, 0 to %d", value,
				     TIERS, TIERS - 1);
		if (parse_percent(word, &rules.overcommit_percent[tier++]) < 0)
			return wrong(why,
				     "overcommit=%.40s: use a number from 0.1 to 10 for each tier, "
				     "such as 1.0 1.2; the last one is for the tiers that follow",
				     value);
	}
	if (tier == 0)
		return wrong(why, "overcommit= needs at least one number, such as 1.0");
	for (; tier < TIERS; tier++)
		rules.overcommit_percent[tier] = rules.overcommit_percent[tier - 1];
	c->booking = rules;
	return 0;
}

static int set_history_half_life(struct config *c, const char *value, struct reason *why)
{
	uint64_t ns;

	if (parse_duration_ns(value, &ns) < 0 || ns / 1000000000 < HALF_LIFE_MIN_S ||
	    ns / 1000000000 > HALF_LIFE_MAX_S)
		return wrong(why, "history_half_life=%.40s: use 10min to 8760h, such as 48h",
			     value);
	c->history_half_life_s = ns / 1000000000;
	return 0;
}

static int set_control(struct config *c, const char *value, struct reason *why)
{
	if (strcmp(value, "on") == 0)
		c->control = CONFIG_CONTROL_ON;
	else if (strcmp(value, "off") == 0)
		c->control = CONFIG_CONTROL_OFF;
	else if (strcmp(value, "dry-run") == 0)
		c->control = CONFIG_CONTROL_DRY_RUN;
	else
		return wrong(why, "control=%.40s: use on, off or dry-run", value);
	return 0;
}

static int set_move(struct config *c, const char *value, struct reason *why)
{
	if (strcmp(value, "advise") == 0)
		c->move = CONFIG_MOVE_ADVISE;
	else if (strcmp(value, "auto") == 0)
		c->move = CONFIG_MOVE_AUTO;
	else if (strcmp(value, "off") == 0)
		c->move = CONFIG_MOVE_OFF;
	else
		return wrong(why, "move=%.40s: use advise, auto or off", value);
	return 0;
}

static int set_pages(struct config *c, const char *value, struct reason *why)
{
	if (strcmp(value, "huge") == 0)
		c->pages = CONFIG_PAGES_HUGE;
	else if (strcmp(value, "huge-or-transparent") == 0)
		c->pages = CONFIG_PAGES_HUGE_OR_TRANSPARENT;
	else
		return wrong(why, "pages=%.40s: use huge or huge-or-transparent", value);
	return 0;
}

static int set_fairness(struct config *c, const char *value, struct reason *why)
{
	size_t len = strlen(value);
	uint32_t permille;

	if (len == 0 || value[len - 1] != '%' || parse_permille(value, &permille) < 0)
		return wrong(why, "fairness=%.40s: use 0%% to 100%%, with at most one decimal",
			     value);
	c->fairness_permille = permille;
	return 0;
}

static int set_heat_interval(struct config *c, const char *value, struct reason *why)
{
	uint64_t interval_ns = 0;

	if (strcmp(value, "off") != 0 &&
	    (parse_duration_ns(value, &interval_ns) < 0 || interval_ns < HEAT_INTERVAL_MIN_NS ||
	     interval_ns > HEAT_INTERVAL_MAX_NS))
		return wrong(why, "heat_interval=%.40s: use off, or a time from 10s to 24h", value);
	c->heat_interval_ns = interval_ns;
	return 0;
}

static int set_revoke(struct config *c, const char *value, struct reason *why)
{
	enum slot_revoke revoke;

	if (admit_parse_revoke(value, &revoke) < 0 || revoke == SLOT_REVOKE_DEFAULT)
		return wrong(why, "revoke=%.40s: use wait, force or kill", value);
	c->revoke = revoke;
	return 0;
}

static int set_revoke_deadline(struct config *c, const char *value, struct reason *why)
{
	uint64_t ns;

	if (parse_duration_ns(value, &ns) < 0 || ns / 1000000 < REVOKE_DEADLINE_MIN_MS ||
	    ns / 1000000 > REVOKE_DEADLINE_MAX_MS)
		return wrong(why, "revoke_deadline=%.40s: use a time from 100ms to 1h, such as 5s",
			     value);
	c->revoke_deadline_ms = (uint32_t)(ns / 1000000);
	return 0;
}

static int set_amount(struct config_amount *to, const char *key, const char *value,
		      struct reason *why)
{
	struct config_amount amount = {};
	size_t len = strlen(value);

	amount.is_permille = len > 0 && value[len - 1] == '%';
	if (amount.is_permille) {
		if (parse_permille(value, &amount.permille) < 0)
			return wrong(why, "%s=%.40s: use 0%% to 100%%, with at most one decimal",
				     key, value);
	} else if (parse_bytes(value, &amount.bytes) < 0 || amount.bytes > BUDGET_MAX_BYTES) {
		return wrong(why, "%s=%.40s: use a size such as 400M or 1.5G, or a percentage", key,
			     value);
	}
	*to = amount;
	return 0;
}

static int set_budget(struct config_node *n, const char *value, struct reason *why)
{
	return set_amount(&n->budget, "budget", value, why);
}

static int set_reserve(struct config_node *n, const char *value, struct reason *why)
{
	return set_amount(&n->reserve, "reserve", value, why);
}

static int set_hugepages(struct config_node *n, const char *value, struct reason *why)
{
	uint64_t pages;

	if (parse_u64(value, HUGEPAGES_MAX, &pages) < 0)
		return wrong(why, "hugepages=%.40s: use a number of 2 MiB pages", value);
	n->hugepages = pages;
	return 0;
}

static int set_gigantic(struct config_node *n, const char *value, struct reason *why)
{
	uint64_t pages;

	if (parse_u64(value, BUDGET_MAX_BYTES / GIGANTIC_BYTES, &pages) < 0)
		return wrong(why, "gigantic=%.40s: use a number of 1 GiB pages", value);
	n->gigantic = pages;
	return 0;
}

/* ---------------------------------------------------------------- keys */

static const struct daemon_key {
	const char *name;
	int (*set)(struct config *c, const char *value, struct reason *why);
} daemon_keys[] = {
	{ "enforce", set_enforce },
	{ "cgroup_root", set_cgroup_root },
	{ "socket", set_socket },
	{ "state_directory", set_state_directory },
	{ "group", set_group },
	{ "log_level", set_log_level },
	{ "control", set_control },
	{ "fairness", set_fairness },
	{ "notice_grace", set_notice_grace },
	{ "overcommit", set_overcommit },
	{ "history_half_life", set_history_half_life },
	{ "emergency", set_emergency },
	{ "move", set_move },
	{ "heat_interval", set_heat_interval },
	{ "pages", set_pages },
	{ "revoke", set_revoke },
	{ "revoke_deadline", set_revoke_deadline },
};

static const struct node_key {
	const char *name;
	int (*set)(struct config_node *n, const char *value, struct reason *why);
} node_keys[] = {
	{ "budget", set_budget },
	{ "reserve", set_reserve },
	{ "hugepages", set_hugepages },
	{ "gigantic", set_gigantic },
};

/* Levenshtein's distance, for words of at most WORD_MAX. */
static size_t word_distance(const char *a, const char *b)
{
	size_t row[WORD_MAX + 1], len = strlen(b);

	for (size_t j = 0; j <= len; j++)
		row[j] = j;
	for (size_t i = 1; a[i - 1]; i++) {
		size_t diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= len; j++) {
			size_t up = row[j], best = diagonal + (a[i - 1] != b[j - 1]);

			best = MIN(best, up + 1);
			best = MIN(best, row[j - 1] + 1);
			row[j] = best;
			diagonal = up;
		}
	}
	return row[len];
}

static const char *list_words(const char *const *words, size_t n, char *buf, size_t size)
{
	size_t len = 0;

	for (size_t i = 0; i < n && len < size; i++) {
		int r = snprintf(buf + len, size - len, "%s%s", i ? ", " : "", words[i]);

		len += r < 0 ? 0 : (size_t)r;
	}
	return buf;
}

static void unknown(struct reason *why, const char *what, const char *word,
		    const char *const *known, size_t n_known)
{
	size_t best = 0, best_distance = SIZE_MAX;
	char list[REASON_MAX - 80]; /* the rest is the words around it */

	for (size_t i = 0; i < n_known && strlen(word) <= WORD_MAX; i++) {
		size_t d = word_distance(word, known[i]);

		if (d < best_distance) {
			best = i;
			best_distance = d;
		}
	}
	/* more than half of it different is no slip of the finger */
	if (best_distance <= strlen(known[best]) / 2)
		(void)wrong(why, "unknown %s \"%.40s\", did you mean \"%s\"?", what, word,
			    known[best]);
	else
		(void)wrong(why, "unknown %s \"%.40s\"; there are %s", what, word,
			    list_words(known, n_known, list, sizeof(list)));
}

/* ---------------------------------------------------------------- lines */

enum section { SECTION_NONE, SECTION_DAEMON, SECTION_NODE };

struct parser {
	struct config *config;
	struct config_node *node; /* of the present section */
	enum section section;
	unsigned line;
	unsigned daemon_line;
	unsigned daemon_seen[ARRAY_LEN(daemon_keys)]; /* line of each key */
};

static int enter_node(struct parser *p, const char *name, struct reason *why)
{
	uint64_t number;

	if (strcmp(name, "default") == 0)
		p->node = &p->config->node_default;
	else if (parse_u64(name, NODES_MAX - 1, &number) == 0)
		p->node = &p->config->nodes[number];
	else
		return wrong(why, "[node %.40s]: use [node 0] to [node %d] or [node default]", name,
			     NODES_MAX - 1);
	if (p->node->line)
		return wrong(why, "[node %s] is there already, in line %u", name, p->node->line);
	p->node->line = p->line;
	p->section = SECTION_NODE;
	return 0;
}

static int enter_section(struct parser *p, char *text, struct reason *why)
{
	static const char *const known[] = { "daemon", "node 0", "node default" };
	char *end = strchr(text, ']');

	if (!end || end[1])
		return wrong(why, "a section is one line, such as [daemon] or [node 0]");
	*end = 0;
	text++;
	if (strncmp(text, "node ", 5) == 0)
		return enter_node(p, text + 5, why);
	if (strcmp(text, "daemon") != 0) {
		unknown(why, "section", text, known, ARRAY_LEN(known));
		return -EINVAL;
	}
	if (p->daemon_line)
		return wrong(why, "[daemon] is there already, in line %u", p->daemon_line);
	p->daemon_line = p->line;
	p->section = SECTION_DAEMON;
	return 0;
}

static int repeated(const char *key, unsigned line, struct reason *why)
{
	return wrong(why, "%s= is set already, in line %u; keep one of the two", key, line);
}

static int daemon_assign(struct parser *p, const char *key, const char *value, struct reason *why)
{
	const char *names[ARRAY_LEN(daemon_keys)];

	for (size_t i = 0; i < ARRAY_LEN(daemon_keys); i++) {
		names[i] = daemon_keys[i].name;
		if (strcmp(key, names[i]) != 0)
			continue;
		if (p->daemon_seen[i])
			return repeated(key, p->daemon_seen[i], why);
		p->daemon_seen[i] = p->line;
		return daemon_keys[i].set(p->config, value, why);
	}
	unknown(why, "key", key, names, ARRAY_LEN(names));
	return -EINVAL;
}

static int node_assign(struct parser *p, const char *key, const char *value, struct reason *why)
{
	/* in the order of node_keys */
	unsigned *seen[ARRAY_LEN(node_keys)] = { &p->node->budget.line, &p->node->reserve.line,
						 &p->node->hugepages_line,
						 &p->node->gigantic_line };
	const char *names[ARRAY_LEN(node_keys)];

	for (size_t i = 0; i < ARRAY_LEN(node_keys); i++) {
		int r;

		names[i] = node_keys[i].name;
		if (strcmp(key, names[i]) != 0)
			continue;
		if (*seen[i])
			return repeated(key, *seen[i], why);
		r = node_keys[i].set(p->node, value, why);
		*seen[i] = p->line;
		return r;
	}
	unknown(why, "key", key, names, ARRAY_LEN(names));
	return -EINVAL;
}

/* Cuts blanks off both ends, in place. */
static char *trim(char *text)
{
	size_t len;

	text += strspn(text, " \t\r");
	for (len = strlen(text); len > 0 && strchr(" \t\r", text[len - 1]); len--)
		;
	text[len] = 0;
	return text;
}

static int parse_line(struct parser *p, char *text, struct reason *why)
{
	char *equals, *key, *value;

	text = trim(text);
	if (!*text || *text == '#' || *text == ';')
		return 0;
	if (*text == '[')
		return enter_section(p, text, why);
	equals = strchr(text, '=');
	if (!equals)
		return wrong(why, "\"%.40s\" is neither key=value nor a [section] nor a # comment",
			     text);
	*equals = 0;
	key = trim(text);
	value = trim(equals + 1);
	switch (p->section) {
	case SECTION_NONE:
		return wrong(why,
			     "%.40s= stands before any section; begin with [daemon] or "
			     "[node 0]",
			     key);
	case SECTION_DAEMON:
		return daemon_assign(p, key, value, why);
	case SECTION_NODE:
		return node_assign(p, key, value, why);
	}
	return -EINVAL;
}

void config_default(struct config *ret)
{
	*ret = (struct config){
		.enforce = CONFIG_ENFORCE_LIMITS,
		.socket = "/run/taskmem/io.taskmem",
		.state_directory = "/var/lib/taskmem",
		.group = "taskmem",
		.log_level = LOG_LEVEL_INFO,
		.notice_grace_ns = DEFAULT_NOTICE_GRACE_NS,
		.booking = { .overcommit_percent = { 100, 120, 120, 120 } },
		.history_half_life_s = HISTORY_HALF_LIFE_S,
		.heat_interval_ns = 0, /* off */
		.revoke = SLOT_REVOKE_WAIT,
		.revoke_deadline_ms = DEFAULT_REVOKE_DEADLINE_MS,
		.node_default = {
			.budget = { .is_permille = true, .permille = DEFAULT_BUDGET_PERMILLE },
			.reserve = { .is_permille = true, .permille = DEFAULT_RESERVE_PERMILLE },
			.hugepages = CONFIG_HUGEPAGES_KEEP,
			.gigantic = CONFIG_HUGEPAGES_KEEP,
		},
	};
}

int config_parse(const char *text, const char *file_name, struct config *ret,
		 char error[static CONFIG_ERROR_MAX])
{
	CLEANUP(freep) struct config *config = malloc(sizeof(*config));
	CLEANUP(freep) char *copy = strdup(text);
	struct parser p = { .config = config };
	char *rest = copy, *line;

	if (!config || !copy)
		return -ENOMEM;
	config_default(config);
	(void)snprintf(config->source, sizeof(config->source), "%s", file_name);
	while ((line = strsep(&rest, "\n"))) {
		struct reason why = {};

		p.line++;
		if (parse_line(&p, line, &why) < 0) {
			(void)snprintf(error, CONFIG_ERROR_MAX, "%s:%u: %s", config->source, p.line,
				       why.text);
			for (char *c = error; *c; c++) /* one printable line, whatever was in it */
				if ((unsigned char)*c < ' ')
					*c = '?';
			return -EINVAL;
		}
	}
	*ret = *config;
	return 0;
}
