// SPDX-License-Identifier: Apache-2.0
/** `berth`: finds the command, reads its arguments, turns failures into two lines and an exit code. */
import { BerthError, type ErrorCode, renderError } from '../report/errors.js'
import { parseArguments, UsageError } from './arguments.js'
import { type Command, Exit, type OptionSpec } from './command.js'
import { commandHelp, overview } from './help.js'
import { placesFrom } from './places.js'

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
    help: "where the worker's socket is (BERTH_RUNTIME_DIR, /run/berth)",
  },
  store: { type: 'string', value: 'DIR', help: 'where images are kept (BERTH_STORE, /var/lib/berth)' },
  config: { type: 'string', value: 'FILE', help: 'site configuration (BERTH_CONFIG, /etc/berth/berth.conf)' },
}

/** @returns the exit code; data goes to stdout, everything else to stderr. */
export async function main(argv: readonly string[]): Promise<number> {
  const [name, ...rest] = argv
  if (name === undefined || name === '--help' || name === '-h' || name === 'help') {
    const topic = name === 'help' ? rest[0] : undefined
    const load = topic === undefined ? undefined : COMMANDS[topic]
    process.stdout.write(
      load === undefined ? await overview(COMMANDS) : commandHelp(topic ?? '', await load(), SHARED),
    )
    return name === undefined ? Exit.USER : Exit.OK
  }
  const load = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined
  if (load === undefined) return complain(`unknown command ${name}`, 'see `berth --help`')
  try {
    const command = await load()
    const args = parseArguments(rest, { ...command.options, ...SHARED }, command.container === true)
    if (args.flags.has('help')) {
      process.stdout.write(commandHelp(name, command, SHARED))
      return Exit.OK
    }
    return await command.run({ args, places: placesFrom(args.values), json: args.flags.has('json') })
  } catch (error) {
    if (error instanceof UsageError) return complain(error.message, `see \`berth ${name} --help\``)
    const known =
      error instanceof BerthError ? error : new BerthError('BERTH_EINTERNAL', { problem: messageOf(error) })
    process.stderr.write(renderError(known))
    return exitOf(known.code)
  }
}

/** The CLI exits 1 for what a user can mend and 2 for what is our fault. */
function exitOf(code: ErrorCode): number {
  return code === 'BERTH_EINTERNAL' ? Exit.INTERNAL : Exit.USER
}

function complain(fact: string, hint: string): number {
  process.stderr.write(`berth: ${fact}\nhint: ${hint}\n`)
  return Exit.USER
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
