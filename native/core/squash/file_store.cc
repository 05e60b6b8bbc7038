// SPDX-License-Identifier: Apache-2.0
#include "file_store.hh"

#include <algorithm>
#include <cstring>

namespace berth::squash {

Result<> FileStore::need(std::unique_ptr<Block> &block) {
  if (block == nullptr && (block = line_.take()) == nullptr)
    return gate_.error();
  return Nothing{};
}

Result<> FileStore::begin(uint64_t size) {
  size_ = size;
  position_ = 0;
  tokens_.clear();
  holes_ = 0;
  matching_ = true;
  candidate_ = NONE;
  file_ = NONE;
  inFragment_ = false;
  if (size == 0)
    return Nothing{};
  if (watch_ != nullptr)
    watch_->begin(size);
  if (size < blockSize_) {
    if (auto done = need(fragment_); !done)
      return done;
    inFragment_ = fragment_->size + size <= blockSize_;
  }
  if (inFragment_)
    return Nothing{};
  if (auto done = need(block_); !done)
    return done;
  block_->size = 0;
  return Nothing{};
}

Result<> FileStore::data(std::span<const uint8_t> bytes) {
  if (bytes.size() > size_ - position_)
    return tarDamage("a file holds more than its size");
  if (watch_ != nullptr)
    watch_->data(position_, bytes);
  position_ += bytes.size();
  if (inFragment_) {
    std::memcpy(fragment_->bytes.get() + fragment_->size, bytes.data(), bytes.size());
    fragment_->size += bytes.size();
    return Nothing{};
  }
  while (!bytes.empty()) {
    if (auto done = need(block_); !done)
      return done;
    const size_t part = std::min(bytes.size(), blockSize_ - block_->size);
    std::memcpy(block_->bytes.get() + block_->size, bytes.data(), part);
    block_->size += part;
    bytes = bytes.subspan(part);
    if (block_->size == blockSize_)
      if (auto done = blockFull(); !done)
        return done;
  }
  return Nothing{};
}

Result<> FileStore::hole(uint64_t size) {
  if (size > size_ - position_)
    return tarDamage("a file holds more than its size");
  static constexpr uint8_t ZEROS[4096] = {};
  const auto zeros = [&](uint64_t count) -> Result<> {
    while (count > 0) {
      const size_t part = size_t(std::min<uint64_t>(count, sizeof ZEROS));
      if (auto done = data({ZEROS, part}); !done)
        return done;
      count -= part;
    }
    return Nothing{};
  };
  if (size_ < blockSize_)
    return zeros(size);
  const uint64_t head = std::min(size, (blockSize_ - position_ % blockSize_) % blockSize_);
  const uint64_t whole = (size - head) / blockSize_;
  if (auto done = zeros(head); !done)
    return done;
  if (whole > HOLES_SUM_MAX - holesSum_)
    return fail(EFBIG, "squash", {}, "the image's sparse files have too many holes");
  holesSum_ += whole;
  holes_ += whole;
  position_ += whole * blockSize_;
  return zeros(size - head - whole * blockSize_);
}

Result<> FileStore::blockFull() {
  const std::span<const uint8_t> bytes(block_->bytes.get(), block_->size);
  if (allZero(bytes)) {
    holes_++;
    block_->size = 0;
    return Nothing{};
  }
  if (auto done = flushHoles(); !done)
    return done;
  return token(key_.hash(bytes), &block_, 0);
}

Result<> FileStore::flushHoles() {
  while (holes_ > 0) {
    const auto count = uint32_t(std::min<uint64_t>(holes_, HOLES_MAX));
    holes_ -= count;
    // No block's hash reaches 2^61 (content_hash.hh), so runs of holes cannot be taken for one.
    if (auto done = token({count, ~uint64_t{0}}, nullptr, count); !done)
      return done;
  }
  return Nothing{};
}

/** Whether some stored file of this size begins with the tokens so far and this one. */
bool FileStore::matches(const Token &next) {
  const size_t at = tokens_.size();
  if (at == 0) {
    candidate_ = largeIndex_.find(largeHash(size_, next), [&](uint32_t i) {
      return larges_[i].size == size_ && largeTokens_[larges_[i].firstToken] == next;
    });
    return candidate_ != NONE;
  }
  for (unsigned tries = 0; candidate_ != NONE && tries < CANDIDATES_MAX; tries++) {
    const Large &large = larges_[candidate_];
    const auto *own = largeTokens_.data() + large.firstToken;
    // The first one has matched all tokens so far.
    if (large.tokens > at && own[at] == next &&
        (tries == 0 || std::equal(tokens_.begin(), tokens_.end(), own)))
      return true;
    candidate_ = large.next;
  }
  return false;
}

/** The content became new: what was held back is the same as the beginning of `file`. */
void FileStore::unmatch() {
  matching_ = false;
  file_ = line_.beginFile();
}

Result<> FileStore::token(Token next, std::unique_ptr<Block> *block, uint32_t holes) {
  if (matching_) {
    const uint32_t before = candidate_;
    if (matches(next)) {
      tokens_.push_back(next);
      if (block != nullptr)
        (*block)->size = 0;
      return Nothing{};
    }
    unmatch();
    if (!tokens_.empty())
      line_.addCopy(larges_[before].file, uint32_t(tokens_.size()));
  }
  tokens_.push_back(next);
  if (block != nullptr)
    line_.addBlock(std::move(*block));
  else
    line_.addHoles(holes);
  return Nothing{};
}

Result<Placed> FileStore::end() {
  if (position_ != size_)
    return tarDamage("a file holds less than its size");
  if (size_ == 0)
    return Placed{};
  return size_ < blockSize_ ? endSmall() : endLarge();
}

Result<Placed> FileStore::endSmall() {
  Block &block = inFragment_ ? *fragment_ : *block_;
  const size_t start = inFragment_ ? block.size - size_ : 0;
  const ContentHash hash = key_.hash({block.bytes.get() + start, size_t(size_)});
  const uint32_t same = smallIndex_.find(
      hash.low, [&](uint32_t i) { return smalls_[i].hash == hash && smalls_[i].size == size_; });
  if (same != NONE) {
    block.size = start;
    return Placed{smalls_[same].fragment, smalls_[same].offset};
  }
  if (!inFragment_) {
    line_.addFragment(std::move(fragment_));
    fragmentNumber_++;
    fragment_ = std::move(block_);
  }
  if (watch_ != nullptr && watch_->end())
    marks_.addSmall(fragmentNumber_, uint32_t(start));
  smalls_.add({hash, uint32_t(size_), fragmentNumber_, uint32_t(start)});
  smallIndex_.add(hash.low, uint32_t(smalls_.size() - 1), [&](uint32_t i) { return smalls_[i].hash.low; });
  return Placed{fragmentNumber_, uint32_t(start)};
}

Result<Placed> FileStore::endLarge() {
  if (block_ != nullptr && block_->size > 0)
    if (auto done = blockFull(); !done)
      return done.error();
  if (auto done = flushHoles(); !done)
    return done.error();
  if (matching_)
    return Placed{larges_[candidate_].file, NONE};
  if (watch_ != nullptr && watch_->end() && markedFiles_.size() <= Marks::PLACES_MAX)
    markedFiles_.push_back(file_);
  const auto number = uint32_t(larges_.size());
  const size_t first = largeTokens_.size();
  largeTokens_.insert(largeTokens_.end(), tokens_.begin(), tokens_.end());
  larges_.push_back({size_, first, uint32_t(tokens_.size()), file_, NONE});
  const uint64_t hash = largeHash(size_, tokens_.front());
  const uint32_t head = largeIndex_.find(hash, [&](uint32_t i) {
    return larges_[i].size == size_ && largeTokens_[larges_[i].firstToken] == tokens_.front();
  });
  if (head == NONE) {
    largeIndex_.add(hash, number, [&](uint32_t i) {
      return largeHash(larges_[i].size, largeTokens_[larges_[i].firstToken]);
    });
  } else {
    larges_[number].next = std::exchange(larges_[head].next, number);
  }
  return Placed{file_, NONE};
}

void FileStore::flush() {
  if (fragment_ != nullptr && fragment_->size > 0)
    line_.addFragment(std::move(fragment_));
}

Marks FileStore::takeMarks(uint64_t dataEnd) {
  for (const uint32_t file : markedFiles_)
    marks_.addLarge(line_.files()[file].start);
  marks_.settle(line_.fragmentCount(), dataEnd);
  return std::move(marks_);
}

} // namespace berth::squash
