// SPDX-License-Identifier: Apache-2.0
/** `berth oci run`: a bundle's config.json becomes a RUN, as `berth run` sends one. */
import { join, resolve } from 'node:path'
import { BerthError, codeOf, renderError } from '../report/errors.js'
import { readBundle, writtenFrom } from '../request/bundle.js'
import { readRegular } from '../site/trusted_file.js'
import type { CommandInput } from './command.js'
import { takeId } from './oci.js'
import { runContainer } from './run.js'

/** Beyond what a RUN carries in its frame of 1 MiB, whatever JSON's spaces add. */
const CONFIG_BYTES_MAX = 4 << 20
/** Of the job around, not of this container, which its bundle describes alone. */
const OPTIONS_OF_OTHERS = /^(SLURM_BERTH_|BERTH_|PYXIS_)/

export async function runBundle({ args, places }: CommandInput, words: readonly string[]): Promise<number> {
  const id = takeId(words)
  try {
    const directory = resolve(args.values.bundle ?? '.')
    const text = readConfig(join(directory, 'config.json'))
    const source = writtenFrom(directory, text)
    const written = source && tryRead(join(source, 'config.json'))
    const home = written === undefined ? directory : (source ?? directory)
    const bundle = readBundle(home, text, written)
    if (bundle.ignored.length > 0)
      process.stderr.write(
        `berth: warning: without effect in ${home}/config.json: ${bundle.ignored.join(', ')}\n`,
      )
    const env = Object.fromEntries(bundle.env)
    return await runContainer(places, bundle.options, bundle.args, {
      commandEnv: env,
      env: Object.fromEntries([...bundle.env].filter(([name]) => !OPTIONS_OF_OTHERS.test(name))),
      ...{ cwd: home, id },
      // slurmstepd signals every process of the step.
      signalsReachAll: env.SLURM_STEP_ID !== undefined,
    })
  } catch (error) {
    if (!(error instanceof BerthError)) throw error
    process.stderr.write(renderError(error))
    return error.exit
  }
}

/** @throws BerthError BERTH_EBUNDLE */
function readConfig(path: string): string {
  const read = readRegular(path, CONFIG_BYTES_MAX, false)
  if (!(read instanceof Error)) return read.bytes.toString('utf8')
  const { cause, message } = read
  const problem = cause === undefined ? message : `cannot be read (${codeOf(cause)})`
  throw new BerthError('BERTH_EBUNDLE', { path, problem }, { cause })
}

function tryRead(path: string): string | undefined {
  try {
    return readConfig(path)
  } catch {
    return undefined
  }
}
