// SPDX-License-Identifier: Apache-2.0
#include "image_mount.hh"

#include "filesystem.hh"
#include "kernel.hh"

#include <cstring>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>

namespace berth {

/** Each loss means that another process won a device, so a node where many attach at once still moves on. */
constexpr int kTriesMax = 200;
constexpr unsigned kLoopMajor = 7;

static Fd openDevice(int number, std::string &path) {
  path = "/dev/loop" + std::to_string(number);
  Fd device(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  // In containers /dev is often no devtmpfs, and nobody else makes the node.
  if (!device && errno == ENOENT &&
      mknod(path.c_str(), S_IFBLK | 0660, makedev(kLoopMajor, static_cast<unsigned>(number))) == 0)
    device.reset(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  return device;
}

static int configureLoop(int device, int file, const std::string &name, uint64_t offset) {
  loop_config config;
  memset(&config, 0, sizeof config);
  config.fd = static_cast<uint32_t>(file);
  config.info.lo_flags = LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR;
  config.info.lo_offset = offset;
  strncpy(reinterpret_cast<char *>(config.info.lo_file_name), name.c_str(), LO_NAME_SIZE - 1);
  return ioctl(device, LOOP_CONFIGURE, &config);
}

static Result<Fd> takeLoop(int file, const std::string &name, uint64_t offset, std::string &device) {
  const Fd control(open("/dev/loop-control", O_RDWR | O_CLOEXEC));
  if (!control)
    return fail("open", "/dev/loop-control");
  for (int tries = 1;; tries++) {
    const int number = ioctl(control.get(), LOOP_CTL_GET_FREE);
    if (number < 0)
      return fail("LOOP_CTL_GET_FREE", "/dev/loop-control");
    Fd loop = openDevice(number, device);
    if (loop && configureLoop(loop.get(), file, name, offset) == 0)
      return loop;
    if ((errno != EBUSY && errno != ENXIO && errno != ENOENT) || tries == kTriesMax)
      return fail(loop ? "LOOP_CONFIGURE" : "open", device);
    // Racing processes ask for the same free number again unless they part in time.
    const timespec pause{0, (tries * 7919 + getpid()) % 1000 * 1000};
    nanosleep(&pause, nullptr);
  }
}

Result<Fd> mountImage(const std::string &device) {
  // By default squashfs decompresses one block at a time; kernels from 6.2 on can be asked for more.
  const std::vector<FsOption> options = {{"source", device}, {"ro", ""}, {"threads", "multi", true}};
  return makeFilesystem("squashfs", options,
                        kernel::kAttrReadOnly | kernel::kAttrNoSuid | kernel::kAttrNoDev);
}

Result<AttachedImage> attachImage(int file, const std::string &name, uint64_t offset) {
  AttachedImage image;
  auto loop = takeLoop(file, name, offset, image.device);
  if (!loop)
    return loop.error();
  image.loop = std::move(*loop);
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
