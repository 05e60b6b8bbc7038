#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# npm run demo [-- --keep] [-- --engine=NAME]: a real two-node Slurm cluster that runs OCI images, from nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
bash test/install.sh
exec node --import tsx test/demo/demo.ts "$@"
