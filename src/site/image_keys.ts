// SPDX-License-Identifier: Apache-2.0
/** Settings of images: where they come from, how they are converted, where they are kept. */
import type { KeyRow } from './key_row.js'

const HOSTS = { pattern: /^(\[[\da-f:]+\]|[\w.-]+)(:\d+)?$/i, grammar: 'HOST[:PORT]' }

export const IMAGE_KEYS = {
  tag_ttl: {
    type: 'seconds',
    default: '2',
    help: 'a tag that was resolved within this time is not resolved again',
  },
  registries_allow: {
    type: 'list',
    default: '',
    help: 'registries that images may come from, with port if they use one; empty: all',
    item: HOSTS,
  },
  registries_deny: {
    type: 'list',
    default: '',
    help: 'registries that images may not come from, also not through a mirror; without a port: on any port',
    item: HOSTS,
  },
  registries_insecure: {
    type: 'list',
    default: '',
    help: 'hosts (with port) that berth may contact by plain http',
    item: HOSTS,
  },
  registry_mirrors: {
    type: 'list',
    default: '',
    help: 'HOST=MIRROR[/PREFIX]: for images of HOST, ask MIRROR first, below PREFIX',
  },
  registry_proxy: {
    type: 'text',
    default: '',
    help: "proxy for registries, except those on this machine: http://[USER:PASSWORD@]HOST[:PORT], or https; empty: http_proxy and https_proxy of the worker's environment",
  },
  registry_no_proxy: {
    type: 'list',
    default: '',
    help: "hosts that are contacted without a proxy: HOST[:PORT], .DOMAIN, ADDRESS/BITS or *; empty: no_proxy of the worker's environment",
  },

  threads: {
    type: 'count',
    default: '0',
    max: 1024,
    help: 'threads of one conversion; 0: as many as the node can spare',
  },
  compressor: {
    type: ['zstd', 'lz4', 'gzip', 'none'],
    default: 'zstd',
    help: 'compression of converted images',
  },
  level: { type: 'count', default: '1', min: 1, max: 22, help: 'compression level' },
  block_size: {
    type: 'size',
    default: '128K',
    min: 4096,
    max: 1048576,
    powerOfTwo: true,
    help: 'squashfs block size, a power of two from 4K to 1M',
  },
  image_bytes_max: {
    type: 'size',
    default: '200G',
    help: 'images with a larger uncompressed size are refused',
  },
  image_entries_max: {
    type: 'count',
    default: '20000000',
    help: 'images with more files are refused',
  },
  reuse: {
    type: ['user', 'all', 'off'],
    default: 'user',
    help: 'which stored images lend layers to a new one; user: those of its user and of root, all: all, off: none',
  },
  image_owners: {
    type: ['root', 'keep'],
    default: 'root',
    help: 'root: all files of an image appear as owned by the user who runs it; keep: only those that root owns in the image',
  },
  sif_signatures: {
    type: ['ignore', 'check', 'require'],
    default: 'ignore',
    help: 'check refuses SIF files whose signature does not hold, require also those without a signature, ignore none',
  },
  sif_keys: {
    type: 'path',
    default: '/etc/apptainer/global-pgp-public',
    help: "file of OpenPGP public keys, armored or not, whose signatures are accepted; the default is Apptainer's own keyring of this node",
  },
  store_quota: {
    type: 'space',
    default: '0',
    help: 'maximum size of the store, or its share of the file system; 0: no limit',
  },
  store_free_floor: {
    type: 'space',
    default: '5%',
    help: 'free space that the store leaves on its file system',
  },
  shared_store: {
    type: 'text',
    default: '',
    help: 'directory on a file system of all nodes, in which images are converted once for all nodes; empty: none',
  },
  shared_store_user: {
    type: 'name',
    default: '',
    help: 'the only account that writes to the shared store, for file systems on which root may not (NFS with root_squash); empty: root',
  },
  shared_use: {
    type: ['auto', 'mount', 'copy'],
    default: 'auto',
    help: 'whether images of the shared store are mounted from there or copied; auto: mounted on parallel file systems',
  },
  shared_copy_size: {
    type: 'size',
    default: '64M',
    help: 'with shared_use=auto, images up to this size are always copied',
  },
} as const satisfies Record<string, KeyRow>
