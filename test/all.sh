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
# Ordinary users run the launcher and the importer: a clone below a directory that only root can enter is tested
# from a copy where they can. /var/tmp, since job_container/tmpfs hides /tmp from jobs.
copy=
if ! setpriv --reuid=65534 --regid=65534 --clear-groups test -r "$PWD/dist/berth.so"; then
  copy=$(mktemp -d /var/tmp/berth-checkout-XXXXXX)
  chmod 755 "$copy"
  cp -a . "$copy"
  cd "$copy" || exit 1
fi
before=$(mktemp)
export BERTH_MACHINE_BEFORE=$before
node --import tsx test/leak/snapshot.ts >"$before"
status=0
# engine early: its longest file would otherwise run alone at the end.
node --import tsx test/run.ts check unit contract golden engine native fuzz cluster leak || status=$?
cd /
rm -rf "$before" ${copy:+"$copy"}
exit "$status"
