// SPDX-License-Identifier: Apache-2.0
/** Every key of berth.conf and of the plugstack line: docs/config.md is generated from this table. */

/** How a value is written; site.ts turns it into the type beside it (ValueOf). */
export type KeyType =
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
    help: 'socket, pid files and leases of running steps; another one is told to steps on the host as BERTH_RUNTIME_DIR, by which `berth ps` finds the worker',
  },
  store: { type: 'path', default: '/var/lib/berth', help: 'converted images of this node' },
  config: {
    type: 'path',
    default: '/etc/berth/berth.conf',
    help: 'this file; conf.d/*.conf beside it follow in order',
  },
  importer_user: {
    type: 'name',
    default: '',
    help: 'account that talks to registries; empty: berth if it exists, else nobody',
  },
  idle_exit: {
    type: 'seconds',
    default: '600',
    help: 'the worker ends after this long without steps; 0: never',
  },
  log_level: {
    type: ['error', 'warn', 'info', 'debug'],
    default: 'info',
    help: "detail of the worker's log",
  },

  tag_ttl: { type: 'seconds', default: '2', help: 'a tag resolved this recently is not asked for again' },
  registries_allow: {
    type: 'list',
    default: '',
    help: 'registries that images may come from, with their port if they have one; empty: all',
    item: HOSTS,
  },
  registries_deny: {
    type: 'list',
    default: '',
    help: 'registries that images may not come from, nor by way of a mirror; without a port: at any port',
    item: HOSTS,
  },
  registries_insecure: {
    type: 'list',
    default: '',
    help: 'hosts (with port) that may be spoken to by plain http',
    item: HOSTS,
  },
  registry_mirrors: {
    type: 'list',
    default: '',
    help: 'HOST=MIRROR[/PREFIX]: ask MIRROR first for images of HOST, below PREFIX there',
  },
  registry_proxy: {
    type: 'text',
    default: '',
    help: "http://[USER:PASSWORD@]HOST[:PORT], or https: registries other than this machine are asked through it; empty: http_proxy and https_proxy of the worker's environment",
  },
  registry_no_proxy: {
    type: 'list',
    default: '',
    help: "HOST[:PORT], .DOMAIN, ADDRESS/BITS or *: asked without a proxy; empty: no_proxy of the worker's environment",
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
    help: 'uncompressed size beyond which an image is refused',
  },
  image_entries_max: {
    type: 'count',
    default: '20000000',
    help: 'number of files beyond which an image is refused',
  },
  reuse: {
    type: ['user', 'all', 'off'],
    default: 'user',
    help: 'whose stored images lend layers to a new one: those of its user and of root, all, none',
  },
  image_owners: {
    type: ['root', 'keep'],
    default: 'root',
    help: 'root: all files of an image appear as those of the user who runs it; keep: only those of its root',
  },
  sif_signatures: {
    type: ['ignore', 'check', 'require'],
    default: 'ignore',
    help: 'signatures of SIF files: check refuses those that do not hold, require also files without',
  },
  sif_keys: {
    type: 'path',
    default: '/etc/apptainer/global-pgp-public',
    help: "OpenPGP public keys, armored or not, whose signatures hold; by default Apptainer's own of this node",
  },
  store_quota: {
    type: 'space',
    default: '0',
    help: 'size of the store, or share of its file system; 0: no limit of its own',
  },
  store_free_floor: {
    type: 'space',
    default: '5%',
    help: 'free space that the store leaves on its file system',
  },
  shared_store: {
    type: 'text',
    default: '',
    help: 'directory on a file system of all nodes, where images are converted once for all; empty: none',
  },
  shared_store_user: {
    type: 'name',
    default: '',
    help: 'account that alone writes there, where root may not (NFS with root_squash); empty: root',
  },
  shared_use: {
    type: ['auto', 'mount', 'copy'],
    default: 'auto',
    help: 'images of the shared store are mounted from there or copied; auto: mounted on parallel file systems',
  },
  shared_copy_size: {
    type: 'size',
    default: '64M',
    help: 'with shared_use=auto, images up to this size are copied everywhere',
  },

  engine: { type: 'name', default: 'native', help: 'engine of a step that names none' },
  engines: { type: 'list', default: '', help: 'engines that users may name; empty: all that this node has' },
  engine_partitions: {
    type: 'list',
    default: '',
    help: 'PARTITION=ENGINE[,...]: engine of a step of that partition that names none',
    item: { pattern: /^[^=\s]+=[\w.-]+$/, grammar: 'PARTITION=ENGINE' },
  },
  engine_path: {
    type: 'text',
    default: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    help: 'DIR[:DIR]: where engines and what they start are looked for',
  },
  docker_socket: {
    type: 'path',
    default: '/run/docker.sock',
    help: 'where dockerd listens, for the engine docker; the worker alone speaks to it',
  },
  engine_args: {
    type: ['deny', 'allow'],
    default: 'deny',
    help: 'whether users may give --container-engine-args',
  },
  container_writable: {
    type: 'boolean',
    default: 'no',
    help: 'root file system writable when the user says nothing',
  },
  container_writable_size: {
    type: 'space',
    default: '50%',
    help: 'size limit of the writable layer in memory',
  },
  container_writable_on: {
    type: ['memory', 'disk'],
    default: 'memory',
    help: 'where a step without a name writes when the user says nothing; disk: a file in the store, which needs mkfs.ext4 (e2fsprogs) in engine_path',
  },
  container_writable_disk_size: {
    type: 'space',
    default: '10G',
    help: "size of that file, reserved while the step runs, or share of the store's file system",
  },
  container_remap_root: {
    type: 'boolean',
    default: 'no',
    help: 'user appears as root when the user says nothing',
  },
  container_mount_home: {
    type: 'boolean',
    default: 'no',
    help: 'home directory mounted when the user says nothing',
  },
  container_entrypoint: {
    type: 'boolean',
    default: 'no',
    help: "image's entrypoint run when the user says nothing",
  },
  container_scope: {
    type: ['global', 'job'],
    default: 'global',
    help: 'life of a named container, as in pyxis',
  },
  progress: {
    type: ['auto', 'plain', 'always', 'none'],
    default: 'auto',
    help: 'what a waiting task shows of an import; always: two lines for a stored image too, as pyxis prints; BERTH_PROGRESS of a job wins',
  },
  batch_scope: {
    type: ['batch', 'step'],
    default: 'batch',
    help: 'whether a batch script runs in the image or only its steps do',
  },
  container_mpi: {
    type: ['auto', 'host', 'image', 'off'],
    default: 'auto',
    help: "the node's MPI in place of the image's when the user says nothing: auto where it fits, host or the step fails, image never, off nor its process manager and fabric",
  },
  mpi_host: {
    type: 'list',
    default: '',
    help: "directories of the node's MPI libraries (MPICH: the one with libmpi.so.12), which then take the place of an image's Open MPI too; empty: those in its ld.so.cache",
    item: PATHS,
  },
  mounts: {
    type: 'text',
    default: '',
    help: 'SRC:DST[:FLAGS][,...] made in every container; USER, UID and JOB are known as variables',
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
    help: 'directories of CDI files (device descriptions of vendors), the later over the earlier',
    item: PATHS,
  },
  cdi_hooks: {
    type: ['refuse', 'ignore'],
    default: 'refuse',
    help: 'a hook of a CDI device or of a profile that is not run fails the step, or is left out',
  },
  slurm_conf: {
    type: 'text',
    default: '',
    help: 'slurm.conf, for TmpFS and the mpi.conf beside it, where PMIx has its files; empty: where packages put it',
  },
  hooks_allow: {
    type: 'list',
    default: '',
    help: "OCI hooks that are run, as the step's user: PATH, PATH=sha256:HEX, or DIRECTORY/ for each in it",
  },
  container_gpu: {
    type: ['auto', 'off'],
    default: 'auto',
    help: "auto: a step's GPUs come with the libraries of the host's driver; off: only where a device is named",
  },
  driver_root: {
    type: 'path',
    default: '/',
    help: "where the files of the GPU driver are, e.g. of a driver container, as NVIDIA's --driver-root",
  },
  container_fabric: {
    type: ['auto', 'off'],
    default: 'auto',
    help: 'auto: huge pages and the state of the fabric are made visible',
  },
  podman_hpc_modules: {
    type: 'text',
    default: '',
    help: 'directory of podman-hpc modules (*.yaml), which become profiles of their names',
  },

  edf_system_search_path: {
    type: 'text',
    default: '',
    help: "DIR[:DIR]: environment files of the site, looked for after the user's",
  },
  importer: {
    type: 'text',
    default: '',
    help: "program with pyxis' importer interface that brings images of registries, run as the user; empty: the store does",
  },

  node: {
    type: 'text',
    default: '',
    help: 'Node.js that runs the worker (plugstack line only); empty: the one that built berth',
  },
  sbatch: {
    type: 'boolean',
    default: 'yes',
    help: 'sbatch and salloc have the options too (plugstack line only)',
  },
  shifter_flags: {
    type: ['no', 'short', 'long'],
    default: 'no',
    help: "Shifter's options as --image, --volume, --module (short) or --shifter.image, ... (long; plugstack line only)",
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
