/* SPDX-License-Identifier: Apache-2.0 */
#include "manager_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"

/* What tasks report of their pools. The daemon is told once where to read, and reads when it
 * wants to know; after a restart the task tells it again. */

struct load {
	int fd; /* pool/report.h */
};

void load_free(struct load *load)
{
	if (!load)
		return;
	fd_closep(&load->fd);
	free(load);
}

enum fault_kind manager_report_pools(struct grant *grant, int fd, struct fault *fault)
{
	struct load *load;
	int r = report_open(fd, &fd);

	if (r < 0)
		return fault_set(fault, FAULT_BAD_VALUE,
				 "no sealed memfd with the pools of a task");
	load = calloc(1, sizeof(*load));
	if (!load) {
		fd_closep(&fd);
		return fault_set(fault, FAULT_FAILED, "out of memory");
	}
	load->fd = fd;
	load_free(grant->load);
	grant->load = load;
	return FAULT_NONE;
}

size_t manager_count_tasks(const struct manager *manager, const char *name)
{
	const struct slot *slot = manager_find_slot(manager, name);
	const struct grant *grant;
	size_t n = 0;

	if (slot)
		LIST_FOREACH(&slot->grants, grant, in_slot)
			n++;
	return n;
}

void manager_view_nth_task(const struct manager *manager, const char *name, size_t i,
			   struct task_view *ret_view)
{
	const struct slot *slot = manager_find_slot(manager, name);
	const struct grant *grant = NULL;
	size_t n = 0;
	int r;

	LIST_FOREACH(&slot->grants, grant, in_slot)
		if (n++ == i)
			break;
	*ret_view = (struct task_view){ .pid = grant->pid,
					.grant = grant->id,
					.held_chunks = grant->n_held,
					.target_chunks = grant->target };
	if (!grant->load)
		return;
	r = report_read(grant->load->fd, ret_view->pools, &ret_view->n_unreported);
	ret_view->has_report = r >= 0;
	ret_view->n_pools = r > 0 ? (size_t)r : 0;
}
