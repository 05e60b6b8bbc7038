#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Makes DIR/small, DIR/medium and DIR/large: gzip layers 0.tgz, 1.tgz, … of images that are built from Debian packages.
# Usage: convert_images.sh DIR. What exists is kept. Needs root, mmdebstrap and the machine's own apt sources.
set -euo pipefail
dir=$(realpath -m "$1")
release=${BERTH_BENCH_RELEASE:-trixie}
mirror=$(awk '/^URIs:/ { print $2; exit }' /etc/apt/sources.list.d/debian.sources 2>/dev/null ||
	awk '$1 == "deb" { print $2; exit }' /etc/apt/sources.list)
mkdir -p "$dir"

# Replaces a file by an empty one; their directory keeps its time.
place() {
	local directory stamp
	directory=$(dirname "$2")
	stamp=$(stat -c %Y "$directory")
	[ -z "$1" ] || rm "$1"
	: >"$2"
	touch -d "@$stamp" "$directory"
}

# Packs an overlay's upper directory as an OCI layer: whiteouts are named, not device nodes.
pack() {
	local upper=$1 layer=$2 path
	find "$upper" -type c | while read -r path; do
		if [ "$(stat -c %t:%T "$path")" = 0:0 ]; then
			place "$path" "$(dirname "$path")/.wh.$(basename "$path")"
		fi
	done
	find "$upper" -type d | while read -r path; do
		if getfattr -h -n trusted.overlay.opaque "$path" >/dev/null 2>&1; then
			place "" "$path/.wh..wh..opq"
		fi
	done
	tar -C "$upper" --numeric-owner --xattrs --xattrs-include='user.*' --xattrs-include='security.capability' \
		--sort=name -cf - . | gzip -6 >"$layer.part"
	mv "$layer.part" "$layer"
}

# layer DIR NUMBER COMMAND: runs COMMAND in a root of all layers so far and packs what it changed.
layer() {
	local image=$1 number=$2 lowers="" i
	[ ! -e "$image/$number.tgz" ] || return 0
	for ((i = number - 1; i >= 0; i--)); do lowers+=${lowers:+:}$image/tree$i; done
	mkdir -p "$image/tree$number" "$image/work" "$image/root"
	mount -t overlay overlay -o "lowerdir=$lowers,upperdir=$image/tree$number,workdir=$image/work" "$image/root"
	mount -t proc proc "$image/root/proc"
	cp /etc/resolv.conf "$image/root/etc/resolv.conf" 2>/dev/null || true
	DEBIAN_FRONTEND=noninteractive chroot "$image/root" sh -ec "$3" >"$image/log$number" 2>&1 ||
		{ umount "$image/root/proc" "$image/root"; tail "$image/log$number"; exit 1; }
	umount "$image/root/proc" "$image/root"
	cp -a "$image/tree$number" "$image/packed"
	pack "$image/packed" "$image/$number.tgz"
	rm -rf "$image/packed" "$image/work"
}

base() {
	local image=$1
	[ ! -e "$image/0.tgz" ] || return 0
	mkdir -p "$image"
	mmdebstrap --variant=minbase --quiet "$release" "$image/tree0" "deb $mirror $release main"
	rm -rf "$image/tree0/dev"/*
	cp -a "$image/tree0" "$image/packed"
	pack "$image/packed" "$image/0.tgz"
	rm -rf "$image/packed"
}

install='apt-get update -q; apt-get install -qy --no-install-recommends'
medium=$dir/medium
base "$medium"
mkdir -p "$dir/small"
ln -f "$medium/0.tgz" "$dir/small/0.tgz"
layer "$medium" 1 "$install build-essential"
layer "$medium" 2 "$install python3-numpy"
layer "$medium" 3 "apt-get clean; rm -rf /var/lib/apt/lists/* /usr/share/doc /usr/share/locale /usr/share/man; chmod -R g-w /usr/lib/python3"

large=$dir/large
mkdir -p "$large"
for i in 0 1 2; do
	[ -e "$large/$i.tgz" ] || { ln -f "$medium/$i.tgz" "$large/$i.tgz"; [ -e "$large/tree$i" ] || cp -a "$medium/tree$i" "$large/tree$i"; }
done
layer "$large" 3 "$install python3-scipy python3-pandas python3-matplotlib"
layer "$large" 4 "$install clang llvm-dev"
layer "$large" 5 "$install golang-go openjdk-21-jdk-headless"
layer "$large" 6 "$install rustc libboost-all-dev"
layer "$large" 7 "apt-get clean; rm -rf /var/lib/apt/lists/* /usr/share/doc"
# Only needed to make further layers.
rm -rf "$medium"/tree* "$large"/tree* "$medium/root" "$large/root"
