import type { ObjectRef } from "@frontcache/proto";
import {
  ANONYMOUS,
  answerObject,
  type Cache,
  type Clients,
  FailureCount,
  NO_QUERY,
  noSecurity,
  plainSocket,
  type Reply,
  silentLog,
} from "@frontcache/server/testing";
import type { Chance } from "../seeded-random.js";
import type { ProcessClock } from "./simulated-time.js";

/** What a client asks of the S3 endpoint. */
export interface HttpRequest {
  readonly method: "GET" | "HEAD";
  /** By lower-case names. */
  readonly headers: Readonly<Record<string, string>>;
}

export interface HttpClient {
  readonly chance: Chance;
  /** Chance of each write to wait for the client. */
  readonly slowness: number;
  /** Writes after which it disconnects. */
  readonly leavesAfter: number;
  readonly signal: AbortSignal;
  /** Called with the head of the answer when it arrives. */
  onHead(head: HttpHead): void;
}

export interface HttpHead {
  readonly status: number;
  /** By lower-case names. */
  readonly headers: Readonly<Record<string, string>>;
}

export interface HttpAnswer {
  /** Undefined: the connection was closed before. */
  readonly head: HttpHead | undefined;
  readonly bytes: Buffer;
  /** Writes of the member. */
  readonly pieces: number;
  /** Whether the answer came to its end. */
  readonly complete: boolean;
}

/** The longest that a slow client takes for one write, milliseconds. */
const SLOW_MS = 30;

/** One request to a member's S3 endpoint, without HTTP: by the code that answers it, into memory. Resolves with what arrives. */
export function askByHttp(
  member: { readonly cache: Cache; readonly clients: Clients; readonly options: { readonly clock: ProcessClock } },
  ref: ObjectRef,
  request: HttpRequest,
  client: HttpClient,
): Promise<HttpAnswer> {
  const { cache, clients } = member;
  const { clock } = member.options;
  return new Promise((resolve) => {
    const gone = new AbortController();
    const reply = new MemoryReply(client, clock);
    let onClosed: () => void = () => {};
    reply.on("close", () => {
      gone.abort();
      onClosed();
      resolve(reply.answer);
    });
    client.signal.addEventListener("abort", () => clock.deliver(() => reply.destroy()), { once: true });
    const context = {
      request: { ...request, url: `/s3/${ref.bucket}/${ref.key}`, httpVersion: "1.1" },
      requestId: "simulated",
      response: reply,
      listener: "http" as const,
      authentication: {
        known: () => ANONYMOUS,
        authenticate: () => ANONYMOUS,
        authenticateForm: () => undefined,
        acceptsPasswords: false,
      },
      authenticationFailures: new FailureCount(clock, silentLog, "authentication-failed", "authentication failed"),
      refusals: noSecurity.members.refusals,
      principal: ANONYMOUS,
      client: clients.of("client"),
      strategyFor: plainSocket,
      signal: gone.signal,
      whenClosed: (listener: () => void): void => {
        onClosed = listener;
      },
      clock,
      log: silentLog,
    };
    clock.deliver(() => {
      if (!client.signal.aborted)
        answerObject(context, cache, { scope: "object", ref, bare: ref, versionId: undefined, query: NO_QUERY });
    });
  });
}

/** A response whose client takes the bytes into memory, more or less slowly. */
class MemoryReply implements Reply {
  readonly #client: HttpClient;
  readonly #clock: ProcessClock;

  #head: HttpHead | undefined;
  readonly #pieces: Buffer[] = [];
  #isComplete = false;
  #isClosed = false;
  readonly #listeners: (() => void)[] = [];

  constructor(client: HttpClient, clock: ProcessClock) {
    this.#client = client;
    this.#clock = clock;
  }

  get headersSent(): boolean {
    return this.#head !== undefined;
  }

  get answer(): HttpAnswer {
    const { length: pieces } = this.#pieces;
    return { head: this.#head, bytes: Buffer.concat(this.#pieces), pieces, complete: this.#isComplete };
  }

  setHeader(): void {}

  writeHead(status: number, pairs: string[]): void {
    const headers: Record<string, string> = {};
    for (let at = 0; at < pairs.length; at += 2) headers[pairs[at]!.toLowerCase()] = pairs[at + 1]!;
    this.#head = { status, headers };
    if (!this.#isClosed) this.#client.onHead(this.#head);
  }

  write(bytes: Buffer, taken: () => void): void {
    const { chance, slowness, leavesAfter } = this.#client;
    if (this.#isClosed) return;
    this.#pieces.push(Buffer.from(bytes));
    if (this.#pieces.length >= leavesAfter) this.destroy();
    else if (chance.happens(slowness)) this.#clock.after(chance.below(SLOW_MS), taken);
    else queueMicrotask(taken);
  }

  end(bytes?: Buffer): void {
    if (bytes !== undefined && !this.#isClosed) this.#pieces.push(Buffer.from(bytes));
    this.#isComplete = !this.#isClosed;
    this.#close();
  }

  destroy(): void {
    this.#close();
  }

  on(_event: "close", listener: () => void): void {
    this.#listeners.push(listener);
  }

  #close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    for (const listener of this.#listeners) queueMicrotask(listener);
  }
}
