/* SPDX-License-Identifier: Apache-2.0 */

/*
 * run: this very process is moved into the slot by the daemon, and whatever it starts or
 * becomes is born there. No byte of the program's memory is ever billed elsewhere.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mono.h"
#include "base/parse.h"
#include "client.h"
#include "field.h"
#include "stream.h"
#include "tmctl.h"

#define BUFFER_DEFAULT (UINT64_C(32) << 10)
#define BUFFER_MIN (UINT64_C(4) << 10)
#define BUFFER_MAX (UINT64_C(1) << 20)
/* So that the pool's size in bytes does not overflow; the slot's share ends far below. */
#define BUFFERS_MAX (UINT64_C(1) << 30)
/* Of the library. */
#define LATENCY_MAX_NS NS_PER_SEC

enum {
	OPTION_LISTEN = OPTION_OF_VERB,
	OPTION_CONNECT,
	OPTION_BUFFER,
	OPTION_BUFFERS,
	OPTION_REPORT,
	OPTION_ONCE,
	OPTION_OUTPUT,
	OPTION_LATENCY,
};

static void fclosep(FILE **file)
{
	if (*file)
		fclose(*file);
}

/* The last component of our path in the one hierarchy of cgroup v2, or NULL. */
static const char *own_cgroup(char *text)
{
	char *line = text, *slash;

	while (strncmp(line, "0::", 3) != 0) {
		line = strchr(line, '\n');
		if (!line)
			return NULL;
		line++;
	}
	line[strcspn(line, "\n")] = '\0';
	slash = strrchr(line, '/');
	return slash ? slash + 1 : NULL;
}

/* The daemon's word is not enough: a program outside of its slot is a program without limits. */
static int verify_slot(const char *slot)
{
	char text[4096];
	ssize_t n = file_read_small(AT_FDCWD, "/proc/self/cgroup", text, sizeof(text));
	const char *found = n < 0 ? NULL : own_cgroup(text);

	if (found && strcmp(found, slot) == 0)
		return 0;
	fprintf(stderr,
		"tmctl: the daemon moved this process, but it runs in cgroup \"%s\", not in "
		"\"%s\"\n",
		found ? found : "?", slot);
	return TMCTL_RUN_FAILED;
}

static int join_slot(const struct options *options, const char *name)
{
	CLEANUP(sd_varlink_close_unrefp) sd_varlink *link = NULL;
	sd_json_variant *reply;

	if (client_ask(options->socket, "JoinSlot", name, &link, &reply) != 0)
		return TMCTL_RUN_FAILED;
	return verify_slot(field_text(reply, "slot", name));
}

static int parse_buffer(const char *text, struct stream_options *stream)
{
	if (parse_bytes(text, &stream->buffer_bytes) == 0 && stream->buffer_bytes >= BUFFER_MIN &&
	    stream->buffer_bytes <= BUFFER_MAX &&
	    (stream->buffer_bytes & (stream->buffer_bytes - 1)) == 0)
		return -1;
	return usage_error(&verb_run,
			   "--buffer %s: a power of two from 4K to 1M; the default is 32K", text);
}

static int parse_buffers(const char *text, struct stream_options *stream)
{
	if (parse_u64(text, BUFFERS_MAX, &stream->max_buffers) == 0 && stream->max_buffers > 0)
		return -1;
	return usage_error(&verb_run, "--buffers %s: a number from 1 on", text);
}

/* In microseconds; less than one would be none. */
static int parse_latency(const char *text, struct stream_options *stream)
{
	uint64_t ns;

	if (parse_duration_ns(text, &ns) == 0 && ns >= NS_PER_USEC && ns <= LATENCY_MAX_NS) {
		stream->latency_us = (uint32_t)(ns / NS_PER_USEC);
		return -1;
	}
	return usage_error(&verb_run,
			   "--latency %s: a time from 1us to 1s, as 50us; the default is none",
			   text);
}

static int open_report(const char *path, FILE **ret_report)
{
	*ret_report = fopen(path, "we");
	if (*ret_report)
		return -1;
	fprintf(stderr, "tmctl: --report %s: %s\n", path, strerror(errno));
	return TMCTL_RUN_FAILED;
}

static int take_option(struct options *options, struct stream_options *stream, int code)
{
	switch (code) {
	case OPTION_LISTEN:
		stream->listen = optarg;
		return -1;
	case OPTION_CONNECT:
		stream->connect = optarg;
		return -1;
	case OPTION_OUTPUT:
		stream->output = optarg;
		return -1;
	case OPTION_BUFFER:
		return parse_buffer(optarg, stream);
	case OPTION_BUFFERS:
		return parse_buffers(optarg, stream);
	case OPTION_LATENCY:
		return parse_latency(optarg, stream);
	case OPTION_REPORT:
		return open_report(optarg, &stream->report);
	case OPTION_ONCE:
		stream->is_once = true;
		return -1;
	default:
		return common_option(options, &verb_run, code);
	}
}

/* SLOT and options up to PROGRAM, whose own options are not ours. */
static int parse(struct options *options, struct stream_options *stream, int argc, char *argv[])
{
	static const struct option table[] = {
		{ "listen", required_argument, NULL, OPTION_LISTEN },
		{ "connect", required_argument, NULL, OPTION_CONNECT },
		{ "output", required_argument, NULL, OPTION_OUTPUT },
		{ "buffer", required_argument, NULL, OPTION_BUFFER },
		{ "buffers", required_argument, NULL, OPTION_BUFFERS },
		{ "latency", required_argument, NULL, OPTION_LATENCY },
		{ "report", required_argument, NULL, OPTION_REPORT },
		{ "once", no_argument, NULL, OPTION_ONCE },
		COMMON_OPTIONS
	};
	int code, status;

	/* "-": words come in order, as option 1, so that the second one can end it */
	while ((code = getopt_long(argc, argv, "-h", table, NULL)) >= 0) {
		if (code == 1 && stream->slot) {
			optind--;
			break;
		}
		if (code == 1) {
			stream->slot = optarg;
			continue;
		}
		status = take_option(options, stream, code);
		if (status >= 0)
			return status;
	}
	if (!stream->slot && optind < argc)
		stream->slot = argv[optind++];
	if (!stream->slot || optind >= argc)
		return usage_error(&verb_run, "the name of a slot and a program are needed");
	if (stream->listen && stream->connect)
		return usage_error(&verb_run, "--listen and --connect exclude each other");
	if (!stream->listen && !stream->connect && stream->is_once)
		return usage_error(&verb_run, "--once needs --listen or --connect");
	if (!stream->listen && !stream->connect && !stream->output && stream->report)
		return usage_error(&verb_run, "--report needs --listen, --connect or --output");
	if (!stream->listen && !stream->connect && !stream->output && stream->latency_us > 0)
		return usage_error(&verb_run, "--latency needs --listen, --connect or --output");
	stream->argv = argv + optind;
	return -1;
}

static int run_main(struct options *options, int argc, char *argv[])
{
	CLEANUP(fclosep) FILE *report = NULL;
	struct stream_options stream = { .buffer_bytes = BUFFER_DEFAULT };
	int status = parse(options, &stream, argc, argv);

	report = stream.report;
	if (status >= 0) /* 2 would be taken for the program's own */
		return status == TMCTL_USAGE ? TMCTL_RUN_FAILED : status;
	stream.socket = options->socket;
	status = join_slot(options, stream.slot);
	if (status != 0)
		return status;
	if (stream.listen || stream.connect || stream.output)
		return stream_run(&stream);
	fflush(stdout);
	execvp(stream.argv[0], stream.argv);
	return stream_exec_failed(stream.argv[0], -errno);
}

static const char run_help[] =
	"Usage: tmctl run SLOT [--] PROGRAM [ARGUMENT...]\n"
	"       tmctl run SLOT --listen ADDR [--once] [OPTION...] -- PROGRAM [ARGUMENT...]\n"
	"       tmctl run SLOT --connect ADDR [OPTION...] -- PROGRAM [ARGUMENT...]\n"
	"       tmctl run SLOT ... --output ADDR [OPTION...] -- PROGRAM [ARGUMENT...]\n"
	"Run a program in a slot: all of its memory is the slot's. With an address, bytes are\n"
	"received into the slot's huge pages and fed to the program's standard input; a\n"
	"program that reads slowly slows the senders down. With --output, what the program\n"
	"writes to its standard output is sent; a receiver that reads slowly slows it down.\n"
	"\n"
	"ADDR is tcp:HOST:PORT, tcp:[V6]:PORT, unix:/PATH or unix:@NAME (abstract).\n"
	"  --listen ADDR   take any number of connections; lines of different ones are not\n"
	"                  mixed, unless a line is longer than a buffer\n"
	"  --once          end with the first connection\n"
	"  --connect ADDR  end with this connection\n"
	"  --output ADDR   connect and send standard output there, beside an input or without;\n"
	"                  takes 2 MiB of the slot's pool\n"
	"  --buffer SIZE   a power of two from 4K to 1M; default 32K\n"
	"  --buffers N     use at most N buffers; default: all that the slot's pool gives\n"
	"  --latency TIME  watch the connections for so long before sleeping, 1us to 1s: small\n"
	"                  messages are passed on sooner, and a processor is busy meanwhile\n"
	"  --report FILE   write bytes, seconds, rate and checksums as JSON\n"
	"\n"
	"SIGTERM or ^C ends the stream: what was received is written, the program reads end of\n"
	"file. A second signal, or the first after 30 seconds, is passed on to the program.\n"
	"\n"
	"Examples:\n"
	"  tmctl run batch -- make -j4\n"
	"  tmctl run ingest --listen tcp:0.0.0.0:7000 -- python3 count_words.py\n"
	"  tmctl run ingest --connect tcp:[::1]:7000 --report /tmp/r.json -- sort -u -o out\n"
	"  tmctl run join --listen tcp:*:7000 --output tcp:next:7001 -- python3 join.py\n"
	"\n"
	"Exit status: the program's own; 128+n if signal n ended it; 125 if tmctl failed, or\n"
	"a connection could not be made or broke; 126 the program cannot be executed; 127 it is not found.\n";

const struct verb verb_run = {
	.name = "run",
	.purpose = "run a program in a slot, fed from the network and writing to it",
	.help = run_help,
	.run = run_main,
};
