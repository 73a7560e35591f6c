import type { Clock } from "../../runtime/clock.js";
import type { Reply } from "../s3/reply.js";

/** Pages that may be open at a time; each is a connection that stays. */
const MAX_WATCHERS = 64;

/** How often a page hears of the cluster. */
const EVERY_MS = 2_000;

export interface StatusEventsOptions {
  /** What a watcher is told, as JSON. Where it rejects, nothing is told this time. */
  readonly report: () => Promise<string>;
  readonly clock: Clock;
}

interface Watcher {
  readonly reply: Reply;
  /** The last event is not on its way to the watcher yet: it is too slow, or gone. */
  waits: boolean;
}

/** Server-sent events (HTML Living Standard, 9.2): a report at once and then every two seconds, as long as anybody watches. */
export class StatusEvents {
  readonly #watchers = new Set<Watcher>();
  #cancel: (() => void) | undefined;
  #closed = false;

  constructor(private readonly options: StatusEventsOptions) {}

  /** Watchers now. */
  get watchers(): number {
    return this.#watchers.size;
  }

  /** Lets a reply watch until it is closed; false where there are too many. */
  watch(reply: Reply): boolean {
    if (this.#watchers.size >= MAX_WATCHERS || this.#closed) return false;
    const watcher: Watcher = { reply, waits: false };
    this.#watchers.add(watcher);
    reply.on("close", () => this.#leave(watcher));
    reply.writeHead(200, ["Content-Type", "text/event-stream", "Cache-Control", "no-store"]);
    void this.#tell([watcher]);
    this.#cancel ??= this.options.clock.after(EVERY_MS, this.#turn);
    return true;
  }

  /** Ends all. */
  close(): void {
    this.#closed = true;
    for (const { reply } of [...this.#watchers]) reply.end();
    this.#watchers.clear();
    this.#stop();
  }

  #leave(watcher: Watcher): void {
    this.#watchers.delete(watcher);
    if (this.#watchers.size === 0) this.#stop();
  }

  #stop(): void {
    this.#cancel?.();
    this.#cancel = undefined;
  }

  readonly #turn = (): void => {
    this.#cancel = this.options.clock.after(EVERY_MS, this.#turn);
    void this.#tell([...this.#watchers]);
  };

  async #tell(watchers: readonly Watcher[]): Promise<void> {
    let report: string;
    try {
      report = await this.options.report();
    } catch {
      return;
    }
    const event = Buffer.from(`data: ${report}\n\n`);
    for (const watcher of watchers) {
      // A slow watcher misses reports; it never makes this member hold them.
      if (watcher.waits || !this.#watchers.has(watcher)) continue;
      watcher.waits = true;
      watcher.reply.write(event, () => {
        watcher.waits = false;
      });
    }
  }
}
