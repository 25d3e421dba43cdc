/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The program that "run" feeds or listens to: started with pipes, watched by a thread. */

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/types.h>

#include "base/attr.h"

/* Both are called by the watching thread. */
struct program_callbacks {
	/* the first SIGTERM or SIGINT for tmctl; NULL: the program gets this one, too */
	void (*stop)(void *userdata);
	void (*exited)(void *userdata);
	void *userdata;
};

struct program {
	struct program_callbacks callbacks;
	sigset_t old_mask, watched;
	pthread_t thread;
	pid_t pid;
	bool has_own_group;
	int wait_status; /* valid once the thread has ended */
};

/* Blocks the signals that are watched, in this thread and all it starts; ignores SIGPIPE. */
void program_init(struct program *program, const struct program_callbacks *callbacks);

/**
 * program_start() - execute @argv (looked for in $PATH) and watch it
 * @stdin_fd:  becomes its standard input; stays the caller's; -1: it has tmctl's. With one it
 *             leads a process group of its own, and signals are passed on to all of that
 * @stdout_fd: the same for its standard output
 *
 * A stop signal is passed on to the program when it comes a second time, or when the program
 * has not ended PROGRAM_GRACE_NS after the first.
 *
 * Return: 0, or -errno of the execution.
 */
MUST_USE int program_start(struct program *program, char *const argv[], int stdin_fd,
			   int stdout_fd);

/* Waits until the program has ended. Return: its exit status, 128 + n after signal n. */
MUST_USE int program_wait(struct program *program);

/* After that: nobody watches signals any more, so the next one ends tmctl. */
void program_restore_signals(const struct program *program);
