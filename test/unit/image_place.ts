// SPDX-License-Identifier: Apache-2.0
/** One image in a scripted registry, and the client that reads it. */
import { randomBytes } from 'node:crypto'
import type { CredentialDocument } from '../../src/image/credentials.js'
import { Fetcher } from '../../src/image/fetch.js'
import { hostPlatform } from '../../src/image/platform.js'
import { parseReference } from '../../src/image/reference.js'
import { RegistryReader } from '../../src/image/registry.js'
import { RETRY } from '../../src/image/retry.js'
import { FakeRegistry } from '../registry.js'
export const FAST = { ...RETRY, tries: 4, wait_ms_min: 1, wait_ms_max: 5, retry_after_ms_max: 1000 }
export const HOST = hostPlatform('x64', '')
export const LAYER = randomBytes(300_000)

/** A registry with one image `a:latest`, a reader for it, and the layer's descriptor. */
export async function withRegistry(
  body: (place: {
    registry: FakeRegistry
    digest: string
    reader: (more?: ReaderOptions) => RegistryReader
  }) => Promise<void>,
): Promise<void> {
  const registry = await FakeRegistry.start()
  const fetcher = new Fetcher({}, FAST)
  try {
    const { digest } = registry.putImage([LAYER])
    const reader = ({ name = 'team/a', documents = [] }: ReaderOptions = {}) => {
      const { source } = parseReference(`${registry.host}/${name}`)
      if (source.kind !== 'registry') throw new Error('no registry')
      return new RegistryReader(source, fetcher, HOST, documents)
    }
    await body({ registry, digest, reader })
  } finally {
    await fetcher.close()
    await registry.stop()
  }
}

interface ReaderOptions {
  name?: string
  documents?: CredentialDocument[]
}

export const isBlob = (url: string | undefined) => url?.includes('/blobs/') === true
