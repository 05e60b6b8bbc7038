// SPDX-License-Identifier: Apache-2.0
/**
 * Shifter's words (NERSC/shifter doc/wlm/slurm.rst, src/VolumeMap.c) said in container-* options:
 * --image=[TYPE:]SPEC, --volume=FROM:TO[:FLAG…][;…], --module=NAME[,NAME…]|none, also spelled --shifter.X.
 */
import { type Level, say } from './dialect.js'
import { joinFields } from './fields.js'
import { NO_IMAGE } from './image.js'
import { optionProblem, showValue } from './problem.js'

const PREFIXES = ['', 'shifter.'] as const
/** A colon in an image's own name (a tag, a port) is not the end of a type. */
const TYPE = /^(docker|custom|id|local):(.*)$/s
/** berth's name for each of Shifter's; a bind of Shifter's is not recursive unless it says so. */
const FLAGS: Readonly<Record<string, string>> = { ro: 'ro', rec: 'rbind', slave: 'slave', private: 'private' }

/** @throws BERTH_EOPTION, BERTH_ECONFLICT; leaves none of Shifter's words in the level. */
export function translateShifter(level: Level): void {
  for (const prefix of PREFIXES) {
    say(level, `${prefix}image`, 'container-image', (text, name) => {
      const image = shifterImage(text, name)
      // Shifter leaves the batch script on the host; its users' scripts load modules and call srun.
      if (image !== NO_IMAGE && !level.has('container-scope'))
        level.set('container-scope', { value: 'step', origin: `flag --${name}` })
      return image
    })
    say(level, `${prefix}volume`, 'container-mounts', shifterMounts)
    say(level, `${prefix}module`, 'container-profile', (text) =>
      text.trim() === NO_IMAGE ? undefined : text,
    )
  }
}

function shifterImage(text: string, name: string): string {
  const [, type = 'docker', spec = text] = TYPE.exec(text.trim()) ?? []
  if (spec.trim() === '') throw optionProblem(name, 'argument required')
  switch (type) {
    case 'docker':
      return spec
    case 'custom':
      if (/^\.{0,2}\//.test(spec)) return spec
      throw optionProblem(name, `custom: names a squashfs file by /PATH or ./PATH: ${showValue(spec)}`)
    case 'id':
      throw optionProblem(
        name,
        `id: names an image of Shifter's gateway, which is not there; name it docker:NAME@sha256:DIGEST: ${showValue(spec)}`,
      )
    default:
      throw optionProblem(name, `local: names a directory, which is no image here: ${showValue(spec)}`)
  }
}

function shifterMounts(text: string, name: string): string {
  // Repeats of the flag arrive joined by commas, which a volume has only in the values of perNodeCache.
  const volumes = text.split(/;|,(?=["/.])/).filter((volume) => volume !== '')
  if (volumes.length === 0) throw optionProblem(name, 'argument required')
  return joinFields(volumes.map((volume) => shifterMount(volume.replace(/^"(.*)"$/s, '$1'), name)))
}

function shifterMount(volume: string, name: string): string[] {
  const shown = showValue(volume)
  const [from = '', to = '', ...flags] = volume.split(':')
  if (from === '' || to === '') throw optionProblem(name, `invalid format: ${shown}: must be FROM:TO[:FLAG]`)
  if (!/^[/.]/.test(from)) throw optionProblem(name, `invalid format: ${shown}: FROM must be a path`)
  if (to.split('/').includes('..')) throw optionProblem(name, `invalid format: ${shown}: ".." in TO`)
  const known = flags.map((flag) => {
    const word = flag.replace(/=.*$/s, '').toLowerCase()
    if (word === 'pernodecache')
      throw optionProblem(
        name,
        `perNodeCache is not offered: ${shown}; use --container-mounts=tmpfs:TO:size=SIZE for a file system in memory`,
      )
    const ours = Object.hasOwn(FLAGS, word) && !flag.includes('=') ? FLAGS[word] : undefined
    if (ours === undefined)
      throw optionProblem(name, `invalid format: ${shown}: unknown flag "${showValue(flag)}"`)
    return ours
  })
  const depth = known.includes('rbind') ? [] : ['bind']
  return [from, to.startsWith('/') ? to : `/${to}`, [...new Set([...depth, ...known])].join('+')]
}
