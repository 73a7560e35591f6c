import type { Clock } from "../runtime/clock.js";
import type { Log } from "../runtime/log.js";

/** At most one line per this time; the next line says how many failures it stands for. */
const LINE_EVERY_MS = 10_000;

export const LISTENERS = ["grpc", "http", "s3", "elcache", "filestore"] as const;

export type ListenerName = (typeof LISTENERS)[number];

/** Counts failures of one kind per listener and logs their causes, at most one line every ten seconds. */
export class FailureCount {
  readonly counts = Object.fromEntries(LISTENERS.map((name) => [name, 0])) as Record<ListenerName, number>;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #event: string;
  readonly #text: string;
  #nextLineMs = Number.NEGATIVE_INFINITY;
  #unlogged = 0;

  /** `event` and `text` begin the log line. */
  constructor(clock: Clock, log: Log, event: string, text: string) {
    this.#clock = clock;
    this.#log = log;
    this.#event = event;
    this.#text = text;
  }

  /** `fields`: where it happened, and by whom. */
  failed(cause: string, fields: { readonly listener: ListenerName; readonly client: string | undefined }): void {
    this.counts[fields.listener]++;
    const nowMs = this.#clock.monotonicMs();
    if (nowMs < this.#nextLineMs) {
      this.#unlogged++;
      return;
    }
    this.#nextLineMs = nowMs + LINE_EVERY_MS;
    this.#log.warn({ event: this.#event, ...fields, unlogged: this.#unlogged }, `${this.#text}: ${cause}`);
    this.#unlogged = 0;
  }
}
