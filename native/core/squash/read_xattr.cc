// SPDX-License-Identifier: Apache-2.0
#include "read_xattr.hh"

namespace berth::unsquash {
namespace {

constexpr uint16_t kShared = 0x0100;
constexpr const char *kPrefixes[] = {"user.", "trusted.", "security."};
/** XATTR_NAME_MAX and XATTR_SIZE_MAX of linux/limits.h. */
constexpr size_t kNameLengthMax = 255;
constexpr uint32_t kValueMax = 65536;
constexpr uint32_t kReferenceSize = 8;

uint32_t readLength(MetaCursor &cursor) {
  const uint32_t length = cursor.u32();
  if (length > kValueMax)
    cursor.refuse("attribute value of " + std::to_string(length) + " bytes");
  return length;
}

} // namespace

XattrSet readXattrSet(MetaCursor &ids, const Layout &layout) {
  const uint64_t reference = ids.u64();
  const XattrSet set{.start = layout.xattrs.linear(reference >> 16, reference & 0xffff), .count = ids.u32()};
  // A size in bytes, for statistics: mksquashfs counts it unlike squashfs-tools-ng, the kernel only shows it
  // in st_blocks.
  ids.skip(sizeof(uint32_t));
  if (set.count == 0)
    ids.refuse("a set of no attributes");
  return set;
}

XattrPair readXattrPair(MetaCursor &cursor, const Layout &layout) {
  const uint16_t type = cursor.u16();
  const uint16_t prefix = type & static_cast<uint16_t>(~kShared);
  if (prefix >= std::size(kPrefixes))
    cursor.refuse("attribute type " + std::to_string(type));
  const uint16_t length = cursor.u16();
  XattrPair pair{.name = kPrefixes[prefix], .value = 0, .shared = (type & kShared) != 0};
  if (length == 0 || pair.name.size() + length > kNameLengthMax)
    cursor.refuse("attribute name of " + std::to_string(length) + " bytes");
  pair.name += cursor.string(length);
  if (pair.name.find('\0') != std::string::npos)
    cursor.refuse("attribute name with a NUL");
  pair.value = cursor.position();
  if (!pair.shared) {
    skipXattrValue(cursor);
    return pair;
  }
  if (cursor.u32() != kReferenceSize)
    cursor.refuse("a reference to a value that is not of 8 bytes");
  const uint64_t reference = cursor.u64();
  pair.value = layout.xattrs.linear(reference >> 16, reference & 0xffff);
  return pair;
}

void skipXattrValue(MetaCursor &cursor) { cursor.skip(readLength(cursor)); }

std::string readXattrValue(MetaCursor &cursor, const XattrPair &pair) {
  cursor.seek(pair.value);
  return cursor.string(readLength(cursor));
}

} // namespace berth::unsquash
