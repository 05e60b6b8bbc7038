// SPDX-License-Identifier: Apache-2.0
/** An image as the rest of berth sees it: where it is, and what its config says. */

export type ImageSource =
  /** `user`: enroot's USER@, picks among several credentials of one host. */
  | { kind: 'registry'; host: string; repository: string; tag?: string; digest?: string; user?: string }
  | { kind: 'oci'; path: string; tag?: string }
  | { kind: 'oci-archive'; path: string; tag?: string }
  | { kind: 'docker-archive'; path: string; tag?: string }
  /** In the docker of the node. `id`: the config's digest, as that tells it; `archive`: what it has saved, borrowed. */
  | { kind: 'dockerd'; image: string; id?: string; archive?: number }
  | { kind: 'squashfs'; path: string }
  /** An unpacked root file system; nothing of it is imported. */
  | { kind: 'directory'; path: string }

export type RegistrySource = Extract<ImageSource, { kind: 'registry' }>

export interface ImageReference {
  /** As shown to users: docker.io/library/python:3.12 */
  canonical: string
  source: ImageSource
}

/** What the importer found in the image's config, checked by shape, kept beside the squashfs. */
export interface ImageConfig {
  env: string[]
  entrypoint: string[]
  cmd: string[]
  workdir: string
  user: string
  labels: Record<string, string>
  architecture: string
  /** Directories that the image wants to exist. */
  volumes?: string[]
  /** A script of the image that may start something, and that is not run. */
  script?: string
}

/** One image in the store; `key` names its files. */
export interface StoredImage {
  key: string
  /** Manifest digest, sha256:… ; empty for a squashfs file. */
  digest: string
  path: string
  /** `path` lies in the shared store, which only the store may open. */
  shared?: true
  size: number
  config: ImageConfig
  /** etc/passwd and etc/group as in the image, at most 256 KiB each. */
  passwd: string
  group: string
  layers: { digest: string; diffId: string; size: number }[]
  created: number
  /** Who signed the SIF that it was, of those whose word the site took then. */
  signer?: string
}
