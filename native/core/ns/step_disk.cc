// SPDX-License-Identifier: Apache-2.0
#include "step_disk.hh"

#include "filesystem.hh"
#include "kernel.hh"

#include <fcntl.h>
#include <linux/capability.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace berth {

/** Of this thread alone, from construction to destruction. */
class WithoutSysResource {
public:
  WithoutSysResource() {
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    if (syscall(SYS_capget, &header, before_) < 0)
      return;
    __user_cap_data_struct without[2] = {before_[0], before_[1]};
    without[0].effective &= ~(1u << CAP_SYS_RESOURCE);
    dropped_ = syscall(SYS_capset, &header, without) == 0;
  }
  ~WithoutSysResource() {
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    const int saved = errno;
    if (dropped_)
      (void)syscall(SYS_capset, &header, before_);
    errno = saved;
  }
  WithoutSysResource(const WithoutSysResource &) = delete;
  WithoutSysResource &operator=(const WithoutSysResource &) = delete;
  bool ok() const { return dropped_; }

private:
  __user_cap_data_struct before_[2]{};
  bool dropped_ = false;
};

Result<> reserveFor(int file, uid_t user, uint64_t bytes) {
  // -1: its group stays.
  if (fchown(file, user, static_cast<gid_t>(-1)) < 0)
    return fail("fchown", "disk of the step");
  const WithoutSysResource limited;
  if (!limited.ok())
    return fail("capset");
  const auto size = static_cast<off_t>(bytes);
  if (fallocate(file, 0, 0, size) == 0)
    return Nothing{};
  if (errno != EOPNOTSUPP)
    return fail("fallocate", "disk of the step");
  if (ftruncate(file, size) < 0)
    return fail("ftruncate", "disk of the step");
  return Nothing{};
}

Result<Fd> mountStepDisk(const std::string &device) {
  // It ends with the step, and with the node: no flush has to reach the disk, and its tables are zero
  // already.
  const std::vector<FsOption> options = {{"source", device}, {"nobarrier", ""}, {"noinit_itable", ""}};
  return makeFilesystem("ext4", options, kernel::kAttrNoSuid | kernel::kAttrNoDev);
}

} // namespace berth
