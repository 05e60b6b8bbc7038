// SPDX-License-Identifier: Apache-2.0
/**
 * What a mode is without its ACL. With one the group bits of a mode are the ACL's mask (POSIX 1003.1e draft
 * 17, 23.1.6; acl(5)), that is the most that any named user or group has: left alone they would give the
 * owning group rights that it never had.
 */
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "tar_pax.hh"

namespace berth::squash {

/** `xattrs`: all of the file's; without an ACL among them, or with a damaged one, the mode stays. */
uint16_t modeWithoutAcl(uint16_t mode, const std::vector<Xattr> &xattrs);
/** `text`: as star and `tar --acls` write it, "user::rw-,group::r--,mask::rwx,other::r--". */
uint16_t modeWithoutAcl(uint16_t mode, std::string_view text);

} // namespace berth::squash
