// SPDX-License-Identifier: Apache-2.0
import { ERRORS } from '../report/errors.js'
import { type FieldValue, type FrameTag, Tag } from '../worker/frame.js'
import { UsageError } from './arguments.js'
import { callWorker, environmentField } from './client.js'
import { type Command, type CommandInput, Exit } from './command.js'
import { renderOptions } from './edf_host.js'
import { table } from './help.js'

export const explain: Command = {
  summary: 'show the plan of a container, or what an error code means',
  usage: 'IMAGE [OPTIONS] | CODE | codes',
  about: `With an image: prints the plan that a step here would get, as JSON, each part with its reason and its origin;
nothing is imported and nothing runs. With a code: what failed and what to do.`,
  examples: [
    ['berth explain python:3.12 --mounts=/data', 'every mount and variable, and who asked for it'],
    ['berth explain BERTH_EAUTH', 'one error'],
  ],
  options: {},
  container: true,
  wordsMax: 1,
  async run(input) {
    const [word] = input.args.words
    if (word === 'codes') return printCodes(input.json)
    if (word !== undefined && /^berth[_-]/i.test(word)) return explainCode(word, input.json)
    return explainPlan(input, word)
  },
}

function printCodes(json: boolean): number {
  if (json) process.stdout.write(`${JSON.stringify(ERRORS, null, 2)}\n`)
  else
    process.stdout.write(
      `${table(
        Object.entries(ERRORS)
          .map(([code, row]) => [code, row.text] as const)
          .sort(),
      )}\n`,
    )
  return Exit.OK
}

function explainCode(word: string, json: boolean): number {
  const code = word.toUpperCase().replaceAll('-', '_')
  const found = Object.entries(ERRORS).find(([name]) => name === code)
  if (found === undefined)
    throw new UsageError(`no error has the code ${word}; \`berth explain codes\` lists them`)
  const [name, row] = found
  if (json) process.stdout.write(`${JSON.stringify({ code: name, ...row }, null, 2)}\n`)
  else process.stdout.write(`${name}: ${row.text}\nhint: ${row.hint}\nexit: ${row.exit}\n`)
  return Exit.OK
}

async function explainPlan({ args, places }: CommandInput, image: string | undefined): Promise<number> {
  const words = image === undefined ? args.container : [`container-image=${image}`, ...args.container]
  const options = await renderOptions(words, places)
  if (options.length === 0) throw new UsageError('name an image or an error code')
  const plan = await callWorker(
    places,
    'explain',
    [],
    [
      ...options.map((option): [FrameTag, FieldValue] => [Tag.OPTION, option]),
      [Tag.CWD, process.cwd()],
      [Tag.ENV, environmentField(process.env)],
    ],
  )
  process.stdout.write(`${JSON.stringify(plan, null, 2)}\n`)
  return Exit.OK
}
