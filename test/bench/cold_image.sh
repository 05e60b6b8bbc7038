#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Makes DIR/cold, an OCI layout of four gzip layers, from those of DIR/large without package archives and lists: 1.3 GB
# uncompressed, as a user's image with compilers is. What exists is kept. Usage: cold_image.sh DIR. Needs umoci.
set -euo pipefail
dir=$1
[ ! -e "$dir/cold" ] || exit 0
work=$(mktemp -d -p "$dir")
trap 'rm -rf "$work"' EXIT
umoci init --layout "$work/layout"
umoci new --image "$work/layout:latest"
for layer in 0 1 2 4; do
	gzip -dc "$dir/large/$layer.tgz" |
		tar --delete --wildcards './var/cache/apt/*' './var/lib/apt/lists/*' >"$work/tar" 2>/dev/null || true
	[ "$(tar -tf "$work/tar" | wc -l)" -gt 100 ]
	umoci raw add-layer --image "$work/layout:latest" "$work/tar"
done
umoci gc --layout "$work/layout"
mv "$work/layout" "$dir/cold"
