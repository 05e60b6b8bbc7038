// SPDX-License-Identifier: Apache-2.0
/** One piece of work for all who want it at the same time; it is given up when nobody does any more. */

interface Passenger<P> {
  progress?: ((progress: P) => void) | undefined
  signal?: AbortSignal | undefined
}

type Work<P, T> = (report: (progress: P) => void, signal: AbortSignal) => Promise<T>

interface Flight<P, T> {
  passengers: Set<Passenger<P>>
  last: P | undefined
  stop: AbortController
  result: Promise<T>
}

export class Flights<P, T> {
  private readonly flights = new Map<string, Flight<P, T>>()

  has(key: string): boolean {
    return this.flights.has(key)
  }

  /** Joins the work of that key, or starts it. @throws what the work throws, or the own signal's reason. */
  async join(key: string, passenger: Passenger<P>, work: Work<P, T>): Promise<T> {
    passenger.signal?.throwIfAborted()
    const flight = this.flights.get(key) ?? this.start(key, work)
    flight.passengers.add(passenger)
    const ride = this.ride(key, flight, passenger)
    // Last, so that a passenger who leaves at the first sign of work is heard.
    if (flight.last !== undefined) passenger.progress?.(flight.last)
    return ride
  }

  private ride(key: string, flight: Flight<P, T>, passenger: Passenger<P>): Promise<T> {
    const { signal } = passenger
    if (signal === undefined) return flight.result
    return new Promise<T>((resolve, reject) => {
      const leave = () => {
        flight.passengers.delete(passenger)
        if (flight.passengers.size > 0) return reject(signal.reason)
        // The last one waits until all is tidied up, so that "canceled" means "nothing is left".
        if (this.flights.get(key) === flight) this.flights.delete(key)
        flight.stop.abort(signal.reason)
      }
      const arrive = (settle: () => void) => {
        signal.removeEventListener('abort', leave)
        if (signal.aborted) reject(signal.reason)
        else settle()
      }
      signal.addEventListener('abort', leave, { once: true })
      flight.result.then(
        (result) => arrive(() => resolve(result)),
        (error) => arrive(() => reject(error)),
      )
    })
  }

  /** Ends all work and waits for it. */
  async close(reason: Error): Promise<void> {
    const flights = [...this.flights.values()]
    for (const { stop } of flights) stop.abort(reason)
    await Promise.allSettled(flights.map(({ result }) => result))
  }

  private start(key: string, work: Work<P, T>): Flight<P, T> {
    const stop = new AbortController()
    const flight: Flight<P, T> = {
      passengers: new Set(),
      last: undefined,
      stop,
      result: Promise.resolve() as never,
    }
    const report = (progress: P) => {
      flight.last = progress
      for (const passenger of flight.passengers) passenger.progress?.(progress)
    }
    flight.result = work(report, stop.signal).finally(() => {
      if (this.flights.get(key) === flight) this.flights.delete(key)
    })
    // Each passenger sees the failure through its own promise.
    flight.result.catch(() => {})
    this.flights.set(key, flight)
    return flight
  }
}
