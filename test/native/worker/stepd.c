/* SPDX-License-Identifier: Apache-2.0
 *
 * Stands in for slurmstepd: registers one step, and for each line "task ID" on stdin forks a child that
 * announces itself as root, becomes the user and executes the launcher. Tells "exit ID STATUS" on descriptor
 * 3; end of file on stdin ends it when its tasks have ended, SIGKILL at once.
 *
 * stepd SOCKET UID GID HANDLE CONTEXT NODE CWD OPTION... -- LAUNCHER ARG...
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../../slurm/protocol.h"

extern char **environ;

#define TASKS_MAX 64
#define HANDLE_BYTES 16
#define REPORT_FD 3

static uint8_t frame[BERTH_FRAME_MAX];
static size_t frame_size;
static struct {
  pid_t pid;
  int id;
} tasks[TASKS_MAX];

static void put(const void *bytes, size_t size) {
  memcpy(frame + frame_size, bytes, size);
  frame_size += size;
}

static void put16(uint16_t value) { put(&value, sizeof(value)); }
static void put32(uint32_t value) { put(&value, sizeof(value)); }

static void start_frame(uint16_t type) {
  frame_size = 0;
  put32(0);
  put16(type);
  put16(BERTH_PROTOCOL_VERSION);
}

static void add(uint16_t tag, const void *bytes, size_t size) {
  put16(tag);
  put16(0);
  put32((uint32_t)size);
  put(bytes, size);
}

static void add_word(uint16_t tag, uint32_t value) { add(tag, &value, sizeof(value)); }
static void add_text(uint16_t tag, const char *text) { add(tag, text, strlen(text)); }

static void add_environment(void) {
  static char all[BERTH_FRAME_MAX / 2];
  size_t size = 0;
  for (char **entry = environ; *entry; entry++) {
    memcpy(all + size, *entry, strlen(*entry) + 1);
    size += strlen(*entry) + 1;
  }
  add(BERTH_TAG_ENV, all, size);
}

static void send_frame(int fd, const int *fds, size_t fd_count) {
  union {
    char bytes[CMSG_SPACE(8 * sizeof(int))];
    struct cmsghdr align;
  } control = {0};
  uint32_t size = (uint32_t)frame_size - 4;
  memcpy(frame, &size, sizeof(size));
  struct iovec part = {.iov_base = frame, .iov_len = frame_size};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
  if (fd_count > 0) {
    message.msg_control = control.bytes;
    message.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(fd_count * sizeof(int));
    memcpy(CMSG_DATA(head), fds, fd_count * sizeof(int));
  }
  if (sendmsg(fd, &message, MSG_NOSIGNAL) != (ssize_t)frame_size)
    perror("stepd: send");
}

static int dial(const char *path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  strncpy(address.sun_path, path, sizeof(address.sun_path) - 1);
  if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
    return fd;
  perror("stepd: connect");
  exit(70);
}

static void unhex(const char *text, uint8_t *bytes) {
  for (size_t i = 0; i < HANDLE_BYTES; i++)
    sscanf(text + 2 * i, "%2hhx", &bytes[i]);
}

static void run_task(int id, char **argv, const uint8_t *handle, char **command) {
  int ns[] = {open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC),
              open("/proc/self/ns/user", O_RDONLY | O_CLOEXEC)};
  uint8_t answer[4096];
  int fd = dial(argv[1]);
  const uid_t uid = (uid_t)atoi(argv[2]);
  const gid_t gid = (gid_t)atoi(argv[3]);

  if (chdir(argv[7]) < 0)
    exit(71);
  start_frame(BERTH_TASK);
  add(BERTH_TAG_HANDLE, handle, HANDLE_BYTES);
  add_word(BERTH_TAG_LOCAL_ID, (uint32_t)id);
  add_word(BERTH_TAG_GLOBAL_ID, (uint32_t)id);
  add_word(BERTH_TAG_PID, (uint32_t)getpid());
  add_text(BERTH_TAG_CWD, argv[7]);
  send_frame(fd, ns, 2);
  const ssize_t got = read(fd, answer, sizeof(answer));
  if (got < 8 || answer[4] != BERTH_ACK) {
    fprintf(stderr, "stepd: task %d not taken (%zd bytes)\n", id, got);
    exit(72);
  }
  if (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
    exit(73);
  char number[16];
  snprintf(number, sizeof(number), "%d", id);
  setenv("SLURM_PROCID", number, 1);
  setenv("BERTH_SOCKET", argv[1], 1);
  execv(command[0], command);
  perror("stepd: exec");
  exit(74);
}

static void reap(int options) {
  int status;
  pid_t pid;
  while ((pid = waitpid(-1, &status, options)) > 0)
    for (size_t i = 0; i < TASKS_MAX; i++)
      if (tasks[i].pid == pid) {
        dprintf(REPORT_FD, "exit %d %d\n", tasks[i].id,
                WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
        tasks[i].pid = 0;
      }
}

static void start_task(int id, char **argv, const uint8_t *handle, char **command) {
  size_t slot = 0;
  while (tasks[slot].pid)
    slot++;
  pid_t pid = fork();
  if (pid == 0) {
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    run_task(id, argv, handle, command);
  }
  tasks[slot].pid = pid;
  tasks[slot].id = id;
  dprintf(REPORT_FD, "task %d %d\n", id, pid);
}

static void on_child(int signal) { (void)signal; }

int main(int argc, char **argv) {
  uint8_t handle[HANDLE_BYTES];
  char line[64];
  int at = 8;

  if (argc < 10)
    return 64;
  unhex(argv[4], handle);
  const int lease = dial(argv[1]);
  start_frame(BERTH_REGISTER);
  add(BERTH_TAG_HANDLE, handle, HANDLE_BYTES);
  add_word(BERTH_TAG_JOB, 4711);
  add_word(BERTH_TAG_STEP, 0);
  add_word(BERTH_TAG_UID, (uint32_t)atoi(argv[2]));
  add_word(BERTH_TAG_GID, (uint32_t)atoi(argv[3]));
  add_word(BERTH_TAG_NODE, (uint32_t)atoi(argv[6]));
  add_word(BERTH_TAG_LOCAL_TASKS, 1);
  add_word(BERTH_TAG_TOTAL_TASKS, 1);
  add_text(BERTH_TAG_CONTEXT, argv[5]);
  for (; at < argc && strcmp(argv[at], "--") != 0; at++)
    add_text(BERTH_TAG_OPTION, argv[at]);
  add_environment();
  send_frame(lease, NULL, 0);
  dprintf(REPORT_FD, "registered\n");

  /* SIGCHLD arrives in ppoll only, so no end of a task is missed. */
  sigset_t blocked, during;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGCHLD);
  sigprocmask(SIG_BLOCK, &blocked, &during);
  struct sigaction action = {.sa_handler = on_child};
  sigaction(SIGCHLD, &action, NULL);
  for (;;) {
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    reap(WNOHANG);
    if (ppoll(&input, 1, NULL, &during) <= 0)
      continue;
    if (read(STDIN_FILENO, line, 1) != 1)
      break;
    size_t size = 1;
    while (line[size - 1] != '\n' && size < sizeof(line) - 1)
      if (read(STDIN_FILENO, line + size, 1) == 1)
        size++;
    line[size] = '\0';
    int id;
    if (sscanf(line, "task %d", &id) == 1)
      start_task(id, argv, handle, argv + at + 1);
  }
  reap(0);
  return 0;
}
