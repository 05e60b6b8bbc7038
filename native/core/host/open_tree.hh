// SPDX-License-Identifier: Apache-2.0
/**
 * Trees that a user may change while root walks them. Each directory is opened by its name in the one above
 * it, never by a path: whatever becomes of names meanwhile, what root reads and removes is below where it
 * began.
 */
#pragma once

#include "core/result.hh"

#include <chrono>
#include <dirent.h>
#include <memory>
#include <string>
#include <vector>

namespace berth {

/** A thread of the pool is kept no longer at once: others wait for it. */
constexpr std::chrono::milliseconds kTreeSliceMax{50};

struct OpenDirectory {
  std::unique_ptr<DIR, int (*)(DIR *)> entries{nullptr, closedir};
  std::string name;
  /** Something is in it that was not there, or was something else, when it was read. */
  bool again = false;

  int fd() const { return dirfd(entries.get()); }
  /** Without "." and ".."; null at the end, or with errno set. */
  const dirent *next();
};

using OpenDirectories = std::vector<OpenDirectory>;

/** Neither a link nor of another mount: ELOOP or ENOTDIR, EXDEV. `path`: for errors. */
Result<OpenDirectory> openDirectory(int parent, const std::string &name, const std::string &path);

/** "a/b/c": the names of directories that are inside each other, and one more. */
std::string pathIn(const OpenDirectories &open, const std::string &name = {});

} // namespace berth
