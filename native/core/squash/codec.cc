// SPDX-License-Identifier: Apache-2.0
#include "codec.hh"

#include <lz4.h>
#include <lz4hc.h>
#include <zlib.h>
#define ZSTD_STATIC_LINKING_ONLY
#include <zstd.h>

namespace berth::squash {
namespace {

class None final : public Codec {
public:
  size_t compress(std::span<const uint8_t>, std::span<uint8_t>) override { return 0; }
  size_t decompress(std::span<const uint8_t>, std::span<uint8_t>) override { return 0; }
};

class Zstd final : public Codec {
public:
  explicit Zstd(int level) : level_(level), in_(ZSTD_createCCtx()) {}
  ~Zstd() override {
    ZSTD_freeCCtx(in_);
    ZSTD_freeDCtx(out_);
  }
  bool ready() const { return in_ != nullptr; }

  size_t compress(std::span<const uint8_t> in, std::span<uint8_t> out) override {
    const size_t size = ZSTD_compressCCtx(in_, out.data(), out.size(), in.data(), in.size(), level_);
    return ZSTD_isError(size) ? 0 : size;
  }
  size_t decompress(std::span<const uint8_t> in, std::span<uint8_t> out) override {
    if (out_ == nullptr)
      out_ = ZSTD_createDCtx();
    const size_t size =
        out_ == nullptr ? 0 : ZSTD_decompressDCtx(out_, out.data(), out.size(), in.data(), in.size());
    return ZSTD_isError(size) ? 0 : size;
  }

private:
  int level_;
  ZSTD_CCtx *in_;
  ZSTD_DCtx *out_ = nullptr;
};

class Lz4 final : public Codec {
public:
  explicit Lz4(int level) : level_(level) {}

  size_t compress(std::span<const uint8_t> in, std::span<uint8_t> out) override {
    const auto *from = reinterpret_cast<const char *>(in.data());
    auto *to = reinterpret_cast<char *>(out.data());
    const int size = level_ > 1 ? LZ4_compress_HC(from, to, int(in.size()), int(out.size()), level_)
                                : LZ4_compress_default(from, to, int(in.size()), int(out.size()));
    return size > 0 ? size_t(size) : 0;
  }
  size_t decompress(std::span<const uint8_t> in, std::span<uint8_t> out) override {
    const int size =
        LZ4_decompress_safe(reinterpret_cast<const char *>(in.data()), reinterpret_cast<char *>(out.data()),
                            int(in.size()), int(out.size()));
    return size > 0 ? size_t(size) : 0;
  }

private:
  int level_;
};

class Gzip final : public Codec {
public:
  explicit Gzip(int level) { ready_ = deflateInit(&stream_, level) == Z_OK; }
  ~Gzip() override {
    if (ready_)
      deflateEnd(&stream_);
  }
  bool ready() const { return ready_; }

  size_t compress(std::span<const uint8_t> in, std::span<uint8_t> out) override {
    deflateReset(&stream_);
    stream_.next_in = const_cast<Bytef *>(in.data());
    stream_.avail_in = uInt(in.size());
    stream_.next_out = out.data();
    stream_.avail_out = uInt(out.size());
    return deflate(&stream_, Z_FINISH) == Z_STREAM_END ? stream_.total_out : 0;
  }
  size_t decompress(std::span<const uint8_t> in, std::span<uint8_t> out) override {
    uLongf size = out.size();
    return uncompress(out.data(), &size, in.data(), in.size()) == Z_OK ? size : 0;
  }

private:
  z_stream stream_{};
  bool ready_ = false;
};

template <typename Kind> Result<std::unique_ptr<Codec>> checked(int level) {
  auto codec = std::make_unique<Kind>(level);
  if (!codec->ready())
    return fail(ENOMEM, "compressor");
  return std::unique_ptr<Codec>(std::move(codec));
}

} // namespace

Result<std::unique_ptr<Codec>> Codec::make(Compressor compressor, int level) {
  switch (compressor) {
  case Compressor::none:
    return std::unique_ptr<Codec>(std::make_unique<None>());
  case Compressor::gzip:
    if (level < 1 || level > 9)
      return fail(EINVAL, "squash", {}, "gzip levels are 1 to 9");
    return checked<Gzip>(level);
  case Compressor::lz4:
    return std::unique_ptr<Codec>(std::make_unique<Lz4>(level));
  case Compressor::zstd:
    if (level < 1 || level > ZSTD_maxCLevel())
      return fail(EINVAL, "squash", {}, "zstd levels are 1 to " + std::to_string(ZSTD_maxCLevel()));
    return checked<Zstd>(level);
  }
  return fail(EINVAL, "squash", {}, "unknown compressor");
}

uint16_t compressorNumber(Compressor compressor) {
  switch (compressor) {
  case Compressor::lz4:
    return 5;
  case Compressor::zstd:
    return 6;
  default:
    return 1;
  }
}

Bytes compressorOptions(Compressor compressor, int level) {
  Bytes out;
  Fields fields(out);
  if (compressor == Compressor::lz4)
    fields.u32(1).u32(level > 1 ? 1 : 0);
  if (compressor == Compressor::zstd)
    fields.u32(uint32_t(level));
  // Window of 15 bits and no strategy flags: zlib's defaults, which deflateInit used.
  if (compressor == Compressor::gzip && level != 9)
    fields.u32(uint32_t(level)).u16(15).u16(0);
  return out;
}

} // namespace berth::squash
