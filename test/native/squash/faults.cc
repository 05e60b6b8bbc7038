// SPDX-License-Identifier: Apache-2.0
#include "faults.hh"

#include <atomic>
#include <cerrno>
#include <fcntl.h>
#include <unistd.h>

namespace {

faults::Fault plan;
std::atomic<uint64_t> counts[faults::CALLS];
std::atomic<unsigned> fallen{0};

bool takesSpace(faults::Call call) {
  return call == faults::PWRITE || call == faults::COPY_FILE_RANGE || call == faults::FALLOCATE;
}

/** 0: the call goes on; else what happens to it. */
int verdict(faults::Call call) {
  if (plan.byHand && call == faults::COPY_FILE_RANGE)
    return EXDEV;
  const uint64_t number = ++counts[call];
  const bool itself = plan.call == call && number == plan.at;
  const bool after = plan.stays && fallen != 0 && takesSpace(call);
  if (!itself && !after)
    return 0;
  fallen |= 1u << call;
  return plan.error;
}

} // namespace

namespace faults {

void arm(const Fault &fault) {
  plan = fault;
  for (auto &counter : counts)
    counter = 0;
  fallen = 0;
}

uint64_t count(Call call) { return counts[call]; }
bool struck() { return fallen != 0; }
bool struck(Call call) { return (fallen & 1u << call) != 0; }

} // namespace faults

/** Runs `REAL` with the given size, half of it, or not at all. */
#define BERTH_TRANSFER(CALL, SIZE, REAL)                                                                     \
  const int wanted = verdict(CALL);                                                                          \
  if (wanted == faults::NOTHING)                                                                             \
    return 0;                                                                                                \
  if (wanted == faults::HALF)                                                                                \
    SIZE = (SIZE + 1) / 2;                                                                                   \
  if (wanted > 0) {                                                                                          \
    errno = wanted;                                                                                          \
    return -1;                                                                                               \
  }                                                                                                          \
  return REAL

#define BERTH_PLAIN(CALL, REAL)                                                                              \
  const int wanted = verdict(CALL);                                                                          \
  if (wanted > 0) {                                                                                          \
    errno = wanted;                                                                                          \
    return -1;                                                                                               \
  }                                                                                                          \
  return REAL

extern "C" {

ssize_t __real_pwrite(int, const void *, size_t, off_t);
ssize_t __real_pread(int, void *, size_t, off_t);
ssize_t __real_copy_file_range(int, off64_t *, int, off64_t *, size_t, unsigned);
int __real_fallocate(int, int, off_t, off_t);
int __real_ftruncate(int, off_t);
int __real_fsync(int);

ssize_t __wrap_pwrite(int fd, const void *bytes, size_t size, off_t at) {
  BERTH_TRANSFER(faults::PWRITE, size, __real_pwrite(fd, bytes, size, at));
}
ssize_t __wrap_pread(int fd, void *bytes, size_t size, off_t at) {
  BERTH_TRANSFER(faults::PREAD, size, __real_pread(fd, bytes, size, at));
}
ssize_t __wrap_copy_file_range(int from, off64_t *in, int to, off64_t *out, size_t size, unsigned flags) {
  BERTH_TRANSFER(faults::COPY_FILE_RANGE, size, __real_copy_file_range(from, in, to, out, size, flags));
}
int __wrap_fallocate(int fd, int mode, off_t at, off_t size) {
  BERTH_PLAIN(faults::FALLOCATE, __real_fallocate(fd, mode, at, size));
}
int __wrap_ftruncate(int fd, off_t size) { BERTH_PLAIN(faults::FTRUNCATE, __real_ftruncate(fd, size)); }
int __wrap_fsync(int fd) { BERTH_PLAIN(faults::FSYNC, __real_fsync(fd)); }
}
