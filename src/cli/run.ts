// SPDX-License-Identifier: Apache-2.0
import { spawn } from 'node:child_process'
import { constants } from 'node:os'
import { join } from 'node:path'
import { BerthError } from '../report/errors.js'
import { DIST } from '../site/dist.js'
import { type FieldValue, type FrameTag, Tag, Type } from '../worker/frame.js'
import { UsageError } from './arguments.js'
import { environmentField, openWorker } from './client.js'
import { type Command, type CommandInput, Exit } from './command.js'
import { renderOptions } from './edf_host.js'
import { socketOf } from './places.js'

/** What a terminal sends to the whole foreground group: the command has it already, it must not get it twice. */
const TERMINAL_SIGNALS: readonly NodeJS.Signals[] = ['SIGINT', 'SIGQUIT']
const FORWARDED: readonly NodeJS.Signals[] = [
  ...TERMINAL_SIGNALS,
  'SIGTERM',
  'SIGHUP',
  'SIGUSR1',
  'SIGUSR2',
  'SIGCONT',
]
const SIGNAL_BASE = 128

export const run: Command = {
  summary: 'run one command in an image, without Slurm',
  usage: 'IMAGE|--environment=NAME [OPTIONS] [-- COMMAND [ARGS...]]',
  about: `Runs the command as a step of Slurm would: same image store, mounts, environment and launcher. Without a
command the image's own is run. Exits as the command does; 125, 126 and 127 are berth's (failed, not executable,
not found), 128+n means ended by signal n.`,
  examples: [
    ['berth run python:3.12 -- python3 -V', 'an image of Docker Hub'],
    ['berth run ./tools.sqsh --mounts=/data:/data:ro -- ls /data', 'a squashfs file, with a mount'],
  ],
  options: {},
  container: true,
  runsProgram: true,
  async run(input) {
    const { container, rest, words } = input.args
    // With an environment file all words are the command's: the image is in the file.
    const inFile = container.some((option) => /^(environment|edf)=/.test(option))
    const image = inFile ? undefined : words[0]
    if (image === undefined && !inFile) throw new UsageError('no image named')
    const more = words.slice(inFile ? 0 : 1)
    const named = image === undefined ? [] : [`container-image=${image}`]
    const options = await renderOptions([...named, ...container], input.places)
    return runContainer(input.places, options, [...more, ...rest])
  },
}

export interface RunSettings {
  /** What the options are read with. */
  env?: NodeJS.ProcessEnv
  /** The command's own environment. */
  commandEnv?: NodeJS.ProcessEnv
  cwd?: string
  /** Of a container of `berth oci`. */
  id?: string
  /** The image's entrypoint takes the command as its words. */
  entrypointFirst?: boolean
  /** Whoever sends a signal sends it to the command as well. */
  signalsReachAll?: boolean
}

/** Runs the command, the image's own when that is empty. */
export async function runContainer(
  places: CommandInput['places'],
  options: readonly string[],
  command: string[],
  settings: RunSettings = {},
): Promise<number> {
  const { env = process.env, commandEnv = process.env, cwd = process.cwd(), id } = settings
  const worker = await openWorker(places)
  try {
    worker.send(Type.RUN, [
      ...options.map((option): [FrameTag, FieldValue] => [Tag.OPTION, option]),
      ...command.map((word): [FrameTag, FieldValue] => [Tag.ARG, word]),
      [Tag.CWD, cwd],
      ...(id === undefined ? [] : [[Tag.NAME, id] as [FrameTag, FieldValue]]),
      ...(settings.entrypointFirst === true ? [[Tag.ENTRYPOINT, ''] as [FrameTag, FieldValue]] : []),
      [Tag.ENV, environmentField(env)],
    ])
    const ticket = (await worker.answer()).bytes(Tag.TICKET)
    if (ticket === undefined)
      throw new BerthError('BERTH_EINTERNAL', { problem: 'the worker gave no ticket' })
    const own = { BERTH_SOCKET: socketOf(places), BERTH_TICKET: ticket.toString('hex') }
    return await supervise(command, { ...commandEnv, ...own }, settings.signalsReachAll === true)
  } finally {
    worker.close()
  }
}

/** Lives as long as the command: this process is the container's lease. */
function supervise(
  command: readonly string[],
  env: NodeJS.ProcessEnv,
  signalsReachAll: boolean,
): Promise<number> {
  return new Promise((resolve, reject) => {
    // Before there is a command that could show itself: a signal to this process alone would end it without its own.
    for (const signal of FORWARDED) {
      process.on(signal, () => {
        const hasIt = signalsReachAll || (process.stdin.isTTY && TERMINAL_SIGNALS.includes(signal))
        if (!hasIt) child.kill(signal)
      })
    }
    const child = spawn(join(DIST, 'berth-exec'), command, { stdio: 'inherit', env })
    child.on('error', reject)
    child.on('exit', (code, signal) => {
      resolve(signal === null ? (code ?? Exit.INTERNAL) : SIGNAL_BASE + constants.signals[signal])
    })
  })
}
