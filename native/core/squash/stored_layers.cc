// SPDX-License-Identifier: Apache-2.0
#include "stored_layers.hh"

#include <map>

#include "read_layers.hh"
#include "stored_files.hh"

namespace berth::assemble {

using squash::Content;
using squash::NONE;

namespace {

/** An image that layers come from. Functions throw Fault. */
class Origin {
public:
  Origin(int fd, const unsquash::Limits &limits, std::unique_ptr<unsquash::Image> image)
      : fd(fd), source_(fd), image_(std::move(image)),
        unpacker_(image_->super().compressor, image_->super().blockSize),
        tables_(unsquash::readLayerTables(source_, image_->super(), limits)) {}

  const unsquash::Super &super() const { return image_->super(); }
  const std::vector<unsquash::LayerRow> &rows() const { return tables_.rows; }

  /** Learns of all its files: those that the new image does not need are dead. */
  Result<> open(squash::Tree &tree, uint64_t bytesMax) {
    files.emplace(*image_, tree, bytesMax);
    fileOf_.assign(size_t{super().inodes} + 1, NONE);
    return image_->walk([&](const unsquash::Entry &entry) {
      const unsquash::Inode &inode = entry.inode;
      if (inode.type == unsquash::Type::file && inode.size > 0 && fileOf_[inode.number] == NONE)
        fileOf_[inode.number] = files->add(inode);
      return true;
    });
  }

  unsquash::LayerCursor entries(unsigned at) { return {source_, tables_, tables_.rows[at], unpacker_}; }

  void keep(uint32_t number, uint64_t size, uint32_t inode) {
    const uint32_t file = number < fileOf_.size() ? fileOf_[number] : NONE;
    if (file == NONE || files->size(file) != size)
      unsquash::refuse("index of layers", super().bytesUsed, "a content that is no file of the image");
    files->keep(file, inode);
  }

  const int fd;
  std::optional<StoredFiles> files;

private:
  unsquash::Source source_;
  std::unique_ptr<unsquash::Image> image_;
  unsquash::Unpacker unpacker_;
  unsquash::LayerTables tables_;
  std::vector<uint32_t> fileOf_;
};

class StoredReader final : public squash::EntryReader {
public:
  StoredReader(Origin &origin, unsigned at) : origin_(origin), cursor_(origin.entries(at)) {}

  Result<bool> next(squash::TarEntry &entry) override {
    auto more = unsquash::guarded([&] { return cursor_.next(entry, number_); });
    size_ = entry.size;
    return more;
  }
  Result<Content> place(uint32_t inode) override {
    if (number_ == 0)
      return Content::lost;
    return unsquash::guarded([&] {
      origin_.keep(number_, size_, inode);
      return Content::kept;
    });
  }
  Result<> content(squash::ContentSink &) override { return fail(ENODATA, "squash"); }
  void drain() override {}

private:
  Origin &origin_;
  unsquash::LayerCursor cursor_;
  uint32_t number_ = 0;
  uint64_t size_ = 0;
};

class StoredLayers final : public squash::Stored {
public:
  explicit StoredLayers(StoredOptions options) : options_(std::move(options)) {}

  Result<> check();
  Result<> open(squash::Tree &tree) override;
  bool has(unsigned layer) const override { return places_.contains(layer); }
  Result<std::unique_ptr<squash::EntryReader>> layer(unsigned layer) override;
  uint64_t bytes(unsigned layer) const override;
  Result<> storeAgain(squash::FileStore &store) override;
  Result<uint64_t> copy(squash::BlockLine &line, squash::Output &output) override;

private:
  const StoredOptions options_;
  std::vector<std::unique_ptr<Origin>> origins_;
  std::map<unsigned, StoredLayer> places_;
};

Result<> StoredLayers::check() {
  unsquash::Limits limits;
  limits.entriesMax = options_.entriesMax;
  for (const int fd : options_.images) {
    auto image = unsquash::Image::open(fd, limits);
    if (!image)
      return image.error();
    auto origin = unsquash::guarded([&] { return std::make_unique<Origin>(fd, limits, std::move(*image)); });
    if (!origin)
      return origin.error();
    const unsquash::Super &super = (*origin)->super();
    if (sameCompressor(super) != options_.compressor || super.blockSize != options_.blockSize)
      return fail(EOPNOTSUPP, "squash", {}, "a stored image has another compressor or block size");
    origins_.push_back(std::move(*origin));
  }
  for (const StoredLayer &stored : options_.layers) {
    if (stored.image >= origins_.size() || stored.at >= origins_[stored.image]->rows().size())
      return fail(EUCLEAN, "squash", {}, "a stored image has fewer layers than it should");
    places_.emplace(stored.layer, stored);
  }
  return Nothing{};
}

Result<> StoredLayers::open(squash::Tree &tree) {
  for (const auto &origin : origins_)
    if (auto done = origin->open(tree, options_.bytesMax); !done)
      return done;
  return Nothing{};
}

Result<std::unique_ptr<squash::EntryReader>> StoredLayers::layer(unsigned layer) {
  const StoredLayer &place = places_.at(layer);
  return std::unique_ptr<squash::EntryReader>(
      std::make_unique<StoredReader>(*origins_[place.image], place.at));
}

uint64_t StoredLayers::bytes(unsigned layer) const {
  const StoredLayer &place = places_.at(layer);
  return origins_[place.image]->rows()[place.at].bytes;
}

Result<> StoredLayers::storeAgain(squash::FileStore &store) {
  for (const auto &origin : origins_) {
    if (auto done = origin->files->plan(); !done)
      return done;
    if (auto done = origin->files->readFiles(store); !done)
      return done;
  }
  return Nothing{};
}

Result<uint64_t> StoredLayers::copy(squash::BlockLine &line, squash::Output &output) {
  uint64_t copied = 0;
  for (const auto &origin : origins_) {
    StoredFiles &files = *origin->files;
    files.settle(output.position(), uint32_t(line.files().size()), uint32_t(line.fragments().size()));
    if (auto done = copyRuns(origin->fd, options_.out, files.runs(), output); !done)
      return done.error();
    line.append(files.takeAdopted());
    files.moveEnds(line);
    copied += files.copied();
  }
  return copied;
}

} // namespace

Result<std::shared_ptr<squash::Stored>> openStored(StoredOptions options) {
  auto stored = std::make_shared<StoredLayers>(std::move(options));
  if (auto done = stored->check(); !done)
    return done.error();
  return std::shared_ptr<squash::Stored>(std::move(stored));
}

} // namespace berth::assemble
