# SPDX-License-Identifier: Apache-2.0
# The addon. Sources are found, not listed: a file in native/ is part of it, compiled with those of its folder.
{
  "variables": {
    "have_squash": "<!(node -p \"+require('fs').existsSync('native/binding/squash.cc')\")",
    # isa-l where the compiler finds it; BERTH_ZLIB_ONLY=1 in the environment does without.
    "have_isal": "<!(test -z \"$BERTH_ZLIB_ONLY\" && echo '#include <isa-l/igzip_lib.h>' | ${CXX:-c++} -E -xc++ - >/dev/null 2>&1 && echo 1 || echo 0)",
    "have_reader": "<!(node -p \"+require('fs').existsSync('native/binding/reader.cc')\")",
  },
  "targets": [
    {
      "target_name": "berth",
      "sources": ["<!@(node native/rooms.mjs)"],
      "include_dirs": ["native", "<!(node -p \"require('node-addon-api').include_dir\")"],
      # Node-API 8 is in every Node 20 and later; exceptions stay inside core/, none crosses into JavaScript's stack.
      "defines": ["NAPI_VERSION=8", "NAPI_DISABLE_CPP_EXCEPTIONS", "_GNU_SOURCE", "_FILE_OFFSET_BITS=64"],
      # No -Werror: sites build with compilers from GCC 10 to tomorrow's, and a new warning is no reason to stop one.
      "cflags": ["-Wall", "-Wextra", "-Wno-unknown-warning-option", "-Wno-stringop-overread", "-O2", "-fvisibility=hidden"],
      "cflags_cc!": ["-fno-exceptions", "-std=gnu++17"],
      "cflags_cc": ["-std=gnu++20", "-fexceptions"],
      "ldflags": ["-Wl,-z,relro,-z,now"],
      "conditions": [
        ["have_squash==1", {"defines": ["BERTH_HAVE_SQUASH"]}],
        ["have_reader==1", {"defines": ["BERTH_HAVE_READER"]}],
        ["have_squash==1 and have_isal==1", {"defines": ["BERTH_HAVE_ISAL"], "libraries": ["-lisal"]}],
        ["have_squash==1 or have_reader==1", {"libraries": ["-lzstd", "-llz4", "-lz"]}],
      ],
    }
  ],
}
