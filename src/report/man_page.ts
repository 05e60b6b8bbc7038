// SPDX-License-Identifier: Apache-2.0
/** docs/man/berth.7 from the table of flags that srun registers (dist/flags.json), in plain man(7) macros. */

/** One row of dist/flags.json; slurm/flags_json.c writes them. */
export interface FlagRow {
  name: string
  kind: 'single' | 'list' | 'bool'
  argument: string | null
  help: string
  opposite: string | null
  /** The plugstack argument that makes the flag known; null: it always is. */
  needs: string | null
  variable: string | null
  pyxis: string | null
}

const FILES: readonly (readonly [string, string])[] = [
  ['/etc/berth/berth.conf', 'the settings of the site'],
  ['/etc/berth/conf.d/*.conf', 'more settings, read after it in order of name'],
  ['/var/lib/berth', 'images and named containers of the node (the setting store)'],
  ['/run/berth', 'the socket and log of the worker (the setting runtime_dir)'],
  ['~/.docker/config.json', 'logins for registries; those of podman and enroot are read too'],
]

const EXIT_CODES: readonly (readonly [string, string])[] = [
  ['125', 'berth could not start or save the container; the error names the cause and the next step'],
  ['126', 'the program exists but cannot be executed'],
  ['127', 'the program does not exist in the container'],
  ['others', 'those of the program; 128+n if signal n ended it'],
]

/** The page as roff. Words of the table are escaped, so that none of them can be a request. */
export function manPage(flags: readonly FlagRow[]): string {
  const always = flags.filter(({ needs }) => needs === null)
  const named = flags.filter(({ variable }) => variable !== null)
  return `${[
    String.raw`.\" SPDX-License-Identifier: Apache-2.0`,
    String.raw`.\" Generated from the table in slurm/flags.c; do not edit.`,
    '.TH BERTH 7 "" "berth" "Miscellaneous Information"',
    '.SH NAME',
    String.raw`berth \- containers in steps of Slurm`,
    '.SH SYNOPSIS',
    String.raw`.B srun \-\-container\-image=\fIIMAGE\fP [\fIOPTIONS\fP] \fICOMMAND\fP`,
    '.PP',
    String.raw`.B berth \fICOMMAND\fP [\fIOPTIONS\fP]`,
    '.SH DESCRIPTION',
    ...paragraph(
      'srun, sbatch and salloc know the options below when the plugin of berth is loaded. Each task of the step then runs in the image. If the requested container is not available, the task fails. "berth --help" lists the commands of the command line.',
    ),
    '.SH OPTIONS',
    ...always.flatMap(flagEntry),
    ...otherFlags(flags),
    '.SH ENVIRONMENT',
    ...paragraph(
      'An option is taken from the command line, otherwise from the variable with the first name, otherwise from the one with the second name. A variable has the same effect as its option. Options without a value are switched on by 1, true or yes, and off by 0, false or no.',
    ),
    ...named.flatMap(variableEntry),
    '.SH FILES',
    ...FILES.flatMap(([path, help]) => entry(`.I ${roff(path)}`, help)),
    '.SH EXIT STATUS',
    ...EXIT_CODES.flatMap(([code, help]) => entry(`.B ${roff(code)}`, help)),
    '.SH SEE ALSO',
    '.BR srun (1),',
    '.BR sbatch (1),',
    '.BR salloc (1)',
    '.PP',
    ...paragraph('docs/scientists.md, docs/operators.md, docs/config.md and docs/errors.md of berth.'),
  ].join('\n')}\n`
}

/** Flags in others' words, one subsection for each plugstack argument that makes them known. */
function otherFlags(flags: readonly FlagRow[]): string[] {
  const settings = [...new Set(flags.map(({ needs }) => needs))].filter((needs) => needs !== null)
  return settings.flatMap((setting) => [
    `.SS ${roff(`Known with ${setting}`)}`,
    ...flags.filter(({ needs }) => needs === setting).flatMap(flagEntry),
  ])
}

function flagEntry({ name, argument, kind, help }: FlagRow): string[] {
  const option = `.B ${roff(`--${name}`)}`
  const more = kind === 'list' ? `${help}; repeated options add up` : help
  if (argument === null) return entry(option, more)
  // A value that may be left out brings its own brackets, which hold the equals sign too.
  const value = argument.startsWith('[') && kind === 'bool' ? `[=${argument.slice(1)}` : argument
  const sign = value === argument ? '=' : ''
  return entry(String.raw`${option}${sign}\fI${roff(value)}\fP`, more)
}

function variableEntry({ name, variable, pyxis }: FlagRow): string[] {
  const names = [variable, pyxis].filter((text) => text !== null).join(', ')
  return entry(`.B ${roff(names)}`, `as --${name}`)
}

function entry(tag: string, text: string): string[] {
  return ['.TP', tag, ...paragraph(text)]
}

/** One sentence a line, as man-pages(7) asks for. */
function paragraph(text: string): string[] {
  return text.split(/(?<=\.) (?=[A-Z"])/).map(roff)
}

const SPECIAL: Readonly<Record<string, string>> = {
  '\\': String.raw`\e`,
  '-': String.raw`\-`,
  "'": String.raw`\(aq`,
  '~': String.raw`\(ti`,
  '^': String.raw`\(ha`,
  '`': String.raw`\(ga`,
}

/** Text that roff prints as it is: no escape, no request at the start of a line. */
function roff(text: string): string {
  const plain = text.replace(/[\\\-'~^`]/g, (sign) => SPECIAL[sign] ?? sign)
  return plain.startsWith('.') ? String.raw`\&${plain}` : plain
}
