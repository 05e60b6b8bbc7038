// SPDX-License-Identifier: Apache-2.0
#include "read_unpack.hh"
#include "read_fault.hh"
#include "read_lzo.hh"

#include <algorithm>
#include <bit>
#include <lz4.h>
#include <zlib.h>
#include <zstd.h>

namespace berth::unsquash {

const char *compressorName(Compressor compressor) {
  switch (compressor) {
  case Compressor::gzip:
    return "gzip";
  case Compressor::lzma:
    return "lzma";
  case Compressor::lzo:
    return "lzo";
  case Compressor::xz:
    return "xz";
  case Compressor::lz4:
    return "lz4";
  case Compressor::zstd:
    return "zstd";
  }
  return "unknown";
}

struct Unpacker::State {
  virtual ~State() = default;
  virtual size_t unpack(std::span<const uint8_t> in, std::span<uint8_t> out) = 0;
};

namespace {

struct Gzip final : Unpacker::State {
  z_stream stream{};
  Gzip() {
    if (inflateInit(&stream) != Z_OK)
      throw std::bad_alloc();
  }
  ~Gzip() override { inflateEnd(&stream); }

  size_t unpack(std::span<const uint8_t> in, std::span<uint8_t> out) override {
    if (inflateReset(&stream) != Z_OK)
      return 0;
    stream.next_in = const_cast<uint8_t *>(in.data());
    stream.avail_in = static_cast<uInt>(in.size());
    stream.next_out = out.data();
    stream.avail_out = static_cast<uInt>(out.size());
    if (inflate(&stream, Z_FINISH) != Z_STREAM_END || stream.avail_in != 0)
      return 0;
    return out.size() - stream.avail_out;
  }
};

struct Lz4 final : Unpacker::State {
  size_t unpack(std::span<const uint8_t> in, std::span<uint8_t> out) override {
    const int length =
        LZ4_decompress_safe(reinterpret_cast<const char *>(in.data()), reinterpret_cast<char *>(out.data()),
                            static_cast<int>(in.size()), static_cast<int>(out.size()));
    return length > 0 ? static_cast<size_t>(length) : 0;
  }
};

struct Lzo final : Unpacker::State {
  size_t unpack(std::span<const uint8_t> in, std::span<uint8_t> out) override { return unpackLzo(in, out); }
};

struct Zstd final : Unpacker::State {
  ZSTD_DCtx *context = ZSTD_createDCtx();
  explicit Zstd(uint32_t blockSize) {
    if (context == nullptr)
      throw std::bad_alloc();
    // The kernel's window is one block, at least a metadata block: frames that want more cannot be read
    // there.
    const int windowLog = std::bit_width(std::max(blockSize, kMetaSize) - 1);
    ZSTD_DCtx_setParameter(context, ZSTD_d_windowLogMax, windowLog);
  }
  ~Zstd() override { ZSTD_freeDCtx(context); }

  // Streaming, since the one-shot call takes several frames in a row and ignores the window limit.
  size_t unpack(std::span<const uint8_t> in, std::span<uint8_t> out) override {
    ZSTD_DCtx_reset(context, ZSTD_reset_session_only);
    ZSTD_inBuffer input{in.data(), in.size(), 0};
    ZSTD_outBuffer output{out.data(), out.size(), 0};
    for (;;) {
      const size_t before = input.pos + output.pos;
      const size_t hint = ZSTD_decompressStream(context, &output, &input);
      if (ZSTD_isError(hint))
        return 0;
      if (hint == 0)
        return input.pos == input.size ? output.pos : 0;
      if (input.pos + output.pos == before)
        return 0;
    }
  }
};

} // namespace

Unpacker::Unpacker(Compressor compressor, uint32_t blockSize) {
  switch (compressor) {
  case Compressor::gzip:
    state_ = std::make_unique<Gzip>();
    return;
  case Compressor::lzo:
    state_ = std::make_unique<Lzo>();
    return;
  case Compressor::lz4:
    state_ = std::make_unique<Lz4>();
    return;
  case Compressor::zstd:
    state_ = std::make_unique<Zstd>(blockSize);
    return;
  default:
    throw Fault{EOPNOTSUPP, std::string("compressor ") + compressorName(compressor) + " cannot be checked"};
  }
}

size_t Unpacker::unpack(std::span<const uint8_t> in, std::span<uint8_t> out) {
  return state_->unpack(in, out);
}

Unpacker::~Unpacker() = default;
Unpacker::Unpacker(Unpacker &&) noexcept = default;

} // namespace berth::unsquash
