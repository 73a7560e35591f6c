import { CacheError } from "@frontcache/proto";
import { ManualClock } from "@frontcache/proto/testing";
import { describe, expect, it } from "vitest";
import { CircuitBreaker } from "../members/circuit-breaker.js";
import { NotSent, OutcomeUnknown } from "../members/http/object-requests.js";
import { Unreachable } from "../members/ports.js";
import { RunningCall } from "../members/running-call.js";
import { noObjectRequests } from "../testing/no-object-requests.js";
import { send } from "./sending.js";

const url = "s3://bucket/file";
const members = ["a", "b"].map((host) => ({ grpcAddress: `${host}:1`, httpAddress: `${host}:2` }));

/** Sends a request whose first attempt fails with `failure`. Returns the members that got it, and its outcome. */
async function sendTo(failure: Error, isRepeatable: boolean, addresses: readonly { grpcAddress: string }[] = members) {
  const clock = new ManualClock(0);
  const openFor = { firstMs: 1_000, longestMs: 1_000 };
  const breaker = new CircuitBreaker({ clock, openFor, probe: async () => undefined });
  const call = new RunningCall({ clock, subject: url, deadlineMs: 10_000 });
  const sentTo: string[] = [];
  const requests = {
    send: async ({ grpcAddress }: { grpcAddress: string }) => {
      sentTo.push(grpcAddress);
      if (sentTo.length === 1) throw failure;
      return { head: undefined as never, text: "done" };
    },
    exchange: noObjectRequests.exchange,
    close: async () => {},
  };
  const failover = { clock, breaker, attempts: 3, backoff: { firstMs: 100, longestMs: 1_000 } };
  const request = { method: "PUT", subject: url, path: "/s3/bucket/file", headers: {}, isRepeatable } as const;
  const sending = send(request, { requests, owners: { addressesOf: () => addresses }, failover }, call);
  const outcome = await clock.run(
    sending.then(
      ({ text }) => text,
      (error: unknown) => error,
    ),
  );
  call.end();
  await breaker.close();
  return { sentTo, outcome };
}

describe("a request", () => {
  it.each([true, false])("goes to the next member if the first one was not reached (repeatable: %s)", async (isRepeatable) => {
    const { sentTo, outcome } = await sendTo(new NotSent("refused"), isRepeatable);
    expect([sentTo, outcome]).toEqual([["a:1", "b:1"], "done"]);
  });

  it.each([
    ["its connection was lost", new Unreachable("reset")],
    ["the member does not know the outcome", new OutcomeUnknown("unknown")],
  ])("is repeated after %s only if that does the same", async (_, failure) => {
    const again = await sendTo(failure, true);
    expect([again.sentTo.length, again.outcome]).toEqual([2, "done"]);
    const once = await sendTo(failure, false);
    expect(once.sentTo).toEqual(["a:1"]);
    expect(once.outcome).toBeInstanceOf(OutcomeUnknown);
  });

  it("is repeated if it was refused for a moment", async () => {
    const { sentTo, outcome } = await sendTo(new CacheError("RESOURCE_EXHAUSTED", "slow down"), false);
    expect([sentTo, outcome]).toEqual([["a:1", "b:1"], "done"]);
  });

  it("says what is missing if no member has an HTTP listener", async () => {
    const { sentTo, outcome } = await sendTo(new NotSent(""), true, [{ grpcAddress: "a:1" }]);
    expect(sentTo).toEqual([]);
    expect(outcome).toMatchObject({ code: "UNAVAILABLE", message: expect.stringContaining("--members") });
  });
});
