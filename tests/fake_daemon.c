/* SPDX-License-Identifier: Apache-2.0 */

#include "fake_daemon_private.h"

#include <fcntl.h>
#include <linux/memfd.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

static void punch(struct fake_daemon *d, uint32_t chunk)
{
	d->present[chunk] = false;
	must(fallocate(d->memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, chunk * CHUNK,
		       CHUNK) == 0,
	     "punch");
}

static void forget(struct fake_daemon *d)
{
	for (uint32_t i = 0; i < d->file_chunks; i++)
		if (d->present[i])
			punch(d, i);
	d->is_granted = false;
	if (d->memfd >= 0)
		close(d->memfd);
	d->memfd = -1;
}

/* Puts @n pages in, scattered on purpose; returns the array of their indexes. */
static sd_json_variant *put_in(struct fake_daemon *d, uint32_t n)
{
	sd_json_variant *indexes = NULL;
	uint32_t chunk = 0;

	while (n > 0) {
		chunk = (chunk + 3) % d->file_chunks;
		while (d->present[chunk] || d->revoked[chunk])
			chunk = (chunk + 1) % d->file_chunks;
		must(fallocate(d->memfd, 0, chunk * CHUNK, CHUNK) == 0, "fallocate");
		d->present[chunk] = true;
		must(sd_json_variant_append_arrayb(&indexes, SD_JSON_BUILD_UNSIGNED(chunk)) >= 0,
		     "append");
		n--;
	}
	if (!indexes)
		must(sd_json_build(&indexes, SD_JSON_BUILD_EMPTY_ARRAY) >= 0, "build");
	return indexes;
}

static sd_json_variant *list(struct fake_daemon *d, const bool *chunks)
{
	sd_json_variant *indexes = NULL;

	for (uint32_t i = 0; i < d->file_chunks; i++)
		if (chunks[i])
			must(sd_json_variant_append_arrayb(&indexes, SD_JSON_BUILD_UNSIGNED(i)) >=
				     0,
			     "append");
	if (!indexes)
		must(sd_json_build(&indexes, SD_JSON_BUILD_EMPTY_ARRAY) >= 0, "build");
	return indexes;
}

static void make_file(struct fake_daemon *d)
{
	d->memfd = memfd_create("fake", MFD_CLOEXEC | MFD_ALLOW_SEALING |
						(d->is_huge ? MFD_HUGETLB | MFD_HUGE_2MB : 0));
	must(d->memfd >= 0, "memfd_create");
	must(ftruncate(d->memfd, d->file_chunks * CHUNK) == 0, "ftruncate");
	if (!d->has_no_seals)
		must(fcntl(d->memfd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0,
		     "seal");
	d->grant++;
	d->is_granted = true;
}

static uint64_t number(sd_json_variant *v, const char *key, uint64_t otherwise)
{
	sd_json_variant *field = sd_json_variant_by_key(v, key);

	return field && sd_json_variant_is_unsigned(field) ? sd_json_variant_unsigned(field)
							   : otherwise;
}

static int tell(struct fake_daemon *d, sd_json_variant *chunks, sd_json_variant *taken,
		bool with_fd)
{
	return sd_varlink_notifybo(
		d->client, SD_JSON_BUILD_PAIR_STRING("slot", "fake"),
		SD_JSON_BUILD_PAIR_INTEGER("node", 1),
		SD_JSON_BUILD_PAIR_UNSIGNED("grant", d->grant),
		SD_JSON_BUILD_PAIR_UNSIGNED("fileChunks", d->file_chunks),
		SD_JSON_BUILD_PAIR_CONDITION(chunks != NULL, "chunks",
					     SD_JSON_BUILD_VARIANT(chunks)),
		SD_JSON_BUILD_PAIR_CONDITION(!chunks, "chunks", SD_JSON_BUILD_EMPTY_ARRAY),
		SD_JSON_BUILD_PAIR_UNSIGNED("targetChunks", d->share),
		SD_JSON_BUILD_PAIR_CONDITION(d->pages_deadline_ns > 0, "deadlineUsec",
					     SD_JSON_BUILD_UNSIGNED(d->pages_deadline_ns / 1000)),
		SD_JSON_BUILD_PAIR_CONDITION(taken != NULL, "revokedChunks",
					     SD_JSON_BUILD_VARIANT(taken)),
		SD_JSON_BUILD_PAIR_CONDITION(d->revocation > 0, "revocation",
					     SD_JSON_BUILD_UNSIGNED(d->revocation)),
		SD_JSON_BUILD_PAIR_CONDITION(with_fd, "fdIndex", SD_JSON_BUILD_UNSIGNED(0)));
}

static int attach(struct fake_daemon *d, sd_varlink *link, sd_json_variant *parameters)
{
	uint64_t resume = number(parameters, "resumeGrant", 0), n;
	sd_json_variant *chunks, *taken = NULL;
	int r;

	if (resume > 0) {
		if (!d->is_granted || resume != d->grant)
			return sd_varlink_errorbo(link, "io.taskmem.NoSuchGrant",
						  SD_JSON_BUILD_PAIR_UNSIGNED("grant", resume));
		chunks = list(d, d->present);
		taken = list(d, d->revoked);
	} else {
		n = number(parameters, "wantedChunks", d->share);
		n = MIN(n, (uint64_t)d->share);
		if (n < number(parameters, "minChunks", 1))
			return sd_varlink_error(link, "io.taskmem.NoHugePages", NULL);
		if (d->is_granted) /* one client at a time: it must have detached unheard */
			forget(d);
		make_file(d);
		chunks = put_in(d, (uint32_t)n);
		must(sd_varlink_set_allow_fd_passing_output(link, 1) >= 0, "allow fds");
		must(sd_varlink_push_dup_fd(link, d->memfd) >= 0, "push fd");
	}
	d->client = sd_varlink_ref(link);
	r = tell(d, chunks, taken, resume == 0);
	sd_json_variant_unref(chunks);
	sd_json_variant_unref(taken);
	return r;
}

static int on_attach(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags,
		     void *userdata)
{
	struct fake_daemon *d = userdata;
	int r;

	pthread_mutex_lock(&d->lock);
	d->n_errors += !(flags & SD_VARLINK_METHOD_MORE) || d->client;
	r = attach(d, link, parameters);
	pthread_mutex_unlock(&d->lock);
	return r;
}

static int grow(struct fake_daemon *d, sd_varlink *link, sd_json_variant *parameters)
{
	uint32_t n_present = count(d, d->present), room;
	sd_json_variant *chunks;
	int r;

	d->n_grows++;
	if (!d->is_granted || number(parameters, "grant", 0) != d->grant)
		return sd_varlink_error(link, "io.taskmem.NoSuchGrant", NULL);
	room = MIN(d->share > n_present ? d->share - n_present : 0, d->available);
	if (room == 0)
		return sd_varlink_error(link, "io.taskmem.NoHugePages", NULL);
	chunks = put_in(d, MIN(room, (uint32_t)number(parameters, "chunks", 0)));
	r = sd_varlink_replybo(link, SD_JSON_BUILD_PAIR_VARIANT("chunks", chunks));
	sd_json_variant_unref(chunks);
	return r;
}

static int on_grow(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags,
		   void *userdata)
{
	struct fake_daemon *d = userdata;
	int r;

	(void)flags;
	pthread_mutex_lock(&d->lock);
	r = grow(d, link, parameters);
	pthread_mutex_unlock(&d->lock);
	return r;
}

static int on_return(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags,
		     void *userdata)
{
	struct fake_daemon *d = userdata;
	sd_json_variant *chunks = sd_json_variant_by_key(parameters, "chunks");
	uint64_t chunk;
	int r;

	(void)flags;
	pthread_mutex_lock(&d->lock);
	for (size_t i = 0; i < sd_json_variant_elements(chunks); i++) {
		chunk = sd_json_variant_unsigned(sd_json_variant_by_index(chunks, i));
		if (chunk < d->file_chunks && d->present[chunk])
			punch(d, (uint32_t)chunk);
		else if (chunk < d->file_chunks && d->revoked[chunk])
			d->revoked[chunk] = number(parameters, "revocation", 0) != d->revocation;
		else
			d->n_errors++;
	}
	r = sd_varlink_replybo(link, SD_JSON_BUILD_PAIR_UNSIGNED("targetChunks", d->share));
	pthread_mutex_unlock(&d->lock);
	return r;
}

static int on_drain(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags,
		    void *userdata)
{
	struct fake_daemon *d = userdata;
	sd_json_variant *chunks = sd_json_variant_by_key(parameters, "chunks");
	uint64_t chunk;
	int r;

	(void)flags;
	pthread_mutex_lock(&d->lock);
	memset(d->draining, 0, d->file_chunks * sizeof(*d->draining));
	for (size_t i = 0; i < sd_json_variant_elements(chunks); i++) {
		chunk = sd_json_variant_unsigned(sd_json_variant_by_index(chunks, i));
		if (chunk < d->file_chunks)
			d->draining[chunk] = true;
		else
			d->n_errors++;
	}
	r = sd_varlink_reply(link, NULL);
	pthread_mutex_unlock(&d->lock);
	return r;
}

/* Takes pages by force: those that drain first, then the last ones. */
static void take_by_force(struct fake_daemon *d)
{
	bool *taken = calloc(d->file_chunks, sizeof(*taken));
	sd_json_variant *indexes;

	must(taken != NULL, "calloc");
	for (int pass = 0; pass < 2; pass++) {
		for (uint32_t i = d->file_chunks; i-- > 0 && d->n_to_revoke > 0;) {
			if (!d->present[i] || (pass == 0 && !d->draining[i]))
				continue;
			punch(d, i);
			taken[i] = d->revoked[i] = true;
			d->n_to_revoke--;
		}
	}
	d->n_to_revoke = 0;
	d->revocation++;
	indexes = list(d, taken);
	if (d->client)
		must(tell(d, NULL, indexes, /* with_fd= */ false) >= 0, "notify");
	sd_json_variant_unref(indexes);
	free(taken);
}

/* Answers the request if it fits. */
static int serve_request(struct fake_daemon *d)
{
	if (d->requested > d->room)
		return 0;
	d->held = d->requested;
	return sd_varlink_notifybo(d->request, SD_JSON_BUILD_PAIR_STRING("slot", "fake"),
				   SD_JSON_BUILD_PAIR_UNSIGNED("heldBytes", d->held));
}

static int request(struct fake_daemon *d, sd_varlink *link, sd_json_variant *parameters)
{
	d->requested = number(parameters, "bytes", 0);
	if (d->requested > d->room && number(parameters, "waitUsec", 0) == 0)
		return sd_varlink_errorbo(link, "io.taskmem.Refused",
					  SD_JSON_BUILD_PAIR_STRING("message", "it does not fit"),
					  SD_JSON_BUILD_PAIR_UNSIGNED("neededBytes", d->requested),
					  SD_JSON_BUILD_PAIR_UNSIGNED("availableBytes", d->room));
	d->request = sd_varlink_ref(link);
	if (d->requested <= d->room)
		return serve_request(d);
	return sd_varlink_notifybo(link, SD_JSON_BUILD_PAIR("waiting", SD_JSON_BUILD_EMPTY_OBJECT));
}

static int on_request(sd_varlink *link, sd_json_variant *parameters,
		      sd_varlink_method_flags_t flags, void *userdata)
{
	struct fake_daemon *d = userdata;
	int r;

	pthread_mutex_lock(&d->lock);
	d->n_errors += !(flags & SD_VARLINK_METHOD_MORE) || d->request;
	r = request(d, link, parameters);
	pthread_mutex_unlock(&d->lock);
	return r;
}

static int on_detach(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags,
		     void *userdata)
{
	struct fake_daemon *d = userdata;

	(void)flags;
	pthread_mutex_lock(&d->lock);
	if (d->is_granted && number(parameters, "grant", 0) == d->grant)
		forget(d);
	else if (number(parameters, "grant", 0) < d->grant)
		d->n_late_detaches++;
	else
		d->n_errors++;
	pthread_mutex_unlock(&d->lock);
	return sd_varlink_reply(link, NULL);
}

static int tell_memory(struct fake_daemon *d, const char *why)
{
	return sd_varlink_notifybo(
		d->watcher, SD_JSON_BUILD_PAIR_STRING("slot", "fake"),
		SD_JSON_BUILD_PAIR_INTEGER("node", 1),
		SD_JSON_BUILD_PAIR_UNSIGNED("notice", d->notice),
		SD_JSON_BUILD_PAIR_STRING("why", why),
		SD_JSON_BUILD_PAIR_UNSIGNED("targetBytes", d->target),
		SD_JSON_BUILD_PAIR_UNSIGNED("beforeBytes", 7),
		SD_JSON_BUILD_PAIR_UNSIGNED("usageBytes", d->usage),
		SD_JSON_BUILD_PAIR_CONDITION(d->max != UINT64_MAX, "maxBytes",
					     SD_JSON_BUILD_UNSIGNED(d->max)),
		SD_JSON_BUILD_PAIR_CONDITION(d->deadline_ns > 0, "deadlineUsec",
					     SD_JSON_BUILD_UNSIGNED(d->deadline_ns / 1000)));
}

static int on_watch(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags,
		    void *userdata)
{
	struct fake_daemon *d = userdata;
	int r;

	(void)parameters;
	pthread_mutex_lock(&d->lock);
	d->n_errors += !(flags & SD_VARLINK_METHOD_MORE) || d->watcher;
	d->watcher = sd_varlink_ref(link);
	r = tell_memory(d, "start");
	pthread_mutex_unlock(&d->lock);
	return r;
}

static int on_report(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags,
		     void *userdata)
{
	struct fake_daemon *d = userdata;

	(void)flags;
	pthread_mutex_lock(&d->lock);
	d->has_report = true;
	d->reported_bytes = number(parameters, "freedBytes", UINT64_MAX);
	d->reported_notice = number(parameters, "notice", UINT64_MAX);
	pthread_mutex_unlock(&d->lock);
	return sd_varlink_reply(link, NULL);
}

static int on_engine(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags,
		     void *userdata)
{
	struct fake_daemon *d = userdata;

	(void)flags;
	pthread_mutex_lock(&d->lock);
	d->n_errors += !d->is_granted || number(parameters, "grant", 0) != d->grant;
	d->has_uring = sd_json_variant_boolean(sd_json_variant_by_key(parameters, "uring"));
	d->has_epoll = sd_json_variant_boolean(sd_json_variant_by_key(parameters, "epoll"));
	pthread_mutex_unlock(&d->lock);
	return sd_varlink_reply(link, NULL);
}

static int on_report_pools(sd_varlink *link, sd_json_variant *parameters,
			   sd_varlink_method_flags_t flags, void *userdata)
{
	struct fake_daemon *d = userdata;

	(void)flags;
	pthread_mutex_lock(&d->lock);
	d->n_errors += number(parameters, "grant", 0) != d->grant;
	if (d->pools_fd >= 0)
		close(d->pools_fd);
	d->pools_fd = sd_varlink_take_fd(link, (size_t)number(parameters, "fdIndex", 99));
	must(d->pools_fd >= 0, "take_fd");
	pthread_mutex_unlock(&d->lock);
	return sd_varlink_reply(link, NULL);
}

static int on_connect(sd_varlink_server *server, sd_varlink *link, void *userdata)
{
	(void)server;
	(void)userdata;
	return sd_varlink_set_allow_fd_passing_input(link, 1);
}

static void on_disconnect(sd_varlink_server *server, sd_varlink *link, void *userdata)
{
	struct fake_daemon *d = userdata;

	(void)server;
	if (link == d->client)
		d->client = sd_varlink_unref(d->client);
	pthread_mutex_lock(&d->lock);
	if (link == d->watcher)
		d->watcher = sd_varlink_unref(d->watcher);
	if (link == d->request) {
		d->request = sd_varlink_unref(d->request);
		d->held = 0;
	}
	pthread_mutex_unlock(&d->lock);
}

static int on_command(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct fake_daemon *d = userdata;
	eventfd_t ticks;

	(void)source;
	(void)revents;
	(void)eventfd_read(fd, &ticks);
	pthread_mutex_lock(&d->lock);
	if (d->should_notify && d->client)
		must(tell(d, NULL, NULL, /* with_fd= */ false) >= 0, "notify");
	d->should_notify = false;
	if (d->n_to_revoke > 0)
		take_by_force(d);
	if (d->should_tell && d->watcher)
		must(tell_memory(d, d->why) >= 0, "tell");
	d->should_tell = false;
	if (d->has_room_changed && d->request && !d->held)
		must(serve_request(d) >= 0, "serve");
	d->has_room_changed = false;
	if (d->should_stop)
		must(sd_event_exit(d->event, 0) >= 0, "exit");
	pthread_mutex_unlock(&d->lock);
	return 0;
}

static void set_up(struct fake_daemon *d)
{
	must(sd_event_new(&d->event) >= 0, "sd_event_new");
	must(sd_event_add_io(d->event, NULL, d->command_fd, EPOLLIN, on_command, d) >= 0, "add_io");
	must(sd_varlink_server_new(&d->server, SD_VARLINK_SERVER_INHERIT_USERDATA) >= 0,
	     "server_new");
	sd_varlink_server_set_userdata(d->server, d);
	must(sd_varlink_server_bind_method_many(
		     d->server, "io.taskmem.Attach", on_attach, "io.taskmem.RequestMemory",
		     on_request, "io.taskmem.Grow", on_grow, "io.taskmem.Return", on_return,
		     "io.taskmem.Drain", on_drain, "io.taskmem.Detach", on_detach,
		     "io.taskmem.WatchSlot", on_watch, "io.taskmem.ReportFreed", on_report,
		     "io.taskmem.ReportEngine", on_engine, "io.taskmem.ReportPools",
		     on_report_pools) >= 0,
	     "bind_method");
	must(sd_varlink_server_bind_connect(d->server, on_connect) >= 0, "bind_connect");
	must(sd_varlink_server_bind_disconnect(d->server, on_disconnect) >= 0, "bind_disconnect");
	must(sd_varlink_server_listen_address(d->server, d->socket, 0600) >= 0, "listen");
	must(sd_varlink_server_attach_event(d->server, d->event, 0) >= 0, "attach_event");
}

static void *serve(void *userdata)
{
	struct fake_daemon *d = userdata;

	must(sd_event_loop(d->event) >= 0, "loop");
	sd_varlink_server_shutdown(d->server);
	d->client = sd_varlink_unref(d->client);
	d->watcher = sd_varlink_unref(d->watcher);
	d->request = sd_varlink_unref(d->request);
	d->held = 0;
	d->server = sd_varlink_server_unref(d->server);
	d->event = sd_event_unref(d->event);
	return NULL;
}

struct fake_daemon *fake_daemon_new(uint32_t file_chunks, uint32_t share)
{
	struct fake_daemon *d = calloc(1, sizeof(*d));

	must(d, "calloc");
	strcpy(d->directory, "/tmp/taskmem-test-XXXXXX");
	must(mkdtemp(d->directory), "mkdtemp");
	snprintf(d->socket, sizeof(d->socket), "%s/socket", d->directory);
	d->present = calloc(file_chunks, sizeof(*d->present));
	d->revoked = calloc(file_chunks, sizeof(*d->revoked));
	d->draining = calloc(file_chunks, sizeof(*d->draining));
	must(d->revoked && d->draining && d->present, "calloc");
	d->file_chunks = file_chunks;
	d->share = share;
	d->available = file_chunks;
	d->memfd = d->pools_fd = -1;
	d->max = UINT64_MAX;
	pthread_mutex_init(&d->lock, NULL);
	fake_daemon_start(d);
	return d;
}

void fake_daemon_start(struct fake_daemon *d)
{
	d->command_fd = eventfd(0, EFD_CLOEXEC);
	must(d->command_fd >= 0, "eventfd");
	d->should_stop = false;
	d->is_running = true;
	pthread_mutex_lock(&d->lock);
	d->has_uring = d->has_epoll = false; /* a new daemon knows of no engine */
	set_up(d);
	pthread_mutex_unlock(&d->lock);
	must(pthread_create(&d->thread, NULL, serve, d) == 0, "pthread_create");
}

static void command(struct fake_daemon *d, bool *flag)
{
	pthread_mutex_lock(&d->lock);
	*flag = true;
	must(eventfd_write(d->command_fd, 1) == 0, "eventfd_write");
	pthread_mutex_unlock(&d->lock);
}

void fake_daemon_stop(struct fake_daemon *d)
{
	command(d, &d->should_stop);
	must(pthread_join(d->thread, NULL) == 0, "join");
	close(d->command_fd);
	unlink(d->socket);
	d->is_running = false;
}

void fake_daemon_free(struct fake_daemon *d)
{
	if (d->is_running)
		fake_daemon_stop(d);
	forget(d);
	rmdir(d->directory);
	if (d->pools_fd >= 0)
		close(d->pools_fd);
	pthread_mutex_destroy(&d->lock);
	free(d->present);
	free(d->revoked);
	free(d->draining);
	free(d);
}

void fake_daemon_set_share(struct fake_daemon *d, uint32_t share)
{
	pthread_mutex_lock(&d->lock);
	d->share = share;
	pthread_mutex_unlock(&d->lock);
	if (d->is_running)
		command(d, &d->should_notify);
}

void fake_daemon_set_deadline(struct fake_daemon *d, uint64_t deadline_ns)
{
	pthread_mutex_lock(&d->lock);
	d->pages_deadline_ns = deadline_ns;
	pthread_mutex_unlock(&d->lock);
	if (d->is_running)
		command(d, &d->should_notify);
}

void fake_daemon_revoke(struct fake_daemon *d, uint32_t n)
{
	pthread_mutex_lock(&d->lock);
	d->n_to_revoke = n;
	if (d->is_running)
		must(eventfd_write(d->command_fd, 1) == 0, "eventfd_write");
	else
		take_by_force(d);
	pthread_mutex_unlock(&d->lock);
}

void fake_daemon_set_available(struct fake_daemon *d, uint32_t available)
{
	pthread_mutex_lock(&d->lock);
	d->available = available;
	pthread_mutex_unlock(&d->lock);
}

void fake_daemon_omit_seals(struct fake_daemon *d)
{
	pthread_mutex_lock(&d->lock);
	d->has_no_seals = true;
	pthread_mutex_unlock(&d->lock);
}

void fake_daemon_use_huge_pages(struct fake_daemon *d)
{
	pthread_mutex_lock(&d->lock);
	d->is_huge = true;
	pthread_mutex_unlock(&d->lock);
}

void fake_daemon_forget(struct fake_daemon *d)
{
	pthread_mutex_lock(&d->lock);
	d->is_granted = false;
	pthread_mutex_unlock(&d->lock);
}

void fake_daemon_set_room(struct fake_daemon *d, uint64_t bytes)
{
	pthread_mutex_lock(&d->lock);
	d->room = bytes;
	d->has_room_changed = true;
	pthread_mutex_unlock(&d->lock);
	must(eventfd_write(d->command_fd, 1) == 0, "eventfd_write");
}

void fake_daemon_tell(struct fake_daemon *d, const char *why, uint64_t target, uint64_t usage,
		      uint64_t max, uint64_t deadline_ns)
{
	pthread_mutex_lock(&d->lock);
	d->why = why;
	d->notice++;
	d->target = target;
	d->usage = usage;
	d->max = max;
	d->deadline_ns = deadline_ns;
	pthread_mutex_unlock(&d->lock);
	if (d->is_running)
		command(d, &d->should_tell);
}
