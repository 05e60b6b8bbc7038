// SPDX-License-Identifier: Apache-2.0
/** A real dockerd on a node of the cluster, in its mount namespace: no network, a store that goes with the cluster. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { run, until } from '../cluster/command.js'
import type { Node } from '../cluster/node.js'

/**
 * Ready when it resolves; the answer ends it.
 * @param storage where it keeps images: vfs works in any directory
 */
export async function startDockerd(
  node: Node,
  storage: 'vfs' | 'overlay2' = 'vfs',
): Promise<() => Promise<void>> {
  const dir = join(node.dir, 'docker')
  mkdirSync(dir)
  const settings = join(dir, 'daemon.json')
  writeFileSync(settings, '{}')
  const log = join(dir, 'log')
  const words = [
    // Each node has a /run of its own, so that this is docker_socket's default.
    ...['--host=unix:///run/docker.sock', `--config-file=${settings}`, `--pidfile=${dir}/pid`],
    ...[`--data-root=${dir}/data`, `--exec-root=${dir}/exec`, `--storage-driver=${storage}`],
    ...['--iptables=false', '--ip6tables=false', '--bridge=none'],
  ]
  const output = openSync(log, 'w')
  const daemon = spawn('nsenter', [`--mount=/proc/${node.pid()}/ns/mnt`, 'dockerd', ...words], {
    stdio: ['ignore', output, output],
  })
  closeSync(output)
  const gone = once(daemon, 'exit')
  const isReady = async () => (await run([...dockerClient(node), 'version'])).code === 0
  await until('dockerd', isReady).catch((error: Error) => {
    throw new Error(`${error.message}\n${readFileSync(log, 'utf8')}`)
  })
  return async () => {
    daemon.kill('SIGTERM')
    await gone
  }
}

/** Speaks to the daemon of that node. */
export function dockerClient(node: Node): string[] {
  return ['/usr/bin/docker', `--host=unix://${node.dir}/run/docker.sock`]
}
