// SPDX-License-Identifier: Apache-2.0
/** Mirrors of a registry, asked before it (site key registry_mirrors: HOST=MIRROR[/PREFIX]). */
import type { RegistrySource } from './image.js'

/** A name or address with an optional port, then for mirrors the project that stands for the registry (Harbor). */
const RULE = /^([a-z0-9.:[\]-]+)=([a-z0-9.:[\]-]+)((?:\/[a-z0-9._-]+)*)$/

/** The first entry that is not HOST=MIRROR[/PREFIX], undefined when all are. */
export function badMirror(rules: readonly string[]): string | undefined {
  return rules.find((rule) => !RULE.test(rule.toLowerCase()))
}

/** The same image at each mirror of its host, in the site's order; USER@ was said to the host and not to them. */
export function mirrorsOf(source: RegistrySource, rules: readonly string[]): RegistrySource[] {
  const { user: _, ...rest } = source
  return rules.flatMap((rule) => {
    const [, host, mirror, prefix = ''] = RULE.exec(rule.toLowerCase()) ?? []
    if (host !== source.host || mirror === undefined) return []
    return [{ ...rest, host: mirror, repository: `${prefix}/${source.repository}`.slice(1) }]
  })
}
