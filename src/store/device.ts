// SPDX-License-Identifier: Apache-2.0
/** Loop devices with their superblocks, one per image, shared by all leases and kept warm for a while after. */
import type { LoopImage, Native } from '../native.js'

export interface Lease {
  /** /dev/loopN */
  device: string
  /** Once; a second call does nothing. */
  release(): void
}

/** The next step of a job finds the image mounted; longer and loop devices would pile up. */
const LINGER_MS = 60_000

interface Attached {
  leases: number
  image: Promise<LoopImage>
  timer: NodeJS.Timeout | undefined
}

export class Devices {
  private readonly attached = new Map<string, Attached>()

  constructor(private readonly native: Native) {}

  async hold(key: string, attach: () => Promise<LoopImage>): Promise<Lease> {
    const one = this.attached.get(key) ?? this.attach(key, attach)
    clearTimeout(one.timer)
    one.leases++
    let held = true
    const release = () => {
      if (!held) return
      held = false
      one.leases--
      if (one.leases === 0) this.linger(key, one)
    }
    const { device } = await one.image.catch((error) => {
      release()
      throw error
    })
    return { device, release }
  }

  leases(key: string): number {
    return this.attached.get(key)?.leases ?? 0
  }

  /** Who holds it keeps it; the next one attaches anew. */
  retire(key: string): void {
    const one = this.attached.get(key)
    this.attached.delete(key)
    if (one !== undefined && one.leases === 0) this.detach(key, one)
  }

  /** Lets go of a device that nobody leases. */
  drop(key: string): void {
    const one = this.attached.get(key)
    if (one === undefined || one.leases > 0) return
    this.detach(key, one)
  }

  close(): void {
    for (const [key, one] of this.attached) this.detach(key, one)
  }

  private attach(key: string, attach: () => Promise<LoopImage>): Attached {
    const one: Attached = { leases: 0, image: attach(), timer: undefined }
    this.attached.set(key, one)
    one.image.catch(() => {
      if (this.attached.get(key) === one) this.attached.delete(key)
    })
    return one
  }

  private linger(key: string, one: Attached): void {
    one.timer = setTimeout(() => {
      if (one.leases === 0) this.detach(key, one)
    }, LINGER_MS)
    one.timer.unref()
  }

  /** Running steps keep their own mounts: the kernel frees the device when the last one goes (autoclear). */
  private detach(key: string, one: Attached): void {
    clearTimeout(one.timer)
    if (this.attached.get(key) === one) this.attached.delete(key)
    one.image.then(
      ({ mountFd, loopFd }) => {
        this.native.closeFd(mountFd)
        this.native.closeFd(loopFd)
      },
      () => {},
    )
  }
}
