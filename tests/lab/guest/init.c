/* SPDX-License-Identifier: Apache-2.0 */

/*
 * First program of the virtual machine, all there is in its initial RAM file system besides two
 * modules: puts a tmpfs overlay over the read-only image of the root, so that several machines
 * share one image and none changes it, then becomes systemd.
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

static void load(const char *module)
{
	int fd = open(module, O_RDONLY | O_CLOEXEC);

	check(fd, module);
	check(syscall(SYS_finit_module, fd, "", 0), module);
	close(fd);
}

int main(int argc, char **argv)
{
	(void)argc;
	load("/virtio_blk.ko");
	load("/overlay.ko");
	check(mount("dev", "/dev", "devtmpfs", 0, NULL), "mount /dev");
	check(mount("tmpfs", "/mnt", "tmpfs", 0, "mode=755,size=60%"), "mount tmpfs");
	check(mkdir("/mnt/image", 0755), "mkdir image");
	check(mkdir("/mnt/up", 0755), "mkdir up");
	check(mkdir("/mnt/work", 0755), "mkdir work");
	check(mkdir("/mnt/root", 0755), "mkdir root");
	check(mount("/dev/vda", "/mnt/image", "ext4", MS_RDONLY, NULL), "mount the image");
	check(mount("overlay", "/mnt/root", "overlay", 0,
		    "lowerdir=/mnt/image,upperdir=/mnt/up,workdir=/mnt/work"),
	      "mount overlay");
	check(umount2("/dev", MNT_DETACH), "unmount /dev");
	check(chdir("/mnt/root"), "chdir");
	check(mount(".", "/", NULL, MS_MOVE, NULL), "move the root");
	check(chroot("."), "chroot");
	check(chdir("/"), "chdir /");
	argv[0] = "/usr/lib/systemd/systemd";
	check(execv(argv[0], argv), "exec systemd");
	return 1;
}
