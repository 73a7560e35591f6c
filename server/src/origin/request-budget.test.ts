import { CacheError } from "@frontcache/proto";
import { describe, expect, it } from "vitest";
import { MAX_REQUESTS, questionBudget, RequestBudget, type RequestPermit, requestBudget } from "./request-budget.js";

const live = new AbortController().signal;
const down = new CacheError("UNAVAILABLE", "down");

async function taken(budget: RequestBudget): Promise<RequestPermit> {
  const permit = await budget.acquire(live);
  if (permit === undefined) throw new Error("no permit");
  return permit;
}

describe("a budget of requests", () => {
  it("permits as many failures as it has, and counts no request that succeeds", async () => {
    const budget = new RequestBudget(2);
    for (let request = 0; request < 10; request++) (await taken(budget)).refund();
    (await taken(budget)).spend();
    (await taken(budget)).spend();
    expect(budget.isExhausted).toBe(true);
    expect(budget.acquire(live)).toBeUndefined();
  });

  it("lets a request wait for the outcome of those that run, and refuses it when the last of them fails", async () => {
    const budget = new RequestBudget(2);
    const [one, other] = [await taken(budget), await taken(budget)];
    const third = budget.acquire(live);
    const fourth = budget.acquire(live);
    one.refund();
    const permit = (await third)!;
    other.spend();
    permit.spend();
    expect(await fourth).toBeUndefined();
  });

  it("counts requests on behalf of another one", async () => {
    const budget = new RequestBudget(3);
    const permit = await taken(budget);
    expect([permit.extra(), permit.extra(), permit.extra()]).toEqual([true, true, false]);
    permit.refund();
    permit.spend();
    const again = await taken(budget);
    again.extra();
    again.spend();
    (await taken(budget)).spend();
    expect(budget.isExhausted).toBe(true);
  });

  it("permits nothing after it was closed, to those that wait either", async () => {
    const budget = new RequestBudget(1);
    const permit = await taken(budget);
    const waiting = budget.acquire(live);
    budget.close(down);
    expect(await waiting).toBeUndefined();
    expect(permit.extra()).toBe(false);
    expect(budget.finalError("s3://bucket/key")).toMatchObject({ code: "UNAVAILABLE", cause: down, isOriginTried: true });
  });

  it("ends the wait of a request that is aborted", async () => {
    const budget = new RequestBudget(1);
    const permit = await taken(budget);
    const abort = new AbortController();
    const waiting = budget.acquire(abort.signal);
    abort.abort(new CacheError("CANCELLED", "enough"));
    await expect(waiting).rejects.toMatchObject({ code: "CANCELLED" });
    permit.refund();
    (await taken(budget)).refund();
  });

  it("has six requests for a read and for its repetition at another member together, with the question for its version", () => {
    const leftOf = (isRepeated: boolean, version?: string): number => requestBudget({ version, isRepeated }).left;
    expect(leftOf(false) + leftOf(true)).toBe(MAX_REQUESTS);
    expect(1 + leftOf(false, "v1") + leftOf(true, "v1")).toBe(MAX_REQUESTS);
    expect(requestBudget({ version: undefined, originRequests: 2 }).left).toBe(2);
    expect(requestBudget({ version: undefined, originRequests: 50 }).left).toBe(leftOf(false));
  });

  it.each([0, 1])(
    "has six requests for a read whose question was lost with a member, %d failed ones at the next included",
    (failed) => {
      const read = requestBudget({ version: undefined });
      const question = questionBudget(read);
      const lost = question.left;
      question.countLost(lost);
      expect(question.left).toBe(2);
      read.count();
      read.countFailed(failed);
      read.countLost(lost);
      expect(read.left).toBeGreaterThan(0);
      expect(lost + failed + 1 + read.left).toBe(MAX_REQUESTS);
    },
  );

  it("leaves one request after the loss of a member, however few there were", () => {
    const budget = requestBudget({ version: undefined, originRequests: 1 });
    budget.countLost(1);
    expect(budget.left).toBe(1);
  });

  it("leaves one request for the bytes behind questions that succeed, and none if something has failed", async () => {
    const budget = new RequestBudget(1);
    budget.count();
    const probe = await taken(budget);
    expect(probe.next()).toBe(true);
    probe.refund();
    budget.failed(down);
    budget.count();
    expect(budget.isExhausted).toBe(true);
  });

  it("counts the requests that have failed at another member", () => {
    const budget = new RequestBudget(4);
    budget.countFailed(3);
    expect(budget.left).toBe(1);
    budget.countFailed(3);
    expect([budget.left, budget.isExhausted]).toEqual([0, true]);
  });

  it("has no later request fail because of an error that said which version was current", async () => {
    const budget = new RequestBudget(1);
    const missing = new CacheError("NOT_FOUND", "s3://bucket/key: no such object");
    (await taken(budget)).answered();
    budget.failed(missing);
    expect([budget.left, budget.failures]).toEqual([1, 0]);
    (await taken(budget)).spend();
    budget.failed(down);
    expect(budget.finalError("s3://bucket/key")).toMatchObject({ code: "UNAVAILABLE", cause: down, isOriginTried: true });
  });
});
