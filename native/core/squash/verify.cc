// SPDX-License-Identifier: Apache-2.0
#include "verify.hh"
#include "verify_data.hh"
#include "verify_tree.hh"
#include "verify_xattr.hh"

namespace berth::unsquash {
namespace {

class Verifier {
public:
  Verifier(const Source &source, const Limits &limits)
      : source_(source), limits_(limits), layout_(readLayout(source, limits)), super_(layout_.super),
        unpacker_(super_.compressor, super_.blockSize), tree_(source, layout_, limits),
        data_(source, layout_, limits) {}

  Verified run() {
    verifyFragments();
    verifyInodes();
    const uint64_t names = tree_.check();
    verifyXattrs(source_, layout_, limits_);
    data_.finish();
    return {.entries = names + 1,
            .inodes = super_.inodes,
            .bytes = bytes_,
            .bytesUsed = super_.bytesUsed,
            .blockSize = super_.blockSize,
            .compressor = compressorName(super_.compressor)};
  }

private:
  void verifyFragments() {
    // The lengths must be there before the first file that ends in a fragment.
    fragmentLengths_.resize(super_.fragments);
    MetaCursor cursor(source_, layout_.fragments.table, unpacker_);
    for (uint32_t i = 0; i < super_.fragments; i++) {
      const Fragment fragment = readFragment(cursor, super_);
      data_.check({.owner = i,
                   .start = fragment.start,
                   .words = {fragment.size},
                   .bytes = fragment.size & kDataSizeMask,
                   .lastLength = super_.blockSize,
                   .fragmentLength = &fragmentLengths_[i]});
    }
    if (!cursor.atEnd())
      cursor.refuse("bytes after the last fragment");
    data_.finish();
  }

  void verifyInodes() {
    MetaCursor cursor(source_, layout_.inodes, unpacker_);
    for (uint32_t i = 0; i < super_.inodes; i++) {
      const Inode inode = readInode(cursor, layout_);
      tree_.add(cursor, inode);
      if (inode.type == Type::file)
        verifyFile(cursor, inode);
      for (uint32_t index = 0; index < inode.indexes; index++)
        readIndexRecord(cursor);
    }
    if (!cursor.atEnd())
      cursor.refuse("bytes after the last inode");
  }

  void addBytes(uint64_t bytes) {
    bytes_ += bytes;
    if (bytes_ > limits_.bytesMax)
      overLimit("bytes of files", bytes_, limits_.bytesMax);
  }

  void verifyFile(MetaCursor &cursor, const Inode &inode) {
    DataRun run{.owner = inode.number, .start = inode.dataStart, .words = {}};
    for (uint64_t i = 0; i < inode.blocks; i++) {
      const Block block = readBlock(cursor, layout_, inode, i, run.start + run.bytes);
      if (block.word == 0)
        continue;
      addBytes(block.length);
      if (run.words.size() == kRunBlocksMax || run.bytes + block.size() > kRunBytesMax)
        startRun(run);
      run.words.push_back(block.word);
      run.bytes += block.size();
      run.lastLength = block.length;
    }
    if (!run.words.empty())
      data_.check(std::move(run));
    if (inode.fragment == kNone)
      return;
    const uint32_t rest = static_cast<uint32_t>(inode.size % super_.blockSize);
    addBytes(rest);
    if (inode.fragmentOffset + rest > fragmentLengths_[inode.fragment])
      cursor.refuse("inode " + std::to_string(inode.number) + " reaches beyond its fragment");
  }

  /** Hands the run over and continues behind it. */
  void startRun(DataRun &run) {
    DataRun next{.owner = run.owner, .start = run.start + run.bytes, .words = {}};
    data_.check(std::move(run));
    run = std::move(next);
  }

  const Source &source_;
  const Limits &limits_;
  const Layout layout_;
  const Super &super_;
  Unpacker unpacker_;
  Tree tree_;
  std::vector<uint32_t> fragmentLengths_;
  uint64_t bytes_ = 0;
  // Last: its threads use what stands above, so it must be gone first.
  DataChecker data_;
};

} // namespace

Result<Verified> verifySquashfs(int fd, const Limits &limits, uint64_t base) {
  return guarded([&] {
    const Source source(fd, base);
    return Verifier(source, limits).run();
  });
}

Result<Verified> verifySquashfs(std::span<const uint8_t> image, const Limits &limits) {
  return guarded([&] {
    const Source source(image);
    return Verifier(source, limits).run();
  });
}

} // namespace berth::unsquash
