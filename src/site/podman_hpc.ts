// SPDX-License-Identifier: Apache-2.0
/**
 * podman-hpc's site modules (NERSC/podman-hpc, podman_hpc/siteconfig.py and etc/modules.d) as profiles: read as they
 * are. What only podman understands is left out, and told where it would change what a program sees.
 */
import { dirname, join, posix } from 'node:path'
import { DocumentProblem, type Part, parseDocument } from './document.js'
import { emptyProfile, PROFILE_NAME, type Profile } from './profile.js'
import { listTrusted, readTrusted } from './trusted_file.js'

/** Shared already, or of no meaning to a container that never has rights of its own. */
const NEEDLESS =
  /^--(ipc|network|net|pid|uts)=host$|^--privileged$|^--userns=\S+$|^--annotation\b|^--security-opt\b|^-e (SLURM|SLURMD|PALS|PMI|PMIX)_\*$/

export function readModules(directory: string): Profile[] {
  const names = listTrusted(directory, ['.yaml', '.yml'])
  if (names instanceof Error) {
    const profile = emptyProfile('podman-hpc', directory)
    return [{ ...profile, problems: [`${directory}: ${names.message}`] }]
  }
  return names.map((name) => readModule(join(directory, name)))
}

function readModule(file: string): Profile {
  const broken = (problem: string): Profile => {
    const name = posix.basename(file).replace(/\.ya?ml$/, '')
    return { ...emptyProfile(name, file), problems: [`${file}: ${problem}`] }
  }
  const text = readTrusted(file)
  if (text instanceof Error) return broken(text.message)
  try {
    return takeModule(file, parseDocument(file, text))
  } catch (error) {
    if (error instanceof DocumentProblem) return broken(error.message)
    throw error
  }
}

function takeModule(file: string, part: Part): Profile {
  const name = part.text('name')
  if (!PROFILE_NAME.test(name)) throw part.problem('name', 'is no name of a profile')
  // The flag is podman-hpc's own word for it: berth has --container-profile=NAME.
  part.optionalText('cli_arg')
  part.flag('shared_run')
  const trigger = part.optionalText('env')
  const profile: Profile = {
    ...emptyProfile(name, file),
    help: part.optionalText('help') ?? '',
    triggers: trigger === undefined ? [] : [{ kind: 'env', name: trigger }],
    conflicts: part.texts('conflicts'),
    depends: part.texts('depends_on'),
    binds: part.texts('bind').map((bind) => takePair(bind, 'nofail', file)),
    // podman-hpc copies because its users may change the root; what is bound is the same to read.
    copies: [],
  }
  profile.binds.push(...part.texts('copy').map((copy) => takePair(copy, 'ro+nofail', file)))
  for (const argument of part.texts('additional_args')) takeArgument(profile, argument)
  part.finish()
  return profile
}

/** A target with * at its end is the directory of what the source matches; one like the source is the same path. */
function takePair(pair: string, flags: string, file: string): string {
  const [from = '', to = from] = pair.split(':')
  const source = braced(from.startsWith('/') || from.startsWith('$') ? from : posix.join(dirname(file), from))
  const target = braced(to.startsWith('/') || to.startsWith('$') ? to : `/${to}`)
  const place = target === source ? '' : target.endsWith('*') ? `${posix.dirname(target)}/` : target
  return `${source}:${place}:${flags}`
}

/** $NAME → ${NAME} */
function braced(path: string): string {
  return path.replace(/\$([A-Za-z_][A-Za-z0-9_]*)/g, (_, name: string) => `\${${name}}`)
}

function takeArgument(profile: Profile, argument: string): void {
  const text = argument.trim().replace(/^--env[ =]/, '-e ')
  if (NEEDLESS.test(text)) return
  const variable = /^-e\s+([A-Za-z_][A-Za-z0-9_]*)(?:=(.*))?$/s.exec(text)
  if (variable?.[1] === undefined) {
    profile.problems.push(`${profile.place}: additional_args: "${argument.slice(0, 120)}" is podman's own`)
    return
  }
  const value = variable[2]?.replace(/^"(.*)"$/s, '$1')
  profile.env.push({ action: value === undefined ? 'keep' : 'set', name: variable[1], value: value ?? '' })
}
