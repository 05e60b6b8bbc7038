// SPDX-License-Identifier: Apache-2.0
#include "scan.hh"

#include "../squash/reader.hh"
#include "squash_bytes.hh"

#include <algorithm>
#include <atomic>
#include <numeric>
#include <thread>
#include <tuple>
#include <unordered_set>

namespace berth::elf {
namespace {

using unsquash::Entry;
using unsquash::Image;
using unsquash::Inode;
using unsquash::Type;

/** Images with several Python environments have about 10 000 libraries and 60 000 executable files. */
constexpr size_t kNamesMax = 40'000;
constexpr size_t kLibrariesMax = 2'000;
constexpr size_t kCandidatesMax = 400'000;
/** Of symbol tables, in one image: a hostile one could make each of its files claim the most. */
constexpr uint64_t kSymbolBytesMax = uint64_t{2} << 30;
constexpr uint64_t kTextBytesMax = 8 << 20;
constexpr size_t kTextMax = 64;
constexpr uint64_t kElfMin = sizeof(uint64_t) * 8;
constexpr unsigned kThreadsMax = 16;

/** Asked with views: an image's symbols are looked up by the hundred thousand. */
struct NameHash {
  using is_transparent = void;
  size_t operator()(std::string_view name) const { return std::hash<std::string_view>{}(name); }
};
using NameSet = std::unordered_set<std::string, NameHash, std::equal_to<>>;

std::string_view baseOf(std::string_view path) { return path.substr(path.rfind('/') + 1); }

bool beginsWithOne(std::string_view name, const std::vector<std::string> &prefixes) {
  return std::ranges::any_of(prefixes, [&](const std::string &prefix) { return name.starts_with(prefix); });
}

bool isLibraryName(std::string_view name) {
  return (name.starts_with("lib") || name.starts_with("ld-")) && name.find(".so") != std::string_view::npos;
}

bool mayBeElf(const Entry &entry) {
  if (entry.inode.type != Type::file || entry.inode.size < kElfMin)
    return false;
  // Some 250 in a Debian, which only the C library loads.
  if (entry.path.find("/gconv/") != std::string::npos)
    return false;
  return (entry.inode.mode & 0111) != 0 || baseOf(entry.path).find(".so") != std::string_view::npos;
}

bool mayNeed(const Inode &inode, const squash::Marks &marks) {
  if (inode.fragment == unsquash::kNone)
    return marks.mayLarge(inode.dataStart);
  return inode.blocks != 0 || marks.maySmall(inode.fragment, inode.fragmentOffset);
}

std::string textBehind(Bytes &bytes, const std::string &marker) {
  std::string content(std::min(bytes.size(), kTextBytesMax), '\0');
  if (!bytes.read(0, {reinterpret_cast<uint8_t *>(content.data()), content.size()}))
    return {};
  for (size_t at = content.find(marker); at != std::string::npos; at = content.find(marker, at + 1)) {
    const size_t from = at + marker.size();
    size_t to = from;
    while (to < content.size() && to - from < kTextMax && content[to] > ' ' && content[to] < 0x7f)
      to++;
    if (to > from && content[from] >= '0' && content[from] <= '9')
      return content.substr(from, to - from);
  }
  return {};
}

void sortUnique(std::vector<std::string> &names) {
  std::ranges::sort(names);
  names.erase(std::unique(names.begin(), names.end()), names.end());
}

struct Candidate {
  std::string path;
  Inode inode;
};

/**
 * Threads take candidates in the order of the image's blocks, so that each is unpacked once; what they find
 * is kept by index, so that the answer's order is the paths'.
 */
class UserScan {
public:
  UserScan(int fd, const ScanOptions &options, const std::vector<Candidate> &candidates,
           const NameSet &exported)
      : fd_(fd), options_(options), candidates_(candidates), exported_(exported), results_(candidates.size()),
        order_(inOrderOfBlocks(candidates)) {}

  void run(unsigned threads) {
    std::vector<std::thread> others;
    try {
      for (unsigned i = 1; i < threads; i++)
        others.emplace_back([this] { work(); });
    } catch (const std::system_error &) {
      // Fewer do it too.
    }
    work();
    for (std::thread &other : others)
      other.join();
  }

  void take(Scan &scan) {
    for (auto &result : results_)
      if (result)
        scan.found.push_back(std::move(*result));
    scan.truncated |= symbolBytes_ > kSymbolBytesMax || failed_;
  }

private:
  /** Neighbours in a fragment stay together, and threads end together. */
  static constexpr size_t kTurn = 32;

  /** Files with blocks of their own, then those in fragments. */
  static std::vector<uint32_t> inOrderOfBlocks(const std::vector<Candidate> &candidates) {
    std::vector<uint32_t> order(candidates.size());
    std::iota(order.begin(), order.end(), 0);
    const auto place = [&](uint32_t index) {
      const Inode &inode = candidates[index].inode;
      const bool inFragment = inode.blocks == 0;
      return std::tuple(inFragment, inFragment ? uint64_t{inode.fragment} : inode.dataStart, index);
    };
    std::ranges::sort(order, {}, place);
    return order;
  }

  void work() {
    try {
      auto image = Image::open(fd_);
      if (!image) {
        failed_ = true;
        return;
      }
      for (size_t from = next_.fetch_add(kTurn); from < order_.size(); from = next_.fetch_add(kTurn))
        for (size_t i = from; i < std::min(from + kTurn, order_.size()); i++)
          if (symbolBytes_ <= kSymbolBytesMax)
            results_[order_[i]] = look(**image, candidates_[order_[i]]);
    } catch (const std::bad_alloc &) {
      failed_ = true;
    }
  }

  std::optional<Found> look(Image &image, const Candidate &candidate) {
    SquashBytes bytes(image, candidate.inode);
    if (const auto asks = File::open(bytes, File::Part::needed); !asks || !asks->needsOne(options_.exporters))
      return std::nullopt;
    auto file = File::open(bytes);
    if (!file)
      return std::nullopt;
    symbolBytes_ += candidate.inode.size;
    Found found{.path = candidate.path, .library = file->library(), .defines = {}, .wants = {}, .text = {}};
    file->symbols([&](std::string_view name, bool defined) {
      if (!defined && exported_.contains(name))
        found.wants.emplace_back(name);
    });
    sortUnique(found.wants);
    return found;
  }

  const int fd_;
  const ScanOptions &options_;
  const std::vector<Candidate> &candidates_;
  const NameSet &exported_;
  std::vector<std::optional<Found>> results_;
  const std::vector<uint32_t> order_;
  std::atomic<size_t> next_ = 0;
  std::atomic<uint64_t> symbolBytes_ = 0;
  std::atomic<bool> failed_ = false;
};

Scan scan(Image &image, int fd, const ScanOptions &options) {
  Scan scan;
  std::vector<Candidate> libraries, others;
  const auto walked = image.walk([&](const Entry &entry) {
    const std::string_view base = baseOf(entry.path);
    const bool named = isLibraryName(base);
    if (named && (entry.inode.type == Type::file || entry.inode.type == Type::symlink)) {
      if (scan.names.size() < kNamesMax && entry.path.size() <= kNameMax)
        scan.names.push_back({entry.path, entry.inode.target});
      else
        scan.truncated = true;
    }
    if (!mayBeElf(entry))
      return true;
    const bool asked = named && beginsWithOne(base, options.prefixes);
    if (!asked && options.marks && !mayNeed(entry.inode, *options.marks))
      return true;
    auto &list = asked ? libraries : others;
    if (list.size() < (asked ? kLibrariesMax : kCandidatesMax))
      list.push_back({entry.path, entry.inode});
    else
      scan.truncated = true;
    return true;
  });
  if (!walked)
    throw unsquash::Fault{walked.error().code, walked.error().message};
  NameSet exported;
  for (const Candidate &candidate : libraries) {
    SquashBytes bytes(image, candidate.inode);
    auto found = readFile(bytes, candidate.path, options);
    if (!found)
      continue;
    exported.insert(found->defines.begin(), found->defines.end());
    scan.found.push_back(std::move(*found));
  }
  if (exported.empty())
    return scan;
  // Libraries that were asked for may be users too: Fortran's and C++'s parts of an MPI.
  for (Found &found : scan.found)
    std::erase_if(found.wants, [&](const std::string &name) { return !exported.contains(name); });
  UserScan users(fd, options, others, exported);
  users.run(std::clamp(options.threads, 1u, kThreadsMax));
  users.take(scan);
  if (!options.told.empty())
    for (Found &found : scan.found)
      std::erase_if(found.defines,
                    [&](const std::string &name) { return !beginsWithOne(name, options.told); });
  return scan;
}

} // namespace

std::optional<Found> readFile(Bytes &bytes, const std::string &path, const ScanOptions &options) {
  auto file = File::open(bytes);
  if (!file)
    return std::nullopt;
  Found found{.path = path, .library = file->library(), .defines = {}, .wants = {}, .text = {}};
  const std::string_view base = baseOf(path);
  found.exporter = beginsWithOne(base, options.exporters);
  if (found.exporter) {
    file->symbols([&](std::string_view name, bool defined) {
      (defined ? found.defines : found.wants).emplace_back(name);
    });
    sortUnique(found.defines);
    sortUnique(found.wants);
  }
  for (const auto &[prefix, marker] : options.texts)
    if (base.starts_with(prefix) && found.text.empty())
      found.text = textBehind(bytes, marker);
  return found;
}

Result<Scan> scanImage(int fd, const ScanOptions &options) {
  auto image = Image::open(fd);
  if (!image)
    return image.error();
  return unsquash::guarded([&] { return scan(**image, fd, options); });
}

} // namespace berth::elf
