// SPDX-License-Identifier: Apache-2.0
/**
 * Blocks on their way to the file: filled by the merger, compressed by any of N threads, written by one in
 * the order in which they were submitted. Thread count and timing thus never show in the output.
 */
#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <vector>

#include "codec.hh"
#include "gate.hh"
#include "output.hh"
#include "thread.hh"

namespace berth::squash {

/** A word of a stored file is a block's size word, or a run of zero blocks: bit 31 and their number. */
inline constexpr uint32_t HOLE_RUN = 1u << 31;

struct Block {
  std::unique_ptr<uint8_t[]> bytes;
  size_t size = 0;
  std::unique_ptr<uint8_t[]> packed;
  /** 0: stored as it is. */
  size_t packedSize = 0;
};

struct StoredFile {
  uint64_t start = 0;
  size_t firstWord = 0;
  uint32_t words = 0;
  /** Images of other writers have files whose end stands in a fragment; ours never. */
  uint32_t fragment = NONE;
  uint32_t fragmentOffset = 0;
};

struct StoredFragment {
  uint64_t start;
  uint32_t size;
};

class BlockLine {
public:
  struct Options {
    Compressor compressor;
    int level;
    uint32_t blockSize;
    unsigned threads;
  };

  /** What stands in the file already, in front of where the output begins; numbers go on behind it. */
  struct Adopted {
    std::vector<StoredFile> files;
    std::vector<StoredFragment> fragments;
    std::vector<uint32_t> words;
  };

  BlockLine(Gate &gate, Output &output, Options options);
  ~BlockLine();
  /** Before start(). */
  void adopt(Adopted adopted);
  Result<> start();

  /** An empty block, waits for one; nullptr when stopped. */
  std::unique_ptr<Block> take();

  /** These speak of one file after the other; all are no-ops when stopped. */
  uint32_t beginFile();
  void addBlock(std::unique_ptr<Block> block);
  void addHoles(uint32_t count);
  /** The first `words` words of an earlier file, copied in their compressed form. */
  void addCopy(uint32_t file, uint32_t words);
  uint32_t addFragment(std::unique_ptr<Block> block);

  /** All is written, threads have ended. The tables below are valid only then. */
  Result<> finish();
  void join();

  /** What somebody else put into the file behind it, with numbers that follow those so far; after finish().
   */
  void append(Adopted adopted);
  uint32_t fragmentCount() const { return fragmentCount_; }
  /** Gives an adopted file's end another place; after finish(). */
  void moveEnd(uint32_t file, uint32_t fragment, uint32_t offset) {
    files_[file].fragment = fragment;
    files_[file].fragmentOffset = offset;
  }
  const std::vector<StoredFile> &files() const { return files_; }
  const std::vector<StoredFragment> &fragments() const { return fragments_; }
  const std::vector<uint32_t> &words() const { return words_; }

private:
  /** Beyond this one gzip stream cannot feed them (inflate 580 MB/s, zstd-1 370 MB/s a core). */
  static constexpr unsigned THREADS_MAX = 8;
  /** Blocks in flight for each thread: one in work, one ready; and those that the merger and the writer hold.
   */
  static constexpr unsigned BLOCKS_PER_THREAD = 2, BLOCKS_HELD = 4;
  static constexpr size_t COMMANDS_MAX = 256;

  enum class What : uint8_t { begin, block, holes, copy, fragment };
  struct Command {
    What what;
    bool ready = true;
    uint32_t file = 0;
    uint32_t count = 0;
    std::unique_ptr<Block> block = nullptr;
  };

  void push(Command command);
  void compressLoop(Codec &codec);
  void writeLoop();
  Result<> execute(Command &command);
  Result<> writeBlock(const Block &block, uint32_t &sizeWord);

  Gate &gate_;
  Output &output_;
  Options options_;
  std::condition_variable freed_, todo_, done_;
  std::vector<std::unique_ptr<Block>> pool_;
  std::deque<Command> queue_;
  std::deque<Command *> compressible_;
  bool closed_ = false;
  uint32_t fileCount_ = 0, fragmentCount_ = 0;
  std::vector<StoredFile> files_;
  std::vector<StoredFragment> fragments_;
  std::vector<uint32_t> words_;
  std::vector<std::unique_ptr<Codec>> codecs_;
  std::vector<Thread> threads_;
};

} // namespace berth::squash
