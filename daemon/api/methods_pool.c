/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "api/call.h"
#include "api/encode.h"
#include "base/fd.h"

/*
 * Pools: attach, grow, return, detach. A grant belongs to a process: every call looks at the
 * caller's pid as the kernel tells it, a number of somebody else's grant is no grant.
 *
 * Filling pages takes time, so attach and grow are answered when the helper has reported; the
 * link is kept by a reference until then.
 */

#define NOT_GIVEN UINT32_MAX

struct grant_parameters {
	uint32_t grant, n_chunks, min_chunks, wanted_chunks, resume;
	uint32_t fd_index;
	uint64_t token;        /* 0: none */
	uint64_t revocation;   /* 0: none */
	sd_json_variant *list; /* borrowed from the call */
	int uring, epoll;
	const char *pool;
};

static const struct grant_parameters nothing_given = {
	.grant = NOT_GIVEN,
	.n_chunks = NOT_GIVEN,
	.min_chunks = NOT_GIVEN,
	.wanted_chunks = NOT_GIVEN,
	.resume = NOT_GIVEN,
	.fd_index = NOT_GIVEN,
};

#define NUMBER(json, member, flags)                                     \
	{ json, _SD_JSON_VARIANT_TYPE_INVALID, sd_json_dispatch_uint32, \
	  offsetof(struct grant_parameters, member), flags }

/* ---- replies about a grant */

struct chunk_list {
	const uint32_t *chunks;
	size_t n;
};

/* @with_file: pass the memfd. @granted, @taken: NULL for none. */
static int send_grant(sd_varlink *link, const struct grant *grant, const struct chunk_list *granted,
		      const struct chunk_list *taken, bool with_file)
{
	sd_json_variant *list = NULL, *revoked = NULL;
	struct grant_view view;
	int r, fd_index = -1;

	manager_view_grant(grant, &view);
	r = encode_numbers(granted ? granted->chunks : NULL, granted ? granted->n : 0, &list);
	if (r >= 0 && taken && taken->n > 0)
		r = encode_numbers(taken->chunks, taken->n, &revoked);
	if (r >= 0 && with_file)
		r = fd_index = sd_varlink_push_dup_fd(link, view.file_fd);
	if (r >= 0)
		r = sd_varlink_notifybo(
			link, SD_JSON_BUILD_PAIR_STRING("slot", view.slot_name),
			SD_JSON_BUILD_PAIR_CONDITION(view.node != NODE_ANY, "node",
						     SD_JSON_BUILD_INTEGER(view.node)),
			SD_JSON_BUILD_PAIR_UNSIGNED("grant", view.id),
			SD_JSON_BUILD_PAIR_UNSIGNED("fileChunks", view.n_file_chunks),
			SD_JSON_BUILD_PAIR_VARIANT("chunks", list),
			SD_JSON_BUILD_PAIR_UNSIGNED("targetChunks", view.target),
			SD_JSON_BUILD_PAIR_CONDITION(
				view.deadline_ns > 0, "deadlineUsec",
				SD_JSON_BUILD_UNSIGNED(view.deadline_ns / 1000)),
			SD_JSON_BUILD_PAIR_CONDITION(revoked != NULL, "revokedChunks",
						     SD_JSON_BUILD_VARIANT(revoked)),
			SD_JSON_BUILD_PAIR_CONDITION(view.revocation > 0, "revocation",
						     SD_JSON_BUILD_UNSIGNED(view.revocation)),
			SD_JSON_BUILD_PAIR_CONDITION(with_file, "fdIndex",
						     SD_JSON_BUILD_INTEGER(fd_index)));
	sd_json_variant_unref(list);
	sd_json_variant_unref(revoked);
	return r;
}

/* All the chunks it holds, as after a restart, and all that were taken from it. */
static int send_whole_grant(sd_varlink *link, const struct grant *grant, bool with_file)
{
	CLEANUP(freep) uint32_t *chunks = NULL, *revoked = NULL;
	struct chunk_list granted, taken;
	struct grant_view view;

	manager_view_grant(grant, &view);
	chunks = calloc(view.n_held + 1, sizeof(*chunks));
	revoked = calloc(view.n_revoked + 1, sizeof(*revoked));
	if (!chunks || !revoked)
		return -ENOMEM;
	granted = (struct chunk_list){ chunks, manager_list_chunks(grant, chunks) };
	taken = (struct chunk_list){ revoked, manager_list_revoked(grant, revoked) };
	return send_grant(link, grant, &granted, &taken, with_file);
}

void api_send_target(struct grant *grant, void *subscriber, void *userdata)
{
	(void)userdata;
	(void)send_grant(subscriber, grant, NULL, NULL, /* with_file= */ false);
}

void api_send_revoked(struct grant *grant, const uint32_t *chunks, size_t n, void *subscriber,
		      void *userdata)
{
	const struct chunk_list taken = { chunks, n };

	(void)userdata;
	(void)send_grant(subscriber, grant, NULL, &taken, /* with_file= */ false);
}

void api_send_gone(struct grant *grant, void *subscriber, void *userdata)
{
	struct grant_view view;

	(void)userdata;
	manager_view_grant(grant, &view);
	(void)sd_varlink_errorbo(subscriber, "io.taskmem.NoSuchGrant",
				 SD_JSON_BUILD_PAIR_UNSIGNED("grant", view.id));
}

/* ---- attach */

static void on_attached(struct grant *grant, enum fault_kind kind, const struct fault *fault,
			const uint32_t *chunks, size_t n, void *userdata)
{
	const struct chunk_list granted = { chunks, n };
	sd_varlink *link = userdata;

	if (kind != FAULT_NONE || !grant)
		(void)call_fault(link, fault);
	else if (send_grant(link, grant, &granted, NULL, /* with_file= */ true) < 0)
		(void)sd_varlink_error_errno(link, -EIO);
	sd_varlink_unref(link);
}

static int resume_grant(const struct call *call, uint32_t id)
{
	struct fault fault = { .node = NODE_ANY };
	struct grant *grant = manager_resume(call->manager, id, call->peer.pid, call->link, &fault);

	if (!grant)
		return call_fault(call->link, &fault);
	return send_whole_grant(call->link, grant, /* with_file= */ false);
}

int api_attach(struct call *call)
{
	static const sd_json_dispatch_field table[] = {
		NUMBER("minChunks", min_chunks, SD_JSON_NULLABLE),
		NUMBER("wantedChunks", wanted_chunks, SD_JSON_NULLABLE),
		NUMBER("resumeGrant", resume, SD_JSON_NULLABLE),
		{ "token", _SD_JSON_VARIANT_TYPE_INVALID, sd_json_dispatch_uint64,
		  offsetof(struct grant_parameters, token), SD_JSON_NULLABLE },
		{}
	};
	struct grant_parameters p = nothing_given;
	struct attach_request request;
	int r;

	r = call_read(call, table, &p);
	if (r > 0)
		r = call_expect_more(call);
	if (r > 0)
		r = call_find_own_slot(call);
	if (r <= 0)
		return r;
	if (p.resume != NOT_GIVEN)
		return resume_grant(call, p.resume);
	request = (struct attach_request){
		.slot_name = call->peer.slot_name,
		.pid = call->peer.pid,
		.pidfd = call->pidfd,
		.min_chunks = p.min_chunks == NOT_GIVEN || p.min_chunks == 0 ? 1 : p.min_chunks,
		.wanted_chunks = p.wanted_chunks,
		.token = p.token,
		.subscriber = call->link,
	};
	manager_attach(call->manager, &request, on_attached, sd_varlink_ref(call->link));
	return 0;
}

/* ---- grow, return, detach */

static void on_grown(struct grant *grant, enum fault_kind kind, const struct fault *fault,
		     const uint32_t *chunks, size_t n, void *userdata)
{
	sd_varlink *link = userdata;
	sd_json_variant *list = NULL;
	int r;

	if (kind != FAULT_NONE || !grant) {
		(void)call_fault(link, fault);
	} else {
		r = encode_numbers(chunks, n, &list);
		(void)call_reply_value(link, r, "chunks", list);
	}
	sd_varlink_unref(link);
}

int api_grow(struct call *call)
{
	static const sd_json_dispatch_field table[] = { NUMBER("grant", grant, SD_JSON_MANDATORY),
							NUMBER("chunks", n_chunks,
							       SD_JSON_MANDATORY),
							{} };
	struct grant_parameters p = nothing_given;
	int r;

	r = call_read(call, table, &p);
	if (r <= 0)
		return r;
	if (p.n_chunks == 0)
		return sd_varlink_error_invalid_parameter_name(call->link, "chunks");
	r = call_find_grant(call, p.grant);
	if (r <= 0)
		return r;
	manager_grow(call->manager, call->grant, p.n_chunks, on_grown, sd_varlink_ref(call->link));
	return 0;
}

/* The numbers of a JSON array, or NULL when it holds something else or memory is short. */
static uint32_t *decode_numbers(sd_json_variant *list, size_t *ret_n)
{
	size_t n = sd_json_variant_elements(list);
	uint32_t *numbers = calloc(n + 1, sizeof(*numbers));

	for (size_t i = 0; numbers && i < n; i++) {
		sd_json_variant *item = sd_json_variant_by_index(list, i);

		if (!sd_json_variant_is_unsigned(item) ||
		    sd_json_variant_unsigned(item) > UINT32_MAX) {
			free(numbers);
			return NULL;
		}
		numbers[i] = (uint32_t)sd_json_variant_unsigned(item);
	}
	*ret_n = n;
	return numbers;
}

int api_return(struct call *call)
{
	static const sd_json_dispatch_field table[] = {
		NUMBER("grant", grant, SD_JSON_MANDATORY),
		{ "chunks", SD_JSON_VARIANT_ARRAY, sd_json_dispatch_variant_noref,
		  offsetof(struct grant_parameters, list), SD_JSON_MANDATORY },
		{ "revocation", _SD_JSON_VARIANT_TYPE_INVALID, sd_json_dispatch_uint64,
		  offsetof(struct grant_parameters, revocation), SD_JSON_NULLABLE },
		{}
	};
	struct grant_parameters p = nothing_given;
	CLEANUP(freep) uint32_t *chunks = NULL;
	struct fault fault = { .node = NODE_ANY };
	struct grant_view view;
	size_t n;
	int r;

	r = call_read(call, table, &p);
	if (r <= 0)
		return r;
	chunks = decode_numbers(p.list, &n);
	if (!chunks)
		return sd_varlink_error_invalid_parameter_name(call->link, "chunks");
	r = call_find_grant(call, p.grant);
	if (r <= 0)
		return r;
	if (manager_return(call->manager, call->grant, chunks, n, p.revocation, &fault) !=
	    FAULT_NONE)
		return call_fault(call->link, &fault);
	manager_view_grant(call->grant, &view);
	return sd_varlink_replybo(call->link,
				  SD_JSON_BUILD_PAIR_UNSIGNED("targetChunks", view.target));
}

static bool is_pool_name(const char *name)
{
	for (; *name; name++)
		if (*name < ' ' || *name > '~')
			return false;
	return true;
}

int api_drain(struct call *call)
{
	static const sd_json_dispatch_field table[] = {
		NUMBER("grant", grant, SD_JSON_MANDATORY),
		{ "chunks", SD_JSON_VARIANT_ARRAY, sd_json_dispatch_variant_noref,
		  offsetof(struct grant_parameters, list), SD_JSON_MANDATORY },
		{ "pool", SD_JSON_VARIANT_STRING, sd_json_dispatch_const_string,
		  offsetof(struct grant_parameters, pool), SD_JSON_NULLABLE },
		{}
	};
	struct grant_parameters p = nothing_given;
	CLEANUP(freep) uint32_t *chunks = NULL;
	struct fault fault = { .node = NODE_ANY };
	size_t n;
	int r;

	r = call_read(call, table, &p);
	if (r <= 0)
		return r;
	chunks = decode_numbers(p.list, &n);
	if (!chunks)
		return sd_varlink_error_invalid_parameter_name(call->link, "chunks");
	if (p.pool && !is_pool_name(p.pool))
		return sd_varlink_error_invalid_parameter_name(call->link, "pool");
	r = call_find_grant(call, p.grant);
	if (r <= 0)
		return r;
	if (manager_note_draining(call->manager, call->grant, chunks, n, p.pool ? p.pool : "",
				  &fault) != FAULT_NONE)
		return call_fault(call->link, &fault);
	return sd_varlink_reply(call->link, NULL);
}

int api_detach(struct call *call)
{
	static const sd_json_dispatch_field table[] = { NUMBER("grant", grant, SD_JSON_MANDATORY),
							{} };
	struct grant_parameters p = nothing_given;
	int r;

	r = call_read(call, table, &p);
	if (r > 0)
		r = call_find_grant(call, p.grant);
	if (r <= 0)
		return r;
	manager_detach(call->manager, call->grant);
	return sd_varlink_reply(call->link, NULL);
}

int api_report_engine(struct call *call)
{
	static const sd_json_dispatch_field table[] = {
		NUMBER("grant", grant, SD_JSON_MANDATORY),
		{ "uring", SD_JSON_VARIANT_BOOLEAN, sd_json_dispatch_tristate,
		  offsetof(struct grant_parameters, uring), SD_JSON_MANDATORY },
		{ "epoll", SD_JSON_VARIANT_BOOLEAN, sd_json_dispatch_tristate,
		  offsetof(struct grant_parameters, epoll), SD_JSON_MANDATORY },
		{}
	};
	struct grant_parameters p = nothing_given;
	int r;

	r = call_read(call, table, &p);
	if (r > 0)
		r = call_find_grant(call, p.grant);
	if (r <= 0)
		return r;
	manager_note_engines(call->grant, p.uring > 0, p.epoll > 0);
	return sd_varlink_reply(call->link, NULL);
}

/* ---- what is in the pools */

int api_report_pools(struct call *call)
{
	static const sd_json_dispatch_field table[] = { NUMBER("grant", grant, SD_JSON_MANDATORY),
							NUMBER("fdIndex", fd_index,
							       SD_JSON_MANDATORY),
							{} };
	struct grant_parameters p = nothing_given;
	struct fault fault = { .node = NODE_ANY, .field = "fdIndex" };
	int r, fd;

	r = call_read(call, table, &p);
	if (r > 0)
		r = call_find_grant(call, p.grant);
	if (r <= 0)
		return r;
	fd = sd_varlink_take_fd(call->link, p.fd_index);
	if (fd < 0)
		return sd_varlink_error_invalid_parameter_name(call->link, "fdIndex");
	if (manager_report_pools(call->grant, fd, &fault) != FAULT_NONE)
		return call_fault(call->link, &fault);
	return sd_varlink_reply(call->link, NULL);
}

int api_list_pools(struct call *call)
{
	static const sd_json_dispatch_field table[] = { { "name", SD_JSON_VARIANT_STRING,
							  sd_json_dispatch_const_string, 0,
							  SD_JSON_MANDATORY },
							{} };
	sd_json_variant *tasks = NULL;
	const char *name = NULL;
	int r;

	r = call_read(call, table, &name);
	if (r <= 0)
		return r;
	if (!manager_find_policy(call->manager, name))
		return call_no_such_slot(call->link, name);
	r = encode_tasks(call->manager, name, &tasks);
	return call_reply_value(call->link, r, "tasks", tasks);
}
