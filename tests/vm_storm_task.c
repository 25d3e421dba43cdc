/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The tasks of vm_storm. A raw task compares what it was answered with what it finds after each
 * restart: every chunk that it was told of and did not give back is there with its content, and
 * what is there beyond that comes from the one call that was cut off. The library's tasks
 * write to their buffers and find the same in them later, whatever happened in between.
 */

#include "vm_storm.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mono.h"
#include "taskmem.h"

#define CHUNKS_MAX 256
#define RECONNECT_USEC 20000 /* emulated processors have better to do than to ask */
#define PAUSE_USEC 5000
#define CALL_TIMEOUT_USEC (10U * 1000000U)

uint64_t storm_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

PRINTF_LIKE(2, 3)
_Noreturn static void task_fail(struct task_page *page, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)vsnprintf(page->error, sizeof(page->error), format, args);
	va_end(args);
	atomic_store(&page->has_failed, true);
	for (;;) /* as it is, for whoever looks */
		pause();
}

/* Stops here as long as the driver wants; returns whether it does. */
static bool task_rests(struct task_page *page, uint32_t held)
{
	unsigned epoch = atomic_load(&page->pause);

	if (epoch == 0)
		return false;
	atomic_store(&page->held, held);
	atomic_store(&page->quiet, epoch);
	usleep(PAUSE_USEC);
	return true;
}

/* ---- raw */

enum outcome { DONE, REFUSED, CUT };

struct raw {
	struct task_page *page;
	uint64_t random;
	sd_varlink *notices, *calls;
	sd_json_variant *attached; /* first reply on notices */
	char error[96];            /* of the last call that was refused */
	bool is_waiting;           /* for the first reply */
	bool is_attached;
	uint32_t grant, n_file;
	uint64_t token; /* of the Attach that has no answer yet */
	uint8_t *base;
	bool held[CHUNKS_MAX];
	/* the call that was cut off, asked again until it is answered */
	enum task_call pending;
	bool has_pending;
	bool asked[CHUNKS_MAX]; /* chunks of a Return */
	uint32_t n_asked;       /* of a Grow */
};

static uint32_t raw_count(const struct raw *raw)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < raw->n_file; i++)
		n += raw->held[i];
	return n;
}

static uint64_t *chunk_word(const struct raw *raw, uint32_t chunk, bool is_last)
{
	size_t offset = chunk * (size_t)CHUNK_BYTES + (is_last ? CHUNK_BYTES - 8 : 0);

	return (uint64_t *)(void *)(raw->base + offset);
}

static uint64_t chunk_tag(const struct raw *raw, uint32_t chunk)
{
	return (uint64_t)getpid() << 40 ^ (uint64_t)raw->grant << 16 ^ chunk;
}

static void chunk_mark(struct raw *raw, uint32_t chunk)
{
	raw->held[chunk] = true;
	*chunk_word(raw, chunk, false) = *chunk_word(raw, chunk, true) = chunk_tag(raw, chunk);
}

static void chunks_check(const struct raw *raw)
{
	for (uint32_t i = 0; i < raw->n_file; i++)
		if (raw->held[i] && (*chunk_word(raw, i, false) != chunk_tag(raw, i) ||
				     *chunk_word(raw, i, true) != chunk_tag(raw, i)))
			task_fail(raw->page, "grant %u: chunk %u lost its content", raw->grant, i);
}

static void raw_disconnect(struct raw *raw)
{
	raw->notices = sd_varlink_close_unref(raw->notices);
	raw->calls = sd_varlink_close_unref(raw->calls);
}

static void raw_forget(struct raw *raw)
{
	if (raw->base)
		(void)munmap(raw->base, raw->n_file * (size_t)CHUNK_BYTES);
	raw->base = NULL;
	raw->n_file = 0;
	raw->is_attached = false;
	memset(raw->held, 0, sizeof(raw->held));
	raw->notices = sd_varlink_close_unref(raw->notices);
}

static enum outcome raw_call(struct raw *raw, const char *method, sd_json_variant *parameters,
			     sd_json_variant **ret_reply)
{
	const char *error = NULL;
	int r = 0;

	if (!raw->calls) {
		r = sd_varlink_connect_address(&raw->calls, STORM_SOCKET);
		if (r >= 0)
			r = sd_varlink_set_relative_timeout(raw->calls, CALL_TIMEOUT_USEC);
	}
	if (r >= 0)
		r = sd_varlink_call(raw->calls, method, parameters, ret_reply, &error);
	sd_json_variant_unref(parameters);
	if (r == -ETIME || r == -ETIMEDOUT)
		task_fail(raw->page, "%s: no answer", method);
	if (r < 0 || (error && strcmp(error, SD_VARLINK_ERROR_DISCONNECTED) == 0)) {
		raw_disconnect(raw);
		return CUT;
	}
	if (!error)
		return DONE;
	(void)snprintf(raw->error, sizeof(raw->error), "%s", error);
	return REFUSED;
}

static int on_notice(sd_varlink *link, sd_json_variant *parameters, const char *error,
		     sd_varlink_reply_flags_t flags, void *userdata)
{
	struct raw *raw = userdata;

	(void)flags;
	if (error) {
		(void)snprintf(raw->error, sizeof(raw->error), "%s", error);
		raw->is_waiting = false;
		return 0;
	}
	if (!raw->is_waiting)
		return 0;
	raw->is_waiting = false;
	raw->attached = sd_json_variant_ref(parameters);
	if (!raw->base) {
		int fd = sd_varlink_take_fd(link, 0);

		raw->n_file = (uint32_t)sd_json_variant_unsigned(
			sd_json_variant_by_key(parameters, "fileChunks"));
		if (fd < 0 || raw->n_file == 0 || raw->n_file > CHUNKS_MAX)
			task_fail(raw->page, "Attach: fd %d, %u chunks", fd, raw->n_file);
		raw->base = mmap(NULL, raw->n_file * (size_t)CHUNK_BYTES, PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_NORESERVE, fd, 0);
		if (raw->base == MAP_FAILED)
			task_fail(raw->page, "mmap: %s", strerror(errno));
		(void)close(fd);
	}
	return 0;
}

/* Sends Attach and waits for its first reply, which is in raw->attached when it is DONE. */
static enum outcome raw_send_attach(struct raw *raw, sd_json_variant *parameters)
{
	uint64_t end = mono_now_ns() + CALL_TIMEOUT_USEC * NS_PER_USEC;
	sd_varlink *link;
	int r = sd_varlink_connect_address(&raw->notices, STORM_SOCKET);

	raw->attached = sd_json_variant_unref(raw->attached);
	raw->error[0] = '\0';
	raw->is_waiting = true;
	link = raw->notices;
	if (r >= 0)
		r = sd_varlink_set_relative_timeout(link, UINT64_MAX);
	if (r >= 0)
		r = sd_varlink_set_allow_fd_passing_input(link, 1);
	if (r >= 0)
		r = sd_varlink_bind_reply(link, on_notice);
	if (r >= 0) {
		(void)sd_varlink_set_userdata(link, raw);
		r = sd_varlink_observe(link, "io.taskmem.Attach", parameters);
	}
	sd_json_variant_unref(parameters);
	while (r >= 0 && raw->is_waiting) {
		r = sd_varlink_process(link);
		if (r == 0)
			r = sd_varlink_wait(link, 1000000);
		if (r == -EINTR)
			r = 0;
		if (mono_now_ns() > end)
			task_fail(raw->page, "Attach: no answer");
	}
	if (raw->attached)
		return DONE;
	if (r >= 0 && raw->error[0] && strcmp(raw->error, SD_VARLINK_ERROR_DISCONNECTED) != 0) {
		raw->notices = sd_varlink_close_unref(raw->notices);
		return REFUSED;
	}
	raw_disconnect(raw);
	return CUT;
}

static void list_chunks(const struct raw *raw, sd_json_variant *reply, bool present[CHUNKS_MAX])
{
	sd_json_variant *list = sd_json_variant_by_key(reply, "chunks");

	memset(present, 0, CHUNKS_MAX * sizeof(*present));
	for (size_t i = 0; i < sd_json_variant_elements(list); i++) {
		uint64_t chunk = sd_json_variant_unsigned(sd_json_variant_by_index(list, i));

		if (chunk >= raw->n_file || present[chunk])
			task_fail(raw->page, "a list of chunks has %llu",
				  (unsigned long long)chunk);
		present[chunk] = true;
	}
}

/* Notes how a call ended. Returns true when it is still to be answered. */
static bool raw_is_cut(struct raw *raw, enum task_call call, enum outcome outcome)
{
	if (outcome != CUT)
		atomic_fetch_add(&raw->page->n_answered[call], 1);
	else if (!raw->has_pending) /* else it is no more than another try */
		atomic_fetch_add(&raw->page->n_cut[call], 1);
	raw->has_pending = outcome == CUT;
	raw->pending = call;
	return outcome == CUT;
}

static void raw_attach(struct raw *raw)
{
	bool present[CHUNKS_MAX];
	sd_json_variant *parameters = NULL;
	enum outcome outcome;

	(void)sd_json_buildo(&parameters, SD_JSON_BUILD_PAIR_UNSIGNED("minChunks", 1),
			     SD_JSON_BUILD_PAIR_UNSIGNED("token", raw->token),
			     SD_JSON_BUILD_PAIR_UNSIGNED("wantedChunks",
							 1 + storm_random_below(&raw->random, 8)));
	outcome = raw_send_attach(raw, parameters);
	if (raw_is_cut(raw, CALL_ATTACH, outcome)) {
		if (raw->base)
			raw_forget(raw);
		return;
	}
	raw->token++;
	if (outcome == REFUSED) {
		if (strcmp(raw->error, "io.taskmem.NoHugePages") != 0)
			task_fail(raw->page, "Attach: %s", raw->error);
		return;
	}
	raw->is_attached = true;
	raw->grant =
		(uint32_t)sd_json_variant_unsigned(sd_json_variant_by_key(raw->attached, "grant"));
	list_chunks(raw, raw->attached, present);
	for (uint32_t i = 0; i < raw->n_file; i++)
		if (present[i])
			chunk_mark(raw, i);
}

/* What is present may differ from what is known by the call that was cut off, by no more. */
static void raw_reconcile(struct raw *raw)
{
	bool present[CHUNKS_MAX];
	uint32_t n_more = 0;

	list_chunks(raw, raw->attached, present);
	for (uint32_t i = 0; i < raw->n_file; i++) {
		bool is_asked = raw->has_pending && raw->pending == CALL_RETURN && raw->asked[i];

		if (raw->held[i] && !present[i] &&
		    !(raw->has_pending && raw->pending == CALL_DETACH))
			task_fail(raw->page, "grant %u: chunk %u is gone", raw->grant, i);
		if (is_asked || raw->held[i] == present[i])
			continue;
		n_more += present[i];
		if (present[i])
			chunk_mark(raw, i);
		else
			raw->held[i] = false;
	}
	if (n_more > (raw->has_pending && raw->pending == CALL_GROW ? raw->n_asked : 0))
		task_fail(raw->page, "grant %u: %u chunks that nobody asked for", raw->grant,
			  n_more);
	if (raw->has_pending && raw->pending == CALL_GROW)
		raw->has_pending = false; /* what came of it is known now */
	if (!raw->has_pending || raw->pending != CALL_DETACH)
		chunks_check(raw);
}

static void raw_resume(struct raw *raw)
{
	sd_json_variant *parameters = NULL;
	enum outcome outcome;

	(void)sd_json_buildo(&parameters, SD_JSON_BUILD_PAIR_UNSIGNED("resumeGrant", raw->grant));
	outcome = raw_send_attach(raw, parameters);
	if (outcome == DONE) {
		raw_reconcile(raw);
	} else if (outcome == CUT) {
		usleep(RECONNECT_USEC);
	} else if (raw->has_pending && raw->pending == CALL_DETACH &&
		   strcmp(raw->error, "io.taskmem.NoSuchGrant") == 0) {
		raw->has_pending = false;
		raw_forget(raw);
	} else {
		task_fail(raw->page, "grant %u was not resumed: %s", raw->grant, raw->error);
	}
}

static void raw_grow(struct raw *raw)
{
	sd_json_variant *parameters = NULL, *reply = NULL;
	bool present[CHUNKS_MAX];
	enum outcome outcome;

	raw->n_asked = 1 + (uint32_t)storm_random_below(&raw->random, 4);
	(void)sd_json_buildo(&parameters, SD_JSON_BUILD_PAIR_UNSIGNED("grant", raw->grant),
			     SD_JSON_BUILD_PAIR_UNSIGNED("chunks", raw->n_asked));
	outcome = raw_call(raw, "io.taskmem.Grow", parameters, &reply);
	if (raw_is_cut(raw, CALL_GROW, outcome))
		return;
	if (outcome == REFUSED) {
		if (strcmp(raw->error, "io.taskmem.NoHugePages") != 0)
			task_fail(raw->page, "Grow: %s", raw->error);
		return;
	}
	list_chunks(raw, reply, present);
	for (uint32_t i = 0; i < raw->n_file; i++) {
		if (!present[i])
			continue;
		if (raw->held[i])
			task_fail(raw->page, "Grow gave chunk %u again", i);
		chunk_mark(raw, i);
	}
}

static void raw_return(struct raw *raw)
{
	sd_json_variant *parameters = NULL, *list = NULL, *reply;
	enum outcome outcome;

	if (!raw->has_pending) { /* else the same list again */
		memset(raw->asked, 0, sizeof(raw->asked));
		for (uint32_t i = 0; i < raw->n_file; i++)
			raw->asked[i] = raw->held[i] && storm_random_below(&raw->random, 2);
		chunks_check(raw);
	}
	for (uint32_t i = 0; i < raw->n_file; i++) {
		if (!raw->asked[i])
			continue;
		raw->held[i] = false;
		(void)madvise(raw->base + i * (size_t)CHUNK_BYTES, CHUNK_BYTES, MADV_DONTNEED);
		(void)sd_json_variant_append_arrayb(&list, SD_JSON_BUILD_UNSIGNED(i));
	}
	if (!list) {
		raw->has_pending = false;
		return;
	}
	(void)sd_json_buildo(&parameters, SD_JSON_BUILD_PAIR_UNSIGNED("grant", raw->grant),
			     SD_JSON_BUILD_PAIR_VARIANT("chunks", list));
	sd_json_variant_unref(list);
	outcome = raw_call(raw, "io.taskmem.Return", parameters, &reply);
	if (!raw_is_cut(raw, CALL_RETURN, outcome) && outcome == REFUSED)
		task_fail(raw->page, "Return: %s", raw->error);
}

static void raw_detach(struct raw *raw)
{
	sd_json_variant *parameters = NULL, *reply;
	enum outcome outcome;

	(void)sd_json_buildo(&parameters, SD_JSON_BUILD_PAIR_UNSIGNED("grant", raw->grant));
	outcome = raw_call(raw, "io.taskmem.Detach", parameters, &reply);
	if (raw_is_cut(raw, CALL_DETACH, outcome))
		return;
	if (outcome == REFUSED)
		task_fail(raw->page, "Detach: %s", raw->error);
	raw_forget(raw);
}

static void raw_step(struct raw *raw)
{
	static const enum task_call dice[] = { CALL_GROW,   CALL_GROW,   CALL_GROW,  CALL_RETURN,
					       CALL_RETURN, CALL_RETURN, CALL_DETACH };
	enum task_call call = dice[storm_random_below(&raw->random, ARRAY_LEN(dice))];

	if (raw->has_pending)
		call = raw->pending;
	if (!raw->is_attached)
		raw_attach(raw);
	else if (call == CALL_GROW)
		raw_grow(raw);
	else if (call == CALL_RETURN)
		raw_return(raw);
	else
		raw_detach(raw);
}

/* Notices, and the end of the connection. */
static void raw_pump(struct raw *raw)
{
	int r = 0;

	while (raw->notices && (r = sd_varlink_process(raw->notices)) > 0)
		;
	if (r < 0)
		raw_disconnect(raw);
}

_Noreturn static void raw_main(struct task_page *page, uint64_t seed)
{
	struct raw raw = { .page = page, .random = seed, .token = 1 };

	for (;;) {
		unsigned quit = atomic_load(&page->quit);

		raw_pump(&raw);
		if (raw.is_attached && !raw.notices) {
			raw_resume(&raw);
			continue;
		}
		if (quit == 1 && raw.is_attached) {
			raw_detach(&raw);
			continue;
		}
		if (quit)
			exit(0);
		if (!raw.has_pending && task_rests(page, raw_count(&raw)))
			continue;
		raw_step(&raw);
		if (!raw.is_attached)
			usleep(RECONNECT_USEC);
	}
}

/* ---- the library's */

#define LIB_POOLS 3
#define LIB_BUFFERS 6
#define LIB_BUFFER_BYTES ((size_t)512 << 10)

struct lib_pool {
	struct tm_pool *pool;
	struct tm_buffer *buffers[LIB_BUFFERS];
	uint64_t tags[LIB_BUFFERS];
};

struct lib {
	struct task_page *page;
	uint64_t random;
	struct tm_slot *slot;
	/* the daemon may count a grant that nobody knows of, or was not told of the end of one */
	bool is_attach_cut, is_detach_cut;
	struct lib_pool pools[LIB_POOLS];
};

static uint64_t *buffer_word(const struct tm_buffer *buffer, bool is_last)
{
	return (uint64_t *)(void *)((uint8_t *)buffer->data +
				    (is_last ? LIB_BUFFER_BYTES - sizeof(uint64_t) : 0));
}

static void buffer_release(struct lib *lib, struct lib_pool *pool, size_t i)
{
	if (!pool->buffers[i])
		return;
	if (*buffer_word(pool->buffers[i], false) != pool->tags[i] ||
	    *buffer_word(pool->buffers[i], true) != pool->tags[i])
		task_fail(lib->page, "a buffer lost its content");
	tm_buffer_release(pool->buffers[i]);
	pool->buffers[i] = NULL;
}

static void buffer_acquire(struct lib *lib, struct lib_pool *pool, size_t i)
{
	struct tm_buffer *buffer = tm_pool_acquire(pool->pool);

	if (!buffer)
		return;
	pool->buffers[i] = buffer;
	pool->tags[i] = storm_random(&lib->random);
	*buffer_word(buffer, false) = *buffer_word(buffer, true) = pool->tags[i];
}

static void lib_close_pool(struct lib *lib, struct lib_pool *pool)
{
	if (!pool->pool)
		return;
	for (size_t i = 0; i < LIB_BUFFERS; i++)
		buffer_release(lib, pool, i);
	if (tm_pool_close(pool->pool) != 0)
		task_fail(lib->page, "a pool without held buffers is busy");
	pool->pool = NULL;
}

static void lib_detach(struct lib *lib)
{
	for (size_t i = 0; i < LIB_POOLS; i++)
		lib_close_pool(lib, &lib->pools[i]);
	lib->is_detach_cut = tm_slot_detach(lib->slot) < 0;
	lib->slot = NULL;
	if (!lib->is_detach_cut)
		atomic_fetch_add(&lib->page->n_answered[CALL_DETACH], 1);
}

static void lib_count(struct lib *lib, enum task_call call, int r)
{
	if (r == -ESTALE || r == -EBADMSG || r == -EINVAL || r == -EDQUOT || r == -ENXIO)
		task_fail(lib->page, "call %d of the library: %s", (int)call, strerror(-r));
	if (r == 0 || r == -ENOBUFS)
		atomic_fetch_add(&lib->page->n_answered[call], 1);
	/* others have not even begun, or may not have; on a busy host daemons are killed one after the
	 * other for longer than the library waits */
	else if (r == -ECONNRESET || r == -ETIMEDOUT)
		atomic_fetch_add(&lib->page->n_cut[call], 1);
}

static void lib_attach(struct lib *lib)
{
	struct tm_attach_options options = { .size = sizeof(options), .min_chunks = 1 };
	int r;

	options.max_chunks = 2 + (uint32_t)storm_random_below(&lib->random, 6);
	r = tm_slot_attach(&options, &lib->slot);
	lib_count(lib, CALL_ATTACH, r);
	lib->is_attach_cut = r < 0 && r != -ENOBUFS;
	if (r < 0)
		usleep(RECONNECT_USEC);
}

static void lib_step(struct lib *lib)
{
	struct lib_pool *pool = &lib->pools[storm_random_below(&lib->random, LIB_POOLS)];
	size_t i = storm_random_below(&lib->random, LIB_BUFFERS);

	if (!lib->slot) {
		lib_attach(lib);
		return;
	}
	if (storm_random_below(&lib->random, 60) == 0) {
		lib_detach(lib);
		return;
	}
	(void)tm_slot_dispatch(lib->slot);
	if (!pool->pool) {
		uint32_t min = (uint32_t)storm_random_below(&lib->random, 9);

		lib_count(lib, CALL_GROW,
			  tm_pool_open(lib->slot, "storm", LIB_BUFFER_BYTES, min, 0, &pool->pool));
	} else if (storm_random_below(&lib->random, 8) == 0) {
		lib_close_pool(lib, pool);
	} else if (pool->buffers[i]) {
		buffer_release(lib, pool, i);
	} else {
		buffer_acquire(lib, pool, i);
	}
	usleep(500);
}

/* Its count is right as soon as it is connected again and nothing is under way. */
static bool lib_rests(struct lib *lib)
{
	struct tm_slot_info info = { .size = sizeof(info) };

	if (atomic_load(&lib->page->pause) == 0)
		return false;
	if (lib->is_detach_cut) { /* a detach that succeeds tells of the earlier ones, too */
		if (lib->slot)
			lib_detach(lib);
		return false;
	}
	if (!lib->slot)
		return !lib->is_attach_cut && task_rests(lib->page, 0);
	(void)tm_slot_dispatch(lib->slot);
	if (tm_slot_get_info(lib->slot, &info) == 0 && info.connected)
		return task_rests(lib->page, info.chunks_held);
	usleep(PAUSE_USEC);
	return true;
}

_Noreturn static void lib_main(struct task_page *page, uint64_t seed)
{
	struct lib lib = { .page = page, .random = seed };

	for (;;) {
		unsigned quit = atomic_load(&page->quit);

		if (quit == 1 && lib.slot)
			lib_detach(&lib);
		if (quit)
			exit(0);
		if (!lib_rests(&lib))
			lib_step(&lib);
	}
}

/* ---- */

static void join(const struct task *task)
{
	struct raw raw = { .page = task->page };
	sd_json_variant *parameters = NULL, *reply;

	(void)sd_json_buildo(&parameters, SD_JSON_BUILD_PAIR_STRING("name", task->slot));
	if (raw_call(&raw, "io.taskmem.JoinSlot", parameters, &reply) != DONE)
		task_fail(task->page, "JoinSlot: %s", raw.error);
	raw_disconnect(&raw);
}

_Noreturn void task_main(const struct task *task, uint64_t seed)
{
	join(task);
	switch (task->kind) {
	case TASK_RAW:
		raw_main(task->page, seed);
	case TASK_LIB:
		lib_main(task->page, seed);
	case TASK_PLAIN:
		break;
	}
	while (atomic_load(&task->page->quit) == 0)
		if (!task_rests(task->page, 0))
			usleep(PAUSE_USEC);
	exit(0);
}
