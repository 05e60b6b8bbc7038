// SPDX-License-Identifier: Apache-2.0

import { pickEngine } from '../engine/select.js'
import { checkRegistry } from '../image/policy.js'
import { parseReference } from '../image/reference.js'
import { readHookFiles } from '../launch/hook_files.js'
import { sifKeysFailure } from '../launch/sif_signatures.js'
import { uselessEntries } from '../plan/hooks.js'
import { checkProfiles } from '../plan/profile_check.js'
import { checkNamedProfiles } from '../plan/profile_choice.js'
import { BerthError, renderError } from '../report/errors.js'
import { ignoredOptions, parseRequest } from '../request/grammar.js'
import type { Request } from '../request/request.js'
import { placeOf } from '../site/profile.js'
import { loadSite, type Site } from '../site/site.js'
import { type FieldValue, type FrameTag, Tag, Type } from '../worker/frame.js'
import type { WorkerStatus } from '../worker/status.js'
import { checkLines } from './check_lines.js'
import { callWorker, environmentField, openWorker, type WorkerClient } from './client.js'
import { type Command, type CommandInput, Exit } from './command.js'
import { unreadChange } from './config_age.js'
import { renderOptions } from './edf_host.js'
import { table } from './help.js'
import { ownLine, settingsHere, wordsWithoutValue } from './plugin_line.js'

export const check: Command = {
  summary: 'check container options, or the site configuration',
  usage: '[IMAGE] [OPTIONS]',
  about: `With an image: says whether a step with these options would be accepted, and which digest it would get if a
worker here can ask the registry. Without one: reads the site configuration, also that on berth's line in
plugstack.conf, names every line that it cannot use and exits 3 if there is one.
Mounts are written SRC:DST[:FLAG[+FLAG...]], several separated by commas.`,
  examples: [
    ['berth check python:3.12 --mounts=/data:/data:ro', 'before sbatch'],
    ['berth check --config=/etc/berth/berth.conf', 'after an edit'],
  ],
  options: {
    context: {
      type: 'string',
      value: 'srun|sbatch|salloc',
      help: "ask in that command's name: grammar and policy only",
    },
    option: {
      type: 'string',
      value: 'NAME=VALUE',
      help: "an option as Slurm's plugin passes it on; may be repeated",
    },
  },
  container: true,
  wordsMax: 1,
  async run(input) {
    const { args, json } = input
    const [image] = args.words
    const named = image === undefined ? [] : [`container-image=${image}`]
    const words = [...named, ...args.container, ...(args.all.option ?? [])]
    const options = await renderOptions(words, input.places)
    const site = loadSite(await settingsHere(input.places))
    if (options.length === 0 && args.values.context === undefined) {
      await tellUnread(input)
      return checkSite(site, [...(await lineProblems(input)), ...(await siteProblems(site))], json)
    }
    const request = checkRequest(options, args.values.context ?? 'run', site)
    // With --context the plugin asks, which has said it already.
    if (args.values.context === undefined) tellIgnored(options)
    const pin =
      args.values.context === undefined && request !== undefined ? await askWorker(input, options) : undefined
    if (json)
      process.stdout.write(`${JSON.stringify({ request: request ?? null, pin: pin ?? null }, null, 2)}\n`)
    else if (args.values.context === undefined) process.stdout.write(describe(request, pin, site))
    return Exit.OK
  },
}

/** What the files and arguments say that no step, or not each step, could use. */
export async function siteProblems(site: Site): Promise<BerthError[]> {
  const places = [await sharedProblem(site), sifKeysFailure(site), ...(await storeProblems(site))]
  return [...site.errors, ...checkLines(site), ...places.filter((problem) => problem !== undefined)]
}

/** Words on berth's line for which the plugin refuses each container. */
export async function lineProblems({ places }: Pick<CommandInput, 'places'>): Promise<BerthError[]> {
  const line = await ownLine(places.runtimeDir)
  return wordsWithoutValue(line).map((word) => {
    const problem = `${line?.file}:${line?.line}: ${word} has no value: write ${word}=VALUE`
    return new BerthError('BERTH_EPLUGSTACK', { problem })
  })
}

/** Whoever has edited the files asks what is wrong with them, and would take them for being in force. */
async function tellUnread({ places }: CommandInput): Promise<void> {
  const status = await callWorker(places, 'status', [], [], false).catch(() => undefined)
  const unread = status === undefined ? undefined : unreadChange(status as WorkerStatus)
  if (unread !== undefined) process.stderr.write(`berth: warning: ${unread.found}: ${unread.fix}\n`)
}

/** The addon is loaded only where it is needed: on a login node this must be quick. */
async function sharedProblem(site: Site): Promise<BerthError | undefined> {
  if (site.get('shared_store') === '') return undefined
  const { sharedFailure } = await import('../launch/open_shared.js')
  return sharedFailure(site)
}

async function storeProblems(site: Site): Promise<BerthError[]> {
  const isPlain = site.get('importer_user') === '' && site.get('registry_mirrors').length === 0
  if (isPlain && site.get('registry_proxy') === '') return []
  const { storeFailures } = await import('../launch/open_store.js')
  return storeFailures(site)
}

/** Mistakes in profiles fail only the steps that use them, and unknown keys none; here they count, since somebody asks. */
function checkSite(site: Site, found: readonly BerthError[], json: boolean): number {
  const profiles = [...checkProfiles(site.profiles), ...checkHooks(site)]
  const usable = found.length === 0 && profiles.length === 0 && site.warnings.length === 0
  if (json) {
    const errors = found.map(({ code, message }) => ({ code, message }))
    const names = [...site.profiles.byName.values()].map(({ name, place, help }) => ({ name, place, help }))
    const report = { errors, warnings: site.warnings, notes: site.notes, problems: profiles, profiles: names }
    process.stdout.write(`${JSON.stringify(report, null, 2)}\n`)
  } else {
    for (const error of found) process.stderr.write(renderError(error))
    for (const line of profiles) process.stderr.write(`berth: profile: ${line}\n`)
    for (const line of site.warnings) process.stderr.write(`berth: warning: ${line}\n`)
    for (const line of site.notes) process.stderr.write(`berth: note: ${line}\n`)
    if (usable) process.stdout.write(`ok: the site configuration can be used\n${listProfiles(site)}`)
  }
  return usable ? Exit.OK : Exit.CHECK
}

/** Hook files are read when a step has their profile; here all are. */
function checkHooks(site: Site): string[] {
  const useless = uselessEntries(site.get('hooks_allow')).map(
    (entry) =>
      `${site.origin('hooks_allow')}: hooks_allow: "${entry}" should be /PATH, /PATH=sha256:HEX or /DIRECTORY/`,
  )
  const files = [...site.profiles.byName.values()].flatMap((profile) =>
    profile.hooks.flatMap((directory) =>
      readHookFiles(directory).flatMap(({ file, problem }) =>
        problem === undefined ? [] : [`${placeOf(profile, 'hooks', directory)}: hooks: ${file}: ${problem}`],
      ),
    ),
  )
  return [...useless, ...files]
}

function listProfiles({ profiles }: Site): string {
  const rows = [...profiles.byName.values()].map(
    ({ name, help, place }) => [name, `${help} (${place})`] as const,
  )
  return `profiles:\n${table(rows)}\n`
}

function tellIgnored(options: string[]): void {
  const environment = new Map(
    Object.entries(process.env).map(([name, value]) => [name, value ?? ''] as const),
  )
  for (const line of ignoredOptions({ options, environment, context: 'run' }))
    process.stderr.write(`berth: ${line}\n`)
}

/** The same words of the same grammar as on the node. @throws BerthError */
function checkRequest(options: string[], context: string, site: Site): Request | undefined {
  const [broken] = site.errors
  if (broken !== undefined) throw broken
  const environment = new Map(
    Object.entries(process.env).map(([name, value]) => [name, value ?? ''] as const),
  )
  const request = parseRequest({ options, environment, context })
  if (request === undefined) return undefined
  pickEngine(request, site)
  checkNamedProfiles(request, site.profiles)
  if (request.image !== '') checkRegistry(parseReference(request.image), site)
  return request
}

/** What the registry says, if a worker listens here; on a login node without one the grammar has to do. */
async function askWorker({ places }: CommandInput, options: string[]): Promise<string | undefined> {
  let worker: WorkerClient
  try {
    worker = await openWorker(places)
  } catch (error) {
    if (error instanceof BerthError && error.code === 'BERTH_ENOWORKER') return undefined
    throw error
  }
  try {
    worker.send(Type.CHECK, [
      [Tag.CONTEXT, 'run'],
      ...options.map((option): [FrameTag, FieldValue] => [Tag.OPTION, option]),
      [Tag.CWD, process.cwd()],
      [Tag.ENV, environmentField(process.env)],
    ])
    await worker.answer()
    return (await worker.answer()).text(Tag.OPTION)?.replace(/^container-image=/, '')
  } finally {
    worker.close()
  }
}

function describe(request: Request | undefined, pin: string | undefined, site: Site): string {
  if (request === undefined) return 'ok: no container\n'
  const engine = request.engine === '' ? site.get('engine') : request.engine
  return `ok: ${pin ?? request.image} with engine ${engine}\n`
}
