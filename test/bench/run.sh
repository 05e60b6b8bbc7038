#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# npm run bench [PART…]: every start*.ts, engines*.ts, convert*.ts, reuse*.ts and save*.ts in this folder, one after the other, on an otherwise quiet machine.
set -euo pipefail
cd "$(dirname "$0")/../.."
bash test/install.sh
shopt -s nullglob
for file in test/bench/start*.bench.ts test/bench/engines*.bench.ts test/bench/convert*.bench.ts test/bench/reuse*.bench.ts test/bench/save*.bench.ts; do
  name=$(basename "$file" .bench.ts)
  if (($# == 0)) || [[ " $* " == *" $name "* ]]; then
    printf '\n## %s\n' "$name"
    node --import tsx "$file"
  fi
done
