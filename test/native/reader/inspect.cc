// SPDX-License-Identifier: Apache-2.0
/**
 * Looks into squashfs files: a small program for people and tests.
 *   inspect verify IMAGE [THREADS]    inspect list IMAGE [PATH]    inspect cat IMAGE PATH
 *   inspect compare IMAGE MOUNTPOINT  every entry against the kernel's view
 */
#include "compare.hh"

#include "core/squash/reader.hh"
#include "core/squash/verify.hh"

#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <fcntl.h>

using namespace berth::unsquash;

namespace {

/** As in berth's own use; a run of this program shows what a user's image costs. */
const Limits limits{};

int complain(const berth::Error &error) {
  std::fprintf(stderr, "%s: %s\n", error.message.empty() ? error.syscall.c_str() : error.message.c_str(),
               strerror(error.code));
  return 1;
}

int verify(int fd, unsigned threads) {
  Limits chosen = limits;
  chosen.threads = threads;
  const auto result = verifySquashfs(fd, chosen);
  if (!result)
    return complain(result.error());
  const Verified &image = result.value();
  std::printf("{\"entries\":%" PRIu64 ",\"inodes\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"bytesUsed\":%" PRIu64
              ",\"blockSize\":%u,\"compressor\":\"%s\"}\n",
              image.entries, image.inodes, image.bytes, image.bytesUsed, image.blockSize,
              image.compressor.c_str());
  return 0;
}

int list(Image &image, const char *path) {
  const auto names = image.list(path);
  if (!names)
    return complain(names.error());
  for (const Name &name : names.value())
    std::printf("%c %8u %s\n", "?dflbcps"[static_cast<int>(name.type)], name.number, name.name.c_str());
  return 0;
}

int cat(Image &image, const char *path) {
  const auto inode = image.lookup(path);
  if (!inode)
    return complain(inode.error());
  const auto done = image.content(inode.value(), [](std::span<const uint8_t> piece) {
    std::fwrite(piece.data(), 1, piece.size(), stdout);
  });
  return done ? 0 : complain(done.error());
}

} // namespace

int main(int argc, char **argv) {
  if (argc < 3) {
    std::fputs("usage: inspect verify|list|cat|compare IMAGE [PATH]\n", stderr);
    return 2;
  }
  const std::string_view command = argv[1];
  const berth::Fd fd(open(argv[2], O_RDONLY | O_CLOEXEC));
  if (!fd)
    return complain(berth::fail("open"));
  if (command == "verify")
    return verify(fd.get(), argc > 3 ? static_cast<unsigned>(std::atoi(argv[3])) : 1);
  auto image = Image::open(fd.get(), limits);
  if (!image)
    return complain(image.error());
  if (command == "list")
    return list(**image, argc > 3 ? argv[3] : "/");
  if (command == "cat" && argc > 3)
    return cat(**image, argv[3]);
  if (command == "compare" && argc > 3)
    return compareWithMount(**image, argv[3]);
  return 2;
}
