// SPDX-License-Identifier: Apache-2.0
#include "features.hh"

#include "core/ns/build.hh"
#include "core/ns/image_mount.hh"
#include "core/ns/kernel.hh"
#include "empty_image.hh"

#include <sys/mman.h>
#include <sys/utsname.h>

namespace berth {

constexpr long kLandlockCreateRuleset = 444;
constexpr unsigned kLandlockVersion = 1; /* LANDLOCK_CREATE_RULESET_VERSION */
/** Any account but root will do: nothing of it is touched. */
constexpr uid_t kSomebody = 65534;

static bool knowsFilesystem(const char *type) {
  return Fd(static_cast<int>(syscall(kernel::kFsopen, type, 1))).valid();
}

static bool hasMountApi() {
  kernel::MountAttributes attributes;
  attributes.set = kernel::kAttrReadOnly;
  return knowsFilesystem("tmpfs") && kernel::setAttributes(-1, attributes, false) < 0 && errno == EBADF;
}

static bool builds(const std::string &device, bool idmap) {
  NamespaceSpec spec;
  spec.imageDevice = device;
  spec.idmap = idmap;
  spec.user = {kSomebody, kSomebody, {}};
  spec.insideUid = kSomebody;
  spec.insideGid = kSomebody;
  spec.upperSize = "64k";
  spec.staging = "/tmp";
  // A mount point must be made in the root: overlay over an id-mapped layer came later (5.19) than the map
  // itself.
  MountStep directory;
  directory.kind = MountStep::Kind::dir;
  directory.target = "/probe";
  spec.mounts.push_back(std::move(directory));
  BuiltNamespace built;
  return !buildNamespace(spec, built);
}

static void probeImage(KernelFeatures &features) {
  const Fd file(memfd_create("berth-probe", MFD_CLOEXEC));
  const std::string bytes = emptyImage();
  if (!file || write(file.get(), bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size()))
    return;
  const auto image = attachImage(file.get(), "berth-probe", 0);
  features.loop = image.ok() || image.error().syscall.starts_with("fs");
  features.squashfs = image.ok();
  if (!image)
    return;
  features.squashfsIdmap = builds(image.value().device, true);
  features.userNamespaces = features.squashfsIdmap || builds(image.value().device, false);
}

KernelFeatures probeKernel() {
  KernelFeatures features;
  utsname name;
  if (uname(&name) == 0)
    features.release = name.release;
  features.mountApi = hasMountApi();
  features.overlay = knowsFilesystem("overlay");
  features.landlock = syscall(kLandlockCreateRuleset, nullptr, 0, kLandlockVersion) > 0;
  features.pidfd = kernel::openPidfd(getpid()).valid();
  if (features.mountApi)
    probeImage(features);
  return features;
}

} // namespace berth
