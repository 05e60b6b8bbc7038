// SPDX-License-Identifier: Apache-2.0
/** What kept a container from being saved, in the words of its user. */
import type { NativeError } from '../native.js'
import { BerthError } from '../report/errors.js'

const CLAUSES: Readonly<Record<string, string>> = {
  ENOENT: 'No such file or directory',
  ENOTDIR: 'Not a directory',
  EISDIR: 'target is a directory',
  EACCES: 'Permission denied',
  EPERM: 'Operation not permitted',
  EROFS: 'Read-only file system',
  ENOSPC: 'No space left on device',
  EDQUOT: 'Disk quota exceeded',
  EFBIG: 'the image would be larger than this system allows',
  ETIMEDOUT: 'its file server does not answer',
}

/** Spelled as strerror(3) does, where users look for it. */
export function explainSave(path: string, error: unknown): BerthError {
  if (error instanceof BerthError) return error
  const { code, message } = error as Partial<NativeError>
  return saveError(path, CLAUSES[code ?? ''] ?? message ?? String(error), error)
}

export function saveError(path: string, problem: string, cause?: unknown): BerthError {
  return new BerthError('BERTH_ESAVE', { path, problem }, { cause })
}
