// SPDX-License-Identifier: Apache-2.0
/** What Slurm's own files say about where a step's files are: read where root alone can write them, again when they change. */
import { existsSync } from 'node:fs'
import { hostname } from 'node:os'
import { dirname, isAbsolute, join } from 'node:path'
import { readTrusted } from '../site/trusted_file.js'
import { stampOf } from './host_library.js'

/** Where packages put it; the last is what slurmd fetches in configless mode. */
export const SLURM_CONFS = [
  '/etc/slurm/slurm.conf',
  '/etc/slurm-llnl/slurm.conf',
  '/usr/local/etc/slurm.conf',
  '/run/slurm/conf/slurm.conf',
] as const

/** Key of a file → where PMIx' client directories are made, as mpi/pmix looks for it (pmixp_info.c). */
const BASES: readonly (readonly [file: string, key: string])[] = [
  ['mpi.conf', 'PMIxCliTmpDirBase'],
  ['slurm.conf', 'TmpFS'],
]

let known: { stamp: string; bases: readonly string[] } | undefined

/** @param conf the site's slurm_conf; '' for the usual places */
function clientBases(conf: string): readonly string[] {
  const path = conf !== '' ? conf : SLURM_CONFS.find((one) => existsSync(one))
  if (path === undefined) return []
  const stamp = BASES.map(([file]) => stampOf(join(dirname(path), file))).join(' ')
  if (known?.stamp !== `${path} ${stamp}`)
    known = { stamp: `${path} ${stamp}`, bases: readBases(dirname(path)) }
  return known.bases
}

/** Where this step's directories are if Slurm made any; who mounts them looks, as the user and in the job's /tmp. */
export function pmixDirectories(conf: string, name: string): string[] {
  return clientBases(conf).map((base) => join(base, name))
}

function readBases(directory: string): string[] {
  return BASES.flatMap(([file, key]) => {
    const text = readTrusted(join(directory, file))
    if (text instanceof Error) return []
    const value = new RegExp(`^\\s*${key}\\s*=\\s*(\\S+)`, 'im').exec(text)?.[1] ?? ''
    // The name of the node may be another than the host's; then the directory is not there.
    const path = value.replaceAll(/%[hn]/g, hostname().split('.')[0] ?? '')
    return isAbsolute(path) ? [path] : []
  })
}
