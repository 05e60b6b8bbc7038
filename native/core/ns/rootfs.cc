// SPDX-License-Identifier: Apache-2.0
#include "rootfs.hh"

#include "filesystem.hh"
#include "image_mount.hh"
#include "kernel.hh"
#include "step_disk.hh"
#include "void.hh"

#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>

namespace berth {

static Result<> idmapMount(int mount, int idmap, const std::string &object) {
  kernel::MountAttributes attributes;
  attributes.set = kernel::kAttrIdmap;
  attributes.userNs = static_cast<uint64_t>(idmap);
  if (idmap >= 0 && kernel::setAttributes(mount, attributes, false) < 0)
    return fail("mount_setattr", object);
  return Nothing{};
}

static Result<Fd> cloneDirectory(const std::string &path) {
  const Fd fd = kernel::openAt(AT_FDCWD, path.c_str(),
                               {O_PATH | O_CLOEXEC | O_DIRECTORY, 0, kernel::kResolveNoMagicLinks});
  if (!fd)
    return fail("openat2", path);
  Fd mount = kernel::cloneTree(fd.get(), false);
  if (!mount)
    return fail("open_tree", path);
  return mount;
}

Result<Layers> openLayers(const NamespaceSpec &spec, int idmap) {
  Layers layers;
  if (!spec.imageDevice.empty()) {
    auto image = mountImage(spec.imageDevice);
    if (!image)
      return image.error();
    layers.lower = std::move(*image);
  } else if (spec.imageTrusted) {
    auto directory = cloneDirectory(spec.imageDirectory);
    if (!directory)
      return directory.error();
    layers.lower = std::move(*directory);
  }
  if (layers.lower)
    if (auto mapped = idmapMount(layers.lower.get(), idmap, spec.imageDevice + spec.imageDirectory); !mapped)
      return mapped.error();
  if (!spec.upperDir.empty()) {
    auto disk = cloneDirectory(spec.upperDir);
    if (!disk)
      return disk.error();
    layers.disk = std::move(*disk);
  } else if (!spec.upperDevice.empty()) {
    auto disk = mountStepDisk(spec.upperDevice);
    if (!disk)
      return disk.error();
    layers.disk = std::move(*disk);
  }
  return layers;
}

/**
 * Its files keep their owners: root's, shown as the user's, would be the user's to read. The overlay's own
 * root will be the user's whatever this directory is, so that it must be theirs to list and to enter.
 */
Result<> openUserDirectory(const NamespaceSpec &spec, Layers &layers) {
  if (layers.lower)
    return Nothing{};
  const FileIdentity asUser(spec.user);
  if (asUser.error() != 0)
    return fail(asUser.error(), "setfsuid", spec.imageDirectory);
  const Fd listed = kernel::openAt(AT_FDCWD, spec.imageDirectory.c_str(),
                                   {O_RDONLY | O_CLOEXEC | O_DIRECTORY, 0, kernel::kResolveNoMagicLinks});
  if (!listed)
    return fail("openat2", spec.imageDirectory);
  const Fd entered = kernel::openAt(listed.get(), ".", {O_PATH | O_CLOEXEC | O_DIRECTORY, 0, 0});
  if (!entered)
    return fail("openat2", spec.imageDirectory);
  layers.lower = kernel::cloneTree(entered.get(), false);
  if (!layers.lower)
    return fail("open_tree", spec.imageDirectory);
  layers.lowerIsUsers = true;
  return Nothing{};
}

/** A directory of the stage, optionally covered by a mount. */
static Result<> place(const char *name, const Fd &mount) {
  if (mkdir(name, 0755) < 0 && errno != EEXIST)
    return fail("mkdir", name);
  if (mount && kernel::moveMount(mount.get(), AT_FDCWD, name) < 0)
    return fail("move_mount", name);
  return Nothing{};
}

/** The overlay's root directory is the upper one's: it must look like the image's, and be the user's to write
 * to. */
static Result<> makeUpper(const NamespaceSpec &spec, int lower, const std::string &upper,
                          const std::string &work) {
  struct stat status;
  if (fstatat(lower, "", &status, AT_EMPTY_PATH) < 0)
    return fail("fstatat", "image");
  if (mkdir(work.c_str(), 0700) < 0 && errno != EEXIST)
    return fail("mkdir", work);
  if (access(upper.c_str(), F_OK) == 0)
    return Nothing{};
  // It gets its name when it is complete: one on disk may outlive this process.
  const std::string made = upper + ".new";
  if (mkdir(made.c_str(), 0755) < 0 && errno != EEXIST)
    return fail("mkdir", made);
  if (chown(made.c_str(), spec.user.uid, spec.user.gid) < 0)
    return fail("chown", made);
  if (chmod(made.c_str(), status.st_mode & 07777) < 0)
    return fail("chmod", made);
  if (rename(made.c_str(), upper.c_str()) < 0)
    return fail("rename", upper);
  return Nothing{};
}

/**
 * With an index the kernel refuses (EBUSY) an upper directory that another overlay still uses, and without
 * only warns (overlayfs.rst, "Sharing and copying layers"): for one on disk that somebody may name twice.
 */
static Result<Fd> mountOverlay(const std::string &upper, const std::string &work, bool exclusive) {
  // Relative names: the legacy option parser of kernels before 6.5 splits at commas and colons, so none may
  // be in them.
  const std::vector<FsOption> options = {{"lowerdir", "lower"},
                                         {"upperdir", upper},
                                         {"workdir", work},
                                         {"index", exclusive ? "on" : "off", true},
                                         // Nothing of these is needed, and a kernel's default may be on.
                                         {"metacopy", "off", true},
                                         {"xino", "off", true},
                                         // A saved image could not follow a renamed directory.
                                         {"redirect_dir", "nofollow", true}};
  return makeFilesystem("overlay", options, kernel::kAttrNoSuid | kernel::kAttrNoDev);
}

/**
 * An overlay asks its layers as whoever mounted it (overlayfs.rst, "Permission model"). Of a directory that a
 * user named a file server must hear that user's name: it may squash root, or know more than mode bits. On
 * local file systems the mode bits that the overlay shows are checked against the user anyway; the kernel
 * needs to override them for its work directory.
 */
static Result<Fd> mountOverlayAs(const Identity &user, const std::string &upper, const std::string &work,
                                 bool exclusive) {
  const FileIdentity asUser(user);
  if (asUser.error() != 0)
    return fail(asUser.error(), "setfsuid", "overlay");
  if (auto raised = raiseFileCapabilities(); !raised)
    return raised.error();
  return mountOverlay(upper, work, exclusive);
}

static Result<Fd> makeStage(const NamespaceSpec &spec) {
  std::vector<FsOption> options = {{"mode", "0755"}};
  if (!spec.upperSize.empty() && spec.upperDir.empty() && spec.upperDevice.empty())
    options.push_back({"size", spec.upperSize});
  auto stage = makeFilesystem("tmpfs", options, kernel::kAttrNoSuid | kernel::kAttrNoDev);
  if (!stage)
    return stage.error();
  // Kernels before 6.15 take only attached mounts as layers, hence the stage has a place in a namespace.
  if (kernel::moveMount(stage->get(), AT_FDCWD, "/") < 0)
    return fail("move_mount", "stage");
  if (fchdir(stage->get()) < 0)
    return fail("fchdir", "stage");
  return stage;
}

/** Leaves the overlay on top of this namespace, for whoever is given that, and goes on with a copy. */
static Result<> leaveCopy(Fd &overlay) {
  if (kernel::moveMount(overlay.get(), AT_FDCWD, "/") < 0)
    return fail("move_mount", "/");
  Fd copy = kernel::cloneTree(overlay.get(), false);
  if (!copy)
    return fail("open_tree", "/");
  overlay = std::move(copy);
  return Nothing{};
}

std::string upperIn(const NamespaceSpec &spec) {
  return spec.upperDir.empty() && spec.upperDevice.empty() ? "upper" : "disk/upper";
}

Result<Rootfs> assembleRoot(const NamespaceSpec &spec, const Layers &layers) {
  auto stage = makeStage(spec);
  if (!stage)
    return stage.error();
  if (auto placed = place("lower", layers.lower); !placed)
    return placed.error();
  const bool onDisk = layers.disk.valid();
  if (auto placed = onDisk ? place("disk", layers.disk) : Result<>(Nothing{}); !placed)
    return placed.error();
  const std::string upper = upperIn(spec);
  const std::string work = onDisk ? "disk/work" : "work";
  const bool exclusive = !spec.upperDir.empty();
  if (auto made = makeUpper(spec, layers.lower.get(), upper, work); !made)
    return made.error();
  auto overlay = layers.lowerIsUsers ? mountOverlayAs(spec.user, upper, work, exclusive)
                                     : mountOverlay(upper, work, exclusive);
  if (!overlay)
    return overlay.error();
  if (auto left = spec.keepRoot ? leaveCopy(*overlay) : Nothing{}; !left)
    return left.error();
  return Rootfs{std::move(*stage), std::move(*overlay)};
}

Result<Rootfs> shareRoot(const NamespaceSpec &spec, int voidNs) {
  if (setns(spec.rootNs, CLONE_NEWNS) < 0)
    return fail("setns", "mount namespace of the root");
  Fd overlay = kernel::openTree(AT_FDCWD, "/", kernel::kOpenTreeClone);
  if (!overlay)
    return fail("open_tree", "/");
  if (auto entered = enterVoid(voidNs); !entered)
    return entered.error();
  auto stage = makeStage(spec);
  if (!stage)
    return stage.error();
  return Rootfs{std::move(*stage), std::move(overlay)};
}

/** By a name that nobody could have known: its pid may be another's by now, or its root something else. */
static Result<Fd> findPrepared(const EngineRoot &engine) {
  constexpr uint64_t kInside = kernel::kResolveInRoot | kernel::kResolveNoMagicLinks;
  Fd root =
      kernel::openAt(engine.root, engine.inside.c_str(), {O_PATH | O_CLOEXEC | O_DIRECTORY, 0, kInside});
  if (!root || !kernel::openAt(root.get(), engine.name.c_str(), {O_PATH | O_CLOEXEC, 0, kInside}))
    return fail(ENOENT, "openat2", engine.inside, "the engine did not run in the root that it was given");
  return root;
}

/**
 * A copy in a namespace of berth's: what the engine's user does to theirs afterwards changes nothing here. No
 * mount of it may carry privileges (NODEV: what a task needs of /dev is mounted over it by the plan).
 */
Result<Rootfs> adoptRoot(const NamespaceSpec &spec, int voidNs) {
  const EngineRoot &engine = *spec.engine;
  if (setns(engine.mountNs, CLONE_NEWNS) < 0)
    return fail("setns", "mount namespace of the engine");
  auto root = findPrepared(engine);
  if (!root)
    return root.error();
  if (unlinkat(engine.prepared, engine.name.c_str(), 0) < 0)
    return fail("unlinkat", engine.name);
  Fd tree = kernel::cloneTree(root->get(), true);
  if (!tree)
    return fail("open_tree", "root of the engine");
  kernel::MountAttributes attributes;
  attributes.set = kernel::kAttrNoSuid | kernel::kAttrNoDev;
  attributes.propagation = MS_PRIVATE;
  if (kernel::setAttributes(tree.get(), attributes, true) < 0)
    return fail("mount_setattr", "root of the engine");
  if (auto entered = enterVoid(voidNs); !entered)
    return entered.error();
  auto stage = makeStage(spec);
  if (!stage)
    return stage.error();
  return Rootfs{std::move(*stage), std::move(tree)};
}

Result<> attachRoot(const Fd &root) {
  if (kernel::moveMount(root.get(), AT_FDCWD, "/") < 0)
    return fail("move_mount", "/");
  return Nothing{};
}

Result<> enterRoot(const Fd &root, bool readonly) {
  kernel::MountAttributes attributes;
  attributes.set = kernel::kAttrReadOnly;
  if (readonly && kernel::setAttributes(root.get(), attributes, false) < 0)
    return fail("mount_setattr", "/");
  if (fchdir(root.get()) < 0)
    return fail("fchdir", "/");
  if (chroot(".") < 0)
    return fail("chroot", "/");
  return Nothing{};
}

} // namespace berth
