/* SPDX-License-Identifier: Apache-2.0 */
#include "api/server.h"

#include <errno.h>
#include <stdlib.h>

#include <systemd/sd-varlink.h>

#include "api/call.h"
#include "api/encode.h"
#include "api/interface.h"
#include "api/listing.h"
#include "base/fd.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mono.h"
#include "version.h"

/* A task holds two connections; a user with many tasks needs no more than this. */
#define CONNECTIONS_MAX 32768
#define CONNECTIONS_PER_UID_MAX 8192

struct api {
	struct manager *manager;
	sd_varlink_server *server;
	struct listings listings;
	struct list watchers;
	uint64_t started_ns;
	sd_event *event;           /* borrowed */
	const struct turns *turns; /* borrowed */
};

/* A link that follows the events. */
struct watcher {
	struct list in_api;
	sd_varlink *link;
};

/* ---- methods that need more than the manager */

static int api_get_info(sd_varlink *link, sd_json_variant *parameters,
			sd_varlink_method_flags_t flags, void *userdata)
{
	struct api *api = userdata;
	sd_json_variant *nodes = NULL, *turns = NULL;
	int r;

	(void)flags;
	r = sd_varlink_dispatch(link, parameters, (const sd_json_dispatch_field[]){ {} }, NULL);
	if (r != 0)
		return r;
	r = encode_nodes(api->manager, &nodes);
	if (r >= 0)
		r = encode_turns(api->turns, &turns);
	if (r < 0)
		goto out;
	r = sd_varlink_replybo(
		link, SD_JSON_BUILD_PAIR_STRING("version", TASKMEM_VERSION),
		SD_JSON_BUILD_PAIR_BOOLEAN("enforced", manager_is_enforcing(api->manager)),
		SD_JSON_BUILD_PAIR_STRING("cgroupPath", manager_tree_path(api->manager)),
		SD_JSON_BUILD_PAIR_UNSIGNED("uptimeUsec",
					    (mono_now_ns() - api->started_ns) / NS_PER_USEC),
		SD_JSON_BUILD_PAIR_VARIANT("loop", turns),
		SD_JSON_BUILD_PAIR_VARIANT("nodes", nodes));
out:
	sd_json_variant_unref(turns);
	sd_json_variant_unref(nodes);
	return r;
}

static int api_diagnose(sd_varlink *link, sd_json_variant *parameters,
			sd_varlink_method_flags_t flags, void *userdata)
{
	struct host_check checks[HOST_CHECKS_MAX];
	struct api *api = userdata;
	sd_json_variant *value = NULL;
	size_t n;
	int r;

	(void)flags;
	r = sd_varlink_dispatch(link, parameters, (const sd_json_dispatch_field[]){ {} }, NULL);
	if (r != 0)
		return r;
	manager_diagnose(api->manager, checks, &n);
	r = encode_checks(checks, n, &value);
	return call_reply_value(link, r, "checks", value);
}

static void send_event(const struct event *event, void *userdata)
{
	sd_json_variant *value = NULL;

	if (encode_event(event, &value) >= 0)
		(void)sd_varlink_notifybo(userdata, SD_JSON_BUILD_PAIR_VARIANT("event", value));
	sd_json_variant_unref(value);
}

static int api_watch_events(sd_varlink *link, sd_json_variant *parameters,
			    sd_varlink_method_flags_t flags, void *userdata)
{
	struct parameters {
		int history;
	} p = { .history = -1 };
	static const sd_json_dispatch_field table[] = {
		{ "history", SD_JSON_VARIANT_BOOLEAN, sd_json_dispatch_tristate,
		  offsetof(struct parameters, history), SD_JSON_NULLABLE },
		{}
	};
	struct api *api = userdata;
	struct watcher *watcher;
	int r;

	r = sd_varlink_dispatch(link, parameters, table, &p);
	if (r != 0)
		return r;
	if (!(flags & SD_VARLINK_METHOD_MORE))
		return sd_varlink_error(link, SD_VARLINK_ERROR_EXPECTED_MORE, NULL);
	watcher = calloc(1, sizeof(*watcher));
	if (!watcher)
		return -ENOMEM;
	watcher->link = sd_varlink_ref(link);
	list_append(&api->watchers, &watcher->in_api);
	if (p.history > 0)
		events_foreach(manager_events(api->manager), send_event, link);
	return sd_varlink_notifybo(link, SD_JSON_BUILD_PAIR_BOOLEAN("historyEnd", true));
}

/* ---- hooks of the manager */

static void on_event(const struct event *event, void *userdata)
{
	struct api *api = userdata;
	struct watcher *watcher;

	LIST_FOREACH(&api->watchers, watcher, in_api)
		send_event(event, watcher->link);
}

struct api *api_new(struct manager_hooks *ret_hooks)
{
	struct api *api = calloc(1, sizeof(*api));

	if (!api)
		return NULL;
	list_init(&api->watchers);
	api->started_ns = mono_now_ns();
	*ret_hooks = (struct manager_hooks){
		.event = on_event,
		.target_changed = api_send_target,
		.revoked = api_send_revoked,
		.grant_gone = api_send_gone,
		.notice = api_send_notice,
		.watch_gone = api_send_watch_gone,
		.waiting = api_send_waiting,
		.lease_gone = api_send_lease_gone,
		.userdata = api,
	};
	return api;
}

/* ---- connections */

static int on_connect(sd_varlink_server *server, sd_varlink *link, void *userdata)
{
	(void)server;
	(void)userdata;
	int r = sd_varlink_set_allow_fd_passing_output(link, 1);

	/* of ReportPools; what a handler does not take is closed with its message */
	return r < 0 ? r : sd_varlink_set_allow_fd_passing_input(link, 1);
}

static void on_disconnect(sd_varlink_server *server, sd_varlink *link, void *userdata)
{
	struct api *api = userdata;
	struct watcher *watcher;

	(void)server;
	/* when the loop ends it is we who hang up */
	manager_unsubscribe(api->manager, link,
			    /* is_cut= */ sd_event_get_state(api->event) == SD_EVENT_RUNNING);
	manager_unwatch(api->manager, link);
	LIST_FOREACH(&api->watchers, watcher, in_api) {
		if (watcher->link != link)
			continue;
		list_remove(&watcher->in_api);
		sd_varlink_unref(watcher->link);
		free(watcher);
	}
}

/* ---- methods of the manager */

static int run_method(int (*method)(struct call *call), sd_varlink *link,
		      sd_json_variant *parameters, sd_varlink_method_flags_t flags, void *userdata)
{
	struct api *api = userdata;
	struct call call = {
		.link = link,
		.manager = api->manager,
		.listings = &api->listings,
		.parameters = parameters,
		.flags = flags,
		.pidfd = -1,
	};
	int r = method(&call);

	fd_closep(&call.pidfd);
	return r;
}

#define MANAGER_METHOD(name, method)                                          \
	static int name(sd_varlink *link, sd_json_variant *parameters,        \
			sd_varlink_method_flags_t flags, void *userdata)      \
	{                                                                     \
		return run_method(method, link, parameters, flags, userdata); \
	}
MANAGER_METHOD(on_add_slot, api_add_slot)
MANAGER_METHOD(on_set_slot, api_set_slot)
MANAGER_METHOD(on_remove_slot, api_remove_slot)
MANAGER_METHOD(on_join_slot, api_join_slot)
MANAGER_METHOD(on_move_slot, api_move_slot)
MANAGER_METHOD(on_list_slots, api_list_slots)
MANAGER_METHOD(on_list_queue, api_list_queue)
MANAGER_METHOD(on_list_counters, api_list_counters)
MANAGER_METHOD(on_request_memory, api_request_memory)
MANAGER_METHOD(on_explain, api_explain)
MANAGER_METHOD(on_measure_slot, api_measure_slot)
MANAGER_METHOD(on_attach, api_attach)
MANAGER_METHOD(on_report_engine, api_report_engine)
MANAGER_METHOD(on_grow, api_grow)
MANAGER_METHOD(on_return, api_return)
MANAGER_METHOD(on_drain, api_drain)
MANAGER_METHOD(on_detach, api_detach)
MANAGER_METHOD(on_report_pools, api_report_pools)
MANAGER_METHOD(on_list_pools, api_list_pools)
MANAGER_METHOD(on_watch_slot, api_watch_slot)
MANAGER_METHOD(on_report_freed, api_report_freed)

static int api_make_server(struct api *api)
{
	int r = sd_varlink_server_new(&api->server, SD_VARLINK_SERVER_ACCOUNT_UID |
							    SD_VARLINK_SERVER_INHERIT_USERDATA);

	if (r < 0)
		return r;
	(void)sd_varlink_server_set_userdata(api->server, api);
	(void)sd_varlink_server_set_connections_max(api->server, CONNECTIONS_MAX);
	(void)sd_varlink_server_set_connections_per_uid_max(api->server, CONNECTIONS_PER_UID_MAX);
	r = sd_varlink_server_set_info(api->server, "taskmem", "taskmemd", TASKMEM_VERSION, NULL);
	if (r >= 0)
		r = sd_varlink_server_add_interface(api->server, &vl_interface_io_taskmem);
	if (r >= 0)
		r = sd_varlink_server_bind_method_many(
			api->server,
			/* clang-format off */
			API_METHOD("GetInfo"), api_get_info,
			API_METHOD("Diagnose"), api_diagnose,
			API_METHOD("ListSlots"), on_list_slots,
			API_METHOD("AddSlot"), on_add_slot,
			API_METHOD("SetSlot"), on_set_slot,
			API_METHOD("RemoveSlot"), on_remove_slot,
			API_METHOD("JoinSlot"), on_join_slot,
			API_METHOD("Explain"), on_explain,
			API_METHOD("MeasureSlot"), on_measure_slot,
			API_METHOD("ListQueue"), on_list_queue,
			API_METHOD("ListCounters"), on_list_counters,
			API_METHOD("RequestMemory"), on_request_memory,
			API_METHOD("WatchEvents"), api_watch_events,
			API_METHOD("WatchSlot"), on_watch_slot,
			API_METHOD("ReportFreed"), on_report_freed,
			API_METHOD("Attach"), on_attach,
			API_METHOD("ReportEngine"), on_report_engine,
			API_METHOD("Grow"), on_grow,
			API_METHOD("Return"), on_return,
			API_METHOD("Drain"), on_drain,
			API_METHOD("Detach"), on_detach,
			API_METHOD("MoveSlot"), on_move_slot,
			API_METHOD("ReportPools"), on_report_pools,
			API_METHOD("ListPools"), on_list_pools);
	/* clang-format on */
	if (r >= 0)
		r = sd_varlink_server_bind_connect(api->server, on_connect);
	if (r >= 0)
		r = sd_varlink_server_bind_disconnect(api->server, on_disconnect);
	return r;
}

int api_listen(struct api *api, struct manager *manager, sd_event *event, const struct turns *turns,
	       const char *path)
{
	int r;

	api->manager = manager;
	api->event = event;
	api->turns = turns;
	r = api_make_server(api);
	if (r >= 0)
		r = sd_varlink_server_listen_address(api->server, path, 0666);
	if (r >= 0)
		r = sd_varlink_server_attach_event(api->server, event, SD_EVENT_PRIORITY_NORMAL);
	return r < 0 ? r : 0;
}

void api_free(struct api *api)
{
	struct watcher *watcher;

	if (!api)
		return;
	/* The links' disconnect callbacks come first and empty the list. */
	if (api->server)
		(void)sd_varlink_server_shutdown(api->server);
	sd_varlink_server_unref(api->server);
	LIST_FOREACH(&api->watchers, watcher, in_api) {
		sd_varlink_unref(watcher->link);
		free(watcher);
	}
	free(api);
}
