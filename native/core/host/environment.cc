// SPDX-License-Identifier: Apache-2.0
#include "environment.hh"

#include <csignal>
#include <fcntl.h>
#include <memory>
#include <pthread.h>
#include <unistd.h>

namespace berth {
namespace {

/** procfs gives a page or so at a time. */
constexpr size_t kPieceBytes = 64 << 10;
/** Some wait for long: they need no more than the buffer's pointer and a few calls. */
constexpr size_t kStackBytes = 256 << 10;

struct Reading {
  pid_t pid;
  size_t bytesMax;
  std::function<void(Result<std::string>)> done;
};

/** Its process may say of any memory that it is the environment (prctl(2), PR_SET_MM_MAP). */
Result<std::string> readAll(pid_t pid, size_t bytesMax) {
  const std::string path = "/proc/" + std::to_string(pid) + "/environ";
  const Fd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file)
    return fail("open", path);
  std::string text;
  for (;;) {
    const size_t length = text.size();
    text.resize(length + kPieceBytes);
    const ssize_t got = read(file.get(), text.data() + length, kPieceBytes);
    text.resize(length + (got > 0 ? static_cast<size_t>(got) : 0));
    if (got < 0 && errno != EINTR)
      return fail("read", path);
    if (got == 0)
      return text;
    if (text.size() > bytesMax)
      return fail(E2BIG, "read", path);
  }
}

void *runReading(void *argument) {
  const std::unique_ptr<Reading> reading(static_cast<Reading *>(argument));
  reading->done(readAll(reading->pid, reading->bytesMax));
  return nullptr;
}

} // namespace

Result<> readEnvironment(pid_t pid, size_t bytesMax, std::function<void(Result<std::string>)> done) {
  auto reading = std::make_unique<Reading>(Reading{pid, bytesMax, std::move(done)});
  pthread_attr_t detached;
  sigset_t all, before;
  pthread_t id;
  pthread_attr_init(&detached);
  pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
  pthread_attr_setstacksize(&detached, kStackBytes);
  // Signals are for the threads of node.
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  const int failed = pthread_create(&id, &detached, runReading, reading.get());
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  pthread_attr_destroy(&detached);
  if (failed != 0)
    return fail(failed, "pthread_create");
  reading.release();
  return Nothing{};
}

} // namespace berth
