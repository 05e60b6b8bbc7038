// SPDX-License-Identifier: Apache-2.0
/**
 * Cuts contents into blocks, from each file's start, so that blocks can be reused by other images. Small
 * files share fragment blocks. A content that came before is stored once; nothing is compressed before that
 * is known.
 */
#pragma once

#include <memory>
#include <vector>

#include "block_line.hh"
#include "chunks.hh"
#include "content_watch.hh"
#include "content_hash.hh"
#include "id_table.hh"
#include "tar.hh"

namespace berth::squash {

/** Where a content is: a stored file, or a fragment when `offset` is set; NONE when it is empty. */
struct Placed {
  uint32_t data = NONE;
  uint32_t offset = NONE;
};

class FileStore final : public ContentSink {
public:
  /** `watch` may be null: nobody looks at what passes. */
  FileStore(BlockLine &line, const HashKey &key, Gate &gate, Chunks &chunks, uint32_t blockSize,
            ContentWatch *watch = nullptr)
      : line_(line), key_(key), gate_(gate), blockSize_(blockSize), watch_(watch),
        fragmentNumber_(line.fragmentCount()), smalls_(chunks) {}

  /** One content: begin, any number of data and hole, end. */
  Result<> begin(uint64_t size);
  Result<> data(std::span<const uint8_t> bytes) override;
  Result<> hole(uint64_t size) override;
  Result<Placed> end();
  /** After the last content. */
  void flush();
  /** What the watch marked; after the line's finish(), before anything is appended to it. */
  Marks takeMarks(uint64_t dataEnd);

private:
  /** One word of a stored file: a block's hash, or a run of holes. */
  using Token = ContentHash;
  struct Small {
    ContentHash hash;
    uint32_t size, fragment, offset;
  };
  struct Large {
    uint64_t size;
    size_t firstToken;
    uint32_t tokens;
    uint32_t file;
    /** Another one of the same size and first token. */
    uint32_t next;
  };
  /** Files that begin alike but differ later: more of them are stored again instead of compared. */
  static constexpr unsigned CANDIDATES_MAX = 16;
  static constexpr uint32_t HOLES_MAX = HOLE_RUN - 1;
  /** Hole blocks of all files together: each costs 4 bytes of metadata. 4 TiB of holes at 128 KiB. */
  static constexpr uint64_t HOLES_SUM_MAX = uint64_t{1} << 25;

  Result<> need(std::unique_ptr<Block> &block);
  Result<Placed> endSmall();
  Result<Placed> endLarge();
  Result<> blockFull();
  Result<> token(Token token, std::unique_ptr<Block> *block, uint32_t holes);
  Result<> flushHoles();
  bool matches(const Token &token);
  void unmatch();
  uint64_t largeHash(uint64_t size, const Token &first) const {
    return first.low ^ size * 0x9e3779b97f4a7c15;
  }

  BlockLine &line_;
  const HashKey &key_;
  Gate &gate_;
  uint32_t blockSize_;
  ContentWatch *watch_;
  Marks marks_;
  std::vector<uint32_t> markedFiles_;

  uint64_t size_ = 0, position_ = 0;
  /** The block being filled, and where in it this content begins (small files fill the shared one). */
  std::unique_ptr<Block> block_, fragment_;
  bool inFragment_ = false;
  uint32_t fragmentNumber_;

  std::vector<Token> tokens_;
  uint64_t holes_ = 0, holesSum_ = 0;
  bool matching_ = false;
  uint32_t candidate_ = NONE;
  uint32_t file_ = NONE;

  Arena<Small> smalls_;
  IdTable smallIndex_;
  std::vector<Large> larges_;
  std::vector<Token> largeTokens_;
  IdTable largeIndex_;
};

} // namespace berth::squash
