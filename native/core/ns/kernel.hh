// SPDX-License-Identifier: Apache-2.0
/**
 * The mount calls of Linux 5.2 to 5.12 by number: the C libraries of the distributions that clusters run
 * (glibc 2.28 to 2.35) have no wrappers for them, and newer ones clash with the kernel's own header. Raw
 * calls keep errno.
 */
#pragma once

#include "core/result.hh"

#include <cstdint>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace berth::kernel {

/* Numbers are the same on every architecture from 424 on; asm-generic/unistd.h. */
constexpr long kOpenTree = 428;
constexpr long kMoveMount = 429;
constexpr long kFsopen = 430;
constexpr long kFsconfig = 431;
constexpr long kFsmount = 432;
constexpr long kPidfdOpen = 434;
constexpr long kOpenat2 = 437;
constexpr long kMountSetattr = 442;

/** sendfile(2) takes this much at once, of less than 2 GiB. */
constexpr size_t kSendfileMax = 16u << 20;

/* linux/mount.h */
constexpr unsigned kOpenTreeClone = 1;
constexpr unsigned kRecursive = 0x8000; /* AT_RECURSIVE */
constexpr unsigned kMoveFromEmptyPath = 0x4;
constexpr unsigned kMoveToEmptyPath = 0x40;
constexpr unsigned kConfigFlag = 0;
constexpr unsigned kConfigString = 1;
constexpr unsigned kConfigCreate = 6;
constexpr uint64_t kAttrReadOnly = 0x1;
constexpr uint64_t kAttrNoSuid = 0x2;
constexpr uint64_t kAttrNoDev = 0x4;
constexpr uint64_t kAttrNoExec = 0x8;
constexpr uint64_t kAttrIdmap = 0x00100000;

struct MountAttributes {
  uint64_t set = 0;
  uint64_t clear = 0;
  uint64_t propagation = 0;
  uint64_t userNs = 0;
};

/* linux/openat2.h */
constexpr uint64_t kResolveNoXdev = 0x01;
constexpr uint64_t kResolveNoMagicLinks = 0x02;
constexpr uint64_t kResolveNoSymlinks = 0x04;
constexpr uint64_t kResolveBeneath = 0x08;
constexpr uint64_t kResolveInRoot = 0x10;

struct OpenHow {
  uint64_t flags = 0;
  uint64_t mode = 0;
  uint64_t resolve = 0;
};

/** openat2(2); EAGAIN ("raced with a rename or mount anywhere") is tried again a bounded number of times. */
Fd openAt(int directory, const char *path, const OpenHow &how);

inline Fd openTree(int directory, const char *path, unsigned flags) {
  return Fd(static_cast<int>(syscall(kOpenTree, directory, path, flags | O_CLOEXEC)));
}

/** A detached copy of the mount that `fd` points into, starting there. */
inline Fd cloneTree(int fd, bool recursive) {
  return openTree(fd, "", AT_EMPTY_PATH | kOpenTreeClone | (recursive ? kRecursive : 0));
}

inline int moveMount(int mount, int target) {
  return static_cast<int>(syscall(kMoveMount, mount, "", target, "", kMoveFromEmptyPath | kMoveToEmptyPath));
}

inline int moveMount(int mount, int directory, const char *path) {
  return static_cast<int>(syscall(kMoveMount, mount, "", directory, path, kMoveFromEmptyPath));
}

inline int setAttributes(int mount, const MountAttributes &attributes, bool recursive) {
  return static_cast<int>(syscall(kMountSetattr, mount, "", AT_EMPTY_PATH | (recursive ? kRecursive : 0),
                                  &attributes, sizeof attributes));
}

inline Fd openPidfd(int pid) { return Fd(static_cast<int>(syscall(kPidfdOpen, pid, 0))); }

} // namespace berth::kernel
