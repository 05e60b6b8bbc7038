// SPDX-License-Identifier: Apache-2.0
/** Help that teaches: what it is for, how it is typed, examples, every option. */
import type { Command, OptionSpec } from './command.js'

const GAP = 2

export async function overview(commands: Readonly<Record<string, () => Promise<Command>>>): Promise<string> {
  const rows = await Promise.all(
    Object.entries(commands).map(async ([name, load]) => [name, (await load()).summary] as const),
  )
  return `berth runs the tasks of Slurm steps, or one command, in container images.

usage: berth COMMAND [OPTIONS] ...

${table(rows)}

Inside Slurm no command is needed:
  srun --container-image=python:3.12 python3 -V

Exit codes: 0 done, 1 something you can mend, 2 a fault of berth, 3 a check failed;
\`berth run\` exits as the command does, or 125 (berth failed), 126 (not executable), 127 (not found).
\`berth COMMAND --help\` says more.
`
}

export function commandHelp(
  name: string,
  command: Command,
  shared: Readonly<Record<string, OptionSpec>>,
): string {
  const examples = command.examples.map(([line, what]) => `  ${line}\n      ${what}`).join('\n')
  const container = command.container
    ? '\nEvery container option of srun is understood, also without "container-": --mounts=/data:/data:ro,\n--workdir=/data, --env=NAME, --engine=native, ... (`srun --help` lists them).\n'
    : ''
  return `${command.summary}

usage: berth ${name} ${command.usage}

${command.about}

examples:
${examples}

options:
${optionTable({ ...command.options, ...shared })}
${container}`
}

/** Two columns, the first as wide as it needs to be. */
export function table(rows: readonly (readonly [string, string])[]): string {
  const width = Math.max(...rows.map(([left]) => left.length)) + GAP
  return rows.map(([left, right]) => `  ${left.padEnd(width)}${right}`).join('\n')
}

function optionTable(options: Readonly<Record<string, OptionSpec>>): string {
  const rows = Object.entries(options).map(
    ([name, { value, help }]) => [`--${name}${value === undefined ? '' : `=${value}`}`, help] as const,
  )
  return table(rows)
}
