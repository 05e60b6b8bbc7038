// SPDX-License-Identifier: Apache-2.0
#include "block_line.hh"

#include <algorithm>

namespace berth::squash {

BlockLine::BlockLine(Gate &gate, Output &output, Options options)
    : gate_(gate), output_(output), options_(options) {
  options_.threads = std::clamp(options_.threads, 1u, THREADS_MAX);
  gate_.watch(freed_);
  gate_.watch(todo_);
  gate_.watch(done_);
}

BlockLine::~BlockLine() { join(); }

void BlockLine::join() {
  for (auto &thread : threads_)
    thread.join();
  threads_.clear();
}

void BlockLine::adopt(Adopted adopted) {
  files_ = std::move(adopted.files);
  fragments_ = std::move(adopted.fragments);
  words_ = std::move(adopted.words);
  fileCount_ = uint32_t(files_.size());
  fragmentCount_ = uint32_t(fragments_.size());
}

void BlockLine::append(Adopted adopted) {
  for (StoredFile &file : adopted.files) {
    file.firstWord += words_.size();
    files_.push_back(file);
  }
  fragments_.insert(fragments_.end(), adopted.fragments.begin(), adopted.fragments.end());
  words_.insert(words_.end(), adopted.words.begin(), adopted.words.end());
}

Result<> BlockLine::start() {
  const unsigned blocks = options_.threads * BLOCKS_PER_THREAD + BLOCKS_HELD;
  for (unsigned i = 0; i < blocks; i++) {
    auto block = std::make_unique<Block>();
    block->bytes.reset(new uint8_t[options_.blockSize]);
    block->packed.reset(new uint8_t[options_.blockSize]);
    pool_.push_back(std::move(block));
  }
  for (unsigned i = 0; i < options_.threads; i++) {
    auto codec = Codec::make(options_.compressor, options_.level);
    if (!codec)
      return codec.error();
    codecs_.push_back(std::move(*codec));
  }
  threads_.reserve(options_.threads + 1);
  for (auto &codec : codecs_)
    if (auto started = threads_.emplace_back().start(gate_, [this, &codec] { compressLoop(*codec); });
        !started)
      return started;
  return threads_.emplace_back().start(gate_, [this] { writeLoop(); });
}

std::unique_ptr<Block> BlockLine::take() {
  std::unique_lock lock(gate_.mutex);
  if (!gate_.wait(lock, freed_, [&] { return !pool_.empty(); }))
    return nullptr;
  auto block = std::move(pool_.back());
  pool_.pop_back();
  block->size = 0;
  return block;
}

void BlockLine::push(Command command) {
  std::unique_lock lock(gate_.mutex);
  if (!gate_.wait(lock, freed_, [&] { return queue_.size() < COMMANDS_MAX; }))
    return;
  command.ready = command.block == nullptr;
  Command &queued = queue_.emplace_back(std::move(command));
  if (queued.block != nullptr) {
    compressible_.push_back(&queued);
    todo_.notify_one();
  } else {
    done_.notify_one();
  }
}

uint32_t BlockLine::beginFile() {
  push({.what = What::begin});
  return fileCount_++;
}

void BlockLine::addBlock(std::unique_ptr<Block> block) {
  push({.what = What::block, .block = std::move(block)});
}

void BlockLine::addHoles(uint32_t count) { push({.what = What::holes, .count = count}); }

void BlockLine::addCopy(uint32_t file, uint32_t words) {
  push({.what = What::copy, .file = file, .count = words});
}

uint32_t BlockLine::addFragment(std::unique_ptr<Block> block) {
  push({.what = What::fragment, .block = std::move(block)});
  return fragmentCount_++;
}

void BlockLine::compressLoop(Codec &codec) {
  for (;;) {
    Command *command;
    {
      std::unique_lock lock(gate_.mutex);
      if (!gate_.wait(lock, todo_, [&] { return !compressible_.empty() || closed_; }) ||
          compressible_.empty())
        return;
      command = compressible_.front();
      compressible_.pop_front();
    }
    Block &block = *command->block;
    block.packedSize =
        codec.compress({block.bytes.get(), block.size}, {block.packed.get(), compressedMax(block.size)});
    std::lock_guard lock(gate_.mutex);
    command->ready = true;
    if (command == &queue_.front())
      done_.notify_one();
  }
}

void BlockLine::writeLoop() {
  for (;;) {
    Command *command;
    {
      std::unique_lock lock(gate_.mutex);
      const auto ready = [&] { return queue_.empty() ? closed_ : queue_.front().ready; };
      if (!gate_.wait(lock, done_, ready) || queue_.empty())
        return;
      command = &queue_.front();
    }
    if (auto done = execute(*command); !done)
      return gate_.stop(std::move(done).error());
    std::lock_guard lock(gate_.mutex);
    if (command->block != nullptr)
      pool_.push_back(std::move(command->block));
    queue_.pop_front();
    freed_.notify_all();
  }
}

Result<> BlockLine::writeBlock(const Block &block, uint32_t &sizeWord) {
  const bool raw = block.packedSize == 0;
  const size_t size = raw ? block.size : block.packedSize;
  sizeWord = uint32_t(size) | (raw ? BLOCK_RAW : 0);
  return output_.append({raw ? block.bytes.get() : block.packed.get(), size});
}

Result<> BlockLine::execute(Command &command) {
  uint32_t sizeWord = 0;
  switch (command.what) {
  case What::begin:
    files_.push_back({.start = output_.position(), .firstWord = words_.size()});
    return Nothing{};
  case What::block: {
    auto done = writeBlock(*command.block, sizeWord);
    words_.push_back(sizeWord);
    files_.back().words++;
    return done;
  }
  case What::holes:
    words_.push_back(HOLE_RUN | command.count);
    files_.back().words++;
    return Nothing{};
  case What::copy: {
    const auto from = files_[command.file];
    uint64_t size = 0;
    for (uint32_t i = 0; i < command.count; i++) {
      const uint32_t word = words_[from.firstWord + i];
      size += (word & HOLE_RUN) != 0 ? 0 : word & (BLOCK_RAW - 1);
      words_.push_back(word);
    }
    files_.back().words += command.count;
    return output_.copyBack(from.start, size);
  }
  case What::fragment: {
    const uint64_t start = output_.position();
    auto done = writeBlock(*command.block, sizeWord);
    fragments_.push_back({start, sizeWord});
    return done;
  }
  }
  return Nothing{};
}

Result<> BlockLine::finish() {
  {
    std::lock_guard lock(gate_.mutex);
    closed_ = true;
    todo_.notify_all();
    done_.notify_all();
  }
  join();
  if (gate_.stopped())
    return gate_.error();
  return Nothing{};
}

} // namespace berth::squash
