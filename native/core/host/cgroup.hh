// SPDX-License-Identifier: Apache-2.0
/** The cgroups of a process, as directories. */
#pragma once

#include "core/result.hh"

#include <string>
#include <sys/types.h>
#include <vector>

namespace berth {

struct Cgroup {
  /** "cpu,cpuacct", "name=systemd"; empty: version 2. */
  std::string controllers;
  std::string directory;
};

/** One for each hierarchy; empty when there is no such process. */
std::vector<Cgroup> cgroupsOf(pid_t pid);

/**
 * Moves `pid` to where `like`, a task of Slurm's, is, in every hierarchy that lets it. Fails when none does,
 * and moves nothing when the freezer (version 1) does not: the step is ending. ESRCH: `like` has ended, and
 * `pid` is where the caller is. May take milliseconds.
 */
Result<> shareCgroups(pid_t pid, pid_t like);

/**
 * Removes a task's cgroup and its step's where they are empty: slurmstepd tries once, and somebody who was in
 * there just then would leave them for good.
 */
void removeEnded(const std::string &directory);

} // namespace berth
