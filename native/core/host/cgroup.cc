// SPDX-License-Identifier: Apache-2.0
#include "cgroup.hh"

#include "process.hh"

#include <algorithm>
#include <fcntl.h>
#include <fstream>
#include <string_view>
#include <unistd.h>

namespace berth {

constexpr const char *kHierarchies = "/sys/fs/cgroup";
constexpr const char *kNamed = "name=";

/** Beside hierarchies of version 1, systemd mounts that of version 2 below its own name. */
static std::string mountOf(const std::string &controllers) {
  const std::string all = kHierarchies;
  if (controllers.empty())
    return access((all + "/unified/cgroup.procs").c_str(), F_OK) == 0 ? all + "/unified" : all;
  return all + "/" + (controllers.starts_with(kNamed) ? controllers.substr(5) : controllers);
}

/** "ID:CONTROLLERS:PATH" (proc(5)). */
std::vector<Cgroup> cgroupsOf(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/cgroup");
  std::vector<Cgroup> cgroups;
  for (std::string line; std::getline(file, line);) {
    const size_t first = line.find(':');
    const size_t second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos)
      continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    cgroups.push_back({controllers, mountOf(controllers) + line.substr(second + 1)});
  }
  return cgroups;
}

static bool isFreezer(const Cgroup &cgroup) {
  return ("," + cgroup.controllers + ",").find(",freezer,") != std::string::npos;
}

void removeEnded(const std::string &directory) {
  std::string path = directory;
  for (const std::string_view level : {"task_", "step_"}) {
    const size_t slash = path.rfind('/');
    if (slash == std::string::npos || !std::string_view(path).substr(slash + 1).starts_with(level) ||
        rmdir(path.c_str()) < 0)
      return;
    path.resize(slash);
  }
}

static bool enter(const Cgroup &cgroup, const std::string &number) {
  const Fd procs(open((cgroup.directory + "/cgroup.procs").c_str(), O_WRONLY | O_CLOEXEC));
  return procs && write(procs.get(), number.c_str(), number.size()) > 0;
}

/** Back to where this process is. */
static Result<> leaveEnded(pid_t pid, const std::vector<Cgroup> &cgroups) {
  for (const Cgroup &own : cgroupsOf(getpid()))
    (void)enter(own, std::to_string(pid));
  for (const Cgroup &cgroup : cgroups)
    removeEnded(cgroup.directory);
  return fail(ESRCH, "cgroups of the task");
}

/**
 * The freezer first: slurmstepd ends what is in the step's, waits until it is empty, and then removes the
 * step's cgroups of other hierarchies, once (proctrack/cgroup and task/cgroup of version 1). Who came into
 * those alone would keep them there forever, and so would who came into the freezer after that wait: as long
 * as the task has not ended, it has not begun.
 */
Result<> shareCgroups(pid_t pid, pid_t like) {
  const std::string number = std::to_string(pid);
  Result<> last = fail(ESRCH, "open", "/proc/" + std::to_string(like) + "/cgroup");
  bool moved = false;
  std::vector<Cgroup> cgroups = cgroupsOf(like);
  std::stable_partition(cgroups.begin(), cgroups.end(), isFreezer);
  for (const Cgroup &cgroup : cgroups) {
    if (enter(cgroup, number)) {
      moved = true;
      continue;
    }
    last = fail("write", cgroup.directory + "/cgroup.procs");
    if (isFreezer(cgroup))
      return last;
  }
  if (moved && isEnding(like))
    return leaveEnded(pid, cgroups);
  return moved ? Result<>(Nothing{}) : last;
}

} // namespace berth
