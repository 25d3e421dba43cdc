/* SPDX-License-Identifier: Apache-2.0 */

/*
 * One thread waits for signals with sigtimedwait() and does nothing else, so there are no
 * handlers and no races between looking at a flag and going to sleep.
 *
 * Why a stop signal is not passed on at once: the stream ends in order then, the program reads
 * end of file and finishes by itself, with its results. ("wc" killed by SIGTERM prints nothing.)
 * A terminal sends ^C to its whole foreground process group, so a program that is fed has a group
 * of its own; it has no use for the terminal's input. One that reads it stays in the foreground.
 */

#include "program.h"

#include <errno.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mono.h"
#include "tmctl.h"

#define PROGRAM_GRACE_NS (30 * NS_PER_SEC)

void program_init(struct program *program, const struct program_callbacks *callbacks)
{
	*program = (struct program){ .callbacks = *callbacks };
	signal(SIGPIPE, SIG_IGN);
	/* a parent may have ignored it, and then no child is ever waited for */
	signal(SIGCHLD, SIG_DFL);
	sigemptyset(&program->watched);
	sigaddset(&program->watched, SIGCHLD);
	sigaddset(&program->watched, SIGINT);
	sigaddset(&program->watched, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &program->watched, &program->old_mask);
}

static int spawn(struct program *program, char *const argv[], int stdin_fd, int stdout_fd)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t defaults;
	int r;

	r = posix_spawn_file_actions_init(&actions);
	if (r != 0)
		return -r;
	r = posix_spawnattr_init(&attributes);
	if (r != 0) {
		posix_spawn_file_actions_destroy(&actions);
		return -r;
	}
	sigemptyset(&defaults);
	sigaddset(&defaults, SIGPIPE);
	posix_spawnattr_setsigdefault(&attributes, &defaults);
	posix_spawnattr_setsigmask(&attributes, &program->old_mask);
	posix_spawnattr_setflags(&attributes,
				 POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK |
					 (program->has_own_group ? POSIX_SPAWN_SETPGROUP : 0));
	if (stdin_fd >= 0)
		r = posix_spawn_file_actions_adddup2(&actions, stdin_fd, STDIN_FILENO);
	if (r == 0 && stdout_fd >= 0)
		r = posix_spawn_file_actions_adddup2(&actions, stdout_fd, STDOUT_FILENO);
	if (r == 0)
		r = posix_spawnp(&program->pid, argv[0], &actions, &attributes, argv, environ);
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&actions);
	return -r;
}

/* Next watched signal; 0 at the deadline (UINT64_MAX: none). */
static int next_signal(const struct program *program, uint64_t deadline_ns)
{
	for (;;) {
		uint64_t now = mono_now_ns(), left = deadline_ns > now ? deadline_ns - now : 0;
		struct timespec timeout = { .tv_sec = (time_t)(left / NS_PER_SEC),
					    .tv_nsec = (long)(left % NS_PER_SEC) };
		int n;

		if (deadline_ns == UINT64_MAX)
			n = sigwaitinfo(&program->watched, NULL);
		else
			n = sigtimedwait(&program->watched, NULL, &timeout);
		if (n > 0)
			return n;
		if (errno == EAGAIN)
			return 0;
	}
}

/* As the terminal would: to the program and what it has started, if they are apart from us. */
static void pass_on(const struct program *program, int n)
{
	kill(program->has_own_group ? -program->pid : program->pid, n);
}

static void *watch_main(void *userdata)
{
	struct program *program = userdata;
	uint64_t deadline_ns = UINT64_MAX;
	int stop_signal = 0;

	for (;;) {
		int n = next_signal(program, deadline_ns);

		if (n == SIGCHLD) {
			if (waitpid(program->pid, &program->wait_status, WNOHANG) == program->pid)
				break;
		} else if (n == 0) {
			pass_on(program, stop_signal);
			deadline_ns = UINT64_MAX;
		} else if (stop_signal || !program->callbacks.stop) {
			pass_on(program, n);
		} else {
			stop_signal = n;
			deadline_ns = mono_now_ns() + PROGRAM_GRACE_NS;
			program->callbacks.stop(program->callbacks.userdata);
		}
	}
	program->callbacks.exited(program->callbacks.userdata);
	return NULL;
}

int program_start(struct program *program, char *const argv[], int stdin_fd, int stdout_fd)
{
	int r;

	program->has_own_group = stdin_fd >= 0;
	r = spawn(program, argv, stdin_fd, stdout_fd);
	if (r < 0)
		return r;
	r = -pthread_create(&program->thread, NULL, watch_main, program);
	if (r < 0) {
		kill(program->pid, SIGKILL);
		waitpid(program->pid, &program->wait_status, 0);
	}
	return r;
}

int program_wait(struct program *program)
{
	pthread_join(program->thread, NULL);
	if (WIFSIGNALED(program->wait_status))
		return TMCTL_RUN_SIGNALLED + WTERMSIG(program->wait_status);
	return WEXITSTATUS(program->wait_status);
}

void program_restore_signals(const struct program *program)
{
	pthread_sigmask(SIG_SETMASK, &program->old_mask, NULL);
}
