/* SPDX-License-Identifier: Apache-2.0 */
#include "namespaces.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clean.h"
#include "text.h"

static int open_namespace(const char *process, const char *name) {
  char path[64];

  (void)text_join(path, sizeof(path), "/proc/", process, "/ns/", name, NULL);
  return open(path, O_RDONLY | O_CLOEXEC);
}

/* A descriptor of process 1's namespace when it is another than ours, else -1. */
static int open_other(const char *name) {
  cleanup_close int own = open_namespace("self", name);
  cleanup_close int first = open_namespace("1", name);
  struct stat here, there;

  if (own < 0 || first < 0 || fstat(own, &here) < 0 || fstat(first, &there) < 0)
    return -1;
  return here.st_ino == there.st_ino ? -1 : steal_fd(&first);
}

static bool is_same(const char *path, const struct stat *before) {
  struct stat after;
  return stat(path, &after) == 0 && after.st_dev == before->st_dev && after.st_ino == before->st_ino;
}

/* A slurmd that was given a mount namespace on purpose (several on one machine) keeps it: our socket must be
 * in there. */
static void leave_mount_namespace(const struct keeper *keeper) {
  cleanup_close int own = open_namespace("self", "mnt");
  cleanup_close int other = open_other("mnt");
  struct stat runtime, node, script;

  if (own < 0 || other < 0)
    return;
  if (stat(keeper->runtime_dir, &runtime) < 0 || stat(keeper->node, &node) < 0 ||
      stat(keeper->script, &script) < 0)
    return;
  if (setns(other, CLONE_NEWNS) < 0) {
    keeper_log("stays in its mount namespace: ", text_errno(errno), NULL);
    return;
  }
  if (is_same(keeper->runtime_dir, &runtime) && is_same(keeper->node, &node) &&
      is_same(keeper->script, &script))
    return;
  keeper_log("stays in its mount namespace: its directories are not those of process 1", NULL);
  if (setns(own, CLONE_NEWNS) < 0)
    keeper_log("cannot return to its mount namespace: ", text_errno(errno), NULL);
}

bool namespaces_leave(const struct keeper *keeper) {
  cleanup_close int user = open_other("user");
  cleanup_close int pid = open_other("pid");

  if (user >= 0 && setns(user, CLONE_NEWUSER) < 0)
    return keeper_refuse(keeper, "cannot leave the job's user namespace (", text_errno(errno),
                         "): enable berth-worker.socket of systemd on this node", NULL);
  leave_mount_namespace(keeper);
  if (pid >= 0 && setns(pid, CLONE_NEWPID) < 0)
    keeper_log("stays in its pid namespace: ", text_errno(errno), NULL);
  return true;
}
