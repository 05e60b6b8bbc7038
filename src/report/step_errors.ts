// SPDX-License-Identifier: Apache-2.0
/** Failures of a step: what was asked for, and what its start met. */
import { type ErrorRow, FAILED } from './error_row.js'

export const STEP_ERRORS = {
  BERTH_EABILITY: {
    text: 'engine {engine} cannot do {flag}',
    hint: 'engines that can: {engines}',
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
  BERTH_EHETEROGENEOUS: {
    text: 'the components of a heterogeneous job cannot have different --container options',
    hint: 'give each component the same --container options, or use one srun each',
    exit: FAILED,
  },
  BERTH_EHOOK: {
    text: '{stage} hook {hook}: {problem}; it said: {said}',
    hint: 'the site lets it run (hooks_allow): run it by hand as this user, with the state that docs/operators.md shows',
    exit: FAILED,
  },
  BERTH_EJOIN: {
    text: 'cannot join the container: {problem}',
    hint: "tell the operators of the node: `berth doctor` and the worker's log there say why",
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
    hint: "{next}; --container-mpi=auto keeps the image's MPI then ({origin})",
    exit: FAILED,
  },
  BERTH_EMULTIPROG: {
    text: 'a step with --multi-prog that was submitted without the plugin needs Slurm 23.11 or later',
    hint: 'use one srun per program, joined by `:`, or submit where the plugin is',
    exit: FAILED,
  },
  BERTH_ENAMESPACE: {
    text: 'the container cannot be prepared: {syscall} {path}: {problem}',
    hint: '`berth doctor` on that node shows what its kernel lacks',
    exit: FAILED,
  },
  BERTH_EOPTION: {
    text: '--{option}: {problem}',
    hint: '{next}; `srun --help` ([berth]) has the grammar',
    exit: FAILED,
  },
  BERTH_EPOLICY: {
    text: '{what} is not allowed on this system',
    hint: 'the site decided so: {key} ({origin}); ask its operators',
    exit: FAILED,
  },
  BERTH_ERUNS: {
    text: 'user {uid} runs {count} containers with `berth run` on this node already',
    hint: 'end some of them; `berth ps` lists them',
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
  BERTH_EWORKDIR: {
    text: "couldn't chdir to {path}: {problem}",
    hint: 'name a directory of the image, or one that is mounted',
    exit: FAILED,
  },
  BERTH_EWRITABLE: {
    text: '--container-writable on disk: {problem}',
    hint: '{next}',
    exit: FAILED,
  },
} as const satisfies Record<string, ErrorRow>
