/* SPDX-License-Identifier: Apache-2.0 */
#include "client.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "child.h"
#include "clean.h"
#include "fail.h"
#include "text.h"

/* A keeper listens within milliseconds; a loaded node gets time, a hook of slurmstepd does not get more. */
#define CLIENT_CONNECT_MS_MAX 5000
#define CONNECT_RETRY_MS 10
/* A worker busy with other steps reads within its loop's turn. */
#define SEND_MS_MAX 5000
/* A sentence about a path or two. */
#define TOLD_BYTES_MAX (2 * PATH_MAX + 1)
/* Arguments of our own before those of plugstack.conf. */
#define KEEPER_ARGUMENTS_OWN 6

#define HINT_NODE "name Node.js of this node by node= in plugstack.conf"

bool client_socket(const struct settings *settings, char path[PATH_MAX]) {
  return text_join(path, PATH_MAX, settings->runtime_dir, "/worker.sock", NULL);
}

static bool nobody_listens(int number) { return number == ENOENT || number == ECONNREFUSED; }

/* The keeper detaches itself; its first process ends when the socket is there, or says why there will be
 * none, which is in told then, else empty. */
static int start_keeper(const struct settings *settings, const struct place *place, char told[TOLD_BYTES_MAX],
                        struct error *error) {
  const char *node = settings->node ? settings->node : place->node;
  const char *argv[KEEPER_ARGUMENTS_OWN + SETTINGS_MORE_MAX] = {place->keeper};
  char *own[KEEPER_ARGUMENTS_OWN + SETTINGS_MORE_MAX] = {NULL};
  char *const environment[] = {NULL};
  size_t count = 0;

  /* The keeper starts node later, and could tell its log only. */
  if (access(node, X_OK) < 0)
    return error_set(error, "BERTH_EPLUGSTACK", HINT_NODE, "cannot run ", node,
                     ", which runs the worker: ", text_errno(errno), NULL);
  own[count++] = text_new("--runtime-dir=", settings->runtime_dir, NULL);
  own[count++] = text_new("--config=", settings->config, NULL);
  own[count++] = text_new("--node=", node, NULL);
  if (settings->store)
    own[count++] = text_new("--store=", settings->store, NULL);
  for (size_t i = 0; i < settings->more_count; i++)
    own[count++] = text_new("--", settings->more[i], NULL);

  bool complete = true;
  for (size_t i = 0; i < count; i++) {
    argv[i + 1] = own[i];
    complete = complete && own[i];
  }
  told[0] = '\0';
  /* Its status does not matter: connecting shows whether a worker is there, and another step may have been
   * faster. */
  if (complete)
    (void)child_read(argv, environment, CLIENT_CONNECT_MS_MAX, told, TOLD_BYTES_MAX);
  told[strcspn(told, "\n")] = '\0';
  for (size_t i = 0; i < count; i++)
    free(own[i]);
  return 0;
}

int client_find(const struct settings *settings, struct error *error) {
  char path[PATH_MAX];
  uid_t owner = 0;

  if (!client_socket(settings, path))
    return -1;
  const int fd = wire_connect(path, CONNECT_RETRY_MS, &owner);
  if (fd < 0 && errno == EPERM)
    (void)fail_stranger(error, path, owner);
  return fd;
}

int client_connect(const struct settings *settings, const struct place *place, struct error *error) {
  const long long deadline = wire_now() + CLIENT_CONNECT_MS_MAX;
  bool started = geteuid() != 0;
  char path[PATH_MAX], told[TOLD_BYTES_MAX] = "";
  uid_t owner = 0;

  if (!client_socket(settings, path))
    return error_set(error, "BERTH_EPLUGSTACK", "shorten runtime_dir= in plugstack.conf",
                     "path of the worker's socket is too long", NULL);
  for (;;) {
    const int fd = wire_connect(path, CLIENT_CONNECT_MS_MAX, &owner);
    if (fd >= 0)
      return fd;
    const int number = errno;
    if (number == EPERM)
      return fail_stranger(error, path, owner);
    if (told[0] != '\0')
      return fail_node(error, "BERTH_ENOWORKER", "no worker at ", path, ", and none can be started: ", told,
                       NULL);
    if (!nobody_listens(number) || wire_now() >= deadline)
      return fail_node(error, "BERTH_ENOWORKER", "no worker at ", path, ": ", text_errno(number), NULL);
    if (started)
      wire_sleep(CONNECT_RETRY_MS);
    else if (start_keeper(settings, place, told, error) < 0)
      return -1;
    started = true;
  }
}

int client_send(int fd, const struct frame_out *frame, const int *fds, size_t fd_count, struct error *error) {
  cleanup_frame_in struct frame_in answer = {0};

  if (wire_send(fd, frame, fds, fd_count, SEND_MS_MAX) == 0)
    return 0;
  /* One that serves no more has said so before it hung up. */
  const int number = errno;
  if (number == EPIPE && wire_receive(fd, &answer, 0) == 1 && answer.type == BERTH_FAIL)
    fail_take(&answer, error);
  return fail_node(error, "BERTH_ENOWORKER", "the worker does not take requests: ", text_errno(number), NULL);
}

int client_receive(int fd, struct frame_in *answer, int wait_ms, struct error *error) {
  const int got = wire_receive(fd, answer, wait_ms);

  if (got == 1 && answer->type != BERTH_FAIL)
    return 0;
  if (got == 1) {
    fail_take(answer, error);
    return -1;
  }
  if (got < 0 && errno == EPROTONOSUPPORT) {
    fail_version(error);
    return -1;
  }
  return fail_node(error, "BERTH_ENOWORKER",
                   "the worker gave no answer: ", got == 0 ? "it closed the connection" : text_errno(errno),
                   NULL);
}
