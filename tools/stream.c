/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The main thread runs the engine, a second one writes the pipe (feed.c), a third one waits for
 * signals and the program's end (program.c). Whoever wants the main thread's attention sets a
 * flag and wakes the engine. When the stream is over its buffers, and without an output everything
 * of the slot, are given back before the program is waited for: it may still compute for hours.
 *
 * The output has two threads and a pool of its own (output.c), and is connected before anything
 * else is begun: a program whose results have nowhere to go is not started.
 */

#include "stream.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/parse.h"
#include "feed.h"
#include "output.h"
#include "program.h"
#include "report.h"
#include "taskmem.h"
#include "tmctl.h"

/* The largest pipe an unprivileged process may have; a busy program is fed in few switches. */
#define PIPE_BYTES (1 << 20)

struct stream {
	const struct stream_options *options;
	struct tm_slot *slot;
	struct tm_pool *pool;
	struct feed *feed;     /* NULL without an input */
	struct output *output; /* NULL without one */
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

	if (stream->feed)
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

static bool has_input(const struct stream_options *options)
{
	return options->listen || options->connect;
}

static int open_slot(struct stream *stream)
{
	const struct stream_options *options = stream->options;
	uint64_t pool_bytes = options->max_buffers * options->buffer_bytes;
	uint32_t n_outputs = options->output ? 1 : 0;
	struct tm_attach_options attach = {
		.size = sizeof(attach),
		.socket = options->socket,
		.min_chunks = n_outputs + (has_input(options) ? 1 : 0),
	};
	int r;

	if (!has_input(options))
		attach.max_chunks = n_outputs;
	else if (pool_bytes > 0)
		attach.max_chunks =
			n_outputs + (uint32_t)((pool_bytes + TM_CHUNK_BYTES - 1) / TM_CHUNK_BYTES);
	r = tm_slot_attach(&attach, &stream->slot);
	return r < 0 ? attach_failed(options, r) : 0;
}

static int open_output(struct stream *stream)
{
	const struct stream_options *options = stream->options;
	int r;

	if (!options->output)
		return 0;
	r = output_open(stream->slot, options->output, options->buffer_bytes, options->latency_us,
			&stream->output);
	if (r == -EINVAL)
		return address_failed(options->output, r);
	if (r >= 0)
		return 0;
	fprintf(stderr, "tmctl: --output %s: %s; the program was not started\n", options->output,
		strerror(-r));
	return TMCTL_RUN_FAILED;
}

static int open_pool(struct stream *stream)
{
	const struct stream_options *options = stream->options;
	int r;

	if (!has_input(options))
		return 0;
	/* one buffer is promised, the rest comes and goes with the slot's share */
	r = tm_pool_open(stream->slot, "run", options->buffer_bytes, 1,
			 (uint32_t)options->max_buffers, &stream->pool);
	return r < 0 ? fail("opening the pool", r) : 0;
}

static int open_engine(struct stream *stream)
{
	static const struct tm_handlers handlers = {
		.size = sizeof(handlers), .open = on_open, .data = on_data, .close = on_close
	};
	const struct stream_options *options = stream->options;
	const struct tm_engine_options engine = { .size = sizeof(engine),
						  .spin_us = options->latency_us };
	struct tm_channel *channel;
	int r;

	if (!has_input(options)) {
		stream->engine_kind = output_get_engine(stream->output);
		return 0;
	}
	r = tm_engine_new(stream->pool, &engine, &handlers, stream, &stream->engine);
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

static int open_pipe(int *ret_read_fd, int *ret_write_fd)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	/* refused when the user has many large pipes: it works with a small one too */
	(void)fcntl(fds[1], F_SETPIPE_SZ, PIPE_BYTES);
	*ret_read_fd = fds[0];
	*ret_write_fd = fds[1];
	return 0;
}

/* Makes the pipes and starts writer, reader and program. */
static int open_program(struct stream *stream)
{
	const struct feed_callbacks callbacks = { tm_buffer_release, on_stop, stream };
	CLEANUP(fd_closep) int read_fd = -1, write_fd = -1;
	int fd, r = 0;

	if (has_input(stream->options)) {
		r = open_pipe(&read_fd, &fd);
		if (r < 0)
			return fail("pipe", r);
		r = feed_new(fd, stream->options->buffer_bytes, &callbacks, &stream->feed);
		if (r < 0) {
			fd_closep(&fd);
			return fail("starting the writer", r);
		}
	}
	if (stream->output) {
		r = open_pipe(&fd, &write_fd);
		if (r >= 0) {
			r = output_start(stream->output, fd);
			if (r < 0)
				fd_closep(&fd);
		}
	}
	if (r >= 0)
		r = program_start(&stream->program, stream->options->argv, read_fd, write_fd);
	if (r == 0)
		return 0;
	if (stream->feed)
		feed_finish(stream->feed);
	feed_free(TAKE(stream->feed));
	return stream_exec_failed(stream->options->argv[0], r);
}

static void announce(const struct stream *stream)
{
	const struct stream_options *options = stream->options;
	char bytes[FORMAT_BYTES_MAX];

	format_bytes(options->buffer_bytes, bytes);
	if (has_input(options))
		fprintf(stderr, "tmctl: %s %s, slot %s, buffers of %s, %s\n",
			options->listen ? "listening at" : "connecting to",
			options->listen ? options->listen : options->connect, options->slot, bytes,
			stream->engine_kind);
	if (options->output)
		fprintf(stderr, "tmctl: sending output to %s, slot %s, buffers of %s, %s\n",
			options->output, options->slot, bytes, output_get_engine(stream->output));
}

static void close_engine(struct stream *stream)
{
	struct tm_engine *engine;

	pthread_mutex_lock(&stream->lock);
	engine = TAKE(stream->engine);
	pthread_mutex_unlock(&stream->lock);
	tm_engine_free(engine); /* closes the channels, which ends their streams */
}

static void close_pool(struct stream *stream)
{
	(void)tm_pool_close(TAKE(stream->pool)); /* the writer has released every buffer */
}

/* The lines at the end, the report, and the status of it all. */
static int conclude(const struct stream *stream, int status)
{
	const struct stream_options *options = stream->options;
	struct report report = {
		.options = options,
		.engine_kind = stream->engine_kind,
		.feed = stream->feed,
		.output = stream->output,
		.n_connections = stream->n_connections,
		.error = stream->error,
	};
	int r;

	/* a single stream that broke must not look like one that ended */
	if (status == 0 && stream->error && (options->connect || options->is_once))
		status = TMCTL_RUN_FAILED;
	if (status == 0 && stream->output && output_get_totals(stream->output).error < 0)
		status = TMCTL_RUN_FAILED;
	report.status = status;
	report_print(&report);
	if (!options->report)
		return status;
	r = report_write(&report);
	if (r < 0)
		return fail("--report", r);
	return status;
}

/* Until the input is over and all of it is in the program's pipe. */
static void run_input(struct stream *stream)
{
	int r = 0;

	while (r >= 0 && !atomic_load(&stream->is_over))
		r = tm_engine_run(stream->engine, -1);
	if (r < 0) {
		stream->error = r;
		(void)fail("receive engine", r);
	}
	close_engine(stream);
	feed_finish(stream->feed);
	close_pool(stream);
}

static int open_all(struct stream *stream)
{
	const bool is_fed = has_input(stream->options);
	const struct program_callbacks callbacks = { is_fed ? on_stop : NULL, on_program_exited,
						     stream };
	int status;

	status = open_slot(stream);
	/* while it connects, a signal still ends tmctl */
	if (status == 0)
		status = open_output(stream);
	if (status != 0)
		return status;
	program_init(&stream->program, &callbacks);
	status = open_pool(stream);
	if (status == 0)
		status = open_engine(stream);
	if (status == 0)
		status = open_program(stream);
	return status;
}

static void close_all(struct stream *stream)
{
	close_engine(stream);
	close_pool(stream);
	output_free(TAKE(stream->output));
	tm_slot_detach(TAKE(stream->slot));
	feed_free(TAKE(stream->feed));
}

int stream_run(const struct stream_options *options)
{
	struct stream stream = { .options = options, .lock = PTHREAD_MUTEX_INITIALIZER };
	int status = open_all(&stream);

	if (status == 0) {
		announce(&stream);
		if (stream.feed)
			run_input(&stream);
		if (!stream.output)
			tm_slot_detach(TAKE(stream.slot));
		status = program_wait(&stream.program);
		if (stream.output) {
			program_restore_signals(&stream.program);
			output_finish(stream.output);
		}
		status = conclude(&stream, status);
	}
	close_all(&stream);
	return status;
}

int stream_exec_failed(const char *program, int error)
{
	fprintf(stderr, "tmctl: %s: %s\n", program, strerror(-error));
	return error == -ENOENT ? TMCTL_RUN_NOT_FOUND : TMCTL_RUN_NOT_EXECUTABLE;
}
