#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Brings a fresh Debian 12 (as root) to where tests, demo and bench run: packages, npm modules, a current build.
# Idempotent; says one line for each thing it does and nothing for what is there already.
set -euo pipefail
cd "$(dirname "$0")/.."

runtime_packages=(slurmctld slurmd slurm-client slurm-wlm-basic-plugins slurmrestd munge libpmix2 docker-registry skopeo
  mmdebstrap busybox-static squashfs-tools squashfuse fuse3 util-linux acl attr strace zstd e2fsprogs xfsprogs groff-base openssh-client xauth
  sshfs openssh-sftp-server)
build_packages=(build-essential python3 cmake libslurm-dev libpmix-dev libisal-dev libzstd-dev liblz4-dev
  zlib1g-dev clang libmpich-dev libopenmpi-dev musl-tools clang-format libclang-rt-dev)
# Engines and peers that tests and bench compare with; a machine without them skips those.
peer_packages=(gnupg bubblewrap patchelf umoci squashfs-tools-ng isal crun runc charliecloud podman uidmap docker.io)

say() { printf 'install: %s\n' "$*"; }

require_node() {
  command -v node >/dev/null || { echo 'install: node 20.17 or later is needed and not on PATH' >&2; exit 1; }
  node -e 'const [a,b]=process.versions.node.split(".").map(Number); process.exit(a>20||(a===20&&b>=17)?0:1)' ||
    { echo "install: node $(node --version) is too old, 20.17 or later is needed" >&2; exit 1; }
}

missing_packages() {
  local name
  for name in "$@"; do
    [[ "$(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null || true)" == installed ]] || echo "$name"
  done
}

# Debian would start slurmd and munge as system services; the throwaway cluster brings its own.
install_packages() {
  local policy=/usr/sbin/policy-rc.d made=''
  if [[ ! -e $policy ]]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
    made=$policy
  fi
  export DEBIAN_FRONTEND=noninteractive
  local log
  log=$(mktemp)
  if ! { apt-get update -qq && apt-get install -y -qq --no-install-recommends "$@"; } >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    [[ -z $made ]] || rm -f "$made"
    return 1
  fi
  rm -f "$log"
  [[ -z $made ]] || rm -f "$made"
}

ensure_packages() {
  local wanted
  mapfile -t wanted < <(missing_packages "${runtime_packages[@]}" "${build_packages[@]}" "${peer_packages[@]}")
  ((${#wanted[@]})) || return 0
  [[ $EUID -eq 0 ]] || { echo "install: run as root, or install: ${wanted[*]}" >&2; exit 1; }
  say "apt: ${wanted[*]}"
  install_packages "${wanted[@]}"
}

# Debian has it in sid only. A mirror without sid is no reason to test nothing: a stand-in takes its place.
ensure_apptainer() {
  local directory=${BERTH_TEST_CACHE:-/var/cache/berth-test}/apptainer-sid-v1 log
  [[ ! -d $directory && $EUID -eq 0 ]] || return 0
  say 'apptainer of Debian sid, beside the machine'
  log=$(mktemp)
  if ! bash test/newer.sh "$directory" sid apptainer apptainer >"$log" 2>&1; then
    say "no apptainer: $(tail -n 1 "$log")"
  elif ! setpriv --reuid=65534 --regid=65534 --clear-groups "$directory/bin/apptainer" --version >"$log" 2>&1; then
    say "apptainer does not run: $(tail -n 1 "$log")"
    rm -rf "$directory"
  fi
  rm -f "$log"
}

ensure_modules() {
  local stamp=node_modules/.berth-lock
  cmp -s package-lock.json "$stamp" && return 0
  say 'npm: modules of package-lock.json'
  npm ci --ignore-scripts --no-audit --no-fund --silent
  cp package-lock.json "$stamp"
}

# $1 = npm script, rest = what it is made from. Built again when the content of a source changed.
ensure_built() {
  local part=$1 now
  shift
  now=$(find "$@" -type f -not -path '*/build/*' -print0 | sort -z | xargs -0 sha256sum | sha256sum)
  [[ -e dist/.stamp-$part && "$(cat "dist/.stamp-$part")" == "$now" ]] && return 0
  say "build: $part"
  local log
  log=$(mktemp)
  if ! npm run --silent "build:$part" >"$log" 2>&1; then
    cat "$log" >&2
    rm -f "$log"
    echo "install: npm run build:$part failed" >&2
    exit 1
  fi
  # binding.gyp has no -Werror, for the sake of sites; here a warning is a failure.
  if grep ': warning:' "$log" >&2; then
    rm -f "$log"
    exit 1
  fi
  rm -f "$log"
  mkdir -p dist
  echo "$now" >"dist/.stamp-$part"
}

trap 'jobs -p | xargs -r kill 2>/dev/null || true' EXIT
require_node
# apt and downloads leave processors idle; what npm brings needs no package of Debian's.
{
  ensure_modules
  ensure_built ts src tsconfig.json package.json
} &
modules=$!
ensure_packages
ensure_apptainer &
apptainer=$!
wait "$modules"
ensure_built addon native binding.gyp package-lock.json
ensure_built slurm slurm package-lock.json
wait "$apptainer"
