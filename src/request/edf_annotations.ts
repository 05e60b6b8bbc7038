// SPDX-License-Identifier: Apache-2.0
/** Annotations of environment files that users of the CSCS Container Engine write, and what becomes of each here. */

interface Row {
  /** A dotted name, or the part of one before a dot. */
  name: string
  /** Said at submit when the annotation asks for something; absent: berth does what it asks. */
  note?: string
}

/** The first row that fits counts. Names as in cscs-docs (container-engine/resource-hook.md) and Sarus' hooks. */
const ROWS: readonly Row[] = [
  { name: 'com.pyxis.entrypoint_log' },
  {
    name: 'com.pyxis.pytorch_remap_vars',
    note: "variables for PyTorch depend on the image's PYTORCH_VERSION only",
  },
  {
    name: 'com.hooks.ssh',
    note: 'no ssh server is started; `srun --overlap --jobid=JOBID` opens a shell beside the program',
  },
  { name: 'com.hooks.nvidia_cuda_mps', note: 'start nvidia-cuda-mps-control in the job script' },
  {
    name: 'com.hooks.cxi',
    note: "--container-profile names what the site offers of the host's fabric",
  },
  {
    name: 'com.hooks.aws_ofi_nccl',
    note: '--container-profile names what the site offers; NCCL plugins can be mounted',
  },
  {
    name: 'com.hooks.netstack',
    note: "--container-profile names what the site offers of the host's fabric",
  },
  {
    name: 'com.hooks.mpi',
    note: "the node's MPI comes in by itself where it fits; --container-mpi says otherwise",
  },
  { name: 'com.hooks.glibc', note: "berth does not replace an image's C library" },
  { name: 'com.sarus.perfmon', note: 'berth does not measure steps' },
]
/** Values that ask for nothing. */
const NOTHING = ['', '0', 'false', 'no']

/** @returns what the user should know about this annotation, undefined when there is nothing to say. */
export function annotationNote(name: string, value: string): string | undefined {
  const row = ROWS.find((known) => name === known.name || name.startsWith(`${known.name}.`))
  if (row === undefined) return `annotation ${name} is not known here and has no effect`
  if (row.note === undefined || (name.endsWith('.enabled') && NOTHING.includes(value))) return undefined
  return `annotation ${name} has no effect: ${row.note}`
}
