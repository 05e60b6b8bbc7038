// SPDX-License-Identifier: Apache-2.0
/**
 * The container's root: the image below, a private upper directory above, joined by overlay. Always an
 * overlay, also for read-only containers, because only so every mount point can be made
 * (docs/decisions/0004-namespaces.md).
 */
#pragma once

#include "spec.hh"

namespace berth {

/** Detached mounts made before the job's mount namespace is entered; empty where they are not needed. */
struct Layers {
  Fd lower;
  /** It is a directory that the user named. */
  bool lowerIsUsers = false;
  /** What is to hold "upper" and "work", where that is not memory. */
  Fd disk;
};

/** Opens what lives in the worker's mount namespace. `idmap`: a user namespace fd, or -1. */
Result<Layers> openLayers(const NamespaceSpec &spec, int idmap);

/** A directory of the user's own as image: opened in the job's namespace with the user's rights. */
Result<> openUserDirectory(const NamespaceSpec &spec, Layers &layers);

struct Rootfs {
  /** Root directory of the private tmpfs that carries upper, work and file contents. */
  Fd stage;
  /** The overlay, detached. */
  Fd root;
};

/**
 * Puts the layers together in the current mount namespace, which is to be a private copy of the void and is
 * of no use afterwards: overlay keeps its own hold on them.
 */
Result<Rootfs> assembleRoot(const NamespaceSpec &spec, const Layers &layers);

/** Of the upper directory, below Rootfs::stage. */
std::string upperIn(const NamespaceSpec &spec);

/** The same around the overlay of a namespace that an earlier build kept (NamespaceSpec::rootNs). */
Result<Rootfs> shareRoot(const NamespaceSpec &spec, int voidNs);

/** The same around what an engine made of a view (NamespaceSpec::engine), with all of its mounts. */
Result<Rootfs> adoptRoot(const NamespaceSpec &spec, int voidNs);

/** Covers "/" of the current mount namespace (another copy of the void) with the container's root. */
Result<> attachRoot(const Fd &root);

/** Makes it the process's root, read-only if asked. */
Result<> enterRoot(const Fd &root, bool readonly);

} // namespace berth
