// SPDX-License-Identifier: Apache-2.0
/** CDI files of the shape that vendors' toolkits write, and a host that has what they name. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { AcceleratorFacts, HostNode } from '../../src/plan/accelerators.js'
import { readCdiCatalog } from '../../src/site/cdi.js'

/** As `nvidia-ctk cdi generate` writes it, with two GPUs and one library. */
export const NVIDIA_YAML = `---
cdiVersion: 0.5.0
kind: nvidia.com/gpu
devices:
    - name: "0"
      containerEdits:
        deviceNodes:
            - path: /dev/nvidia0
    - name: "1"
      containerEdits:
        deviceNodes:
            - path: /dev/nvidia1
    - name: all
      containerEdits:
        deviceNodes:
            - path: /dev/nvidia0
            - path: /dev/nvidia1
containerEdits:
    env:
        - NVIDIA_VISIBLE_DEVICES=void
    deviceNodes:
        - path: /dev/nvidiactl
    hooks:
        - hookName: createContainer
          path: /usr/bin/nvidia-cdi-hook
          args:
            - nvidia-cdi-hook
            - create-symlinks
            - --link
            - libcuda.so.1::/usr/lib64/libcuda.so
          env:
            - NVIDIA_CTK_DEBUG=false
        - hookName: createContainer
          path: /usr/bin/nvidia-ctk
          args: [nvidia-ctk, hook, update-ldcache, --folder, /usr/lib64, --folder, /usr/lib64/vdpau]
        - hookName: createContainer
          path: /usr/bin/nvidia-cdi-hook
          args: [nvidia-cdi-hook, chmod, --mode, "755", --path, /dev/dri]
        - hookName: createContainer
          path: /usr/bin/nvidia-cdi-hook
          args: [nvidia-cdi-hook, enable-cuda-compat, --host-driver-version=550.54.15]
        - hookName: createContainer
          path: /usr/bin/nvidia-cdi-hook
          args: [nvidia-cdi-hook, disable-device-node-modification]
    mounts:
        - hostPath: /usr/lib64/libcuda.so.550.54.15
          containerPath: /usr/lib64/libcuda.so.550.54.15
          options: [ro, nosuid, nodev, rbind, rprivate]
        - hostPath: /usr/bin/nvidia-smi
          containerPath: /usr/bin/nvidia-smi
          options: [ro, nosuid, nodev, rbind, rprivate]
`

/** As `amd-ctk cdi generate` writes it. */
export const AMD_JSON = JSON.stringify({
  cdiVersion: '0.6.0',
  kind: 'amd.com/gpu',
  devices: [
    {
      name: '0',
      containerEdits: {
        deviceNodes: [
          {
            path: '/dev/dri/card0',
            hostPath: '/dev/dri/card0',
            type: 'c',
            major: 226,
            minor: 0,
            permissions: 'rw',
          },
          {
            path: '/dev/dri/renderD128',
            hostPath: '/dev/dri/renderD128',
            type: 'c',
            major: 226,
            minor: 128,
            permissions: 'rw',
          },
        ],
      },
    },
    { name: 'all', containerEdits: { deviceNodes: [{ path: '/dev/dri/renderD128' }] } },
  ],
  containerEdits: { deviceNodes: [{ path: '/dev/kfd', hostPath: '/dev/kfd', type: 'c', permissions: 'rw' }] },
})

/** Runs with directories that hold these files, by name; removed afterwards. */
export function withFiles<T>(
  files: readonly Record<string, string>[],
  work: (directories: string[]) => T,
): T {
  const base = mkdtempSync(join(tmpdir(), 'berth-cdi-'))
  try {
    const directories = files.map((group, index) => {
      const directory = join(base, String(index))
      mkdirSync(directory, { mode: 0o755 })
      for (const [name, text] of Object.entries(group))
        writeFileSync(join(directory, name), text, { mode: 0o644 })
      return directory
    })
    return work(directories)
  } finally {
    rmSync(base, { recursive: true })
  }
}

/** The facts of a host with these CDI files: all that they name is there unless left out. */
export function hostWith(
  files: Record<string, string>,
  given: { denied?: string[]; without?: string[]; nodes?: Record<string, HostNode> } = {},
): AcceleratorFacts {
  return withFiles([files], (directories) => {
    const cdi = readCdiCatalog(directories)
    const edits = [...cdi.devices.values()].flatMap(({ device, spec }) => [device.edits, spec.edits])
    const here = (path: string) => given.without?.includes(path) !== true
    const nodes = edits.flatMap(({ deviceNodes }) => deviceNodes).filter(({ hostPath }) => here(hostPath))
    const node = (path: string, major = 195, minor = 0): [string, HostNode] => [
      path,
      { type: 'c', major, minor, allowed: given.denied?.includes(path) !== true },
    ]
    const paths = edits.flatMap(({ mounts }) => mounts.map(({ hostPath }) => hostPath)).filter(here)
    return {
      cdi,
      nodes: new Map([
        ...nodes.map(({ hostPath }) => node(hostPath)),
        ...nodes.flatMap(({ hostPath, major, minor }) =>
          major === undefined ? [] : [node(hostPath, major, minor)],
        ),
        ...Object.entries(given.nodes ?? {}),
      ]),
      paths: new Set(paths),
      links: new Map([['/usr/lib64/libcuda.so.550.54.15', ['libcuda.so', 'libcuda.so.1']]]),
      globs: new Map(),
      hooks: new Map(),
    }
  })
}
