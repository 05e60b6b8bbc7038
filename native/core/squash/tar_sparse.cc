// SPDX-License-Identifier: Apache-2.0
/** The maps of sparse files: the old GNU header, PAX 0.0 and 0.1 (in the extended header), PAX 1.0 (before
 * the data). */
#include "tar.hh"

#include <charconv>
#include <cstring>

namespace berth::squash {
namespace {

constexpr size_t NUMBER_SIZE = 12;
constexpr size_t OLD_PARTS_OFFSET = 386, OLD_PARTS = 4, OLD_EXTENDED_OFFSET = 482, OLD_REAL_SIZE_OFFSET = 483;
constexpr size_t MORE_PARTS = 21, MORE_EXTENDED_OFFSET = 504;

/** Appends the parts of one block's table; an empty size ends it. */
Result<> readParts(std::span<const uint8_t> table, size_t count, std::vector<SparsePart> &parts) {
  for (size_t i = 0; i < count; i++, table = table.subspan(2 * NUMBER_SIZE)) {
    if (table[NUMBER_SIZE] == 0)
      return Nothing{};
    auto offset = parseField(table.first(NUMBER_SIZE));
    auto size = parseField(table.subspan(NUMBER_SIZE, NUMBER_SIZE));
    if (!offset || !size || *offset < 0 || *size < 0)
      return tarDamage("bad sparse header");
    if (parts.size() == SPARSE_PARTS_MAX)
      return tarDamage("a sparse file has too many parts");
    parts.push_back({uint64_t(*offset), uint64_t(*size)});
  }
  return Nothing{};
}

} // namespace

Result<> TarReader::readSparse(TarEntry &entry, const Header &header, char type) {
  sparse_ = entry.kind == Kind::file && (type == 'S' || pax_.sparse);
  parts_.clear();
  if (!sparse_)
    return Nothing{};
  if (type == 'S') {
    if (auto done = readOldSparse(entry, header); !done)
      return done;
    return checkSparse(entry);
  }
  if (!pax_.sparseSize)
    return tarDamage("a sparse file has no size");
  entry.size = uint64_t(*pax_.sparseSize);
  parts_ = std::move(pax_.sparseParts);
  if (pax_.sparseMapInContent)
    if (auto done = readSparseMap(); !done)
      return done;
  if (parts_.size() > SPARSE_PARTS_MAX)
    return tarDamage("a sparse file has too many parts");
  if (parts_.empty() || parts_.back().offset + parts_.back().size < entry.size)
    parts_.push_back({entry.size, 0});
  return checkSparse(entry);
}

Result<> TarReader::readOldSparse(TarEntry &entry, const Header &header) {
  const std::span<const uint8_t> bytes(header);
  auto size = parseField(bytes.subspan(OLD_REAL_SIZE_OFFSET, NUMBER_SIZE));
  if (!size || *size < 0)
    return tarDamage("bad sparse header");
  entry.size = uint64_t(*size);
  if (auto done = readParts(bytes.subspan(OLD_PARTS_OFFSET), OLD_PARTS, parts_); !done)
    return done;
  bool more = header[OLD_EXTENDED_OFFSET] != 0;
  while (more) {
    Header extension;
    auto found = readBlock(extension);
    if (!found)
      return found.error();
    if (!*found)
      return tarDamage("it ends inside a sparse header");
    if (auto done = readParts(extension, MORE_PARTS, parts_); !done)
      return done;
    more = extension[MORE_EXTENDED_OFFSET] != 0;
  }
  if (parts_.empty() || parts_.back().offset + parts_.back().size < entry.size)
    parts_.push_back({entry.size, 0});
  return Nothing{};
}

/** Decimal numbers, one a line: count, then offset and size of each part; padded to a block. */
Result<> TarReader::readSparseMap() {
  std::string line;
  uint64_t numbers = 1, offset = 0, read = 0;
  for (uint64_t i = 0; i < numbers;) {
    Header block;
    if (left_ < BLOCK)
      return tarDamage("a sparse map is cut");
    if (auto found = readBlock(block); !found || !*found)
      return found ? tarDamage("it ends inside a sparse map") : found.error();
    left_ -= BLOCK;
    for (read = 0; read < BLOCK && i < numbers; read++) {
      if (block[read] != '\n') {
        line += char(block[read]);
        if (line.size() > 20)
          return tarDamage("bad sparse map");
        continue;
      }
      auto number = parseDecimal(line);
      if (!number || *number < 0)
        return tarDamage("bad sparse map");
      line.clear();
      if (i == 0) {
        if (uint64_t(*number) > SPARSE_PARTS_MAX)
          return tarDamage("a sparse file has too many parts");
        numbers += 2 * uint64_t(*number);
      } else if (i % 2 == 1) {
        offset = uint64_t(*number);
      } else {
        parts_.push_back({offset, uint64_t(*number)});
      }
      i++;
    }
  }
  return Nothing{};
}

Result<> TarReader::checkSparse(const TarEntry &entry) const {
  uint64_t position = 0, stored = 0;
  for (const auto &part : parts_) {
    if (part.offset < position || part.offset > entry.size || part.size > entry.size - part.offset)
      return tarDamage("the sparse map of \"" + entry.name + "\" contradicts itself");
    position = part.offset + part.size;
    stored += part.size;
  }
  if (stored != left_)
    return tarDamage("the sparse map of \"" + entry.name + "\" does not fit its content");
  return Nothing{};
}

} // namespace berth::squash
