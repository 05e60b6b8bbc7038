// SPDX-License-Identifier: Apache-2.0
/** What a namespace is built from: NamespaceSpec and MountStep of src/native.ts, field by field. */
#pragma once

#include "identity.hh"

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace berth {

struct MountStep {
  enum class Kind { bind, tmpfs, mqueue, devpts, proc, file, dir, symlink, umount };
  enum class Create { any, file, dir, no };
  Kind kind = Kind::bind;
  std::string source;
  std::string target;
  std::vector<std::string> flags;
  bool recursive = false;
  Create create = Create::any;
  bool trusted = false;
  bool optional = false;
  bool replaceLink = false;
  /** file: one of the root itself that its user may change and replace, no mount; bind: a copy like that. */
  bool plain = false;
  /** dir: stays writable where the root is read-only. */
  bool writable = false;
  /** tmpfs: mount options. */
  std::string options;
  mode_t mode = 0755;
  /** file: bytes; symlink: where it points. */
  std::string content;
};

/** What an engine of the host is started in: the job's tree, and the finished root beside it (view.hh). */
struct ViewSpec {
  /** A static program, copied into the root as the hidden file `name`; empty: none. */
  std::string program;
  std::string name;
  struct File {
    std::string name;
    std::string content;
  };
  /** For the engine to read, in its work directory. */
  std::vector<File> files;
  /** Directories of the host that are empty for the engine, where they are there. */
  std::vector<std::string> hidden;
};

/** A root that an engine made of a view. Descriptors are borrowed. */
struct EngineRoot {
  int mountNs = -1;
  /** O_PATH of the container's root directory in there. */
  int root = -1;
  /** BuiltNamespace::prepared of the view. */
  int prepared = -1;
  /** ViewSpec::name, which must be there, and goes. */
  std::string name;
  /** Where the prepared root is in `root`. */
  std::string inside;
};

struct NamespaceSpec {
  /** One of both: a block device with a squashfs, or a directory. */
  std::string imageDevice;
  std::string imageDirectory;
  /** The directory is opened as root in the worker's namespace, not as the user in the job's. */
  bool imageTrusted = false;
  bool readonly = false;
  std::string upperSize;
  std::string upperDir;
  /** A block device with an ext4 of this step's alone (step_disk.hh), in place of upperDir or memory. */
  std::string upperDevice;
  /** What was written above the image is wanted later: BuiltNamespace::upper and made. Not with upperDir. */
  bool keepUpper = false;
  /** The overlay is wanted again by others: BuiltNamespace::rootNs. */
  bool keepRoot = false;
  /** Borrowed rootNs of an earlier build, whose overlay is used in place of image and upper; -1: none. */
  int rootNs = -1;
  Identity user;
  uid_t insideUid = 0;
  gid_t insideGid = 0;
  bool idmap = true;
  std::vector<MountStep> mounts;
  /** CLONE_NEWNET, CLONE_NEWIPC, CLONE_NEWUTS, CLONE_NEWPID. */
  int unshareFlags = 0;
  /** With CLONE_NEWPID: berth-init, a static program. */
  std::string init;
  /** Borrowed; -1: the worker's own. */
  int mountNs = -1;
  int userNs = -1;
  std::string staging;
  /** BuiltNamespace::mountNs is to be a view; of `mounts` only what is made in the root itself counts. */
  std::optional<ViewSpec> view;
  /** Used in place of image and upper. */
  std::optional<EngineRoot> engine;
};

/** A name that the build put into the root's own file system: mount points, plain files. */
struct Made {
  /** Relative to the root, without links. */
  std::string path;
  /** SHA-256 in hex of a file's content or of where a link points; empty: directories and empty files. */
  std::string digest;
};

struct BuiltNamespace {
  Fd userNs, mountNs, netNs, ipcNs, utsNs, pidNs;
  /** The first process of pidNs ends, and all others with it, when the last copy of the lease is closed. */
  Fd lease;
  pid_t first = -1;
  /** Root's own mount namespace with nothing but the overlay on top: its "/" can be copied, and it is kept.
   */
  Fd rootNs;
  /** The upper directory, with keepUpper. */
  Fd upper;
  /** Of a view: O_PATH of the root, through a mount that can be written to. */
  Fd prepared;
  std::vector<Made> made;
  std::vector<std::string> notes;
};

} // namespace berth
