// SPDX-License-Identifier: Apache-2.0
/** Where podman, docker and enroot keep logins. */
import { isAbsolute, join } from 'node:path'

interface CredentialPlace {
  path: string
  kind: 'docker' | 'netrc'
}

/** Docker Hub's keys in the wild are one registry. */
const HUB_KEYS = ['docker.io', 'index.docker.io', 'registry-1.docker.io', 'auth.docker.io']

/** All names under which a login for the host may be kept. */
export function namesOf(host: string): readonly string[] {
  return HUB_KEYS.includes(host) ? HUB_KEYS : [host]
}

/** What a variable names before what lies at home, docker's before enroot's. */
export function credentialPlaces(
  env: Readonly<Record<string, string | undefined>>,
  uid: number,
  account: string | undefined,
): CredentialPlace[] {
  const home = env.HOME || account || ''
  const below = (folder: string | undefined, name: string) =>
    folder === undefined || !isAbsolute(folder) ? [] : [join(folder, name)]
  const docker = [
    ...(env.REGISTRY_AUTH_FILE === undefined ? [] : [env.REGISTRY_AUTH_FILE]),
    ...below(env.XDG_RUNTIME_DIR, 'containers/auth.json'),
    `/run/containers/${uid}/auth.json`,
    ...below(env.XDG_CONFIG_HOME ?? join(home, '.config'), 'containers/auth.json'),
    ...below(env.DOCKER_CONFIG, 'config.json'),
    ...below(home, '.docker/config.json'),
    ...below(home, '.dockercfg'),
  ]
  const enroot = [
    ...below(env.ENROOT_CONFIG_PATH, '.credentials'),
    ...below(env.XDG_CONFIG_HOME ?? join(home, '.config'), 'enroot/.credentials'),
  ]
  return [
    ...docker.map((path) => ({ path, kind: 'docker' as const })),
    ...enroot.map((path) => ({ path, kind: 'netrc' as const })),
  ]
}
