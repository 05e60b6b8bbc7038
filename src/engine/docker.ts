// SPDX-License-Identifier: Apache-2.0
/**
 * Docker: its daemon makes a container of an empty image, in which the prepared root is a volume. Only the worker speaks to
 * the daemon; the holder in the container is the user's, without capabilities, and tasks never are the daemon's children.
 */
import type { Engine, StartPlace } from './engine.js'
import { ABILITIES, KERNEL } from './native.js'
import { EMPTY_TAR, holdInside, INSIDE, STUB_REFERENCE } from './stub_image.js'

export const dockerEngine: Engine = {
  name: 'docker',
  summary: 'a container of dockerd, made by the worker; users need no access to the daemon',
  needs: {
    binary: 'docker',
    versionPattern: /^Docker version ([\d.]+)/,
    versionMin: '20.10',
    install: 'apt install docker.io, and name docker in `engines` of berth.conf',
    daemon: true,
    setuid: false,
    kernel: KERNEL,
  },
  // What users would add to its command line would be done by root.
  abilities: { ...ABILITIES, engineArgs: false },
  exitCodes: { 125: 'dockerd refused', 126: 'the holder could not be run', 127: 'the holder was not found' },
  start: {
    byDaemon: true,
    // The client runs as root: a configuration of the user's own is none that it may read.
    environment: ({ work }) => ({ HOME: work, DOCKER_CONFIG: work }),
    rootInside: INSIDE,
    before: (place) => [
      {
        unless: [...client(place), 'image', 'inspect', '--format=.', STUB_REFERENCE],
        command: [...client(place), 'import', `${place.work}/root.tar`, STUB_REFERENCE],
      },
    ],
    command: (place) => [
      ...client(place),
      ...['run', '--rm', `--name=${place.id}`, `--label=io.berth.step=${place.id}`, '--pull=never'],
      ...[`--user=${ids(place)}`, '--cap-drop=ALL', '--security-opt=no-new-privileges', '--read-only'],
      ...['--network=host', '--pid=host', '--uts=host', '--log-driver=none'],
      ...[`--volume=${place.root}:${INSIDE}`, STUB_REFERENCE],
      ...holdInside(place),
    ],
    files: () => [{ name: 'root.tar', content: EMPTY_TAR }],
    mountPoints: ['/proc', '/sys', '/dev'],
    teardown: (place) => [[...client(place), 'rm', '--force', place.id]],
  },
}

function client({ binary, socket }: StartPlace): string[] {
  return [binary, `--host=unix://${socket}`]
}

function ids({ plan }: StartPlace): string {
  const { uid, gid } = plan.process.user
  return `${uid}:${gid}`
}
