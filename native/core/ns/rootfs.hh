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
  /** The directory on disk that holds "upper" and "work". */
  Fd disk;
};

/** Opens what lives in the worker's mount namespace. `idmap`: a user namespace fd, or -1. */
Result<Layers> openLayers(const NamespaceSpec &spec, int idmap);

/** A directory of the user's own as image: opened in the job's namespace with the user's rights. */
Result<> openUserDirectory(const NamespaceSpec &spec, int idmap, Layers &layers);

struct Rootfs {
  /** Root directory of the private tmpfs that carries layers and file contents. */
  Fd stage;
  /** The overlay's root; attached below the stage. */
  Fd root;
};

/** Covers spec.staging in the current (private) mount namespace; the working directory is then the stage. */
Result<Rootfs> assembleRoot(const NamespaceSpec &spec, const Layers &layers);

/** Makes the root (read-only if asked) the process's "/" and drops everything else from the mount namespace.
 */
Result<> enterRoot(const Rootfs &rootfs, bool readonly, std::string &note);

} // namespace berth
