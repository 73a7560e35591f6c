import type { Clock } from "../../runtime/clock.js";
import type { Reply } from "../http/http-context.js";

/** Maximum open pages; each is a lasting connection. */
const MAX_WATCHERS = 64;

/** Interval between two reports to a page. */
const EVERY_MS = 2_000;

export interface StatusEventsOptions {
  /** The report as JSON. If it rejects, this report is skipped. */
  readonly report: () => Promise<string>;
  readonly clock: Clock;
}

interface Watcher {
  readonly reply: Reply;
  /** Whether the last event has not been sent yet, because the subscriber is slow or has disconnected. */
  isBlocked: boolean;
}

/**
 * Server-sent events (HTML Living Standard, 9.2): a report immediately and then every two seconds while there are subscribers.
 */
export class StatusEvents {
  readonly #options: StatusEventsOptions;
  readonly #watchers = new Set<Watcher>();
  #cancel: (() => void) | undefined;
  #closed = false;

  constructor(options: StatusEventsOptions) {
    this.#options = options;
  }

  /** Number of subscribers. */
  get watchers(): number {
    return this.#watchers.size;
  }

  /** Adds a subscriber until its reply is closed; returns false if there are too many. */
  watch(reply: Reply): boolean {
    if (this.#watchers.size >= MAX_WATCHERS || this.#closed) return false;
    const watcher: Watcher = { reply, isBlocked: false };
    this.#watchers.add(watcher);
    reply.on("close", () => this.#remove(watcher));
    reply.writeHead(200, ["Content-Type", "text/event-stream", "Cache-Control", "no-store"]);
    void this.#send([watcher]);
    this.#cancel ??= this.#options.clock.after(EVERY_MS, this.#turn);
    return true;
  }

  /** Ends all replies. */
  close(): void {
    this.#closed = true;
    for (const { reply } of [...this.#watchers]) reply.end();
    this.#watchers.clear();
    this.#stop();
  }

  #remove(watcher: Watcher): void {
    this.#watchers.delete(watcher);
    if (this.#watchers.size === 0) this.#stop();
  }

  #stop(): void {
    this.#cancel?.();
    this.#cancel = undefined;
  }

  readonly #turn = (): void => {
    this.#cancel = this.#options.clock.after(EVERY_MS, this.#turn);
    void this.#send([...this.#watchers]);
  };

  async #send(watchers: readonly Watcher[]): Promise<void> {
    let report: string;
    try {
      report = await this.#options.report();
    } catch {
      return;
    }
    const event = Buffer.from(`data: ${report}\n\n`);
    for (const watcher of watchers) {
      // A slow subscriber misses reports; they are not buffered.
      if (watcher.isBlocked || !this.#watchers.has(watcher)) continue;
      watcher.isBlocked = true;
      watcher.reply.write(event, () => {
        watcher.isBlocked = false;
      });
    }
  }
}
