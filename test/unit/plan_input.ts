// SPDX-License-Identifier: Apache-2.0
/** A plan's input for tests: the request is parsed from options, everything else has a plain default. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type ImageFacts, NO_FACTS } from '../../src/image/facts.js'
import type { ImageConfig, StoredImage } from '../../src/image/image.js'
import type { PlanInput, PlanUser } from '../../src/plan/input.js'
import { parseRequest } from '../../src/request/grammar.js'
import type { Profile } from '../../src/site/profile.js'
import { loadSite, type Site } from '../../src/site/site.js'

export interface Given {
  options?: string[]
  environment?: Record<string, string>
  config?: Partial<ImageConfig>
  image?: Partial<StoredImage>
  /** The image is not in the store. */
  cold?: boolean
  user?: Partial<PlanUser>
  step?: Partial<Omit<PlanInput['step'], 'environment'>>
  /** What was found in the image; absent: nobody has looked. */
  facts?: Partial<ImageFacts>
  /** Lines of berth.conf; origins read "berth.conf:LINE". */
  site?: string
}

export function planInput(given: Given = {}): PlanInput {
  const environment = new Map(Object.entries(given.environment ?? {}))
  const context = given.step?.context ?? 'step'
  const options = ['container-image=debian:12', ...(given.options ?? [])]
  const request = parseRequest({ options, environment, context })
  if (request === undefined) throw new Error('the test asks for no container')
  return {
    request,
    image: {
      reference: 'docker.io/library/debian:12',
      ...(given.cold === true ? {} : { stored: storedImage(given) }),
      ...(given.facts === undefined ? {} : { facts: { ...NO_FACTS, ...given.facts } }),
    },
    engine: 'native',
    site: given.site === undefined ? loadSite({}) : siteOf(given.site),
    user: {
      name: 'ada',
      uid: 2041,
      gid: 2000,
      home: '/home/ada',
      groups: [
        { gid: 2000, name: 'lab' },
        { gid: 3000, name: 'gpu' },
      ],
      ...given.user,
    },
    step: { context, job: 4711, step: 0, cwd: '/work/run', environment, ...given.step },
  }
}

/** Of an image for x86-64. */
export function libcFacts(kind: 'glibc' | 'musl', version: string): Partial<ImageFacts> {
  return { libc: { kind, version, path: '/lib/libc.so.6', machine: 62 }, cache: [] }
}

function storedImage({ config, image }: Given): StoredImage {
  return {
    key: 'sha256-aa-f1',
    digest: 'sha256:aa',
    path: '/var/lib/berth/images/sha256-aa-f1.sqsh',
    size: 1,
    config: {
      env: ['PATH=/usr/local/bin:/usr/bin:/bin'],
      entrypoint: [],
      cmd: [],
      workdir: '',
      user: '',
      labels: {},
      architecture: 'amd64',
      ...config,
    },
    passwd: 'root:x:0:0:root:/root:/bin/bash\n_apt:x:42:65534::/nonexistent:/usr/sbin/nologin\n',
    group: 'root:x:0:\nvideo:x:3000:\n',
    layers: [],
    created: 0,
    ...image,
  }
}

function withoutPlace(profiles: ReadonlyMap<string, Profile>, directory: string): Map<string, Profile> {
  return new Map(
    [...profiles].map(([name, one]) => [name, { ...one, place: one.place.replace(directory, '') }]),
  )
}

function siteOf(text: string): Site {
  const directory = mkdtempSync(join(tmpdir(), 'berth-plan-'))
  try {
    writeFileSync(join(directory, 'berth.conf'), text)
    const site = loadSite({ config: join(directory, 'berth.conf') })
    if (site.errors.length > 0) throw site.errors[0]
    return {
      ...site,
      profiles: { ...site.profiles, byName: withoutPlace(site.profiles.byName, `${directory}/`) },
      get: (key) => site.get(key),
      origin: (key) => site.origin(key).replace(`${directory}/`, ''),
    }
  } finally {
    rmSync(directory, { recursive: true })
  }
}
