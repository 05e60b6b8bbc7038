// SPDX-License-Identifier: Apache-2.0
/** Engines as a user would type them in front of a program, in each task. */
import { join } from 'node:path'
import { APPTAINER_DIR } from '../engine/engines.js'

/** What a start by hand begins from. */
interface HandPlace {
  /** The image, unpacked on the node by somebody. */
  tree: string
  /** Its name at a registry. */
  image: string
  /** A directory that the user can write. */
  folder: string
  uid: number
}

interface ByHand {
  /** Once on the node, not measured. */
  before?: string[][]
  prefix: string[]
}

const APPTAINER = [join(APPTAINER_DIR, 'apptainer'), '-s', 'exec', '--userns']
const QUIET = ['-quiet', '-no-progress']
const TREES_OF_HOST = ['/proc', '/sys', '/dev']

/** By engine and what it starts from. Engines without a row have no way that needs no file. */
export const BY_HAND: Readonly<Record<string, (place: HandPlace) => ByHand>> = {
  charliecloud: ({ tree }) => ({ prefix: ['ch-run', tree, '--'] }),
  // Images that nobody has unpacked on the node, as these engines advise for clusters.
  'charliecloud, squashfs': ({ tree, folder }) => ({
    before: [['mksquashfs', tree, `${folder}/ch.sqfs`, ...QUIET]],
    prefix: ['ch-run', `${folder}/ch.sqfs`, '--'],
  }),
  'apptainer, squashfs': ({ tree, folder }) => ({
    before: [['mksquashfs', tree, `${folder}/apptainer.sqfs`, ...QUIET]],
    prefix: [...APPTAINER, `${folder}/apptainer.sqfs`],
  }),
  apptainer: ({ tree }) => ({ prefix: [...APPTAINER, tree] }),
  crun: (place) => runtime(place, ['crun', '--cgroup-manager=disabled'], place.uid),
  runc: (place) => runtime(place, ['runc'], 0),
  podman: ({ image, folder }) => {
    // The user has no subordinate ids, for which podman wants its store told; crun refuses mixed versions of cgroups.
    const store = [
      `--root=${folder}/podman`,
      '--storage-driver=overlay',
      '--storage-opt=overlay.ignore_chown_errors=true',
    ]
    const podman = ['podman', ...store, '--runtime=runc', '--cgroup-manager=cgroupfs']
    return {
      before: [[...podman, 'pull', '--quiet', '--tls-verify=false', image]],
      prefix: [...podman, 'run', '--rm', '--pull=never', '--network=host', '--pid=host', image],
    }
  },
  // As a user whom the site has given the daemon's socket, and with it root.
  docker: ({ image, uid }) => ({
    before: [['docker', 'pull', '--quiet', image]],
    prefix: ['docker', 'run', '--rm', '--pull=never', '--network=host', '--pid=host', `--user=${uid}`, image],
  }),
}

/** A bundle without namespaces but user's and mounts, as berth's is; each container on a node needs a name. */
function runtime({ tree, folder, uid }: HandPlace, words: readonly string[], inside: number): ByHand {
  const bundle = join(folder, words[0] ?? '')
  const map = [{ containerID: inside, hostID: uid, size: 1 }]
  const config = {
    ociVersion: '1.0.2',
    root: { path: tree, readonly: true },
    process: { user: { uid: inside, gid: inside }, args: ['/bin/true'], cwd: '/', noNewPrivileges: true },
    mounts: TREES_OF_HOST.map((path) => ({
      destination: path,
      type: 'none',
      source: path,
      options: ['rbind', 'rslave'],
    })),
    linux: { namespaces: [{ type: 'user' }, { type: 'mount' }], uidMappings: map, gidMappings: map },
  }
  const write = `mkdir -p ${bundle} && printf %s '${JSON.stringify(config)}' >${bundle}/config.json`
  const start = `exec ${words.join(' ')} --root=${bundle}/state run --bundle=${bundle} $SLURM_JOB_ID-$SLURM_PROCID`
  return { before: [['sh', '-c', write]], prefix: ['sh', '-c', start] }
}
