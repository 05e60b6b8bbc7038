// SPDX-License-Identifier: Apache-2.0
#include "awaited.hh"

#include <algorithm>

namespace berth::squash {
namespace {

/** Salt of the root's entries; each directory's hash is that of what is in it. */
constexpr uint64_t ROOT_HASH = 0;

/** Takes the first component off `path`. */
std::string_view component(std::string_view &path) {
  const auto slash = std::min(path.find('/'), path.size());
  const auto first = path.substr(0, slash);
  path.remove_prefix(std::min(slash + 1, path.size()));
  return first;
}

} // namespace

void Awaited::Removals::add(unsigned layer) {
  if (last != layer)
    before = std::exchange(last, uint16_t(layer));
}

/** Shows `visit` the directories above `path` from the root on. NONE: nobody waits there or below. */
template <typename Visit> uint32_t Awaited::walk(std::string_view path, Visit visit) const {
  if (empty())
    return NONE;
  uint64_t hash = ROOT_HASH;
  uint32_t at = paths_.find(hash);
  while (at != NONE && !path.empty()) {
    visit(paths_[at]);
    hash = key_.name(hash, component(path));
    at = paths_.find(hash);
  }
  return at;
}

uint32_t Awaited::find(std::string_view path) const {
  const uint32_t at = walk(path, [](const Path &) {});
  return at == NONE ? NONE : paths_[at].inode;
}

uint32_t Awaited::find(std::string_view path, unsigned layer) const {
  unsigned removed = NO_LAYER;
  const uint32_t at =
      walk(path, [&](const Path &above) { removed = std::min(removed, above.below.above(layer)); });
  if (at == NONE || paths_[at].inode == NONE)
    return NONE;
  const Path &own = paths_[at];
  removed = std::min(removed, own.itself.above(layer));
  return layer < own.layer && removed >= own.layer ? own.inode : NONE;
}

void Awaited::add(std::string_view path, uint32_t inode, unsigned layer, std::string_view name) {
  const std::string_view target = path;
  uint64_t hash = ROOT_HASH;
  for (;;) {
    uint32_t at = paths_.find(hash);
    if (at == NONE) {
      Path fresh;
      fresh.key = hash;
      at = paths_.add(fresh);
    }
    if (!path.empty()) {
      hash = key_.name(hash, component(path));
      continue;
    }
    Path &own = paths_[at];
    own.inode = inode;
    own.layer = uint16_t(layer);
    own.target = texts_.add(target.substr(0, TEXT_MAX));
    own.name = texts_.add(name.substr(0, TEXT_MAX));
    waiting_++;
    return;
  }
}

void Awaited::drop(std::string_view path) {
  const uint32_t at = walk(path, [](const Path &) {});
  if (at == NONE || paths_[at].inode == NONE)
    return;
  paths_[at].inode = NONE;
  waiting_--;
}

void Awaited::remove(std::string_view path, Removed what, unsigned layer) {
  const uint32_t at = walk(path, [](const Path &) {});
  if (at == NONE)
    return;
  paths_[at].below.add(layer);
  if (what == Removed::itself)
    paths_[at].itself.add(layer);
}

std::optional<Awaited::Link> Awaited::first() const {
  for (size_t i = 0; i < paths_.size(); i++)
    if (const Path &path = paths_[i]; path.inode != NONE)
      return Link{path.layer, std::string(texts_.get(path.target)), std::string(texts_.get(path.name))};
  return std::nullopt;
}

} // namespace berth::squash
