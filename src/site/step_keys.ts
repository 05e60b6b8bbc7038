// SPDX-License-Identifier: Apache-2.0
/** Settings of steps: their engine, what their containers have, and defaults of what users may ask for. */
import type { KeyRow } from './key_row.js'

const PATHS = { pattern: /^\//, grammar: 'absolute paths' }

export const STEP_KEYS = {
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
} as const satisfies Record<string, KeyRow>
