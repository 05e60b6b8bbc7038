#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# newer.sh DIRECTORY SUITE PACKAGE PROGRAM...: programs of another Debian release, which run on this one with the loader and
# the libraries of their own; DIRECTORY/bin has them. Nothing of the machine is changed. Does nothing when they are there.
set -euo pipefail
dir=$1 suite=$2 package=$3
shift 3

[[ ! -d $dir ]] || exit 0
mkdir -p "$(dirname "$dir")"
mirror=$(apt-get indextargets --format '$(ORIGIN) $(LABEL) $(REPO_URI)' 'Created-By: Packages' |
  sed -n 's/^Debian Debian //p' | head -n 1)
[[ -n $mirror ]] || { echo 'newer: apt knows no Debian mirror' >&2; exit 1; }
made=$(mktemp -d "$dir.XXXXXX")
trap 'rm -rf "$made"' EXIT
# A mirror that stands still is no reason to have no programs.
timeout 300 mmdebstrap --quiet --mode=root --variant=extract --include="$package" \
  --aptopt='Acquire::Check-Valid-Until "false"' "$suite" "$made/root" "deb $mirror $suite main"
rm -rf "$made"/root/usr/share/{doc,man,locale,info}

# Programs name their loader by its path, and that of a release fits its own libraries only.
libraries=$dir/root/usr/lib/$(uname -m)-linux-gnu
loader=$(cd "$made/root" && find usr/lib -name 'ld-linux-*.so.*' -type f | head -n 1)
shopt -s nullglob
places=("$made"/root/usr/{bi[n],sbi[n],libex[e]c,lib/podma[n],lib/*/apptainer/bin})
find "${places[@]}" -type f -perm -100 | while read -r program; do
  patchelf --print-interpreter "$program" >/dev/null 2>&1 || continue
  # RPATH, since RUNPATH is not for the libraries of libraries.
  patchelf --force-rpath --set-rpath "$libraries:$libraries/systemd" --set-interpreter "$dir/root/$loader" "$program"
done
# Where Apptainer looks for its settings when it has been moved.
for below in usr usr/lib; do
  ln -sfn "$dir/root/etc" "$made/root/$below/etc"
  ln -sfn "$dir/root/var" "$made/root/$below/var"
done
mkdir "$made/bin"
for program in "$@"; do
  ln -s "../root/usr/bin/$program" "$made/bin/$program"
  [[ -e $made/root/usr/bin/$program ]] || { echo "newer: no $program in $package of $suite" >&2; exit 1; }
done
chmod -R a+rX "$made"
# Another checkout may have made it in the meantime.
mv -T "$made" "$dir" 2>/dev/null || [[ -d $dir/bin ]]
