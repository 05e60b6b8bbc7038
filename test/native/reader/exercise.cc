// SPDX-License-Identifier: Apache-2.0
#include "exercise.hh"

#include "core/squash/reader.hh"
#include "core/squash/verify.hh"

using namespace berth::unsquash;

namespace {

constexpr uint64_t kBytesMax = 32 << 20;

class Reading {
public:
  explicit Reading(Image &image) : image_(image) {}

  /** The first error, or nothing. */
  std::string run() {
    const auto done = image_.walk([&](const Entry &entry) { return read(entry); });
    return done ? error_ : done.error().message;
  }

  uint64_t entries = 0;

private:
  bool read(const Entry &entry) {
    entries++;
    note(entry, image_.xattrs(entry.inode));
    note(entry, image_.lookupLink(entry.path));
    // A verified image may have holes without end; they are not what is tested.
    if (entry.inode.type == Type::file && entry.inode.size < kBytesMax && bytes_ < kBytesMax)
      note(entry,
           image_.content(entry.inode, [&](std::span<const uint8_t> piece) { bytes_ += piece.size(); }));
    return error_.empty() && bytes_ < kBytesMax;
  }

  template <typename T> void note(const Entry &entry, const berth::Result<T> &result) {
    if (!result && error_.empty())
      error_ = entry.path + ": " + result.error().message + " (" + std::to_string(result.error().code) + ")";
  }

  Image &image_;
  std::string error_;
  uint64_t bytes_ = 0;
};

} // namespace

Exercise exerciseImage(std::span<const uint8_t> bytes, unsigned threads) {
  const Limits limits{
      .entriesMax = 20'000, .bytesMax = kBytesMax, .tableBytesMax = 4 << 20, .threads = threads};
  Exercise exercise;
  const auto verified = verifySquashfs(bytes, limits);
  exercise.verified = verified.ok();
  auto image = Image::open(bytes, limits);
  if (!image) {
    if (exercise.verified)
      exercise.contradiction = "cannot be opened: " + image.error().message;
    return exercise;
  }
  Reading reading(**image);
  const std::string error = reading.run();
  if (!exercise.verified)
    return exercise;
  exercise.contradiction = error;
  if (error.empty() && reading.entries > verified.value().entries)
    exercise.contradiction =
        std::to_string(reading.entries) + " entries instead of " + std::to_string(verified.value().entries);
  return exercise;
}
