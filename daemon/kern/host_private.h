/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Shared by host.c and its parts host_*.c. */

#include <stdbool.h>

#include "kern/host.h"

struct host_list {
	struct host_check *checks; /* [HOST_CHECKS_MAX] */
	size_t n;
};

/* Adds a check with its detail; @name has to stay valid. What does not fit is left out. */
void host_add(struct host_list *list, const char *name, enum host_status status, const char *format,
	      ...) PRINTF_LIKE(4, 5);
/* The remedy of the check added last. */
void host_remedy(struct host_list *list, const char *format, ...) PRINTF_LIKE(2, 3);

/* Running kernel is at least this one. */
bool host_has_kernel(unsigned major, unsigned minor);

void host_check_cgroup(struct host_list *list);
void host_check_memory(struct host_list *list);
void host_check_heat(struct host_list *list);
