// SPDX-License-Identifier: Apache-2.0
/** OCI hook files of a directory (oci-hooks.5 of containers/common), read strictly. */
import { isAbsolute, join } from 'node:path'
import type { HookFile } from '../plan/accelerators.js'
import { DocumentProblem, Part, parseDocument } from '../site/document.js'
import { listTrusted, readTrusted } from '../site/trusted_file.js'

const STAGES = ['prestart', 'createRuntime', 'createContainer', 'startContainer', 'poststart', 'poststop']

export function readHookFiles(directory: string): HookFile[] {
  const names = listTrusted(directory, ['.json'])
  if (names instanceof Error) return [broken(directory, names.message)]
  return names.map((name) => readHookFile(join(directory, name)))
}

function readHookFile(file: string): HookFile {
  const text = readTrusted(file)
  if (text instanceof Error) return broken(file, text.message)
  try {
    return take(file, parseDocument(file, text))
  } catch (error) {
    if (error instanceof DocumentProblem) return broken(file, error.message)
    throw error
  }
}

function take(file: string, root: Part): HookFile {
  const version = root.text('version')
  if (version !== '1.0.0') throw root.problem('version', 'should be 1.0.0')
  const hook = root.part('hook')
  if (hook === undefined) throw root.problem('hook', 'is missing')
  const path = hook.text('path')
  if (!isAbsolute(path)) throw hook.problem('path', 'should be an absolute path')
  const [args, env, timeout] = [hook.texts('args'), hook.texts('env'), hook.count('timeout')]
  hook.finish()
  const stages = root.texts('stages')
  const unknown = stages.find((stage) => !STAGES.includes(stage))
  if (stages.length === 0 || unknown !== undefined)
    throw root.problem('stages', `should be of ${STAGES.join(', ')}`)
  const when = root.part('when') ?? new Part({}, 'when')
  const always = when.flag('always')
  const hasBindMounts = when.flag('hasBindMounts')
  const read: HookFile = {
    file,
    path,
    args,
    env,
    ...(timeout === undefined ? {} : { timeout }),
    stages,
    when: {
      annotations: when.map('annotations'),
      commands: when.texts('commands'),
      ...(always === undefined ? {} : { always }),
      ...(hasBindMounts === undefined ? {} : { hasBindMounts }),
    },
  }
  when.finish()
  root.finish()
  return read
}

function broken(file: string, problem: string): HookFile {
  return { file, problem, path: '', args: [], env: [], stages: [], when: { annotations: {}, commands: [] } }
}
