// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from 'node:fs'

/** As mkdtemp() made it for a test file. */
const TEST_FOLDER = /\/berth-[\w-]+-\w{6}(\/|$)/

/** Every mount here, but for those in folders of other test files, which mount and unmount beside this one. */
export function mountsBut(own: string): string {
  return readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .filter((line) => {
      const place = line.split(' ')[1] ?? ''
      return place.startsWith(own) || !TEST_FOLDER.test(place)
    })
    .join('\n')
}
