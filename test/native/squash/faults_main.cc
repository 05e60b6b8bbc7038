// SPDX-License-Identifier: Apache-2.0
/**
 * faults_main DIRECTORY: writes each image of fault_cases.cc with every single call that it makes failing in
 * every way: disk full from there on, quota, damaged disk, half of it done, interrupted, nothing done. An
 * error has to be the one that was given, of a call that got it; what is no error has to give the same bytes.
 * Prints one line a case, and one that begins with `wrong` for each contradiction.
 */
#include <cstdio>
#include <cstring>
#include <fcntl.h>

#include "fault_cases.hh"
#include "faults.hh"

using namespace berth;
using namespace faults;

namespace {

struct Way {
  int error;
  bool stays;
  /** The same bytes as without it, or else this error. */
  bool harmless;
};

constexpr Way DISK_FULL{ENOSPC, true, false}, QUOTA{EDQUOT, false, false}, DAMAGED{EIO, false, false},
    SHORT{HALF, false, true}, INTERRUPTED{EINTR, false, true}, UNABLE{EOPNOTSUPP, false, true},
    OTHER_DISK{EXDEV, false, true}, PRETENDS{NOTHING, false, true};

std::vector<Way> waysOf(Call call) {
  switch (call) {
  case PWRITE:
    return {DISK_FULL, QUOTA, DAMAGED, SHORT, INTERRUPTED};
  case COPY_FILE_RANGE:
    return {DISK_FULL, QUOTA, DAMAGED, SHORT, INTERRUPTED, UNABLE, OTHER_DISK, PRETENDS};
  case FALLOCATE:
    return {DISK_FULL, QUOTA, INTERRUPTED, UNABLE};
  case PREAD:
    return {DAMAGED, SHORT, INTERRUPTED};
  default:
    return {DAMAGED};
  }
}

class Trial {
public:
  Trial(const std::string &directory, const Case &given) : path_(directory + "/out"), case_(given) {}

  /** Answers its contradictions. */
  unsigned run() {
    Fd out = fresh();
    arm({.byHand = case_.byHand});
    auto whole = case_.run(out.get());
    if (!whole)
      return wrong("without a fault", whole.error().syscall + " " + whole.error().message), 1;
    uint64_t counted[CALLS];
    for (unsigned call = 0; call < CALLS; call++)
      counted[call] = count(Call(call));
    whole_ = read(out.get());
    printf("%s:", case_.name.c_str());
    for (unsigned call = 0; call < CALLS; call++)
      printf(" %s %lu", NAMES[call], counted[call]);
    unsigned tries = 0;
    for (unsigned call = 0; call < CALLS; call++)
      for (uint64_t at = 1; at <= counted[call]; at += step(Call(call), counted[call]))
        for (const Way &way : waysOf(Call(call))) {
          attempt(Call(call), at, way);
          tries++;
        }
    printf(", %u tries\n", tries);
    return wrongs_;
  }

private:
  /** Every write; of reads, which are many, an even share. */
  static uint64_t step(Call call, uint64_t calls) {
    constexpr uint64_t READS = 40;
    return call == PREAD ? std::max<uint64_t>(1, calls / READS) : 1;
  }

  Fd fresh() const {
    Fd out(open(path_.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
    arm({});
    if (!case_.before.empty() && pwrite(out.get(), case_.before.data(), case_.before.size(), 0) < 0)
      perror(path_.c_str());
    return out;
  }

  static std::vector<uint8_t> read(int fd) {
    std::vector<uint8_t> bytes(size_t(lseek(fd, 0, SEEK_END)));
    arm({});
    if (pread(fd, bytes.data(), bytes.size(), 0) != ssize_t(bytes.size()))
      perror("pread");
    return bytes;
  }

  void attempt(Call call, uint64_t at, const Way &way) {
    const Fd out = fresh();
    arm({call, at, way.error, way.stays, case_.byHand});
    const auto done = case_.run(out.get());
    char what[100];
    snprintf(what, sizeof what, "%s %lu: %s", NAMES[call], at,
             way.error > 0       ? strerrorname_np(way.error)
             : way.error == HALF ? "half"
                                 : "nothing");
    if (!struck())
      return wrong(what, "the call was not made");
    if (done && !way.harmless)
      return wrong(what, "a success");
    if (done)
      return read(out.get()) == whole_ ? void() : wrong(what, "other bytes");
    const Error &error = done.error();
    if (way.harmless)
      return wrong(what, "an error: " + error.syscall + " " + error.message);
    // The readers tell their calls in words.
    const bool named = error.syscall == "squashfs" ? !error.message.empty()
                                                   : struckByName(error.syscall) && !error.path.empty();
    if (error.code != way.error || !named)
      wrong(what, std::string(strerrorname_np(error.code)) + " " + error.syscall + " " + error.path + " " +
                      error.message);
  }

  static bool struckByName(const std::string &syscall) {
    for (unsigned call = 0; call < CALLS; call++)
      if (syscall == NAMES[call])
        return struck(Call(call));
    return false;
  }

  void wrong(const std::string &what, const std::string &how) {
    wrongs_++;
    printf("\nwrong: %s, %s gives %s", case_.name.c_str(), what.c_str(), how.c_str());
  }

  std::string path_;
  const Case &case_;
  std::vector<uint8_t> whole_;
  unsigned wrongs_ = 0;
};

} // namespace

int main(int count, char **arguments) {
  if (count != 2)
    return 2;
  unsigned wrongs = 0;
  for (const Case &given : makeCases(arguments[1]))
    wrongs += Trial(arguments[1], given).run();
  return wrongs > 0 ? 1 : 0;
}
