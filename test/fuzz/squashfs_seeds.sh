#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# squashfs_seeds.sh DIRECTORY: writes small squashfs images of every kind as seeds for squashfs_fuzz.cc.
set -eu
out=$1
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
mkdir -p "$out" "$tree/dir/deep/er" "$tree/empty"
echo hello >"$tree/file"
ln "$tree/file" "$tree/dir/hard"
ln -s file "$tree/link"
ln -s "dir/deep" "$tree/dirlink"
mkfifo "$tree/pipe"
head -c 9000 /dev/zero | tr '\0' y >"$tree/dir/blocks"
# The same bytes each time: what fuzzers make of these images is to be the same.
awk 'BEGIN { srand(1); for (i = 0; i < 5000; i++) printf "%c", 1 + int(rand() * 126) }' >"$tree/dir/noise"
truncate -s 40000 "$tree/hole"
for i in $(seq 1 40); do echo "$i" >"$tree/dir/deep/number-$i"; done
# Not every file system that tests run on has them; root can make the others.
setfattr -n user.one -v 1 "$tree/file" 2>/dev/null || true
setfattr -n user.two -v 22222222222222222222 "$tree/dir" 2>/dev/null || true
setfattr -n user.two -v 22222222222222222222 "$tree/empty" 2>/dev/null || true
mknod "$tree/null" c 1 3 2>/dev/null || true

make_image() {
	name=$1
	shift
	mksquashfs "$tree" "$out/$name" -noappend -quiet -no-progress -nopad -processors 1 \
		-mkfs-time 0 -all-time 0 -force-uid 0 -force-gid 0 "$@" >/dev/null
}
for compressor in gzip lz4 lzo zstd; do
	make_image "$compressor" -comp "$compressor" -b 4096
	make_image "$compressor-128k" -comp "$compressor" -no-fragments
done
# Metadata as it is: a fuzzer cannot repair what is compressed.
make_image plain -comp zstd -b 4096 -noI -noF -noX -noId -noD
make_image plain-gzip -comp gzip -b 4096 -noI -noF -noX -noId
make_image plain-tails -comp lz4 -b 4096 -noI -noF -noX -noId -always-use-fragments
make_image plain-lzo -comp lzo -b 4096 -noI -noX -noId
make_image plain-noexport -comp zstd -b 4096 -noI -noF -noX -noId -no-exports -no-xattrs
