// SPDX-License-Identifier: Apache-2.0
/**
 * A pid namespace for the tasks of a step: its first process, which reaps and lives as long as somebody holds
 * the lease, and a /proc that shows it alone. The first process is neither a task's child nor its tracee: a
 * copy of berth-init that its user may execute but not read, so that the kernel lets nobody in the container
 * look into it (would_dump() of fs/exec.c), whatever capabilities it has there.
 */
#pragma once

#include "standby.hh"

#include <memory>
#include <string>

namespace berth {

/** The file, executable and unreadable on a file system that nobody sees; made once for all steps. */
Result<std::shared_ptr<Fd>> unreadableProgram(const std::string &path);

class PidSpace {
public:
  /** unreadableProgram(), and who runs it, as the container numbers them. */
  struct Program {
    int fd;
    uid_t uid;
    gid_t gid;
  };
  /**
   * Before the caller gives up root, in a mount namespace of root's: there the kernel asks nobody to have
   * seen a whole /proc before (mount_too_revealing() of fs/namespace.c). `proc` is the caller's directory in
   * /proc.
   */
  Result<> prepare(int proc, const std::string &target);
  /** After unshare(CLONE_NEWPID), in the finished root. Answers the lease. */
  Result<Fd> begin(const Program &program);
  /** The first process, as the caller's namespace numbers it. */
  pid_t first() const { return first_; }

private:
  Result<> startFirst(const Program &program, Fd &lease);

  Standby mounter_;
  pid_t first_ = -1;
};

} // namespace berth
