// SPDX-License-Identifier: Apache-2.0
/** All failures that users can meet; docs/errors.md is made of it. No capital in front, no stop at the end, {fields}. */
/** text: what failed on which object; hint: what to do next; exit: the launcher's code, the CLI's is 1 or 2. */
export interface ErrorRow {
  text: string
  hint: string
  exit: number
}

const FAILED = 125

export const ERRORS = {
  BERTH_EABILITY: {
    text: 'engine {engine} cannot do {flag}',
    hint: 'engines that can: {engines}',
    exit: FAILED,
  },
  BERTH_EAUTH: {
    text: 'failed to import docker image: {image}: {host} wants other credentials, or has no such image',
    hint: 'log in with `docker login {host}` or `podman login {host}` and submit again; looked in {files}',
    exit: FAILED,
  },
  BERTH_EBUNDLE: {
    text: 'bundle {path}: {problem}',
    hint: 'correct config.json; `berth oci bundle IMAGE DIR` writes one that runs here',
    exit: FAILED,
  },
  BERTH_EBUNDLEID: {
    text: 'a container {id} of yours is running already',
    hint: 'give each an id of its own: with Slurm %n.%u.%j.%s.%t',
    exit: FAILED,
  },
  BERTH_ECALL: {
    text: 'the worker does not know the request {name}',
    hint: '`berth` and the worker are of different versions: restart the worker (`systemctl restart berth-worker`)',
    exit: FAILED,
  },
  BERTH_ECANCELED: {
    text: 'import of {image} was canceled',
    hint: 'run the step again; nothing of the import is left behind',
    exit: FAILED,
  },
  BERTH_ECOMMAND: {
    text: '{command}: not found in the container, PATH={path}',
    hint: 'name a program of the image, or add its directory to PATH',
    exit: 127,
  },
  BERTH_ECONFLICT: {
    text: 'both --{option} and --{other} were specified',
    hint: 'give one of the two',
    exit: FAILED,
  },
  BERTH_EDEVICE: {
    text: 'device {device}: {problem}',
    hint: '`berth doctor gpu` in a step on that node lists what it offers and why not',
    exit: FAILED,
  },
  BERTH_EDIGEST: {
    text: 'failed to import docker image: {image}: {object} does not match its digest {digest}',
    hint: 'the registry or a proxy before it sent other bytes than were asked for: try again, then ask its operator',
    exit: FAILED,
  },
  BERTH_EEDF: {
    text: 'environment file {place}: {problem}',
    hint: 'correct the file; `berth edf NAME` shows what it says after all',
    exit: FAILED,
  },
  BERTH_EEDFNAME: {
    text: 'environment {name} is not in {places}',
    hint: 'name a file by ./FILE.toml or /FILE.toml, or put NAME.toml into a directory of EDF_PATH or into ~/.edf',
    exit: FAILED,
  },
  BERTH_EEDFRAW: {
    text: 'environment {name} was not rendered when the job was submitted',
    hint: 'submit with srun, sbatch or salloc; otherwise put the output of `berth edf --render {name}` into SLURM_BERTH_EDF',
    exit: FAILED,
  },
  BERTH_EENGINE: {
    text: 'unknown engine {engine}',
    hint: 'engines of this berth: {engines}',
    exit: FAILED,
  },
  BERTH_EENGINEMISSING: {
    text: 'engine {engine} is not on this node: {problem}',
    hint: '{install}; `berth engines` lists what this node has',
    exit: FAILED,
  },
  BERTH_EENGINESTART: {
    text: 'engine {engine} did not start: {problem}; it said: {said}',
    hint: 'start it by hand as this user on the node; --container-engine=native needs no engine of the host',
    exit: FAILED,
  },
  BERTH_EENTRYPOINT: {
    text: "the image's entrypoint has lost what it was given for the command",
    hint: 'let it end with exec "$@", and without closing other descriptors',
    exit: FAILED,
  },
  BERTH_EENVIRONMENT: {
    text: 'the environment of the job is larger than 1 MiB',
    hint: 'unset large variables, or submit with --export=NONE',
    exit: FAILED,
  },
  BERTH_EEXEC: {
    text: '{path}: {problem}',
    hint: 'use a program that this image and this node can run',
    exit: 126,
  },
  BERTH_EGPU: {
    text: 'the image needs {requirement}, this node has {found}',
    hint: 'use nodes with a newer driver or an image for an older CUDA; NVIDIA_DISABLE_REQUIRE=1 tries it all the same',
    exit: FAILED,
  },
  BERTH_EHANDOUTS: {
    text: 'user {uid} holds {count} images of this node already',
    hint: 'give them back with `berth importer release` in the steps that took them',
    exit: FAILED,
  },
  BERTH_EHETEROGENEOUS: {
    text: 'the components of a heterogeneous job cannot have different --container options',
    hint: 'give each component the same --container options, or use one srun each',
    exit: FAILED,
  },
  BERTH_EIMAGEFILE: {
    text: 'image file {path}: {problem}',
    hint: 'the path is taken from the working directory of the step and opened with your rights on the compute node',
    exit: FAILED,
  },
  BERTH_EIMAGENOTFOUND: {
    text: 'failed to import docker image: {image}: {problem}',
    hint: 'check name and tag; `berth pull {image}` tries it without a job',
    exit: FAILED,
  },
  BERTH_EIMAGEREF: {
    text: 'image reference {reference}: {problem}',
    hint: 'write [REGISTRY/]NAME[:TAG][@sha256:...], REGISTRY#NAME[:TAG], ./FILE.sqsh, oci:DIR, oci-archive:FILE or docker-archive:FILE',
    exit: FAILED,
  },
  BERTH_EIMAGEUSED: {
    text: 'image {image} is below the containers {containers}',
    hint: 'remove those first: `berth containers rm NAME`',
    exit: FAILED,
  },
  BERTH_EIMPORTER: {
    text: 'failed to import docker image: {image}: the importer {problem}',
    hint: "run the step again; if it fails again, report it with the worker's log",
    exit: FAILED,
  },
  BERTH_EINTERNAL: {
    text: 'internal error: {problem}',
    hint: "report it with the worker's log",
    exit: FAILED,
  },
  BERTH_EINUSE: {
    text: 'image {image} is in use by {count} running steps',
    hint: 'wait until they end; `berth ps` lists them',
    exit: FAILED,
  },
  BERTH_EJOB: {
    text: 'job "{job}" and step "{step}" name no step',
    hint: 'pyxis calls `berth importer` inside a step, where SLURM_JOB_ID and SLURM_STEP_ID are set',
    exit: FAILED,
  },
  BERTH_EJOIN: {
    text: 'cannot join the container: {problem}',
    hint: "see worker.log in berth's runtime_dir on the node",
    exit: FAILED,
  },
  BERTH_ELAYER: {
    text: 'failed to import docker image: {image}: layer {digest}: {problem}',
    hint: 'the layer is damaged where it is kept: pull it with another tool to confirm, then push the image again',
    exit: FAILED,
  },
  BERTH_EMANIFEST: {
    text: 'failed to import docker image: {image}: {problem}',
    hint: 'push the image again with a current tool (docker, podman, skopeo)',
    exit: FAILED,
  },
  BERTH_EMOUNT: {
    text: '--container-mounts: {target}: {problem}',
    hint: 'check source, target and flags of that mount on the compute node',
    exit: FAILED,
  },
  BERTH_EMOUNTSOURCE: {
    text: '--container-mounts: source path does not exist: {path}',
    hint: 'check the path on the compute node, as the user of the job',
    exit: FAILED,
  },
  BERTH_EMOUNTTARGET: {
    text: '--container-mounts: target {target} leaves the container: Invalid cross-device link',
    hint: "name a target below the container's root",
    exit: FAILED,
  },
  BERTH_EMPI: {
    text: "the node's MPI cannot be used in {image}: {problem}",
    hint: "`berth doctor mpi {image}` says what would have to change; --container-mpi=auto keeps the image's MPI then ({origin})",
    exit: FAILED,
  },
  BERTH_EMULTIPROG: {
    text: 'containers and --multi-prog need Slurm 23.11 or later',
    hint: 'use one srun per program, joined by `:`, or Slurm 23.11 or later',
    exit: FAILED,
  },
  BERTH_ENAMEBASE: {
    text: 'the image of the container "{name}" is gone or has changed: {image}',
    hint: 'bring the image back, or remove the container with `berth containers rm {name}`',
    exit: FAILED,
  },
  BERTH_ENAMEBUSY: {
    text: 'the container "{name}" is still used by a step that cannot be joined: processes that outlived it, or one of before the worker was restarted',
    hint: 'wait for its end, or end those processes',
    exit: FAILED,
  },
  BERTH_ENAMECOUNT: {
    text: 'user {uid} has {count} containers with names on this node already',
    hint: 'remove some with `berth containers rm NAME`',
    exit: FAILED,
  },
  BERTH_ENAMEEXISTS: {
    text: '"create" flag was passed to --container-name but the container "{name}" already exists',
    hint: 'leave out :create, choose another name, or remove it with `berth containers rm {name}`',
    exit: FAILED,
  },
  BERTH_ENAMEIDLE: {
    text: '"exec" flag was passed to --container-name but the container "{name}" is not running',
    hint: '`berth ps` lists what runs on this node',
    exit: FAILED,
  },
  BERTH_ENAMEMISSING: {
    text: 'a container with name "{name}" does not exist, and --container-image is not set',
    hint: 'name an image to start from; `berth containers` lists what is on this node',
    exit: FAILED,
  },
  BERTH_ENAMERUNNING: {
    text: 'the container "{name}" is running in {steps}',
    hint: 'wait for the end, or use --force: what runs keeps its files until it ends',
    exit: FAILED,
  },
  BERTH_ENAMESPACE: {
    text: 'the container cannot be prepared: {syscall} {path}: {problem}',
    hint: '`berth doctor` on that node shows what its kernel lacks',
    exit: FAILED,
  },
  BERTH_ENOSUCHCONTAINER: {
    text: 'no container "{name}" on this node',
    hint: '`berth containers` lists what is there',
    exit: FAILED,
  },
  BERTH_ENOSUCHIMAGE: {
    text: 'no image {image} in the store of this node',
    hint: '`berth images` lists what is there',
    exit: FAILED,
  },
  BERTH_ENOWORKER: {
    text: 'no berth worker answers at {socket}: {problem}',
    hint: 'start it with `systemctl start berth-worker.socket`, or as root with `berth images`; other places: --runtime-dir or BERTH_RUNTIME_DIR',
    exit: FAILED,
  },
  BERTH_EOPTION: {
    text: '--{option}: {problem}',
    hint: 'see `srun --help` ([berth]) or `berth check --help` for the grammar',
    exit: FAILED,
  },
  BERTH_EPLATFORM: {
    text: 'failed to import docker image: {image}: nothing for {platform} in it, only {available}',
    hint: "ask for a tag that is built for this node's processor",
    exit: FAILED,
  },
  BERTH_EPLUGSTACK: {
    text: "berth's line in plugstack.conf cannot be used: {problem}",
    hint: 'give absolute paths, see docs/config.md',
    exit: FAILED,
  },
  BERTH_EPOLICY: {
    text: '{what} is not allowed on this system',
    hint: 'the site decided so in {origin}; ask its operators',
    exit: FAILED,
  },
  BERTH_EPROFILE: {
    text: 'profile {profile}: {problem}',
    hint: '`berth check` lists the profiles of this site; {place}',
    exit: FAILED,
  },
  BERTH_EPROTOCOL: {
    text: "the worker's answer cannot be used: {problem}",
    hint: 'restart the worker: it may be of another version',
    exit: FAILED,
  },
  BERTH_EREGISTRY: {
    text: 'failed to import docker image: {image}: {host}: {problem}',
    hint: 'check from this node that {host} can be reached (name, proxy, firewall, certificate), or try again later',
    exit: FAILED,
  },
  BERTH_EROOT: {
    text: '{what} is for root only, not for user {uid}',
    hint: 'ask the operator of this node',
    exit: FAILED,
  },
  BERTH_ERUNS: {
    text: 'user {uid} runs {count} containers with `berth run` on this node already',
    hint: 'end some of them; `berth ps` lists them',
    exit: FAILED,
  },
  BERTH_ESAVE: {
    text: 'failed to save the container to {path}: {problem}',
    hint: 'a file of that name is unchanged; name a file in a directory that you may write to, or make room there, and run the step again',
    exit: FAILED,
  },
  BERTH_ESHARED: {
    text: 'the shared store {directory} cannot be used: {problem}',
    hint: '{fix}',
    exit: FAILED,
  },
  BERTH_ESHAREDIMAGE: {
    text: '{image} cannot be had from the shared store {directory}: {problem}',
    hint: 'run the step again, or `berth pull {image}`: it is imported anew',
    exit: FAILED,
  },
  BERTH_ESITE: {
    text: '{place}: {key}: {problem}',
    hint: 'correct the setting; `berth doctor` checks the whole configuration',
    exit: FAILED,
  },
  BERTH_ESITEIMPORTER: {
    text: 'failed to import docker image: {image}: the importer of this site, {program}, {problem}',
    hint: 'ask the operators: the program is theirs, named in {origin}',
    exit: FAILED,
  },
  BERTH_ESPACE: {
    text: 'no space left in {path}: {bytes} more bytes needed',
    hint: 'free space there, remove images with `berth rm`, or lower the quota so that old ones go earlier',
    exit: FAILED,
  },
  BERTH_ESQUASHFS: {
    text: 'squashfs file {path}: {problem}',
    hint: 'make the file anew, or use the image from a registry, oci: or an archive instead',
    exit: FAILED,
  },
  BERTH_ESTEP: {
    text: 'process {pid} belongs to no step that was registered',
    hint: "run the step again; if that repeats, the worker's log on that node says why",
    exit: FAILED,
  },
  BERTH_ETASK: {
    text: 'process {pid} of user {uid} is no task of a container step',
    hint: 'the launcher is started by Slurm or `berth run`, never by hand; `berth doctor` on that node checks that Slurm loads berth',
    exit: FAILED,
  },
  BERTH_ETASKS: {
    text: '{step} announced more tasks than a node can have',
    hint: 'start fewer tasks per node',
    exit: FAILED,
  },
  BERTH_ETOOBIG: {
    text: 'failed to import docker image: {image}: {problem}',
    hint: "the limit is the site's; ask for a larger one or use a smaller image",
    exit: FAILED,
  },
  BERTH_EUNSHARED: {
    text: '--container-unshare={namespace} requested but the container is not in a separate {words}',
    hint: 'give the flag to the step that starts the container, or use --container-name={name}:no_exec',
    exit: FAILED,
  },
  BERTH_EWORKDIR: {
    text: "couldn't chdir to {path}: {problem}",
    hint: 'name a directory of the image, or one that is mounted',
    exit: FAILED,
  },
} as const satisfies Record<string, ErrorRow>

export type ErrorCode = keyof typeof ERRORS

export type ErrorFields = Readonly<Record<string, string | number>>

/** The one error class that carries a code to a user; `cause` keeps what happened below. */
export class BerthError extends Error {
  readonly hint: string
  readonly exit: number

  constructor(
    readonly code: ErrorCode,
    readonly fields: ErrorFields = {},
    options?: ErrorOptions,
  ) {
    const row = ERRORS[code]
    super(fill(row.text, fields), options)
    this.hint = fill(row.hint, fields)
    this.exit = row.exit
  }
}

function fill(template: string, fields: ErrorFields): string {
  return template.replace(/\{(\w+)\}/g, (whole, name: string) => String(fields[name] ?? whole))
}

/** The lines a user reads: fact, then next step. `place` names node and step where that helps. */
export function renderError(error: BerthError, place?: string): string {
  const where = place === undefined ? '' : `\n  on ${place}`
  return `berth: error[${error.code}]: ${error.message}${where}\nhint: ${error.hint}\n`
}
