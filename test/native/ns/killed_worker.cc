// SPDX-License-Identifier: Apache-2.0
/**
 * A worker that is killed while it makes an idmap. Its helper is held before the call by which it would die
 * with the worker, as a busy machine may hold it, and goes on when the worker is gone.
 */
#include "killed_worker.hh"

#include "core/ipc/fds.hh"
#include "core/ns/userns.hh"

#include <array>
#include <cstddef>
#include <ctime>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <map>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace berth;

constexpr uid_t kUser = 54'321;
constexpr int kWaitSecondsMax = 60;

/** The caller's own calls of kill, and those that ask for a signal at the parent's death, wait for an answer.
 */
static Fd holdCalls() {
  std::array<sock_filter, 7> rules{{
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_kill, 3, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_prctl, 0, 3),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PR_SET_PDEATHSIG, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  }};
  const sock_fprog program{rules.size(), rules.data()};
  return Fd(static_cast<int>(
      syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program)));
}

[[noreturn]] static void work(int socket) {
  const Fd listener = holdCalls();
  const int fd = listener.get();
  if (fd < 0 || sendWithFds(socket, "x", 1, &fd, 1) != 1)
    _exit(1);
  (void)imageIdmap(kUser, kUser);
  _exit(0);
}

static bool endsInTime(pid_t child) {
  for (const time_t end = time(nullptr) + kWaitSecondsMax; time(nullptr) < end; usleep(5000))
    if (waitpid(child, nullptr, WNOHANG) == child)
      return true;
  kill(child, SIGKILL);
  return false;
}

bool leavesNobodyBehind() {
  prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
    return false;
  const Fd own(pair[0]);
  Fd workers(pair[1]);
  const pid_t worker = fork();
  if (worker == 0)
    work(workers.get());
  workers.reset();
  char byte = 0;
  const Received got = receiveWithFds(own.get(), &byte, 1);
  if (worker < 0 || got.fds.size() != 1)
    return false;
  const int listener = got.fds.front().get();
  std::map<int, seccomp_notif> held;
  while (held.size() < 2) {
    seccomp_notif call{};
    if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &call) < 0)
      return false;
    held[call.data.nr] = call;
  }
  kill(worker, SIGKILL);
  waitpid(worker, nullptr, 0);
  seccomp_notif_resp goOn{};
  goOn.id = held[SYS_prctl].id;
  goOn.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
  ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &goOn);
  return endsInTime(static_cast<pid_t>(held[SYS_prctl].pid));
}
