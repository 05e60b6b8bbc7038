// SPDX-License-Identifier: Apache-2.0
#include "layer_index.hh"

#include <algorithm>

namespace berth::squash {

void LayerIndex::begin(unsigned layer) {
  row_ = &rows_[layer];
  row_->first = entries_.blocks().size() * uint64_t{METADATA_SIZE} + entries_.here().offset;
  row_->content = contents_.size();
  before_.clear();
}

void LayerIndex::add(const TarEntry &entry, uint32_t inode) {
  const bool content = inode != NONE && entry.kind == Kind::file && entry.size > 0;
  // Neighbours in an archive share their directory.
  const size_t most = std::min({entry.name.size(), before_.size(), size_t{0xffff}});
  const size_t shared =
      size_t(std::mismatch(before_.begin(), before_.begin() + ptrdiff_t(most), entry.name.begin()).first -
             before_.begin());
  record_.clear();
  Fields fields(record_);
  fields.u8(uint8_t(uint8_t(entry.kind) | (entry.xattrs.empty() ? 0 : INDEX_XATTRS) |
                    (content ? INDEX_CONTENT : 0)));
  fields.u16(shared).u32(entry.name.size() - shared);
  fields.bytes(entry.name.data() + shared, entry.name.size() - shared);
  fields.u16(entry.mode).u32(entry.uid).u32(entry.gid).u64(uint64_t(entry.mtime));
  if (entry.kind == Kind::file)
    fields.u64(entry.size);
  else if (entry.kind == Kind::link || entry.kind == Kind::symlink)
    fields.u32(entry.target.size()).bytes(entry.target.data(), entry.target.size());
  else if (entry.kind == Kind::character || entry.kind == Kind::block)
    fields.u32(entry.major).u32(entry.minor);
  if (!entry.xattrs.empty())
    fields.u32(entry.xattrs.size());
  for (const auto &[name, value] : entry.xattrs)
    fields.u32(name.size())
        .bytes(name.data(), name.size())
        .u32(value.size())
        .bytes(value.data(), value.size());
  entries_.append(record_);
  before_ = entry.name;
  row_->entries++;
  if (content)
    contents_.add(inode);
}

Result<uint64_t> LayerIndex::write(Output &output, const Tree &tree) {
  const uint64_t start = output.position();
  entries_.close();
  if (auto done = entries_.drain(output); !done)
    return done.error();
  const uint64_t numbersStart = output.position();
  MetadataTable numbers(codec_, chunks_);
  Bytes number;
  for (size_t i = 0; i < contents_.size(); i++) {
    number.clear();
    // 0: another entry of the same layer replaced this one.
    Fields(number).u32(tree.inode(contents_[i]).number);
    numbers.append(number);
  }
  numbers.close();
  if (auto done = numbers.drain(output); !done)
    return done.error();
  const uint64_t rowsStart = output.position();
  Bytes end;
  for (const Row &row : rows_)
    Fields(end).u64(row.first).u64(row.content).u64(row.entries).u64(row.bytes);
  end.resize(end.size() +
             (IMAGE_ALIGN - (rowsStart + end.size() + INDEX_FOOTER_SIZE) % IMAGE_ALIGN) % IMAGE_ALIGN);
  const uint64_t size = rowsStart + end.size() + INDEX_FOOTER_SIZE;
  Fields(end).u64(INDEX_MAGIC).u32(INDEX_VERSION).u32(rows_.size());
  Fields(end).u64(start).u64(numbersStart).u64(rowsStart).u64(size).u64(contents_.size()).u64(0);
  if (auto done = output.append(end); !done)
    return done.error();
  if (auto done = output.flush(); !done)
    return done.error();
  return size;
}

} // namespace berth::squash
