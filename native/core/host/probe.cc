// SPDX-License-Identifier: Apache-2.0
#include "probe.hh"

#include "cgroup.hh"
#include "process.hh"

#include <csignal>
#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>

namespace berth {

constexpr int kAnswerWaitMsMax = 1000;

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

/** Runs in the child of a process with threads: system calls only. */
[[noreturn]] static void askInside(int cgroup, int answers, const std::vector<std::string> &paths) {
  if (write(cgroup, "0", 1) != 1)
    _exit(1);
  for (const std::string &path : paths) {
    const int code = faccessat(AT_FDCWD, path.c_str(), R_OK | W_OK, 0) < 0 ? errno : 0;
    if (write(answers, &code, sizeof code) != sizeof code)
      _exit(1);
  }
  _exit(0);
}

static bool readAll(int fd, std::vector<int> &codes) {
  char *at = reinterpret_cast<char *>(codes.data());
  for (size_t left = codes.size() * sizeof(int); left > 0;) {
    pollfd ready{fd, POLLIN, 0};
    if (TEMP_FAILURE_RETRY(poll(&ready, 1, kAnswerWaitMsMax)) <= 0)
      return false;
    const ssize_t got = TEMP_FAILURE_RETRY(read(fd, at, left));
    if (got <= 0)
      return false;
    at += got;
    left -= static_cast<size_t>(got);
  }
  return true;
}

Result<std::vector<int>> probeDevices(pid_t pid, const std::vector<std::string> &paths) {
  const std::string directory = cgroupOf(pid);
  const std::string entrance = directory + "/cgroup.procs";
  const Fd cgroup(directory.empty() ? -1 : open(entrance.c_str(), O_WRONLY | O_CLOEXEC));
  if (!cgroup)
    return directory.empty() ? fail(ESRCH, "open", "/proc/" + std::to_string(pid) + "/cgroup")
                             : fail("open", entrance);
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) < 0)
    return fail("pipe2");
  const Fd answers(ends[0]);
  Fd asks(ends[1]);
  const pid_t child = fork();
  if (child < 0)
    return fail("fork");
  if (child == 0)
    askInside(cgroup.get(), asks.get(), paths);
  asks.reset();
  std::vector<int> codes(paths.size());
  const bool answered = readAll(answers.get(), codes);
  if (!answered)
    kill(child, SIGKILL);
  TEMP_FAILURE_RETRY(waitpid(child, nullptr, 0));
  if (isEnding(pid))
    removeEnded(directory);
  if (!answered)
    return fail(EIO, "access", entrance);
  return codes;
}

} // namespace berth
