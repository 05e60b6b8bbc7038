// SPDX-License-Identifier: Apache-2.0
#include "file_server.hh"

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <fcntl.h>
#include <sys/stat.h>

namespace berth {

/**
 * "... - TYPE SOURCE OPTIONS" (proc_pid_mountinfo(5)): "fuse", "fuse.NAME" and "fuseblk" are mount -t fuse of
 * fuse(4). Not virtiofs: the machine itself serves that. Users choose the source, commas and all; spaces in
 * it are escaped.
 */
static FileServer serverIn(const std::string &line) {
  const size_t type = line.find(" - ");
  if (type == std::string::npos || line.compare(type + 3, 4, "fuse") != 0)
    return FileServer::kernel;
  const size_t source = line.find(' ', type + 3);
  const size_t options = source == std::string::npos ? source : line.find(' ', source + 1);
  if (options == std::string::npos)
    return FileServer::user;
  return line.find(",user_id=0,", options) == std::string::npos ? FileServer::user : FileServer::root;
}

FileServer fileServerOf(Fd mountinfo, int file) {
  struct statx status;
  if (statx(file, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_MNT_ID, &status) < 0 ||
      (status.stx_mask & STATX_MNT_ID) == 0)
    return FileServer::user;
  const std::unique_ptr<FILE, int (*)(FILE *)> mounts(fdopen(mountinfo.get(), "r"), fclose);
  if (!mounts)
    return FileServer::user;
  (void)mountinfo.release();
  char *text = nullptr;
  size_t size = 0;
  // One that is not listed was taken away while its server was asked for the name.
  FileServer server = FileServer::user;
  while (getline(&text, &size, mounts.get()) > 0)
    if (strtoull(text, nullptr, 10) == status.stx_mnt_id) {
      server = serverIn(text);
      break;
    }
  free(text);
  return server;
}

} // namespace berth
