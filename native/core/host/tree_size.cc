// SPDX-License-Identifier: Apache-2.0
#include "tree_size.hh"

#include <fcntl.h>
#include <sys/stat.h>

namespace berth {

/** Directories inside each other, one descriptor each. */
constexpr size_t kSizedDepthMax = 100;
/** st_blocks counts these (stat(2)), whatever the file system's own are. */
constexpr uint64_t kBlockBytes = 512;

Result<bool> TreeSize::work() {
  if (!begun_) {
    begun_ = true;
    const Fd top(open(path_.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (auto opened = openDirectory(top.get(), ".", path_); opened)
      open_.push_back(std::move(*opened));
  }
  const auto end = std::chrono::steady_clock::now() + kTreeSliceMax;
  while (!open_.empty() && std::chrono::steady_clock::now() < end)
    countNext();
  return open_.empty();
}

void TreeSize::countNext() {
  const dirent *entry = open_.back().next();
  if (entry == nullptr) {
    open_.pop_back();
    return;
  }
  struct stat status;
  if (fstatat(open_.back().fd(), entry->d_name, &status, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) < 0)
    return;
  bytes_ += static_cast<uint64_t>(status.st_blocks) * kBlockBytes;
  if (!S_ISDIR(status.st_mode) || open_.size() == kSizedDepthMax)
    return;
  if (auto opened = openDirectory(open_.back().fd(), entry->d_name, path_); opened)
    open_.push_back(std::move(*opened));
}

} // namespace berth
