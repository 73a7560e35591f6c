import { setImmediate as nextIteration } from "node:timers/promises";
import {
  type Asked,
  answerRamp,
  BufferLanding,
  HttpTransport,
  PinnedObject,
  plainAccess,
  RunningCall,
  ramp,
  ScriptedListener,
  Unintelligible,
} from "@frontcache/client/testing";
import { CacheError } from "@frontcache/proto";
import { ManualClock, until } from "@frontcache/proto/testing";
import fc from "fast-check";
import { afterEach, describe, expect, it } from "vitest";
import { asked, type HostileAnswer, hostileAnswer, isFramed, object } from "./hostile-answer.js";

/** For long runs set FRONTCACHE_HOSTILE_ANSWERS=10000; to repeat a run set FRONTCACHE_HOSTILE_SEED=17. */
const answers = Number(process.env.FRONTCACHE_HOSTILE_ANSWERS ?? 500);
const seed = Number(process.env.FRONTCACHE_HOSTILE_SEED ?? 1);

const HOSTILE = "s3://bucket/hostile";
const GOOD = "s3://bucket/good";
/** A read that has not ended after this time hangs. */
const HANGS_MS = 60_000;

let listener: ScriptedListener | undefined;
afterEach(() => listener?.kill());

/** Sends the response piece by piece; resolves when it is sent and the connection has ended as specified. */
async function send({ wire, cuts, ending }: HostileAnswer, { socket }: Asked): Promise<void> {
  const ends = [...cuts.map((share) => Math.floor(share * wire.length)).sort((a, b) => a - b), wire.length];
  let at = 0;
  for (const end of ends) {
    if (socket.destroyed) return;
    if (end > at) socket.write(wire.subarray(at, end));
    at = end;
    await nextIteration();
  }
  if (ending === "end") socket.end();
  else if (ending === "reset") socket.resetAndDestroy();
}

describe("responses of hostile and broken HTTP listeners", () => {
  it(`end each read with the object's bytes or a CacheError, cause no hang, and leave no connection open (${answers} of seed ${seed})`, async () => {
    const clock = new ManualClock();
    let current: HostileAnswer | undefined;
    let sent: Promise<void> = Promise.resolve();
    let last: Asked | undefined;
    listener = await ScriptedListener.start((request) => {
      last = request;
      if (request.lines[0]!.includes("/good ")) answerRamp(request, object.size);
      else sent = send(current!, request);
    });
    const limits = {
      clock,
      access: plainAccess,
      connectTimeoutMs: 1_000,
      mostConnections: 2,
      idleMs: 10_000,
    };
    const transport = new HttpTransport(limits);
    const address = { grpcAddress: "m:80", httpAddress: listener.address };

    /** Reads the range; resolves with its bytes or its error. */
    async function read(url: string, onBegun?: (call: RunningCall) => void): Promise<Buffer | CacheError> {
      const call = new RunningCall({ clock, subject: url });
      const place = (bytes: number): Buffer => Buffer.alloc(bytes, 0xee);
      const landing = new BufferLanding({ blockOffset: 0, ...asked }, { pinned: new PinnedObject(url, object.version), place });
      const reading = transport.read(address, landing, call);
      onBegun?.(call);
      try {
        await inTime(reading);
        return landing.take()!;
      } catch (error) {
        if (error instanceof CacheError) return error;
        throw error;
      } finally {
        call.end();
      }
    }

    /** Ends a read that is still open after the response, as a deadline would. */
    async function endOpenOne(call: RunningCall, answer: HostileAnswer): Promise<void> {
      await until(() => last !== undefined);
      await sent;
      if (answer.ending !== "open") return;
      for (let iteration = 0; iteration < 5; iteration++) await nextIteration();
      call.abort(new CacheError("DEADLINE_EXCEEDED", "not done in time"));
    }

    const expected = ramp(asked.offset, asked.length);
    await fc.assert(
      fc.asyncProperty(hostileAnswer, async (answer) => {
        current = answer;
        last = undefined;
        const outcome = await read(HOSTILE, (call) => void endOpenOne(call, answer));
        const isError = outcome instanceof CacheError;
        if (!isError && isFramed(answer)) expect(outcome.equals(expected)).toBe(true);
        if (!isError) expect(outcome.length).toBe(asked.length);
        await sent;
        // The end of such a response is unknown.
        const { socket } = last!;
        if (outcome instanceof Unintelligible) await until(() => socket.destroyed);
        // The next read on the connection, if it is still open, gets its own bytes or is retried.
        const next = await read(GOOD);
        if (next instanceof CacheError) expect(isError).toBe(false);
        else expect(next.equals(expected)).toBe(true);
      }),
      { numRuns: answers, seed },
    );

    transport.close();
    const { sockets } = listener;
    await until(() => sockets.size === 0);
    expect(clock.waits).toBe(0);
  }, 600_000);
});

/** Rejects if the work hangs. */
async function inTime<Result>(work: Promise<Result>): Promise<Result> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error("it hangs")), HANGS_MS);
  });
  return Promise.race([work, late]).finally(() => clearTimeout(timer));
}
