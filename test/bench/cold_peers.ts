// SPDX-License-Identifier: Apache-2.0
/**
 * Ways from a registry to a first `true` in the image, as shell commands. $urls and $blobs are its layers in the
 * registry and as files, lowest first; $work is an empty directory, $plain and $tls name the image.
 */
import { spawnSync } from 'node:child_process'

export interface Peer {
  name: string
  command: string
  /** Takes a minute or more: measured in the first round only, and only when the bench is asked for by name. */
  slow?: true
  /** A program that Debian packages and that this machine may lack. */
  tool?: string
}

/** enroot fetches five at a time, most others three. */
const FETCH = 'printf "%s\\n" $urls | xargs -P3 -I{} '
const LAYERS = `cd $work; ${FETCH} sh -c 'curl -sfO {}; echo "$(basename {} | cut -d: -f2)  $(basename {})" | sha256sum -c --quiet'`
/** Each layer into a directory of its own, two at a time, then one view of all: what `enroot import` does. */
const STACK = `${LAYERS}
  i=0; for url in $urls; do i=$((i+1)); mkdir $i; echo "$i $(basename $url)"; done |
    xargs -P2 -L1 sh -c 'tar --force-local --numeric-owner -C $0 -xzf $1; rm $1'
  mkdir empty all; lower=empty; i=0; for url in $urls; do i=$((i+1)); lower=$i:$lower; done
  mount -t overlay overlay -o ro,lowerdir=$lower all; trap "umount $work/all" EXIT`
const TREE = `${LAYERS}; mkdir all; for url in $urls; do tar --force-local --numeric-owner -C all -xzf $(basename $url); done`
const QUIET = '-noappend -no-progress -quiet'

const PEERS: Peer[] = [
  { name: 'download alone', command: `${FETCH} curl -sf -o /dev/null {}` },
  { name: 'download, SHA-256', command: `${FETCH} sh -c 'curl -sf {} | sha256sum >/dev/null'` },
  {
    name: 'gunzip alone, 2 streams',
    command: 'printf "%s\\n" $blobs | xargs -P2 -I{} sh -c "gzip -dc {} >/dev/null"',
  },
  {
    name: 'pyxis: unpack, mksquashfs zstd-1, unsquashfs',
    command: `${STACK}; mksquashfs all image ${QUIET} -comp zstd -Xcompression-level 1
      unsquashfs -q -n -d root image; chroot root /bin/true`,
  },
  {
    // runc, since crun refuses a node with both versions of cgroups.
    name: 'podman pull, run',
    tool: 'podman',
    command: `trap "umount $work/root/overlay 2>/dev/null || true" EXIT; podman --root $work/root --runroot $work/run --storage-driver overlay --runtime runc --cgroup-manager cgroupfs run \
      --rm -q --tls-verify=false --network=host --ulimit nofile=1024:1024 --ulimit nproc=1000:1000 $plain /bin/true`,
  },
  {
    name: 'enroot import, start: mksquashfs lzo',
    slow: true,
    command: `${STACK}; mksquashfs all image ${QUIET} -comp lzo -noD
      mkdir root; squashfuse image root; trap "umount $work/root $work/all" EXIT; chroot root /bin/true`,
  },
  {
    name: 'apptainer: unpack, mksquashfs gzip-9',
    slow: true,
    command: `${TREE}; mksquashfs all image ${QUIET}
      mkdir root; squashfuse image root; trap "umount $work/root" EXIT; chroot root /bin/true`,
  },
  {
    name: 'ch-image pull, ch-convert, ch-run',
    slow: true,
    tool: 'ch-image',
    command: `export USER=root CH_IMAGE_STORAGE=$work/storage; ch-image --tls-no-verify pull $tls cold
      ch-convert -i ch-image -o squash cold $work/image.sqfs; mkdir root; squashfuse image.sqfs root
      trap "umount $work/root" EXIT; ch-run root -- /bin/true`,
  },
]

/** Those that this machine can run; the others are named with what they need. */
export function findPeers(withSlow: boolean): Peer[] {
  const lacks = (tool: string): boolean =>
    spawnSync('sh', ['-c', `command -v ${tool}`], { stdio: 'ignore' }).status !== 0
  return PEERS.filter(({ name, slow, tool }) => {
    if (slow === true && !withSlow) return false
    if (tool === undefined || !lacks(tool)) return true
    process.stdout.write(`${name}: ${tool} is not installed\n`)
    return false
  })
}
