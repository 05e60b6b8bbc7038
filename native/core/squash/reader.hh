// SPDX-License-Identifier: Apache-2.0
/**
 * Reads a squashfs without mounting it: facts about an image, small files, and for saving a container every
 * entry with the places of its compressed blocks. Safe on any input; only what is asked for is checked
 * (verify.hh checks all).
 */
#pragma once

#include "read_dir.hh"
#include "read_xattr.hh"

#include <functional>

namespace berth::unsquash {

struct Xattr {
  std::string name;
  std::string value;
};

/** What walk() gives: a name and its inode. Hard links come once per name, with the same inode.number. */
struct Entry {
  /** Relative to the root, without a slash in front; empty for the root. */
  std::string path;
  Inode inode;
};

class Image {
public:
  /** Borrows `fd`, a regular file with the image at `base`; it must stay open. */
  static Result<std::unique_ptr<Image>> open(int fd, const Limits &limits = {}, uint64_t base = 0);
  static Result<std::unique_ptr<Image>> open(std::span<const uint8_t> memory, const Limits &limits = {});

  const Super &super() const { return layout_.super; }

  /** Symbolic links are followed inside the image, like chroot would; ENOENT, ENOTDIR, ELOOP. */
  Result<Inode> lookup(std::string_view path);
  /** The same, but a link at the end is answered itself. */
  Result<Inode> lookupLink(std::string_view path);
  /** Content of a regular file; EISDIR, EINVAL for other types, EFBIG over `bytesMax`. */
  Result<std::string> readFile(std::string_view path, uint64_t bytesMax);
  Result<std::vector<Name>> list(std::string_view path);
  /** Every entry, parents before children, names sorted, until `visit` answers false. */
  Result<Nothing> walk(const std::function<bool(const Entry &)> &visit);

  /** All blocks of a file but its tail in a fragment. */
  Result<std::vector<Block>> blocks(const Inode &inode);
  Result<Fragment> fragment(uint32_t index);
  Result<std::vector<Xattr>> xattrs(const Inode &inode);
  /** The whole content, block after block; holes come as zeros. */
  Result<Nothing> content(const Inode &inode, const std::function<void(std::span<const uint8_t>)> &take);
  /** Up to `to.size()` bytes of a file from `offset`; less at its end. */
  Result<size_t> read(const Inode &inode, uint64_t offset, std::span<uint8_t> to);

private:
  Image(Source source, const Limits &limits);
  Inode inodeAt(uint64_t position);
  Inode root();
  Inode resolve(std::string_view path, bool followLast);
  bool findName(const Inode &directory, std::string_view name, Name &found);
  std::vector<Name> names(const Inode &directory);
  std::vector<Block> blockList(const Inode &inode);
  Fragment fragmentAt(uint32_t index);
  std::span<const uint8_t> tail(const Inode &inode);
  void unpackBlock(const Block &block, std::span<uint8_t> to);
  size_t readRange(const Inode &inode, const std::vector<Block> &blocks, uint64_t offset,
                   std::span<uint8_t> to);
  std::span<const uint8_t> unpackFragment(uint32_t index);
  void walkFrom(const Inode &top, const std::function<bool(const Entry &)> &visit);

  const Source source_;
  const Limits limits_;
  const Layout layout_;
  Unpacker unpacker_;
  MetaCursor inodes_;
  MetaCursor directories_;
  /** The fragment unpacked last: small files stand beside each other in it. */
  uint32_t fragmentIndex_ = kNone;
  std::vector<uint8_t> fragment_;
};

} // namespace berth::unsquash
