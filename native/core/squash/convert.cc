// SPDX-License-Identifier: Apache-2.0
#include "convert.hh"

#include <algorithm>
#include <bit>
#include <optional>

#include "capture.hh"
#include "decoder.hh"
#include "merger.hh"
#include "tables.hh"

namespace berth::squash {
namespace {

/** The merger's view of the pieces: one layer at a time. */
class LayerSource final : public ByteSource {
public:
  explicit LayerSource(Pieces &pieces) : pieces_(pieces) {}

  void restart() { ended_ = false; }
  std::span<const uint8_t> more() override {
    for (;;) {
      if (held_)
        pieces_.release(Reader::merger);
      held_ = false;
      const Piece *piece = ended_ ? nullptr : pieces_.next(Reader::merger);
      if (piece == nullptr)
        return {};
      held_ = true;
      ended_ = piece->last;
      if (piece->size > 0)
        return piece->span();
    }
  }

private:
  Pieces &pieces_;
  bool held_ = false, ended_ = false;
};

Result<> check(const ConvertOptions &options) {
  if (options.layers > Converter::LAYERS_MAX)
    return fail(EINVAL, "squash", {}, "more than " + std::to_string(Converter::LAYERS_MAX) + " layers");
  if (!std::has_single_bit(options.blockSize) || options.blockSize < 4096 || options.blockSize > 1 << 20)
    return fail(EINVAL, "squash", {}, "the block size is a power of two from 4096 to 1048576");
  return Nothing{};
}

} // namespace

struct Converter::Engine {
  explicit Engine(ConvertOptions given, std::unique_ptr<Codec> tableCodec)
      : options(std::move(given)), codec(std::move(tableCodec)), feed(gate, options.layers), pieces(gate),
        decoder(gate, feed, pieces, options.bytesMax),
        optionsBlock(compressorOptions(options.compressor, options.level)), output(options.fd, SUPER_SIZE),
        line(gate, output, {options.compressor, options.level, options.blockSize, options.threads}),
        tree(key), xattrs(options.keepCapabilities), store(line, key, gate, options.blockSize),
        merger({tree, store, owners, xattrs, key}, options.entriesMax), digests(options.layers) {
    gate.watch(changed);
    gate.whenStopped([this](const Error &error) { rejectAll(error); });
  }

  Result<> start();
  void inflateLoop();
  void hashLoop();
  void mergeLoop();
  Result<> mergeAll();
  Result<> mergeAgain(LayerSource &source);
  Result<> writeImage();
  void rejectAll(const Error &error);
  void deliver();
  bool unsentLocked() const;
  Error unsent() const {
    return fail(ENODATA, "squash", {}, "needs a layer a second time: " + merger.wantedExample());
  }

  ConvertOptions options;
  Gate gate;
  HashKey key;
  std::unique_ptr<Codec> codec;
  Feed feed;
  Pieces pieces;
  Decoder decoder;
  Bytes optionsBlock;
  Output output;
  BlockLine line;
  Tree tree;
  Owners owners;
  Xattrs xattrs;
  FileStore store;
  Merger merger;

  /** Below: shared, under the gate's lock. */
  std::condition_variable changed;
  std::vector<std::optional<Digest>> digests;
  bool merged = false, hashed = false, finished = false;
  std::vector<unsigned> again;
  ConvertResult result;
  std::function<void(Result<std::vector<unsigned>>)> missingDone;
  std::function<void(Result<ConvertResult>)> finishDone;

  Thread inflateThread, hashThread, mergeThread;
};

Result<> Converter::Engine::start() {
  if (!optionsBlock.empty()) {
    Bytes block;
    Fields(block).u16(optionsBlock.size() | METADATA_RAW).bytes(optionsBlock.data(), optionsBlock.size());
    if (auto done = output.append(block); !done)
      return done;
  }
  // Directories that no layer describes belong to root: index 0.
  if (auto root = owners.index(0); !root)
    return root.error();
  if (auto done = line.start(); !done)
    return done;
  if (auto done = inflateThread.start(gate, [this] { inflateLoop(); }); !done)
    return done;
  if (auto done = hashThread.start(gate, [this] { hashLoop(); }); !done)
    return done;
  return mergeThread.start(gate, [this] { mergeLoop(); });
}

void Converter::Engine::inflateLoop() {
  for (unsigned layer = options.layers; layer-- > 0;)
    if (auto done = decoder.run(layer); !done)
      return gate.stop(done.error());
  std::vector<unsigned> repeated;
  {
    std::unique_lock lock(gate.mutex);
    if (!gate.wait(lock, changed, [&] { return merged; }))
      return;
    repeated = again;
  }
  for (const unsigned layer : repeated)
    if (auto done = decoder.run(layer); !done)
      return gate.stop(done.error());
  pieces.close();
}

void Converter::Engine::hashLoop() {
  Sha256 sum;
  while (const Piece *piece = pieces.next(Reader::hasher)) {
    sum.update(piece->span());
    const bool last = piece->last;
    const unsigned layer = piece->layer;
    pieces.release(Reader::hasher);
    if (!last)
      continue;
    const Digest digest = sum.finish();
    sum.reset();
    if (digests[layer].value_or(digest) != digest)
      return gate.stop(
          fail(EBADMSG, "squash", "layer " + std::to_string(layer), "it differs from what was sent first"));
    digests[layer] = digest;
  }
  std::lock_guard lock(gate.mutex);
  hashed = true;
  changed.notify_all();
}

void Converter::Engine::mergeLoop() {
  auto done = mergeAll();
  if (done)
    done = writeImage();
  if (!done)
    return gate.stop(done.error());
  deliver();
}

Result<> Converter::Engine::mergeAll() {
  LayerSource source(pieces);
  for (unsigned layer = options.layers; layer-- > 0;) {
    source.restart();
    auto done = merger.layer(layer, source);
    if (gate.stopped())
      return gate.error();
    if (!done) {
      if (done.error().path.empty())
        done.error().path = "layer " + std::to_string(layer);
      return done;
    }
  }
  if (auto done = merger.checkLinks(); !done)
    return done;
  return mergeAgain(source);
}

Result<> Converter::Engine::mergeAgain(LayerSource &source) {
  const auto wanted = merger.wanted();
  feed.reopen(wanted);
  decltype(missingDone) answer;
  bool premature;
  {
    std::lock_guard lock(gate.mutex);
    merged = true;
    again = wanted;
    answer = std::exchange(missingDone, nullptr);
    premature = finishDone != nullptr && !wanted.empty();
    changed.notify_all();
  }
  if (answer)
    answer(wanted);
  if (premature)
    return unsent();
  for (const unsigned layer : wanted) {
    source.restart();
    auto done = merger.layerAgain(layer, source);
    if (gate.stopped())
      return gate.error();
    if (!done) {
      done.error().path = "layer " + std::to_string(layer);
      return done;
    }
  }
  return Nothing{};
}

Result<> Converter::Engine::writeImage() {
  store.flush();
  if (auto done = line.finish(); !done)
    return done;
  const Tables::Parts parts{tree,
                            owners,
                            xattrs,
                            line,
                            output,
                            *codec,
                            options.compressor,
                            options.blockSize,
                            !optionsBlock.empty(),
                            options.ownersToRoot};
  auto size = Tables(parts).write();
  if (!size)
    return size.error();
  result.size = *size;
  result.entries = merger.entries();
  for (const auto &path : options.capture) {
    auto content = captureFile(parts, path, CAPTURE_SIZE_MAX);
    if (!content)
      return content.error();
    if (*content)
      result.captured.emplace_back(path, std::move(**content));
  }
  std::unique_lock lock(gate.mutex);
  if (!gate.wait(lock, changed, [&] { return hashed; }))
    return gate.errorLocked();
  for (const auto &digest : digests)
    result.diffIds.push_back(digest.value_or(Digest{}));
  result.bytes = decoder.bytes();
  return Nothing{};
}

void Converter::Engine::deliver() {
  decltype(finishDone) answer;
  {
    std::lock_guard lock(gate.mutex);
    finished = true;
    answer = std::exchange(finishDone, nullptr);
  }
  if (answer)
    answer(std::move(result));
}

void Converter::Engine::rejectAll(const Error &error) {
  feed.reject(error);
  decltype(missingDone) missingAnswer;
  decltype(finishDone) finishAnswer;
  {
    std::lock_guard lock(gate.mutex);
    missingAnswer = std::exchange(missingDone, nullptr);
    finishAnswer = std::exchange(finishDone, nullptr);
  }
  if (missingAnswer)
    missingAnswer(error);
  if (finishAnswer)
    finishAnswer(error);
}

Converter::Converter(std::unique_ptr<Engine> engine) : engine_(std::move(engine)) {}

Converter::~Converter() {
  abort();
  engine_->inflateThread.join();
  engine_->hashThread.join();
  engine_->mergeThread.join();
  engine_->line.join();
}

Result<std::unique_ptr<Converter>> Converter::start(ConvertOptions options) {
  if (auto done = check(options); !done)
    return done.error();
  auto codec = Codec::make(options.compressor, options.level);
  if (!codec)
    return codec.error();
  auto engine = std::make_unique<Engine>(std::move(options), std::move(*codec));
  std::unique_ptr<Converter> converter(new Converter(std::move(engine)));
  if (auto done = converter->engine_->start(); !done)
    return done.error();
  return converter;
}

void Converter::write(unsigned layer, Bytes bytes, Done done) {
  engine_->feed.push(layer, std::move(bytes), std::move(done));
}

void Converter::end(unsigned layer, Done done) { engine_->feed.end(layer, std::move(done)); }

void Converter::missing(std::function<void(Result<std::vector<unsigned>>)> done) {
  Engine &engine = *engine_;
  std::unique_lock lock(engine.gate.mutex);
  if (!engine.gate.stoppedLocked() && !engine.merged) {
    engine.missingDone = std::move(done);
    return;
  }
  Result<std::vector<unsigned>> answer = engine.again;
  if (engine.gate.stoppedLocked())
    answer = engine.gate.errorLocked();
  lock.unlock();
  done(std::move(answer));
}

void Converter::finish(std::function<void(Result<ConvertResult>)> done) {
  Engine &engine = *engine_;
  bool unsent = false;
  for (unsigned layer = 0; layer < engine.options.layers; layer++)
    unsent = unsent || !engine.feed.ended(layer);
  std::unique_lock lock(engine.gate.mutex);
  if (engine.gate.stoppedLocked()) {
    const Error error = engine.gate.errorLocked();
    lock.unlock();
    return done(error);
  }
  if (engine.finished) {
    lock.unlock();
    return done(std::move(engine.result));
  }
  const bool second = engine.merged;
  if (!unsent) {
    engine.finishDone = std::move(done);
    return;
  }
  lock.unlock();
  done(second ? engine.unsent() : fail(EINVAL, "squash", {}, "finish before all layers have ended"));
}

void Converter::abort() { engine_->gate.stop(fail(ECANCELED, "squash")); }

ConvertProgress Converter::progress() const { return {engine_->feed.taken(), engine_->decoder.bytes()}; }

} // namespace berth::squash
