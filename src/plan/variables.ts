// SPDX-License-Identifier: Apache-2.0
/** Edits of variables by the node: several parts of it may add to the same search path, and each name is set once. */
import type { PlanInput } from './input.js'
import type { PlannedVariable, Reason } from './spec.js'

export class VariableEdits {
  private readonly edits = new Map<string, PlannedVariable>()

  constructor(private readonly input: PlanInput) {}

  set(name: string, value: string, why: Reason): void {
    this.edits.set(name, { name, action: 'set', value, ...because(why) })
  }

  unset(name: string, why: Reason): void {
    this.edits.set(name, { name, action: 'unset', ...because(why) })
  }

  /** Before (or, append, after) what is there, with a colon; what is there already is not added again. */
  extend(name: string, parts: readonly string[], where: 'prepend' | 'append', why: Reason): void {
    const there = this.value(name)
      .split(':')
      .filter((part) => part !== '')
    const added = parts.filter((part) => !there.includes(part))
    if (added.length === 0) return
    const all = where === 'prepend' ? [...added, ...there] : [...there, ...added]
    this.edits.set(name, { name, action: 'set', value: all.join(':'), extended: true, ...because(why) })
  }

  take(variables: readonly PlannedVariable[]): void {
    for (const variable of variables) this.edits.set(variable.name, variable)
  }

  value(name: string): string {
    const edit = this.edits.get(name)
    return edit === undefined ? presentValue(this.input, name) : (edit.value ?? '')
  }

  list(): PlannedVariable[] {
    return [...this.edits.values()]
  }
}

/** What a variable would be without the node's edits: the user's choice, else the image's, else the host's. */
export function presentValue(input: PlanInput, name: string): string {
  const { request, step } = input
  const host = step.environment.get(name)
  if (host !== undefined && request.env.includes(name)) return host
  const own = request.variables?.[name]
  if (own !== undefined) return own ?? ''
  return imageValue(input, name) ?? host ?? ''
}

export function imageValue({ image }: PlanInput, name: string): string | undefined {
  const entries = (image.stored?.config.env ?? []).filter((entry) => entry.startsWith(`${name}=`))
  return entries.at(-1)?.slice(name.length + 1)
}

function because({ reason, origin }: Reason): Reason {
  return { reason, origin }
}
