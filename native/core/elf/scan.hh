// SPDX-License-Identifier: Apache-2.0
/** Libraries of an image, read from its squashfs: names of all, more of those that the caller names. */
#pragma once

#include "elf.hh"

#include "../result.hh"
#include "../squash/content_watch.hh"

#include <memory>

namespace berth::elf {

struct ScanOptions {
  /** A library is read when its file name begins with one of these. */
  std::vector<std::string> prefixes;
  /** Of these also what symbols they define, and which programs and libraries of the image want which of
   * them. */
  std::vector<std::string> exporters;
  /** Of what these define only names that begin with one of these are told; empty: all. */
  std::vector<std::string> told;
  /** What stands behind `marker` in files whose name begins with `prefix`. */
  struct Text {
    std::string prefix, marker;
  };
  std::vector<Text> texts;
  unsigned threads = 1;
  /** Of a NeededWatch for `exporters` that saw the image made: what it did not mark is not read. */
  std::shared_ptr<const squash::Marks> marks;
};

/** lib*.so*, ld-*.so*: where it is, and where it leads if it is a symbolic link. */
struct Name {
  std::string path, target;
};

struct Found {
  std::string path;
  Library library;
  bool exporter = false;
  /** Of exporters; sorted. */
  std::vector<std::string> defines;
  /** Symbols of exporters that it leaves undefined; sorted. */
  std::vector<std::string> wants;
  std::string text;
};

struct Scan {
  std::vector<Name> names;
  /** Libraries that were asked for, then what needs an exporter; each in the order of the image's paths. */
  std::vector<Found> found;
  /** The image has more than the limits of this reader. */
  bool truncated = false;
};

/** Borrows `fd`, a squashfs; safe on any input. */
Result<Scan> scanImage(int fd, const ScanOptions &options);

/** One file of the host; `path` is only for the answer. Nothing when it is no ELF file. */
std::optional<Found> readFile(Bytes &bytes, const std::string &path, const ScanOptions &options);

} // namespace berth::elf
