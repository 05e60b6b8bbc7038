/* SPDX-License-Identifier: Apache-2.0 */
#include "entrypoint.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "clean.h"
#include "command.h"
#include "fail.h"
#include "resume.h"
#include "text.h"

/* Above what shells use for their own files and what scripts write as `exec 9>`. */
#define SAVED_FD_MIN 64

/* What the saved environment is ended and the names to keep begun by: no variable is empty. */
#define SEPARATOR ""

bool entrypoint_is_asked(const struct frame_in *frame) {
  struct field field;
  return frame_find(frame, BERTH_TAG_ENTRYPOINT, &field);
}

static size_t name_length(const char *pair) { return strcspn(pair, "="); }

/* The image's own, what the user named, and what the worker lets through; "NAME*" is a prefix. */
static bool is_seen(const struct frame_in *frame, const char *pair) {
  const size_t length = name_length(pair);
  struct field field;

  for (size_t at = 0; frame_next(frame, &at, &field);) {
    const char *text = (const char *)field.bytes;
    size_t size = field.length;
    if (field.tag == BERTH_TAG_ENV_SET || field.tag == BERTH_TAG_ENV_DEFAULT) {
      const char *equals = memchr(text, '=', size);
      size = equals ? (size_t)(equals - text) : 0;
    } else if (field.tag != BERTH_TAG_ENV_KEEP && field.tag != BERTH_TAG_ENV_ENTRY) {
      continue;
    }
    const bool prefix = size > 0 && text[size - 1] == '*';
    size -= prefix;
    if ((prefix ? length >= size : length == size) && memcmp(pair, text, size) == 0)
      return true;
  }
  return false;
}

/* What is put together, or, without bytes, only measured. */
struct state {
  char *bytes;
  size_t size;
};

static void put(struct state *state, const char *text, size_t length) {
  if (state->bytes) {
    memcpy(state->bytes + state->size, text, length);
    state->bytes[state->size + length] = '\0';
  }
  state->size += length + 1;
}

/* K=V\0…\0\0NAME\0…: the command's environment, then the names that the entrypoint must not change. */
static void put_all(struct state *state, const struct frame_in *frame, const struct variables *variables) {
  struct field field;

  for (size_t i = 0; i < variables->count; i++)
    put(state, variables->list[i], strlen(variables->list[i]));
  put(state, SEPARATOR, 0);
  for (size_t at = 0; frame_next(frame, &at, &field);)
    if (field.tag == BERTH_TAG_ENV_KEEP)
      put(state, (const char *)field.bytes, field.length);
}

/* Inherited by the entrypoint; lower than it should be where the job may have few descriptors. */
static int dup_saved(int fd) {
  static const int lowest[] = {SAVED_FD_MIN, SAVED_FD_MIN / 4, STDERR_FILENO + 1};
  int copy = -1;

  for (size_t i = 0; i < ARRAY_SIZE(lowest) && copy < 0; i++) {
    copy = fcntl(fd, F_DUPFD, lowest[i]);
    if (copy < 0 && errno != EINVAL && errno != EMFILE)
      break;
  }
  return copy;
}

/* Read once only. */
static int save_in_pipe(const struct state *state) {
  int ends[2];

  if (pipe2(ends, O_CLOEXEC) < 0)
    return -1;
  cleanup_close int from = ends[0], to = ends[1];
  if ((size_t)fcntl(to, F_GETPIPE_SZ) < state->size && fcntl(to, F_SETPIPE_SZ, state->size) < 0) {
    errno = EFBIG;
    return -1;
  }
  text_write(to, state->bytes, state->size);
  return dup_saved(from);
}

static int save_in_memory(const struct state *state) {
  cleanup_close int fd = memfd_create("berth-environment", MFD_CLOEXEC);

  if (fd < 0)
    return -1;
  text_write(fd, state->bytes, state->size);
  return dup_saved(fd);
}

static int save_state(const struct frame_in *frame, const struct variables *variables) {
  struct state state = {0};
  struct rlimit files;

  put_all(&state, frame, variables);
  cleanup_free char *bytes = malloc(state.size);
  if (!bytes)
    return -1;
  state = (struct state){.bytes = bytes};
  put_all(&state, frame, variables);
  /* The job's limit on files (ulimit -f) is one on memory that is a file. */
  const bool is_limited = getrlimit(RLIMIT_FSIZE, &files) == 0 && files.rlim_cur < state.size;
  return is_limited ? save_in_pipe(&state) : save_in_memory(&state);
}

/* A task may have been started with a closed stdout: -1 then, and it is closed again afterwards. */
static bool save_output(int fd, int *saved) {
  *saved = dup_saved(fd);
  return *saved >= 0 || errno == EBADF;
}

static int hide_outputs(void) {
  cleanup_close int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

  if (null < 0 || dup2(null, STDOUT_FILENO) < 0 || dup2(null, STDERR_FILENO) < 0)
    return -1;
  return 0;
}

/* {ENTRYPOINT words, RESUME_PROGRAM, option, command…, NULL} */
static char **entry_line(const struct frame_in *frame, char **command, char *option) {
  struct field field;
  size_t words = 0, count = 0, filled = 0;

  for (size_t at = 0; frame_next(frame, &at, &field);)
    words += field.tag == BERTH_TAG_ENTRYPOINT;
  while (command[count])
    count++;
  char **line = calloc(words + count + 3, sizeof(*line));
  if (!line)
    return NULL;
  for (size_t at = 0; frame_next(frame, &at, &field);)
    if (field.tag == BERTH_TAG_ENTRYPOINT && !(line[filled++] = field_text(&field))) {
      free(line);
      return NULL;
    }
  line[filled++] = (char *)RESUME_PROGRAM;
  line[filled++] = option;
  memcpy(line + filled, command, count * sizeof(*line));
  return line;
}

static char **entry_environment(const struct frame_in *frame, const struct variables *variables) {
  char **list = calloc(variables->count + 1, sizeof(*list));
  size_t filled = 0;

  for (size_t i = 0; list && i < variables->count; i++)
    if (is_seen(frame, variables->list[i]))
      list[filled++] = variables->list[i];
  return list;
}

void entrypoint_run(const struct frame_in *frame, char **command, const struct variables *variables,
                    struct error *error) {
  struct saved saved;
  const bool is_saved =
      save_output(STDOUT_FILENO, &saved.stdout_fd) && save_output(STDERR_FILENO, &saved.stderr_fd);
  saved.state_fd = is_saved ? save_state(frame, variables) : -1;
  const int failure = errno;
  char numbers[3][NUMBER_TEXT_MAX], option[sizeof(RESUME_OPTION) + sizeof(numbers)];
  uint32_t answer_flags = 0;

  (void)frame_word(frame, BERTH_TAG_FLAGS, &answer_flags);
  (void)text_join(option, sizeof(option), RESUME_OPTION, text_number(numbers[0], saved.stdout_fd), ",",
                  text_number(numbers[1], saved.stderr_fd), ",", text_number(numbers[2], saved.state_fd),
                  NULL);
  cleanup_free char **line = entry_line(frame, command, option);
  cleanup_free char **environment = entry_environment(frame, variables);
  if (saved.state_fd < 0 || !line || !environment) {
    fail_internal(error, "cannot prepare the entrypoint: ", text_errno(saved.state_fd < 0 ? failure : ENOMEM),
                  NULL);
    return;
  }
  if ((answer_flags & BERTH_FLAG_ENTRYPOINT_LOG) == 0 && hide_outputs() < 0)
    fail_internal(error, "cannot hide the entrypoint's output: ", text_errno(errno), NULL);
  else
    command_run(line, environment, error);
  resume_outputs(&saved);
}
