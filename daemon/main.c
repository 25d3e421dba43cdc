/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <systemd/sd-daemon.h>
#include <systemd/sd-event.h>
#include <systemd/sd-json.h>

#include "api/encode.h"
#include "api/server.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/mono.h"
#include "config.h"
#include "kern/freeze.h"
#include "kern/host.h"
#include "manager.h"
#include "message_ids.h"
#include "turns.h"
#include "version.h"

/* taskmemd: options, configuration, the loop, exit status. */

#define CONFIG_FILE TASKMEM_SYSCONFDIR "/taskmem/taskmemd.conf"
#define CONFIG_BYTES_MAX ((size_t)1 << 20)
#define STATUS_USEC 5000000

enum exit_status {
	STATUS_DONE = 0,
	STATUS_FAILED = 1,
	STATUS_USAGE = 2,
	STATUS_CONFIG = 3, /* the configuration is refused */
	STATUS_HOST = 4,   /* the host lacks something */
};

struct options {
	const char *config_file;
	bool is_config_given;
	bool is_check, is_hold, is_json, is_thaw;
	const char *log_level;
};

static int usage(FILE *out, int status)
{
	fprintf(out,
		"taskmemd - gives every stream-processing task its own slice of memory\n"
		"\n"
		"Usage: taskmemd [OPTION...]\n"
		"  --config FILE      configuration (default " CONFIG_FILE ")\n"
		"  --check            say what this host offers and check the configuration, then end\n"
		"  --json             with --check: as JSON\n"
		"  --log-level LEVEL  error, warning, notice, info or debug\n"
		"  --version, --help\n"
		"\n"
		"Runs under systemd (systemctl enable --now taskmemd); ask it with tmctl.\n"
		"Exit status: 0 done, 1 failed, 2 usage, 3 configuration refused, 4 the host lacks\n"
		"something that the message names. See taskmemd(8), taskmemd.conf(5), taskmem(7).\n");
	return status;
}

/* Returns -1 to go on, else the exit status. */
static int parse_options(int argc, char **argv, struct options *o)
{
	enum {
		OPT_CONFIG = 256,
		OPT_CHECK,
		OPT_JSON,
		OPT_HOLD,
		OPT_THAW,
		OPT_LOG_LEVEL,
		OPT_VERSION,
		OPT_HELP
	};
	static const struct option table[] = { { "config", required_argument, NULL, OPT_CONFIG },
					       { "check", no_argument, NULL, OPT_CHECK },
					       { "json", no_argument, NULL, OPT_JSON },
					       { "hold", no_argument, NULL, OPT_HOLD },
					       { "thaw", no_argument, NULL, OPT_THAW },
					       { "log-level", required_argument, NULL,
						 OPT_LOG_LEVEL },
					       { "version", no_argument, NULL, OPT_VERSION },
					       { "help", no_argument, NULL, OPT_HELP },
					       {} };
	int c;

	while ((c = getopt_long(argc, argv, "h", table, NULL)) >= 0) {
		switch (c) {
		case OPT_CONFIG:
			o->config_file = optarg;
			o->is_config_given = true;
			break;
		case OPT_CHECK:
			o->is_check = true;
			break;
		case OPT_JSON:
			o->is_json = true;
			break;
		case OPT_HOLD:
			o->is_hold = true;
			break;
		case OPT_THAW:
			o->is_thaw = true;
			break;
		case OPT_LOG_LEVEL:
			o->log_level = optarg;
			break;
		case OPT_VERSION:
			printf("taskmemd %s\n", TASKMEM_VERSION);
			return STATUS_DONE;
		case 'h':
		case OPT_HELP:
			return usage(stdout, STATUS_DONE);
		default:
			return usage(stderr, STATUS_USAGE);
		}
	}
	if (optind == argc)
		return -1;
	fprintf(stderr, "taskmemd: unexpected argument: %s\n", argv[optind]);
	return usage(stderr, STATUS_USAGE);
}

/* The process that keeps the slots' scope alive while no task runs and no daemon. */
[[noreturn]] static void hold(void)
{
	sigset_t none;

	(void)prctl(PR_SET_NAME, "taskmem-hold");
	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	for (;;)
		pause();
}

static void on_thawed(const char *name, int r, void *userdata)
{
	int *status = userdata;

	if (r == CGDIR_OK) {
		log_event(LOG_LEVEL_WARNING, MESSAGE_SLOT_THAWED, name,
			  "slot %s is thawed: a daemon that has ended had left it frozen", name);
		return;
	}
	log_event(LOG_LEVEL_ERROR, NULL, name, "slot %s is frozen and cannot be thawed: %s", name,
		  r < 0 ? strerror(-r) : "the kernel has no file for it");
	*status = STATUS_FAILED;
}

/* What the unit runs when the daemon has ended. Nothing here may depend on the configuration. */
static int thaw(void)
{
	int status = STATUS_DONE;
	int r = freeze_end_left(on_thawed, &status);

	if (r == -ENOENT) /* it ended before it had slots */
		return STATUS_DONE;
	if (r < 0)
		log_error("slots that a daemon had frozen cannot be looked for: %s",
			  r == -ENXIO ? "this is for taskmemd.service to run; $RUNTIME_DIRECTORY "
					"is not set"
				      : strerror(-r));
	return r < 0 ? STATUS_FAILED : status;
}

/* A missing file is an empty one unless it was named. */
static int load_config(const struct options *o, struct config *config)
{
	CLEANUP(freep) char *text = NULL;
	char error[CONFIG_ERROR_MAX];
	int r = file_read_all(AT_FDCWD, o->config_file, CONFIG_BYTES_MAX, &text, NULL);

	if (r == -ENOENT && !o->is_config_given) {
		config_default(config);
		return 0;
	}
	if (r < 0) {
		log_error("%s: %s", o->config_file, strerror(-r));
		return r;
	}
	r = config_parse(text, o->config_file, config, error);
	if (r < 0)
		log_error("%s", r == -EINVAL ? error : strerror(-r));
	return r;
}

static int print_checks(bool as_json)
{
	struct host_check checks[HOST_CHECKS_MAX];
	sd_json_variant *list = NULL, *reply = NULL;
	bool is_missing = false;
	size_t n;

	host_diagnose(checks, &n);
	for (size_t i = 0; i < n; i++) {
		is_missing = is_missing || checks[i].status == HOST_MISSING;
		if (as_json)
			continue;
		printf("%-9s %s: %s\n", host_status_name(checks[i].status), checks[i].name,
		       checks[i].detail);
		if (checks[i].remedy[0] != '\0')
			printf("%-9s   %s\n", "", checks[i].remedy);
	}
	if (as_json && encode_checks(checks, n, &list) >= 0 &&
	    sd_json_buildo(&reply, SD_JSON_BUILD_PAIR_VARIANT("checks", list)) >= 0)
		(void)sd_json_variant_dump(reply, SD_JSON_FORMAT_NEWLINE, stdout, NULL);
	sd_json_variant_unref(list);
	sd_json_variant_unref(reply);
	return is_missing ? STATUS_HOST : STATUS_DONE;
}

/* ---- the daemon */

struct status_timer {
	const struct manager *manager;
	char last[256];
};

static int on_status_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct status_timer *timer = userdata;
	char status[256];

	manager_status(timer->manager, status, sizeof(status));
	if (strcmp(status, timer->last) != 0) {
		(void)sd_notifyf(0, "STATUS=%s", status);
		memcpy(timer->last, status, sizeof(status));
	}
	(void)sd_event_source_set_time(source, mono_next_usec(usec, STATUS_USEC));
	return 0;
}

static int serve(sd_event *event, const struct config *config, struct api *api,
		 struct manager *manager)
{
	struct status_timer timer = { .manager = manager };
	sd_event_source *source = NULL;
	struct turns turns = {};
	char status[256];
	int r = api_listen(api, manager, event, &turns, config->socket);

	if (r < 0) {
		log_error("%s: %s", config->socket, strerror(-r));
		return r;
	}
	r = sd_event_add_time_relative(event, &source, CLOCK_MONOTONIC, STATUS_USEC, 500000,
				       on_status_timer, &timer);
	if (r >= 0)
		r = sd_event_source_set_enabled(source, SD_EVENT_ON);
	if (r >= 0) {
		(void)sd_notifyf(0, "READY=1\nSTATUS=%s",
				 manager_status(manager, status, sizeof(status)));
		r = turns_loop(event, &turns);
		(void)sd_notify(0, "STOPPING=1");
	}
	if (r < 0)
		log_error("the event loop failed: %s", strerror(-r));
	sd_event_source_disable_unref(source);
	return r > 0 ? -ECANCELED : r; /* a positive code asks systemd for a restart */
}

static int setup_loop(sd_event **ret_event)
{
	sigset_t ends;
	int r;

	sigemptyset(&ends);
	sigaddset(&ends, SIGTERM);
	sigaddset(&ends, SIGINT);
	if (sigprocmask(SIG_BLOCK, &ends, NULL) < 0)
		return -errno;
	(void)signal(SIGPIPE, SIG_IGN);
	r = sd_event_default(ret_event);
	if (r >= 0)
		r = sd_event_add_signal(*ret_event, NULL, SIGTERM, NULL, NULL);
	if (r >= 0)
		r = sd_event_add_signal(*ret_event, NULL, SIGINT, NULL, NULL);
	if (r >= 0)
		r = sd_event_set_watchdog(*ret_event, 1);
	return r;
}

static int run(const struct config *config)
{
	char error[MANAGER_ERROR_MAX] = "";
	struct manager *manager = NULL;
	struct manager_hooks hooks;
	struct api *api = api_new(&hooks);
	sd_event *event = NULL;
	int status = STATUS_FAILED;
	int r = api ? setup_loop(&event) : -ENOMEM;

	if (r < 0) {
		log_error("the event loop cannot be made: %s", strerror(-r));
	} else {
		r = manager_new(config, event, &hooks, &manager, error);
		if (r < 0) {
			log_error("%s", error);
			(void)sd_notifyf(0, "STATUS=%s", error);
			status = r == -EOPNOTSUPP ? STATUS_HOST
				 : r == -EINVAL   ? STATUS_CONFIG
						  : STATUS_FAILED;
		} else if (serve(event, config, api, manager) >= 0) {
			status = STATUS_DONE;
		}
	}
	api_free(api);
	manager_free(manager);
	sd_event_unref(event);
	return status;
}

int main(int argc, char **argv)
{
	struct options options = { .config_file = CONFIG_FILE };
	enum log_level level = LOG_LEVEL_INFO;
	static struct config config;
	int status = parse_options(argc, argv, &options);

	if (status >= 0)
		return status;
	if (options.is_hold)
		hold();
	log_setup(level);
	if (options.is_thaw)
		return thaw();
	if (options.log_level && log_level_parse(options.log_level, &level) < 0) {
		fprintf(stderr, "taskmemd: --log-level %s: error, warning, notice, info or debug\n",
			options.log_level);
		return STATUS_USAGE;
	}
	if (load_config(&options, &config) < 0)
		return STATUS_CONFIG;
	log_setup(options.log_level ? level : config.log_level);
	if (options.is_check)
		return print_checks(options.is_json);
	return run(&config);
}
