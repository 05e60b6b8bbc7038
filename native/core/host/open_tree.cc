// SPDX-License-Identifier: Apache-2.0
#include "open_tree.hh"

#include "core/ns/kernel.hh"

#include <fcntl.h>
#include <string_view>

namespace berth {

const dirent *OpenDirectory::next() {
  for (;;) {
    errno = 0;
    const dirent *entry = readdir(entries.get());
    if (entry == nullptr)
      return nullptr;
    const std::string_view found = entry->d_name;
    if (found != "." && found != "..")
      return entry;
  }
}

Result<OpenDirectory> openDirectory(int parent, const std::string &name, const std::string &path) {
  const kernel::OpenHow how{O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0,
                            kernel::kResolveNoXdev | kernel::kResolveNoSymlinks | kernel::kResolveBeneath};
  Fd fd = kernel::openAt(parent, name.c_str(), how);
  if (!fd)
    return fail("openat2", path);
  OpenDirectory opened;
  opened.entries.reset(fdopendir(fd.get()));
  if (!opened.entries)
    return fail("fdopendir", path);
  (void)fd.release();
  opened.name = name;
  return opened;
}

std::string pathIn(const OpenDirectories &open, const std::string &name) {
  std::string path;
  for (const OpenDirectory &directory : open)
    path += (path.empty() ? "" : "/") + directory.name;
  return name.empty() ? path : path + "/" + name;
}

} // namespace berth
