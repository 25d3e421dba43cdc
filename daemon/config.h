/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* taskmemd.conf: text to values. Pure; the caller reads the file. Syntax: taskmemd.conf(5). */

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/log.h"
#include "model.h"
#include "policy/booking.h"

#define CONFIG_ERROR_MAX 440
#define CONFIG_SOURCE_MAX 64
#define CONFIG_PATH_MAX 4096
#define CONFIG_SOCKET_MAX 108 /* sun_path */
#define CONFIG_GROUP_MAX 33
#define CONFIG_HUGEPAGES_KEEP UINT64_MAX /* leave what the system has */

/* What to do when memory is about to run out: policy/emergency.h */
enum config_emergency { CONFIG_EMERGENCY_ON, CONFIG_EMERGENCY_LOG, CONFIG_EMERGENCY_OFF };

enum config_enforce { CONFIG_ENFORCE_LIMITS, CONFIG_ENFORCE_POOLS_ONLY };

/* Of slots that starve while another node has room: policy/advice.h */
enum config_move { CONFIG_MOVE_ADVISE, CONFIG_MOVE_AUTO, CONFIG_MOVE_OFF };

enum config_control { CONFIG_CONTROL_ON, CONFIG_CONTROL_OFF, CONFIG_CONTROL_DRY_RUN };

/* What pools are made of: policy/pages.h */
enum config_pages { CONFIG_PAGES_HUGE, CONFIG_PAGES_HUGE_OR_TRANSPARENT };

/* A size, or a part of another one. @line: where it was set; 0: built in. */
struct config_amount {
	bool is_permille;
	uint32_t permille;
	uint64_t bytes;
	unsigned line;
};

/* Keys that are not set (.line 0) come from [node default], then from the built-in values. */
struct config_node {
	struct config_amount budget;
	struct config_amount reserve;
	uint64_t hugepages; /* of 2 MiB, or CONFIG_HUGEPAGES_KEEP */
	unsigned hugepages_line;
	uint64_t gigantic; /* of 1 GiB, or CONFIG_HUGEPAGES_KEEP */
	unsigned gigantic_line;
	unsigned line; /* of the section's header; 0: there is none */
};

struct config {
	char source[CONFIG_SOURCE_MAX]; /* file name for messages */
	enum config_enforce enforce;
	enum config_emergency emergency;
	char cgroup_root[CONFIG_PATH_MAX]; /* "": a systemd scope */
	char socket[CONFIG_SOCKET_MAX];
	char state_directory[CONFIG_PATH_MAX];
	char group[CONFIG_GROUP_MAX];
	enum log_level log_level;
	uint64_t notice_grace_ns;     /* tasks have so long before a smaller max is enforced */
	struct booking_rules booking; /* overcommit */
	uint64_t history_half_life_s;
	enum config_control control;
	enum config_move move;
	uint32_t fairness_permille;
	enum config_pages pages;
	/* of slots that do not say it themselves */
	enum slot_revoke revoke; /* not SLOT_REVOKE_DEFAULT */
	uint32_t revoke_deadline_ms;
	uint64_t heat_interval_ns; /* working sets in the background; 0: not */
	struct config_node node_default;
	struct config_node nodes[NODES_MAX];
};

/* The built-in values. */
void config_default(struct config *ret);

/**
 * config_parse() - the built-in values changed by what @text says
 * @file_name: for messages, as the administrator knows it
 * @ret:       written on success only
 * @error:     one line, "taskmemd.conf:12: what was wrong, what would be right"
 *
 * Return: 0, -EINVAL with @error filled, or -ENOMEM.
 */
MUST_USE int config_parse(const char *text, const char *file_name, struct config *ret,
			  char error[static CONFIG_ERROR_MAX]);

/**
 * config_node_budget() - what a node has to give under this configuration
 * @found: as topology_read() found it: .node, .total_bytes, .hugepages and .gigantic
 * @ret:   may be @found. These as they are; update the pages after the kernel has been asked for
 *         .hugepages_wanted and .gigantic_wanted (what is there where nothing is configured)
 *
 * Percentages of the budget are of MemTotal less the wanted huge pages, of the reserve of the
 * budget. Sizes are rounded down to pages.
 *
 * Return: 0, or -EINVAL with @error filled when the sums cannot be.
 */
MUST_USE int config_node_budget(const struct config *config, const struct node_info *found,
				struct node_info *ret, char error[static CONFIG_ERROR_MAX]);
