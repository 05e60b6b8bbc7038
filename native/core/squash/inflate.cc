// SPDX-License-Identifier: Apache-2.0
#include "inflate.hh"

#include <algorithm>
#include <array>
#include <cstring>

namespace berth::squash {
namespace {

class Plain final : public Inflater {
public:
  Result<> step(std::span<const uint8_t> &in, std::span<uint8_t> &out) override {
    const size_t size = std::min(in.size(), out.size());
    if (size > 0)
      std::memcpy(out.data(), in.data(), size);
    in = in.subspan(size);
    out = out.subspan(size);
    return Nothing{};
  }
  bool complete() const override { return true; }
};

bool startsWith(std::span<const uint8_t> bytes, std::initializer_list<uint8_t> magic) {
  return bytes.size() >= magic.size() && std::equal(magic.begin(), magic.end(), bytes.begin());
}

} // namespace

Result<std::unique_ptr<Inflater>> Inflater::sniff(std::span<const uint8_t> magic) {
  if (startsWith(magic, {0x1f, 0x8b}))
    return makeGzipInflater();
  const bool skippable = magic.size() >= 4 && (magic[0] & 0xf0) == 0x50 && magic[1] == 0x2a &&
                         magic[2] == 0x4d && magic[3] == 0x18;
  if (skippable || startsWith(magic, {0x28, 0xb5, 0x2f, 0xfd}))
    return makeZstdInflater();
  if (startsWith(magic, {0xfd, '7', 'z', 'X', 'Z', 0}))
    return fail(ENOTSUP, "inflate", {}, "the layer is compressed with xz, which OCI layers cannot be");
  if (startsWith(magic, {'B', 'Z', 'h'}) && magic.size() > 3 && magic[3] >= '1' && magic[3] <= '9')
    return fail(ENOTSUP, "inflate", {}, "the layer is compressed with bzip2, which OCI layers cannot be");
  return std::unique_ptr<Inflater>(std::make_unique<Plain>());
}

} // namespace berth::squash
