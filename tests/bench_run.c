/* SPDX-License-Identifier: Apache-2.0 */

/*
 * /sys/fs/cgroup/taskmem-bench has memory.max = B, and a group of its own for each task below it:
 * the layout of taskmemd. Groups are made anew for each run, so that all counters begin at 0 and
 * nothing is left in the kernel's lists. Each task may use 60 % of a processor: together they
 * leave some of the machine's two to the kernel and to the policy, and none waits for another's
 * processor when it is the memory that is to be seen.
 */

#include "bench_run.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mono.h"
#include "bench_load_task.h"
#include "kern/sample.h"
#include "base/maxmin.h"

#define GROUP "taskmem-bench"
/* Files that commands of a load leave when they are killed; memory of somebody. */
#define SCRATCH "/dev/shm/taskmem-bench"
#define CPU_MAX "60000 100000"
#define DEVICE_BYTES "2G"

struct run {
	const struct bench_env *env;
	struct bench_world world;
	struct bench_member members[BENCH_TASKS_MAX];
	struct cgdir *group;
	int events_fd; /* its memory.events, for policies that want to know when memory runs out */
	pid_t pids[BENCH_TASKS_MAX];
	struct bench_meter *meters;
	int count_fds[BENCH_TASKS_MAX]; /* of commands that count */
	uint64_t start_ns, seed;
	uint64_t loop_ns; /* processor time of sampling and policy in the scored part */
	FILE *trace;
};

static uint64_t cpu_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_SEC + (uint64_t)ts.tv_nsec;
}

/* ---- the machine */

static int set(const char *path, const char *text)
{
	int r = file_write_small(AT_FDCWD, path, text);

	if (r < 0)
		fprintf(stderr, "bench_control: %s to %s: %s\n", text, path, strerror(-r));
	return r;
}

int bench_env_open(bool is_legacy, struct bench_env *ret)
{
	struct bench_env env = { .root_fd = -1,
				 .device_fd = -1,
				 .budget_bytes = BENCH_BUDGET_BYTES };
	int r;

	if (set("/proc/sys/vm/swappiness", "100") < 0 ||
	    set("/proc/sys/vm/page-cluster", "0") < 0 ||
	    set("/sys/kernel/mm/transparent_hugepage/enabled", "never") < 0 ||
	    set("/sys/kernel/mm/lru_gen/enabled", is_legacy ? "0" : "7") < 0)
		return -EIO;
	/* not on a machine of one node */
	(void)!file_write_small(AT_FDCWD, "/proc/sys/kernel/numa_balancing", "0");
	env.root_fd = open("/sys/fs/cgroup", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (env.root_fd < 0)
		return -errno;
	r = file_write_small(env.root_fd, "cgroup.subtree_control", "+memory +cpu");
	if (r < 0) {
		fprintf(stderr, "bench_control: no memory or cpu controller: %s\n", strerror(-r));
		return r;
	}
	/* a second zram: /dev/zram0 is the swap */
	if (access("/sys/block/zram1", F_OK) < 0) {
		char id[16];
		ssize_t n = file_read_small(AT_FDCWD, "/sys/class/zram-control/hot_add", id,
					    sizeof(id));

		if (n < 0 || strcmp(id, "1") != 0 ||
		    set("/sys/block/zram1/disksize", DEVICE_BYTES) < 0) {
			fputs("bench_control: no zram, or no swap on /dev/zram0\n", stderr);
			return -ENODEV;
		}
	}
	env.device_fd = open("/dev/zram1", O_RDONLY | O_CLOEXEC);
	if (env.device_fd < 0) {
		perror("bench_control: /dev/zram1");
		return -errno;
	}
	*ret = env;
	return 0;
}

void bench_env_close(struct bench_env *env)
{
	fd_closep(&env->root_fd);
	fd_closep(&env->device_fd);
}

/* ---- groups and tasks */

static int make_groups(struct run *run, const struct bench_policy *policy)
{
	struct bench_world *w = &run->world;
	int r;

	if (mkdirat(run->env->root_fd, GROUP, 0755) < 0)
		return -errno;
	r = cgdir_open(run->env->root_fd, GROUP, &run->group);
	if (r != 0)
		return r < 0 ? r : -EIO;
	r = file_write_small(cgdir_dir_fd(run->group), "cgroup.subtree_control", "+memory +cpu");
	if (r == 0)
		r = cgdir_write_u64(run->group, CG_MEMORY_MAX, w->budget_bytes);
	if (r == 0)
		r = cgdir_open_file(run->group, CG_MEMORY_EVENTS, &run->events_fd);
	for (size_t i = 0; i < w->n && r == 0; i++) {
		const char *name = w->load->tasks[i].name;

		if (mkdirat(cgdir_dir_fd(run->group), name, 0755) < 0)
			return -errno;
		r = cgdir_open(cgdir_dir_fd(run->group), name, &w->members[i].cg);
		if (r == 0)
			r = file_write_small(cgdir_dir_fd(w->members[i].cg), "cpu.max", CPU_MAX);
		if (!policy->has_shares || !w->load->tasks[i].min || r != 0)
			continue;
		w->members[i].min_bytes = bench_task_min_bytes(&w->load->tasks[i]);
		r = cgdir_write_u64(w->members[i].cg, CG_MEMORY_MIN, w->members[i].min_bytes);
	}
	return r > 0 ? -EIO : r;
}

static int start_task(struct run *run, size_t i)
{
	const struct bench_task *task = &run->world.load->tasks[i];
	struct bench_place place = {
		.budget_bytes = run->world.budget_bytes,
		.start_ns = run->start_ns,
		.seed = run->seed * BENCH_TASKS_MAX + i,
	};
	char path[64];

	if (task->is_counted) {
		run->count_fds[i] = memfd_create("count", MFD_CLOEXEC);
		if (run->count_fds[i] < 0)
			return -errno;
		place.count_fd = run->count_fds[i];
	}
	for (size_t k = 0; k < i; k++)
		place.device_offset += bench_task_device_bytes(&run->world.load->tasks[k],
							       run->world.budget_bytes);
	run->pids[i] = fork();
	if (run->pids[i] != 0)
		return run->pids[i] < 0 ? -errno : 0;
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)setpgid(0, 0);
	/* Copied descriptors share read-ahead hints; each task opens the device for itself. */
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", run->env->device_fd);
	place.device_fd = open(path, O_RDONLY | O_CLOEXEC);
	if (place.device_fd < 0 ||
	    cgdir_write_text(run->world.members[i].cg, CG_CGROUP_PROCS, "0") != 0) {
		fprintf(stderr, "bench_control: task %s can not start\n", task->name);
		_exit(1);
	}
	bench_task_main(task, &place, &run->meters[i]);
}

/* Ends all tasks and removes their groups. */
static void end(struct run *run)
{
	struct bench_world *w = &run->world;

	if (run->group)
		(void)!cgdir_write_text(run->group, CG_CGROUP_KILL, "1");
	for (size_t i = 0; i < w->n; i++) {
		if (run->pids[i] > 0)
			(void)waitpid(run->pids[i], NULL, 0);
		fd_closep(&run->count_fds[i]);
	}
	for (size_t i = 0; i < w->n && run->group; i++) {
		bool is_populated = true;

		if (!w->members[i].cg)
			continue;
		/* children of a command are nobody's to wait for */
		for (int k = 0; k < 500 && is_populated; k++) {
			if (cgdir_is_populated(w->members[i].cg, &is_populated) != 0)
				break;
			if (is_populated)
				(void)nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
		}
		cgdir_close(w->members[i].cg);
		(void)unlinkat(cgdir_dir_fd(run->group), w->load->tasks[i].name, AT_REMOVEDIR);
	}
	fd_closep(&run->events_fd);
	cgdir_close(run->group);
	(void)unlinkat(run->env->root_fd, GROUP, AT_REMOVEDIR);
	if (run->trace)
		(void)fclose(run->trace);
	if (run->meters)
		(void)munmap(run->meters, w->n * sizeof(*run->meters));
}

/* ---- ticks */

static int set_shares(struct run *run, double at_s)
{
	struct bench_world *w = &run->world;
	struct claim claims[BENCH_TASKS_MAX];
	bool is_change = w->tick == 0;
	int r;

	for (size_t i = 0; i < w->n; i++) {
		uint32_t weight = bench_task_weight(w->load, i, at_s);

		is_change |= weight != w->members[i].weight;
		w->members[i].weight = weight;
		claims[i] = (struct claim){ .name = w->load->tasks[i].name,
					    .weight = weight,
					    .min = w->members[i].min_bytes,
					    .max = UINT64_MAX };
	}
	w->is_change = is_change;
	if (!is_change)
		return 0;
	r = maxmin_divide(claims, w->n, w->share_bytes);
	for (size_t i = 0; i < w->n && r == 0; i++)
		w->members[i].share_bytes = claims[i].share / BENCH_PAGE * BENCH_PAGE;
	return r;
}

/* Useful work, µs. Of a command: its operations, as if each took a millisecond, or the processor
 * time it spent outside the kernel. */
static uint64_t work_us(struct run *run, size_t i)
{
	struct cgdir *cg = run->world.members[i].cg;
	char text[1024], *user;
	struct stat count;

	if (run->world.load->tasks[i].pattern != BENCH_COMMAND)
		return atomic_load_explicit(&run->meters[i].work_ns, memory_order_relaxed) / 1000;
	if (run->world.load->tasks[i].is_counted)
		return fstat(run->count_fds[i], &count) == 0 ? (uint64_t)count.st_size * 1000 : 0;
	if (file_read_small(cgdir_dir_fd(cg), "cpu.stat", text, sizeof(text)) < 0)
		return 0;
	user = strstr(text, "user_usec ");
	return user ? strtoull(user + strlen("user_usec "), NULL, 10) : 0;
}

static void trace(struct run *run, const struct bench_series *s)
{
	const struct bench_world *w = &run->world;

	if (!run->trace)
		return;
	for (size_t i = 0; i < w->n; i++) {
		const struct bench_member *m = &w->members[i];
		const struct bench_point *p = &s->points[w->tick * w->n + i];

		fprintf(run->trace,
			"%.2f\t%s\t%" PRIu64 "\t%" PRIu64 "\t%.1f\t%.1f\t%.1f\t%s\t%" PRIu64
			"\t%" PRIu64 "\t%" PRIu64 "\t%" PRIu64 "\t%" PRIu64 "\t%" PRIu64 "\n",
			(double)s->tick_at_ns[w->tick] / 1e9, w->load->tasks[i].name,
			(uint64_t)w->tick, p->work_us, (double)m->sample.current_bytes / 1048576,
			(double)m->limit_bytes / 1048576, (double)m->share_bytes / 1048576,
			m->note ? m->note : "-", m->sample.refault_pages, m->sample.restore_pages,
			m->sample.refill_pages, m->sample.steal_pages, m->sample.stall_us,
			m->sample.cpu_us);
	}
}

/* As taskmemd does: whom the law takes for idle is read now and then, all others each time. */
static int read_sample(struct bench_member *m, uint64_t now_ns)
{
	uint64_t cpu_us;
	int r = 0;

	m->slot.is_fresh = control_is_due(&m->slot.track, now_ns, 0);
	if (!m->slot.is_fresh) {
		r = cgdir_read_cpu(m->cg, &cpu_us);
		m->slot.is_fresh = r == 0 && control_is_due(&m->slot.track, now_ns, cpu_us);
	}
	return m->slot.is_fresh ? sample_read(m->cg, &m->sample) : r;
}

/* The policy out of turn; nothing of it is in the series. */
static int look(struct run *run, const struct bench_policy *policy)
{
	struct bench_world *w = &run->world;
	uint64_t start = cpu_now_ns();
	int r = 0;

	w->now_ns = mono_now_ns();
	w->is_change = false;
	for (size_t i = 0; i < w->n && r == 0; i++)
		r = read_sample(&w->members[i], w->now_ns);
	if (r == 0)
		r = policy->tick(policy, w);
	run->loop_ns += cpu_now_ns() - start;
	return r > 0 ? -EIO : r;
}

static int tick(struct run *run, const struct bench_policy *policy, struct bench_series *s)
{
	struct bench_world *w = &run->world;
	uint64_t start = cpu_now_ns();
	int r;

	w->now_ns = mono_now_ns();
	s->tick_at_ns[w->tick] = w->now_ns - run->start_ns;
	for (size_t i = 0; i < w->n; i++) {
		struct bench_point *p = &s->points[w->tick * w->n + i];

		r = read_sample(&w->members[i], w->now_ns);
		if (r != 0)
			return r < 0 ? r : -EIO;
		p->work_us = work_us(run, i);
		p->sample = w->members[i].sample;
		p->share_bytes = w->members[i].share_bytes;
	}
	if (w->tick == bench_series_begin(s))
		w->n_writes = 0, w->longest_write_ns = 0, run->loop_ns = 0;
	r = policy->tick(policy, w);
	run->loop_ns += cpu_now_ns() - start;
	trace(run, s);
	return r;
}

static void sleep_until(uint64_t at_ns)
{
	struct timespec t = { .tv_sec = (time_t)(at_ns / NS_PER_SEC),
			      .tv_nsec = (long)(at_ns % NS_PER_SEC) };

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
		;
}

/* Until memory runs out, or until @at_ns: false. */
static bool wait_for_limit(struct run *run, uint64_t at_ns)
{
	struct pollfd p = { .fd = run->events_fd, .events = POLLPRI };
	uint64_t now_ns = mono_now_ns(), left_ns = at_ns > now_ns ? at_ns - now_ns : 0;
	struct timespec left = { .tv_nsec = (long)left_ns }; /* less than a tick */
	char text[256];

	/* what poll compares with is what was last read */
	return pread(p.fd, text, sizeof(text), 0) > 0 && ppoll(&p, 1, &left, NULL) > 0;
}

static int wait_for_tick(struct run *run, const struct bench_policy *policy, uint64_t at_ns)
{
	uint64_t early_ns;
	int r = 0;

	if (policy->early_ns && run->world.tick > 0 && wait_for_limit(run, at_ns)) {
		early_ns = policy->early_ns(&run->world, mono_now_ns(), at_ns);
		if (early_ns > 0) {
			sleep_until(early_ns);
			r = look(run, policy);
		}
	}
	sleep_until(at_ns);
	return r;
}

static int run_ticks(struct run *run, const struct bench_policy *policy, struct bench_series *s)
{
	struct bench_world *w = &run->world;
	int r = 0;

	for (w->tick = 0; w->tick < s->n_ticks && r == 0; w->tick++) {
		uint64_t at_ns = w->tick * s->tick_ns;

		r = wait_for_tick(run, policy, run->start_ns + at_ns);
		if (r == 0)
			r = set_shares(run, (double)at_ns / 1e9);
		if (r == 0)
			r = tick(run, policy, s);
	}
	return r;
}

static int count_kills(struct run *run, uint32_t *ret)
{
	uint32_t n = 0;

	for (size_t i = 0; i < run->world.n; i++) {
		struct cgdir_events events;
		int r = cgdir_read_events(run->world.members[i].cg, &events);

		if (r != 0)
			return r < 0 ? r : -EIO;
		n += (uint32_t)events.oom_kill;
		if (events.oom_kill == 0 && waitpid(run->pids[i], NULL, WNOHANG) > 0) {
			run->pids[i] = 0;
			return -ECHILD; /* it has said why */
		}
	}
	*ret = n;
	return 0;
}

/* Half as fast as usual: something else is running on the host. */
static double mean_spin_us(const struct run *run)
{
	double ns = 0, accesses = 0;

	for (size_t i = 0; i < run->world.n; i++) {
		ns += (double)atomic_load(&run->meters[i].work_ns);
		accesses += (double)atomic_load(&run->meters[i].accesses);
	}
	return accesses > 0 ? ns / accesses / 1000 : 0;
}

static int run_load(struct run *run, const struct bench_policy *policy, struct bench_series *s)
{
	struct bench_world *w = &run->world;
	double scored_s = w->load->score_s;
	int r = make_groups(run, policy);

	if (r < 0)
		return r;
	run->meters = mmap(NULL, w->n * sizeof(*run->meters), PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (run->meters == MAP_FAILED) {
		run->meters = NULL;
		return -errno;
	}
	run->start_ns = mono_now_ns() + 200 * NS_PER_MSEC;
	for (size_t i = 0; i < w->n && r == 0; i++)
		r = start_task(run, i);
	if (r == 0)
		r = run_ticks(run, policy, s);
	if (r == 0)
		r = count_kills(run, &s->n_kills);
	s->loop_permille = (double)run->loop_ns / 1e9 / scored_s * 1000;
	s->spin_us = mean_spin_us(run);
	s->n_writes = w->n_writes;
	s->longest_write_us = w->longest_write_ns / 1000;
	return r;
}

static int prepare(const struct bench_load *load)
{
	for (size_t i = 0; i < load->n_tasks; i++)
		if (load->tasks[i].prepare && system(load->tasks[i].prepare) != 0)
			return -ECHILD; /* it has said why */
	return 0;
}

static void empty_scratch(void)
{
	DIR *dir;
	struct dirent *entry;

	(void)mkdir(SCRATCH, 0755);
	dir = opendir(SCRATCH);
	while (dir && (entry = readdir(dir)))
		(void)unlinkat(dirfd(dir), entry->d_name, 0); /* not "." and ".." */
	if (dir)
		(void)closedir(dir);
}

int bench_run(const struct bench_env *env, const struct bench_load *load,
	      const struct bench_policy *policy, uint64_t seed, struct bench_series *ret)
{
	struct bench_series s = {
		.load = load,
		.tick_ns = CONTROL_TICK_NS,
		.n_ticks = (load->warm_s + load->score_s) * NS_PER_SEC / CONTROL_TICK_NS + 1,
	};
	static struct run run;
	int r = prepare(load);

	if (r < 0)
		return r;
	run = (struct run){ .env = env, .events_fd = -1, .seed = seed };
	for (size_t i = 0; i < BENCH_TASKS_MAX; i++)
		run.count_fds[i] = -1;
	run.world = (struct bench_world){
		.load = load,
		.budget_bytes = env->budget_bytes,
		.share_bytes = env->budget_bytes / 1000 * BENCH_PROMISED_PERMILLE,
		.split = env->split,
		.n = load->n_tasks,
		.members = run.members,
	};
	empty_scratch();
	(void)!file_write_small(AT_FDCWD, "/proc/sys/vm/drop_caches", "3");
	s.points = calloc(s.n_ticks * load->n_tasks, sizeof(*s.points));
	s.tick_at_ns = calloc(s.n_ticks, sizeof(*s.tick_at_ns));
	if (env->trace)
		run.trace = fopen(env->trace, "we");
	if (run.trace)
		fputs("s\ttask\ttick\twork_us\tmib\tlimit\tshare\tclass\trefault\trestore\trefill"
		      "\tsteal\tstall_us\tcpu_us\n",
		      run.trace);
	r = s.points && s.tick_at_ns ? run_load(&run, policy, &s) : -ENOMEM;
	end(&run);
	if (r < 0) {
		bench_series_free(&s);
		return r;
	}
	*ret = s;
	return 0;
}

void bench_series_free(struct bench_series *s)
{
	free(s->points);
	free(s->tick_at_ns);
	s->points = NULL;
	s->tick_at_ns = NULL;
}
