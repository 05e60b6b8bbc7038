// SPDX-License-Identifier: Apache-2.0
#include "feed.hh"

#include <algorithm>
#include <iterator>

namespace berth::squash {

Feed::Feed(Gate &gate, unsigned layers) : gate_(gate), layers_(layers) { gate_.watch(filled_); }

bool Feed::roomLocked(unsigned layer) const {
  const auto &held = layers_[layer];
  if (layer == current_)
    return held.size < CURRENT_WINDOW;
  return held.size < WAITING_WINDOW && waitingSize_ < WAITING_WINDOW_SUM;
}

std::vector<Done> Feed::releaseLocked() {
  std::vector<Done> ready;
  for (unsigned i = 0; i < layers_.size(); i++)
    if (!layers_[i].waiting.empty() && roomLocked(i)) {
      std::ranges::move(layers_[i].waiting, std::back_inserter(ready));
      layers_[i].waiting.clear();
    }
  return ready;
}

void Feed::push(unsigned layer, Bytes bytes, Done done) {
  Result<> answer = Nothing{};
  {
    std::lock_guard lock(gate_.mutex);
    if (gate_.stoppedLocked()) {
      answer = gate_.errorLocked();
    } else if (layer >= layers_.size() || layers_[layer].ended) {
      answer = fail(EINVAL, "squash", "layer " + std::to_string(layer), "no such layer, or it has ended");
    } else if (!bytes.empty()) {
      auto &held = layers_[layer];
      held.size += bytes.size();
      if (layer != current_)
        waitingSize_ += bytes.size();
      held.chunks.push_back(std::move(bytes));
      filled_.notify_all();
      if (!roomLocked(layer)) {
        held.waiting.push_back(std::move(done));
        return;
      }
    }
  }
  done(std::move(answer));
}

void Feed::end(unsigned layer, Done done) {
  Result<> answer = Nothing{};
  {
    std::lock_guard lock(gate_.mutex);
    if (gate_.stoppedLocked())
      answer = gate_.errorLocked();
    else if (layer >= layers_.size() || layers_[layer].ended)
      answer = fail(EINVAL, "squash", "layer " + std::to_string(layer), "no such layer, or it has ended");
    else
      layers_[layer].ended = true;
    filled_.notify_all();
  }
  done(std::move(answer));
}

void Feed::select(unsigned layer) {
  std::vector<Done> ready;
  {
    std::lock_guard lock(gate_.mutex);
    current_ = layer;
    waitingSize_ -= layers_[layer].size;
    ready = releaseLocked();
  }
  for (auto &done : ready)
    done(Nothing{});
}

bool Feed::take(Bytes &bytes) {
  std::vector<Done> ready;
  {
    std::unique_lock lock(gate_.mutex);
    auto &held = layers_[current_];
    if (!gate_.wait(lock, filled_, [&] { return held.ended || !held.chunks.empty(); }) || held.chunks.empty())
      return false;
    bytes = std::move(held.chunks.front());
    held.chunks.pop_front();
    held.size -= bytes.size();
    taken_ += bytes.size();
    ready = releaseLocked();
  }
  for (auto &done : ready)
    done(Nothing{});
  return true;
}

void Feed::reopen(const std::vector<unsigned> &layers) {
  std::lock_guard lock(gate_.mutex);
  current_ = NONE;
  for (const unsigned layer : layers)
    layers_[layer].ended = false;
}

bool Feed::ended(unsigned layer) {
  std::lock_guard lock(gate_.mutex);
  return layers_[layer].ended;
}

void Feed::reject(const Error &error) {
  std::vector<Done> all;
  {
    std::lock_guard lock(gate_.mutex);
    for (auto &layer : layers_) {
      std::ranges::move(layer.waiting, std::back_inserter(all));
      layer.waiting.clear();
    }
  }
  for (auto &done : all)
    done(error);
}

uint64_t Feed::taken() {
  std::lock_guard lock(gate_.mutex);
  return taken_;
}

} // namespace berth::squash
