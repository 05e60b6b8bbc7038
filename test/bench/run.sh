#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# npm run bench [PART…]: every *.bench.ts in this folder, one after the other, on an otherwise quiet machine.
# Parts that are named run in full; without names each leaves out what takes many minutes.
set -euo pipefail
cd "$(dirname "$0")/../.."
bash test/install.sh
(($# == 0)) || export BERTH_BENCH_FULL=1
for file in test/bench/*.bench.ts; do
  name=$(basename "$file" .bench.ts)
  if (($# == 0)) || [[ " $* " == *" $name "* ]]; then
    printf '\n## %s\n' "$name"
    node --import tsx "$file"
  fi
done
