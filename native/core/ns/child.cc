// SPDX-License-Identifier: Apache-2.0
#include "child.hh"

#include "core/ipc/fds.hh"

#include <array>
#include <csignal>
#include <cstring>
#include <mutex>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <vector>

namespace berth {

/** Three texts: a call's name, a path (PATH_MAX) and the kernel's sentence; longer ones are cut. */
constexpr size_t kReportBytesMax = 16384;
constexpr size_t kTextBytesMax = 5000;

struct ReportHeader {
  uint32_t kind;
  int32_t code;
  int32_t step;
  uint32_t lengths[3];
};

SignalsBlocked::SignalsBlocked() {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before_);
}

SignalsBlocked::~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

void dieWithParent(pid_t parent) {
  prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  if (parent != 0 && getppid() != parent)
    _exit(125);
}

void ParentLink::sendReport(Report::Kind kind, const Error &error, int step, int fd) {
  const std::string *texts[] = {&error.syscall, &error.path, &error.message};
  ReportHeader header{kind, error.code, step, {}};
  std::string body;
  for (size_t i = 0; i < std::size(texts); i++) {
    const std::string cut = texts[i]->substr(0, kTextBytesMax);
    header.lengths[i] = static_cast<uint32_t>(cut.size());
    body += cut;
  }
  std::string packet(reinterpret_cast<const char *>(&header), sizeof header);
  packet += body;
  if (sendWithFds(socket_.get(), packet.data(), packet.size(), fd < 0 ? nullptr : &fd, fd < 0 ? 0 : 1) < 0)
    _exit(125);
}

void ParentLink::note(const std::string &text) { sendReport(Report::kNote, Error{0, "", "", text}, -1, -1); }
void ParentLink::made(const std::string &path, const std::string &digest) {
  sendReport(Report::kMade, Error{0, "", path, digest}, -1, -1);
}
void ParentLink::first(pid_t pid, int lease) { sendReport(Report::kFirst, Error{0, "", "", ""}, pid, lease); }
void ParentLink::send(Report::Kind kind, int fd) { sendReport(kind, Error{0, "", "", ""}, -1, fd); }
void ParentLink::failed(const Error &error, int step) { sendReport(Report::kFailed, error, step, -1); }

void ParentLink::waitForParent() {
  send(Report::kReady);
  char go = 0;
  if (TEMP_FAILURE_RETRY(read(socket_.get(), &go, 1)) != 1)
    _exit(125);
}

void ParentLink::waitForEnd() {
  char end = 0;
  while (TEMP_FAILURE_RETRY(read(socket_.get(), &end, 1)) > 0)
    ;
}

/**
 * One fork at a time between socketpair and close: a child that inherited another's end would hide that one's
 * death.
 */
static std::mutex startMutex;

ForksHeld::ForksHeld() { startMutex.lock(); }
ForksHeld::~ForksHeld() { startMutex.unlock(); }

static std::vector<pid_t> unreaped;

static void leaveUnreaped(pid_t pid) {
  const std::lock_guard<std::mutex> lock(startMutex);
  unreaped.push_back(pid);
}

static void reapLate() {
  std::erase_if(unreaped, [](pid_t pid) { return waitpid(pid, nullptr, WNOHANG) != 0; });
}

Result<Child> Child::start(const std::function<void(ParentLink &)> &work) {
  const std::lock_guard<std::mutex> lock(startMutex);
  reapLate();
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
    return fail("socketpair");
  Fd mine(pair[0]), childs(pair[1]);
  const SignalsBlocked blocked;
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid < 0)
    return fail("fork");
  if (pid > 0)
    return Child(pid, std::move(mine));
  mine.reset();
  dieWithParent(parent);
  ParentLink link(std::move(childs));
  work(link);
  _exit(0);
}

Child::Child(Child &&other) noexcept
    : pid_(std::exchange(other.pid_, 0)), socket_(std::move(other.socket_)), stuck_(other.stuck_) {}

Child::~Child() {
  if (pid_ <= 0)
    return;
  kill(pid_, SIGKILL);
  // A child stuck in the kernel (dead file server) ends when it can: it is reaped when another one starts.
  if (stuck_)
    leaveUnreaped(pid_);
  else
    TEMP_FAILURE_RETRY(waitpid(pid_, nullptr, 0));
}

Result<> Child::proceed() {
  if (::send(socket_.get(), "", 1, MSG_NOSIGNAL) != 1)
    return fail("send");
  return Nothing{};
}

Result<Report> Child::receive(int waitMsMax) {
  pollfd wait{socket_.get(), POLLIN, 0};
  const int ready = TEMP_FAILURE_RETRY(poll(&wait, 1, waitMsMax));
  if (ready == 0) {
    stuck_ = true;
    return fail(ETIMEDOUT, "poll");
  }
  std::array<char, kReportBytesMax> packet{};
  Received got = receiveWithFds(socket_.get(), packet.data(), packet.size());
  if (got.length < static_cast<ssize_t>(sizeof(ReportHeader)))
    return fail(ECHILD, "fork", "", "the helper process ended without an answer");
  ReportHeader header;
  memcpy(&header, packet.data(), sizeof header);
  Report report;
  report.kind = static_cast<Report::Kind>(header.kind);
  report.step = header.step;
  report.error.code = header.code;
  std::string *texts[] = {&report.error.syscall, &report.error.path, &report.error.message};
  size_t offset = sizeof header;
  for (size_t i = 0; i < std::size(texts); i++) {
    texts[i]->assign(packet.data() + offset, header.lengths[i]);
    offset += header.lengths[i];
  }
  if (!got.fds.empty())
    report.fd = std::move(got.fds.front());
  return report;
}

} // namespace berth
