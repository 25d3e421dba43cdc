/* SPDX-License-Identifier: Apache-2.0 */
#include "manager_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/mono.h"
#include "message_ids.h"
#include "policy/admit.h"
#include "policy/booking.h"

/*
 * A task asks for more before a heavy step. What it gets is a guarantee, so it is admitted like
 * one: the sum of all mins and leases of the node must fit. It is bound to the connection and to
 * the process, whichever ends first: a child that the process forked keeps the connection open.
 *
 * A guarantee is an administrator's to give. A slot's owner may turn the need that an
 * administrator booked for the slot into a guarantee, and no more; a predicted need does not
 * count, for who runs the tasks could drive it up.
 */

#define PAGE_BYTES UINT64_C(4096)
#define LEASES_WAITING_MAX 8 /* of one slot: the queue is for all */

uint64_t slot_min_bytes(const struct slot *slot)
{
	uint64_t min = slot->policy.min_bytes;

	if (slot->lease_bytes == 0)
		return min;
	return MAX(min, MIN(min + slot->lease_bytes, slot->policy.max_bytes));
}

static enum fault_kind check_allowed(const struct slot *slot, uint64_t bytes, struct fault *fault)
{
	const struct slot_policy *policy = &slot->policy;
	uint64_t allowed = policy->is_need_predicted ? 0 : policy->grant_bytes;
	uint64_t sum = policy->min_bytes + slot->lease_bytes + bytes;
	char text[FORMAT_BYTES_MAX], sum_text[FORMAT_BYTES_MAX], allowed_text[FORMAT_BYTES_MAX];

	if (sum <= allowed)
		return FAULT_NONE;
	fault->needed = sum;
	fault->available = allowed;
	return fault_set(fault, FAULT_REFUSED,
			 "%s more: slot %s would be guaranteed %s, and an administrator gave it a "
			 "need of %s; more takes: tmctl set %s need=SIZE",
			 format_bytes(bytes, text), policy->name, format_bytes(sum, sum_text),
			 format_bytes(allowed, allowed_text), policy->name);
}

enum fault_kind lease_try(const struct lease *lease, const struct slot_policy *others,
			  size_t n_others, uint64_t closed_nodes, struct fault *fault)
{
	const struct slot *slot = lease->slot;
	const struct manager *manager = slot->manager;
	struct slot_policy raised = slot->policy;
	struct refusal refusal = { .field = "" };
	char bytes[FORMAT_BYTES_MAX], sum[FORMAT_BYTES_MAX], limit[FORMAT_BYTES_MAX];
	int cond;

	if (!lease->is_admin && check_allowed(slot, lease->bytes, fault) != FAULT_NONE)
		return FAULT_REFUSED;
	raised.min_bytes += slot->lease_bytes + lease->bytes;
	raised.keeps_pages = true;
	if (raised.min_bytes > raised.max_bytes)
		return fault_set(fault, FAULT_REFUSED,
				 "%s more: slot %s would be guaranteed %s, above its max=%s",
				 format_bytes(lease->bytes, bytes), raised.name,
				 format_bytes(raised.min_bytes, sum),
				 format_bytes(raised.max_bytes, limit));
	cond = admit(manager->nodes, manager->n_nodes, others, n_others, &raised, &refusal);
	if (cond != ADMIT_OK) {
		(void)fault_from_refusal(fault, cond, &refusal);
		return fault_set(fault, FAULT_REFUSED, "%s more: %s",
				 format_bytes(lease->bytes, bytes), refusal.message);
	}
	if (!(booking_nodes(manager->nodes, manager->n_nodes, &raised) & closed_nodes))
		return FAULT_NONE;
	(void)snprintf(fault->field, sizeof(fault->field), "queue");
	return fault_set(fault, FAULT_REFUSED,
			 "a request that has waited long enough is served first; \"tmctl queue\" "
			 "shows it");
}

static int on_process_end(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct lease *lease = userdata;
	struct manager *manager = lease->slot->manager;

	(void)source;
	(void)fd;
	(void)revents;
	manager->hooks.lease_gone(lease->subscriber, manager->hooks.userdata);
	lease_free(lease);
	manager_replan(manager, /* is_change= */ true);
	return 0;
}

/* The lease keeps its own copy of the pidfd. */
static struct lease *lease_new(struct slot *slot, const struct lease_request *request)
{
	struct lease *lease = calloc(1, sizeof(*lease));
	int fd;

	if (!lease)
		return NULL;
	list_init(&lease->in_manager);
	lease->slot = slot;
	lease->bytes = (request->bytes + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1);
	lease->pid = request->pid;
	lease->is_admin = request->is_admin;
	lease->subscriber = request->subscriber;
	fd = fcntl(request->pidfd, F_DUPFD_CLOEXEC, 3);
	if (fd < 0 || sd_event_add_io(slot->manager->event, &lease->process, fd, EPOLLIN,
				      on_process_end, lease) < 0) {
		fd_closep(&fd);
		free(lease);
		return NULL;
	}
	(void)sd_event_source_set_io_fd_own(lease->process, 1);
	(void)sd_event_source_set_enabled(lease->process, SD_EVENT_OFF);
	return lease;
}

void lease_begin(struct lease *lease)
{
	struct slot *slot = lease->slot;
	char bytes[FORMAT_BYTES_MAX], min[FORMAT_BYTES_MAX];

	list_append(&slot->manager->admission.leases, &lease->in_manager);
	slot->lease_bytes += lease->bytes;
	(void)sd_event_source_set_enabled(lease->process, SD_EVENT_ON);
	manager_replan(slot->manager, /* is_change= */ true);
	events_add(slot->manager->events, LOG_LEVEL_INFO, "request-granted", NULL,
		   slot->policy.name, "process %d of slot %s has %s more guaranteed, %s in all",
		   (int)lease->pid, slot->policy.name, format_bytes(lease->bytes, bytes),
		   format_bytes(slot_min_bytes(slot), min));
}

void lease_free(struct lease *lease)
{
	struct slot *slot;
	char bytes[FORMAT_BYTES_MAX];

	if (!lease)
		return;
	slot = lease->slot;
	if (!list_is_empty(&lease->in_manager)) {
		list_remove(&lease->in_manager);
		slot->lease_bytes -= lease->bytes;
		events_add(slot->manager->events, LOG_LEVEL_INFO, "request-ended", NULL,
			   slot->policy.name, "process %d of slot %s gave back %s of guarantee",
			   (int)lease->pid, slot->policy.name, format_bytes(lease->bytes, bytes));
	}
	sd_event_source_disable_unref(lease->process);
	free(lease);
}

/* Takes @waiter over. */
static void lease_or_wait(struct waiter *waiter, uint64_t wait_ns)
{
	struct manager *manager = waiter->manager;
	CLEANUP(freep) struct slot_policy *others = manager_copy_policies(manager);
	struct fault fault = { .node = NODE_ANY };
	enum fault_kind kind;

	if (!others) {
		waiter_finish(waiter, fault_set(&fault, FAULT_FAILED, "out of memory"), &fault);
		return;
	}
	kind = lease_try(waiter->lease, others, manager->n_slots,
			 admission_closed_nodes(manager, &waiter->entry), &fault);
	if (kind == FAULT_REFUSED && wait_ns > 0) {
		admission_wait(waiter, &fault, wait_ns);
		return;
	}
	if (kind == FAULT_NONE) {
		admission_note_served(manager, &waiter->entry, waiter->entry.nodes);
		lease_begin(TAKE(waiter->lease));
	}
	waiter_finish(waiter, kind, &fault);
}

void manager_request_memory(struct manager *manager, const struct lease_request *request,
			    done_fn done, void *userdata)
{
	struct slot *slot = manager_find_slot(manager, request->slot_name);
	struct waiter *waiter = NULL;
	struct fault fault = { .node = NODE_ANY };
	struct slot_policy taken;
	enum fault_kind kind = FAULT_NONE;

	(void)snprintf(fault.name, sizeof(fault.name), "%s", request->slot_name);
	(void)snprintf(fault.field, sizeof(fault.field), "bytes");
	if (!slot || slot->removal)
		kind = fault_set(&fault, FAULT_NO_SUCH_SLOT, "no slot %s", request->slot_name);
	else if (request->bytes == 0 || request->bytes > ADMIT_BYTES_MAX / 4)
		kind = fault_set(&fault, FAULT_BAD_VALUE,
				 "ask for at least one byte, and for less "
				 "than any machine has");
	else if (admission_count_leases(manager, slot) >= LEASES_WAITING_MAX)
		kind = fault_set(&fault, FAULT_REFUSED, "%d requests of slot %s wait already",
				 LEASES_WAITING_MAX, request->slot_name);
	if (kind == FAULT_NONE) {
		waiter = calloc(1, sizeof(*waiter));
		if (waiter)
			waiter->lease = lease_new(slot, request);
		if (!waiter || !waiter->lease)
			kind = fault_set(&fault, FAULT_FAILED, "out of memory");
	}
	if (kind != FAULT_NONE) {
		free(waiter);
		done(kind, &fault, userdata);
		return;
	}
	taken = slot->policy;
	taken.min_bytes += request->bytes;
	waiter->manager = manager;
	waiter->is_lease = true;
	waiter->entry = admission_entry(manager, &taken, /* choose_node= */ false, 0);
	if (!request->is_admin)
		waiter->entry.slot = (uintptr_t)slot;
	waiter->done = done;
	waiter->userdata = userdata;
	waiter->subscriber = request->subscriber;
	lease_or_wait(waiter, request->wait_ns);
}
