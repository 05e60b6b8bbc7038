// SPDX-License-Identifier: Apache-2.0
/** What the demo's cluster needs beside berth for `--engine=NAME`. */
import type { Cluster, ClusterOptions } from '../cluster/cluster.js'
import { startDockerd } from '../engine/dockerd.js'
import { ENGINE_CASES, type EngineCase } from '../engine/engines.js'
import { ENGINE_PATH, installStandins, removeStandins } from '../engine/standins.js'

const DAEMON = 'docker'

/** @throws Error when the demo cannot show it on this machine */
export function clusterOptionsFor(name: string | undefined): ClusterOptions {
  if (name === undefined) return {}
  const known = caseOf(name)
  if (known === undefined)
    throw new Error(`unknown engine ${name}: ${ENGINE_CASES.map((engine) => engine.name).join(', ')}`)
  if (known.missing !== undefined) throw new Error(known.missing)
  return { plugArgs: [`engine_path=${ENGINE_PATH}`, `engines=native,${name}`] }
}

/** Its daemon or stand-in is there for as long as the demo runs. */
export function endsWithDemo(name: string | undefined): boolean {
  return name === DAEMON || isStandIn(name)
}

/** Debian has not the real one. */
export function isStandIn(name: string | undefined): boolean {
  return caseOf(name)?.standIn === true
}

/** Once the cluster's users are there. */
export async function installFor(name: string | undefined, cluster: Cluster): Promise<void> {
  if (isStandIn(name)) {
    cluster.undo.push('stand-ins', removeStandins)
    await installStandins()
  }
  if (name !== DAEMON) return
  for (const node of cluster.nodes) cluster.undo.push(DAEMON, await startDockerd(node))
}

function caseOf(name: string | undefined): EngineCase | undefined {
  return ENGINE_CASES.find((engine) => engine.name === name)
}
