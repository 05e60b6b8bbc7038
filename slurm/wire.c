/* SPDX-License-Identifier: Apache-2.0 */
#include "wire.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include "clean.h"
#include "text.h"

/* A full accept queue empties as soon as the worker's loop turns. */
#define QUEUE_RETRY_MS 5
/* The kernel takes 340 lines (user_namespaces(7)) of three numbers. */
#define UID_MAP_MAX (16 << 10)

long long wire_now(void) {
  struct timespec now;

  (void)clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

void wire_sleep(int wait_ms) {
  struct timespec rest = {.tv_sec = wait_ms / 1000, .tv_nsec = wait_ms % 1000 * 1000000L};

  while (nanosleep(&rest, &rest) < 0 && errno == EINTR)
    ;
}

/* Waits for events until deadline. 0 or -1 with errno (ETIMEDOUT). Errors and hang-ups count as ready. */
static int wait_for(int fd, short events, long long deadline) {
  for (;;) {
    const long long left = deadline - wire_now();
    struct pollfd entry = {.fd = fd, .events = events};
    const int ready = poll(&entry, 1, left > 0 ? (int)left : 0);
    if (ready > 0)
      return 0;
    if (ready < 0 && errno != EINTR)
      return -1;
    if (ready == 0) {
      errno = ETIMEDOUT;
      return -1;
    }
  }
}

/* sun_path holds 107 bytes; a longer path goes through its directory's descriptor, kept in *directory. */
static int fill_address(struct sockaddr_un *address, const char *path, int *directory) {
  char parent[4096], number[NUMBER_TEXT_MAX];
  const char *base = text_base(path);
  const size_t parent_length = (size_t)(base - path);

  *address = (struct sockaddr_un){.sun_family = AF_UNIX};
  if (text_join(address->sun_path, sizeof(address->sun_path), path, NULL))
    return 0;
  if (parent_length == 0 || parent_length >= sizeof(parent)) {
    errno = ENAMETOOLONG;
    return -1;
  }
  memcpy(parent, path, parent_length);
  parent[parent_length] = '\0';
  *directory = open(parent, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (*directory < 0)
    return -1;
  if (!text_join(address->sun_path, sizeof(address->sun_path), "/proc/self/fd/",
                 text_number(number, *directory), "/", base, NULL)) {
    errno = ENAMETOOLONG;
    return -1;
  }
  return 0;
}

/* Whoever the own user namespace has no number for, root among them, as a program in a container sees it:
 * there the overflow user is nobody else (user_namespaces(7)). */
static bool has_no_number(uid_t uid) {
  char overflow[NUMBER_TEXT_MAX], map[UID_MAP_MAX];

  if (text_read_file("/proc/sys/kernel/overflowuid", overflow, sizeof(overflow)) < 0 ||
      text_read_file("/proc/self/uid_map", map, sizeof(map)) < 0 || strtoul(overflow, NULL, 10) != uid)
    return false;
  for (char *at = map; *at;) {
    const unsigned long first = strtoul(at, &at, 10);
    (void)strtoul(at, &at, 10);
    const unsigned long count = strtoul(at, &at, 10);
    at += strspn(at, "\n");
    if (count == 0 || (uid >= first && uid - first < count))
      return false;
  }
  return true;
}

/* The kernel keeps who called listen(2): root for the worker, its keeper and systemd, whoever accepts. */
static bool may_be_heard(int fd, uid_t *owner) {
  struct ucred listener;
  socklen_t size = sizeof(listener);

  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &listener, &size) < 0)
    return false;
  if (listener.uid == 0 || listener.uid == geteuid() || has_no_number(listener.uid))
    return true;
  if (owner)
    *owner = listener.uid;
  errno = EPERM;
  return false;
}

int wire_connect(const char *path, int wait_ms, uid_t *owner) {
  cleanup_close int directory = -1;
  cleanup_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const long long deadline = wire_now() + wait_ms;
  struct sockaddr_un address;

  if (fd < 0 || fill_address(&address, path, &directory) < 0)
    return -1;
  while (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
    if (errno != EAGAIN && errno != EINTR)
      return -1;
    if (wire_now() >= deadline) {
      errno = ETIMEDOUT;
      return -1;
    }
    wire_sleep(QUEUE_RETRY_MS);
  }
  return may_be_heard(fd, owner) ? steal_fd(&fd) : -1;
}

static void attach_fds(struct msghdr *message, const int *fds, size_t fd_count) {
  struct cmsghdr *control = CMSG_FIRSTHDR(message);

  if (!control)
    return;
  control->cmsg_level = SOL_SOCKET;
  control->cmsg_type = SCM_RIGHTS;
  control->cmsg_len = CMSG_LEN(fd_count * sizeof(int));
  memcpy(CMSG_DATA(control), fds, fd_count * sizeof(int));
}

int wire_send(int fd, const struct frame_out *frame, const int *fds, size_t fd_count, int wait_ms) {
  union {
    char bytes[CMSG_SPACE(BERTH_FRAME_FDS_MAX * sizeof(int))];
    struct cmsghdr align;
  } control;
  const long long deadline = wire_now() + wait_ms;
  size_t sent = 0;

  if (fd_count > BERTH_FRAME_FDS_MAX) {
    errno = EINVAL;
    return -1;
  }
  while (sent < frame->size) {
    struct iovec part = {.iov_base = frame->bytes + sent, .iov_len = frame->size - sent};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (sent == 0 && fd_count > 0) {
      message.msg_control = control.bytes;
      message.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
      attach_fds(&message, fds, fd_count);
    }
    const ssize_t bytes = sendmsg(fd, &message, MSG_NOSIGNAL);
    if (bytes > 0)
      sent += (size_t)bytes;
    else if (bytes < 0 && errno == EAGAIN) {
      if (wait_for(fd, POLLOUT, deadline) < 0)
        return -1;
    } else if (bytes < 0 && errno != EINTR)
      return -1;
  }
  return 0;
}

static int keep_fds(struct msghdr *message, struct frame_in *frame) {
  bool too_many = (message->msg_flags & MSG_CTRUNC) != 0;

  for (struct cmsghdr *control = CMSG_FIRSTHDR(message); control; control = CMSG_NXTHDR(message, control)) {
    if (control->cmsg_level != SOL_SOCKET || control->cmsg_type != SCM_RIGHTS)
      continue;
    const size_t count = (control->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; i++) {
      int fd;
      memcpy(&fd, CMSG_DATA(control) + i * sizeof(int), sizeof(int));
      if (frame->fd_count < BERTH_FRAME_FDS_MAX) {
        frame->fds[frame->fd_count++] = fd;
      } else {
        (void)close(fd);
        too_many = true;
      }
    }
  }
  if (too_many)
    errno = EPROTO;
  return too_many ? -1 : 0;
}

/* Fills buffer. 1, 0 when the peer closed before the first byte, or -1. */
static int receive_bytes(int fd, struct frame_in *frame, uint8_t *buffer, size_t size, long long deadline) {
  size_t got = 0;

  while (got < size) {
    union {
      char bytes[CMSG_SPACE(BERTH_FRAME_FDS_MAX * sizeof(int))];
      struct cmsghdr align;
    } control;
    struct iovec part = {.iov_base = buffer + got, .iov_len = size - got};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof(control.bytes)};
    const ssize_t bytes = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
    if (bytes < 0 && errno == EINTR)
      continue;
    if (bytes < 0 && errno == EAGAIN) {
      if (wait_for(fd, POLLIN, deadline) < 0)
        return -1;
      continue;
    }
    if (bytes < 0 || keep_fds(&message, frame) < 0)
      return -1;
    if (bytes == 0) {
      errno = ECONNRESET;
      return got == 0 ? 0 : -1;
    }
    got += (size_t)bytes;
  }
  return 1;
}

int wire_receive(int fd, struct frame_in *frame, int wait_ms) {
  const long long deadline = wire_now() + wait_ms;
  uint8_t header[FRAME_HEADER_BYTES];
  uint32_t size;

  frame_in_free(frame);
  const int first = receive_bytes(fd, frame, header, sizeof(header), deadline);
  if (first <= 0)
    return first;
  if (!frame_header(header, &size, &frame->type))
    return -1;
  frame->body = malloc(size > 0 ? size : 1);
  if (!frame->body)
    return -1;
  frame->size = size;
  if (size > 0 && receive_bytes(fd, frame, frame->body, size, deadline) <= 0) {
    /* The reader must not see a body that never arrived. */
    frame->size = 0;
    return -1;
  }
  if (!frame_is_whole(frame)) {
    errno = EPROTO;
    return -1;
  }
  return 1;
}
