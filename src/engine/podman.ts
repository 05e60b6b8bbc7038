// SPDX-License-Identifier: Apache-2.0
/** Podman without root: its store, its pause process and its conmon live in the step's view and go with it. */
import type { Engine, StartPlace } from './engine.js'
import { ABILITIES, KERNEL } from './native.js'

/** What podman and the runtime below it mount on, and the files that they would make in a root of their own. */
const MOUNT_POINTS = ['/proc', '/sys', '/dev', '/run', '/etc']

export const podmanEngine: Engine = {
  name: 'podman',
  summary: 'rootless engine without a daemon, with the hooks and defaults of containers.conf',
  needs: {
    binary: 'podman',
    versionPattern: /^podman version (\S+)/,
    versionMin: '4.3',
    helpers: ['conmon'],
    install: 'apt install podman uidmap, or dnf install podman',
    daemon: false,
    setuid: false,
    kernel: KERNEL,
  },
  abilities: { ...ABILITIES, engineArgs: true },
  exitCodes: { 125: 'podman failed', 126: 'the holder could not be run', 127: 'the holder was not found' },
  start: {
    command: ({ args, root, hold, id, binary, run }) => [
      ...[binary, ...storeOptions(run)],
      ...['run', `--name=${id}`, ...HOST_LIKE],
      ...args,
      ...['--rootfs', root, ...hold],
    ],
    environment: ({ run }) => ({ TMPDIR: run }),
    // As for crun, which it runs: older ones refuse hosts with both cgroup hierarchies.
    hidden: ['/sys/fs/cgroup'],
    mountPoints: MOUNT_POINTS,
    teardown: ({ binary, run, id }) => [
      [binary, ...storeOptions(run), 'rm', '--force', '--time=0', '--ignore', id],
    ],
  },
}

/** Short names: podman 4 takes no more than 50 characters. All that it keeps goes with the step, so that no user's home or shared file system is touched. */
function storeOptions(run: StartPlace['run']): string[] {
  return [
    ...[`--root=${run}/storage`, `--runroot=${run}/c`, `--tmpdir=${run}/tmp`],
    // vfs wants nothing of the kernel; with --rootfs nothing is stored.
    ...['--storage-driver=vfs', '--cgroup-manager=cgroupfs', '--events-backend=none', '--log-level=error'],
  ]
}

/** Tasks must see each other and the node: no namespace but those of users and mounts. */
export const HOST_LIKE: readonly string[] = [
  ...['--rm', '--pid=host', '--network=host', '--uts=host', '--cgroups=no-conmon'],
  ...['--security-opt=label=disable', '--security-opt=seccomp=unconfined', '--log-driver=none'],
  ...['--no-hosts', '--passwd=false', '--systemd=false', '--http-proxy=false', '--unsetenv-all'],
]
