import { abortError, CacheError, outOfRange } from "@frontcache/proto";
import { LinkedAbort, sleep } from "@frontcache/proto/runtime";
import { NoAnswer, otherVersion } from "../../origin/checked-answer.js";
import {
  type Answers,
  type AnswerTo,
  answerBy,
  NotWritten,
  type Origin,
  type OriginAnswer,
  type OriginQuestion,
  type OriginRequest,
  type PassedAnswer,
  type PassQuestion,
  type StatQuestion,
  type StreamedBody,
  type WriteAnswer,
  type WriteRequest,
} from "../../origin/origin.js";
import type { Clock } from "../../runtime/clock.js";
import { MemoryBody, type RunningFetch } from "./memory-body.js";
import { type MemoryCall, type MemoryFault, MemoryFaults } from "./memory-faults.js";
import { type MemoryObject, type MemoryObjects, memoryListing } from "./memory-objects.js";
import { textAnswer } from "./requests.js";

/** The fake of Origin: objects in memory, faults and delays, time from a Clock, and counters. */
export class MemoryOrigin implements Origin {
  /** All calls in order. */
  readonly calls: MemoryCall[] = [];
  /** Fetches that requested bytes of a version while an earlier fetch was still receiving some of them. */
  readonly doubled: MemoryCall[] = [];
  /** Bytes written by bodies. */
  bytesServed = 0;
  readonly #objects: MemoryObjects;
  readonly #clock: Clock;
  readonly #chunkBytes: number;
  readonly #running = new Set<RunningFetch>();
  #waiting = 0;

  readonly faults: MemoryFaults;

  /** Answers passed requests; by default each with the question's URL. */
  passedAnswer = ({ ref }: PassQuestion): PassedAnswer => textAnswer(ref.url);

  /** Bodies arrive in chunks of `chunkBytes`: 64 KiB as from a socket. Origins of several members may share their faults. */
  constructor(objects: MemoryObjects, clock: Clock, chunkBytes: number, faults = new MemoryFaults()) {
    this.faults = faults;
    this.#objects = objects;
    this.#clock = clock;
    this.#chunkBytes = chunkBytes;
  }

  /** Number of calls without a response, and of responses that were neither read to the end nor destroyed: 0 at rest. */
  get open(): number {
    return this.#waiting + this.#running.size;
  }

  /** Returns the number of calls of a kind. */
  count(kind: MemoryCall["kind"]): number {
    return this.calls.filter((call) => call.kind === kind).length;
  }

  async fetch(request: OriginRequest): Promise<OriginAnswer> {
    const { ref, offset, length, version } = request;
    const call: MemoryCall = { kind: "fetch", url: ref.url, offset, length, version };
    const { fault, object } = await this.#object(request, call);
    if (version !== undefined && version !== object.info.version) throw otherVersion(ref, version);
    if (offset >= object.info.objectSize) throw outOfRange(ref.url, offset, object.info.objectSize);
    return this.#open(request, call, object, fault);
  }

  ask<Q extends OriginQuestion>(question: Q): Promise<AnswerTo<Q>> {
    return answerBy(this.#answers, question);
  }

  /** PUT and DELETE of objects. A fault strikes before the write is taken, and its latency passes before, too. */
  async write(request: WriteRequest): Promise<WriteAnswer> {
    const { ref, method, body, signal } = request;
    const { url } = ref;
    const call: MemoryCall = { kind: "write", url, offset: 0, length: 0, version: undefined };
    const bytes = body instanceof Uint8Array ? body : await this.#received(body);
    await this.#answer(call, signal);
    if (method === "DELETE") {
      this.#objects.delete(url);
      this.#objects.onWritten(url, undefined);
      return { status: 204, headers: [], body: Buffer.alloc(0) };
    }
    const contentType = request.headers.find(([name]) => name === "content-type")?.[1];
    const version = this.#objects.put(url, bytes, contentType);
    this.#objects.onWritten(url, this.#objects.get(url));
    const headers: [string, string][] = [["etag", `"${version}"`]];
    return { status: 200, headers, body: Buffer.alloc(0) };
  }

  close(): void {}

  readonly #answers: Answers = {
    stat: async (question) => (await this.#object(question, callOf(question))).object.info,
    list: async (question) => {
      await this.#answer(callOf(question), question.signal);
      return memoryListing(this.#objects, question.ref, question.page);
    },
    // A bucket exists if it has an object.
    statBucket: async (question) => {
      await this.#answer(callOf(question), question.signal);
      memoryListing(this.#objects, { ...question.ref, prefix: "" }, { delimiter: "", maxKeys: 1 });
      return { region: undefined };
    },
    listBuckets: async (question) => {
      await this.#answer(callOf(question), question.signal);
      return { buckets: [] };
    },
    pass: async (question) => {
      await this.#answer(callOf(question), question.signal);
      return this.passedAnswer(question);
    },
  };

  async #received({ pieces }: StreamedBody): Promise<Buffer> {
    const received: Uint8Array[] = [];
    try {
      for await (const piece of pieces) received.push(piece);
    } catch (error) {
      throw new NotWritten(CacheError.from(error));
    }
    return Buffer.concat(received);
  }

  async #object(
    { ref, signal }: OriginRequest | StatQuestion,
    call: MemoryCall,
  ): Promise<{ fault: MemoryFault; object: MemoryObject }> {
    const fault = await this.#answer(call, signal);
    const object = this.#objects.get(ref.url);
    if (object === undefined) throw new CacheError("NOT_FOUND", `${ref.url}: no such object`);
    return { fault, object };
  }

  async #answer(call: MemoryCall, signal: AbortSignal): Promise<MemoryFault> {
    if (signal.aborted) throw abortError(signal);
    this.calls.push(call);
    this.#waiting++;
    try {
      const fault = this.faults.strike(call);
      await this.faults.pass(call, signal);
      if (fault.latencyMs !== undefined) await this.#sleep(fault.latencyMs, signal);
      if (fault.error === "UNAVAILABLE") throw new NoAnswer(call, "cannot be reached (placed fault)");
      if (fault.error !== undefined) throw new CacheError(fault.error, `${call.url}: placed fault`);
      return fault;
    } finally {
      this.#waiting--;
    }
  }

  #open({ ref, signal }: OriginRequest, call: MemoryCall, object: MemoryObject, fault: MemoryFault): OriginAnswer {
    const { info } = object;
    const length = Math.min(call.length, info.objectSize - call.offset);
    const running = { url: ref.url, version: info.version, start: call.offset, end: call.offset + length };
    if (this.#overlaps(running)) this.doubled.push(call);
    this.#running.add(running);
    const body = new MemoryBody({
      object,
      running,
      fault,
      chunkBytes: this.#chunkBytes,
      life: new LinkedAbort(signal),
      pause: (delayMs, own) => this.#sleep(delayMs, own),
      onBytes: (bytes) => {
        this.bytesServed += bytes;
      },
      onEnd: () => this.#running.delete(running),
    });
    return { info, length, body };
  }

  #overlaps(fetch: RunningFetch): boolean {
    for (const other of this.#running) {
      if (other.url !== fetch.url || other.version !== fetch.version) continue;
      if (other.start < fetch.end && fetch.start < other.end) return true;
    }
    return false;
  }

  async #sleep(delayMs: number, signal: AbortSignal): Promise<void> {
    await sleep(this.#clock, delayMs, signal).catch(() => {
      throw abortError(signal);
    });
  }
}

function callOf({ kind, ref }: OriginQuestion): MemoryCall {
  return { kind, url: ref.url, offset: 0, length: 0, version: undefined };
}
