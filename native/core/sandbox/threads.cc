// SPDX-License-Identifier: Apache-2.0
#include "threads.hh"

#include <array>
#include <atomic>
#include <csignal>
#include <cstdlib>
#include <dirent.h>
#include <memory>
#include <set>
#include <sys/syscall.h>
#include <time.h>

namespace berth {

/** SIGSETXID of glibc's and SIGSYNCCALL's neighbour of musl's: neither lets pthread_sigmask block it. */
constexpr int kSignal = 33;
constexpr int kWaitMsMax = 3000;
/** The kernel's sigset_t, not the C library's. */
constexpr size_t kSignalSetBytes = _NSIG / 8;

static int (*currentWork)();
static std::atomic<int> answered;
static std::atomic<int> firstError;

static void onSignal(int) {
  const int saved = errno;
  if (const int code = currentWork(); code != 0)
    firstError = code;
  answered++;
  errno = saved;
}

/** struct sigaction as the kernel sees it; its layout differs by architecture, so it is only ever copied
 * whole. */
using RawAction = std::array<unsigned char, 256>;

static bool rawAction(int signal, const RawAction *set, RawAction *old) {
  return syscall(SYS_rt_sigaction, signal, set, old, kSignalSetBytes) == 0;
}

/** The C library refuses kSignal; so it prepares an ordinary one, with its return trampoline, and that is
 * copied. */
static bool takeSignal(RawAction &before) {
  struct sigaction ordinary {
  }, old{};
  ordinary.sa_handler = onSignal;
  ordinary.sa_flags = SA_RESTART;
  sigfillset(&ordinary.sa_mask);
  RawAction raw{};
  if (sigaction(SIGRTMAX, &ordinary, &old) < 0)
    return false;
  const bool copied = rawAction(SIGRTMAX, nullptr, &raw);
  sigaction(SIGRTMAX, &old, nullptr);
  return copied && rawAction(kSignal, &raw, &before);
}

static std::set<pid_t> listThreads() {
  std::set<pid_t> threads;
  const std::unique_ptr<DIR, int (*)(DIR *)> directory(opendir("/proc/self/task"), closedir);
  while (const dirent *entry = directory ? readdir(directory.get()) : nullptr)
    if (const int thread = atoi(entry->d_name); thread > 0)
      threads.insert(thread);
  return threads;
}

static bool waitFor(int count) {
  for (int waited = 0; answered < count; waited++) {
    if (waited == kWaitMsMax)
      return false;
    const timespec pause{0, 1'000'000};
    nanosleep(&pause, nullptr);
  }
  return true;
}

static Result<> signalAll(int (*work)()) {
  std::set<pid_t> done = {static_cast<pid_t>(syscall(SYS_gettid))};
  if (const int code = work(); code != 0)
    return fail(code, "sandbox");
  // A thread that starts meanwhile inherits from its maker, which may not have been reached yet: until none
  // is new.
  for (bool found = true; found;) {
    found = false;
    int sent = 0;
    answered = 0;
    for (const pid_t thread : listThreads())
      if (done.insert(thread).second && syscall(SYS_tgkill, getpid(), thread, kSignal) == 0)
        sent++;
    found = sent > 0;
    if (!waitFor(sent))
      return fail(ETIMEDOUT, "tgkill", "", "a thread did not enter the sandbox");
  }
  if (firstError != 0)
    return fail(firstError, "sandbox");
  return Nothing{};
}

Result<> onEveryThread(int (*work)()) {
  RawAction before{};
  currentWork = work;
  firstError = 0;
  if (!takeSignal(before))
    return fail("rt_sigaction");
  auto done = signalAll(work);
  rawAction(kSignal, &before, nullptr);
  return done;
}

} // namespace berth
