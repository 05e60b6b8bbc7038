// SPDX-License-Identifier: Apache-2.0
/**
 * The config of a saved image, as a file in it: a squashfs has no other place that every tool keeps. It is written in
 * the terms of the OCI image-spec (config.md), and read before enroot's files.
 */
import { parseConfig } from './config.js'
import type { ImageConfig } from './image.js'

/** Relative to the root of the image. */
export const SAVED_CONFIG = '.berth/image.json'

export function savedConfig(config: ImageConfig): string {
  const document = {
    architecture: config.architecture,
    os: 'linux',
    config: {
      Env: config.env,
      Entrypoint: config.entrypoint,
      Cmd: config.cmd,
      WorkingDir: config.workdir,
      User: config.user,
      Labels: config.labels,
      ...(config.volumes && { Volumes: Object.fromEntries(config.volumes.map((path) => [path, {}])) }),
    },
    rootfs: { type: 'layers', diff_ids: [] },
  }
  return `${JSON.stringify(document, null, 2)}\n`
}

/** Undefined for a file that is not one of these: its user may have put anything there. */
export function readSavedConfig(bytes: Uint8Array | undefined): ImageConfig | undefined {
  if (bytes === undefined) return undefined
  try {
    return parseConfig(bytes, 0).config
  } catch {
    return undefined
  }
}
