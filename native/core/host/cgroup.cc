// SPDX-License-Identifier: Apache-2.0
#include "cgroup.hh"

#include <algorithm>
#include <fcntl.h>
#include <fstream>

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

/**
 * The freezer first: slurmstepd ends what is in the step's, waits until it is empty, and then removes the
 * step's cgroups of other hierarchies, once (proctrack/cgroup and task/cgroup of version 1). Who came into
 * those alone would keep them there forever.
 */
Result<> shareCgroups(pid_t pid, pid_t like) {
  const std::string number = std::to_string(pid);
  Result<> last = fail(ESRCH, "open", "/proc/" + std::to_string(like) + "/cgroup");
  bool moved = false;
  std::vector<Cgroup> cgroups = cgroupsOf(like);
  std::stable_partition(cgroups.begin(), cgroups.end(), isFreezer);
  for (const Cgroup &cgroup : cgroups) {
    const std::string entrance = cgroup.directory + "/cgroup.procs";
    const Fd procs(open(entrance.c_str(), O_WRONLY | O_CLOEXEC));
    if (procs && write(procs.get(), number.c_str(), number.size()) > 0) {
      moved = true;
      continue;
    }
    last = fail("write", entrance);
    if (isFreezer(cgroup))
      return last;
  }
  return moved ? Result<>(Nothing{}) : last;
}

} // namespace berth
