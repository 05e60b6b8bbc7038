// SPDX-License-Identifier: Apache-2.0
/** Images that the addon writes, from layers or from an image and changes; part of native.ts' contract. */
import type { Marks } from './elf.js'
import type { MadeEntry } from './namespaces.js'

/** How layers become blocks, and how large they may be. */
export interface SquashSettings {
  /** 'zstd' level 1 by default, 'lz4', 'gzip', 'none'. */
  compressor: 'zstd' | 'lz4' | 'gzip' | 'none'
  level: number
  blockSize: number
  threads: number
  /** Uncompressed bytes and files beyond which an image is refused. */
  bytesMax: number
  entriesMax: number
}

export interface SquashOptions extends SquashSettings {
  /** Output: an empty regular file opened read-write; not closed. */
  fd: number
  layers: number
  /** 'root': every file is root's, whoever the layers say; default 'keep'. */
  owners?: 'keep' | 'root'
  /** Paths whose content is wanted back, e.g. etc/passwd; each at most 256 KiB. */
  capture: string[]
  /**
   * Layers that are not sent, as images made before have them: layer `at` of images[image] (descriptors, borrowed) is
   * layer `layer` here. squash() throws EUCLEAN when one is no such image, EOPNOTSUPP when its blocks are of another kind.
   */
  reuse?: { images: number[]; layers: StoredLayer[] }
  /** Beginnings of the names of libraries: `marks` of the result say which contents that passed ask for one of them. */
  markNeeded?: readonly string[]
}

export interface StoredLayer {
  layer: number
  image: number
  at: number
}

export interface SquashResult {
  size: number
  entries: number
  bytes: number
  /** Compressed bytes that came from other images. */
  copied: number
  /** sha256 of each uncompressed tar, by layer index; zeros for a layer that was not sent. */
  diffIds: string[]
  captured: Record<string, Buffer>
  /** Where markNeeded was given. */
  marks?: Marks
}

/** Streams OCI layers into one squashfs; layers are given by index (0 = lowest) and consumed top first. */
export interface NativeSquash {
  /**
   * Feeds compressed bytes of a layer; resolves when the engine wants more (back-pressure). Layers other than the
   * one being merged are accepted up to a bounded window.
   */
  write(layer: number, data: Uint8Array): Promise<void>
  /** End of a layer's stream. */
  end(layer: number): Promise<void>
  /**
   * After all layers ended: those that must be written and ended once more before finish(), nearly always none. A hard
   * link may need content that an upper layer hides and whose bytes had passed before the link was seen; finish()
   * rejects with ENODATA when they were not sent.
   */
  missing(): Promise<number[]>
  /** After all layers ended: tables written, file complete (not yet fsynced). */
  finish(): Promise<SquashResult>
  /**
   * Pending promises reject with ECANCELED, or with why it has stopped already. Resolves when no thread is left: until then
   * one may still be writing to the file.
   */
  abort(): Promise<void>
  /** Compressed bytes consumed, uncompressed bytes seen. */
  progress(): { compressed: number; uncompressed: number }
}

export interface AssembleOptions {
  /** A squashfs: regular file or block device. */
  image: number
  /** Upper directory of an overlay over it, opened for reading. */
  upper: number
  /** An empty regular file, opened read-write. */
  out: number
  /** For all blocks where the image's own compressor cannot be written. */
  compressor: SquashOptions['compressor']
  level: number
  threads: number
  bytesMax: number
  entriesMax: number
  /** Directories that hide the image's. */
  opaque: string[]
  /** Left out while they are as they were made. */
  own: MadeEntry[]
  add: AddedFile[]
  /** False: the file is new, and where the file system is this kernel's alone no disk is waited for; default true. */
  durable?: boolean
}

/** A file of root's; a `path` that ends with / is a directory. What has that name stays, without `replace`. */
export interface AddedFile {
  path: string
  content: string
  replace?: boolean
}

export interface Assembled {
  size: number
  /** Compressed bytes that were copied, bytes that were compressed. */
  copied: number
  fresh: number
}
