/* SPDX-License-Identifier: Apache-2.0 */

/*
 * First program of the virtual machine: puts a tmpfs overlay over the read-only root, so that
 * several machines share one root and none changes it, then becomes systemd.
 */

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Ending PID 1 panics the kernel, which is booted to turn the machine off then. */
static void check(long result, const char *what)
{
	if (result >= 0)
		return;
	perror(what);
	exit(1);
}

int main(int argc, char **argv)
{
	int fd = open("/boot/overlay.ko", O_RDONLY | O_CLOEXEC);

	(void)argc;
	check(fd, "open overlay.ko");
	check(syscall(SYS_finit_module, fd, "", 0), "load overlay.ko");
	close(fd);
	check(mount("tmpfs", "/mnt", "tmpfs", 0, "mode=755,size=60%"), "mount tmpfs");
	check(mkdir("/mnt/up", 0755), "mkdir up");
	check(mkdir("/mnt/work", 0755), "mkdir work");
	check(mkdir("/mnt/root", 0755), "mkdir root");
	check(mount("overlay", "/mnt/root", "overlay", 0,
		    "lowerdir=/,upperdir=/mnt/up,workdir=/mnt/work"),
	      "mount overlay");
	check(chdir("/mnt/root"), "chdir");
	check(mount(".", "/", NULL, MS_MOVE, NULL), "move the root");
	check(chroot("."), "chroot");
	check(chdir("/"), "chdir /");
	argv[0] = "/usr/lib/systemd/systemd";
	check(execv(argv[0], argv), "exec systemd");
	return 1;
}
