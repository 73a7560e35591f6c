import { sleep } from "@frontcache/proto/runtime";
import type { Origin } from "@frontcache/server";
import type { ManualClock } from "@frontcache/server/testing";
import { type MemoryOrigin, wrap } from "@frontcache/server/testing";
import type { Chance } from "../seeded-random.js";
import type { ProcessClock } from "./simulated-time.js";

/** How long requests and answers travel between members and the origin at the moment, at most, milliseconds. */
export interface OriginDistance {
  readonly toMs: number;
  readonly backMs: number;
  /** How much longer some answers with bytes travel, at most: questions overtake them. */
  readonly lateMs: number;
  /** How long after it has received a write the origin takes it, at most, milliseconds; be its sender lost by then. */
  readonly writeMs: number;
}

export const nearOrigin: OriginDistance = { toMs: 0, backMs: 0, lateMs: 0, writeMs: 0 };

/** The share of the answers with bytes that are late. */
const LATE = 0.5;

export interface SimulatedOriginOptions {
  readonly time: ManualClock;
  readonly chance: Chance;
  /** The process that asks. */
  readonly process: ProcessClock;
  readonly distance: () => OriginDistance;
}

/**
 * An origin at a distance: it looks at the object when the request arrives, so that the answer may be old when it reaches the
 * member. A process that is frozen or dead hears nothing.
 */
export function atDistance(next: MemoryOrigin, { time, chance, process, distance }: SimulatedOriginOptions): Origin {
  const travel = async (longestMs: number, signal: AbortSignal): Promise<void> => {
    if (longestMs > 0) await sleep(time, chance.below(longestMs), signal);
  };
  const answered = async <Answer>(asking: Promise<Answer>): Promise<Answer> => {
    try {
      return await asking;
    } finally {
      await process.awake();
    }
  };
  return wrap(next, {
    fetch: (request) =>
      answered(
        (async () => {
          await travel(distance().toMs, request.signal);
          const answer = await next.fetch(request);
          try {
            const { backMs, lateMs } = distance();
            await travel(backMs, request.signal);
            if (lateMs > 0 && chance.happens(LATE)) await travel(lateMs, request.signal);
          } catch (error) {
            answer.body.destroy();
            throw error;
          }
          return answer;
        })(),
      ),
    write: (request) =>
      answered(
        (async () => {
          const { toMs, writeMs } = distance();
          await travel(toMs, request.signal);
          // Not at a moment at which something else happens: what is first in one millisecond has no date of its own.
          if (writeMs > 0) await sleep(time, chance.next() * writeMs, new AbortController().signal);
          const answer = await next.write(request);
          await travel(distance().backMs, request.signal);
          return answer;
        })(),
      ),
    ask: (question) =>
      answered(
        (async () => {
          await travel(distance().toMs, question.signal);
          const answer = await next.ask(question);
          await travel(distance().backMs, question.signal);
          return answer;
        })(),
      ),
  });
}
