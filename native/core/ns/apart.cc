// SPDX-License-Identifier: Apache-2.0
#include "apart.hh"

#include "kernel.hh"

#include <algorithm>
#include <fcntl.h>
#include <sys/stat.h>

namespace berth {

/** As many levels as a path can have. */
constexpr size_t kLevelsMax = 2048;

/** The directory's own and that of each above it, below the root; by "..", since links have no part in it. */
static Result<std::set<ino_t>> levelsOf(const Fd &directory, const std::string &target, const Root &root) {
  struct stat top {
  }, here{};
  if (fstat(root.fd(), &top) < 0 || fstat(directory.get(), &here) < 0)
    return fail("fstat", target);
  std::set<ino_t> levels;
  for (Fd up; here.st_ino != top.st_ino && levels.size() < kLevelsMax;) {
    levels.insert(here.st_ino);
    up = Fd(openat(up ? up.get() : directory.get(), "..", O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!up || fstat(up.get(), &here) < 0)
      return fail("openat", target);
  }
  return levels;
}

Result<> Apart::set(const Fd &directory, const std::string &target, const Root &root) {
  struct stat there {};
  if (fstat(directory.get(), &there) < 0 || !S_ISDIR(there.st_mode) || !root.owns(directory.get()))
    return Nothing{};
  const auto levels = levelsOf(directory, target, root);
  if (!levels)
    return levels.error();
  const auto isApart = [this](ino_t level) { return directories_.contains(level); };
  if (levels->empty() || above_.contains(there.st_ino) || std::ranges::any_of(*levels, isApart))
    return Nothing{};
  const Fd copy = kernel::cloneTree(directory.get(), true);
  if (!copy)
    return fail("open_tree", target);
  if (kernel::moveMount(copy.get(), directory.get()) < 0)
    return fail("move_mount", target);
  directories_.insert(there.st_ino);
  above_.insert(levels->begin(), levels->end());
  return Nothing{};
}

} // namespace berth
