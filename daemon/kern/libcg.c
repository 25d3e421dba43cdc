/* SPDX-License-Identifier: Apache-2.0 */

/*
 * libcgroup returns numbers of its own from 50000 on, some of which stand for an errno that
 * is kept elsewhere, and says what went wrong only through its logger. Here both become what
 * the rest of the daemon knows: -errno, and a text for those who want it.
 *
 * The last errno is never reset by libcgroup, so it is only asked for with ECGOTHER.
 */

#include "kern/libcg.h"

#include <errno.h>
#include <libcgroup.h>
#include <stdio.h>
#include <string.h>

static char last_message[256];

static void keep_message(void *userdata, int level, const char *format, va_list args)
{
	static const char prefix[] = "Error: ";
	size_t skip;

	(void)userdata;
	if (level > CGROUP_LOG_WARNING)
		return;
	(void)vsnprintf(last_message, sizeof(last_message), format, args); /* cut is fine */
	last_message[strcspn(last_message, "\n")] = '\0';
	skip = strncmp(last_message, prefix, strlen(prefix)) == 0 ? strlen(prefix) : 0;
	memmove(last_message, last_message + skip, strlen(last_message + skip) + 1);
}

static int to_errno(int rc)
{
	switch (rc) {
	case 0:
		return 0;
	case ECGOTHER:
		return cgroup_get_last_errno() > 0 ? -cgroup_get_last_errno() : -EIO;
	case ECGROUPNOTMOUNTED:
	case ECGROUPSUBSYSNOTMOUNTED:
	case ECGROUPUNSUPP:
		return -EOPNOTSUPP;
	case ECGROUPNOTEXIST:
	case ECGROUPVALUENOTEXIST:
		return -ENOENT;
	case ECGROUPNOTOWNER:
	case ECGROUPNOTALLOWED:
		return -EPERM;
	case ECGNONEMPTY:
		return -EBUSY;
	case ECGINVAL:
	case ECGMAXVALUESEXCEEDED:
		return -EINVAL;
	default:
		return -EIO;
	}
}

/* @rc: libcgroup's result. Fills in a text where the logger got none. */
static int finish(int rc)
{
	int r = to_errno(rc);

	if (r < 0 && !last_message[0])
		(void)snprintf(last_message, sizeof(last_message), "%s",
			       rc == ECGOTHER ? strerror(-r) : cgroup_strerror(rc));
	return r;
}

int libcg_init(void)
{
	last_message[0] = '\0';
	cgroup_set_logger(keep_message, CGROUP_LOG_WARNING, NULL);
	return finish(cgroup_init());
}

enum libcg_mode libcg_get_mode(void)
{
	switch (cgroup_setup_mode()) {
	case CGROUP_MODE_LEGACY:
		return LIBCG_LEGACY;
	case CGROUP_MODE_HYBRID:
		return LIBCG_HYBRID;
	case CGROUP_MODE_UNIFIED:
		return LIBCG_UNIFIED;
	default:
		return LIBCG_UNKNOWN;
	}
}

const char *libcg_version(void)
{
	static char text[32];
	const struct cgroup_library_version *v = cgroup_version();

	(void)snprintf(text, sizeof(text), "%u.%u.%u", v->major, v->minor, v->release);
	return text;
}

const char *libcg_message(void)
{
	return last_message;
}

static void cgroup_freep(struct cgroup **cg)
{
	if (*cg)
		cgroup_free(cg);
}

static int build(const char *path, const struct libcg_value *values, size_t n,
		 struct cgroup **ret_cg)
{
	CLEANUP(cgroup_freep) struct cgroup *cg = cgroup_new_cgroup(path);

	last_message[0] = '\0';
	if (!cg)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		struct cgroup_controller *c = cgroup_get_controller(cg, values[i].controller);
		int rc;

		if (!c)
			c = cgroup_add_controller(cg, values[i].controller);
		if (!c)
			return -ENOMEM;
		/* set, not add: only that marks the value as one to be written */
		rc = cgroup_set_value_string(c, values[i].file, values[i].text);
		if (rc != 0)
			return finish(rc);
	}
	*ret_cg = TAKE(cg);
	return 0;
}

int libcg_create(const char *path, const struct libcg_value *values, size_t n)
{
	CLEANUP(cgroup_freep) struct cgroup *cg = NULL;
	int r = build(path, values, n, &cg);

	return r < 0 ? r : finish(cgroup_create_cgroup(cg, /* ignore_ownership= */ 1));
}

int libcg_modify(const char *path, const struct libcg_value *values, size_t n)
{
	CLEANUP(cgroup_freep) struct cgroup *cg = NULL;
	int r = build(path, values, n, &cg);

	return r < 0 ? r : finish(cgroup_modify_cgroup(cg));
}

int libcg_delete(const char *path)
{
	CLEANUP(cgroup_freep) struct cgroup *cg = NULL;
	int r = build(path, NULL, 0, &cg);

	/* without EMPTY_ONLY it would first move the processes to the parent */
	return r < 0 ? r : finish(cgroup_delete_cgroup_ext(cg, CGFLAG_DELETE_EMPTY_ONLY));
}

int libcg_attach(const char *path, pid_t pid)
{
	CLEANUP(cgroup_freep) struct cgroup *cg = NULL;
	int r = build(path, NULL, 0, &cg);

	return r < 0 ? r : finish(cgroup_attach_task_pid(cg, pid));
}

int libcg_create_scope(const char *scope, const char *slice, pid_t pid)
{
	struct cgroup_systemd_scope_opts opts;
	int rc = cgroup_set_default_scope_opts(&opts);

	last_message[0] = '\0';
	if (rc != 0)
		return finish(rc);
	opts.delegated = 1;
	opts.mode = CGROUP_SYSTEMD_MODE_FAIL;
	opts.pid = pid;
	return finish(cgroup_create_scope(scope, slice, &opts));
}
