// SPDX-License-Identifier: Apache-2.0
/** `berth`: finds the command, reads its arguments, turns failures into two lines and an exit code. */

import { FAILED } from '../report/error_row.js'
import { BerthError, messageOf, renderError } from '../report/errors.js'
import { nearest } from '../report/nearest.js'
import { type Arguments, parseArguments, UsageError } from './arguments.js'
import { type Command, Exit, type OptionSpec } from './command.js'
import { berthVersion } from './doctor_parts.js'
import { commandHelp, overview } from './help.js'
import { placesHere } from './places.js'

/** Loaded when named only: `berth run` must not pay for the others. */
export const COMMANDS: Readonly<Record<string, () => Promise<Command>>> = {
  run: async () => (await import('./run.js')).run,
  pull: async () => (await import('./pull.js')).pull,
  images: async () => (await import('./images.js')).images,
  rm: async () => (await import('./rm.js')).rm,
  pin: async () => (await import('./pin.js')).pin,
  unpin: async () => (await import('./pin.js')).unpin,
  scrub: async () => (await import('./scrub.js')).scrub,
  check: async () => (await import('./check.js')).check,
  explain: async () => (await import('./explain.js')).explain,
  edf: async () => (await import('./edf.js')).edf,
  importer: async () => (await import('./importer.js')).importer,
  doctor: async () => (await import('./doctor.js')).doctor,
  engines: async () => (await import('./engines.js')).engines,
  containers: async () => (await import('./containers.js')).containers,
  oci: async () => (await import('./oci.js')).oci,
  exec: async () => (await import('./exec.js')).exec,
  ps: async () => (await import('./ps.js')).ps,
  gc: async () => (await import('./gc.js')).gc,
}

const SHARED: Readonly<Record<string, OptionSpec>> = {
  json: { type: 'boolean', help: 'print data as JSON' },
  help: { type: 'boolean', help: 'this text' },
  'runtime-dir': {
    type: 'string',
    value: 'DIR',
    help: "where the worker's socket is (BERTH_RUNTIME_DIR, else plugstack.conf, else /run/berth)",
  },
  store: {
    type: 'string',
    value: 'DIR',
    help: 'where images are kept (BERTH_STORE, else what the site says)',
  },
  config: { type: 'string', value: 'FILE', help: 'site configuration (BERTH_CONFIG, /etc/berth/berth.conf)' },
}

/** @returns the exit code; data goes to stdout, everything else to stderr. */
export async function main(argv: readonly string[]): Promise<number> {
  const [first, ...rest] = argv
  if (first === undefined || first === '--help' || first === '-h') return teach(first)
  if (first === '--version') return showVersion()
  const asked = first === 'help' && rest[0] !== undefined
  if (first === 'help' && !asked) return teach(first)
  const name = asked ? (rest[0] ?? '') : first
  const load = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined
  if (load === undefined) return complainOf(name)
  const command = await load()
  return await runCommand(name, command, asked ? ['--help'] : rest)
}

async function teach(asked: string | undefined): Promise<number> {
  process.stdout.write(await overview(COMMANDS))
  return asked === undefined ? Exit.USER : Exit.OK
}

async function showVersion(): Promise<number> {
  process.stdout.write(`berth ${await berthVersion()}\n`)
  return Exit.OK
}

function complainOf(name: string): number {
  if (name.startsWith('-'))
    return complain(`${name} stands before the command`, 'write berth COMMAND [OPTIONS]')
  const meant = nearest(name, Object.keys(COMMANDS))
  const hint = meant === undefined ? '' : `did you mean \`berth ${meant}\`? `
  return complain(`unknown command ${name}`, `${hint}see \`berth --help\``)
}

async function runCommand(name: string, command: Command, words: readonly string[]): Promise<number> {
  try {
    const args = parseArguments(words, { ...command.options, ...SHARED }, command.container === true)
    if (args.flags.has('help')) {
      process.stdout.write(commandHelp(name, command, SHARED))
      return Exit.OK
    }
    checkWords(args, command.wordsMax)
    return await command.run({ args, places: await placesHere(args.values), json: args.flags.has('json') })
  } catch (error) {
    const failed = command.runsProgram === true ? FAILED : Exit.USER
    if (error instanceof UsageError) return complain(error.message, `see \`berth ${name} --help\``, failed)
    const known =
      error instanceof BerthError ? error : new BerthError('BERTH_EINTERNAL', { problem: messageOf(error) })
    process.stderr.write(renderError(known))
    return known.code === 'BERTH_EINTERNAL' && command.runsProgram !== true ? Exit.INTERNAL : failed
  }
}

/** @throws UsageError */
function checkWords({ words, rest }: Arguments, max = Number.POSITIVE_INFINITY): void {
  const extra = [...words, ...rest][max]
  if (extra !== undefined) throw new UsageError(`unexpected word ${extra}`)
}

function complain(fact: string, hint: string, code: number = Exit.USER): number {
  process.stderr.write(`berth: ${fact}\nhint: ${hint}\n`)
  return code
}
