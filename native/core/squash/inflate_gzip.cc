// SPDX-License-Identifier: Apache-2.0
/**
 * gzip (RFC 1952). A layer may hold several members (pigz, estargz); zeros behind the last one are padding,
 * anything else is damage.
 */
#include "inflate.hh"

#include <string>

#ifdef BERTH_HAVE_ISAL
#include <isa-l/crc.h>
#else
#include <zlib.h>
#endif

#include "deflate.hh"

namespace berth::squash {
namespace {

/** isa-l's takes a tenth of zlib's time. */
uint32_t crc32Of(uint32_t before, std::span<const uint8_t> bytes) {
#ifdef BERTH_HAVE_ISAL
  return crc32_gzip_refl(before, bytes.data(), bytes.size());
#else
  return uint32_t(::crc32(before, bytes.data(), uInt(bytes.size())));
#endif
}

Error damaged(const char *what) { return fail(EBADMSG, "inflate", {}, std::string("corrupt gzip: ") + what); }

class GzipInflater final : public Inflater {
public:
  Result<> step(std::span<const uint8_t> &in, Piece &piece) override {
    bits_.feed(in);
    Result<bool> more = true;
    while (more && *more)
      more = advance(piece);
    in = bits_.rest();
    return more ? Result<>(Nothing{}) : more.error();
  }
  bool complete() const override { return part_ == Part::magic && bits_.empty(); }

private:
  enum class Part : uint8_t { magic, fixed, extraSize, extra, name, comment, headerSum, data, trailer };
  static constexpr uint8_t HAS_SUM = 2, HAS_EXTRA = 4, HAS_NAME = 8, HAS_COMMENT = 16, RESERVED = 0xe0;
  static constexpr uint32_t MAGIC = 0x8b1f;
  static constexpr uint8_t DEFLATE = 8;
  /** Time, flags of the compressor and the system's number. */
  static constexpr size_t FIXED_REST = 6;

  /** False when there is no more to do with this input and piece. */
  Result<bool> advance(Piece &piece) {
    switch (part_) {
    case Part::magic:
      return begin();
    case Part::fixed:
      return skip(FIXED_REST, Part::extraSize);
    case Part::extraSize:
      if ((flags_ & HAS_EXTRA) == 0)
        return go(Part::name);
      if (!bits_.want(16))
        return false;
      extra_ = bits_.take(16);
      return go(Part::extra);
    case Part::extra:
      return skip(extra_, Part::name);
    case Part::name:
      return text(HAS_NAME, Part::comment);
    case Part::comment:
      return text(HAS_COMMENT, Part::headerSum);
    case Part::headerSum:
      return skip((flags_ & HAS_SUM) != 0 ? 2 : 0, Part::data);
    case Part::data:
      return data(piece);
    case Part::trailer:
      return trailer();
    }
    return false;
  }

  Result<bool> go(Part part) {
    part_ = part;
    skipped_ = 0;
    return true;
  }

  Result<bool> begin() {
    while (memberSeen_ && bits_.want(8) && (bits_.peek() & 0xff) == 0) {
      bits_.drop(8);
      padded_ = true;
    }
    if (padded_ && bits_.want(8))
      return damaged("data behind the last member");
    if (!bits_.want(32))
      return memberSeen_ && bits_.want(8) && (bits_.peek() & 0xff) != (MAGIC & 0xff)
                 ? Result<bool>(damaged("data behind the last member"))
                 : Result<bool>(false);
    if (bits_.take(16) != MAGIC)
      return damaged(memberSeen_ ? "data behind the last member" : "bad header");
    const uint32_t method = bits_.take(8);
    flags_ = uint8_t(bits_.take(8));
    if (method != DEFLATE || (flags_ & RESERVED) != 0)
      return damaged("bad header");
    deflate_.restart();
    sum_ = size_ = 0;
    return go(Part::fixed);
  }

  Result<bool> skip(size_t size, Part next) {
    for (; skipped_ < size; skipped_++) {
      if (!bits_.want(8))
        return false;
      bits_.drop(8);
    }
    return go(next);
  }

  Result<bool> text(uint8_t flag, Part next) {
    if ((flags_ & flag) == 0)
      return go(next);
    while (bits_.want(8))
      if (bits_.take(8) == 0)
        return go(next);
    return false;
  }

  Result<bool> data(Piece &piece) {
    const size_t before = piece.size;
    auto ended = deflate_.step(bits_, piece);
    if (!ended)
      return ended.error();
    const auto fresh = piece.span().subspan(before);
    sum_ = crc32Of(sum_, fresh);
    size_ += uint32_t(fresh.size());
    if (!*ended)
      return false;
    bits_.align();
    return go(Part::trailer);
  }

  Result<bool> trailer() {
    if (!bits_.want(32))
      return false;
    if (!sumSeen_) {
      if (bits_.take(32) != sum_)
        return damaged("checksum mismatch");
      sumSeen_ = true;
      return true;
    }
    sumSeen_ = false;
    if (bits_.take(32) != size_)
      return damaged("checksum mismatch");
    memberSeen_ = true;
    return go(Part::magic);
  }

  BitReader bits_;
  Deflate deflate_;
  Part part_ = Part::magic;
  uint8_t flags_ = 0;
  bool sumSeen_ = false, padded_ = false, memberSeen_ = false;
  size_t skipped_ = 0, extra_ = 0;
  uint32_t sum_ = 0, size_ = 0;
};

} // namespace

std::unique_ptr<Inflater> makeGzipInflater() { return std::make_unique<GzipInflater>(); }

} // namespace berth::squash
