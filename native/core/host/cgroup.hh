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
 * Moves `pid` to where `like` is, in every hierarchy that lets it. Fails when none does, and moves nothing
 * when the freezer (version 1) does not: the step is ending. May take milliseconds.
 */
Result<> shareCgroups(pid_t pid, pid_t like);

} // namespace berth
