// SPDX-License-Identifier: Apache-2.0
#include "convert_engine.hh"

#include "capture.hh"
#include "tables.hh"

namespace berth::squash {
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
    // The inflater waits for `merged`: nothing of a second pass is counted.
    result.bytes = decoder.bytes();
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
