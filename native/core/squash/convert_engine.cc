// SPDX-License-Identifier: Apache-2.0
#include "convert_engine.hh"

#include "capture.hh"
#include "tables.hh"

namespace berth::squash {
namespace {

/** So that the caller knows which side is damaged. */
Error ofStored(Error error) {
  if (error.path.empty())
    error.path = "stored";
  return error;
}

} // namespace

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
  for (unsigned layer = 0; layer < options.layers; layer++)
    if (isStored(layer))
      feed.end(layer, [](Result<>) {});
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
    if (auto done = isStored(layer) ? Result<>(Nothing{}) : decoder.run(layer); !done)
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

Result<> Converter::Engine::mergeStored(unsigned layer) {
  storedBytes += options.stored->bytes(layer);
  if (storedBytes > options.bytesMax)
    return fail(EFBIG, "squash", {},
                "the layers have more than " + std::to_string(options.bytesMax) + " bytes");
  auto reader = options.stored->layer(layer);
  if (!reader)
    return reader.error();
  auto done = merger.layer(layer, **reader);
  index.end(options.stored->bytes(layer));
  if (!done || !merger.wants(layer))
    return done;
  // Contents that had passed before a hard link to them was seen.
  reader = options.stored->layer(layer);
  return reader ? merger.layerAgain(layer, **reader) : reader.error();
}

Result<> Converter::Engine::mergeLayer(unsigned layer, LayerSource &source) {
  if (isStored(layer))
    return mergeStored(layer);
  source.restart();
  TarReader reader(source);
  auto done = merger.layer(layer, reader);
  index.end(source.bytes());
  return done;
}

Result<> Converter::Engine::mergeAll() {
  LayerSource source(pieces);
  if (options.stored != nullptr)
    if (auto done = options.stored->open(tree); !done)
      return ofStored(std::move(done).error());
  for (unsigned layer = options.layers; layer-- > 0;) {
    auto done = mergeLayer(layer, source);
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
    // The inflater waits for `merged`: nothing of a second pass is counted.
    result.bytes = decoder.bytes() + storedBytes;
    decoder.allow(result.bytes);
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
    TarReader reader(source);
    auto done = merger.layerAgain(layer, reader);
    if (gate.stopped())
      return gate.error();
    if (!done) {
      done.error().path = "layer " + std::to_string(layer);
      return done;
    }
  }
  return Nothing{};
}

Result<> Converter::Engine::writeContents() {
  if (options.stored != nullptr)
    if (auto done = options.stored->storeAgain(store); !done)
      return ofStored(std::move(done).error());
  store.flush();
  if (auto done = line.finish(); !done)
    return done;
  if (options.watch != nullptr)
    result.marks = std::make_shared<const Marks>(store.takeMarks(output.position()));
  if (options.stored == nullptr)
    return Nothing{};
  auto copied = options.stored->copy(line, output);
  result.copied = copied ? *copied : 0;
  return copied ? Result<>(Nothing{}) : copied.error();
}

Result<> Converter::Engine::writeImage() {
  if (auto done = writeContents(); !done)
    return done;
  const Tables::Parts parts{tree,
                            owners,
                            xattrs,
                            line,
                            output,
                            *codec,
                            chunks,
                            options.compressor,
                            options.blockSize,
                            !optionsBlock.empty(),
                            options.ownersToRoot};
  auto size = Tables(parts).write();
  if (!size)
    return size.error();
  auto indexed = index.write(output, tree);
  if (!indexed)
    return indexed.error();
  result.size = *indexed;
  result.entries = merger.entries();
  for (const auto &path : options.capture) {
    auto content = captureFile(parts, path, CAPTURE_SIZE_MAX);
    if (!content)
      return content.error();
    if (*content)
      result.captured.emplace_back(path, std::move(**content));
  }
  if (auto done = chunks.cut(*indexed); !done)
    return done;
  std::unique_lock lock(gate.mutex);
  if (!gate.wait(lock, changed, [&] { return hashed; }))
    return gate.errorLocked();
  for (const auto &digest : digests)
    result.diffIds.push_back(digest.value_or(Digest{}));
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

} // namespace berth::squash
