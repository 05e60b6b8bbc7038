#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# tree.sh DIRECTORY: makes a tree with one of everything that squashfs can hold. Needs root (devices, owners).
set -eu
mkdir -p "$1"
cd "$1"

repeat() { head -c "$1" /dev/zero | tr '\0' "$2"; }

: >empty
echo small >small
cp small small-twin
head -c 4096 /dev/urandom >four-k
repeat 131072 b >one-block
head -c 131073 /dev/urandom >one-block-and-a-byte
{ repeat 900000 z; head -c 600000 /dev/urandom; seq 1 200000; } >big
cp big big-twin
ln big big-hard
mkdir empty-dir many deep
ln big many/big-hard
ln -s small link
ln -P link link-hard
ln -s /etc/passwd absolute
ln -s "$(repeat 4095 t)" longest-target
ln -s loop-b loop-a
ln -s loop-a loop-b
ln -s ../../../../small many/upwards
ln -s many/.. back
mkfifo pipe
ln pipe pipe-hard
mknod character c 5 1
mknod block b 259 70000
perl -MIO::Socket::UNIX -e 'IO::Socket::UNIX->new(Local => "socket", Listen => 1) or die'
for i in $(seq 1 3000); do echo "$i"; done | (cd many && split -l 1 -a 4 - a-name-that-fills-metadata-blocks-)
mkdir -p "deep/$(seq -s/ 1 60)"
echo deep >deep/1/2/3/file
touch "$(printf 'not-utf8-\377\376')" "$(printf 'new\nline')" "$(repeat 255 n)" 'sp ace' 'ümlaut' -- '-dash'
truncate -s 5M sparse
echo tail >>sparse
dd if=one-block-and-a-byte of=sparse bs=4096 seek=200 conv=notrunc status=none
truncate -s 1M hole
mkdir etc
echo 'root:x:0:0:root:/root:/bin/sh' >etc/passwd
chown 1000:1000 small
chown 70000:4000000000 big-twin
chown -h 5:6 link
chmod 6755 four-k
chmod 1777 empty-dir
touch -d @4000000000 small
touch -d @0 four-k
setfattr -n user.a -v b small
setfattr -n user.a -v b big
setfattr -n user.long -v "$(repeat 3000 v)" many
setfattr -n user.long -v "$(repeat 3000 v)" empty-dir
setfattr -n user.other -v 1 empty-dir
setfattr -h -n trusted.t -v 1 link
setfattr -n trusted.t -v 1 character
setfattr -n security.s -v 2 pipe
