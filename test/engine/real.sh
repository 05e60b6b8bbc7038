#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# real.sh ENGINE [PATH]: the table of behaviours for an engine that this machine has, found in PATH; no stand-in plays.
set -euo pipefail
cd "$(dirname "$0")/../.."
engine=${1:-}
if [[ ! $engine =~ ^[a-z-]+$ || ! -f docs/engines/$engine.md ]]; then
  echo 'usage: real.sh ENGINE [PATH]; docs/engines has a page for each engine' >&2
  exit 2
fi
export BERTH_TEST_ENGINE=$engine ENGINE_PATH=${2:-/usr/local/bin:/usr/sbin:/usr/bin:/bin}
exec node --import tsx test/engine/matrix.test.ts
