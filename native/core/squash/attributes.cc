// SPDX-License-Identifier: Apache-2.0
#include "attributes.hh"

#include <algorithm>
#include <string_view>

namespace berth::squash {
namespace {

/** Prefix numbers of fs/squashfs/squashfs_fs.h; trusted.* (1) is never written. */
constexpr uint16_t PREFIX_USER = 0, PREFIX_SECURITY = 2;
constexpr std::string_view USER = "user.", SECURITY = "security.", CAPABILITY = "security.capability";
/** XATTR_NAME_MAX and XATTR_SIZE_MAX of linux/limits.h. */
constexpr size_t NAME_SIZE_MAX = 255, VALUE_SIZE_MAX = 65536;
/** 16 bits count them in an inode's set on ext4 too; a file with more is no file of a package. */
constexpr size_t XATTRS_MAX = 1024;

/**
 * user.* travels with the data, and so does security.capability; the engine's mounts are nosuid either way.
 * user.overlay.* and trusted.* would steer the overlay that is mounted on top of the image; security.selinux,
 * ima and evm belong to the machine that built it; system.posix_acl_* cannot be: the kernel's squashfs reads
 * user, trusted and security only.
 */
bool kept(std::string_view name) {
  if (name.starts_with(USER))
    return name.size() > USER.size() && !name.starts_with("user.overlay.");
  return name == CAPABILITY;
}

/** chown(2) takes it for "leave it as it is", so what an archive gives to it is root's after unpacking. */
constexpr uint32_t NO_OWNER = uint32_t(-1);

} // namespace

Result<uint16_t> Owners::index(uint32_t id) {
  if (id == NO_OWNER)
    id = 0;
  const auto found = indexes_.find(id);
  if (found != indexes_.end())
    return found->second;
  if (ids_.size() == 0xffff)
    return fail(EFBIG, "squash", {}, "the image has more than 65,535 different owners");
  const auto index = uint16_t(ids_.size());
  ids_.push_back(id);
  indexes_.emplace(id, index);
  return index;
}

Result<uint32_t> Xattrs::index(std::vector<Xattr> xattrs) {
  std::erase_if(xattrs, [](const Xattr &xattr) { return !kept(xattr.name); });
  if (xattrs.empty())
    return NONE;
  if (xattrs.size() > XATTRS_MAX)
    return tarDamage("an entry has more than 1,024 extended attributes");
  // In the order of their names: two files with the same set share it, however the archive listed them.
  std::ranges::sort(xattrs, {}, &Xattr::name);
  Bytes records;
  Fields fields(records);
  for (const auto &[name, value] : xattrs) {
    if (name.size() > NAME_SIZE_MAX || value.size() > VALUE_SIZE_MAX || name.find('\0') != std::string::npos)
      return tarDamage("an extended attribute is larger than Linux allows");
    const bool user = name.starts_with(USER);
    const auto rest = std::string_view(name).substr(user ? USER.size() : SECURITY.size());
    fields.u16(user ? PREFIX_USER : PREFIX_SECURITY).u16(rest.size()).bytes(rest.data(), rest.size());
    fields.u32(value.size()).bytes(value.data(), value.size());
  }
  const ContentHash hash = key_.hash(records);
  const uint32_t same = indexes_.find(
      hash.low, [&](uint32_t i) { return sets_[i].hash == hash && sets_[i].size == records.size(); });
  if (same != NONE)
    return same;
  const auto fresh = uint32_t(sets_.size());
  sets_.add({hash, records_.size(), uint32_t(records.size()), uint32_t(xattrs.size())});
  records_.append(records);
  indexes_.add(hash.low, fresh, [&](uint32_t i) { return sets_[i].hash.low; });
  return fresh;
}

} // namespace berth::squash
