/* SPDX-License-Identifier: Apache-2.0 */
#include "resume.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "clean.h"
#include "command.h"
#include "hints.h"
#include "text.h"
#include "variables.h"

void resume_outputs(const struct saved *saved) {
  if (saved->stdout_fd < 0 || dup2(saved->stdout_fd, STDOUT_FILENO) < 0)
    (void)close(STDOUT_FILENO);
  if (saved->stderr_fd < 0 || dup2(saved->stderr_fd, STDERR_FILENO) < 0)
    (void)close(STDERR_FILENO);
}

bool resume_is_asked(char *const *argv) {
  return argv[0] && strcmp(argv[0], RESUME_PROGRAM) == 0 && argv[1] && text_starts(argv[1], RESUME_OPTION);
}

static bool read_saved(const char *option, struct saved *saved) {
  int *const fields[] = {&saved->stdout_fd, &saved->stderr_fd, &saved->state_fd};
  char *end = (char *)option + strlen(RESUME_OPTION);

  for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
    *fields[i] = (int)strtol(end, &end, 10);
    if (*end++ != (i + 1 < ARRAY_SIZE(fields) ? ',' : '\0'))
      return false;
  }
  return true;
}

/* Bytes of the state: of memory, or of a pipe that nobody writes to any more. */
static bool measure(int fd, size_t *size, bool *is_pipe) {
  const off_t end = lseek(fd, 0, SEEK_END);
  int waiting = 0;

  *is_pipe = end < 0 && errno == ESPIPE && ioctl(fd, FIONREAD, &waiting) == 0;
  *size = *is_pipe ? (size_t)waiting : (size_t)end;
  return end >= 0 || *is_pipe;
}

/* All of the state in memory, with a NUL more at its end; *size is without that. */
static char *read_state(int fd, size_t *size) {
  bool is_pipe = false;
  char *text = measure(fd, size, &is_pipe) ? calloc(1, *size + 1) : NULL;
  size_t done = 0;

  while (text && done < *size) {
    const ssize_t got =
        is_pipe ? read(fd, text + done, *size - done) : pread(fd, text + done, *size - done, (off_t)done);
    if (got < 0 && errno == EINTR)
      continue;
    if (got <= 0) {
      free(text);
      return NULL;
    }
    done += (size_t)got;
  }
  return text;
}

/* Bookkeeping of the entrypoint's shell, which no payload expects to inherit. */
static bool is_shell_noise(const char *pair) {
  static const char *const noise[] = {"_=", "PWD=", "OLDPWD=", "SHLVL="};

  for (size_t i = 0; i < ARRAY_SIZE(noise); i++)
    if (text_starts(pair, noise[i]))
      return true;
  return false;
}

static size_t name_length(const char *pair) { return strcspn(pair, "="); }

static bool is_kept(const char *names, const char *end, const char *pair) {
  const size_t length = name_length(pair);

  for (const char *at = names; at < end; at += strlen(at) + 1)
    if (strlen(at) == length && memcmp(at, pair, length) == 0)
      return true;
  return false;
}

static bool has(const struct variables *variables, const char *name) {
  return text_variable(variables->list, name) != NULL;
}

/* The command's environment, overwritten by what the entrypoint left. */
static bool merge(struct variables *variables, char *state, size_t size, char *const *environment) {
  char *const none[] = {NULL};
  char *at = state;

  if (!variables_copy(variables, none))
    return false;
  for (; at < state + size && *at; at += strlen(at) + 1)
    if (!variables_add(variables, at))
      return false;
  const char *names = at + 1;
  for (size_t i = 0; environment[i]; i++) {
    char name[256];
    const size_t length = name_length(environment[i]);
    if (length >= sizeof(name) || !strchr(environment[i], '=') || is_shell_noise(environment[i]))
      continue;
    memcpy(name, environment[i], length);
    name[length] = '\0';
    if (is_kept(names, state + size, environment[i]) && has(variables, name))
      continue;
    if (!variables_set(variables, environment[i]))
      return false;
  }
  return true;
}

void resume_run(char **argv, char *const *environment, struct error *error) {
  struct variables variables = {0};
  struct saved saved = {-1, -1, -1};
  size_t size = 0;

  cleanup_free char *state = read_saved(argv[1], &saved) ? read_state(saved.state_fd, &size) : NULL;
  if (!state || !merge(&variables, state, size, environment)) {
    error_set(error, "BERTH_EENTRYPOINT", HINT_EENTRYPOINT,
              "the image's entrypoint has lost what it was given for the command", NULL);
    return;
  }
  resume_outputs(&saved);
  (void)close(saved.stdout_fd);
  (void)close(saved.stderr_fd);
  (void)close(saved.state_fd);
  command_run(argv + 2, variables.list, error);
}
