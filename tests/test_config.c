/* SPDX-License-Identifier: Apache-2.0 */

#include "config.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "suite.h"

#define M (UINT64_C(1) << 20)
#define G (UINT64_C(1) << 30)

static struct config config;
static char error[CONFIG_ERROR_MAX];

static const char sample[] = "# how much memory tasks may have\n"
			     "[daemon]\n"
			     "enforce=pools-only\n"
			     "emergency=log\n"
			     "move=auto\n"
			     "  cgroup_root = /sys/fs/cgroup/taskmem  \n"
			     "socket=/run/x/io\r\n"
			     "state_directory=/srv/state\n"
			     "group=memory-users\n"
			     "log_level=debug\n"
			     "notice_grace=250ms\n"
			     "control=dry-run\n"
			     "fairness=12.5%\n"
			     "\n"
			     "; the small node\n"
			     "[node 1]\n"
			     "budget=400M\n"
			     "reserve=2.5%\n"
			     "hugepages=64\n"
			     "[node 2]\n"
			     "gigantic=3\n"
			     "[node default]\n"
			     "budget=70%";

START_TEST(an_empty_file_gives_the_built_in_values)
{
	ck_assert_int_eq(config_parse("", "taskmemd.conf", &config, error), 0);
	ck_assert_int_eq(config.enforce, CONFIG_ENFORCE_LIMITS);
	ck_assert_int_eq(config.emergency, CONFIG_EMERGENCY_ON);
	ck_assert_int_eq(config.move, CONFIG_MOVE_ADVISE);
	ck_assert_str_eq(config.cgroup_root, "");
	ck_assert_str_eq(config.socket, "/run/taskmem/io.taskmem");
	ck_assert_str_eq(config.state_directory, "/var/lib/taskmem");
	ck_assert_str_eq(config.group, "taskmem");
	ck_assert_int_eq(config.log_level, LOG_LEVEL_INFO);
	ck_assert_uint_eq(config.notice_grace_ns, 1000000000);
	ck_assert_int_eq(config.control, CONFIG_CONTROL_ON);
	ck_assert_uint_eq(config.fairness_permille, 0);
	ck_assert_uint_eq(config.heat_interval_ns, 0);
	ck_assert_uint_eq(config.node_default.budget.permille, 800);
	ck_assert_uint_eq(config.node_default.reserve.permille, 20);
	ck_assert_uint_eq(config.node_default.hugepages, CONFIG_HUGEPAGES_KEEP);
	ck_assert_uint_eq(config.node_default.gigantic, CONFIG_HUGEPAGES_KEEP);
}
END_TEST

START_TEST(working_sets_are_measured_every_so_often_or_not)
{
	ck_assert_int_eq(config_parse("[daemon]\nheat_interval=5min\n", "c", &config, error), 0);
	ck_assert_uint_eq(config.heat_interval_ns, 300 * UINT64_C(1000000000));
	ck_assert_int_eq(config_parse("[daemon]\nheat_interval=off\n", "c", &config, error), 0);
	ck_assert_uint_eq(config.heat_interval_ns, 0);
}
END_TEST

START_TEST(pages_that_tasks_keep_are_waited_for_unless_said_otherwise)
{
	ck_assert_int_eq(config_parse("", "c", &config, error), 0);
	ck_assert_int_eq(config.revoke, SLOT_REVOKE_WAIT);
	ck_assert_uint_eq(config.revoke_deadline_ms, 5000);
	ck_assert_int_eq(config_parse("[daemon]\nrevoke=force\nrevoke_deadline=250ms\n", "c",
				      &config, error),
			 0);
	ck_assert_int_eq(config.revoke, SLOT_REVOKE_FORCE);
	ck_assert_uint_eq(config.revoke_deadline_ms, 250);
}
END_TEST

START_TEST(pools_are_of_huge_pages_unless_others_are_allowed)
{
	ck_assert_int_eq(config_parse("", "c", &config, error), 0);
	ck_assert_int_eq(config.pages, CONFIG_PAGES_HUGE);
	ck_assert_int_eq(config_parse("[daemon]\npages=huge\n", "c", &config, error), 0);
	ck_assert_int_eq(config.pages, CONFIG_PAGES_HUGE);
	ck_assert_int_eq(config_parse("[daemon]\npages=huge-or-transparent\n", "c", &config, error),
			 0);
	ck_assert_int_eq(config.pages, CONFIG_PAGES_HUGE_OR_TRANSPARENT);
	ck_assert_int_eq(config_parse("[daemon]\npages=transparent\n", "c", &config, error),
			 -EINVAL);
	ck_assert_str_eq(error, "c:2: pages=transparent: use huge or huge-or-transparent");
}
END_TEST

START_TEST(every_key_reaches_its_place)
{
	ck_assert_int_eq(config_parse(sample, "taskmemd.conf", &config, error), 0);
	ck_assert_int_eq(config.enforce, CONFIG_ENFORCE_POOLS_ONLY);
	ck_assert_int_eq(config.emergency, CONFIG_EMERGENCY_LOG);
	ck_assert_int_eq(config.move, CONFIG_MOVE_AUTO);
	ck_assert_str_eq(config.cgroup_root, "/sys/fs/cgroup/taskmem");
	ck_assert_str_eq(config.socket, "/run/x/io");
	ck_assert_str_eq(config.state_directory, "/srv/state");
	ck_assert_str_eq(config.group, "memory-users");
	ck_assert_int_eq(config.log_level, LOG_LEVEL_DEBUG);
	ck_assert_uint_eq(config.notice_grace_ns, 250000000);
	ck_assert_int_eq(config.control, CONFIG_CONTROL_DRY_RUN);
	ck_assert_uint_eq(config.fairness_permille, 125);
	ck_assert_uint_eq(config.nodes[1].budget.bytes, 400 * M);
	ck_assert_uint_eq(config.nodes[1].budget.line, 17);
	ck_assert_uint_eq(config.nodes[1].reserve.permille, 25);
	ck_assert_uint_eq(config.nodes[1].hugepages, 64);
	ck_assert_uint_eq(config.nodes[2].gigantic, 3);
	ck_assert_uint_eq(config.nodes[0].line, 0);
	ck_assert_uint_eq(config.node_default.budget.permille, 700);

	ck_assert_int_eq(config_parse("[daemon]\ncgroup_root=\n", "c", &config, error), 0);
	ck_assert_str_eq(config.cgroup_root, "");
}
END_TEST

START_TEST(what_is_wrong_is_said_with_its_line_and_what_would_be_right)
{
	static const struct {
		const char *text, *error;
	} rows[] = {
		{ "[daemon]\nenforse=limits\n",
		  "c:2: unknown key \"enforse\", did you mean \"enforce\"?" },
		{ "[node 0]\n\nbudjet=1G\n",
		  "c:3: unknown key \"budjet\", did you mean \"budget\"?" },
		{ "[node 0]\nlog_level=info\n",
		  "c:2: unknown key \"log_level\"; there are budget, reserve, hugepages, "
		  "gigantic" },
		{ "[deamon]\n", "c:1: unknown section \"deamon\", did you mean \"daemon\"?" },
		{ "[network]\n",
		  "c:1: unknown section \"network\"; there are daemon, node 0, node default" },
		{ "[node]\n", "c:1: unknown section \"node\", did you mean \"node 0\"?" },
		{ "[node 64]\n", "c:1: [node 64]: use [node 0] to [node 63] or [node default]" },
		{ "[node -1]\n", "c:1: [node -1]: use [node 0] to [node 63] or [node default]" },
		{ "[daemon\n", "c:1: a section is one line, such as [daemon] or [node 0]" },
		{ "[daemon] x\n", "c:1: a section is one line, such as [daemon] or [node 0]" },
		{ "[daemon]\n[node 0]\n[daemon]\n", "c:3: [daemon] is there already, in line 1" },
		{ "[node 0]\n[node 00]\n", "c:2: [node 00] is there already, in line 1" },
		{ "[daemon]\ngroup=a\n#\ngroup=b\n",
		  "c:4: group= is set already, in line 2; keep one of the two" },
		{ "[node 3]\nreserve=1%\nreserve=1%\n",
		  "c:3: reserve= is set already, in line 2; keep one of the two" },
		{ "group=a\n", "c:1: group= stands before any section; begin with [daemon] or "
			       "[node 0]" },
		{ "[daemon]\nenforce\n",
		  "c:2: \"enforce\" is neither key=value nor a [section] nor a # comment" },
		{ "[daemon]\nenforce=all\n", "c:2: enforce=all: use limits or pools-only" },
		{ "[daemon]\nenforce=limits # really\n",
		  "c:2: enforce=limits # really: use limits or pools-only" },
		{ "[daemon]\nmove=yes\n", "c:2: move=yes: use advise, auto or off" },
		{ "[daemon]\nemergency=yes\n", "c:2: emergency=yes: use on, log or off" },
		{ "[daemon]\nsocket=run/x\n", "c:2: socket=run/x: use an absolute path" },
		{ "[daemon]\nsocket=\n", "c:2: socket=: use an absolute path" },
		{ "[daemon]\ncontrol=yes\n", "c:2: control=yes: use on, off or dry-run" },
		{ "[daemon]\nfairness=1\n",
		  "c:2: fairness=1: use 0% to 100%, with at most one decimal" },
		{ "[daemon]\nfairness=101%\n",
		  "c:2: fairness=101%: use 0% to 100%, with at most one decimal" },
		{ "[daemon]\nlog_level=loud\n",
		  "c:2: log_level=loud: use error, warning, notice, info or debug" },
		{ "[daemon]\nnotice_grace=11s\n",
		  "c:2: notice_grace=11s: use a time from 0 to 10s, such as 500ms" },
		{ "[daemon]\nheat_interval=1s\n",
		  "c:2: heat_interval=1s: use off, or a time from 10s to 24h" },
		{ "[daemon]\nheat_interval=25h\n",
		  "c:2: heat_interval=25h: use off, or a time from 10s to 24h" },
		{ "[daemon]\nheat_interval=often\n",
		  "c:2: heat_interval=often: use off, or a time from 10s to 24h" },
		{ "[daemon]\ngroup=a b\n", "c:2: group=a b: use the name of a group" },
		{ "[node 0]\nbudget=2GB\n",
		  "c:2: budget=2GB: use a size such as 400M or 1.5G, or a percentage" },
		{ "[node 0]\nbudget=\n",
		  "c:2: budget=: use a size such as 400M or 1.5G, or a percentage" },
		{ "[node 0]\nbudget=101%\n",
		  "c:2: budget=101%: use 0% to 100%, with at most one decimal" },
		{ "[node 0]\nhugepages=64M\n", "c:2: hugepages=64M: use a number of 2 MiB pages" },
		{ "[node 0]\ngigantic=2G\n", "c:2: gigantic=2G: use a number of 1 GiB pages" },
		{ "[daemon]\n\001\033[2J=1\n",
		  "c:2: unknown key \"?\?[2J\"; there are enforce, "
		  "cgroup_root, socket, state_directory, group, "
		  "log_level, control, fairness, notice_grace, overcommit, "
		  "history_half_life, emergency, move, heat_interval, pages, revoke, "
		  "revoke_deadline" },
		{ "[daemon]\nrevoke=default\n", "c:2: revoke=default: use wait, force or kill" },
		{ "[daemon]\nrevoke_deadline=2h\n",
		  "c:2: revoke_deadline=2h: use a time from 100ms to 1h, such as 5s" },
		{ "[daemon]\novercommit=\n",
		  "c:2: overcommit= needs at least one number, such as 1.0" },
		{ "[daemon]\novercommit=1 1 1 1 1\n",
		  "c:2: overcommit=1 1 1 1 1: there are 4 tiers, 0 to 3" },
		{ "[daemon]\novercommit=1.0 120%\n",
		  "c:2: overcommit=1.0 120%: use a number from 0.1 to 10 for each tier, such as 1.0 "
		  "1.2; the last one is for the tiers that follow" },
		{ "[daemon]\novercommit=0.05\n",
		  "c:2: overcommit=0.05: use a number from 0.1 to 10 for each tier, such as 1.0 "
		  "1.2; the last one is for the tiers that follow" },
		{ "[daemon]\nhistory_half_life=5s\n",
		  "c:2: history_half_life=5s: use 10min to 8760h, such as 48h" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		config.socket[0] = '!'; /* untouched on failure */
		error[0] = 0;
		ck_assert_msg(config_parse(rows[i].text, "c", &config, error) == -EINVAL, "%s",
			      rows[i].text);
		ck_assert_str_eq(error, rows[i].error);
		ck_assert_int_eq(config.socket[0], '!');
	}
}
END_TEST

START_TEST(overcommit_is_a_number_for_each_tier)
{
	static const struct {
		const char *text;
		uint32_t percent[TIERS];
	} rows[] = {
		{ "", { 100, 120, 120, 120 } },
		{ "[daemon]\novercommit=1.0\n", { 100, 100, 100, 100 } },
		{ "[daemon]\novercommit=1  1.25 2\n", { 100, 125, 200, 200 } },
		{ "[daemon]\novercommit=0.1 0.75 1.5 10\n", { 10, 75, 150, 1000 } },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		ck_assert_int_eq(config_parse(rows[i].text, "c", &config, error), 0);
		for (int tier = 0; tier < TIERS; tier++)
			ck_assert_uint_eq(config.booking.overcommit_percent[tier],
					  rows[i].percent[tier]);
		ck_assert_uint_eq(config.history_half_life_s, 48 * 3600);
	}
	ck_assert_int_eq(config_parse("[daemon]\nhistory_half_life=24h\n", "c", &config, error), 0);
	ck_assert_uint_eq(config.history_half_life_s, 24 * 3600);
}
END_TEST

START_TEST(values_that_are_too_long_are_refused)
{
	char text[3 * CONFIG_SOCKET_MAX], path[2 * CONFIG_SOCKET_MAX];

	memset(path, 'x', sizeof(path));
	path[0] = '/';
	path[CONFIG_SOCKET_MAX - 1] = 0;
	snprintf(text, sizeof(text), "[daemon]\nsocket=%s\n", path);
	ck_assert_int_eq(config_parse(text, "c", &config, error), 0);
	ck_assert_str_eq(config.socket, path);
	path[CONFIG_SOCKET_MAX - 1] = 'x';
	path[CONFIG_SOCKET_MAX] = 0;
	snprintf(text, sizeof(text), "[daemon]\nsocket=%s\n", path);
	ck_assert_int_eq(config_parse(text, "c", &config, error), -EINVAL);
	ck_assert_str_eq(error, "c:2: socket= is longer than 107 bytes");
}
END_TEST

static int budget_of(int node, uint64_t total_bytes, uint64_t hugepages, uint64_t gigantic,
		     struct node_info *ret)
{
	const struct node_info found = { .node = node,
					 .total_bytes = total_bytes,
					 .hugepages = hugepages,
					 .gigantic = gigantic };

	return config_node_budget(&config, &found, ret, error);
}

START_TEST(a_budget_is_a_part_of_what_huge_pages_leave)
{
	struct node_info info;

	ck_assert_int_eq(config_parse(sample, "c", &config, error), 0);
	/* node 0: 70 % from [node default], 2 % built in, huge pages as they are */
	ck_assert_int_eq(budget_of(0, 1000 * M + 20 * M, 10, 0, &info), 0);
	ck_assert_int_eq(info.node, 0);
	ck_assert_uint_eq(info.total_bytes, 1020 * M);
	ck_assert_uint_eq(info.budget_bytes, 700 * M);
	ck_assert_uint_eq(info.reserve_bytes, 14 * M);
	ck_assert_uint_eq(info.hugepages_wanted, 10);
	ck_assert_uint_eq(info.hugepages, 10);
	/* node 1: all its own; what is wanted counts, not what is there yet */
	ck_assert_int_eq(budget_of(1, 528 * M, 0, 0, &info), 0);
	ck_assert_uint_eq(info.budget_bytes, 400 * M);
	ck_assert_uint_eq(info.reserve_bytes, 10 * M);
	ck_assert_uint_eq(info.hugepages_wanted, 64);
	ck_assert_uint_eq(info.hugepages, 0);
	/* those of 1 GiB, as they are, in both */
	ck_assert_int_eq(budget_of(0, 3 * G + 20 * M, 10, 2, &info), 0);
	ck_assert_uint_eq(info.budget_bytes, 7 * G / 10 / 4096 * 4096);
	ck_assert_uint_eq(info.gigantic_wanted, 2);
	ck_assert_uint_eq(info.gigantic, 2);
	/* others' are out of it, too */
	ck_assert_int_eq(budget_of(2, 6 * G, 0, 5, &info), 0);
	ck_assert_uint_eq(info.gigantic_wanted, 3);
	ck_assert_uint_eq(info.budget_bytes, 7 * G / 10 / 4096 * 4096);
	/* whole pages */
	ck_assert_int_eq(budget_of(0, 1000 * M + 4095, 0, 0, &info), 0);
	ck_assert_uint_eq(info.budget_bytes % 4096, 0);
	ck_assert_uint_eq(info.reserve_bytes % 4096, 0);
}
END_TEST

START_TEST(sums_that_cannot_be_are_refused_with_their_line)
{
	static const struct {
		const char *text;
		uint64_t total, hugepages;
		const char *error;
	} rows[] = {
		{ "[node 1]\nbudget=4G\n", 3 * G / 2, 64,
		  "c:2: budget=4G on node 1: the node has 1.5G of which 128M are huge pages" },
		{ "[node default]\nbudget=4G\n", 3 * G / 2, 0,
		  "c:2: budget=4G on node 1: the node has 1.5G of which 0 are huge pages" },
		{ "[node 1]\n#\nhugepages=1024\n", 3 * G / 2, 0,
		  "c:3: hugepages=1024 is 2G on node 1: the node has 1.5G" },
		{ "[node 1]\nbudget=100M\nreserve=101M\n", 3 * G / 2, 0,
		  "c:3: reserve=101M on node 1: it is a part of the node's budget, which is 100M" },
		{ "[node 1]\ngigantic=2\n", 3 * G / 2, 0,
		  "c:2: gigantic=2 is 2G on node 1: the node has 1.5G" },
		{ "[node 1]\ngigantic=1\nhugepages=512\n", 3 * G / 2, 0,
		  "c:3: hugepages=512 is 1G on node 1: the node has 1.5G, 1G of them in 1G pages" },
	};
	struct node_info info;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		ck_assert_int_eq(config_parse(rows[i].text, "c", &config, error), 0);
		ck_assert_int_eq(
			budget_of(1, rows[i].total, rows[i].hugepages, /* gigantic= */ 0, &info),
			-EINVAL);
		ck_assert_str_eq(error, rows[i].error);
	}
}
END_TEST

START_TEST(mutated_files_are_parsed_or_refused_but_nothing_else)
{
	unsigned accepted = 0;

	srandom(1);
	for (int i = 0; i < 10000; i++) {
		char text[2 * sizeof(sample)];
		size_t len = sizeof(sample) - 1;
		char *exact;

		memcpy(text, sample, len);
		for (long n = random() % 6; n >= 0; n--) {
			size_t at = (size_t)random() % len;

			switch (random() % 4) {
			case 0: /* any byte */
				text[at] = (char)random();
				break;
			case 1: /* one that means something */
				text[at] = "[]=#;%.\n\r\t 0"[random() % 12];
				break;
			case 2: /* cut out */
				memmove(text + at, text + at + 1, len - at - 1);
				len -= len > 1;
				break;
			case 3: /* a piece again */
				if (len + 30 < sizeof(text)) {
					memmove(text + at + 30, text + at, len - at);
					len += 30;
				}
				break;
			}
		}
		exact = strndup(text, len); /* so that a sanitizer sees one byte too many */
		error[0] = 0;
		if (config_parse(exact, "c", &config, error) == 0) {
			struct node_info info;

			accepted++;
			for (int node = 0; node < 3; node++)
				if (budget_of(node, G, 3, 0, &info) == 0)
					ck_assert_uint_le(info.reserve_bytes, info.budget_bytes);
		} else {
			ck_assert_int_eq(strncmp(error, "c:", 2), 0);
		}
		free(exact);
	}
	ck_assert_uint_gt(accepted, 500);
	ck_assert_uint_lt(accepted, 9500);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("config");
	TCase *tc = tcase_create("config");

	tcase_set_timeout(tc, 30);
	tcase_add_test(tc, an_empty_file_gives_the_built_in_values);
	tcase_add_test(tc, working_sets_are_measured_every_so_often_or_not);
	tcase_add_test(tc, pages_that_tasks_keep_are_waited_for_unless_said_otherwise);
	tcase_add_test(tc, pools_are_of_huge_pages_unless_others_are_allowed);
	tcase_add_test(tc, every_key_reaches_its_place);
	tcase_add_test(tc, what_is_wrong_is_said_with_its_line_and_what_would_be_right);
	tcase_add_test(tc, values_that_are_too_long_are_refused);
	tcase_add_test(tc, overcommit_is_a_number_for_each_tier);
	tcase_add_test(tc, a_budget_is_a_part_of_what_huge_pages_leave);
	tcase_add_test(tc, sums_that_cannot_be_are_refused_with_their_line);
	tcase_add_test(tc, mutated_files_are_parsed_or_refused_but_nothing_else);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
