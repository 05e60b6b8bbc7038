// SPDX-License-Identifier: Apache-2.0
/** `berth oci state`, `kill`, `delete`: the runtime's other operations (runtime-spec, runtime.md). */
import { readFileSync } from 'node:fs'
import { constants } from 'node:os'
import { BerthError } from '../report/errors.js'
import { UsageError } from './arguments.js'
import { callWorker } from './client.js'
import { type CommandInput, Exit } from './command.js'
import { takeId } from './oci.js'
import type { StepRow } from './ps.js'

const OCI_VERSION = '1.2.0'

interface Found {
  row: StepRow
  /** The command; undefined while its container is made. */
  pid: number | undefined
}

/**
 * Always an answer: slurmstepd asks after the end, when nothing is left, and takes what is no JSON for a fault of its
 * own.
 */
export async function showState({ places }: CommandInput, words: readonly string[]): Promise<number> {
  const id = takeId(words)
  const found = await find(places, id)
  const status = found === undefined ? 'stopped' : found.pid === undefined ? 'creating' : 'running'
  const state = { ociVersion: OCI_VERSION, id, status, pid: found?.pid ?? 0, bundle: found?.row.cwd ?? '' }
  process.stdout.write(`${JSON.stringify(state, null, 2)}\n`)
  return Exit.OK
}

/** What has ended needs no signal: no error, as between a question and this it may end any time. */
export async function killContainer({ places }: CommandInput, words: readonly string[]): Promise<number> {
  const id = takeId(words, 1)
  const signal = readSignal(words[1] ?? 'TERM')
  const found = await find(places, id)
  if (found !== undefined) send(found.pid ?? found.row.owner, signal)
  return Exit.OK
}

/** A container goes with its command; --force ends that. */
export async function deleteContainer(
  { args, places }: CommandInput,
  words: readonly string[],
): Promise<number> {
  const id = takeId(words)
  const found = await find(places, id)
  if (found === undefined) return Exit.OK
  if (!args.flags.has('force')) throw new BerthError('BERTH_EBUNDLEID', { id })
  send(found.row.owner, constants.signals.SIGKILL)
  return Exit.OK
}

/** No worker, no container: root must not start one for the answer. */
async function find(places: CommandInput['places'], id: string): Promise<Found | undefined> {
  const rows = await callWorker(places, 'ps', [], [], false).catch((error: unknown) => {
    if (error instanceof BerthError && error.code === 'BERTH_ENOWORKER') return []
    throw error
  })
  const row = (rows as StepRow[]).find((one) => one.id === id)
  return row === undefined ? undefined : { row, pid: childOf(row.owner) }
}

/** `berth oci run` has no other child than the command (proc(5), children). */
function childOf(pid: number): number | undefined {
  try {
    const [child] = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ')
    return Number(child) || undefined
  } catch {
    return undefined
  }
}

function readSignal(text: string): number {
  const name = text.toUpperCase().replace(/^(SIG)?/, 'SIG')
  const byName = Object.entries(constants.signals).find(([known]) => known === name)?.[1]
  const number = byName ?? (/^\d{1,2}$/.test(text) ? Number(text) : 0)
  if (number < 1 || number > 64) throw new UsageError(`unknown signal ${text}`)
  return number
}

function send(pid: number, signal: number): void {
  try {
    process.kill(pid, signal)
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error
  }
}
