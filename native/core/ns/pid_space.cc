// SPDX-License-Identifier: Apache-2.0
#include "pid_space.hh"

#include "child.hh"
#include "filesystem.hh"
#include "kernel.hh"

#include <mutex>
#include <sched.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

namespace berth {

/** Where berth-init finds the lease. */
constexpr int kLeaseFd = 3;
constexpr mode_t kExecuteOnly = 0111;

static Result<> copyInto(int place, int program) {
  const Fd copy(openat(place, "init", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!copy)
    return fail("openat", "init");
  off_t offset = 0;
  ssize_t got = 0;
  while ((got = sendfile(copy.get(), program, &offset, kernel::kSendfileMax)) > 0)
    ;
  if (got < 0 || fchmod(copy.get(), kExecuteOnly) < 0)
    return fail("sendfile", "init");
  return Nothing{};
}

static Result<Fd> copyUnreadable(const std::string &path) {
  const Fd program(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!program)
    return fail("open", path);
  const auto place = makeFilesystem("tmpfs", {{"mode", "0700"}}, kernel::kAttrNoSuid | kernel::kAttrNoDev);
  if (!place)
    return place.error();
  // Written by a process of its own: whoever another thread forks just now would keep our writable
  // descriptor, and until its end nobody could execute the copy (ETXTBSY of execve(2)).
  Standby writer;
  if (auto begun = writer.start([&] { return copyInto(place.value().get(), program.get()); }); !begun)
    return begun.error();
  if (auto done = writer.finish("sendfile", path.c_str()); !done)
    return done.error();
  Fd made(openat(place.value().get(), "init", O_RDONLY | O_CLOEXEC));
  if (!made)
    return fail("openat", path);
  return made;
}

Result<std::shared_ptr<Fd>> unreadableProgram(const std::string &path) {
  static std::mutex mutex;
  static std::shared_ptr<Fd> kept;
  const std::lock_guard<std::mutex> lock(mutex);
  if (!kept) {
    auto made = copyUnreadable(path);
    if (!made)
      return made.error();
    kept = std::make_shared<Fd>(std::move(*made));
  }
  return kept;
}

/** A process of the pid namespace and, by its descent, one of root's: the file system belongs to the former.
 */
static Result<> mountProc(int mountNs, const std::string &target) {
  auto mount = makeFilesystem("proc", {}, kernel::kAttrNoSuid | kernel::kAttrNoDev | kernel::kAttrNoExec);
  if (!mount)
    return mount.error();
  if (setns(mountNs, CLONE_NEWNS) < 0)
    return fail("setns", "mount namespace of the container");
  const Fd point =
      kernel::openAt(AT_FDCWD, target.c_str(), {O_PATH | O_CLOEXEC, 0, kernel::kResolveNoMagicLinks});
  if (!point || kernel::moveMount(mount->get(), point.get()) < 0)
    return fail("move_mount", target);
  return Nothing{};
}

static Result<> mountInside(int proc, const std::string &target) {
  const Fd pidNs(openat(proc, "ns/pid_for_children", O_RDONLY | O_CLOEXEC));
  const Fd mountNs(openat(proc, "ns/mnt", O_RDONLY | O_CLOEXEC));
  if (!pidNs || !mountNs)
    return fail("openat", "ns");
  if (setns(pidNs.get(), CLONE_NEWPID) < 0)
    return fail("setns", "pid namespace");
  const pid_t inside = fork();
  if (inside < 0)
    return fail("fork");
  if (inside == 0) {
    const auto mounted = mountProc(mountNs.get(), target);
    _exit(mounted ? 0 : mounted.error().code);
  }
  int status = 0;
  if (TEMP_FAILURE_RETRY(waitpid(inside, &status, 0)) < 0)
    return fail("waitpid");
  return WIFEXITED(status) && WEXITSTATUS(status) == 0
             ? Result<>(Nothing{})
             : fail(WIFEXITED(status) ? WEXITSTATUS(status) : ECHILD, "mount", "/proc");
}

Result<> PidSpace::prepare(int proc, const std::string &target) {
  return mounter_.start([proc, target] { return mountInside(proc, target); });
}

/**
 * The signals stay blocked, which is what a first process wants. All ids become the user's: the real ones are
 * still root's, for which the C library would insist on a /dev/null (AT_SECURE of getauxval(3)).
 */
[[noreturn]] static void becomeFirst(const PidSpace::Program &program, int lease, int failure) {
  const Fd held(fcntl(program.fd, F_DUPFD_CLOEXEC, kLeaseFd + 1));
  const Fd told(fcntl(failure, F_DUPFD_CLOEXEC, kLeaseFd + 1));
  // dup2 onto itself would leave it to be closed by exec.
  bool ready =
      held && told && (lease == kLeaseFd ? fcntl(lease, F_SETFD, 0) == 0 : dup2(lease, kLeaseFd) == kLeaseFd);
  for (int fd = 0; ready && fd < kLeaseFd; fd++)
    ready = dup2(kLeaseFd, fd) == fd;
  ready = ready && syscall(SYS_setresgid, program.gid, program.gid, program.gid) == 0 &&
          syscall(SYS_setresuid, program.uid, program.uid, program.uid) == 0;
  char name[] = "berth-init";
  char *const argv[] = {name, nullptr};
  char *const environment[] = {nullptr};
  if (ready)
    syscall(SYS_execveat, held.get(), "", argv, environment, AT_EMPTY_PATH);
  const int code = errno;
  if (write(told.get(), &code, sizeof code) != sizeof code)
    _exit(126);
  _exit(127);
}

Result<> PidSpace::startFirst(const Program &program, Fd &lease) {
  int pair[2], ends[2];
  // No pipe: through /proc/PID/fd another writer could be opened.
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
    return fail("socketpair");
  lease = Fd(pair[0]);
  const Fd other(pair[1]);
  if (pipe2(ends, O_CLOEXEC) < 0)
    return fail("pipe2");
  const Fd reading(ends[0]);
  Fd telling(ends[1]);
  first_ = fork();
  if (first_ < 0)
    return fail("fork", "pid namespace");
  if (first_ == 0)
    becomeFirst(program, other.get(), telling.get());
  telling.reset();
  int code = 0;
  if (TEMP_FAILURE_RETRY(read(reading.get(), &code, sizeof code)) == sizeof code)
    return fail(code, "execveat", "berth-init");
  return Nothing{};
}

Result<Fd> PidSpace::begin(const Program &program) {
  Fd lease;
  if (auto started = startFirst(program, lease); !started)
    return started.error();
  if (auto mounted = mounter_.finish("mount", "/proc"); !mounted)
    return mounted.error();
  return lease;
}

} // namespace berth
