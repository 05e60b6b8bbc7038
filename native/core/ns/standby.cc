// SPDX-License-Identifier: Apache-2.0
#include "standby.hh"

#include <fcntl.h>
#include <sys/wait.h>

namespace berth {

Result<> Standby::start(const std::function<Result<>()> &work) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) < 0)
    return fail("pipe2");
  const Fd reading(ends[0]);
  go_ = Fd(ends[1]);
  pid_ = fork();
  if (pid_ < 0)
    return fail("fork");
  if (pid_ > 0)
    return Nothing{};
  go_.reset();
  char go = 0;
  if (TEMP_FAILURE_RETRY(read(reading.get(), &go, 1)) != 1)
    _exit(ECANCELED);
  const auto done = work();
  _exit(done ? 0 : done.error().code);
}

Result<> Standby::finish(const char *syscall, const char *object) {
  int status = 0;
  if (write(go_.get(), "", 1) != 1)
    return fail("write", object);
  if (TEMP_FAILURE_RETRY(waitpid(pid_, &status, 0)) < 0)
    return fail("waitpid", object);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
    return fail(WIFEXITED(status) ? WEXITSTATUS(status) : ECHILD, syscall, object);
  return Nothing{};
}

} // namespace berth
