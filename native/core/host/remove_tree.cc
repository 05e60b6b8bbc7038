// SPDX-License-Identifier: Apache-2.0
#include "remove_tree.hh"

#include <fcntl.h>
#include <sys/stat.h>

namespace berth {

/** Directories inside each other, one descriptor each; most images have fewer. */
constexpr size_t kRemovedDepthMax = 32;
/** How often something may turn out to be something else, or to have come meanwhile. */
constexpr unsigned kMissedMax = 1000;

static bool isElse(int code) { return code == ENOTDIR || code == ELOOP; }
static bool isFull(int code) { return code == ENOTEMPTY || code == EEXIST; }

Result<bool> TreeRemoval::work() {
  if (!parent_) {
    auto begun = begin();
    if (!begun || !*begun)
      return begun ? Result<bool>(true) : Result<bool>(begun.error());
  }
  const auto end = std::chrono::steady_clock::now() + kTreeSliceMax;
  do {
    if (auto removed = removeNext(); !removed)
      return removed.error();
    if (open_.empty())
      return true;
  } while (std::chrono::steady_clock::now() < end);
  return false;
}

/** False: nothing is there. */
Result<bool> TreeRemoval::begin() {
  const size_t slash = path_.rfind('/');
  const std::string above = slash == 0 ? "/" : path_.substr(0, slash);
  const std::string name = path_.substr(slash + 1);
  if (slash == std::string::npos || name.empty() || name == "." || name == "..")
    return fail(EINVAL, "unlinkat", path_);
  parent_ = Fd(open(above.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!parent_)
    return errno == ENOENT ? Result<bool>(false) : fail("open", above);
  auto top = openDirectory(parent_.get(), name, path_);
  if (!top)
    return top.error().code == ENOENT ? Result<bool>(false) : top.error();
  // It is the path's beginning in errors.
  top->name = path_;
  open_.push_back(std::move(*top));
  return true;
}

Result<> TreeRemoval::removeNext() {
  OpenDirectory &directory = open_.back();
  const dirent *entry = directory.next();
  if (entry == nullptr)
    return errno == 0 ? leave() : fail("getdents64", pathIn(open_));
  const std::string name = entry->d_name;
  if (entry->d_type == DT_DIR)
    return removeDirectory(name);
  if (unlinkat(directory.fd(), name.c_str(), 0) == 0 || errno == ENOENT)
    return Nothing{};
  return errno == EISDIR ? removeDirectory(name) : fail("unlinkat", pathIn(open_, name));
}

/** Begins with it: all that is in it comes first. */
Result<> TreeRemoval::removeDirectory(const std::string &name) {
  if (open_.size() == kRemovedDepthMax)
    return moveUp(name);
  auto opened = openDirectory(open_.back().fd(), name, pathIn(open_, name));
  if (opened) {
    open_.push_back(std::move(*opened));
    return Nothing{};
  }
  if (opened.error().code == ENOENT)
    return Nothing{};
  return isElse(opened.error().code) ? missed(open_.back(), "openat2", pathIn(open_, name)) : opened.error();
}

/** Under a name that no earlier worker gave either; an empty directory of that name may go. */
Result<> TreeRemoval::moveUp(const std::string &name) {
  OpenDirectory &top = open_.front();
  const auto now = std::chrono::system_clock::now().time_since_epoch().count();
  const std::string fresh = "deep-" + std::to_string(now) + "-" + std::to_string(moved_++);
  if (renameat(open_.back().fd(), name.c_str(), top.fd(), fresh.c_str()) == 0) {
    top.again = true;
    return Nothing{};
  }
  if (errno == ENOENT)
    return Nothing{};
  if (isFull(errno) || isElse(errno) || errno == EISDIR)
    return missed(open_.back(), "renameat", pathIn(open_, name));
  return fail("renameat", pathIn(open_, name));
}

/** All that was read is gone. */
Result<> TreeRemoval::leave() {
  if (open_.back().again) {
    open_.back().again = false;
    rewinddir(open_.back().entries.get());
    return Nothing{};
  }
  const std::string path = pathIn(open_);
  const bool isTop = open_.size() == 1;
  const std::string name = isTop ? path_.substr(path_.rfind('/') + 1) : open_.back().name;
  const int above = isTop ? parent_.get() : open_[open_.size() - 2].fd();
  if (unlinkat(above, name.c_str(), AT_REMOVEDIR) == 0 || errno == ENOENT) {
    open_.pop_back();
    return Nothing{};
  }
  if (!isFull(errno) && !isElse(errno))
    return fail("unlinkat", path);
  // The name may be another directory's by now, so the one above is read again.
  if (!isTop)
    open_.pop_back();
  return missed(open_.back(), "unlinkat", path);
}

Result<> TreeRemoval::missed(OpenDirectory &directory, const char *syscall, const std::string &path) {
  if (++missed_ > kMissedMax)
    return fail(ENOTEMPTY, syscall, path, "somebody still writes there");
  directory.again = true;
  return Nothing{};
}

} // namespace berth
