// SPDX-License-Identifier: Apache-2.0
/** Failures around steps: names, bundles, the worker and its callers, the site's own files. */
import { type ErrorRow, FAILED } from './error_row.js'

const RENEW =
  "root ends the worker of this node (its pid is in worker.pid of berth's runtime_dir): running steps go on, and the next one starts a new worker"

export const SITE_ERRORS = {
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
    hint: `\`berth\` and the worker are of different versions: ${RENEW}`,
    exit: FAILED,
  },
  BERTH_ECONNECTIONS: {
    text: '{count} connections of user {uid} to the worker of this node are open, and it serves no more',
    hint: 'wait until some of your steps have started, or end some; `berth ps` on the node lists them',
    exit: FAILED,
  },
  BERTH_EINTERNAL: {
    text: 'internal error: {problem}',
    hint: "tell the operators of the node, who report it with the worker's log",
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
  BERTH_ENOSUCHCONTAINER: {
    text: 'no container "{name}" on this node',
    hint: '`berth containers` lists what is there',
    exit: FAILED,
  },
  BERTH_ENOWORKER: {
    text: 'no berth worker answers at {socket}: {problem}',
    hint: 'a step of Slurm with a container starts it, and so does root by `systemctl start berth-worker.socket` or `berth images`; other places: --runtime-dir or BERTH_RUNTIME_DIR',
    exit: FAILED,
  },
  BERTH_EPLUGSTACK: {
    text: "berth's line in plugstack.conf cannot be used: {problem}",
    hint: "mend berth's line in plugstack.conf",
    exit: FAILED,
  },
  BERTH_EPROFILE: {
    text: 'profile {profile}: {problem}',
    hint: '`berth check` lists the profiles of this site; {place}',
    exit: FAILED,
  },
  BERTH_EPROTOCOL: {
    text: "the worker's answer cannot be used: {problem}",
    hint: `run the step again; if it says the same, ${RENEW}`,
    exit: FAILED,
  },
  BERTH_ESITE: {
    text: '{place}: {key}: {problem}',
    hint: 'correct the line, or tell the operators of this node; `berth check` reads all of its configuration',
    exit: FAILED,
  },
  BERTH_ESTRANGER: {
    text: 'whoever listens at {socket} is user {uid}, neither root nor you: it was not asked for a container',
    hint: 'tell the operators of this node: runtime_dir= in plugstack.conf must name a directory that root made',
    exit: FAILED,
  },
  BERTH_EVERSION: {
    text: 'berth was replaced on this node, and its worker speaks another protocol ({theirs} met {ours})',
    hint: `run the step again; if it says the same, ${RENEW}`,
    exit: FAILED,
  },
} as const satisfies Record<string, ErrorRow>
