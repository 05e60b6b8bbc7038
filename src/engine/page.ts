// SPDX-License-Identifier: Apache-2.0
/** The first part of docs/engines/NAME.md, from the engine's own data; prose follows in the file. */
import { lacks } from './describe.js'
import type { Engine, StartPlace } from './engine.js'

export const GENERATED_END = '<!-- End of what is generated from src/engine; write below. -->\n'

/** A plan's part that command lines are made of, as an example. */
const EXAMPLE: StartPlace = {
  binary: '',
  version: '99.9',
  root: '$D/root',
  work: '$D/work',
  run: '$D/run',
  id: 'berth-JOB-STEP',
  hold: ['/.berth-hold', 'NAME'],
  socket: '/run/docker.sock',
  args: [],
  plan: {
    ociVersion: '',
    engine: '',
    image: { reference: 'IMAGE', digest: 'DIGEST', path: '' },
    root: { readonly: true, writableSize: '', reason: '', origin: '' },
    process: {
      cwd: '/',
      cwdReason: { reason: '', origin: '' },
      env: [],
      args: [],
      noNewPrivileges: true,
      user: { uid: 1000, gid: 1000, additionalGids: [], insideUid: 1000, insideGid: 1000 },
    },
    mounts: [],
    namespaces: [],
    annotations: {},
    warnings: [],
    notes: [],
    kept: [],
    hooks: [],
  },
}

export function enginePage(engine: Engine): string {
  const { name, summary, abilities, start } = engine
  const lines = [
    `# ${name}`,
    '',
    `${summary[0]?.toUpperCase()}${summary.slice(1)}.`,
    '',
    '```',
    `srun --container-engine=${name} --container-image=IMAGE COMMAND`,
    '```',
    '',
    '| | |',
    '|---|---|',
    ...needs(engine).map(([what, value]) => `| ${what} | ${value} |`),
    `| cannot | ${lacks(abilities).join(', ') || 'nothing that berth offers'} |`,
    '',
    ...(start === undefined ? [] : commands(engine, start)),
  ]
  return `${lines.join('\n')}${GENERATED_END}`
}

function needs({ needs: wanted, exitCodes, start }: Engine): [string, string][] {
  const { binary, versionMin, helpers = [], install, daemon, setuid, kernel } = wanted
  const since = versionMin === undefined ? '' : ` ${versionMin} or later`
  const rows: [string, string][] = [
    ['program', binary === undefined ? 'none' : `\`${binary}\`${since}`],
    ['programs it starts', helpers.map((helper) => `\`${helper}\``).join(', ')],
    ['installed by', install ?? ''],
    ['daemon', daemon ? 'yes' : 'no'],
    ['setuid program', setuid ? 'yes' : 'no'],
    ['kernel', kernel.join(', ')],
    ['hidden from it', (start?.hidden ?? []).join(', ')],
    [
      'exit codes of the engine',
      Object.entries(exitCodes)
        .map(([code, what]) => `${code}: ${what}`)
        .join('; '),
    ],
  ]
  return rows.filter(([, value]) => value !== '')
}

function commands({ needs: { binary = '' } }: Engine, start: NonNullable<Engine['start']>): string[] {
  const place = { ...EXAMPLE, binary }
  // An archive is nothing to read.
  const texts = (start.files?.(place) ?? []).filter(({ content }) => !content.includes('\0'))
  const files = texts.map(({ name, content }) => `\`$D/work/${name}\`:\n\n\`\`\`\n${content}\`\`\`\n`)
  const before = start.before?.(place) ?? []
  const teardown = start.teardown?.(place) ?? []
  return [
    `berth starts the engine once per node and step, as ${start.byDaemon ? 'root' : 'the user'}. \`$D\` is a directory that only the engine sees:`,
    '',
    '```',
    start.command(place).join(' '),
    '```',
    '',
    ...(before.length === 0
      ? []
      : [
          'Before that, unless it was done already:',
          '',
          '```',
          ...before.map(({ command }) => command.join(' ')),
          '```',
          '',
        ]),
    ...(teardown.length === 0
      ? []
      : [
          'If the engine does not end with the step:',
          '',
          '```',
          ...teardown.map((command) => command.join(' ')),
          '```',
          '',
        ]),
    ...files,
  ]
}
