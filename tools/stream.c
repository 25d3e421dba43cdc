/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The main thread runs the engine, a second one writes the pipe (feed.c), a third one waits for
 * signals and the program's end (program.c). Whoever wants the main thread's attention sets a
 * flag and wakes the engine. When the stream is over everything of the slot is given back
 * before the program is waited for: it may still compute for hours.
 */

#include "stream.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mono.h"
#include "base/parse.h"
#include "feed.h"
#include "program.h"
#include "taskmem.h"
#include "tmctl.h"

/* The largest pipe an unprivileged process may have; a busy program is fed in few switches. */
#define PIPE_BYTES (1 << 20)

struct stream {
	const struct stream_options *options;
	struct tm_slot *slot;
	struct tm_pool *pool;
	struct feed *feed;
	struct program program;
	const char *engine_kind;
	int error;              /* of the first connection that failed */
	uint32_t n_connections; /* opened */
	atomic_bool is_over;
	pthread_mutex_t lock; /* for engine: wakers come from two other threads */
	struct tm_engine *engine;
};

static void end_stream(struct stream *stream)
{
	atomic_store(&stream->is_over, true);
	pthread_mutex_lock(&stream->lock);
	if (stream->engine)
		(void)tm_engine_wakeup(stream->engine); /* fails only when it is awake */
	pthread_mutex_unlock(&stream->lock);
}

static void on_stop(void *userdata)
{
	end_stream(userdata);
}

/* Nobody reads the pipe: what is still queued must only be released. */
static void on_program_exited(void *userdata)
{
	struct stream *stream = userdata;

	feed_abort(stream->feed);
	end_stream(stream);
}

static int on_open(struct tm_channel *channel, void *userdata)
{
	struct stream *stream = userdata;
	struct feed_stream *fed;

	/* connections that were accepted before the first one had ended */
	if (atomic_load(&stream->is_over))
		return -ECANCELED;
	fed = feed_open(stream->feed, tm_channel_peer(channel));
	if (!fed)
		return -ENOMEM;
	tm_channel_set_userdata(channel, fed);
	stream->n_connections++;
	return 0;
}

static void on_data(struct tm_channel *channel, struct tm_buffer *buffer, uint32_t offset,
		    uint32_t length, void *userdata)
{
	struct stream *stream = userdata;
	const char *data = (const char *)buffer->data + offset;

	if (feed_push(stream->feed, tm_channel_get_userdata(channel), buffer, data, length) < 0) {
		stream->error = -ENOMEM;
		tm_channel_close(channel);
	}
}

static void on_close(struct tm_channel *channel, int error, void *userdata)
{
	struct stream *stream = userdata;
	struct feed_stream *fed = tm_channel_get_userdata(channel);

	if (error == -ECANCELED) /* we closed it */
		error = 0;
	if (error < 0) {
		fprintf(stderr, "tmctl: connection %s: %s\n",
			fed ? tm_channel_peer(channel) : stream->options->connect,
			strerror(-error));
		if (!stream->error)
			stream->error = error;
	}
	if (fed)
		feed_close(stream->feed, fed, error);
	if (stream->options->connect || stream->options->is_once)
		atomic_store(&stream->is_over, true);
}

static int fail(const char *what, int error)
{
	fprintf(stderr, "tmctl: %s: %s\n", what, strerror(-error));
	return TMCTL_RUN_FAILED;
}

static int attach_failed(const struct stream_options *options, int error)
{
	if (error == -ENOBUFS)
		fprintf(stderr,
			"tmctl: slot \"%s\" has no huge pages for buffers now; give it some "
			"with: tmctl set %s pool=8M\n",
			options->slot, options->slot);
	else
		return fail("attaching to the slot", error);
	return TMCTL_RUN_FAILED;
}

static int open_pool(struct stream *stream)
{
	const struct stream_options *options = stream->options;
	uint64_t pool_bytes = options->max_buffers * options->buffer_bytes;
	const struct tm_attach_options attach = {
		.size = sizeof(attach),
		.socket = options->socket,
		.max_chunks = (uint32_t)((pool_bytes + TM_CHUNK_BYTES - 1) / TM_CHUNK_BYTES),
	};
	int r = tm_slot_attach(&attach, &stream->slot);

	if (r < 0)
		return attach_failed(options, r);
	/* one buffer is promised, the rest comes and goes with the slot's share */
	r = tm_pool_open(stream->slot, "run", options->buffer_bytes, 1,
			 (uint32_t)options->max_buffers, &stream->pool);
	return r < 0 ? fail("opening the pool", r) : 0;
}

static int address_failed(const char *address, int error)
{
	if (error != -EINVAL)
		return fail(address, error);
	fprintf(stderr,
		"tmctl: \"%s\" is no address; right are tcp:HOST:PORT, tcp:[V6]:PORT, "
		"unix:/PATH and unix:@NAME\n",
		address);
	return TMCTL_RUN_FAILED;
}

static int open_engine(struct stream *stream)
{
	static const struct tm_handlers handlers = {
		.size = sizeof(handlers), .open = on_open, .data = on_data, .close = on_close
	};
	const struct stream_options *options = stream->options;
	const struct tm_engine_options engine = { .size = sizeof(engine) };
	struct tm_channel *channel;
	int r = tm_engine_new(stream->pool, &engine, &handlers, stream, &stream->engine);

	if (r < 0)
		return fail("starting the receive engine", r);
	if (tm_engine_get_kind(stream->engine) == TM_ENGINE_EPOLL) {
		stream->engine_kind = "epoll";
		fputs("tmctl: receiving with epoll: io_uring is refused here, or TASKMEM_ENGINE "
		      "says so\n",
		      stderr);
	} else {
		stream->engine_kind = "io_uring";
	}
	if (options->listen)
		r = tm_engine_listen(stream->engine, options->listen);
	else
		r = tm_engine_connect(stream->engine, options->connect, &channel);
	return r < 0 ? address_failed(options->listen ? options->listen : options->connect, r) : 0;
}

/* Makes the pipe and starts writer and program. */
static int open_program(struct stream *stream)
{
	const struct feed_callbacks callbacks = { tm_buffer_release, on_stop, stream };
	CLEANUP(fd_closep) int read_fd = -1;
	int fds[2], r;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return fail("pipe", -errno);
	read_fd = fds[0];
	/* refused when the user has many large pipes: it works with a small one too */
	(void)fcntl(fds[1], F_SETPIPE_SZ, PIPE_BYTES);
	r = feed_new(fds[1], stream->options->buffer_bytes, &callbacks, &stream->feed);
	if (r < 0) {
		fd_closep(&fds[1]);
		return fail("starting the writer", r);
	}
	r = program_start(&stream->program, stream->options->argv, read_fd);
	if (r == 0)
		return 0;
	feed_finish(stream->feed);
	feed_free(TAKE(stream->feed));
	return stream_exec_failed(stream->options->argv[0], r);
}

static void announce(const struct stream *stream)
{
	const struct stream_options *options = stream->options;
	char bytes[FORMAT_BYTES_MAX];

	fprintf(stderr, "tmctl: %s %s, slot %s, buffers of %s, %s\n",
		options->listen ? "listening at" : "connecting to",
		options->listen ? options->listen : options->connect, options->slot,
		format_bytes(options->buffer_bytes, bytes), stream->engine_kind);
}

static void close_engine(struct stream *stream)
{
	struct tm_engine *engine;

	pthread_mutex_lock(&stream->lock);
	engine = TAKE(stream->engine);
	pthread_mutex_unlock(&stream->lock);
	tm_engine_free(engine); /* closes the channels, which ends their streams */
}

static void close_slot(struct stream *stream)
{
	(void)tm_pool_close(TAKE(stream->pool)); /* the writer has released every buffer */
	tm_slot_detach(TAKE(stream->slot));
}

static double seconds_of(const struct feed_totals *totals)
{
	if (totals->last_ns <= totals->first_ns || totals->first_ns == 0)
		return 0;
	return (double)(totals->last_ns - totals->first_ns) / (double)NS_PER_SEC;
}

static double rate_of(const struct feed_totals *totals)
{
	double seconds = seconds_of(totals);

	return seconds > 0 ? (double)totals->bytes / seconds / (1 << 20) : 0;
}

static int write_report(const struct stream *stream, const struct feed_totals *totals, int status)
{
	CLEANUP(sd_json_variant_unrefp) sd_json_variant *report = NULL, *streams = NULL;
	const struct stream_options *options = stream->options;
	char sum[9];
	int r = feed_describe_streams(stream->feed, &streams);

	if (r < 0)
		return r;
	snprintf(sum, sizeof(sum), "%08x", totals->crc32);
	r = sd_json_buildo(
		&report, SD_JSON_BUILD_PAIR_STRING("slot", options->slot),
		SD_JSON_BUILD_PAIR_STRING("engine", stream->engine_kind),
		SD_JSON_BUILD_PAIR_UNSIGNED("bytes", totals->bytes),
		SD_JSON_BUILD_PAIR_REAL("seconds", seconds_of(totals)),
		SD_JSON_BUILD_PAIR_REAL("mibPerSecond", rate_of(totals)),
		SD_JSON_BUILD_PAIR_UNSIGNED("buffers", totals->buffers),
		SD_JSON_BUILD_PAIR_UNSIGNED("bufferBytes", options->buffer_bytes),
		SD_JSON_BUILD_PAIR_UNSIGNED("connections", stream->n_connections),
		SD_JSON_BUILD_PAIR_UNSIGNED("newlinesAdded", totals->newlines_added),
		SD_JSON_BUILD_PAIR_STRING("crc32", sum),
		SD_JSON_BUILD_PAIR_STRING("error", stream->error ? strerror(-stream->error) : ""),
		SD_JSON_BUILD_PAIR_INTEGER("exitStatus", status),
		SD_JSON_BUILD_PAIR_VARIANT("streams", streams));
	if (r >= 0)
		r = sd_json_variant_dump(report, SD_JSON_FORMAT_NEWLINE, options->report, NULL);
	if (r >= 0 && fflush(options->report) != 0)
		r = -errno;
	return r < 0 ? r : 0;
}

/* The line at the end, the report, and the status of it all. */
static int conclude(const struct stream *stream, int status)
{
	const struct feed_totals totals = feed_get_totals(stream->feed);
	int r;

	/* a single stream that broke must not look like one that ended */
	if (status == 0 && stream->error && (stream->options->connect || stream->options->is_once))
		status = TMCTL_RUN_FAILED;
	fprintf(stderr,
		"tmctl: %" PRIu64 " bytes in %.2f s, %.1f MiB/s, %" PRIu64 " buffers, %" PRIu32
		" connection%s, crc32 %08x, engine %s\n",
		totals.bytes, seconds_of(&totals), rate_of(&totals), totals.buffers,
		stream->n_connections, stream->n_connections == 1 ? "" : "s", totals.crc32,
		stream->engine_kind);
	if (!stream->options->report)
		return status;
	r = write_report(stream, &totals, status);
	if (r < 0)
		return fail("--report", r);
	return status;
}

int stream_run(const struct stream_options *options)
{
	struct stream stream = { .options = options, .lock = PTHREAD_MUTEX_INITIALIZER };
	const struct program_callbacks callbacks = { on_stop, on_program_exited, &stream };
	int status, r = 0;

	program_init(&stream.program, &callbacks);
	status = open_pool(&stream);
	if (status == 0)
		status = open_engine(&stream);
	if (status == 0)
		status = open_program(&stream);
	if (status != 0) {
		close_engine(&stream);
		close_slot(&stream);
		return status;
	}
	announce(&stream);
	while (r >= 0 && !atomic_load(&stream.is_over))
		r = tm_engine_run(stream.engine, -1);
	if (r < 0) {
		stream.error = r;
		(void)fail("receive engine", r);
	}
	close_engine(&stream);
	feed_finish(stream.feed);
	close_slot(&stream);
	status = conclude(&stream, program_wait(&stream.program));
	feed_free(stream.feed);
	return status;
}

int stream_exec_failed(const char *program, int error)
{
	fprintf(stderr, "tmctl: %s: %s\n", program, strerror(-error));
	return error == -ENOENT ? TMCTL_RUN_NOT_FOUND : TMCTL_RUN_NOT_EXECUTABLE;
}
