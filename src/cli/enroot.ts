// SPDX-License-Identifier: Apache-2.0
/**
 * `enroot`, for scripts that call it beside pyxis: the same words on berth's containers and images. Shipped as
 * dist/compat/enroot and put on PATH by whoever wants it; what cannot be mapped is refused with exit 1.
 */
import { randomBytes } from 'node:crypto'
import { constants, existsSync, readFileSync, readlinkSync } from 'node:fs'
import { access, chmod, copyFile, rename, rm } from 'node:fs/promises'
import { basename, dirname, isAbsolute, join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { BerthError, messageOf, renderError } from '../report/errors.js'
import { Tag } from '../worker/frame.js'
import { callWorker, environmentField } from './client.js'
import { Exit, type Places } from './command.js'
import { listContainers, removeContainers } from './containers.js'
import { withSource } from './enroot_daemon.js'
import { namespaceOf, showTable } from './enroot_list.js'
import { findListed, type Listed, listed, nameOnDisk, unnamedStep } from './enroot_names.js'
import { START_OPTIONS, startOptions, variablesOf } from './enroot_start.js'
import { execIn, type Likeness } from './exec.js'
import { placesHere } from './places.js'
import type { StepRow } from './ps.js'
import { runContainer } from './run.js'

type Options = NonNullable<NonNullable<Parameters<typeof parseArgs>[0]>['options']>

interface Row {
  options: Options
  run(given: { values: Record<string, unknown>; words: string[]; places: Places }): Promise<number>
}

/** What a script did that has no meaning here. */
class Unmapped extends Error {}

const IMPORT_STEP = 'enroot'
/** Of the machines that berth runs on, as uname and Debian call them. */
const OWN_KIND: Readonly<Record<string, RegExp>> = { x64: /^(x86_64|amd64)$/, arm64: /^(aarch64|arm64)$/ }
/** Of a new file, as open(2) would make it. */
const FILE_MODE = 0o666

const COMMANDS: Readonly<Record<string, Row>> = {
  list: { options: { fancy: { type: 'boolean', short: 'f' } }, run: list },
  remove: { options: { force: { type: 'boolean', short: 'f' } }, run: remove },
  exec: { options: { env: { type: 'string', short: 'e', multiple: true } }, run: exec },
  create: {
    options: { name: { type: 'string', short: 'n' }, force: { type: 'boolean', short: 'f' } },
    run: create,
  },
  start: { options: START_OPTIONS, run: start },
  import: {
    options: { output: { type: 'string', short: 'o' }, arch: { type: 'string', short: 'a' } },
    run: importImage,
  },
  load: {
    options: {
      name: { type: 'string', short: 'n' },
      force: { type: 'boolean', short: 'f' },
      arch: { type: 'string', short: 'a' },
    },
    run: load,
  },
  export: {
    options: { output: { type: 'string', short: 'o' }, force: { type: 'boolean', short: 'f' } },
    run: exportImage,
  },
  version: {
    options: {},
    run: async () => {
      process.stdout.write('berth\n')
      return Exit.OK
    },
  },
}

/** @returns the exit code: 0, or 1 with the reason on stderr, or the program's */
export async function main(argv: readonly string[]): Promise<number> {
  const [name = '', ...rest] = argv
  const row = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined
  try {
    const known = `berth's enroot knows ${Object.keys(COMMANDS).join(', ')}`
    const isHelp =
      /^(help|--help|-h)$/.test(name) || (row !== undefined && /^(--help|-h)$/.test(rest[0] ?? ''))
    if (name === '' || isHelp) {
      process.stdout.write(`${known}; docs/coming-from-pyxis.md says what each does\n`)
      return name === '' ? Exit.USER : Exit.OK
    }
    if (row === undefined) throw new Unmapped(`${known}, not "${name}"`)
    const { own, words } = splitCommand(name, rest)
    const parsed = parseArgs({ args: own, options: row.options, allowPositionals: true })
    const given = { values: { ...parsed.values }, words: [...parsed.positionals, ...words] }
    return await row.run({ ...given, places: await placesHere({}) })
  } catch (error) {
    if (error instanceof BerthError) process.stderr.write(renderError(error))
    else process.stderr.write(`enroot: ${messageOf(error)}\n`)
    return Exit.USER
  }
}

/** Options end at the first word of exec and start: what follows is a command line. */
function splitCommand(name: string, args: readonly string[]): { own: string[]; words: string[] } {
  if (name !== 'exec' && name !== 'start') return { own: [...args], words: [] }
  let at = 0
  while (args[at]?.startsWith('-') && args[at] !== '--')
    at += /^-[me]$|^--(mount|env)$/.test(args[at] ?? '') ? 2 : 1
  const words = args.slice(at)
  return { own: args.slice(0, at), words: words[0] === '--' ? words.slice(1) : words }
}

async function state(places: Places): Promise<{ listed: Listed[]; steps: StepRow[] }> {
  const uid = process.getuid?.() ?? 0
  const steps = (await callWorker(places, 'ps', [])) as StepRow[]
  return { listed: listed(await listContainers(places), steps, uid), steps }
}

async function list({ values, places }: Parameters<Row['run']>[0]): Promise<number> {
  const { listed: rows } = await state(places)
  process.stdout.write(values.fancy === true ? showTable(rows) : rows.map(({ name }) => `${name}\n`).join(''))
  return Exit.OK
}

/** enroot's -f only means "don't ask"; nobody is asked here. */
async function remove({ words, places }: Parameters<Row['run']>[0]): Promise<number> {
  if (words.length === 0) throw new Unmapped('no container named')
  const rows = await listContainers(places)
  // In turn, up to the first that is not there: scripts name some that may be gone, and look away.
  for (const word of words) {
    const found = findListed(rows, word, process.getuid?.() ?? 0)
    if (found === undefined) throw new BerthError('BERTH_ENOSUCHCONTAINER', { name: word })
    await removeContainers(places, [found.id], true)
  }
  return Exit.OK
}

async function exec({
  values,
  words: [pid = '', ...command],
  places,
}: Parameters<Row['run']>[0]): Promise<number> {
  if (command.length === 0) throw new Unmapped('usage: enroot exec [-e NAME=VALUE] PID COMMAND [ARG...]')
  const { steps } = await state(places)
  const root = namespaceOf(Number(pid), 'mnt')
  const isIn = ({ pids }: StepRow) =>
    root !== undefined && pids.some((one) => namespaceOf(one, 'mnt') === root)
  const step = steps.find(({ pids }) => pids.includes(Number(pid))) ?? steps.find(isIn)
  if (step === undefined) throw new Unmapped(`no container of yours has the process ${pid}`)
  return execIn(places, step.step, command, likeProcess(pid, values.env))
}

/** Directory and variables of a process, and more variables. @throws an error where it has ended */
function likeProcess(pid: string, given: unknown): Likeness {
  const entries = readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0')
  const pairs = [...entries, ...variablesOf(given)].map((entry) => [
    entry.slice(0, entry.indexOf('=')),
    entry.slice(entry.indexOf('=') + 1),
  ])
  return {
    cwd: readlinkSync(`/proc/${pid}/cwd`),
    env: Object.fromEntries(pairs.filter(([name]) => name !== '')),
  }
}

async function create({ values, words: [image], places }: Parameters<Row['run']>[0]): Promise<number> {
  if (image === undefined) throw new Unmapped('usage: enroot create [-n NAME] FILE')
  const path = /^\.{0,2}\//.test(image) ? image : `./${image}`
  return make(places, values, basename(image, '.sqsh'), path)
}

/** Import and create in one. */
async function load({ values, words: [uri], places }: Parameters<Row['run']>[0]): Promise<number> {
  if (uri === undefined) throw new Unmapped('usage: enroot load [-n NAME] docker://IMAGE')
  if (!uri.startsWith('docker://')) throw new Unmapped(`${uri}: only docker:// can be loaded`)
  refuseOtherKind(values.arch)
  return make(places, values, basename(fileFor(uri), '.sqsh'), uri)
}

async function make(
  places: Places,
  { name: given, force }: Record<string, unknown>,
  otherwise: string,
  image: string,
): Promise<number> {
  const name = typeof given === 'string' ? given : otherwise
  if (force === true) {
    const found = findListed(await listContainers(places), name, process.getuid?.() ?? 0)
    if (found !== undefined) await removeContainers(places, [found.id], true)
  }
  await callWorker(places, 'containers-create', [nameOnDisk(name), image], context())
  return Exit.OK
}

async function start({
  values,
  words: [name, ...command],
  places,
}: Parameters<Row['run']>[0]): Promise<number> {
  if (name === undefined)
    throw new Unmapped('usage: enroot start [-r] [-w] [-m SRC:DST] [-e NAME=VALUE] NAME|FILE [COMMAND]')
  const found = findListed(await listContainers(places), name, process.getuid?.() ?? 0)
  const isImage = found === undefined && existsSync(name)
  if (found === undefined && !isImage) throw new BerthError('BERTH_ENOSUCHCONTAINER', { name })
  const own = isImage ? `container-image=${resolve(name)}` : `container-name=${found?.name}:no_exec`
  const options = await startOptions(places, values)
  setVariables(values.env)
  return runContainer(places, [own, ...options], command, { entrypointFirst: true })
}

async function importImage({ values, words: [uri], places }: Parameters<Row['run']>[0]): Promise<number> {
  if (uri === undefined)
    throw new Unmapped('usage: enroot import [-o FILE] docker://IMAGE|dockerd://IMAGE|podman://IMAGE')
  if (!/^(docker|dockerd|podman):\/\//.test(uri))
    throw new Unmapped(`${uri}: only docker://, dockerd:// and podman:// can be imported`)
  refuseOtherKind(values.arch)
  const output = typeof values.output === 'string' ? values.output : fileFor(uri)
  if (existsSync(output)) throw new Unmapped(`File already exists: ${resolve(output)}`)
  await mayWrite(resolve(output))
  return withSource(uri, dirname(resolve(output)), (source) => fetchTo(places, source, output))
}

function refuseOtherKind(arch: unknown): void {
  if (arch !== undefined && OWN_KIND[process.arch]?.test(String(arch)) !== true)
    throw new Unmapped(`${arch}: images of another processor's kind are not imported`)
}

/** Asked before minutes of fetching. */
async function mayWrite(file: string): Promise<void> {
  await access(dirname(file), constants.W_OK | constants.X_OK).catch(({ code }: NodeJS.ErrnoException) => {
    throw new Unmapped(`${code === 'ENOENT' ? 'No such file or directory' : 'Permission denied'}: ${file}`)
  })
}

async function fetchTo(places: Places, uri: string, output: string): Promise<number> {
  const claim = [String(process.pid % 1_000_000_000), IMPORT_STEP]
  // Nobody else's name, also where nodes share the directory.
  const partial = join(dirname(resolve(output)), `.${basename(output)}.${randomBytes(8).toString('hex')}`)
  const answer = (await callWorker(places, 'importer-get', [uri, ...claim], context())) as { path?: unknown }
  try {
    if (typeof answer.path !== 'string' || !isAbsolute(answer.path))
      throw new BerthError('BERTH_EINTERNAL', { problem: 'the worker named no file' })
    await copyFile(answer.path, partial, constants.COPYFILE_EXCL)
    // The store's file is nobody's to write.
    await chmod(partial, FILE_MODE & ~process.umask())
    // Whoever finds it by its name finds it whole.
    await rename(partial, resolve(output))
  } finally {
    await rm(partial, { force: true })
    await callWorker(places, 'importer-release', claim)
  }
  return Exit.OK
}

/** A step that only saves; what runs in the container meanwhile goes on. */
async function exportImage({ values, words: [name], places }: Parameters<Row['run']>[0]): Promise<number> {
  if (name === undefined) throw new Unmapped('usage: enroot export [-f] [-o FILE] NAME')
  const found = findListed(await listContainers(places), name, process.getuid?.() ?? 0)
  if (found === undefined && unnamedStep(name) !== undefined)
    throw new Unmapped(`${name} has no name of its own: use --container-save in the step that starts it`)
  if (found === undefined) throw new BerthError('BERTH_ENOSUCHCONTAINER', { name })
  const output = resolve(typeof values.output === 'string' ? values.output : `${name}.sqsh`)
  if (values.force !== true && existsSync(output))
    throw new Unmapped(`File already exists: ${output}; -f replaces it`)
  const status = await runContainer(
    places,
    [`container-name=${found.name}`, `container-save=${output}`],
    ['true'],
  )
  return status === 0 ? Exit.OK : Exit.USER
}

/** Options of the container's own that a launcher takes from its environment. */
function setVariables(given: unknown): void {
  for (const entry of variablesOf(given))
    process.env[entry.slice(0, entry.indexOf('='))] = entry.slice(entry.indexOf('=') + 1)
}

function context() {
  return [
    [Tag.CWD, process.cwd()],
    [Tag.ENV, environmentField(process.env)],
    [Tag.TTY, process.stderr.isTTY ? process.stderr.columns : 0],
  ] as const
}

/** As enroot names it: library+ubuntu+24.04.sqsh. */
function fileFor(uri: string): string {
  return `${uri
    .replace(/^\w+:\/\//, '')
    .replace(/^.*#/, '')
    .replace(/[/:@]/g, '+')}.sqsh`
}
