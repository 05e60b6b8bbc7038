// SPDX-License-Identifier: Apache-2.0
/** zstd with any number of frames, skippable ones included (zstd:chunked puts its index into one). */
#include "inflate.hh"

#include <string>
#include <zstd.h>

namespace berth::squash {
namespace {

class ZstdInflater final : public Inflater {
public:
  explicit ZstdInflater(ZSTD_DCtx *context) : context_(context) {}
  ~ZstdInflater() override { ZSTD_freeDCtx(context_); }

  Result<> step(std::span<const uint8_t> &in, std::span<uint8_t> &out) override {
    while (!out.empty()) {
      ZSTD_inBuffer from{in.data(), in.size(), 0};
      ZSTD_outBuffer to{out.data(), out.size(), 0};
      const size_t left = ZSTD_decompressStream(context_, &to, &from);
      in = in.subspan(from.pos);
      out = out.subspan(to.pos);
      if (ZSTD_isError(left))
        return fail(EBADMSG, "inflate", {}, std::string("corrupt zstd: ") + ZSTD_getErrorName(left));
      // Asked again at a frame's end without input, the decoder would wait for a next frame: not truncation.
      if (from.pos > 0 || to.pos > 0)
        complete_ = left == 0;
      if (in.empty() && !out.empty())
        return Nothing{};
    }
    return Nothing{};
  }
  bool complete() const override { return complete_; }

private:
  ZSTD_DCtx *context_;
  bool complete_ = true;
};

} // namespace

Result<std::unique_ptr<Inflater>> makeZstdInflater() {
  ZSTD_DCtx *context = ZSTD_createDCtx();
  if (context == nullptr)
    return fail(ENOMEM, "inflate");
  // The decoder's own default limit is 2^27; larger windows ("--long=31") would break the memory bound.
  return std::unique_ptr<Inflater>(std::make_unique<ZstdInflater>(context));
}

} // namespace berth::squash
