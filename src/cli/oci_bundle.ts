// SPDX-License-Identifier: Apache-2.0
/** `berth oci bundle IMAGE DIR`: a bundle whose root is an image of the store. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import type { ImageConfig, ImageReference } from '../image/image.js'
import { parseReference, pinReference } from '../image/reference.js'
import { BerthError, codeOf } from '../report/errors.js'
import { IMAGE_ANNOTATION } from '../request/bundle.js'
import { Tag } from '../worker/frame.js'
import { UsageError } from './arguments.js'
import { callWorker, environmentField } from './client.js'
import { type CommandInput, Exit } from './command.js'

const OCI_VERSION = '1.2.0'
const SHELL = ['/bin/sh']
const DEFAULT_PATH = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

/** Imports the image, so that the bundle says what its config says; by digest, so that it means that image for good. */
export async function writeBundle({ places }: CommandInput, words: readonly string[]): Promise<number> {
  const [image, directory, ...more] = words
  if (image === undefined || directory === undefined || more.length > 0)
    throw new UsageError('an image and a directory are needed')
  const reference = absolute(parseReference(image))
  const { digest, config } = (await callWorker(
    places,
    'pull',
    [reference.canonical],
    [
      [Tag.CWD, process.cwd()],
      [Tag.ENV, environmentField(process.env)],
      [Tag.TTY, process.stderr.isTTY ? process.stderr.columns : 0],
    ],
  )) as { digest: string; config: ImageConfig }
  const pinned = digest === '' ? reference : pinReference(reference, digest)
  const text = `${JSON.stringify(bundleOf(pinned, config), null, 2)}\n`
  const file = join(directory, 'config.json')
  try {
    // Slurm 22.05 puts "rootfs" behind the bundle's path whatever root.path says.
    mkdirSync(join(directory, 'rootfs'), { recursive: true })
    writeFileSync(file, text, { flag: 'wx' })
  } catch (error) {
    throw new BerthError(
      'BERTH_EBUNDLE',
      { path: file, problem: `cannot be written (${codeOf(error)})` },
      { cause: error },
    )
  }
  return Exit.OK
}

function bundleOf({ canonical }: ImageReference, config: ImageConfig): unknown {
  const args = [...config.entrypoint, ...config.cmd]
  const hasPath = config.env.some((entry) => entry.startsWith('PATH='))
  return {
    ociVersion: OCI_VERSION,
    annotations: { [IMAGE_ANNOTATION]: canonical },
    process: {
      args: args.length === 0 ? SHELL : args,
      env: hasPath ? config.env : [DEFAULT_PATH, ...config.env],
      cwd: config.workdir === '' ? '/' : config.workdir,
    },
    root: { path: 'rootfs' },
  }
}

/** A bundle is used from anywhere. */
function absolute(reference: ImageReference): ImageReference {
  const { source } = reference
  if (source.kind === 'registry' || source.kind === 'dockerd') return reference
  const path = resolve(source.path)
  const at = reference.canonical.lastIndexOf(source.path)
  const { canonical } = reference
  return {
    canonical: canonical.slice(0, at) + path + canonical.slice(at + source.path.length),
    source: { ...source, path },
  }
}
