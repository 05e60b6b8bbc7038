// SPDX-License-Identifier: Apache-2.0
/** What the demo's cluster needs beside berth for `--engine=NAME`. */
import type { Cluster, ClusterOptions } from '../cluster/cluster.js'
import { startDockerd } from '../engine/dockerd.js'
import { APPTAINER_DIR, ENGINE_CASES } from '../engine/engines.js'

const DAEMON = 'docker'

/** @throws Error when the demo cannot show it on this machine */
export function clusterOptionsFor(name: string | undefined): ClusterOptions {
  if (name === undefined) return {}
  const known = ENGINE_CASES.find((engine) => engine.name === name)
  if (known === undefined)
    throw new Error(`unknown engine ${name}: ${ENGINE_CASES.map((engine) => engine.name).join(', ')}`)
  if (known.missing !== undefined) throw new Error(known.missing)
  if (known.standIn === true)
    throw new Error(`no ${name} on this machine; a stand-in of it runs in npm test -- engine`)
  return {
    plugArgs: [
      `engine_path=${APPTAINER_DIR}:/usr/local/bin:/usr/sbin:/usr/bin:/bin`,
      `engines=native,${name}`,
    ],
  }
}

export async function startDaemonFor(name: string | undefined, cluster: Cluster): Promise<void> {
  if (name !== DAEMON) return
  for (const node of cluster.nodes) cluster.undo.push(DAEMON, await startDockerd(node))
}
