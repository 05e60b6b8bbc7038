// SPDX-License-Identifier: Apache-2.0
import { isAbsolute, resolve } from 'node:path'
import { parseReference } from '../image/reference.js'
import { BerthError, renderError } from '../report/errors.js'
import { Tag } from '../worker/frame.js'
import { UsageError } from './arguments.js'
import { callWorker, environmentField } from './client.js'
import { type Command, type CommandInput, Exit } from './command.js'

/** What a batch script's own step is called where Slurm sets no SLURM_STEP_ID. */
const BATCH_STEP = 'batch'

export const importer: Command = {
  summary: "bring an image for another plugin: pyxis' importer interface",
  usage: 'get IMAGE_URI | release',
  about: `For importer= of stock pyxis. get imports the image into the store of this node, as a step of berth would, and
prints the path of a squashfs file that you may read; all else goes to stderr. release gives back what the step that
calls it (SLURM_JOB_ID, SLURM_STEP_ID) has got, as often as it is called; the end of the step does the same.`,
  examples: [
    ['berth importer get docker://python:3.12', 'prints .../python.sqsh; needs a running worker'],
    [
      'printf \'#!/bin/sh\\nexec /opt/berth/dist/node /opt/berth/dist/bin/berth.js importer "$@"\\n\'',
      'the program to name in importer=',
    ],
  ],
  options: {},
  async run(input) {
    const [operation, image, ...more] = [...input.args.words, ...input.args.rest]
    if (operation === 'get' && image !== undefined && more.length === 0) return get(input, image)
    if (operation === 'release' && image === undefined) return release(input)
    throw new UsageError('say get IMAGE_URI or release')
  },
}

async function get({ places, json }: CommandInput, image: string): Promise<number> {
  const { source } = parseReference(image)
  // A file that is there already needs no importer.
  const path = source.kind === 'squashfs' ? resolve(source.path) : await ask(places, image)
  process.stdout.write(json ? `${JSON.stringify({ path })}\n` : `${path}\n`)
  return Exit.OK
}

async function ask(places: CommandInput['places'], image: string): Promise<string> {
  const more = [
    [Tag.CWD, process.cwd()],
    [Tag.ENV, environmentField(process.env)],
  ] as const
  const answer = (await callWorker(places, 'importer-get', [image, ...stepOf(process.env)], more)) as {
    path?: unknown
  }
  if (typeof answer.path === 'string' && isAbsolute(answer.path)) return answer.path
  throw new BerthError('BERTH_EINTERNAL', { problem: 'the worker named no file' })
}

/** Never fails for what is gone already: with the worker away, its next start gives back what ended steps had. */
async function release({ places, json }: CommandInput): Promise<number> {
  let released = 0
  try {
    released = Number(await callWorker(places, 'importer-release', stepOf(process.env)))
  } catch (error) {
    if (!(error instanceof BerthError && error.code === 'BERTH_ENOWORKER')) throw error
    process.stderr.write(renderError(error))
  }
  if (json) process.stdout.write(`${JSON.stringify({ released })}\n`)
  return Exit.OK
}

export function stepOf(env: NodeJS.ProcessEnv): [job: string, step: string] {
  return [env.SLURM_JOB_ID || env.SLURM_JOBID || '', env.SLURM_STEP_ID || env.SLURM_STEPID || BATCH_STEP]
}
