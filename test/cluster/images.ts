// SPDX-License-Identifier: Apache-2.0
/**
 * The images that cluster tests, demo and bench run: Debian of another release than the host's in three layers, a
 * busybox, and one static binary alone. Layouts are cached, so that only the first run on a machine builds them.
 */
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { must, run } from './command.js'
import { type ImageRecipe, writeLayout } from './layout.js'
import type { Registry } from './registry.js'
import { makeTar, type TarEntry } from './tar.js'

/** Outside the checkout: a fresh clone on the same machine finds it too. */
export const CACHE_DIR = process.env.BERTH_TEST_CACHE ?? '/var/cache/berth-test'
/** Bump when a recipe below changes. */
const RECIPE_VERSION = 3

export interface PublishedImages {
  debian: string
  busybox: string
  scratch: string
}

/** Release of the Debian image: never the host's own, so that os-release tells inside from outside. */
export function otherRelease(): string {
  return hostRelease() === 'trixie' ? 'bookworm' : 'trixie'
}

export function hostRelease(): string {
  return /^VERSION_CODENAME=(\w+)/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1] ?? ''
}

/** Builds what is missing and pushes all three. */
export async function publishImages(registry: Registry): Promise<PublishedImages> {
  const layouts = await buildImages()
  return {
    debian: await registry.push(layouts.debian, `debian:${otherRelease()}`),
    busybox: await registry.push(layouts.busybox, 'busybox:1'),
    scratch: await registry.push(layouts.scratch, 'scratch:1'),
  }
}

/** Paths of the three OCI layouts. */
export async function buildImages(): Promise<PublishedImages> {
  mkdirSync(CACHE_DIR, { recursive: true })
  return {
    debian: await cached(`debian-${otherRelease()}`, debianRecipe),
    busybox: await cached('busybox', busyboxRecipe),
    scratch: await cached('scratch', scratchRecipe),
  }
}

/** The same release with its package manager, for tests that install. */
export async function publishApt(registry: Registry): Promise<string> {
  const layout = await cached(`apt-${otherRelease()}`, async () => ({
    layers: [await debootstrap(otherRelease(), 'apt')],
    env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', 'MY_LIST=1;2;3;4'],
  }))
  return registry.push(layout, `apt:${otherRelease()}`)
}

/** An image of a test file's own: busybox and more; made anew each time, since its recipe is in that file. */
export async function publishLike(
  registry: Registry,
  name: string,
  more: Partial<ImageRecipe>,
): Promise<string> {
  const base = await busyboxRecipe()
  const layout = join(CACHE_DIR, `own-${name}.${process.pid}`)
  try {
    writeLayout(layout, { ...base, ...more, layers: [...base.layers, ...(more.layers ?? [])] })
    return await registry.push(layout, `${name}:1`)
  } finally {
    rmSync(layout, { recursive: true, force: true })
  }
}

async function cached(name: string, recipe: () => Promise<ImageRecipe>): Promise<string> {
  const path = join(CACHE_DIR, `${name}-v${RECIPE_VERSION}`)
  if (existsSync(path)) return path
  const temporary = `${path}.${process.pid}`
  writeLayout(temporary, await recipe())
  try {
    renameSync(temporary, path)
  } catch (error) {
    // Another test file has made it meanwhile, and may read it by now.
    rmSync(temporary, { recursive: true })
    if (!existsSync(path)) throw error
  }
  return path
}

async function debianRecipe(): Promise<ImageRecipe> {
  return {
    layers: [await debootstrap(otherRelease()), makeTar(toolLayer()), makeTar(editLayer())],
    env: [
      'PATH=/opt/tool/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
      'BERTH_TEST_IMAGE=from-image',
      'LD_LIBRARY_PATH=/opt/tool/lib',
    ],
    workdir: '/workspace',
    cmd: ['/bin/bash'],
  }
}

/** A program that only the image's own PATH finds, and things that the next layer removes or replaces. */
function toolLayer(): TarEntry[] {
  return [
    { name: 'opt/', type: '5' },
    { name: 'opt/tool/', type: '5' },
    { name: 'opt/tool/bin/', type: '5' },
    { name: 'opt/tool/bin/hello-tool', mode: 0o755, content: '#!/bin/sh\necho "hello from the image, $*"\n' },
    { name: 'opt/tool/bin/not-executable', mode: 0o644, content: 'text\n' },
    { name: 'opt/tool/removed', content: 'the next layer removes this\n' },
    { name: 'opt/tool/opaque/', type: '5' },
    { name: 'opt/tool/opaque/below', content: 'hidden by an opaque directory\n' },
    { name: 'opt/tool/first', content: 'linked\n' },
    { name: 'opt/tool/second', type: '1', link: 'opt/tool/first' },
    { name: 'opt/tool/secret', mode: 0o600, content: "only the image's root may read this\n" },
    { name: 'workspace/', type: '5', mode: 0o1777 },
  ]
}

function editLayer(): TarEntry[] {
  return [
    { name: 'opt/tool/.wh.removed' },
    { name: 'opt/tool/opaque/', type: '5' },
    { name: 'opt/tool/opaque/.wh..wh..opq' },
    { name: 'opt/tool/opaque/above', content: 'seen\n' },
    { name: 'opt/tool/link', type: '2', link: 'first' },
    { name: 'opt/tool/setuid', mode: 0o4755, content: '#!/bin/sh\nid -u\n' },
  ]
}

/** A minimal root file system as one tar, from the mirror that the machine's own apt uses. */
async function debootstrap(release: string, variant: 'essential' | 'apt' = 'essential'): Promise<Buffer> {
  const file = join(CACHE_DIR, `${release}.${process.pid}.tar`)
  const excludes = ['/usr/share/doc/*', '/usr/share/man/*', '/usr/share/locale/*']
  const source = `deb ${await mirror()} ${release} main`
  await must(
    [
      'mmdebstrap',
      '--quiet',
      `--variant=${variant}`,
      '--format=tar',
      ...excludes.map((path) => `--dpkgopt=path-exclude=${path}`),
      release,
      file,
      source,
    ],
    { timeoutMs: 600_000 },
  )
  const tar = readFileSync(file)
  rmSync(file)
  return tar
}

/** The Debian mirror that this machine uses. */
export async function mirror(): Promise<string> {
  const format = '$(ORIGIN) $(LABEL) $(REPO_URI)'
  const seen = await run(['apt-get', 'indextargets', '--format', format, 'Created-By: Packages'])
  const uri = /^Debian Debian (\S+)$/m.exec(seen.stdout)?.[1]
  if (uri === undefined)
    throw new Error(`apt knows no Debian mirror; run apt-get update first\n${seen.output}`)
  return uri
}

/** Names that busybox answers to and tests use. */
const APPLETS =
  'sh ls cat id pwd env echo sleep true false touch mount grep readlink stat hostname kill ps dd wc df'

async function busyboxRecipe(): Promise<ImageRecipe> {
  const binary = readFileSync('/bin/busybox')
  const applets: TarEntry[] = APPLETS.split(' ').map((name) => ({
    name: `bin/${name}`,
    type: '2',
    link: 'busybox',
  }))
  const base = [
    { name: 'bin/', type: '5' as const },
    { name: 'bin/busybox', mode: 0o755, content: binary },
    ...applets,
    { name: 'etc/', type: '5' as const },
    { name: 'etc/os-release', content: 'ID=busybox\nPRETTY_NAME="Busybox test image"\n' },
    { name: 'etc/passwd', content: 'root:x:0:0:root:/root:/bin/sh\n' },
    { name: 'etc/group', content: 'root:x:0:\n' },
    { name: 'root/', type: '5' as const, mode: 0o700 },
    { name: 'tmp/', type: '5' as const, mode: 0o1777 },
  ]
  return { layers: [makeTar(base)], env: ['PATH=/bin'], cmd: ['/bin/sh'] }
}

const SCRATCH_SOURCE = `
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
/* exit CODE: ends with it; else tells who it is, so that an image without a shell can be tested. */
int main(int argc, char **argv)
{
	char cwd[4096] = "?";
	if (argc > 2)
		return atoi(argv[2]);
	if (getcwd(cwd, sizeof(cwd)) == NULL)
		return 1;
	printf("scratch uid=%d gid=%d cwd=%s argc=%d argv0=%s\\n", (int)getuid(), (int)getgid(), cwd, argc, argv[0]);
	return 0;
}
`

async function scratchRecipe(): Promise<ImageRecipe> {
  const program = join(CACHE_DIR, `probe.${process.pid}`)
  writeFileSync(`${program}.c`, SCRATCH_SOURCE)
  await must(['cc', '-static', '-O2', '-s', '-o', program, `${program}.c`])
  const binary = readFileSync(program)
  for (const file of [program, `${program}.c`]) rmSync(file)
  return {
    layers: [makeTar([{ name: 'probe', mode: 0o755, content: binary }])],
    compression: 'none',
    env: [],
  }
}
