// SPDX-License-Identifier: Apache-2.0
/** What is known of a named container, and its file on disk: container.json in the container's directory. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseData, takeCount, takeText } from '../image/wire.js'
import { codeOf } from '../report/errors.js'

export interface ContainerId {
  uid: number
  scope: string
  name: string
}

/** The process of Slurm's that lives as long as the job does on this node. */
export interface JobProcess {
  pid: number
  start: number
}

export interface ContainerFacts {
  /** path: of a squashfs file that is mounted as it is. */
  image: { key: string; reference: string; path?: string }
  /** The step that made it. */
  creator: string
  /** Of a container that ends with its job. */
  job?: { processes: JobProcess[]; end?: number }
}

export interface Container extends ContainerId, ContainerFacts {
  path: string
  /** Seconds since the epoch. */
  created: number
}

export const RECORD = 'container.json'
const RECORD_CHARS_MAX = 64 << 10
const PATH_CHARS_MAX = 4096

/**
 * A record that says nothing hides its container, which stays for the operator to look at.
 * @throws the file system's error when it may say something
 */
export function readContainer(folder: string, id: ContainerId): Container | undefined {
  const path = join(folder, String(id.uid), id.scope, id.name)
  const text = readRecord(join(path, RECORD))
  if (text === undefined) return undefined
  try {
    const json = parseData(text.slice(0, RECORD_CHARS_MAX))
    const image = parseData(JSON.stringify(json.image))
    return {
      ...id,
      path,
      created: takeCount(json.created),
      creator: takeText(json.creator),
      image: {
        key: takeText(image.key),
        reference: takeText(image.reference, PATH_CHARS_MAX),
        ...(image.path === undefined ? {} : { path: takeText(image.path, PATH_CHARS_MAX) }),
      },
      ...(json.job === undefined ? {} : { job: readJob(JSON.stringify(json.job)) }),
    }
  } catch {
    return undefined
  }
}

function readRecord(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes(codeOf(error))) return undefined
    throw error
  }
}

function readJob(text: string): NonNullable<ContainerFacts['job']> {
  const { processes, end } = parseData(text)
  const list = Array.isArray(processes) ? processes : []
  return {
    processes: list.map((one) => {
      const { pid, start } = parseData(JSON.stringify(one))
      return { pid: takeCount(pid), start: takeCount(start) }
    }),
    ...(end === undefined ? {} : { end: takeCount(end) }),
  }
}
