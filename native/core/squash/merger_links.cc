// SPDX-License-Identifier: Apache-2.0
/** Hard links, whose target may be visible, hidden by an upper layer, or in a layer that comes later. */
#include "merger.hh"

#include <algorithm>
#include <functional>

namespace berth::squash {

Result<LinkTarget> Merger::findTarget(const TarEntry &entry) {
  auto place = locate(entry.target, false);
  if (!place)
    return place.error();
  if (place->base.empty())
    return tarDamage("a hard link to the root");
  Tree &tree = parts_.tree;
  if (!place->hidden()) {
    const uint32_t number = tree.find(place->parent, place->base);
    if (number != NONE && !tree.node(number).whiteout() && tree.node(number).layer == layer_) {
      if (tree.type(number) == Type::dir)
        return tarDamage("a hard link to a directory");
      return LinkTarget{tree.node(number).inode, 0, {}};
    }
  }
  if (auto hidden = hidden_.find(place->path))
    return std::move(*hidden);
  return LinkTarget{NONE, 0, place->path};
}

/** The inode of a target that is needed: unknown yet unless this layer has shown it. */
uint32_t Merger::demand(LinkTarget &target, const TarEntry &entry) {
  if (target.inode != NONE)
    return target.inode;
  if (target.ordinal != 0) {
    auto &layer = wanted_[layer_];
    const auto [slot, fresh] = layer.try_emplace(target.ordinal, NONE);
    if (fresh)
      slot->second = parts_.tree.addInode();
    if (wantedExample_.empty())
      wantedExample_ = "hard link \"" + entry.name + "\" to the hidden \"" + entry.target + "\" of layer " +
                       std::to_string(layer_);
    return target.inode = slot->second;
  }
  const auto found = pending_.find(target.lower);
  if (found != pending_.end())
    return found->second.inode;
  const uint32_t inode = parts_.tree.addInode();
  pending_.emplace(target.lower, Pending{inode, layer_, 0, entry.name});
  return inode;
}

Result<> Merger::addLink(const TarEntry &entry, const Place &place) {
  auto target = findTarget(entry);
  if (!target)
    return target.error();
  hidden_.dropSymlink(place.path);
  const auto waiting = pending_.empty() ? pending_.end() : pending_.find(place.path);
  const bool awaited =
      waiting != pending_.end() && layer_ < waiting->second.layer && layer_ >= waiting->second.cut;
  // A link to itself says nothing new (tar -x leaves the file as it is).
  if (target->lower == place.path)
    return tarDamage("a hard link to itself");
  const uint32_t number = claim(place);
  if (number == HIDDEN && !awaited) {
    hidden_.put(place.path, *target);
    return Nothing{};
  }
  const uint32_t awaiting = awaited ? waiting->second.inode : NONE;
  if (awaited)
    pending_.erase(waiting);
  const uint32_t inode = demand(*target, entry);
  if (awaiting != NONE && parts_.tree.resolve(awaiting) != parts_.tree.resolve(inode))
    parts_.tree.inode(awaiting).data = inode;
  if (number == HIDDEN)
    hidden_.put(place.path, *target);
  else
    parts_.tree.node(number).inode = inode;
  return Nothing{};
}

/** The layer removes what lower layers have at or below `path`. */
void Merger::cutPending(std::string_view path, bool itself) {
  for (auto &[target, pending] : pending_) {
    const bool below = path.empty() || (target.size() > path.size() && target.starts_with(path) &&
                                        target[path.size()] == '/');
    if ((below || (itself && target == path)) && layer_ < pending.layer)
      pending.cut = std::max(pending.cut, layer_);
  }
}

Error Merger::dangling(const std::string &path, const Pending &pending) const {
  return fail(EBADMSG, "tar", "layer " + std::to_string(pending.layer),
              "hard link \"" + pending.from + "\" to \"" + path + "\", which no layer below has");
}

Result<> Merger::checkCut() const {
  for (const auto &[path, pending] : pending_)
    if (pending.cut >= layer_ && pending.cut > 0)
      return dangling(path, pending);
  return Nothing{};
}

Result<> Merger::checkLinks() {
  settleWanted();
  // The first by name: which one a hash table holds first differs from run to run.
  const std::pair<const std::string, Pending> *first = nullptr;
  for (const auto &entry : pending_)
    if (first == nullptr || entry.first < first->first)
      first = &entry;
  if (first != nullptr)
    return dangling(first->first, first->second);
  return Nothing{};
}

/** Drops wanted contents of entries that a later one of their layer replaced. */
void Merger::settleWanted() {
  if (wanted_.empty())
    return;
  const Tree &tree = parts_.tree;
  std::vector<bool> used(tree.inodeCount());
  for (uint32_t node = 0; node < tree.nodeCount(); node++)
    if (!tree.node(node).whiteout())
      used[tree.resolve(tree.node(node).inode)] = true;
  for (auto &[layer, inodes] : wanted_)
    std::erase_if(inodes, [&](const auto &wanted) { return !used[tree.resolve(wanted.second)]; });
  std::erase_if(wanted_, [](const auto &layer) { return layer.second.empty(); });
}

std::vector<unsigned> Merger::wanted() const {
  std::vector<unsigned> layers;
  for (const auto &[layer, inodes] : wanted_)
    layers.push_back(layer);
  std::ranges::sort(layers, std::greater{});
  return layers;
}

Result<> Merger::layerAgain(unsigned index, EntryReader &reader) {
  layer_ = index;
  // What is lost comes back in.
  const auto inodes = std::exchange(wanted_[index], {});
  TarEntry entry;
  for (ordinal_ = 1;; ordinal_++) {
    auto more = reader.next(entry);
    if (!more)
      return more.error();
    if (!*more)
      break;
    const auto inode = inodes.find(ordinal_);
    if (inode != inodes.end())
      if (auto done = fill(entry, inode->second, reader); !done)
        return done;
  }
  reader.drain();
  if (wanted_[index].empty())
    wanted_.erase(index);
  return Nothing{};
}

} // namespace berth::squash
