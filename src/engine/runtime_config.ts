// SPDX-License-Identifier: Apache-2.0
/**
 * config.json of an OCI runtime (runtime-spec 1.0, which the oldest runtimes know) around the prepared root: it runs
 * berth's holder in new user and mount namespaces, all others being the host's. Mounts, variables and ids of the plan
 * are berth's to make, for every engine alike.
 */
import type { StartPlace } from './engine.js'

const OCI_VERSION = '1.0.2'

/** Fresh ones need a pid or net namespace of the container's own (mount_namespaces(7)), so they are the host's. */
const HOST_TREES = ['/proc', '/sys', '/dev']

/** @param inside the user's id in the runtime's own user namespace, which the tasks do not see */
export function runtimeConfig(place: StartPlace, inside: { uid: number }): string {
  const { uid, gid } = place.plan.process.user
  const insideGid = inside.uid === 0 ? 0 : gid
  const config = {
    ociVersion: OCI_VERSION,
    root: { path: place.root, readonly: false },
    process: {
      terminal: false,
      user: { uid: inside.uid, gid: insideGid },
      args: place.hold,
      env: [],
      cwd: '/',
      noNewPrivileges: true,
    },
    mounts: HOST_TREES.map((path) => ({
      destination: path,
      type: 'none',
      source: path,
      options: ['rbind', 'rslave'],
    })),
    annotations: ownAnnotations(place),
    linux: {
      namespaces: [{ type: 'user' }, { type: 'mount' }],
      uidMappings: [{ containerID: inside.uid, hostID: uid, size: 1 }],
      gidMappings: [{ containerID: insideGid, hostID: gid, size: 1 }],
      maskedPaths: [],
      readonlyPaths: [],
    },
  }
  return `${JSON.stringify(config, undefined, 2)}\n`
}

/** Labels of an image are its maker's: a runtime must not take them for settings. */
function ownAnnotations({ plan }: StartPlace): Record<string, string> {
  return Object.fromEntries(Object.entries(plan.annotations).filter(([name]) => name.startsWith('io.berth.')))
}
