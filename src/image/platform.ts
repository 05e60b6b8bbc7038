// SPDX-License-Identifier: Apache-2.0
/** Which entry of an index runs on this node; pure but for hostPlatform, which is told what /proc/cpuinfo says. */
import { BerthError } from '../report/errors.js'
import type { IndexEntry, Platform } from './manifest.js'

const ARCHITECTURES: Record<string, string> = { x64: 'amd64', arm64: 'arm64', arm: 'arm', ppc64: 'ppc64le' }

/** The x86-64 psABI's levels by the flags of /proc/cpuinfo, each with those before it. */
const AMD64_LEVELS: [string, string[]][] = [
  ['v2', ['cx16', 'lahf_lm', 'popcnt', 'sse4_1', 'sse4_2', 'ssse3']],
  ['v3', ['abm', 'avx', 'avx2', 'bmi1', 'bmi2', 'f16c', 'fma', 'movbe']],
  ['v4', ['avx512bw', 'avx512cd', 'avx512dq', 'avx512f', 'avx512vl']],
]

export interface HostPlatform {
  architecture: string
  /** Best first; '' is the entry that names none. */
  variants: string[]
}

/** `arch` as in process.arch. */
export function hostPlatform(arch: string, cpuinfo: string): HostPlatform {
  const architecture = ARCHITECTURES[arch] ?? arch
  if (architecture === 'arm64') return { architecture, variants: ['v8', ''] }
  if (architecture === 'arm') return { architecture, variants: ['v7', 'v6', 'v5', ''] }
  if (architecture !== 'amd64') return { architecture, variants: [''] }
  const flags = new Set((/^flags\s*:(.*)$/m.exec(cpuinfo)?.[1] ?? '').trim().split(/\s+/))
  const variants = ['']
  for (const [level, needed] of AMD64_LEVELS) {
    if (!needed.every((flag) => flags.has(flag))) break
    variants.unshift(level)
  }
  variants.splice(variants.indexOf(''), 0, 'v1')
  return { architecture, variants }
}

/** @throws BerthError BERTH_EPLATFORM when nothing fits; lists what there is. */
export function choosePlatform(entries: readonly IndexEntry[], host: HostPlatform): IndexEntry {
  const images = entries.filter(isImage)
  for (const variant of host.variants) {
    const found = images.find(({ platform }) => platform !== undefined && fits(platform, host, variant))
    if (found !== undefined) return found
  }
  const untold = images.find(({ platform }) => platform === undefined)
  if (untold !== undefined) return untold
  throw misfit(
    host,
    images.map(({ platform }) => platform).filter((platform) => platform !== undefined),
  )
}

function misfit(host: HostPlatform, available: readonly Platform[]): BerthError {
  const names = available.slice(0, 12).map(({ os, architecture, variant }) => {
    const name = `${os}/${architecture}${variant === '' ? '' : `/${variant}`}`
    return name.replace(/[^\w./+-]/g, '?').slice(0, 40)
  })
  return new BerthError('BERTH_EPLATFORM', {
    platform: `linux/${host.architecture}`,
    available: [...new Set(names)].join(', ') || 'attachments',
  })
}

/** A config's own words; variants are not compared, as builders write them at will. */
export function checkPlatform(platform: Platform, host: HostPlatform): void {
  const os = platform.os === '' || platform.os === 'linux'
  if (!os || (platform.architecture !== '' && platform.architecture !== host.architecture)) {
    throw misfit(host, [platform])
  }
}

function isImage({ platform, annotations }: IndexEntry): boolean {
  if (annotations['vnd.docker.reference.type'] === 'attestation-manifest') return false
  return platform?.os !== 'unknown' && platform?.architecture !== 'unknown'
}

function fits(platform: Platform, host: HostPlatform, variant: string): boolean {
  return (
    platform.os === 'linux' && platform.architecture === host.architecture && platform.variant === variant
  )
}
