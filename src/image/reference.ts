// SPDX-License-Identifier: Apache-2.0
/** The one grammar of image references: what a user wrote becomes a source and a canonical name; pure. */
import { BerthError } from '../report/errors.js'
import type { ImageReference, ImageSource, RegistrySource } from './image.js'

/** PATH_MAX of Linux: no reference that names a file can be longer. */
const TEXT_CHARS_MAX = 4096
/** distribution/reference: a repository's full name. */
const NAME_CHARS_MAX = 255
const SHOWN_CHARS_MAX = 80

const HUB = 'docker.io'
/** Docker Hub under all its names is one registry. */
const HUB_ALIASES = new Set([HUB, 'index.docker.io', 'registry-1.docker.io', 'registry.hub.docker.com'])

const HOST =
  /^(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*|\[[0-9a-f:.]+\])(?::\d{1,5})?$/
/** Docker Hub's images without a slash have no dot in their names. */
const LONE_HOST = /^[a-z0-9-]+(\.[a-z0-9-]+)*\.[a-z]{2,}(:\d{2,5})?$/i
const COMPONENT = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/
const TAG = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/
const DIGEST = /^sha256:[0-9a-f]{64}$/
/** Robot accounts: Harbor's robot$x, Quay's org+robot, NGC's $oauthtoken. */
const USER = /^[A-Za-z0-9._$+%=-]{1,128}$/
const FILE_SUFFIX = /\.(sqsh|sqfs|squashfs|sif)$/i
/** Directories of the kernel's own file systems: nothing below them is an image, reading it may never end. */
const NO_IMAGE_BELOW = /^\/+(dev|proc|sys)(\/|$)/

/**
 * Takes an image reference apart: `[REGISTRY/]NAME[:TAG][@sha256:…]`, enroot's `[USER@]REGISTRY#NAME[:TAG]`, both also
 * after `docker://`; `oci:DIR[:TAG]`, `oci-archive:FILE[:TAG]`, `docker-archive:FILE[:NAME:TAG]` (as skopeo spells
 * them, so a path there has no colon); `dockerd://IMAGE` for what the docker of the node has; `dir:DIRECTORY` for an
 * unpacked root file system; a squashfs file by a path that starts with `/`, `./` or `../`.
 * @throws BerthError BERTH_EIMAGEREF
 */
export function parseReference(text: string): ImageReference {
  if (text === '') refuse(text, 'is empty')
  if (text.length > TEXT_CHARS_MAX) refuse(text, `is longer than ${TEXT_CHARS_MAX} characters`)
  // biome-ignore lint/suspicious/noControlCharactersInRegex: that is what it looks for
  if (/[\u0000-\u001f\u007f]/.test(text)) refuse(text, 'contains a control character')

  if (/^\.{0,2}\//.test(text) || text === '.' || text === '..') return parseFile(text)
  if (text.startsWith('~')) refuse(text, `starts with ~: did you mean $HOME${text.slice(1)}`)
  if (/^dir:(?!\/\/)/.test(text)) return parseDirectory(text)
  const local = /^(oci|oci-archive|docker-archive):(?!\/\/)(.*)$/.exec(text)
  if (local !== null) return parseLocal(text, local[1] as 'oci', local[2] ?? '')

  if (text.startsWith(DOCKERD)) return parseDockerd(text, text.slice(DOCKERD.length))
  const scheme = /^([A-Za-z][A-Za-z0-9+.-]*):\/\//.exec(text)
  if (scheme?.[1] === 'podman')
    refuse(text, 'is asked of no podman: run `podman save -o x.tar IMAGE`, then use docker-archive:x.tar')
  if (scheme !== null && scheme[1] !== 'docker') refuse(text, `has the unknown scheme ${scheme[1]}://`)
  const bare = scheme === null ? text : text.slice(scheme[0].length)
  if (scheme === null && FILE_SUFFIX.test(bare)) refuse(text, `looks like a file: did you mean ./${bare}`)
  return parseRegistry(text, bare)
}

/** As enroot spells it. */
const DOCKERD = 'dockerd://'

/** The short name docker users know: python:3.12 for docker.io/library/python:3.12. */
export function familiarName(reference: ImageReference): string {
  return reference.canonical.replace(/^docker\.io\/(library\/)?/, '')
}

export function isDigest(text: string): boolean {
  return DIGEST.test(text)
}

/** The same image, named by digest; local files keep their name. */
export function pinReference(reference: ImageReference, digest: string): ImageReference {
  const { source } = reference
  if (source.kind !== 'registry') return reference
  return named({ ...source, digest })
}

function refuse(text: string, problem: string): never {
  const shown = text.length > SHOWN_CHARS_MAX ? `${text.slice(0, SHOWN_CHARS_MAX)}...` : text
  throw new BerthError('BERTH_EIMAGEREF', { reference: JSON.stringify(shown), problem })
}

function parseFile(text: string): ImageReference {
  if (text.endsWith('/') || /(^|\/)\.{1,2}$/.test(text)) refuse(text, 'names a directory')
  if (NO_IMAGE_BELOW.test(text)) refuse(text, 'is not an image file')
  return { canonical: text, source: { kind: 'squashfs', path: text } }
}

function parseDirectory(text: string): ImageReference {
  const path = text.slice('dir:'.length)
  if (path === '') refuse(text, 'names no path')
  if (NO_IMAGE_BELOW.test(path)) refuse(text, 'is no root file system')
  return { canonical: text, source: { kind: 'directory', path } }
}

function parseDockerd(text: string, image: string): ImageReference {
  if (image === '') refuse(text, 'names no image')
  if (/^-|\s/.test(image)) refuse(text, 'is malformed')
  return { canonical: text, source: { kind: 'dockerd', image } }
}

function parseLocal(
  text: string,
  kind: 'oci' | 'oci-archive' | 'docker-archive',
  rest: string,
): ImageReference {
  const colon = rest.indexOf(':')
  const path = colon < 0 ? rest : rest.slice(0, colon)
  const tag = colon < 0 ? undefined : rest.slice(colon + 1)
  if (path === '') refuse(text, 'names no path')
  if (NO_IMAGE_BELOW.test(path)) refuse(text, 'is not an image file')
  if (kind !== 'oci' && path.endsWith('/')) refuse(text, 'names a directory')
  const tagText = kind === 'docker-archive' ? tag?.replace(/^[a-z0-9./_-]+(:\d+\/[a-z0-9./_-]+)?:/, '') : tag
  if (tagText !== undefined && !TAG.test(tagText))
    refuse(text, `has the malformed tag ${JSON.stringify(tagText)}`)
  const source: ImageSource = tag === undefined ? { kind, path } : { kind, path, tag }
  return { canonical: `${kind}:${path}${tag === undefined ? '' : `:${tag}`}`, source }
}

function parseRegistry(text: string, bare: string): ImageReference {
  const at = bare.lastIndexOf('@sha')
  const digest = at < 0 ? undefined : bare.slice(at + 1)
  if (digest !== undefined && !DIGEST.test(digest))
    refuse(text, 'has a malformed digest (sha256: and 64 hex digits)')
  const place = splitHost(text, at < 0 ? bare : bare.slice(0, at))

  const colon = place.path.lastIndexOf(':')
  const tag = colon < 0 ? undefined : place.path.slice(colon + 1)
  if (tag !== undefined && !TAG.test(tag)) refuse(text, `has the malformed tag ${JSON.stringify(tag)}`)
  const repository = takeRepository(text, place.host, colon < 0 ? place.path : place.path.slice(0, colon))
  const source: RegistrySource = { kind: 'registry', host: place.host, repository }
  if (place.user !== undefined) source.user = place.user
  if (tag !== undefined || digest === undefined) source.tag = tag ?? 'latest'
  if (digest !== undefined) source.digest = digest
  return named(source)
}

function named(source: RegistrySource): ImageReference {
  const { host, repository, tag, digest, user } = source
  const dockers = user === undefined && looksLikeHost(host)
  const place = dockers ? `${host}/` : `${user === undefined ? '' : `${user}@`}${host}#`
  const version = `${tag === undefined ? '' : `:${tag}`}${digest === undefined ? '' : `@${digest}`}`
  return { canonical: `${place}${repository}${version}`, source }
}

/** Docker's rule for the first segment of a name; a short host name can only be written before enroot's `#`. */
function looksLikeHost(segment: string): boolean {
  return /[.:]/.test(segment) || segment === 'localhost'
}

/** The host is what stands before `#`, or a first segment with a dot or a colon, or localhost; else Docker Hub. */
function splitHost(text: string, name: string): { host: string; path: string; user?: string } {
  const hash = name.indexOf('#')
  if (hash >= 0) {
    const at = name.lastIndexOf('@', hash)
    const user = at < 0 ? undefined : name.slice(0, at)
    if (user !== undefined && !USER.test(user)) refuse(text, 'has a malformed user name before @')
    const host = takeHost(text, name.slice(at + 1, hash) || HUB)
    return { host, path: name.slice(hash + 1), ...(user === undefined ? {} : { user }) }
  }
  const slash = name.indexOf('/')
  const first = slash < 0 ? '' : name.slice(0, slash)
  if (slash < 0 && LONE_HOST.test(name))
    refuse(
      text,
      `is a registry without an image: write ${name}/NAME:TAG (in an #SBATCH line whatever follows a # is a comment)`,
    )
  if (!looksLikeHost(first)) return { host: HUB, path: name }
  return { host: takeHost(text, first), path: name.slice(slash + 1) }
}

function takeHost(text: string, written: string): string {
  const host = written.toLowerCase()
  if (!HOST.test(host)) refuse(text, `has the malformed registry host ${JSON.stringify(written)}`)
  const port = /:(\d+)$/.exec(host)?.[1]
  if (port !== undefined && (Number(port) < 1 || Number(port) > 65535)) {
    refuse(text, `has the impossible port ${port}`)
  }
  return registryName(host)
}

/** One name for one registry, as references have it. */
export function registryName(host: string): string {
  const name = host.toLowerCase()
  return HUB_ALIASES.has(name) ? HUB : name
}

function takeRepository(text: string, host: string, path: string): string {
  if (path === '') refuse(text, 'names no image')
  const full = host === HUB && !path.includes('/') ? `library/${path}` : path
  if (host.length + 1 + full.length > NAME_CHARS_MAX)
    refuse(text, `has a name of over ${NAME_CHARS_MAX} characters`)
  for (const part of full.split('/')) {
    if (COMPONENT.test(part)) continue
    if (COMPONENT.test(part.toLowerCase()))
      refuse(text, 'has upper case letters in its name: registries want lower case')
    refuse(
      text,
      part === '' ? 'has an empty part in its name' : `has the malformed part ${JSON.stringify(part)}`,
    )
  }
  return full
}
