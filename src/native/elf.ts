// SPDX-License-Identifier: Apache-2.0
/** What the addon says about ELF files of images and of the node; part of native.ts' contract. */

export interface ScanOptions {
  /** Beginnings of the file names of libraries to read. */
  prefixes: string[]
  /** Of these also the symbols, and who in the image wants them. */
  exporters: string[]
  /** Beginnings of the defined symbols that are told, in an image; absent: all. */
  told?: string[]
  /** Beginning of a file name → text before the version in it. */
  texts: Record<string, string>
  threads: number
  /** Of the conversion that made the image, with `exporters` as its markNeeded: others are not asked what they want. */
  marks?: Marks
}

/** Which contents of an image ask for certain libraries; only the addon looks into it. */
export interface Marks {
  readonly marks: unique symbol
}

/** What the loader would read of one ELF file; of 32-bit files only bits and machine. */
export interface ElfFacts {
  path: string
  bits: 32 | 64
  /** EM_… of elf.h. */
  machine: number
  executable: boolean
  soname: string
  needed: string[]
  rpath: string
  runpath: string
  versionsNeeded: string[]
  versionsProvided: string[]
  exporter: boolean
  /** Of exporters, sorted; wants: in an image only what an exporter there defines. */
  defines: string[]
  wants: string[]
  text: string
}

export interface ImageScan {
  /** All libraries by path, relative to the root; target: of a symbolic link. */
  names: { path: string; target: string }[]
  found: ElfFacts[]
  truncated: boolean
}
