// SPDX-License-Identifier: Apache-2.0
#include "file_server.hh"

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <sys/sysmacros.h>

namespace berth {

/** "fuse", "fuse.NAME" and "fuseblk": mount -t fuse of fuse(4). Not virtiofs: the machine itself serves that.
 */
static FileServer serverIn(const std::string &line) {
  const size_t type = line.find(" - ");
  if (type == std::string::npos || line.compare(type + 3, 4, "fuse") != 0)
    return FileServer::kernel;
  return line.find("user_id=0,", type) == std::string::npos ? FileServer::user : FileServer::root;
}

FileServer fileServerOf(Fd mountinfo, dev_t device) {
  const std::unique_ptr<FILE, int (*)(FILE *)> mounts(fdopen(mountinfo.get(), "r"), fclose);
  if (!mounts)
    return FileServer::kernel;
  (void)mountinfo.release();
  char *text = nullptr;
  size_t size = 0;
  FileServer server = FileServer::kernel;
  while (server == FileServer::kernel && getline(&text, &size, mounts.get()) > 0) {
    unsigned majorNumber = 0, minorNumber = 0;
    if (sscanf(text, "%*d %*d %u:%u", &majorNumber, &minorNumber) == 2 &&
        makedev(majorNumber, minorNumber) == device)
      server = serverIn(text);
  }
  free(text);
  return server;
}

} // namespace berth
