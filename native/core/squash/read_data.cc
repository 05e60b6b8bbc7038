// SPDX-License-Identifier: Apache-2.0
/** The part of Image (reader.hh) that reads what is in files. */
#include "reader.hh"

#include <algorithm>

namespace berth::unsquash {
namespace {

/** 2 TiB in blocks of 128 KiB; bounds the list to 256 MiB of memory. */
constexpr uint64_t kBlocksMax = 1 << 24;

} // namespace

std::vector<Block> Image::blockList(const Inode &inode) {
  if (inode.blocks > kBlocksMax)
    overLimit("blocks of a file", inode.blocks, kBlocksMax);
  std::vector<Block> blocks;
  inodes_.seek(inode.tail);
  uint64_t start = inode.dataStart;
  for (uint64_t i = 0; i < inode.blocks; i++) {
    blocks.push_back(readBlock(inodes_, layout_, inode, i, start));
    start += blocks.back().size();
  }
  return blocks;
}

Result<std::vector<Block>> Image::blocks(const Inode &inode) {
  return guarded([&] { return blockList(inode); });
}

Fragment Image::fragmentAt(uint32_t index) {
  if (index >= layout_.fragments.count)
    refuse("fragment table", layout_.fragments.table.start, "no fragment " + std::to_string(index));
  MetaCursor cursor(source_, layout_.fragments.table, unpacker_);
  cursor.seek(uint64_t{index} * kFragmentSize);
  return readFragment(cursor, layout_.super);
}

Result<Fragment> Image::fragment(uint32_t index) {
  return guarded([&] { return fragmentAt(index); });
}

void Image::unpackBlock(const Block &block, std::span<uint8_t> to) {
  if (block.word == 0) {
    std::ranges::fill(to, uint8_t{0});
    return;
  }
  std::vector<uint8_t> packed(block.size());
  source_.read(block.start, packed);
  if (block.stored()) {
    std::ranges::copy(packed, to.begin());
    return;
  }
  if (unpacker_.unpack(packed, to) != to.size())
    refuse("data", block.start, "the block does not unpack to " + std::to_string(to.size()) + " bytes");
}

std::span<const uint8_t> Image::unpackFragment(uint32_t index) {
  if (fragmentIndex_ == index)
    return fragment_;
  fragmentIndex_ = kNone;
  const Fragment fragment = fragmentAt(index);
  std::vector<uint8_t> packed(fragment.size & kDataSizeMask);
  source_.read(fragment.start, packed);
  if ((fragment.size & kDataStored) != 0) {
    fragment_ = std::move(packed);
  } else {
    fragment_.resize(layout_.super.blockSize);
    fragment_.resize(unpacker_.unpack(packed, fragment_));
    if (fragment_.empty())
      refuse("fragment " + std::to_string(index), fragment.start, "the block cannot be decompressed");
  }
  fragmentIndex_ = index;
  return fragment_;
}

/** What is in the fragment of this file. */
std::span<const uint8_t> Image::tail(const Inode &inode) {
  const auto fragment = unpackFragment(inode.fragment);
  const size_t rest = inode.size % layout_.super.blockSize;
  if (inode.fragmentOffset > fragment.size() || rest > fragment.size() - inode.fragmentOffset)
    refuse("inode " + std::to_string(inode.number), layout_.inodes.start, "reaches beyond its fragment");
  return fragment.subspan(inode.fragmentOffset, rest);
}

size_t Image::readRange(const Inode &inode, const std::vector<Block> &blocks, uint64_t offset,
                        std::span<uint8_t> to) {
  const uint64_t blockSize = layout_.super.blockSize;
  const size_t wanted = offset < inode.size ? std::min<uint64_t>(to.size(), inode.size - offset) : 0;
  std::vector<uint8_t> whole;
  for (size_t done = 0; done < wanted;) {
    const uint64_t index = (offset + done) / blockSize;
    const size_t within = (offset + done) % blockSize;
    std::span<const uint8_t> piece;
    if (index < blocks.size() && within == 0 && wanted - done >= blocks[index].length) {
      unpackBlock(blocks[index], to.subspan(done, blocks[index].length));
      done += blocks[index].length;
      continue;
    }
    if (index < blocks.size()) {
      whole.resize(blocks[index].length);
      unpackBlock(blocks[index], whole);
      piece = std::span(whole).subspan(within);
    } else {
      piece = tail(inode).subspan(within);
    }
    const size_t step = std::min(piece.size(), wanted - done);
    std::ranges::copy(piece.first(step), to.begin() + static_cast<ptrdiff_t>(done));
    done += step;
  }
  return wanted;
}

Result<Nothing> Image::content(const Inode &inode,
                               const std::function<void(std::span<const uint8_t>)> &take) {
  return guarded([&] {
    if (inode.type != Type::file)
      throw Fault{EINVAL, "not a regular file"};
    std::vector<uint8_t> whole(layout_.super.blockSize);
    for (const Block &block : blockList(inode)) {
      const auto piece = std::span(whole).first(block.length);
      unpackBlock(block, piece);
      take(piece);
    }
    if (inode.fragment != kNone)
      take(tail(inode));
    return Nothing{};
  });
}

Result<size_t> Image::read(const Inode &inode, uint64_t offset, std::span<uint8_t> to) {
  return guarded([&]() -> size_t {
    if (inode.type != Type::file)
      throw Fault{EINVAL, "not a regular file"};
    return readRange(inode, blockList(inode), offset, to);
  });
}

Result<std::string> Image::readFile(std::string_view path, uint64_t bytesMax) {
  return guarded([&] {
    const Inode inode = resolve(path, true);
    if (inode.type != Type::file)
      throw Fault{inode.type == Type::directory ? EISDIR : EINVAL,
                  std::string(path) + ": not a regular file"};
    if (inode.size > bytesMax)
      overLimit(std::string(path) + " (bytes)", inode.size, bytesMax);
    std::string content(inode.size, '\0');
    readRange(inode, blockList(inode), 0,
              std::span(reinterpret_cast<uint8_t *>(content.data()), content.size()));
    return content;
  });
}

} // namespace berth::unsquash
