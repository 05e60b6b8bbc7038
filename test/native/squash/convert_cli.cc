// SPDX-License-Identifier: Apache-2.0
/**
 * Layers to a squashfs on the command line, without Node: convert [-key value]... OUT LAYER0 LAYER1 ...
 * One thread a layer feeds pieces of `-chunk` bytes (of random sizes and with pauses when `-seed` is given).
 * Prints the result as JSON; a failure as `ERRNO syscall path: message` with exit code 1.
 */
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <future>
#include <map>
#include <random>
#include <thread>

#include "core/squash/convert.hh"

using namespace berth;
using namespace berth::squash;

static int report(const Error &error) {
  fprintf(stderr, "%s %s %s: %s\n", strerrorname_np(error.code), error.syscall.c_str(), error.path.c_str(),
          error.message.c_str());
  return 1;
}

static void feed(Converter &converter, unsigned layer, const std::string &path, size_t chunk, unsigned seed) {
  std::mt19937 random(seed * 1000 + layer);
  const Fd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  for (;;) {
    Bytes bytes(seed == 0 ? chunk : 1 + random() % chunk);
    const ssize_t got = read(file.get(), bytes.data(), bytes.size());
    bytes.resize(got > 0 ? size_t(got) : 0);
    std::promise<bool> answered;
    const auto done = [&](Result<> answer) { answered.set_value(answer.ok()); };
    if (got > 0)
      converter.write(layer, std::move(bytes), done);
    else
      converter.end(layer, done);
    if (!answered.get_future().get() || got <= 0)
      return;
    if (seed != 0 && random() % 64 == 0)
      std::this_thread::sleep_for(std::chrono::milliseconds(random() % 3));
  }
}

template <typename T, typename Ask> static Result<T> wait(Ask ask) {
  std::promise<Result<T>> answered;
  ask([&](Result<T> answer) { answered.set_value(std::move(answer)); });
  return answered.get_future().get();
}

int main(int count, char **arguments) {
  std::map<std::string, std::string> keys{
      {"compressor", "zstd"}, {"level", "1"},   {"block", "131072"}, {"threads", "2"},
      {"chunk", "65536"},     {"seed", "0"},    {"bytes", "-1"},     {"entries", "100000000"},
      {"capture", ""},        {"again", "yes"}, {"texts", ""}};
  int at = 1;
  for (; at + 1 < count && arguments[at][0] == '-'; at += 2)
    keys[arguments[at] + 1] = arguments[at + 1];
  if (at >= count)
    return fprintf(stderr, "usage: convert [-key value]... OUT LAYER0 LAYER1 ...\n"), 2;
  const Fd out(open(arguments[at++], O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  const std::vector<std::string> layers(arguments + at, arguments + count);
  const std::map<std::string, Compressor> compressors{{"none", Compressor::none},
                                                      {"gzip", Compressor::gzip},
                                                      {"lz4", Compressor::lz4},
                                                      {"zstd", Compressor::zstd}};
  ConvertOptions options;
  options.fd = out.get();
  options.layers = unsigned(layers.size());
  options.compressor = compressors.at(keys["compressor"]);
  options.level = std::stoi(keys["level"]);
  options.blockSize = uint32_t(std::stoul(keys["block"]));
  options.threads = unsigned(std::stoul(keys["threads"]));
  options.bytesMax = std::stoull(keys["bytes"]);
  options.entriesMax = std::stoull(keys["entries"]);
  if (!keys["texts"].empty())
    options.textBytesMax = std::stoull(keys["texts"]);
  if (!keys["capture"].empty())
    options.capture.push_back(keys["capture"]);
  auto started = Converter::start(std::move(options));
  if (!started)
    return report(started.error());
  Converter &converter = **started;
  const size_t chunk = std::stoul(keys["chunk"]);
  const auto feedAll = [&](const std::vector<unsigned> &numbers) {
    std::vector<std::thread> threads;
    for (const unsigned i : numbers)
      threads.emplace_back(
          [&, i] { feed(converter, i, layers[i], chunk, unsigned(std::stoul(keys["seed"]))); });
    for (auto &thread : threads)
      thread.join();
  };
  std::vector<unsigned> all(layers.size());
  for (unsigned i = 0; i < all.size(); i++)
    all[i] = i;
  feedAll(all);
  auto missing = wait<std::vector<unsigned>>([&](auto done) { converter.missing(done); });
  if (!missing)
    return report(missing.error());
  if (keys["again"] == "yes")
    feedAll(*missing);
  auto result = wait<ConvertResult>([&](auto done) { converter.finish(done); });
  if (!result)
    return report(result.error());
  printf("{\"size\":%lu,\"entries\":%lu,\"bytes\":%lu,\"again\":%zu,\"diffIds\":[", result->size,
         result->entries, result->bytes, missing->size());
  for (size_t i = 0; i < result->diffIds.size(); i++)
    printf("%s\"%s\"", i > 0 ? "," : "", toHex(result->diffIds[i]).c_str());
  printf("]");
  for (const auto &[path, content] : result->captured)
    printf(",\"captured\":%zu", content.size());
  printf("}\n");
  return 0;
}
