import { type WarmProgress, WarmRequest } from "@frontcache/proto";
import { eventually } from "@frontcache/proto/testing";
import { type ServiceError, status } from "@grpc/grpc-js";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { GrpcFixture, URL } from "../../testing/grpc-fixture.js";

let member: GrpcFixture;

beforeEach(async () => {
  member = await GrpcFixture.open();
});

afterEach(() => member[Symbol.asyncDispose]());

/** Every message of a warming; rejects with the call's error. */
async function warm(request: Partial<WarmRequest>): Promise<WarmProgress[]> {
  const messages: WarmProgress[] = [];
  for await (const message of member.client.warm(WarmRequest.fromPartial(request))) messages.push(message as WarmProgress);
  return messages;
}

/** Makes the reader wait until it is aborted; resolves with the reason. */
function waitForStop(): Promise<Error> {
  return new Promise((resolve) => {
    member.cache.beforeAnswer = (signal) =>
      new Promise((_, reject) => {
        signal!.addEventListener("abort", () => {
          resolve(signal!.reason);
          reject(signal!.reason);
        });
      });
  });
}

describe("a warming", () => {
  it("reports the progress of each object", async () => {
    const messages = await warm({ keys: [URL, `${URL}2`], version: "v7", dryRun: true });
    expect(messages).toMatchObject([
      { key: URL, ended: true },
      { key: `${URL}2`, ended: true },
    ]);
    expect(member.cache.warmings).toMatchObject([
      { concurrency: 16, dryRun: true, objects: [{ version: "v7" }, { version: "v7" }] },
    ]);
  });

  it("of one block, sent by a member, is executed locally", async () => {
    member.cache.objects.set(URL, Buffer.alloc(100));
    const block = { offset: 50, objectSize: 100, from: "other" };
    expect(await warm({ keys: [URL], version: "v1", block })).toMatchObject([
      { version: "v1", doneBytes: 3, cachedBytes: 1, totalBytes: 100 },
    ]);
    expect(member.cache.warmedBlocks).toMatchObject([{ version: "v1", blockOffset: 50, objectSize: 100, from: "other" }]);
    await expect(warm({ keys: [`${URL}2`], block })).rejects.toMatchObject({ code: status.NOT_FOUND });
  });

  it.each<[string, Partial<WarmRequest>]>([
    ["an invalid URL", { keys: ["key"] }],
    ["a concurrency that is too high", { keys: [URL], concurrency: 257 }],
    ["a block without an object", { block: { offset: 0, objectSize: 0, from: "" } }],
  ])("is refused for %s", async (_, request) => {
    await expect(warm(request)).rejects.toMatchObject({ code: status.INVALID_ARGUMENT });
    expect(member.cache.warmings).toEqual([]);
  });

  it("stops when its caller disconnects", async () => {
    const stopped = waitForStop();
    const call = member.client.warm(WarmRequest.fromPartial({ keys: [URL] }));
    const ended = new Promise<ServiceError>((resolve) => call.on("error", resolve).resume());
    await eventually(() => expect(member.cache.warmings.length).toBe(1));
    call.cancel();
    expect((await ended).code).toBe(status.CANCELLED);
    expect((await stopped).message).toBe("the client cancelled the call");
  });

  it("is aborted when the member shuts down, so another member can resume it", async () => {
    const stopped = waitForStop();
    const running = warm({ keys: [URL] });
    await eventually(() => expect(member.cache.warmings.length).toBe(1));
    void member.listener.close();
    const error: ServiceError = await running.then(
      () => expect.unreachable(),
      (reason) => reason,
    );
    expect([error.code, error.metadata.get("frontcache-answered")]).toEqual([status.CANCELLED, []]);
    expect((await stopped).message).toBe("this member is shutting down");
  });
});
