// SPDX-License-Identifier: Apache-2.0
#include "probe.hh"

#include "cgroup.hh"
#include "core/ns/child.hh"
#include "process.hh"

#include <algorithm>
#include <fcntl.h>
#include <sstream>

namespace berth {

constexpr int kAnswerWaitMsMax = 1000;
/** In the text of one report. */
constexpr size_t kCodesAtOnce = 500;

/** Version 1 has a hierarchy for devices, version 2 one for all. */
static std::string cgroupOf(pid_t pid) {
  std::string unified;
  for (const Cgroup &cgroup : cgroupsOf(pid)) {
    if (("," + cgroup.controllers + ",").find(",devices,") != std::string::npos)
      return cgroup.directory;
    if (cgroup.controllers.empty())
      unified = cgroup.directory;
  }
  return unified;
}

static void askInside(ParentLink &parent, int cgroup, const std::string &entrance,
                      const std::vector<std::string> &paths) {
  if (write(cgroup, "0", 1) != 1)
    return parent.failed(fail("write", entrance), -1);
  for (size_t at = 0; at < paths.size();) {
    std::string codes;
    for (const size_t end = std::min(paths.size(), at + kCodesAtOnce); at < end; at++) {
      const int code = faccessat(AT_FDCWD, paths[at].c_str(), R_OK | W_OK, 0) < 0 ? errno : 0;
      codes += std::to_string(code) + " ";
    }
    parent.note(codes);
  }
}

static Result<std::vector<int>> answersOf(Child &child, size_t count) {
  std::vector<int> codes;
  while (codes.size() < count) {
    auto report = child.receive(kAnswerWaitMsMax);
    if (!report)
      return report.error();
    if (report->kind == Report::kFailed)
      return report->error;
    std::istringstream text(report->error.message);
    for (int code = 0; text >> code;)
      codes.push_back(code);
  }
  return codes;
}

/** The child is gone before anybody removes its cgroup. */
static Result<std::vector<int>> ask(int cgroup, const std::string &entrance,
                                    const std::vector<std::string> &paths) {
  auto child = Child::start([&](ParentLink &parent) { askInside(parent, cgroup, entrance, paths); });
  if (!child)
    return child.error();
  return answersOf(*child, paths.size());
}

Result<std::vector<int>> probeDevices(pid_t pid, const std::vector<std::string> &paths) {
  const std::string directory = cgroupOf(pid);
  const std::string entrance = directory + "/cgroup.procs";
  const Fd cgroup(directory.empty() ? -1 : open(entrance.c_str(), O_WRONLY | O_CLOEXEC));
  if (!cgroup)
    return directory.empty() ? fail(ESRCH, "open", "/proc/" + std::to_string(pid) + "/cgroup")
                             : fail("open", entrance);
  auto codes = ask(cgroup.get(), entrance, paths);
  if (isEnding(pid))
    removeEnded(directory);
  return codes;
}

} // namespace berth
