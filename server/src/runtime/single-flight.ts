/** Runs one piece of work a key at a time; who comes while it runs gets the same promise. Nothing outlives the work. */
export class SingleFlight<T> {
  readonly #running = new Map<string, Promise<T>>();

  run(key: string, work: () => Promise<T>): Promise<T> {
    const running = this.#running.get(key);
    if (running !== undefined) return running;
    const flight = work().finally(() => this.#running.delete(key));
    this.#running.set(key, flight);
    return flight;
  }

  get size(): number {
    return this.#running.size;
  }
}
