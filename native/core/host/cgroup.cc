// SPDX-License-Identifier: Apache-2.0
#include "cgroup.hh"

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

Result<> shareCgroups(pid_t pid, pid_t like) {
  const std::string number = std::to_string(pid);
  Result<> last = fail(ESRCH, "open", "/proc/" + std::to_string(like) + "/cgroup");
  bool moved = false;
  for (const Cgroup &cgroup : cgroupsOf(like)) {
    const std::string entrance = cgroup.directory + "/cgroup.procs";
    const Fd procs(open(entrance.c_str(), O_WRONLY | O_CLOEXEC));
    if (procs && write(procs.get(), number.c_str(), number.size()) > 0)
      moved = true;
    else
      last = fail("write", entrance);
  }
  return moved ? Result<>(Nothing{}) : last;
}

} // namespace berth
