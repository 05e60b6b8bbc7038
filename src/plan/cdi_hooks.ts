// SPDX-License-Identifier: Apache-2.0
/**
 * Hooks of CDI files. What NVIDIA's toolkit has its programs do in a finished root, berth plans: links become links,
 * a refreshed loader cache becomes directories that the loader is told of, with the names that ldconfig(8) would have
 * given each library (nvidia-container-toolkit, cmd/nvidia-cdi-hook). Programs of others are hooks.ts' matter.
 */
import { isAbsolute, posix } from 'node:path'
import type { CdiHook } from '../site/cdi_spec.js'
import { insideRoot } from './cwd.js'
import type { PlannedMount, Reason } from './spec.js'

interface HookPlan {
  links: PlannedMount[]
  /** Directories of the container that the loader must search. */
  directories: string[]
  notes: string[]
  /** berth cannot stand in for it. */
  isUnknown?: true
}

const PROGRAMS = ['nvidia-cdi-hook', 'nvidia-ctk']
/** Done by the host's own kernel interfaces, or of no use where nothing can be made. */
const NEEDLESS: Readonly<Record<string, string>> = {
  chmod: 'directories of device nodes can be searched already',
  'disable-device-node-modification': 'nobody in the container can make device nodes',
  'update-application-profile': 'EGL sees the devices that the step may open',
  'enable-cuda-compat':
    "the image's own CUDA compatibility libraries are used where LD_LIBRARY_PATH names them",
}
const OF_THE_KERNEL = /^\/(proc|sys|dev)(\/|$)/

/** @param hostNames the host's other names for what the spec mounts into a directory of the container */
export function planCdiHook(
  hook: CdiHook,
  hostNames: (directory: string) => readonly { name: string; to: string }[],
  why: Reason,
): HookPlan {
  const [verb = '', ...words] = wordsOf(hook)
  const none: HookPlan = { links: [], directories: [], notes: [] }
  if (!PROGRAMS.includes(posix.basename(hook.path))) return { ...none, isUnknown: true }
  const needless = NEEDLESS[verb]
  if (needless !== undefined && Object.hasOwn(NEEDLESS, verb))
    return { ...none, notes: [`hook ${verb} is not needed: ${needless}`] }
  switch (verb) {
    case 'create-symlinks':
      return planLinks(valuesOf(words, 'link'), why)
    case 'update-ldcache':
    case 'create-soname-symlinks': {
      const directories = valuesOf(words, 'folder').filter(isAbsolute).map(insideRoot)
      const links = directories.flatMap((directory) =>
        hostNames(directory).map(({ name, to }) => link(posix.join(directory, name), to, why)),
      )
      return { ...none, links, directories: verb === 'update-ldcache' ? directories : [] }
    }
    default:
      return { ...none, isUnknown: true }
  }
}

/** TARGET::LINK; the target is text, only the link must be a place. */
function planLinks(values: readonly string[], why: Reason): HookPlan {
  const plan: HookPlan = { links: [], directories: [], notes: [] }
  for (const value of values) {
    const [to = '', at = '', more] = value.split('::')
    const target = insideRoot(at)
    if (to === '' || !isAbsolute(at) || more !== undefined || OF_THE_KERNEL.test(target) || target === '/')
      plan.notes.push(`link ${value} is not made: it should be TARGET::/LINK below a directory of the image`)
    else plan.links.push(link(target, to, why))
  }
  return plan
}

function link(target: string, to: string, { reason, origin }: Reason): PlannedMount {
  return { kind: 'symlink', target, to, reason, origin }
}

/** Without the program's own name, and without "hook", under which nvidia-ctk has the same verbs. */
function wordsOf({ path, args }: CdiHook): string[] {
  const [, ...words] = args
  return posix.basename(path) === 'nvidia-ctk' && words[0] === 'hook' ? words.slice(1) : words
}

/** --NAME VALUE and --NAME=VALUE. */
function valuesOf(words: readonly string[], name: string): string[] {
  const values: string[] = []
  for (const [index, word] of words.entries()) {
    if (word.startsWith(`--${name}=`)) values.push(word.slice(name.length + 3))
    else if (word === `--${name}` && words[index + 1] !== undefined) values.push(words[index + 1] ?? '')
  }
  return values
}
