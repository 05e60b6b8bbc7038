/* SPDX-License-Identifier: Apache-2.0
 *
 * A worker that says what a test tells it to: FAKE SOCKET RULE… with RULE = TYPE:ACTION[,ACTION…]. The rules
 * of one frame type are used one after the other, the last of them again and again. Actions: fd=PATH (goes
 * with the next send), send=FILE (bytes of whole frames), pause=MILLISECONDS, close. Every frame is printed
 * as `frame TYPE PID UID FDS HEX`, every end of a connection as `closed TYPE` with the type of its last
 * frame.
 */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "../../../slurm/clean.h"
#include "../../../slurm/wire.h"

#define CONNECTIONS_MAX 256
#define RULES_MAX 32
#define FRAME_WAIT_MS 2000
#define FILE_BYTES_MAX (1 << 20)

struct rule {
  int type;
  char *actions;
  int used;
};

static struct rule rules[RULES_MAX];
static int rule_count;
static struct pollfd entries[CONNECTIONS_MAX + 1];
static int last_type[CONNECTIONS_MAX + 1];
static int entry_count = 1;

static struct rule *next_rule(int type) {
  struct rule *found = NULL;

  for (int i = 0; i < rule_count; i++) {
    if (rules[i].type != type)
      continue;
    found = &rules[i];
    if (!found->used)
      break;
  }
  if (found)
    found->used = 1;
  return found;
}

static void send_file(int fd, const char *path, int *fds, size_t *fd_count) {
  static uint8_t bytes[FILE_BYTES_MAX];
  FILE *file = fopen(path, "rb");

  if (!file) {
    printf("missing %s\n", path);
    return;
  }
  struct frame_out frame = {.bytes = bytes, .size = fread(bytes, 1, sizeof(bytes), file)};
  (void)fclose(file);
  /* A peer that does not wait for an answer may be gone. */
  (void)wire_send(fd, &frame, fds, *fd_count, FRAME_WAIT_MS);
  while (*fd_count > 0)
    (void)close(fds[--*fd_count]);
}

/* False when the connection is to be closed. */
static int act(int fd, const struct rule *rule) {
  char actions[4096];
  int fds[BERTH_FRAME_FDS_MAX], keep = 1;
  size_t fd_count = 0;

  (void)snprintf(actions, sizeof(actions), "%s", rule->actions);
  for (char *action = strtok(actions, ","); action; action = strtok(NULL, ",")) {
    if (strncmp(action, "fd=", 3) == 0 && fd_count < BERTH_FRAME_FDS_MAX)
      fds[fd_count++] = open(action + 3, O_RDONLY | O_CLOEXEC);
    else if (strncmp(action, "send=", 5) == 0)
      send_file(fd, action + 5, fds, &fd_count);
    else if (strncmp(action, "pause=", 6) == 0)
      wire_sleep(atoi(action + 6));
    else if (strcmp(action, "close") == 0)
      keep = 0;
  }
  return keep;
}

static void print_frame(int fd, const struct frame_in *frame) {
  struct ucred peer = {0};
  socklen_t length = sizeof(peer);

  (void)getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length);
  printf("frame %d %d %u %zu ", frame->type, peer.pid, peer.uid, frame->fd_count);
  for (size_t i = 0; i < frame->size; i++)
    printf("%02x", frame->body[i]);
  putchar('\n');
}

static int serve(int index) {
  cleanup_frame_in struct frame_in frame = {0};
  const int fd = entries[index].fd;

  if (wire_receive(fd, &frame, FRAME_WAIT_MS) != 1) {
    printf("closed %d\n", last_type[index]);
    return 0;
  }
  last_type[index] = frame.type;
  print_frame(fd, &frame);
  const struct rule *rule = next_rule(frame.type);
  return rule ? act(fd, rule) : 1;
}

static void drop(int index) {
  (void)close(entries[index].fd);
  entry_count--;
  entries[index] = entries[entry_count];
  last_type[index] = last_type[entry_count];
}

static int listen_at(const char *path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

  (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
  (void)unlink(path);
  if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 || chmod(path, 0666) < 0 ||
      listen(fd, CONNECTIONS_MAX) < 0)
    return -1;
  return fd;
}

int main(int argc, char **argv) {
  (void)setvbuf(stdout, NULL, _IOLBF, 0);
  for (int i = 2; i < argc && rule_count < RULES_MAX; i++) {
    char *colon = strchr(argv[i], ':');
    rules[rule_count++] = (struct rule){.type = atoi(argv[i]), .actions = colon ? colon + 1 : argv[i]};
  }
  entries[0] = (struct pollfd){.fd = argc > 1 ? listen_at(argv[1]) : -1, .events = POLLIN};
  if (entries[0].fd < 0) {
    perror("fake worker");
    return 1;
  }
  puts("ready");
  while (poll(entries, (nfds_t)entry_count, -1) > 0) {
    for (int i = entry_count - 1; i > 0; i--)
      if (entries[i].revents && !serve(i))
        drop(i);
    if (entries[0].revents && entry_count <= CONNECTIONS_MAX) {
      const int fd = accept4(entries[0].fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
      if (fd >= 0)
        entries[entry_count++] = (struct pollfd){.fd = fd, .events = POLLIN};
    }
  }
  return 0;
}
