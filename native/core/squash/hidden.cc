// SPDX-License-Identifier: Apache-2.0
#include "hidden.hh"

namespace berth::squash {

void Hidden::clear() {
  entries_.clear();
  texts_.clear();
  symlinkCount_ = 0;
}

void Hidden::put(std::string_view path, const LinkTarget &target, std::optional<std::string_view> symlink) {
  Entry entry{keyOf(path), target.ordinal, target.inode, symlink ? texts_.add(*symlink) : NONE};
  if (!target.lower.empty())
    entry.ordinal = LOWER | texts_.add(target.lower);
  symlinkCount_ += symlink ? 1 : 0;
  if (const uint32_t before = entries_.find(entry.key); before != NONE)
    entries_[before] = entry;
  else
    entries_.add(entry);
}

std::optional<LinkTarget> Hidden::find(std::string_view path) const {
  const uint32_t found = entries_.find(keyOf(path));
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
  const uint32_t found = entries_.find(keyOf(path));
  if (found == NONE || entries_[found].symlink == NONE)
    return std::nullopt;
  return texts_.get(entries_[found].symlink);
}

void Hidden::dropSymlink(std::string_view path) {
  if (symlinkCount_ == 0)
    return;
  if (const uint32_t found = entries_.find(keyOf(path)); found != NONE)
    entries_[found].symlink = NONE;
}

} // namespace berth::squash
