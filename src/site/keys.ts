// SPDX-License-Identifier: Apache-2.0
/** Every key of berth.conf and of the plugstack line: docs/config.md is generated from this table. */

/** How a value is written; site.ts turns it into the type beside it (ValueOf). */
type KeyType =
  | 'path'
  | 'name'
  | 'boolean'
  | 'count'
  | 'seconds'
  | 'size'
  | 'space'
  | 'list'
  | 'text'
  | readonly string[]

export interface KeyRow {
  type: KeyType
  /** As it would be written in the file. */
  default: string
  help: string
  /** Inclusive bounds of a count, size or duration. */
  min?: number
  max?: number
  powerOfTwo?: true
  /** Of each item of a list; what matches nothing would forbid nothing. */
  item?: { pattern: RegExp; grammar: string }
}

const HOSTS = { pattern: /^(\[[\da-f:]+\]|[\w.-]+)(:\d+)?$/i, grammar: 'HOST[:PORT]' }
const PATHS = { pattern: /^\//, grammar: 'absolute paths' }

export const KEYS = {
  runtime_dir: {
    type: 'path',
    default: '/run/berth',
    help: 'directory for the socket, pid files and leases of running steps; if it is not the default, steps on the host get it as BERTH_RUNTIME_DIR, so that `berth ps` finds the worker',
  },
  store: { type: 'path', default: '/var/lib/berth', help: 'converted images of this node' },
  config: {
    type: 'path',
    default: '/etc/berth/berth.conf',
    help: 'the configuration file; conf.d/*.conf beside it are read after it, in order of name',
  },
  importer_user: {
    type: 'name',
    default: '',
    help: 'account that talks to registries; empty: berth if it exists, otherwise nobody',
  },
  idle_exit: {
    type: 'seconds',
    default: '600',
    help: 'the worker exits after this time without steps; 0: never',
  },
  log_level: {
    type: ['error', 'warn', 'info', 'debug'],
    default: 'info',
    help: "level of detail of the worker's log",
  },

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

  engine: { type: 'name', default: 'native', help: 'engine of a step that names none' },
  engines: { type: 'list', default: '', help: 'engines that users may name; empty: all that this node has' },
  engine_partitions: {
    type: 'list',
    default: '',
    help: 'PARTITION=ENGINE[,...]: engine of steps of that partition that name none',
    item: { pattern: /^[^=\s]+=[\w.-]+$/, grammar: 'PARTITION=ENGINE' },
  },
  engine_path: {
    type: 'text',
    default: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    help: 'DIR[:DIR]: search path for engines and the programs that they start',
  },
  docker_socket: {
    type: 'path',
    default: '/run/docker.sock',
    help: 'socket of dockerd, for the engine docker; only the worker connects to it',
  },
  engine_args: {
    type: ['deny', 'allow'],
    default: 'deny',
    help: 'whether users may give --container-engine-args',
  },
  container_writable: {
    type: 'boolean',
    default: 'no',
    help: 'whether the root file system is writable by default',
  },
  container_writable_size: {
    type: 'space',
    default: '50%',
    help: 'size limit of the writable layer in memory',
  },
  container_writable_on: {
    type: ['memory', 'disk'],
    default: 'memory',
    help: 'where a step without a named container writes by default; disk: to a file in the store, which needs mkfs.ext4 (e2fsprogs) in engine_path',
  },
  container_writable_disk_size: {
    type: 'space',
    default: '10G',
    help: "size of that file, which is reserved while the step runs, or its share of the store's file system",
  },
  container_remap_root: {
    type: 'boolean',
    default: 'no',
    help: 'whether the user appears as root by default',
  },
  container_mount_home: {
    type: 'boolean',
    default: 'no',
    help: 'whether the home directory is mounted by default',
  },
  container_entrypoint: {
    type: 'boolean',
    default: 'no',
    help: "whether the image's entrypoint is run by default",
  },
  container_scope: {
    type: ['global', 'job'],
    default: 'global',
    help: 'lifetime of a named container, as in pyxis; job: it ends with its job',
  },
  progress: {
    type: ['auto', 'plain', 'always', 'none'],
    default: 'auto',
    help: 'what a waiting task prints during an import; always: two lines for a stored image too, as in pyxis; BERTH_PROGRESS of a job overrides it',
  },
  batch_scope: {
    type: ['batch', 'step'],
    default: 'batch',
    help: 'whether a batch script runs in the image or only its steps do',
  },
  container_mpi: {
    type: ['auto', 'host', 'image', 'off'],
    default: 'auto',
    help: "default for the node's MPI in place of the image's; auto: if it fits, host: always, otherwise the step fails, image: never, off: never, and without the node's process manager and fabric",
  },
  mpi_host: {
    type: 'list',
    default: '',
    help: "directories of the node's MPI libraries (MPICH: the one with libmpi.so.12); an Open MPI there also replaces an image's Open MPI; empty: the MPI libraries in the node's ld.so.cache",
    item: PATHS,
  },
  mounts: {
    type: 'text',
    default: '',
    help: 'SRC:DST[:FLAGS][,...] mounted in every container; the variables USER, UID and JOB can be used',
  },
  mounts_deny: {
    type: 'list',
    default: '',
    help: 'container directories that users may not mount over',
    item: PATHS,
  },
  env_set: {
    type: 'list',
    default: '',
    help: 'NAME=VALUE set in every container, over image and host',
    item: { pattern: /^[^=\s]+=/, grammar: 'NAME=VALUE' },
  },
  env_deny: {
    type: 'list',
    default: '',
    help: 'names of host variables that no container sees',
    item: { pattern: /^[^=\s]+$/, grammar: 'names' },
  },
  cdi_dirs: {
    type: 'list',
    default: '/etc/cdi,/run/cdi',
    help: 'directories of CDI files (device descriptions of vendors); later ones override earlier ones',
    item: PATHS,
  },
  cdi_hooks: {
    type: ['refuse', 'ignore'],
    default: 'refuse',
    help: 'what happens if a hook of a CDI device or of a profile is not allowed; refuse: the step fails, ignore: the hook is left out',
  },
  slurm_conf: {
    type: 'text',
    default: '',
    help: 'path of slurm.conf, from which berth reads TmpFS, and beside which it reads mpi.conf, for the directories of PMIx; empty: the path that packages use',
  },
  hooks_allow: {
    type: 'list',
    default: '',
    help: "OCI hooks that are run, as the step's user: PATH, PATH=sha256:HEX, or DIRECTORY/ for each program in it",
  },
  container_gpu: {
    type: ['auto', 'off'],
    default: 'auto',
    help: "auto: a step's GPUs come with the libraries of the host's driver; off: only if a device is named",
  },
  driver_root: {
    type: 'path',
    default: '/',
    help: "directory of the files of the GPU driver, for example of a driver container, as NVIDIA's --driver-root",
  },
  container_fabric: {
    type: ['auto', 'off'],
    default: 'auto',
    help: 'auto: huge pages and the state of the fabric are visible in the container',
  },
  podman_hpc_modules: {
    type: 'text',
    default: '',
    help: 'directory of podman-hpc modules (*.yaml); each becomes a profile of its name',
  },

  edf_system_search_path: {
    type: 'text',
    default: '',
    help: "DIR[:DIR]: environment files of the site, searched after the user's",
  },
  importer: {
    type: 'text',
    default: '',
    help: "program with pyxis' importer interface that fetches images of registries, run as the user; empty: berth fetches them itself",
  },

  node: {
    type: 'text',
    default: '',
    help: 'Node.js that runs the worker (plugstack line only); empty: the one that built berth',
  },
  sbatch: {
    type: 'boolean',
    default: 'yes',
    help: 'whether sbatch and salloc have the options too (plugstack line only)',
  },
  shifter_flags: {
    type: ['no', 'short', 'long'],
    default: 'no',
    help: "Shifter's options; short: as --image, --volume, --module, long: as --shifter.image, ... (plugstack line only)",
  },
  gsi_flags: {
    type: 'boolean',
    default: 'no',
    help: "options and variables of GSI's slurm-singularity-exec (plugstack line only)",
  },
} as const satisfies Record<string, KeyRow>

export type Key = keyof typeof KEYS

/** Plugstack arguments of pyxis 0.24, so that its line can be kept. */
export const PYXIS_KEYS: Readonly<Record<string, { as?: Key; note: string }>> = {
  execute_entrypoint: { as: 'container_entrypoint', note: 'same as container_entrypoint' },
  sbatch_support: { as: 'sbatch', note: 'same as sbatch' },
  runtime_path: { note: 'has no meaning here: see runtime_dir' },
  use_enroot_load: { note: 'has no meaning here: images are never unpacked' },
  use_squashfuse: { note: 'has no meaning here: images are mounted by the kernel' },
}

export function keyRow(key: Key): KeyRow {
  return KEYS[key]
}

export function isKey(name: string): name is Key {
  return Object.hasOwn(KEYS, name)
}
