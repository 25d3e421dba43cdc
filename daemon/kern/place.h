/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Names in taskmem's part of the tree: groups "node0" … "node63" and "any", slots below. */

#include <stdbool.h>

#include "base/attr.h"
#include "model.h"

#define PLACE_GROUP_MAX 16 /* "node63" and "any" with their 0 */
/* Longest "group/slot" with its 0. */
#define PLACE_MAX (PLACE_GROUP_MAX + SLOT_NAME_MAX + 1)

/* Name of a node's group, or of NODE_ANY's. Returns @buf. */
const char *place_format_group(int node, char buf[static PLACE_GROUP_MAX]);
/* The reverse. Return: 0 or -EINVAL. */
MUST_USE int place_parse_group(const char *text, int *ret_node);
/* [a-z0-9][a-z0-9._-]*, at most SLOT_NAME_MAX, and no name that a kernel file has. */
bool place_is_slot_name(const char *text);
/* "node1/ingest", exactly two parts. Return: 0 or -EINVAL. */
MUST_USE int place_parse(const char *text, int *ret_node, char ret_name[static SLOT_NAME_MAX + 1]);
