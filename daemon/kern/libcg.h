/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What taskmem uses of libcgroup. Only libcg.c includes <libcgroup.h>. */

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/attr.h"

enum libcg_mode { LIBCG_UNKNOWN, LIBCG_LEGACY, LIBCG_HYBRID, LIBCG_UNIFIED };

struct libcg_value {
	const char *controller; /* "memory" */
	const char *file;       /* "memory.max" */
	char text[128];
};

/* Reads the mounts; again is fine and cheap. All functions: 0 or -errno. */
MUST_USE int libcg_init(void);
enum libcg_mode libcg_get_mode(void);
/* "3.1.0" */
const char *libcg_version(void);
/* What libcgroup had to say about the last call here that failed; never NULL. */
const char *libcg_message(void);

/*
 * @path is relative to the cgroup mount, without a leading slash.
 *
 * libcg_create() is for cgroups that do not exist: when a value is refused libcgroup removes
 * the directory, also one that was there before. libcg_modify() never removes anything.
 * Values are written in the order given, controller by controller.
 */
MUST_USE int libcg_create(const char *path, const struct libcg_value *values, size_t n);
MUST_USE int libcg_modify(const char *path, const struct libcg_value *values, size_t n);
/* -EBUSY when it is populated or has children; 0 when it is not there. */
MUST_USE int libcg_delete(const char *path);
MUST_USE int libcg_attach(const char *path, pid_t pid);
/* Delegated transient scope with @pid in it, through D-Bus; waits at most a second. */
MUST_USE int libcg_create_scope(const char *scope, const char *slice, pid_t pid);
