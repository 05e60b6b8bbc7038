// SPDX-License-Identifier: Apache-2.0
/** libFuzzer target of the squashfs reader and verifier; seeds by squashfs_seeds.sh. */
#include "native/reader/exercise.hh"

#include <cstdio>
#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const Exercise result = exerciseImage({data, size}, 0);
  if (!result.contradiction.empty()) {
    std::fprintf(stderr, "accepted, but %s\n", result.contradiction.c_str());
    std::abort();
  }
  return 0;
}
