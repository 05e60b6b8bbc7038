// SPDX-License-Identifier: Apache-2.0
#include "hidden.hh"

namespace berth::squash {

void Hidden::clear() {
  entries_.clear();
  index_.clear();
  texts_.clear();
  symlinkCount_ = 0;
}

uint32_t Hidden::number(uint64_t hash) const {
  return index_.find(hash, [&](uint32_t number) { return entries_[number].hash == hash; });
}

void Hidden::put(std::string_view path, const LinkTarget &target, std::optional<std::string_view> symlink) {
  const uint64_t hash = hashOf(path);
  Entry entry{hash, target.ordinal, target.inode, symlink ? texts_.add(*symlink) : NONE};
  if (!target.lower.empty())
    entry.ordinal = LOWER | texts_.add(target.lower);
  symlinkCount_ += symlink ? 1 : 0;
  if (const uint32_t before = number(hash); before != NONE) {
    entries_[before] = entry;
    return;
  }
  const auto added = uint32_t(entries_.size());
  entries_.add(entry);
  index_.add(hash, added, [&](uint32_t other) { return entries_[other].hash; });
}

std::optional<LinkTarget> Hidden::find(std::string_view path) const {
  const uint32_t found = number(hashOf(path));
  if (found == NONE)
    return std::nullopt;
  const Entry &entry = entries_[found];
  if ((entry.ordinal & LOWER) != 0)
    return LinkTarget{entry.inode, 0, std::string(texts_.get(uint32_t(entry.ordinal)))};
  return LinkTarget{entry.inode, entry.ordinal, {}};
}

std::optional<std::string_view> Hidden::symlink(std::string_view path) const {
  if (symlinkCount_ == 0)
    return std::nullopt;
  const uint32_t found = number(hashOf(path));
  if (found == NONE || entries_[found].symlink == NONE)
    return std::nullopt;
  return texts_.get(entries_[found].symlink);
}

void Hidden::dropSymlink(std::string_view path) {
  if (symlinkCount_ == 0)
    return;
  if (const uint32_t found = number(hashOf(path)); found != NONE)
    entries_[found].symlink = NONE;
}

} // namespace berth::squash
