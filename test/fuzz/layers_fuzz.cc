// SPDX-License-Identifier: Apache-2.0
/**
 * libFuzzer target of the layer converter: any bytes give an image or an error, and an image passes the
 * verifier. Input: number of layers (1 to 3) in the first byte, then each layer behind its length in two
 * bytes; seeds by layers_seeds.ts. Header checksums are not checked in this build.
 */
#include "core/squash/convert.hh"
#include "core/squash/verify.hh"

#include <cstdio>
#include <cstdlib>
#include <future>
#include <sys/mman.h>

using namespace berth;
using namespace berth::squash;

static void feed(Converter &converter, std::vector<std::span<const uint8_t>> layers,
                 const std::vector<unsigned> &which) {
  for (const unsigned i : which) {
    converter.write(i, Bytes(layers[i].begin(), layers[i].end()), [](Result<>) {});
    converter.end(i, [](Result<>) {});
  }
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < 1)
    return 0;
  std::span<const uint8_t> input(data + 1, size - 1);
  std::vector<std::span<const uint8_t>> layers;
  for (unsigned i = 0; i <= data[0] % 3u; i++) {
    const size_t stated = input.size() < 2 ? 0 : input[0] | input[1] << 8;
    input = input.subspan(std::min<size_t>(2, input.size()));
    layers.push_back(input.first(std::min(stated, input.size())));
    input = input.subspan(layers.back().size());
  }
  const Fd file(memfd_create("image", MFD_CLOEXEC));
  ConvertOptions options;
  options.fd = file.get();
  options.layers = unsigned(layers.size());
  options.blockSize = 4096;
  options.threads = 1;
  options.bytesMax = 4 << 20;
  options.entriesMax = 2000;
  options.capture = {"a", "d/l"};
  auto converter = Converter::start(std::move(options));
  if (!converter)
    std::abort();
  feed(**converter, layers, {[&] {
    std::vector<unsigned> all(layers.size());
    for (unsigned i = 0; i < all.size(); i++)
      all[i] = i;
    return all;
  }()});
  std::promise<Result<std::vector<unsigned>>> missing;
  (*converter)->missing([&](auto answer) { missing.set_value(std::move(answer)); });
  const auto again = missing.get_future().get();
  if (!again)
    return 0;
  feed(**converter, layers, *again);
  std::promise<Result<ConvertResult>> finished;
  (*converter)->finish([&](auto answer) { finished.set_value(std::move(answer)); });
  if (!finished.get_future().get())
    return 0;
  const auto verified = unsquash::verifySquashfs(file.get(), {}, 0);
  if (!verified) {
    std::fprintf(stderr, "refused: %s %s\n", verified.error().path.c_str(), verified.error().message.c_str());
    std::abort();
  }
  return 0;
}
