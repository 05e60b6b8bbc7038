// SPDX-License-Identifier: Apache-2.0
/** What every handler of the worker may use. */
import type { LogFields } from '../report/log.js'
import type { Site } from '../site/site.js'
import type { Rooms } from '../step.js'
import type { Idle } from './idle.js'
import type { Steps } from './steps.js'
import type { Story } from './story.js'
import type { Turns } from './turns.js'

export interface WorkerOptions {
  runtimeDir: string
  /** KEY=VALUE arguments that it was started with, except the directory. */
  given: Record<string, string>
}

export interface Worker {
  options: WorkerOptions
  site: Site
  rooms: Rooms
  story: Story
  steps: Steps
  idle: Idle
  /** What users ask for outside of steps. */
  errands: Turns
  started: number
  log(line: string, fields?: LogFields): void
}
