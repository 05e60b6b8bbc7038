/* SPDX-License-Identifier: Apache-2.0 */
#include "join.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "clean.h"
#include "command.h"
#include "entrypoint.h"
#include "fail.h"
#include "hints.h"
#include "place.h"
#include "stay.h"
#include "variables.h"
#include "text.h"

/* What the launcher was told and no command needs. */
static const char *const own_variables[] = {"BERTH_SOCKET", "BERTH_TICKET", SIGNALS_VARIABLE};

bool join_has_pids(const struct frame_in *frame) {
  struct field field;

  for (size_t at = 0; frame_next(frame, &at, &field);)
    if (field.tag == BERTH_TAG_NS && field_word(&field) == CLONE_NEWPID)
      return true;
  return false;
}

int join_lease(const struct frame_in *frame) {
  struct field field;
  return frame_find(frame, BERTH_TAG_LEASE, &field) && frame->fd_count > 0 ? frame->fds[frame->fd_count - 1]
                                                                           : -1;
}

int join_namespaces(const struct frame_in *frame, struct error *error) {
  struct field field;
  uint32_t answer_flags = 0;
  size_t count = 0, others = 0;

  for (size_t at = 0; frame_next(frame, &at, &field);) {
    count += field.tag == BERTH_TAG_NS;
    others += field.tag == BERTH_TAG_LEASE;
  }
  if (count + others != frame->fd_count)
    return fail_protocol(error, "namespaces and descriptors differ in number");
  /* An answer without namespaces would run the command bare; only a step without a container says so on
   * purpose. */
  (void)frame_word(frame, BERTH_TAG_FLAGS, &answer_flags);
  if (count == 0 && (answer_flags & BERTH_FLAG_BARE) == 0)
    return fail_protocol(error, "no namespace");

  count = 0;
  for (size_t at = 0; frame_next(frame, &at, &field);) {
    if (field.tag != BERTH_TAG_NS)
      continue;
    if (setns(frame->fds[count++], (int)field_word(&field)) < 0)
      return fail_node(error, "BERTH_EJOIN", "cannot join the container: setns: ", text_errno(errno), NULL);
  }
  return 0;
}

static int change_directory(const struct frame_in *frame, struct error *error) {
  struct field field;

  if (!frame_find(frame, BERTH_TAG_CWD, &field))
    return 0;
  cleanup_free char *path = field_text(&field);
  if (!path)
    return fail_protocol(error, "working directory");
  /* Scripts look for `PATH: No such file or directory`. */
  if (chdir(path) < 0)
    return error_set(error, "BERTH_EWORKDIR", HINT_EWORKDIR, "couldn't chdir to ", path, ": ",
                     text_errno(errno), NULL);
  return 0;
}

/* The filter may allow exec only together with no_new_privs, so this is the last step before it. */
static int give_up_privileges(const struct frame_in *frame, uint32_t answer_flags, struct error *error) {
  struct field field;

  if ((answer_flags & BERTH_FLAG_NO_NEW_PRIVS) && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
    return fail_node(error, "BERTH_EJOIN", "cannot set no_new_privs: ", text_errno(errno), NULL);
  if (!frame_find(frame, BERTH_TAG_SECCOMP, &field) || field.length == 0)
    return 0;
  const size_t count = field.length / sizeof(struct sock_filter);
  if (field.length % sizeof(struct sock_filter) != 0 || count > BPF_MAXINSNS)
    return fail_protocol(error, "seccomp filter");
  cleanup_free struct sock_filter *filter = malloc(field.length);
  if (!filter)
    return fail_protocol(error, "no memory");
  memcpy(filter, field.bytes, field.length);
  const struct sock_fprog program = {.len = (unsigned short)count, .filter = filter};
  /* SPEC_ALLOW: the filter hides failures of fake root, it is no sandbox, so speculation need not be slowed.
   */
  if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, &program) < 0)
    return fail_node(error, "BERTH_EJOIN", "cannot install the seccomp filter: ", text_errno(errno), NULL);
  return 0;
}

/* The frame's ARGV words, then the user's. NULL with error filled. */
static char **build_argv(const struct frame_in *frame, char **argv, struct error *error) {
  struct field field;
  size_t count = 0, words = 0;

  while (argv[count])
    count++;
  for (size_t at = 0; frame_next(frame, &at, &field);)
    words += field.tag == BERTH_TAG_ARGV;
  char **all = calloc(count + words + 1, sizeof(*all));
  size_t filled = 0;
  for (size_t at = 0; all && frame_next(frame, &at, &field);)
    if (field.tag == BERTH_TAG_ARGV && !(all[filled++] = field_text(&field))) {
      free(all);
      all = NULL;
    }
  if (!all) {
    (void)fail_protocol(error, "command line");
    return NULL;
  }
  memcpy(all + filled, argv, count * sizeof(*all));
  if (filled + count == 0) {
    free(all);
    error_set(error, "BERTH_ECOMMAND", "name a command", "no command given", NULL);
    return NULL;
  }
  return all;
}

void join_run(struct frame_in *frame, char **argv, char *const *environment, struct error *error) {
  /* Those of a pid namespace were entered before the fork that made this process (setns(2)). */
  const bool joined = join_has_pids(frame);
  struct variables variables = {0};
  uint32_t answer_flags = 0;
  const bool is_bound = stay_is_child() || getenv("BERTH_TICKET");

  (void)frame_word(frame, BERTH_TAG_FLAGS, &answer_flags);
  cleanup_free char **all = build_argv(frame, argv, error);
  if (!all)
    return;
  if (!variables_copy(&variables, environment) || !variables_edit(&variables, frame)) {
    (void)fail_protocol(error, "environment");
    return;
  }
  for (size_t i = 0; i < ARRAY_SIZE(own_variables); i++)
    variables_unset(&variables, own_variables[i]);
  variables_unset_all(&variables, ARGV0_VARIABLE);
  const pid_t parent = getppid();
  if ((!joined && join_namespaces(frame, error) < 0) || change_directory(frame, error) < 0 ||
      give_up_privileges(frame, answer_flags, error) < 0 || (is_bound && stay_with(parent, error) < 0))
    return;
  if (entrypoint_is_asked(frame))
    entrypoint_run(frame, all, &variables, error);
  else
    command_run(all, variables.list, error);
}
