// SPDX-License-Identifier: Apache-2.0
#include "needed_watch.hh"

#include <algorithm>
#include <elf.h>

namespace berth::elf {

/** What of a content is still there. */
class NeededWatch::Kept final : public Bytes {
public:
  explicit Kept(const NeededWatch &watch) : watch_(watch) {}
  uint64_t size() const override { return watch_.size_; }
  /** The first that was asked for in vain. */
  const Missed &missed() const { return missed_; }

  bool read(uint64_t offset, std::span<uint8_t> to) override {
    if (!holds(offset, to.size()))
      return false;
    if (to.empty())
      return true;
    if (take(watch_.head_, 0, offset, to) || take(watch_.piece_, watch_.missed_.offset, offset, to))
      return true;
    if (missed_.size == 0)
      missed_ = {offset, to.size()};
    return false;
  }

private:
  static bool take(const std::vector<uint8_t> &from, uint64_t start, uint64_t offset, std::span<uint8_t> to) {
    if (offset < start || offset - start > from.size() || to.size() > from.size() - (offset - start))
      return false;
    std::ranges::copy(std::span(from).subspan(offset - start, to.size()), to.begin());
    return true;
  }

  const NeededWatch &watch_;
  Missed missed_;
};

void NeededWatch::begin(uint64_t size) {
  size_ = size;
  state_ = size < sizeof(Elf64_Ehdr) ? State::plain : State::open;
  head_.clear();
  piece_.clear();
  missed_ = {};
}

void NeededWatch::data(uint64_t position, std::span<const uint8_t> bytes) {
  if (state_ != State::open)
    return;
  const size_t whole = std::min<uint64_t>(size_, headMax_);
  if (head_.size() < whole) {
    // A hole there: no linker writes that.
    if (position != head_.size()) {
      state_ = State::marked;
      return;
    }
    const size_t part = std::min(bytes.size(), whole - head_.size());
    keepHead(bytes.first(part));
    if (state_ != State::open || head_.size() < whole)
      return;
    look();
    position += part;
    bytes = bytes.subspan(part);
  }
  if (state_ == State::open)
    keepPiece(position, bytes);
}

void NeededWatch::keepHead(std::span<const uint8_t> bytes) {
  const bool first = head_.size() < SELFMAG;
  // Before it is copied: most files are something else.
  if (head_.empty() && bytes.size() >= SELFMAG && std::memcmp(bytes.data(), ELFMAG, SELFMAG) != 0) {
    state_ = State::plain;
    return;
  }
  head_.insert(head_.end(), bytes.begin(), bytes.end());
  if (first && head_.size() >= SELFMAG && std::memcmp(head_.data(), ELFMAG, SELFMAG) != 0)
    state_ = State::plain;
}

void NeededWatch::keepPiece(uint64_t position, std::span<const uint8_t> bytes) {
  const uint64_t from = missed_.offset + piece_.size();
  const size_t left = missed_.size - piece_.size();
  if (left == 0 || from < position || from - position >= bytes.size())
    return;
  const auto rest = bytes.subspan(from - position);
  const auto part = rest.first(std::min(left, rest.size()));
  piece_.insert(piece_.end(), part.begin(), part.end());
}

void NeededWatch::look() {
  Kept kept(*this);
  const auto file = File::open(kept, File::Part::needed);
  if (kept.missed().size != 0) {
    missed_ = kept.missed();
    // It may begin in what was kept already.
    if (missed_.offset < head_.size())
      piece_.assign(head_.begin() + static_cast<ptrdiff_t>(missed_.offset), head_.end());
    return;
  }
  state_ = file && file->needsOne(prefixes_) ? State::marked : State::plain;
}

bool NeededWatch::end() {
  // Whole in head_, or the piece has come: what is missed even so, the reader of images will find.
  if (state_ == State::open && missed_.size != 0)
    look();
  return state_ != State::plain;
}

} // namespace berth::elf
