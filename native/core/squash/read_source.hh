// SPDX-License-Identifier: Apache-2.0
/**
 * The bytes of an image: a file, a part of one (SIF partition) or memory (fuzzing). Read with pread only: a
 * file that shrinks meanwhile must give an error, where a mapping would give SIGBUS.
 */
#pragma once

#include "read_fault.hh"

#include <cstring>
#include <span>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

namespace berth::unsquash {

class Source {
public:
  /** Borrows `fd`; the image starts at `base` and may reach to the end of the file. */
  explicit Source(int fd, uint64_t base = 0) : fd_(fd), base_(base) {
    struct stat status;
    if (fstat(fd, &status) < 0)
      throw Fault{errno, "fstat"};
    auto length = static_cast<uint64_t>(status.st_size);
    // A loop device, where the file behind it has no name any more.
    if (S_ISBLK(status.st_mode) && ioctl(fd, BLKGETSIZE64, &length) < 0)
      throw Fault{errno, "BLKGETSIZE64"};
    if (!S_ISREG(status.st_mode) && !S_ISBLK(status.st_mode))
      throw Fault{EINVAL, "the image is not a regular file"};
    size_ = length > base ? length - base : 0;
  }
  explicit Source(std::span<const uint8_t> memory) : memory_(memory), size_(memory.size()) {}

  uint64_t size() const { return size_; }

  /** Fills `to` from image offset `position`; a short read is a fault. Safe in several threads. */
  void read(uint64_t position, std::span<uint8_t> to) const {
    if (position > size_ || to.size() > size_ - position)
      refuse("image", position,
             "the file ends before " + std::to_string(to.size()) + " bytes that it promises");
    if (fd_ < 0) {
      std::memcpy(to.data(), memory_.data() + position, to.size());
      return;
    }
    for (size_t done = 0; done < to.size();) {
      const ssize_t got =
          pread(fd_, to.data() + done, to.size() - done, static_cast<off_t>(base_ + position + done));
      if (got < 0 && errno == EINTR)
        continue;
      if (got < 0)
        throw Fault{errno, "read at byte " + std::to_string(position + done)};
      if (got == 0)
        throw Fault{EUCLEAN, "the file became shorter while it was read"};
      done += static_cast<size_t>(got);
    }
  }

private:
  int fd_ = -1;
  uint64_t base_ = 0;
  std::span<const uint8_t> memory_;
  uint64_t size_ = 0;
};

} // namespace berth::unsquash
