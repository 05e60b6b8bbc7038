// SPDX-License-Identifier: Apache-2.0
#include "userns.hh"

#include "child.hh"

#include <algorithm>
#include <array>
#include <csignal>
#include <fcntl.h>
#include <linux/nsfs.h>
#include <list>
#include <mutex>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

namespace berth {

/** UID_GID_MAP_MAX_EXTENTS since Linux 4.15. */
constexpr size_t kExtentsMax = 340;
/** Ids 1 to 2^31-2 of an image go to the upper half of the id space: directories and subuid ranges stay below
 * it. */
constexpr uint64_t kForeignFirst = 2147483649;
constexpr uint64_t kForeignCount = 2147483646;
/** Descriptors kept for users with running steps; a node has few. */
constexpr size_t kIdmapsMax = 32;

static std::string line(uint64_t inside, uint64_t outside, uint64_t count) {
  return std::to_string(inside) + " " + std::to_string(outside) + " " + std::to_string(count) + "\n";
}

/** Around a user's own id where that is up there too: the kernel takes no number twice. */
static std::string foreignIds(uint64_t own) {
  if (own < kForeignFirst || own - kForeignFirst >= kForeignCount)
    return line(1, kForeignFirst, kForeignCount);
  const uint64_t below = own - kForeignFirst;
  const uint64_t above = kForeignCount - below - 1;
  return (below > 0 ? line(1, kForeignFirst, below) : "") +
         (above > 0 ? line(below + 1, own + 1, above) : "");
}

IdMaps containerMaps(const NamespaceSpec &spec) {
  IdMaps maps;
  maps.uids = line(spec.insideUid, spec.user.uid, 1);
  std::vector<gid_t> groups = spec.user.groups;
  size_t lines = 0;
  // A map is one write of less than a page: with numbers of ten digits 170 lines (map_write of the kernel).
  const auto mapBytesMax = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  if (spec.insideGid == spec.user.gid) {
    groups.push_back(spec.user.gid);
  } else {
    maps.gids = line(spec.insideGid, spec.user.gid, 1);
    lines++;
    std::erase(groups, spec.user.gid);
    // Inside, that number is the user's own group now.
    std::erase(groups, spec.insideGid);
  }
  std::sort(groups.begin(), groups.end());
  groups.erase(std::unique(groups.begin(), groups.end()), groups.end());
  // The user's own group must be among those that fit.
  const auto own = std::find(groups.begin(), groups.end(), spec.user.gid);
  if (own != groups.end())
    std::rotate(groups.begin(), own, own + 1);
  for (size_t start = 0, end; start < groups.size(); start = end) {
    for (end = start + 1; end < groups.size() && groups[end] == groups[end - 1] + 1; end++)
      ;
    const std::string next = line(groups[start], groups[start], end - start);
    if (++lines > kExtentsMax || maps.gids.size() + next.size() >= mapBytesMax) {
      maps.groupsLeftOut = groups.size() - start;
      break;
    }
    maps.gids += next;
  }
  return maps;
}

static Result<> writeMap(int proc, const char *name, const std::string &text) {
  const Fd file(openat(proc, name, O_WRONLY | O_CLOEXEC));
  if (!file)
    return fail("openat", name);
  // One write only: the kernel takes a map as a whole.
  if (write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
    return fail("write", name);
  return Nothing{};
}

/**
 * A task that is root inside has the capability to drop groups, and with a group the refusals that file modes
 * base on it (CVE-2014-8989). Before gid_map: afterwards it cannot be changed (user_namespaces(7)).
 */
Result<> writeMaps(int proc, const IdMaps &maps) {
  if (auto denied = writeMap(proc, "setgroups", "deny"); !denied)
    return denied;
  if (auto written = writeMap(proc, "uid_map", maps.uids); !written)
    return written;
  return writeMap(proc, "gid_map", maps.gids);
}

/**
 * Runs in a process that shares the worker's memory, so that no page table is copied for it: nothing but
 * system calls that cannot fail into errno, and an end by SIGKILL.
 */
static int waitForKill(void *parent) {
  dieWithParent(*static_cast<const pid_t *>(parent));
  for (;;)
    pause();
}

static Result<Fd> makeIdmap(uid_t uid, gid_t gid) {
  alignas(16) std::array<char, 16384> stack;
  const SignalsBlocked blocked;
  pid_t parent = getpid();
  const pid_t pid =
      clone(waitForKill, stack.data() + stack.size(), CLONE_VM | CLONE_NEWUSER | SIGCHLD, &parent);
  if (pid < 0)
    return fail("clone", "user namespace");
  const std::string proc = "/proc/" + std::to_string(pid);
  const Fd directory(open(proc.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  Result<> mapped =
      directory
          ? writeMaps(directory.get(), {line(0, uid, 1) + foreignIds(uid), line(0, gid, 1) + foreignIds(gid)})
          : Result<>(fail("open", proc));
  Fd ns(openat(directory.get(), "ns/user", O_RDONLY | O_CLOEXEC));
  const int code = errno;
  kill(pid, SIGKILL);
  TEMP_FAILURE_RETRY(waitpid(pid, nullptr, 0));
  if (!mapped)
    return mapped.error();
  if (!ns)
    return fail(code, "openat", proc + "/ns/user");
  return ns;
}

struct KeptIdmap {
  uid_t uid;
  gid_t gid;
  std::shared_ptr<Fd> ns;
};

Result<std::shared_ptr<Fd>> imageIdmap(uid_t uid, gid_t gid) {
  static std::mutex mutex;
  static std::list<KeptIdmap> kept;
  const std::lock_guard<std::mutex> lock(mutex);
  const auto found = std::find_if(kept.begin(), kept.end(),
                                  [&](const KeptIdmap &row) { return row.uid == uid && row.gid == gid; });
  if (found != kept.end()) {
    kept.splice(kept.begin(), kept, found);
    return kept.front().ns;
  }
  auto made = makeIdmap(uid, gid);
  if (!made)
    return made.error();
  kept.push_front({uid, gid, std::make_shared<Fd>(std::move(*made))});
  if (kept.size() > kIdmapsMax)
    kept.pop_back();
  return kept.front().ns;
}

Result<> requireOwner(int fd, uid_t uid) {
  uid_t owner = 0;
  if (ioctl(fd, NS_GET_OWNER_UID, &owner) < 0)
    return fail("NS_GET_OWNER_UID");
  if (owner != uid)
    return fail(EPERM, "NS_GET_OWNER_UID", "", "the user namespace belongs to uid " + std::to_string(owner));
  return Nothing{};
}

} // namespace berth
