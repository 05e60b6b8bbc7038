// SPDX-License-Identifier: Apache-2.0
/** The worker's log: one line an event, "time level message key=value", for people and for grep; secrets redacted. */
import { toStderr } from './log_file.js'
import { isSecretKey, REDACTED, redact } from './redact.js'
import { UserLines } from './user_lines.js'

type LogLevel = 'error' | 'warn' | 'info' | 'debug'

export type LogFields = Readonly<Record<string, string | number | boolean | undefined>>

/** The field `uid` names the user who caused a line: each user's lines are limited. */
interface Log {
  error(message: string, fields?: LogFields): void
  warn(message: string, fields?: LogFields): void
  info(message: string, fields?: LogFields): void
  debug(message: string, fields?: LogFields): void
  /** The same log with fields that stand on each line, e.g. the step. */
  with(fields: LogFields): Log
}

interface LogOptions {
  level: LogLevel
  /** Takes a whole line; default: stderr, which the keeper and systemd keep. */
  write?: (line: string) => void
  now?: () => Date
}

const RANK: Readonly<Record<LogLevel, number>> = { error: 0, warn: 1, info: 2, debug: 3 }
/** A longer line is a stack or a user's text; the beginning tells enough and the file stays readable. */
const LINE_CHARACTERS_MAX = 4096

export function createLog(options: LogOptions, standing: LogFields = {}, users = new UserLines()): Log {
  const write = options.write ?? toStderr
  const now = options.now ?? (() => new Date())
  const put = (level: LogLevel, message: string, fields: LogFields = {}): void => {
    if (RANK[level] > RANK[options.level]) return
    const all = { ...standing, ...fields }
    const at = now()
    const uid = typeof all.uid === 'number' ? all.uid : undefined
    if (uid !== undefined && !users.take(uid, at.getTime())) return
    for (const text of users.suppressed(uid)) write(`${at.toISOString()} warn ${text}\n`)
    const pairs = Object.entries(all)
    const words = pairs.flatMap(([key, value]) =>
      value === undefined ? [] : [`${key}=${quote(key, value)}`],
    )
    const line = [at.toISOString(), level, oneLine(redact(cut(message))), ...words].join(' ')
    write(`${line.slice(0, LINE_CHARACTERS_MAX)}\n`)
  }
  return {
    error: (message, fields) => put('error', message, fields),
    warn: (message, fields) => put('warn', message, fields),
    info: (message, fields) => put('info', message, fields),
    debug: (message, fields) => put('debug', message, fields),
    with: (fields) => createLog(options, { ...standing, ...fields }, users),
  }
}

function quote(key: string, value: string | number | boolean): string {
  if (isSecretKey(key)) return REDACTED
  const text = redact(cut(String(value)))
  return /^[\w./:@#%+,-]+$/.test(text) ? text : JSON.stringify(text)
}

/** Before anything looks at it: a frame may bring a megabyte. */
function cut(text: string): string {
  return text.slice(0, LINE_CHARACTERS_MAX)
}

/** A user's text must not be able to start a line of its own. */
function oneLine(text: string): string {
  return text.replace(/[\r\n]+\s*/g, ' | ').replace(/[^\P{Cc}\t]/gu, '?')
}
