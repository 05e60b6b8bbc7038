// SPDX-License-Identifier: Apache-2.0
/** Other ways to run a program in the same Debian tree, as far as this machine has them. */
import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Cluster } from '../cluster/cluster.js'
import { must, run } from '../cluster/command.js'
import { buildImages } from '../cluster/images.js'

export interface Contender {
  name: string
  /** Flags of srun. */
  flags: readonly string[]
  /** Put before the program on the command line. */
  prefix: readonly string[]
}

/** Unpacks the image once; a tool that cannot start here is left out and named. */
export async function findContenders(cluster: Cluster): Promise<Contender[]> {
  const tree = await unpackImage(cluster)
  const binds = ['--bind', tree, '/', '--proc', '/proc', '--dev', '/dev']
  const candidates: Contender[] = [
    { name: 'unshare+chroot', flags: [], prefix: ['unshare', '-Urm', 'chroot', tree] },
    { name: 'bwrap', flags: [], prefix: ['bwrap', ...binds] },
    { name: 'ch-run', flags: [], prefix: ['ch-run', tree, '--'] },
    {
      name: 'podman --rootfs',
      flags: [],
      prefix: ['podman', 'run', '--rm', '--network=host', '--rootfs', `${tree}:O`],
    },
  ]
  const able: Contender[] = []
  for (const candidate of candidates) {
    const tool = candidate.prefix[0] ?? ''
    if ((await run(['sh', '-c', `command -v ${tool}`])).code !== 0) {
      process.stdout.write(`${candidate.name}: not installed\n`)
    } else if ((await cluster.srun(['-n1', ...candidate.prefix, '/bin/true'])).code !== 0) {
      process.stdout.write(`${candidate.name}: does not start here\n`)
    } else {
      able.push(candidate)
    }
  }
  return able
}

/** The image as a directory that everyone may read. */
export async function unpackImage(cluster: Cluster): Promise<string> {
  const tree = join(cluster.dir, 'tree')
  mkdirSync(tree, { mode: 0o755 })
  const { debian } = await buildImages()
  const blobs = join(debian, 'blobs/sha256')
  const index = JSON.parse(readFileSync(join(debian, 'index.json'), 'utf8')) as {
    manifests: { digest: string }[]
  }
  const manifestFile = join(blobs, index.manifests[0]?.digest.slice(7) ?? '')
  const manifest = JSON.parse(readFileSync(manifestFile, 'utf8')) as { layers: { digest: string }[] }
  if (!existsSync(manifestFile) || readdirSync(tree).length > 0) throw new Error('layout is damaged')
  for (const { digest } of manifest.layers) {
    await must([
      'tar',
      '-C',
      tree,
      '--no-same-owner',
      '-xzf',
      join(blobs, digest.slice(7)),
      '--exclude=dev/*',
    ])
  }
  await must(['chmod', '-R', 'a+rX', tree])
  return tree
}
