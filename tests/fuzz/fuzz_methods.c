/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Any JSON as the parameters of every method, from everybody who may call: the methods are the
 * daemon's own, the manager behind them is below and has one slot with one grant. What it is asked
 * for is what was said, in range where a range is promised, and nothing but what the caller may.
 */

#include <sys/socket.h>
#include <unistd.h>

#include "api/call.h"
#include "api/listing.h"
#include "fuzz.h"
#include "policy/admit.h"
#include "policy/command.h"

#define OWNER 1000
#define STRANGER 1001
#define MEMBER 1002 /* of the administrators' group */
#define GRANT 7     /* of the process that runs in the slot */

static const struct slot_policy the_slot = {
	.name = "a",
	.owner = OWNER,
	.weight = WEIGHT_DEFAULT,
	.tier = TIER_DEFAULT,
	.min_bytes = 1 << 20,
	.max_bytes = 64 << 20,
	.pool_min_bytes = CHUNK_BYTES,
	.pool_max_bytes = CHUNK_BYTES,
	.on_resize = "/bin/true",
};

static const struct peer callers[] = {
	{ .uid = 0, .pid = 10, .is_admin = true },
	{ .uid = MEMBER, .pid = 12, .is_admin = true },
	{ .uid = OWNER, .pid = 13, .is_in_slot = true, .slot_name = "a" },
	{ .uid = OWNER, .pid = 14 },
	{ .uid = OWNER, .pid = 17, .is_in_slot = true, .slot_node = 1, .slot_name = "a" },
	{ .uid = STRANGER, .pid = 15, .is_in_slot = true, .slot_name = "a" },
	{ .uid = STRANGER, .pid = 16 },
};

struct manager {
	const struct peer *caller;
	sd_json_variant *said;
};

static struct grant {
	pid_t pid;
} the_grant = { .pid = 13 };

/* ---- what has to hold */

static bool is_owner(const struct manager *m)
{
	return m->caller->uid == OWNER;
}

static void must_be_admin(const struct manager *m)
{
	MUST(m->caller->is_admin);
}

/* Of a process that may get pages and memory of the slot it runs in. */
static void must_be_task(const struct manager *m, const char *name, pid_t pid)
{
	MUST(strcmp(name, "a") == 0 && pid == m->caller->pid);
	MUST(m->caller->is_in_slot && m->caller->slot_node == the_slot.node);
	MUST(is_owner(m) || m->caller->is_admin);
}

static void must_be_own(const struct manager *m, const struct grant *grant)
{
	MUST(grant == &the_grant && m->caller->pid == the_grant.pid);
}

/* The number said as @key; @otherwise where none is, and where it is the one that means so. */
static uint64_t said(const struct manager *m, const char *key, uint64_t none, uint64_t otherwise)
{
	sd_json_variant *field = sd_json_variant_by_key(m->said, key);
	uint64_t number;

	if (!field || !sd_json_variant_is_unsigned(field))
		return otherwise;
	number = sd_json_variant_unsigned(field);
	return number == none ? otherwise : number;
}

/* A number may be said as a string, too: those are not looked at. */
static bool is_text(const struct manager *m, const char *key)
{
	sd_json_variant *field = sd_json_variant_by_key(m->said, key);

	return field && sd_json_variant_is_string(field);
}

static void must_be_said(const struct manager *m, const char *key, uint64_t none, uint64_t value,
			 uint64_t before)
{
	MUST(is_text(m, key) || value == said(m, key, none, before));
}

/* @before: what holds where nothing is said. */
static void must_be_as_said(const struct manager *m, const struct slot_policy *p,
			    const struct slot_policy *before)
{
	uint64_t usec = said(m, "revokeDeadlineUsec", UINT64_MAX, 0);
	struct command command;
	char why[COMMAND_ERROR_MAX];
	struct refusal refusal;

	must_be_said(m, "weight", UINT32_MAX, p->weight, before->weight);
	must_be_said(m, "tier", UINT32_MAX, p->tier, before->tier);
	must_be_said(m, "owner", UINT32_MAX, p->owner, before->owner);
	must_be_said(m, "minBytes", UINT64_MAX, p->min_bytes, before->min_bytes);
	must_be_said(m, "needBytes", UINT64_MAX, p->need_bytes, before->need_bytes);
	must_be_said(m, "poolMinBytes", UINT64_MAX, p->pool_min_bytes, before->pool_min_bytes);
	if (p->max_bytes != BYTES_UNLIMITED)
		must_be_said(m, "maxBytes", UINT64_MAX, p->max_bytes, before->max_bytes);
	/* never sooner than said */
	MUST(p->revoke_deadline_ms == UINT32_MAX || p->revoke_deadline_ms >= usec / 1000);
	MUST(p->mode <= SLOT_MODES && p->revoke <= SLOT_REVOKES);
	MUST(!p->on_resize[0] || command_parse(p->on_resize, &command, why) == 0);
	MUST(strlen(p->request_id) <= REQUEST_ID_MAX && strlen(p->name) <= SLOT_NAME_MAX);
	/* the manager asks this first */
	(void)!admit_check_policy(p, &refusal);
}

/* ---- the manager */

int manager_identify(const struct manager *manager, int socket_fd, struct peer *ret_peer,
		     int *ret_pidfd)
{
	(void)socket_fd;
	*ret_peer = *manager->caller;
	*ret_pidfd = -1;
	return 0;
}

const struct slot_policy *manager_find_policy(const struct manager *manager, const char *name)
{
	(void)manager;
	return strcmp(name, the_slot.name) == 0 ? &the_slot : NULL;
}

void slot_policy_default(struct slot_policy *policy)
{
	*policy = (struct slot_policy){
		.node = NODE_ANY,
		.weight = WEIGHT_DEFAULT,
		.tier = TIER_DEFAULT,
		.max_bytes = BYTES_UNLIMITED,
	};
}

/* Every request fails at last: how it is answered is not what is tried. */
static void end(done_fn done, void *userdata)
{
	struct fault fault = { .node = NODE_ANY };

	done(fault_set(&fault, FAULT_FAILED, "that was all"), &fault, userdata);
}

void manager_add(struct manager *manager, const struct add_request *request, done_fn done,
		 void *userdata)
{
	const struct slot_policy *p = &request->policy;
	uint64_t wait_usec = said(manager, "waitUsec", UINT64_MAX, UINT64_MAX);
	struct slot_policy before;

	slot_policy_default(&before);
	before.owner = manager->caller->uid;
	must_be_admin(manager);
	must_be_as_said(manager, p, &before);
	must_be_said(manager, "minGrantBytes", UINT64_MAX, request->min_grant_bytes, UINT64_MAX);
	MUST(p->node >= NODE_ANY && request->subscriber);
	MUST(is_text(manager, "waitUsec") || request->wait_ns == UINT64_MAX ||
	     request->wait_ns / 1000 == wait_usec);
	/* it runs as the owner: an administrator of slots is not one of users */
	MUST(!p->on_resize[0] || manager->caller->uid == 0 || p->owner == manager->caller->uid);
	end(done, userdata);
}

void manager_set(struct manager *manager, const struct slot_policy *policy, done_fn done,
		 void *userdata)
{
	struct slot_policy tuned = *policy;

	must_be_as_said(manager, policy, &the_slot);
	if (strcmp(policy->on_resize, the_slot.on_resize) != 0 && policy->on_resize[0])
		MUST(manager->caller->uid == 0 || policy->owner == manager->caller->uid);
	/* a command stays with the one who named it */
	MUST(policy->owner == OWNER || !policy->on_resize[0] ||
	     sd_json_variant_by_key(manager->said, "onResize"));
	if (!manager->caller->is_admin) {
		MUST(is_owner(manager));
		tuned.weight = the_slot.weight;
		tuned.max_bytes = the_slot.max_bytes;
		memcpy(tuned.on_resize, the_slot.on_resize, sizeof(tuned.on_resize));
		MUST(memcmp(&tuned, &the_slot, sizeof(tuned)) == 0);
	}
	end(done, userdata);
}

void manager_remove(struct manager *manager, const char *name, bool kill, done_fn done,
		    void *userdata)
{
	(void)kill;
	must_be_admin(manager);
	MUST(name);
	end(done, userdata);
}

void manager_join(struct manager *manager, const char *name, pid_t pid, int pidfd, done_fn done,
		  void *userdata)
{
	(void)pidfd;
	MUST(strcmp(name, "a") == 0 && pid == manager->caller->pid);
	MUST(is_owner(manager) || manager->caller->is_admin);
	end(done, userdata);
}

void manager_move(struct manager *manager, const struct move_request *request, done_fn done,
		  void *userdata)
{
	sd_json_variant *node = sd_json_variant_by_key(manager->said, "node");
	sd_json_variant *any = sd_json_variant_by_key(manager->said, "anyNode");

	must_be_admin(manager);
	MUST(strcmp(request->name, "a") == 0);
	/* all nodes only where that was said, never by a number */
	if (!request->choose_node && request->node == NODE_ANY)
		MUST(any && sd_json_variant_boolean(any));
	else if (!request->choose_node)
		MUST(node && request->node >= 0);
	end(done, userdata);
}

void manager_measure(struct manager *manager, const char *name, enum heat_source source,
		     uint64_t window_ms, measured_fn done, void *userdata)
{
	(void)window_ms;
	MUST(strcmp(name, "a") == 0 && source < HEAT_SOURCES);
	MUST(is_owner(manager) || manager->caller->is_admin);
	end(done, userdata);
}

void manager_request_memory(struct manager *manager, const struct lease_request *request,
			    done_fn done, void *userdata)
{
	must_be_task(manager, request->slot_name, request->pid);
	must_be_said(manager, "bytes", UINT64_MAX, request->bytes, request->bytes);
	MUST(request->is_admin == manager->caller->is_admin && request->subscriber);
	end(done, userdata);
}

enum fault_kind manager_watch(struct manager *manager, const char *name, pid_t pid, bool is_task,
			      void *subscriber, struct fault *ret_fault)
{
	(void)subscriber;
	MUST(is_owner(manager) || manager->caller->is_admin);
	if (is_task)
		must_be_task(manager, name, pid);
	return fault_set(ret_fault, FAULT_FAILED, "that was all");
}

enum fault_kind manager_report_freed(struct manager *manager, const char *name, pid_t pid,
				     uint64_t bytes, uint64_t sequence, struct fault *ret_fault)
{
	must_be_task(manager, name, pid);
	must_be_said(manager, "freedBytes", UINT64_MAX, bytes, bytes);
	must_be_said(manager, "notice", UINT64_MAX, sequence, UINT64_MAX);
	return fault_set(ret_fault, FAULT_FAILED, "that was all");
}

void manager_attach(struct manager *manager, const struct attach_request *request, granted_fn done,
		    void *userdata)
{
	struct fault fault = { .node = NODE_ANY };

	must_be_task(manager, request->slot_name, request->pid);
	MUST(request->min_chunks >= 1 && request->subscriber);
	done(NULL, fault_set(&fault, FAULT_FAILED, "that was all"), &fault, NULL, 0, userdata);
}

struct grant *manager_resume(struct manager *manager, uint32_t grant_id, pid_t pid,
			     void *subscriber, struct fault *ret_fault)
{
	(void)subscriber;
	must_be_task(manager, manager->caller->slot_name, pid);
	must_be_said(manager, "resumeGrant", UINT32_MAX, grant_id, grant_id);
	(void)fault_set(ret_fault, FAULT_NO_SUCH_GRANT, "that was all");
	return NULL;
}

struct grant *manager_find_grant(struct manager *manager, uint32_t grant_id, pid_t pid)
{
	MUST(pid == manager->caller->pid);
	return grant_id == GRANT && pid == the_grant.pid ? &the_grant : NULL;
}

/* Touches the first and the last of them. */
static void must_be_numbers(const struct manager *m, const uint32_t *chunks, size_t n)
{
	sd_json_variant *list = sd_json_variant_by_key(m->said, "chunks");

	MUST(n == sd_json_variant_elements(list));
	for (size_t i = 0; i < n; i += n > 1 ? n - 1 : 1)
		MUST(chunks[i] == sd_json_variant_unsigned(sd_json_variant_by_index(list, i)));
}

void manager_grow(struct manager *manager, struct grant *grant, uint32_t n, granted_fn done,
		  void *userdata)
{
	struct fault fault = { .node = NODE_ANY };

	must_be_own(manager, grant);
	MUST(n > 0);
	done(NULL, fault_set(&fault, FAULT_FAILED, "that was all"), &fault, NULL, 0, userdata);
}

enum fault_kind manager_return(struct manager *manager, struct grant *grant, const uint32_t *chunks,
			       size_t n, uint64_t revocation, struct fault *ret_fault)
{
	must_be_own(manager, grant);
	must_be_numbers(manager, chunks, n);
	must_be_said(manager, "revocation", 0, revocation, 0);
	(void)ret_fault;
	return FAULT_NONE;
}

enum fault_kind manager_note_draining(struct manager *manager, struct grant *grant,
				      const uint32_t *chunks, size_t n, const char *pool,
				      struct fault *ret_fault)
{
	must_be_own(manager, grant);
	must_be_numbers(manager, chunks, n);
	for (; *pool; pool++)
		MUST(*pool >= ' ' && *pool <= '~');
	(void)ret_fault;
	return FAULT_NONE;
}

void manager_detach(struct manager *manager, struct grant *grant)
{
	must_be_own(manager, grant);
}

void manager_note_engines(struct grant *grant, bool has_uring, bool has_epoll)
{
	(void)has_uring;
	(void)has_epoll;
	MUST(grant == &the_grant);
}

enum fault_kind manager_report_pools(struct grant *grant, int fd, struct fault *ret_fault)
{
	(void)fd;
	(void)ret_fault;
	MUST(grant == &the_grant);
	return FAULT_NONE;
}

/* ---- what everybody may see: there is nothing */

enum fault_kind manager_view_slot(struct manager *manager, const char *name,
				  struct slot_view *ret_view, struct fault *ret_fault)
{
	(void)manager;
	(void)ret_view;
	return fault_set(ret_fault, FAULT_NO_SUCH_SLOT, "no slot %s", name);
}

enum fault_kind manager_explain(struct manager *manager, const char *name,
				struct explain_view *ret_view, struct fault *ret_fault)
{
	(void)manager;
	(void)ret_view;
	return fault_set(ret_fault, FAULT_NO_SUCH_SLOT, "no slot %s", name);
}

enum fault_kind manager_view_notice(struct manager *manager, const char *name,
				    struct memory_notice *ret, struct fault *ret_fault)
{
	(void)manager;
	(void)ret;
	return fault_set(ret_fault, FAULT_NO_SUCH_SLOT, "no slot %s", name);
}

void manager_view_grant(const struct grant *grant, struct grant_view *ret_view)
{
	(void)grant;
	*ret_view = (struct grant_view){ .id = GRANT, .file_fd = -1, .slot_name = the_slot.name };
}

size_t manager_list_chunks(const struct grant *grant, uint32_t *chunks)
{
	(void)grant;
	(void)chunks;
	return 0;
}

size_t manager_list_revoked(const struct grant *grant, uint32_t *chunks)
{
	(void)grant;
	(void)chunks;
	return 0;
}

size_t manager_count_waiting(const struct manager *manager)
{
	(void)manager;
	return 0;
}

struct events *manager_events(struct manager *manager)
{
	(void)manager;
	return NULL;
}

size_t manager_count_tasks(const struct manager *manager, const char *name)
{
	(void)manager;
	MUST(strcmp(name, "a") == 0);
	return 0;
}

const struct event_count *events_counts(const struct events *events, size_t *ret_n)
{
	(void)events;
	*ret_n = 0;
	return NULL;
}

size_t manager_slot_count(const struct manager *manager)
{
	(void)manager;
	return 0;
}

size_t manager_find_after(const struct manager *manager, const char *name)
{
	(void)manager;
	(void)name;
	return 0;
}

const char *manager_nth_slot_name(const struct manager *manager, size_t i)
{
	(void)manager;
	(void)i;
	MUST(!"of nothing");
	return "";
}

size_t manager_node_count(const struct manager *manager)
{
	(void)manager;
	return 0;
}

#define NEVER(name, ...)             \
	void name(__VA_ARGS__)       \
	{                            \
		MUST(!"of nothing"); \
	}
NEVER(manager_view_nth_slot, struct manager *, size_t, struct slot_view *)
NEVER(manager_view_nth_node, struct manager *, size_t, struct node_view *)
NEVER(manager_view_nth_waiting, struct manager *, size_t, struct wait_view *)
NEVER(manager_view_nth_counters, struct manager *, size_t, struct counters_view *)
NEVER(manager_view_nth_task, const struct manager *, const char *, size_t, struct task_view *)

/* ---- calls */

static int (*const methods[])(struct call *call) = {
	api_add_slot,       api_set_slot,   api_remove_slot,  api_list_slots,    api_explain,
	api_join_slot,      api_move_slot,  api_measure_slot, api_list_counters, api_list_queue,
	api_request_memory, api_watch_slot, api_report_freed, api_attach,        api_grow,
	api_return,         api_drain,      api_detach,       api_report_engine, api_report_pools,
	api_list_pools,
};

/* Nobody called by it, so nothing can be replied. */
static sd_varlink *open_link(void)
{
	sd_varlink *link;
	int pair[2];

	MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
	MUST(sd_varlink_connect_fd(&link, pair[0]) >= 0);
	close(pair[1]);
	return link;
}

static void call_all(sd_json_variant *parameters, const struct peer *caller,
		     sd_varlink_method_flags_t flags)
{
	static sd_varlink *link;
	struct manager manager = { .caller = caller, .said = parameters };
	struct listings listings = {};
	struct call call;

	if (!link)
		link = open_link();
	for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
		call = (struct call){
			.link = link,
			.manager = &manager,
			.listings = &listings,
			.parameters = parameters,
			.flags = flags,
			.pidfd = -1,
		};
		(void)methods[i](&call);
	}
	MUST(listings.n_gathering == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = fuzz_text(data, size);
	sd_json_variant *parameters = NULL;

	/* sd-varlink hands over nothing else */
	if (sd_json_parse(text, 0, &parameters, NULL, NULL) >= 0 &&
	    sd_json_variant_is_object(parameters)) {
		for (size_t i = 0; i < ARRAY_LEN(callers); i++)
			call_all(parameters, &callers[i], SD_VARLINK_METHOD_MORE);
		call_all(parameters, &callers[0], /* flags= */ 0);
	}
	sd_json_variant_unref(parameters);
	free(text);
	return 0;
}
