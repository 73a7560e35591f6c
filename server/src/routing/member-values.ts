import type { CallLimits, ObjectRequests } from "@frontcache/client/members";
import {
  CacheError,
  type MemberInfo,
  type ObjectInfo,
  parseObjectUrl,
  VALUE_CALL_HEADER,
  VALUE_CALLS_PATH,
  ValueAnswer,
  type ValueCall,
  ValueCall as ValueCallMessage,
} from "@frontcache/proto";
import type { ObjectRead } from "../cache/object-read.js";
import { infoInHeaders, infoOf } from "../values/value-entry.js";
import { callOf, type MemberRead, type StepBytes, type ValueMembers } from "../values/value-members.js";
import { MAX_VALUE_BYTES, type ValueInfo, type ValueRead } from "../values/values.js";
import type { OtherMembers } from "./other-members.js";

/** Members of an earlier list that may have a value. */
const MOST_EARLIER = 4;
/** Bytes that one call by gRPC carries: members take requests of at most 256 KiB. */
const CALL_BYTES = 224 << 10;
const NO_BYTES = Buffer.alloc(0);
const NOBODY: readonly MemberInfo[] = [];

/** The other members, as values need them. Bytes travel over HTTP, as those of blocks do, and all else by gRPC. */
export function valueMembers(others: OtherMembers, requests: Pick<ObjectRequests, "send">): ValueMembers {
  return new OtherValueMembers(others, requests);
}

class OtherValueMembers implements ValueMembers {
  readonly #others: OtherMembers;
  readonly #requests: Pick<ObjectRequests, "send">;
  /** Described by equal answers: decoded once. */
  readonly #infos = new WeakMap<ObjectInfo, ValueInfo>();

  constructor(others: OtherMembers, requests: Pick<ObjectRequests, "send">) {
    this.#others = others;
    this.#requests = requests;
  }

  get self(): string {
    return this.#others.self.name;
  }

  get members(): readonly MemberInfo[] {
    return this.#others.view.current.members;
  }

  get hash(): string {
    return this.#others.view.current.hash;
  }

  ring(url: string): Iterable<MemberInfo> {
    return this.#others.view.current.owners(url, 0);
  }

  earlier(url: string): readonly MemberInfo[] {
    const { view } = this.#others;
    return view.changedRecently || view.startedRecently ? view.mayHave(url, 0).slice(0, MOST_EARLIER) : NOBODY;
  }

  isUnreachable({ grpcAddress }: MemberInfo): boolean {
    return this.#others.breaker.isOpen(grpcAddress);
  }

  call(member: MemberInfo, step: Partial<ValueCall>, signal: AbortSignal, timeoutMs: number): Promise<ValueAnswer> {
    const { connections } = this.#others;
    return this.#at(member, signal, timeoutMs, (to, limits) => {
      return connections.values.callValues(to, callOf(this.self, step), limits);
    });
  }

  send(member: MemberInfo, step: Partial<ValueCall>, bytes: StepBytes, signal: AbortSignal): Promise<ValueAnswer> {
    if (member.httpAddress === undefined) return this.#sendByCalls(member, step, bytes, signal);
    return this.#at(member, signal, undefined, async (to, limits) => {
      const isWhole = bytes instanceof Uint8Array;
      const call = Buffer.from(ValueCallMessage.encode(callOf(this.self, step)).finish()).toString("base64");
      const { text } = await this.#requests.send(
        to,
        {
          method: "POST",
          subject: (step.begin?.entry ?? step.write)?.url ?? "a value",
          path: VALUE_CALLS_PATH,
          headers: { [VALUE_CALL_HEADER]: call },
          ...(isWhole ? { body: bytes } : { bodyPieces: bytes, isChunked: true }),
          // A version that was begun is begun again with the answer that it is known: the writer makes a larger one.
          isRepeatable: isWhole,
        },
        limits,
      );
      return ValueAnswer.decode(Buffer.from(text, "base64"));
    });
  }

  open(members: readonly MemberInfo[], read: MemberRead, signal: AbortSignal): Promise<ValueRead> {
    return this.#open(members, read, signal);
  }

  async watch(
    member: MemberInfo,
    request: Parameters<ValueMembers["watch"]>[1],
    onEvent: Parameters<ValueMembers["watch"]>[2],
    signal: AbortSignal,
  ): Promise<void> {
    const call = this.#others.call("events of values", signal);
    await this.#others.connections.values.watchValues(member, request, onEvent, call).finally(() => call.end());
  }

  async #open(
    members: readonly MemberInfo[],
    { url, version, offset, length }: MemberRead,
    signal: AbortSignal,
  ): Promise<ValueRead> {
    const others = this.#others;
    const blocks = others.connections.blocks;
    const end = offset + (length ?? MAX_VALUE_BYTES - offset);
    const read = await others.reads.open(
      { ref: parseObjectUrl(url), version, blockOffset: 0, start: offset, end, openEnded: false, cachedOnly: false, signal },
      { fetch: (landing, limits) => others.first(members, (member) => blocks.read(member, landing, limits), limits) },
    );
    try {
      return asValueRead(read, await this.#infoOf(members, url, read.info, signal));
    } catch (error) {
      read.close();
      throw error;
    }
  }

  /** What is known of the value that another member sends. */
  async #infoOf(members: readonly MemberInfo[], url: string, object: ObjectInfo, signal: AbortSignal): Promise<ValueInfo> {
    const known = this.#infos.get(object) ?? infoInHeaders(object.headers ?? "");
    if (known !== undefined) {
      this.#infos.set(object, known);
      return known;
    }
    // Answers by gRPC have no headers.
    const read = { url, version: object.version, offset: 0, length: 0, follow: false };
    const { entries } = await this.call(members[0]!, { read }, signal, INFO_TIMEOUT_MS);
    const entry = entries.find((each) => each.version === object.version);
    if (entry !== undefined) return infoOf(entry);
    throw new CacheError("UNAVAILABLE", `${url}: the value was replaced while it was read: read again`);
  }

  /** As `send`, to a member without an HTTP listener: in pieces. */
  async #sendByCalls(member: MemberInfo, step: Partial<ValueCall>, bytes: StepBytes, signal: AbortSignal): Promise<ValueAnswer> {
    const ask = (each: Partial<ValueCall>): Promise<ValueAnswer> => this.call(member, each, signal, PIECE_TIMEOUT_MS);
    const { begin, write } = step;
    if (begin?.entry !== undefined && bytes instanceof Uint8Array) {
      const { entry } = begin;
      const { url, version } = entry;
      if (bytes.length <= CALL_BYTES) return ask({ begin: { ...begin, data: Buffer.from(bytes) } });
      const begun = await ask({ begin: { ...begin, whole: false } });
      if (begun.conflict !== "") return begun;
      await this.#sendByCalls(member, { write: { url, version, offset: 0, data: NO_BYTES } }, bytes, signal);
      return ask({ commit: { url, version, size: bytes.length, expires: false, expiresMs: 0, upload: false } });
    }
    let [at, answer] = [write!.offset, undefined as ValueAnswer | undefined];
    for await (const piece of bytes instanceof Uint8Array ? [bytes] : bytes) {
      for (let from = 0; from < piece.length; from += CALL_BYTES) {
        const data = Buffer.from(piece.subarray(from, from + CALL_BYTES));
        answer = await ask({ write: { ...write!, offset: at, data } });
        at += data.length;
      }
    }
    return answer ?? ask(step);
  }

  /** One call to a member, whose failure opens its circuit. */
  async #at<Answer>(
    member: MemberInfo,
    signal: AbortSignal,
    timeoutMs: number | undefined,
    ask: (to: MemberInfo, limits: CallLimits) => Promise<Answer>,
  ): Promise<Answer> {
    const call = this.#others.call("a value", signal, timeoutMs);
    try {
      return await this.#others.first([member], (to) => ask(to, call), call);
    } finally {
      call.end();
    }
  }
}

const INFO_TIMEOUT_MS = 5_000;
const PIECE_TIMEOUT_MS = 30_000;

function asValueRead(read: ObjectRead, info: ValueInfo): ValueRead {
  const { offset, length } = read;
  return { info, isLocal: false, offset, length, next: (mayPipe) => read.next(mayPipe), close: () => read.close() };
}
