#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Builds a program with native/core/squash: build.sh DIR SOURCE.cc [compiler flags, e.g. -fsanitize=address]
# SOURCE is named from test/; in the environment MORE are other sources, LINK flags for the linker alone.
# Objects stay in DIR and are rebuilt when a source or header is newer or the flags differ. With BUILT in the environment,
# the folder's objects are those of that directory, which node-gyp's makefile keeps up to date.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$here/../../..
core=$root/native/core/squash
dir=$1
main=$root/test/$2
shift 2
isal=
if [ -z "${BERTH_ZLIB_ONLY:-}" ] && [ -e /usr/include/isa-l/igzip_lib.h ]; then
	isal=-lisal
	set -- -DBERTH_HAVE_ISAL "$@"
fi
mkdir -p "$dir"
exec 9>"$dir/lock"
flock 9
printf '%s\n' "$*" | cmp -s - "$dir/flags" || rm -f "$dir"/*.o
printf '%s\n' "$*" >"$dir/flags"
newest=$(ls -t "$core"/* "$core"/../result.hh "$core"/../elf/*.hh "$root"/test/native/*/*.hh | head -1)
node "$root/native/rooms.mjs" >/dev/null
objects=
rooms=$(ls "$root"/build/rooms/squash-*.cc)
sources="$rooms $main"
if [ -n "${BUILT:-}" ]; then
	for room in $rooms; do
		objects="$objects $BUILT/$(basename "$room" .cc).o"
	done
	if ls $objects >/dev/null 2>&1; then
		# LINK and CXX are words of that makefile too.
		env -u LINK -u CXX flock "$root/package.json" make -s -j2 -C "$root/build" BUILDTYPE=Release >/dev/null
	else
		(cd "$root" && npm run --silent build:addon >/dev/null)
	fi
	sources=$main
fi
for source in ${MORE:-}; do
	sources="$sources $root/test/$source"
done
stale=
for source in $sources; do
	object=$dir/$(basename "$source" .cc).o
	objects="$objects $object"
	if [ ! -e "$object" ] || [ "$source" -nt "$object" ] || [ "$newest" -nt "$object" ]; then
		stale="$stale $source"
	fi
done
export CXX=${CXX:-g++} DIR="$dir" FLAGS="-std=gnu++20 -O2 -g -Wall -Wextra -Werror -I$root/native -I$root/test $*"
[ -z "$stale" ] || printf '%s\n' $stale |
	xargs -P "$(nproc)" -I{} sh -c '$CXX $FLAGS -c {} -o "$DIR/$(basename {} .cc).o"'
program=$dir/$(basename "$main" .cc)
$CXX "$@" ${LINK:-} $objects -o "$program.$$" $isal -lzstd -llz4 -lz -lpthread
mv "$program.$$" "$program"
