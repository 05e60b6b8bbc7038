// SPDX-License-Identifier: Apache-2.0
#include "read_dir.hh"

namespace berth::unsquash {

Listing::Listing(MetaCursor &cursor, const Layout &layout, const Inode &directory)
    : cursor_(cursor), layout_(layout) {
  // Writers leave any position in an empty directory, and the kernel does not follow it.
  if (directory.size == 0)
    return;
  start_ = layout.directories.linear(directory.listBlock, directory.listOffset);
  end_ = start_ + directory.size;
  cursor_.seek(start_);
}

void Listing::readRun() {
  runOffset_ = cursor_.position() - start_;
  const uint32_t count = cursor_.u32();
  inodeBlock_ = cursor_.u32();
  number_ = cursor_.u32();
  if (count >= kRunMax)
    cursor_.refuse("a run of " + std::to_string(count) + "+1 names");
  left_ = count + 1;
}

bool Listing::next(Name &entry) {
  entry.startsRun = left_ == 0;
  if (left_ == 0) {
    if (cursor_.position() == end_ || end_ == 0)
      return false;
    readRun();
  }
  left_--;
  const uint16_t offset = cursor_.u16();
  const auto delta = static_cast<int16_t>(cursor_.u16());
  const uint16_t type = cursor_.u16();
  const uint32_t length = cursor_.u16() + 1U;
  if (type == 0 || type > kExtended)
    cursor_.refuse("entry type " + std::to_string(type));
  if (length > kNameMax)
    cursor_.refuse("a name of " + std::to_string(length) + " bytes");
  entry.name = cursor_.string(length);
  if (cursor_.position() > end_)
    cursor_.refuse("the last entry reaches beyond the directory");
  if (entry.name == "." || entry.name == ".." || entry.name.find('/') != std::string::npos ||
      entry.name.find('\0') != std::string::npos)
    cursor_.refuse("a name that no file can have");
  // std::string compares bytes as unsigned, as writers sort and as lookup expects.
  if (entry.name <= last_)
    cursor_.refuse("names out of order");
  last_ = entry.name;
  entry.type = static_cast<Type>(type);
  entry.number = number_ + static_cast<uint32_t>(static_cast<int32_t>(delta));
  entry.inode = layout_.inodes.linear(inodeBlock_, offset);
  if (entry.number == 0 || entry.number > layout_.super.inodes)
    cursor_.refuse("inode number " + std::to_string(entry.number));
  return true;
}

IndexRecord readIndexRecord(MetaCursor &cursor) {
  IndexRecord record{.offset = cursor.u32(), .block = cursor.u32(), .name = {}};
  const uint32_t length = cursor.u32();
  if (length >= kNameMax)
    cursor.refuse("an index name of " + std::to_string(length) + "+1 bytes");
  record.name = cursor.string(length + 1);
  return record;
}

} // namespace berth::unsquash
