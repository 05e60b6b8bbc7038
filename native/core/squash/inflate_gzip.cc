// SPDX-License-Identifier: Apache-2.0
/**
 * gzip by isa-l where the build says it has it (BERTH_HAVE_ISAL; twice as fast as zlib), else by zlib. A
 * layer may hold several members (pigz, estargz); zeros behind the last one are padding, anything else is
 * damage.
 */
#include "inflate.hh"

#include <algorithm>
#include <cstring>
#include <string>

#ifdef BERTH_HAVE_ISAL
#include <isa-l/igzip_lib.h>
#else
#include <zlib.h>
#endif

namespace berth::squash {
namespace {

Error damaged(const char *what) { return fail(EBADMSG, "inflate", {}, std::string("corrupt gzip: ") + what); }

#ifdef BERTH_HAVE_ISAL
class Member {
public:
  void restart() {
    isal_inflate_init(&state_);
    state_.crc_flag = ISAL_GZIP;
  }
  /** True at the end of the member. */
  Result<bool> step(std::span<const uint8_t> &in, std::span<uint8_t> &out) {
    state_.next_in = const_cast<uint8_t *>(in.data());
    state_.avail_in = uint32_t(in.size());
    state_.next_out = out.data();
    state_.avail_out = uint32_t(out.size());
    const int answer = isal_inflate(&state_);
    // After an error its counters may lie outside of the buffers (2.30 steps up to 8 bytes too far).
    if (answer >= 0 && state_.avail_in <= in.size() && state_.avail_out <= out.size()) {
      in = in.last(state_.avail_in);
      out = out.last(state_.avail_out);
    } else if (answer >= 0) {
      return damaged("bad deflate data");
    }
    if (answer == ISAL_INCORRECT_CHECKSUM)
      return damaged("checksum mismatch");
    if (answer == ISAL_INVALID_WRAPPER || answer == ISAL_UNSUPPORTED_METHOD)
      return damaged("bad header");
    if (answer < 0 || answer == ISAL_NEED_DICT)
      return damaged("bad deflate data");
    return state_.block_state == ISAL_BLOCK_FINISH;
  }

private:
  inflate_state state_;
};
#else
class Member {
public:
  ~Member() {
    if (ready_)
      inflateEnd(&stream_);
  }
  void restart() {
    // 15 bits of window, +16: a gzip wrapper.
    ready_ = ready_ ? inflateReset(&stream_) == Z_OK : inflateInit2(&stream_, 15 + 16) == Z_OK;
  }
  Result<bool> step(std::span<const uint8_t> &in, std::span<uint8_t> &out) {
    if (!ready_)
      return fail(ENOMEM, "inflate");
    stream_.next_in = const_cast<Bytef *>(in.data());
    stream_.avail_in = uInt(in.size());
    stream_.next_out = out.data();
    stream_.avail_out = uInt(out.size());
    const int answer = inflate(&stream_, Z_NO_FLUSH);
    in = in.last(stream_.avail_in);
    out = out.last(stream_.avail_out);
    if (answer == Z_MEM_ERROR)
      return fail(ENOMEM, "inflate");
    if (answer != Z_OK && answer != Z_STREAM_END && answer != Z_BUF_ERROR)
      return damaged(stream_.msg != nullptr ? stream_.msg : "bad data");
    return answer == Z_STREAM_END;
  }

private:
  z_stream stream_{};
  bool ready_ = false;
};
#endif

class GzipInflater final : public Inflater {
public:
  Result<> step(std::span<const uint8_t> &in, std::span<uint8_t> &out) override {
    while (!out.empty()) {
      if (!inside_) {
        if (in.empty())
          return Nothing{};
        if (in.front() == 0 && members_ > 0)
          return skipPadding(in);
        if (in.front() != 0x1f)
          return damaged("data behind the last member");
        member_.restart();
        inside_ = true;
      }
      auto ended = member_.step(in, out);
      if (!ended)
        return ended.error();
      if (*ended) {
        inside_ = false;
        members_++;
      } else if (in.empty()) {
        return Nothing{};
      }
    }
    return Nothing{};
  }
  bool complete() const override { return !inside_; }

private:
  Result<> skipPadding(std::span<const uint8_t> &in) {
    if (std::ranges::any_of(in, [](uint8_t byte) { return byte != 0; }))
      return damaged("data behind the last member");
    in = {};
    return Nothing{};
  }

  Member member_;
  bool inside_ = false;
  uint64_t members_ = 0;
};

} // namespace

std::unique_ptr<Inflater> makeGzipInflater() { return std::make_unique<GzipInflater>(); }

} // namespace berth::squash
