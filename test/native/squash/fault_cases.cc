// SPDX-License-Identifier: Apache-2.0
#include "fault_cases.hh"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <future>
#include <random>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "core/squash/assemble.hh"
#include "core/squash/convert.hh"
#include "core/squash/rewrite_owners.hh"
#include "core/squash/stored_layers.hh"
#include "core/squash/verify_copy.hh"

using namespace berth;
using squash::Bytes;

namespace faults {
namespace {

constexpr uint32_t BLOCK_SIZE = 16384;
constexpr unsigned MANY = 12'000;

[[noreturn]] void give_up(const std::string &what) {
  perror(what.c_str());
  exit(2);
}

int create(const std::string &path) {
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0)
    give_up(path);
  return fd;
}

/** One layer, entry by entry; all bytes are the same in each run. */
class Layer {
public:
  Layer &file(const std::string &name, size_t size, bool noise = true, unsigned owner = 0) {
    header(name, '0', size, owner);
    const size_t start = bytes_.size();
    bytes_.resize(start + (size + 511) / 512 * 512);
    for (size_t i = 0; i < size; i++)
      bytes_[start + i] = noise ? uint8_t(random_()) : uint8_t(i / 700);
    return *this;
  }
  Layer &directory(const std::string &name) { return header(name, '5', 0, 7), *this; }
  Layer &whiteout(const std::string &name) { return file(".wh." + name, 0); }
  Bytes end() {
    bytes_.resize(bytes_.size() + 1024);
    return std::move(bytes_);
  }

private:
  void header(const std::string &name, char type, size_t size, unsigned owner) {
    char block[512] = {};
    snprintf(block, 100, "%s", name.c_str());
    snprintf(block + 100, 8, "%07o", type == '5' ? 0755 : 0644);
    snprintf(block + 108, 8, "%07o", owner);
    snprintf(block + 116, 8, "%07o", owner);
    snprintf(block + 124, 12, "%011zo", size);
    snprintf(block + 136, 12, "%011o", 1'600'000'000);
    memcpy(block + 257, "ustar\00000", 8);
    block[156] = type;
    memset(block + 148, ' ', 8);
    unsigned sum = 0;
    for (const char byte : block)
      sum += uint8_t(byte);
    snprintf(block + 148, 8, "%06o", sum);
    bytes_.insert(bytes_.end(), block, block + sizeof block);
  }

  Bytes bytes_;
  std::mt19937 random_{4711};
};

template <typename T, typename Ask> Result<T> wait(Ask ask) {
  std::promise<Result<T>> answered;
  ask([&](Result<T> answer) { answered.set_value(std::move(answer)); });
  return answered.get_future().get();
}

void send(squash::Converter &converter, unsigned layer, const Bytes &bytes) {
  constexpr size_t PIECE = 65536;
  for (size_t at = 0; at < bytes.size(); at += PIECE) {
    const auto from = bytes.begin() + ptrdiff_t(at);
    Bytes piece(from, from + ptrdiff_t(std::min(PIECE, bytes.size() - at)));
    const auto taken =
        wait<Nothing>([&](auto done) { converter.write(layer, std::move(piece), std::move(done)); });
    if (!taken)
      return;
  }
  converter.end(layer, [](Result<>) {});
}

struct Choice {
  int stored = -1;
  size_t tablesOwnMax = squash::Chunks::HEAP_MAX;
};

Result<uint64_t> convert(int out, const std::vector<Bytes> &layers, Choice choice = {}) {
  const int stored = choice.stored;
  squash::ConvertOptions options;
  options.fd = out;
  options.layers = unsigned(layers.size());
  options.blockSize = BLOCK_SIZE;
  options.capture = {"etc/passwd"};
  options.tablesOwnMax = choice.tablesOwnMax;
  if (stored >= 0) {
    auto opened = assemble::openStored(
        {.images = {stored}, .layers = {{0, 0, 0}, {1, 0, 1}}, .out = out, .blockSize = BLOCK_SIZE});
    if (!opened)
      return opened.error();
    options.stored = std::move(*opened);
  }
  auto started = squash::Converter::start(std::move(options));
  if (!started)
    return started.error();
  for (unsigned i = unsigned(layers.size()); i-- > (stored >= 0 ? 2u : 0u);)
    send(**started, i, layers[i]);
  auto missing = wait<std::vector<unsigned>>([&](auto done) { (*started)->missing(std::move(done)); });
  if (!missing)
    return missing.error();
  for (const unsigned i : *missing)
    send(**started, i, layers[i]);
  auto result = wait<squash::ConvertResult>([&](auto done) { (*started)->finish(std::move(done)); });
  return result ? Result<uint64_t>(result->size) : result.error();
}

std::vector<Bytes> ordinaryLayers() {
  return {Layer()
              .directory("etc")
              .file("etc/passwd", 900, false, 3)
              .file("first", 1'200'000)
              .file("between", 150'000)
              .file("second", 1'200'000, true, 5)
              .end(),
          Layer().file("small", 900, false).file("other", 5000).file("plain", 300'000, false).end(),
          Layer().whiteout("between").whiteout("small").file("mine", 400'000).end()};
}

std::vector<Bytes> manyNames() {
  Layer layer;
  for (unsigned i = 0; i < MANY; i++)
    layer.file("d" + std::to_string(i / 1000) + "/name-" + std::to_string(i), 0);
  return {layer.end()};
}

/** What a container changed: a new file, a replaced one, a deleted one. */
int makeUpper(const std::string &path) {
  mkdir(path.c_str(), 0755);
  for (const auto &[name, size] : {std::pair{"new", 400'000}, {"other", 70}}) {
    std::mt19937 random{1};
    Bytes bytes(static_cast<size_t>(size));
    for (auto &byte : bytes)
      byte = uint8_t(random());
    const Fd file(create(path + "/" + name));
    if (write(file.get(), bytes.data(), bytes.size()) != ssize_t(bytes.size()))
      give_up(path);
  }
  if (mknod((path + "/between").c_str(), S_IFCHR, makedev(0, 0)) < 0)
    give_up("mknod");
  return open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

Bytes contentOf(int fd) {
  struct stat status;
  if (fstat(fd, &status) < 0)
    give_up("fstat");
  Bytes bytes(size_t(status.st_size));
  if (pread(fd, bytes.data(), bytes.size(), 0) != ssize_t(bytes.size()))
    give_up("pread");
  return bytes;
}

} // namespace

std::vector<Case> makeCases(const std::string &directory) {
  const auto layers = ordinaryLayers();
  const int base = create(directory + "/base");
  if (auto made = convert(base, {layers[0], layers[1]}); !made)
    give_up("base: " + made.error().message);
  const int upper = makeUpper(directory + "/upper");
  std::vector<Case> cases;
  cases.push_back({"convert", [=](int out) { return convert(out, layers); }, {}});
  cases.push_back(
      {"many names", [many = manyNames()](int out) { return convert(out, many, {.tablesOwnMax = 0}); }, {}});
  cases.push_back({"reuse", [=](int out) { return convert(out, layers, {.stored = base}); }, {}});
  cases.push_back({"save",
                   [=](int out) -> Result<uint64_t> {
                     assemble::Options options;
                     options.image = base;
                     options.upper = upper;
                     options.out = out;
                     options.add = {{"etc/environment", "A=1\n"}};
                     auto done = assemble::assembleImage(options);
                     return done ? Result<uint64_t>(done->size) : done.error();
                   },
                   {}});
  cases.push_back(
      {"copy of a user's image", [=](int out) { return unsquash::copySquashfs(base, out, 1 << 30); }, {}});
  cases.push_back({"owners", [](int out) { return unsquash::giveToRoot(out); }, contentOf(base)});
  for (const char *name : {"reuse", "save", "copy of a user's image"}) {
    Case again = *std::ranges::find(cases, name, &Case::name);
    again.name += ", by hand";
    again.byHand = true;
    cases.push_back(std::move(again));
  }
  return cases;
}

} // namespace faults
