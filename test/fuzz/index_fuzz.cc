// SPDX-License-Identifier: Apache-2.0
/**
 * libFuzzer target of layers that a stored image lends: whatever the image and the index behind it say, the
 * new image is refused or passes the verifier. Input: an image, seeds by index_seeds.ts. The file's size in
 * the index's footer is made to fit, or hardly any change of length would get past it.
 */
#include "core/squash/convert.hh"
#include "core/squash/layer_index.hh"
#include "core/squash/stored_layers.hh"
#include "core/squash/verify.hh"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <future>
#include <sys/mman.h>
#include <vector>

using namespace berth;
using namespace berth::squash;

/** Of layers that are looked at; the seeds have fewer. */
constexpr unsigned LAYERS_MAX = 4;
/** From the file's end: where the footer has the file's size, and the number of layers. */
constexpr size_t SIZE_AT = INDEX_FOOTER_SIZE - 40, LAYERS_AT = INDEX_FOOTER_SIZE - 12;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < INDEX_FOOTER_SIZE)
    return 0;
  Bytes image(data, data + size);
  const uint64_t stated = size;
  std::memcpy(&image[size - SIZE_AT], &stated, sizeof stated);
  const Fd stored(memfd_create("stored", MFD_CLOEXEC)), out(memfd_create("image", MFD_CLOEXEC));
  if (pwrite(stored.get(), image.data(), size, 0) != ssize_t(size))
    std::abort();
  ConvertOptions options;
  options.fd = out.get();
  options.layers = std::min<unsigned>(image[size - LAYERS_AT], LAYERS_MAX);
  options.compressor = Compressor::none;
  options.blockSize = 4096;
  options.threads = 1;
  options.bytesMax = 4 << 20;
  options.entriesMax = 2000;
  options.capture = {"a", "d/l"};
  assemble::StoredOptions from{.images = {stored.get()},
                               .layers = {},
                               .out = out.get(),
                               .compressor = options.compressor,
                               .blockSize = options.blockSize,
                               .entriesMax = options.entriesMax,
                               .bytesMax = options.bytesMax};
  for (unsigned layer = 0; layer < options.layers; layer++)
    from.layers.push_back({layer, 0, layer});
  auto opened = assemble::openStored(std::move(from));
  if (!opened)
    return 0;
  options.stored = std::move(*opened);
  auto converter = Converter::start(std::move(options));
  if (!converter)
    std::abort();
  std::promise<Result<std::vector<unsigned>>> missing;
  (*converter)->missing([&](auto answer) { missing.set_value(std::move(answer)); });
  const auto again = missing.get_future().get();
  if (!again || !again->empty())
    return 0;
  std::promise<Result<ConvertResult>> finished;
  (*converter)->finish([&](auto answer) { finished.set_value(std::move(answer)); });
  if (!finished.get_future().get())
    return 0;
  const auto verified = unsquash::verifySquashfs(out.get(), {}, 0);
  if (!verified) {
    std::fprintf(stderr, "refused: %s %s\n", verified.error().path.c_str(), verified.error().message.c_str());
    std::abort();
  }
  return 0;
}
