// SPDX-License-Identifier: Apache-2.0
/** Hard links, whose target may be visible, hidden by an upper layer, or in a layer that comes later. */
#include "merger.hh"

#include <algorithm>

namespace berth::squash {

Result<LinkTarget> Merger::findTarget(const TarEntry &entry) {
  auto place = locate(entry.target, false);
  if (!place)
    return place.error();
  if (place->base.empty())
    return tarDamage("a hard link to the root");
  if (place->path.size() > Texts::LENGTH_MAX)
    return fail(ENAMETOOLONG, "tar", {}, "the target of a hard link is longer than Linux allows");
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
    Wanted &wanted = wantedOf(layer_);
    target.inode = wanted.find(target.ordinal);
    if (target.inode == NONE) {
      target.inode = parts_.tree.addInode();
      wanted.add(target.ordinal, target.inode);
    }
    if (wantedExample_.empty())
      wantedExample_ = "hard link \"" + entry.name + "\" to the hidden \"" + entry.target + "\" of layer " +
                       std::to_string(layer_);
    return target.inode;
  }
  if (const uint32_t known = awaited_.find(target.lower); known != NONE)
    return known;
  const uint32_t inode = parts_.tree.addInode();
  awaited_.add(target.lower, inode, layer_, entry.name);
  return inode;
}

Result<> Merger::addLink(const TarEntry &entry, const Place &place) {
  auto target = findTarget(entry);
  if (!target)
    return target.error();
  hidden_.dropSymlink(place.path);
  const uint32_t awaiting = awaited_.find(place.path, layer_);
  // A link to itself says nothing new (tar -x leaves the file as it is).
  if (target->lower == place.path)
    return tarDamage("a hard link to itself");
  const uint32_t number = claim(place);
  if (number == HIDDEN && awaiting == NONE) {
    hidden_.put(place.path, *target);
    return Nothing{};
  }
  if (awaiting != NONE)
    awaited_.drop(place.path);
  const uint32_t inode = demand(*target, entry);
  if (awaiting != NONE && parts_.tree.resolve(awaiting) != parts_.tree.resolve(inode))
    parts_.tree.inode(awaiting).data = inode;
  if (number == HIDDEN)
    hidden_.put(place.path, *target);
  else
    parts_.tree.node(number).inode = inode;
  return Nothing{};
}

Result<> Merger::checkLinks() {
  settleWanted();
  if (const auto link = awaited_.first())
    return fail(EBADMSG, "tar", "layer " + std::to_string(link->layer),
                "hard link \"" + link->name + "\" to \"" + link->target + "\", which no layer below has");
  return Nothing{};
}

Wanted &Merger::wantedOf(unsigned layer) {
  auto &wanted = wanted_[layer];
  if (wanted == nullptr)
    wanted = std::make_unique<Wanted>(parts_.chunks);
  return *wanted;
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
  for (auto &[layer, wanted] : wanted_)
    wanted->keep([&](uint32_t inode) { return used[tree.resolve(inode)]; });
  std::erase_if(wanted_, [](const auto &layer) { return layer.second->empty(); });
}

std::vector<unsigned> Merger::wanted() const {
  std::vector<unsigned> layers;
  for (const auto &[layer, wanted] : wanted_)
    layers.push_back(layer);
  std::ranges::reverse(layers);
  return layers;
}

Result<> Merger::layerAgain(unsigned index, EntryReader &reader) {
  layer_ = index;
  // What is lost comes back in.
  const auto wanted = std::move(wanted_.extract(index).mapped());
  TarEntry entry;
  for (ordinal_ = 1;; ordinal_++) {
    auto more = reader.next(entry);
    if (!more)
      return more.error();
    if (!*more)
      break;
    if (auto done = checkLimits(); !done)
      return done;
    if (const uint32_t inode = wanted->find(ordinal_); inode != NONE)
      if (auto done = fill(entry, inode, reader); !done)
        return done;
  }
  reader.drain();
  return Nothing{};
}

} // namespace berth::squash
