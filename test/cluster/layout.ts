// SPDX-License-Identifier: Apache-2.0
/** Writes an OCI image layout (image-spec 1.1) from finished tar layers. */
import { createHash } from 'node:crypto'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'

export interface ImageRecipe {
  /** Uncompressed tars, lowest first. */
  layers: readonly Buffer[]
  compression?: 'gzip' | 'none'
  env?: readonly string[]
  workdir?: string
  entrypoint?: readonly string[]
  cmd?: readonly string[]
  user?: string
  volumes?: readonly string[]
}

/** Fixed, so that the same recipe gives the same digests. */
const CREATED = '2024-01-01T00:00:00Z'
const ARCHITECTURE = process.arch === 'x64' ? 'amd64' : process.arch

function sha256(bytes: Uint8Array): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`
}

/** Replaces `dir` by a layout whose one manifest is tagged `latest`; answers the manifest's digest. */
export function writeLayout(dir: string, recipe: ImageRecipe): string {
  rmSync(dir, { recursive: true, force: true })
  mkdirSync(join(dir, 'blobs/sha256'), { recursive: true })
  const blob = (
    bytes: Uint8Array,
    mediaType: string,
  ): { mediaType: string; digest: string; size: number } => {
    const digest = sha256(bytes)
    writeFileSync(join(dir, 'blobs/sha256', digest.slice(7)), bytes)
    return { mediaType, digest, size: bytes.length }
  }
  const json = (value: unknown, mediaType: string): ReturnType<typeof blob> =>
    blob(Buffer.from(JSON.stringify(value)), mediaType)
  const gzip = recipe.compression !== 'none'
  const layerType = `application/vnd.oci.image.layer.v1.tar${gzip ? '+gzip' : ''}`
  const layers = recipe.layers.map((tar) => blob(gzip ? gzipSync(tar, { level: 6 }) : tar, layerType))
  const config = json(
    {
      created: CREATED,
      architecture: ARCHITECTURE,
      os: 'linux',
      config: {
        Env: recipe.env ?? ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'],
        ...(recipe.workdir === undefined ? {} : { WorkingDir: recipe.workdir }),
        ...(recipe.entrypoint === undefined ? {} : { Entrypoint: recipe.entrypoint }),
        ...(recipe.user === undefined ? {} : { User: recipe.user }),
        ...(recipe.volumes && { Volumes: Object.fromEntries(recipe.volumes.map((path) => [path, {}])) }),
        Cmd: recipe.cmd ?? ['/bin/sh'],
      },
      rootfs: { type: 'layers', diff_ids: recipe.layers.map(sha256) },
      history: recipe.layers.map((_, index) => ({ created: CREATED, created_by: `layer ${index}` })),
    },
    'application/vnd.oci.image.config.v1+json',
  )
  const mediaType = 'application/vnd.oci.image.manifest.v1+json'
  const manifest = json({ schemaVersion: 2, mediaType, config, layers }, mediaType)
  const tagged = { ...manifest, annotations: { 'org.opencontainers.image.ref.name': 'latest' } }
  writeFileSync(join(dir, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests: [tagged] }))
  writeFileSync(join(dir, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}')
  return manifest.digest
}
