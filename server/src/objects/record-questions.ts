import { CacheError, type MemberInfo, type RecordAnswer, type RecordQuestion } from "@frontcache/proto";
import type { Needs } from "../cache/local-cache.js";
import type { Clock } from "../runtime/clock.js";
import type { ObjectWrite } from "./object-writes.js";
import type { Peers } from "./peers.js";

/** A home asks the origin with retries: longer than those take. */
const DEADLINE_MS = 65_000;
/**
 * Questions in one call: a question has a URL of at most 1.3 KB and a version of at most 1 KB, and members accept requests of at
 * most 256 KiB (MAX_REQUEST_BYTES).
 */
const MOST_IN_CALL = 100;

/** What the asking member needs, and knows of an object besides its URL. */
export interface Hints {
  /** Absent: version and size. */
  readonly needs?: Needs | undefined;
  /** An origin said that this version is not current. */
  readonly rejected?: string | undefined;
  /** Bytes of this version were received: an older one must not be served any more. */
  readonly received?: string | undefined;
  /** A client requires this version. */
  readonly claimed?: string | undefined;
  /** The member writes the object, or has written it. */
  readonly write?: ObjectWrite | undefined;
  /** How many requests to the origin may fail. Absent: as many as for any question. */
  readonly originRequests?: number | undefined;
}

/** A question on its way. */
interface Waiting {
  readonly question: RecordQuestion;
  resolve(answer: AnsweredQuestion): void;
  reject(error: unknown): void;
}

export interface AnsweredQuestion {
  readonly answer: RecordAnswer;
  /** When the question was sent, monotonic milliseconds: leases count from then. */
  readonly sentAtMs: number;
}

/** Questions to other members for records. Those of one turn of the event loop to one member are sent in one call. */
export class RecordQuestions {
  readonly #peers: Peers;
  readonly #clock: Pick<Clock, "monotonicMs">;
  /** Aborted when the member closes. */
  readonly #signal: AbortSignal;
  readonly #batches = new Map<string, Waiting[]>();

  constructor(peers: Peers, clock: Pick<Clock, "monotonicMs">, signal: AbortSignal) {
    this.#peers = peers;
    this.#clock = clock;
    this.#signal = signal;
  }

  /** `hops`: how many members passed the question on before. Rejects with Unreachable if the member cannot be reached. */
  ask(
    member: MemberInfo,
    url: string,
    { needs = "version", rejected = "", received = "", claimed = "", originRequests = 0, write }: Hints,
    hops: number,
  ): Promise<AnsweredQuestion> {
    return new Promise((resolve, reject) => {
      const key = `${member.grpcAddress} ${hops}`;
      const waiting = {
        question: {
          key: url,
          rejectedVersion: rejected,
          observedVersion: received,
          needs: needs === "version" ? "" : needs,
          claimedVersion: claimed,
          originRequests,
          onBehalfOf: this.#peers.callers.of(url) ?? "",
          writeId: write?.id ?? "",
          writeStage: write?.stage ?? "",
        },
        resolve,
        reject,
      };
      const batch = this.#batches.get(key);
      if (batch !== undefined && batch.length < MOST_IN_CALL) {
        batch.push(waiting);
        return;
      }
      const questions = [waiting];
      this.#batches.set(key, questions);
      setImmediate(() => {
        if (this.#batches.get(key) === questions) this.#batches.delete(key);
        void this.#send(member, questions, hops);
      });
    });
  }

  async #send(member: MemberInfo, batch: readonly Waiting[], hops: number): Promise<void> {
    const call = this.#peers.call(batch[0]!.question.key, this.#signal, DEADLINE_MS);
    const sentAtMs = this.#clock.monotonicMs();
    const request = { name: this.#peers.self.name, hops, questions: batch.map(({ question }) => question) };
    try {
      await this.#peers.connections.objects.lookUpRecords(
        member,
        request,
        (answer) => batch[answer.index]?.resolve({ answer, sentAtMs }),
        call,
      );
      // Has no effect on those that were answered.
      const missing = new CacheError(
        "INTERNAL",
        `${batch[0]!.question.key}: member ${member.name} did not answer for its record`,
      );
      for (const { reject } of batch) reject(missing);
    } catch (error) {
      for (const { reject } of batch) reject(error);
    } finally {
      call.end();
    }
  }
}
