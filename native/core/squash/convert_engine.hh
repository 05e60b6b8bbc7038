// SPDX-License-Identifier: Apache-2.0
/** What a conversion consists of: the parts in the order of the data's way, and the threads that run them. */
#pragma once

#include <optional>

#include "convert.hh"
#include "decoder.hh"
#include "layer_source.hh"
#include "merger.hh"

namespace berth::squash {

struct Converter::Engine {
  explicit Engine(ConvertOptions given, std::unique_ptr<Codec> tableCodec)
      : options(std::move(given)), codec(std::move(tableCodec)), feed(gate, options.layers), pieces(gate),
        decoder(gate, feed, pieces, options.bytesMax),
        optionsBlock(compressorOptions(options.compressor, options.level)), output(options.fd, SUPER_SIZE),
        line(gate, output, {options.compressor, options.level, options.blockSize, options.threads}),
        chunks(gate, output, options.tablesOwnMax), tree(key, chunks), xattrs(key, chunks),
        store(line, key, gate, chunks, options.blockSize, options.watch.get()),
        index(*codec, chunks, options.layers),
        merger({tree, store, owners, xattrs, key, index, chunks}, options.entriesMax, options.textBytesMax),
        digests(options.layers) {
    gate.watch(changed);
    gate.whenStopped([this](const Error &error) { rejectAll(error); });
  }

  Result<> start();
  void inflateLoop();
  void hashLoop();
  void mergeLoop();
  bool isStored(unsigned layer) const { return options.stored != nullptr && options.stored->has(layer); }
  Result<> mergeAll();
  Result<> mergeLayer(unsigned layer, LayerSource &source);
  Result<> mergeStored(unsigned layer);
  Result<> writeContents();
  Result<> mergeAgain(LayerSource &source);
  Result<> writeImage();
  void rejectAll(const Error &error);
  void deliver();
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
  Chunks chunks;
  Tree tree;
  Owners owners;
  Xattrs xattrs;
  FileStore store;
  LayerIndex index;
  Merger merger;

  /** Below: shared, under the gate's lock. */
  std::condition_variable changed;
  std::vector<std::optional<Digest>> digests;
  bool merged = false, hashed = false, finished = false;
  std::vector<unsigned> again;
  ConvertResult result;
  /** Uncompressed, of stored layers. */
  uint64_t storedBytes = 0;
  std::function<void(Result<std::vector<unsigned>>)> missingDone;
  std::function<void(Result<ConvertResult>)> finishDone;

  /** Several may wait for the threads. */
  std::mutex joining;
  Thread inflateThread, hashThread, mergeThread;
};

} // namespace berth::squash
