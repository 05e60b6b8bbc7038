// SPDX-License-Identifier: Apache-2.0
#include "convert.hh"

#include <bit>

#include "convert_engine.hh"

namespace berth::squash {
namespace {

Result<> check(const ConvertOptions &options) {
  if (options.layers > Converter::LAYERS_MAX)
    return fail(EINVAL, "squash", {}, "more than " + std::to_string(Converter::LAYERS_MAX) + " layers");
  if (!std::has_single_bit(options.blockSize) || options.blockSize < 4096 || options.blockSize > 1 << 20)
    return fail(EINVAL, "squash", {}, "the block size is a power of two from 4096 to 1048576");
  return Nothing{};
}

} // namespace

Converter::Converter(std::unique_ptr<Engine> engine) : engine_(std::move(engine)) {}

Converter::~Converter() {
  abort();
  join();
}

void Converter::join() {
  const std::lock_guard lock(engine_->joining);
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
