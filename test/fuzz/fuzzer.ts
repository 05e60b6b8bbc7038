// SPDX-License-Identifier: Apache-2.0
/**
 * Runs a libFuzzer program: a fixed number of inputs from a fixed seed, so that a machine's speed decides nothing, or
 * for BERTH_FUZZ_SECONDS from a random seed, to find what is new. The fixed run of elf and squashfs is the same each
 * time; the converter of layers and index has threads, whose order decides which inputs libFuzzer builds upon.
 */
import { spawnSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'

/** 0: the fixed run. */
export const FUZZ_SECONDS = Number(process.env.BERTH_FUZZ_SECONDS ?? 0)
/** What was found stays after the test, as the input of a test to come. */
const FOUND = join(import.meta.dirname, '../../build/fuzz-found')
/** Of one input: under sanitizers, on a machine with other work. An input without end is far beyond it. */
const INPUT_SECONDS_MAX = 100

interface Fuzzing {
  program: string
  /** Directory of the seeds; what is found to be interesting is added. */
  corpus: string
  /** Inputs of the fixed run. */
  runs: number
  inputBytesMax: number
  memoryMbMax: number
}

/** @throws AssertionError with the sanitizer's words and the file of the input that it concerns */
export function fuzz({ program, corpus, runs, inputBytesMax, memoryMbMax }: Fuzzing): void {
  mkdirSync(FOUND, { recursive: true })
  const amount =
    FUZZ_SECONDS > 0 ? [`-max_total_time=${FUZZ_SECONDS}`, '-seed=0'] : [`-runs=${runs}`, '-seed=1']
  const limits = [
    `-max_len=${inputBytesMax}`,
    `-timeout=${INPUT_SECONDS_MAX}`,
    `-rss_limit_mb=${memoryMbMax}`,
  ]
  const words = [...amount, ...limits, '-verbosity=0', `-artifact_prefix=${FOUND}/`, corpus]
  const done = spawnSync(program, words, { encoding: 'utf8' })
  assert.is(done.status, 0, done.stderr.slice(-3000))
}
