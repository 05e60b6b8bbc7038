/* SPDX-License-Identifier: Apache-2.0
 *
 * stuck DEVICE: a process whose memory nobody can look at, as any user can make one. It mounts a file system
 * of its own over /mnt (DEVICE is /dev/fuse) and reads mapped memory of it, once refused and then never
 * answered: the kernel keeps its lock on the process' memory meanwhile. A second thread waits to change that
 * memory, and behind it wait all who would read. Prints its pid just before that.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PAGE = 4096, FILE_NODE = 2, REQUEST_BYTES = 1 << 20 };

static int device;

static void answer(uint64_t unique, int error, const void *data, size_t size) {
  struct fuse_out_header head = {.len = sizeof(head) + size, .error = error, .unique = unique};
  char out[PAGE];

  memcpy(out, &head, sizeof(head));
  if (size > 0)
    memcpy(out + sizeof(head), data, size);
  (void)!write(device, out, head.len);
}

static struct fuse_attr attributes(uint64_t node) {
  return (struct fuse_attr){.ino = node,
                            .size = PAGE,
                            .mode = node == FILE_NODE ? S_IFREG | 0644 : S_IFDIR | 0755,
                            .nlink = 1,
                            .blksize = PAGE};
}

/* The first read fails, of the second the other side of `told` hears. */
static void serve(int told) {
  static char request[REQUEST_BYTES];

  for (int reads = 0; read(device, request, sizeof(request)) > 0;) {
    const struct fuse_in_header *in = (void *)request;
    struct fuse_init_out init = {.major = 7, .minor = 31, .max_write = PAGE};
    struct fuse_entry_out entry = {.nodeid = FILE_NODE, .attr = attributes(FILE_NODE)};
    struct fuse_attr_out attr = {.attr = attributes(in->nodeid)};
    struct fuse_open_out opened = {0};

    if (in->opcode == FUSE_INIT)
      answer(in->unique, 0, &init, sizeof(init));
    else if (in->opcode == FUSE_LOOKUP)
      answer(in->unique, 0, &entry, sizeof(entry));
    else if (in->opcode == FUSE_GETATTR)
      answer(in->unique, 0, &attr, sizeof(attr));
    else if (in->opcode == FUSE_OPEN)
      answer(in->unique, 0, &opened, sizeof(opened));
    else if (in->opcode == FUSE_READ && ++reads > 1)
      (void)!write(told, "", 1);
    else
      answer(in->unique, in->opcode == FUSE_READ ? -EIO : -ENOSYS, NULL, 0);
  }
  _exit(0);
}

static void put(const char *path, const char *format, unsigned id) {
  char text[64];
  const int fd = open(path, O_WRONLY);

  const int length = snprintf(text, sizeof(text), format, id, id);
  if (fd < 0 || write(fd, text, (size_t)length) < 0)
    perror(path);
  close(fd);
}

static void *look(void *page) { return (void *)(long)*(volatile char *)page; }

int main(int argc, char **argv) {
  const unsigned uid = getuid(), gid = getgid();
  char options[128], number[32], byte;
  int told[2];
  pthread_t looker;

  if (argc < 2 || unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0 || pipe(told) < 0)
    return perror("unshare"), 1;
  put("/proc/self/setgroups", "deny", 0);
  put("/proc/self/uid_map", "%u %u 1", uid);
  put("/proc/self/gid_map", "%u %u 1", gid);
  device = open(argv[1], O_RDWR);
  snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=%u,group_id=%u", device, uid, gid);
  if (mount("stuck", "/mnt", "fuse", 0, options) < 0)
    return perror("mount"), 1;
  snprintf(number, sizeof(number), "%d\n", getpid());
  if (fork() == 0) {
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    serve(told[1]);
  }
  /* The server's end is that of the file system, which would keep this process for ever. */
  close(device);
  const int file = open("/mnt/file", O_RDONLY);
  void *page = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, file, 0);
  if (page == MAP_FAILED || pthread_create(&looker, NULL, look, page) != 0 || read(told[0], &byte, 1) != 1)
    return perror("mmap"), 1;
  (void)!write(STDOUT_FILENO, number, strlen(number));
  mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return 0;
}
