// SPDX-License-Identifier: Apache-2.0
#include "acl.hh"

#include <algorithm>

namespace berth::squash {
namespace {

constexpr std::string_view ACL = "system.posix_acl_access";
/** linux/posix_acl_xattr.h: a version, then rows of tag, permissions and id, little endian. */
constexpr size_t HEAD_SIZE = 4, ROW_SIZE = 8;
constexpr unsigned GROUP_OBJ = 0x04;

unsigned shortAt(std::string_view bytes, size_t at) {
  return uint8_t(bytes[at]) | unsigned(uint8_t(bytes[at + 1])) << 8;
}

uint16_t narrowed(uint16_t mode, unsigned group) { return uint16_t(mode & (~070u | (group & 07) << 3)); }

} // namespace

uint16_t modeWithoutAcl(uint16_t mode, const std::vector<Xattr> &xattrs) {
  const auto acl = std::ranges::find(xattrs, ACL, &Xattr::name);
  if (acl == xattrs.end())
    return mode;
  for (size_t at = HEAD_SIZE; at + ROW_SIZE <= acl->value.size(); at += ROW_SIZE)
    if (shortAt(acl->value, at) == GROUP_OBJ)
      return narrowed(mode, shortAt(acl->value, at + 2));
  return mode;
}

uint16_t modeWithoutAcl(uint16_t mode, std::string_view text) {
  constexpr std::string_view GROUP = "group::", BITS = "rwx";
  while (!text.empty()) {
    const auto row = text.substr(0, text.find_first_of(",\n"));
    text.remove_prefix(std::min(row.size() + 1, text.size()));
    if (!row.starts_with(GROUP))
      continue;
    unsigned group = 0;
    for (const char bit : row.substr(GROUP.size(), BITS.size()))
      if (const auto at = BITS.find(bit); at != std::string_view::npos)
        group |= 4u >> at;
    return narrowed(mode, group);
  }
  return mode;
}

} // namespace berth::squash
