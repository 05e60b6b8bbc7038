// SPDX-License-Identifier: Apache-2.0
/** A directory as a node sees it over a network file system: sshfs with its own caches, its server a process here. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { until } from './worker/until.js'

/** Debian and Red Hat. */
const SERVERS = ['/usr/lib/openssh/sftp-server', '/usr/libexec/openssh/sftp-server']

/** What keeps a test from having such a mount here; undefined: nothing. */
export function missingForNetwork(): string | undefined {
  if (process.getuid?.() !== 0) return 'needs root, to mount'
  if (!existsSync('/dev/fuse')) return 'needs /dev/fuse'
  if (spawnSync('sshfs', ['--version']).status !== 0) return 'needs sshfs'
  return serverPath() === undefined ? 'needs sftp-server' : undefined
}

function serverPath(): string | undefined {
  return SERVERS.find((path) => existsSync(path))
}

export class NetworkMount {
  private constructor(
    /** Where this node sees it. */
    readonly path: string,
    private readonly client: ChildProcess,
  ) {}

  /** `exported` on a new directory `path`. Each has a connection, a server and caches of its own. */
  static async start(exported: string, path: string, ...options: string[]): Promise<NetworkMount> {
    mkdirSync(path, { mode: 0o755 })
    // Called in the place of ssh, whose words it does not want.
    const server = `${path}.server`
    writeFileSync(server, `#!/bin/sh\necho $$ >$0.pid\nexec ${serverPath()}\n`, { mode: 0o755 })
    const words = ['-f', '-o', [`ssh_command=${server}`, ...options].join(','), `node:${exported}`, path]
    const client = spawn('sshfs', words, { stdio: ['ignore', 'ignore', 'inherit'] })
    await until('the mount', () => isMounted(path))
    return new NetworkMount(path, client)
  }

  /** Until it goes on, who asks for anything that is not in a cache waits, and nothing ends that wait. */
  hang(): void {
    process.kill(this.serverPid(), 'SIGSTOP')
  }

  goOn(): void {
    process.kill(this.serverPid(), 'SIGCONT')
  }

  async stop(): Promise<void> {
    this.goOn()
    await until('the end of the mount', () => {
      if (isMounted(this.path)) spawnSync('umount', [this.path])
      return !isMounted(this.path)
    })
    // A mount namespace that another test made meanwhile has a copy of the mount, for which it would live on.
    this.client.kill('SIGKILL')
    await until('its end', () => this.client.exitCode !== null || this.client.signalCode !== null)
    rmdirSync(this.path)
  }

  private serverPid(): number {
    return Number(readFileSync(`${this.path}.server.pid`, 'utf8'))
  }
}

function isMounted(path: string): boolean {
  return readFileSync('/proc/self/mountinfo', 'utf8').includes(` ${path} `)
}
