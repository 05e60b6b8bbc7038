// SPDX-License-Identifier: Apache-2.0
#include "read_layers.hh"

namespace berth::unsquash {
namespace {

constexpr std::string_view kIndex = "index of layers";
/** As many as a converter takes. */
constexpr uint32_t kLayersMax = 1024;
/** Of a name, target or attribute: what an archive's extended header can hold. */
constexpr uint32_t kTextMax = squash::SPECIAL_SIZE_MAX;
/** Entries have 21 bytes at least. */
constexpr uint64_t kEntryMin = 21;

} // namespace

LayerTables readLayerTables(const Source &source, const Super &super, const Limits &limits) {
  std::array<uint8_t, squash::INDEX_FOOTER_SIZE> footer;
  if (source.size() < super.bytesUsed + footer.size())
    refuse(kIndex, source.size(), "the image has none");
  const uint64_t end = source.size() - footer.size();
  source.read(end, footer);
  if (le64(&footer[0]) != squash::INDEX_MAGIC || le32(&footer[8]) != squash::INDEX_VERSION)
    refuse(kIndex, end, "the image has none of this version");
  const uint32_t layers = le32(&footer[12]);
  const uint64_t start = le64(&footer[16]), numbers = le64(&footer[24]), rows = le64(&footer[32]);
  if (le64(&footer[40]) != source.size() || start < super.bytesUsed || layers > kLayersMax || rows > end ||
      end - rows < uint64_t{layers} * squash::INDEX_ROW_SIZE)
    refuse(kIndex, end, "the footer does not fit the file");
  LayerTables tables;
  tables.entries = scanTable(source, kIndex, start, numbers, limits.tableBytesMax);
  tables.numbers = scanTable(source, kIndex, numbers, rows, limits.tableBytesMax);
  tables.contents = le64(&footer[48]);
  if (tables.contents > tables.numbers.capacity() / sizeof(uint32_t))
    refuse(kIndex, end, "more contents than numbers");
  std::vector<uint8_t> raw(size_t{layers} * squash::INDEX_ROW_SIZE);
  source.read(rows, raw);
  for (const uint8_t *row = raw.data(); row < raw.data() + raw.size(); row += squash::INDEX_ROW_SIZE) {
    tables.rows.push_back({le64(row), le64(row + 8), le64(row + 16), le64(row + 24)});
    if (tables.rows.back().first > tables.entries.capacity() ||
        tables.rows.back().entries > tables.entries.capacity() / kEntryMin)
      refuse(kIndex, rows, "a layer begins outside of it");
  }
  return tables;
}

LayerCursor::LayerCursor(const Source &source, const LayerTables &tables, const LayerRow &row,
                         Unpacker &unpacker)
    : tables_(tables), entries_(source, tables.entries, unpacker), numbers_(source, tables.numbers, unpacker),
      left_(row.entries), content_(row.content) {
  entries_.seek(row.first);
  numbers_.seek(row.content * sizeof(uint32_t));
}

std::string LayerCursor::text() {
  const uint32_t size = entries_.u32();
  if (size > kTextMax)
    entries_.refuse("a text of " + std::to_string(size) + " bytes");
  return entries_.string(size);
}

void LayerCursor::readXattrs(squash::TarEntry &entry) {
  const uint32_t count = entries_.u32();
  size_t bytes = 0;
  for (uint32_t i = 0; i < count; i++) {
    std::string name = text();
    std::string value = text();
    bytes += name.size() + value.size() + 1;
    if (bytes > 2 * kTextMax)
      entries_.refuse("an entry with too many attributes");
    entry.xattrs.push_back({std::move(name), std::move(value)});
  }
}

bool LayerCursor::next(squash::TarEntry &entry, uint32_t &number) {
  if (left_ == 0)
    return false;
  left_--;
  entry = {};
  number = 0;
  uint8_t bits;
  entries_.read({&bits, 1});
  const uint8_t kind = bits & squash::INDEX_KIND;
  if (kind > uint8_t(squash::Kind::fifo) ||
      (bits & ~(squash::INDEX_KIND | squash::INDEX_XATTRS | squash::INDEX_CONTENT)) != 0)
    entries_.refuse("an entry of unknown kind");
  entry.kind = squash::Kind(kind);
  const uint16_t shared = entries_.u16();
  if (shared > name_.size())
    entries_.refuse("a name that begins as none before");
  name_.resize(shared);
  name_ += text();
  if (name_.size() > kTextMax || name_.find('\0') != std::string::npos)
    entries_.refuse("a name that no archive can have");
  entry.name = name_;
  entry.mode = entries_.u16() & 07777;
  entry.uid = entries_.u32();
  entry.gid = entries_.u32();
  entry.mtime = int64_t(entries_.u64());
  if (entry.kind == squash::Kind::file)
    entry.size = entries_.u64();
  else if (entry.kind == squash::Kind::link || entry.kind == squash::Kind::symlink)
    entry.target = text();
  else if (entry.kind == squash::Kind::character || entry.kind == squash::Kind::block) {
    entry.major = entries_.u32();
    entry.minor = entries_.u32();
  }
  if ((bits & squash::INDEX_XATTRS) != 0)
    readXattrs(entry);
  if ((bits & squash::INDEX_CONTENT) != 0) {
    if (content_++ >= tables_.contents)
      numbers_.refuse("more contents than numbers");
    number = numbers_.u32();
  }
  return true;
}

} // namespace berth::unsquash
