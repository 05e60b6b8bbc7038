// SPDX-License-Identifier: Apache-2.0
/** What the site tells the store, and what callers ask of it. */
import type { SignatureOrder } from '../image/wire.js'
import type { Native, SquashSettings } from '../native.js'
import type { Access } from './access.js'
import type { ImportProgress } from './ask.js'
import type { ReusePolicy } from './reuse.js'
import type { SharedOptions } from './shared/shared.js'

export interface StoreOptions extends SquashSettings {
  directory: string
  /** Account of the importers. */
  importerUser: { uid: number; gid: number }
  /** 0: as many as there are processors, up to 16. */
  threads: number
  /** Who owns the files of a converted image; default 'root'. */
  owners?: 'keep' | 'root'
  /** Bytes; 0: no limit of its own. */
  quotaBytes: number
  freeFloorBytes: number
  /** A tag that was resolved this recently is not asked for again. */
  tagTtlSeconds: number
  /** A directory for several nodes. */
  shared?: SharedOptions
  log?: (line: string) => void
  /** The built program, dist/. */
  distDir: string
  /** Hosts that may be spoken to by plain http. */
  insecure?: string[]
  /** HOST=MIRROR[/PREFIX]: asked first for images of HOST. */
  mirrors?: string[]
  /** Variables of the importers that name proxies, over the worker's own. */
  proxy?: Readonly<Record<string, string>>
  /** Whose images may lend layers to those of a user; default 'user'. */
  reuse?: ReusePolicy
  /** What signatures of SIF files must be, asked for each file: keys come and go. @throws BERTH_ESITE */
  signatures?: (() => SignatureOrder) | undefined
  /** The addon; by default the one beside the program. */
  native?: Native
}

export interface EnsureOptions {
  access: Access
  progress?: ((progress: ImportProgress) => void) | undefined
  signal?: AbortSignal | undefined
}

export interface ImageRow {
  key: string
  reference: string
  digest: string
  size: number
  /** Seconds since the epoch. */
  created: number
  used: number
  leases: number
  pinned: boolean
  /** Compressed bytes of layers that other images lent when it was imported. */
  reused: number
  /** Whose signature of a SIF held. */
  signer?: string
}
