// SPDX-License-Identifier: Apache-2.0
#include "image_mount.hh"

#include "filesystem.hh"
#include "kernel.hh"
#include "loop_device.hh"

namespace berth {

Result<Fd> mountImage(const std::string &device) {
  // By default squashfs decompresses one block at a time; kernels from 6.2 on can be asked for more.
  const std::vector<FsOption> options = {{"source", device}, {"ro", ""}, {"threads", "multi", true}};
  return makeFilesystem("squashfs", options,
                        kernel::kAttrReadOnly | kernel::kAttrNoSuid | kernel::kAttrNoDev);
}

Result<AttachedImage> attachImage(int file, const std::string &name, uint64_t offset) {
  AttachedImage image;
  auto loop = takeLoop({file, name, offset, false});
  if (!loop)
    return loop.error();
  image.loop = std::move(loop->fd);
  image.device = std::move(loop->path);
  auto mount = mountImage(image.device);
  if (!mount) {
    Error error = mount.error();
    error.path = name;
    return error;
  }
  image.mount = std::move(*mount);
  return image;
}

} // namespace berth
