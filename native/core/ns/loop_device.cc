// SPDX-License-Identifier: Apache-2.0
#include "loop_device.hh"

#include <cstring>
#include <fcntl.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

namespace berth {

/** Each loss means that another process won a device, so a node where many attach at once still moves on. */
constexpr int kTriesMax = 200;
constexpr unsigned kLoopMajor = 7;

static Fd openDevice(int number, int mode, std::string &path) {
  path = "/dev/loop" + std::to_string(number);
  Fd device(open(path.c_str(), mode | O_CLOEXEC));
  // In containers /dev is often no devtmpfs, and nobody else makes the node.
  if (!device && errno == ENOENT &&
      mknod(path.c_str(), S_IFBLK | 0660, makedev(kLoopMajor, static_cast<unsigned>(number))) == 0)
    device.reset(open(path.c_str(), mode | O_CLOEXEC));
  return device;
}

static int configureLoop(int device, const LoopFile &file) {
  loop_config config;
  memset(&config, 0, sizeof config);
  config.fd = static_cast<uint32_t>(file.fd);
  config.info.lo_flags = LO_FLAGS_AUTOCLEAR | (file.writable ? 0 : LO_FLAGS_READ_ONLY);
  config.info.lo_offset = file.offset;
  strncpy(reinterpret_cast<char *>(config.info.lo_file_name), file.name.c_str(), LO_NAME_SIZE - 1);
  return ioctl(device, LOOP_CONFIGURE, &config);
}

Result<LoopDevice> takeLoop(const LoopFile &file) {
  LoopDevice taken;
  const Fd control(open("/dev/loop-control", O_RDWR | O_CLOEXEC));
  if (!control)
    return fail("open", "/dev/loop-control");
  for (int tries = 1;; tries++) {
    const int number = ioctl(control.get(), LOOP_CTL_GET_FREE);
    if (number < 0)
      return fail("LOOP_CTL_GET_FREE", "/dev/loop-control");
    taken.fd = openDevice(number, file.writable ? O_RDWR : O_RDONLY, taken.path);
    if (taken.fd && configureLoop(taken.fd.get(), file) == 0)
      return taken;
    if ((errno != EBUSY && errno != ENXIO && errno != ENOENT) || tries == kTriesMax)
      return fail(taken.fd ? "LOOP_CONFIGURE" : "open", taken.path);
    // Racing processes ask for the same free number again unless they part in time.
    const timespec pause{0, (tries * 7919 + getpid()) % 1000 * 1000};
    nanosleep(&pause, nullptr);
  }
}

} // namespace berth
