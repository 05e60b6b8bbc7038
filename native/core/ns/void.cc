// SPDX-License-Identifier: Apache-2.0
#include "void.hh"

#include "child.hh"
#include "filesystem.hh"
#include "kernel.hh"

#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <sched.h>
#include <sys/mount.h>
#include <vector>

namespace berth {

constexpr int kWaitMsMax = 60'000;

/** "\040" in mountinfo is a space (proc(5)). */
static std::string unescape(const std::string &text) {
  std::string plain;
  for (size_t i = 0; i < text.size(); i++) {
    if (text[i] == '\\' && i + 3 < text.size()) {
      plain += static_cast<char>(strtol(text.substr(i + 1, 3).c_str(), nullptr, 8));
      i += 3;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

/** On an initramfs nothing can take the root's place, so all that is mounted on it goes and ours covers it.
 */
static Result<> coverInitramfs(int tmpfs) {
  const std::unique_ptr<FILE, int (*)(FILE *)> table(fopen("/proc/self/mountinfo", "re"), fclose);
  if (!table)
    return fail("fopen", "/proc/self/mountinfo");
  std::vector<std::string> points;
  char *text = nullptr;
  size_t size = 0;
  while (getline(&text, &size, table.get()) > 0) {
    char point[4097];
    if (sscanf(text, "%*s %*s %*s %*s %4096s", point) == 1)
      points.push_back(unescape(point));
  }
  free(text);
  if (fchdir(tmpfs) < 0)
    return fail("fchdir", "/");
  if (mount(".", "/", nullptr, MS_MOVE, nullptr) < 0)
    return fail("mount", "/");
  // Parents take what is below along, so later lines may be gone already.
  for (const std::string &point : points)
    if (point != "/")
      umount2(point.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW);
  return chroot(".") < 0 ? Result<>(fail("chroot", "/")) : Nothing{};
}

static Result<> emptyHere(const std::string &staging) {
  if (unshare(CLONE_NEWNS) < 0)
    return fail("unshare", "mount namespace");
  if (mount(nullptr, "/", nullptr, MS_PRIVATE | MS_REC, nullptr) < 0)
    return fail("mount", "/");
  auto tmpfs =
      makeFilesystem("tmpfs", {{"size", "4k"}, {"mode", "0555"}, {"ro", ""}},
                     kernel::kAttrReadOnly | kernel::kAttrNoSuid | kernel::kAttrNoDev | kernel::kAttrNoExec);
  if (!tmpfs)
    return tmpfs.error();
  if (kernel::moveMount(tmpfs->get(), AT_FDCWD, staging.c_str()) < 0)
    return fail("move_mount", staging);
  if (fchdir(tmpfs->get()) < 0)
    return fail("fchdir", staging);
  // The old root ends up on top of the new one and is then the working directory: no directory for it is
  // needed.
  if (syscall(SYS_pivot_root, ".", ".") < 0)
    return errno == EINVAL ? coverInitramfs(tmpfs->get()) : fail("pivot_root", staging);
  if (umount2(".", MNT_DETACH) < 0)
    return fail("umount2", "/");
  return Nothing{};
}

static Result<Fd> makeVoid(const std::string &staging) {
  auto child = Child::start([&](ParentLink &parent) {
    if (auto emptied = emptyHere(staging); !emptied)
      return parent.failed(emptied.error(), -1);
    parent.send(Report::kDone);
    parent.waitForEnd();
  });
  if (!child)
    return child.error();
  auto report = child->receive(kWaitMsMax);
  if (!report)
    return report.error();
  if (report->kind == Report::kFailed)
    return report->error;
  const std::string path = "/proc/" + std::to_string(child->pid()) + "/ns/mnt";
  Fd ns(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!ns)
    return fail("open", path);
  return ns;
}

Result<std::shared_ptr<Fd>> voidNamespace(const std::string &staging) {
  static std::mutex mutex;
  static std::shared_ptr<Fd> kept;
  const std::lock_guard<std::mutex> lock(mutex);
  if (!kept) {
    auto made = makeVoid(staging);
    if (!made)
      return made.error();
    kept = std::make_shared<Fd>(std::move(*made));
  }
  return kept;
}

Result<> enterVoid(int voidNs) {
  if (setns(voidNs, CLONE_NEWNS) < 0)
    return fail("setns", "empty mount namespace");
  if (unshare(CLONE_NEWNS) < 0)
    return fail("unshare", "mount namespace");
  return Nothing{};
}

} // namespace berth
