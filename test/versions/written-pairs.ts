import { rampBytes } from "@frontcache/server/testing";
import type { Chance } from "../seeded-random.js";

/**
 * Written and read at a time, each with objects of its own: nobody else writes these. Enough for some to continue while others wait for
 * a lost member.
 */
const WRITERS = 16;
const OBJECTS_EACH = 10;
const SIZES = [0, 100, 10_000, 300_000, 3 << 20];
/** How long a client waits for a member before it asks the next one. */
const CLIENT_TIMEOUT_MS = 20_000;
/** How often a client sends a request, as SDKs of S3 do, if a member refuses it: a refused write has written nothing. */
const ATTEMPTS = 6;

/** What came of the pairs, and what must not be. */
export interface PairsReport {
  /** Acknowledged writes, each read back at once. */
  pairs: number;
  /** Reads that got anything else than what was, or may have been, written last. */
  stale: number;
  /** Writes whose answer was lost, or is that the outcome is unknown. */
  unknownWrites: number;
  /** Writes that each member refused. Nothing was written. */
  refusedWrites: number;
  /** Reads that no member answered. */
  failedReads: number;
  /** One line for each read that was stale or failed, and each write of unknown outcome. */
  readonly causes: string[];
}

/** The contents that an object may have. */
interface Contents {
  /** The last one that is certain. Undefined: there is no object. */
  certain: Buffer | undefined;
  /** Those of writes of unknown outcome: the origin may have taken them, or may yet take them. */
  readonly possible: Buffer[];
}

interface Answer {
  readonly status: number;
  readonly body: Buffer;
  readonly isUnknown: boolean;
  /** Which member answered, and how it says that it found the bytes. */
  readonly by: string;
}

/** Writes through random members, each read back at once through another random member. */
export class WrittenPairs {
  readonly report: PairsReport = { pairs: 0, stale: 0, unknownWrites: 0, refusedWrites: 0, failedReads: 0, causes: [] };
  readonly #chance: Chance;
  readonly #endpoints: () => readonly string[];
  readonly #writeMs: number[] = [];
  readonly #contents = new Map<string, Contents>();
  #round = 0;

  /** `endpoints`: where a load balancer may send a request now. */
  constructor(chance: Chance, endpoints: () => readonly string[]) {
    this.#chance = chance;
    this.#endpoints = endpoints;
  }

  /** How long acknowledged writes took, with their repetitions, milliseconds: the median, the slowest hundredth, the slowest. */
  get writeMs(): { readonly p50: number; readonly p99: number; readonly max: number } {
    const sorted = this.#writeMs.toSorted((a, b) => a - b);
    const at = (share: number): number => Math.round(sorted[Math.floor((sorted.length - 1) * share)] ?? 0);
    return { p50: at(0.5), p99: at(0.99), max: at(1) };
  }

  /** Runs pairs, several at a time, until there are this many, or it is this moment by `performance.now()`. */
  async run(pairs: number, untilMs: number): Promise<void> {
    const write = async (writer: number): Promise<void> => {
      while (this.report.pairs < pairs && performance.now() < untilMs)
        await this.#pair(`of-${writer}-${this.#chance.below(OBJECTS_EACH)}`);
    };
    await Promise.all(Array.from({ length: WRITERS }, (_, writer) => write(writer)));
  }

  /** Reads every object through every member. */
  async readAll(): Promise<void> {
    for (const endpoint of this.#endpoints())
      await Promise.all([...this.#contents.keys()].map((key) => this.#read(key, [endpoint])));
  }

  async #pair(key: string): Promise<void> {
    const round = ++this.#round;
    const body = rampBytes(0, this.#chance.pick(SIZES), round);
    const written = Buffer.concat([body, Buffer.from(`written ${round}`)]);
    const contents = this.#contents.get(key) ?? { certain: undefined, possible: [] };
    this.#contents.set(key, contents);
    const begunMs = performance.now();
    const answer = await this.#ask(key, { method: "PUT", body: written });
    if (answer === undefined || (answer.status >= 500 && !answer.isUnknown)) {
      this.report.refusedWrites++;
    } else if (answer.isUnknown) {
      this.report.unknownWrites++;
      contents.possible.push(written);
    } else if (answer.status !== 200) {
      throw new Error(`PUT ${key}: status ${answer.status}: ${answer.body}`);
    } else {
      this.report.pairs++;
      this.#writeMs.push(performance.now() - begunMs);
      contents.certain = written;
      contents.possible.length = 0;
    }
    await this.#read(key);
  }

  /** Reads an object, and compares it with what it may be. What it is, it was written with: nothing older may come after it. */
  async #read(key: string, endpoints?: readonly string[]): Promise<void> {
    const contents = this.#contents.get(key)!;
    const answer = await this.#ask(key, {}, endpoints);
    if (answer?.status !== 200 && answer?.status !== 404) {
      this.report.failedReads++;
      this.report.causes.push(`GET ${key}: ${answer === undefined ? "no answer" : `status ${answer.status}: ${answer.body}`}`);
      return;
    }
    const read = answer.status === 404 ? undefined : answer.body;
    if (isSame(read, contents.certain)) return;
    const taken = contents.possible.findIndex((each) => isSame(read, each));
    if (taken >= 0) {
      contents.certain = read;
      contents.possible.splice(taken, 1);
      return;
    }
    this.report.stale++;
    this.report.causes.push(`GET ${key}: ${nameOf(read)} in place of ${nameOf(contents.certain)} (${answer.by})`);
  }

  /** Asks members in random order until one does what is asked. Undefined: none could be reached. */
  async #ask(key: string, init: RequestInit, given?: readonly string[]): Promise<Answer | undefined> {
    let last: Answer | undefined;
    const first = this.#chance.below(1 << 20);
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const endpoints = given ?? this.#endpoints();
      const endpoint = endpoints[(first + attempt) % endpoints.length]!;
      const url = `${endpoint}/s3/bucket/${key}`;
      try {
        const response = await fetch(url, { ...init, signal: AbortSignal.timeout(CLIENT_TIMEOUT_MS) });
        const body = Buffer.from(await response.arrayBuffer());
        const isUnknown = response.headers.get("frontcache-outcome") === "unknown";
        const by = `${endpoint}, ${response.headers.get("x-cache")}, age ${response.headers.get("age") ?? 0} s`;
        last = { status: response.status, body, isUnknown, by };
        if (isUnknown) this.report.causes.push(`PUT ${key} at ${endpoint}: ${body}`);
        if (response.status < 500 || isUnknown) return last;
      } catch (error) {
        // If the connection was refused, the write was not sent. Otherwise it may have been done, and is not sent again.
        if (init.method !== "PUT" || isRefused(error)) continue;
        this.report.causes.push(`PUT ${key} at ${endpoint}: ${(error as Error).cause ?? error}`);
        return { status: 0, body: Buffer.alloc(0), isUnknown: true, by: endpoint };
      }
    }
    return last;
  }
}

function isSame(a: Buffer | undefined, b: Buffer | undefined): boolean {
  return a === undefined || b === undefined ? a === b : a.equals(b);
}

/** The end of a body, which names the write. */
function nameOf(body: Buffer | undefined): string {
  return body === undefined ? "no object" : `${body.length} bytes, ${/written \d+$/.exec(body.toString("latin1", -20))?.[0]}`;
}

function isRefused(error: unknown): boolean {
  return ((error as Error).cause as { code?: string } | undefined)?.code === "ECONNREFUSED";
}
