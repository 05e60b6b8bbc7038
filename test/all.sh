#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# All tests, from a bare clone: install, build, static checks, unit to cluster, then what must not be left behind.
# The last line is `N passed, N failed, N skipped`.
set -uo pipefail
cd "$(dirname "$0")/.."

if ! bash test/install.sh; then
  printf '\n0 passed, 1 failed, 0 skipped\n'
  exit 1
fi
before=$(mktemp)
export BERTH_MACHINE_BEFORE=$before
node --import tsx test/leak/snapshot.ts >"$before"
status=0
node --import tsx test/run.ts check unit contract golden native fuzz engine cluster leak || status=$?
rm -f "$before"
exit "$status"
