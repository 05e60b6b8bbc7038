// SPDX-License-Identifier: Apache-2.0
/** How many lines of the log one user may cause: their requests fail as often as they send them. */

/** A large job that fails may say a line for each of its tasks. */
const LINES_AT_ONCE_MAX = 512
/** Of the longest lines, 60 MB a day. */
const LINES_PER_MINUTE = 10
/** Who has not been heard of for long is as good as new. */
const USERS_MAX = 1024

interface Account {
  left: number
  /** Milliseconds; when `left` was right. */
  at: number
  suppressed: number
}

export class UserLines {
  private readonly accounts = new Map<number, Account>()

  /** Whether a line that this user caused may be written; root is trusted. */
  take(uid: number, at: number): boolean {
    if (uid === 0) return true
    if (this.accounts.size >= USERS_MAX && !this.accounts.has(uid)) this.forget(at)
    const account = this.accounts.get(uid) ?? { left: LINES_AT_ONCE_MAX, at, suppressed: 0 }
    this.accounts.set(uid, account)
    account.left = leftOf(account, at)
    account.at = at
    if (account.left < 1) {
      account.suppressed += 1
      return false
    }
    account.left -= 1
    return true
  }

  /** Lines that were kept back of this user, or of all; told once. */
  suppressed(uid?: number): string[] {
    const chosen = [...this.accounts].filter(([of, { suppressed }]) => suppressed > 0 && (uid ?? of) === of)
    return chosen.map(([of, account]) => {
      const text = `suppressed ${account.suppressed} lines of user ${of}`
      account.suppressed = 0
      return text
    })
  }

  private forget(at: number): void {
    for (const [uid, account] of this.accounts)
      if (account.suppressed === 0 && leftOf(account, at) >= LINES_AT_ONCE_MAX) this.accounts.delete(uid)
  }
}

function leftOf({ left, at: then }: Account, at: number): number {
  return Math.min(LINES_AT_ONCE_MAX, left + (Math.max(0, at - then) / 60_000) * LINES_PER_MINUTE)
}
