import { CacheServiceClient, type WarmProgress, WarmRequest } from "@frontcache/proto";
import { credentials, type ServiceError, status } from "@grpc/grpc-js";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { formatHostPort } from "../config/addresses.js";
import { openDoor } from "../doors/doors.js";
import { systemClock } from "../runtime/clock.js";
import { silentLog } from "../runtime/log.js";
import { ManualClock } from "../runtime/manual-clock.js";
import { GrpcListener } from "./grpc-listener.js";
import { Clients, noLimits } from "./limits/clients.js";
import { MemoryReader } from "./memory-reader.js";

const URL = "s3://bucket/key";
let clock: ManualClock;
let reader: MemoryReader;
let listener: GrpcListener;
let client: CacheServiceClient;

beforeEach(async () => {
  clock = new ManualClock();
  reader = new MemoryReader();
  listener = await GrpcListener.open({
    listen: { host: "127.0.0.1", port: 0 },
    drainMs: 10_000,
    door: openDoor,
    clients: new Clients(noLimits, systemClock),
    clock,
    log: silentLog,
  });
  listener.serve(reader);
  client = new CacheServiceClient(formatHostPort(listener.address), credentials.createInsecure());
});

afterEach(async () => {
  client.close();
  const closed = listener.close();
  clock.advance(10_000);
  await closed;
  expect(clock.waits).toBe(0);
});

/** Every message of a warming; rejects with the call's error. */
async function warm(request: Partial<WarmRequest>): Promise<WarmProgress[]> {
  const messages: WarmProgress[] = [];
  for await (const message of client.warm(WarmRequest.fromPartial(request))) messages.push(message as WarmProgress);
  return messages;
}

/** Makes the reader wait until it is told to stop; resolves with the reason. */
function waitForStop(): Promise<Error> {
  return new Promise((resolve) => {
    reader.beforeAnswer = (signal) =>
      new Promise((_, reject) => {
        signal!.addEventListener("abort", () => {
          resolve(signal!.reason);
          reject(signal!.reason);
        });
      });
  });
}

describe("a warming", () => {
  it("tells how far each object is", async () => {
    const messages = await warm({ keys: [URL, `${URL}2`], version: "v7", dryRun: true });
    expect(messages).toMatchObject([
      { key: URL, ended: true },
      { key: `${URL}2`, ended: true },
    ]);
    expect(reader.warmings).toMatchObject([{ concurrency: 16, dryRun: true, objects: [{ version: "v7" }, { version: "v7" }] }]);
  });

  it("of one block, sent by a member, is answered from here", async () => {
    reader.objects.set(URL, Buffer.alloc(100));
    const block = { offset: 50, objectSize: 100 };
    expect(await warm({ keys: [URL], version: "v1", block })).toMatchObject([
      { version: "v1", doneBytes: 3, heldBytes: 1, totalBytes: 100 },
    ]);
    expect(reader.warmedBlocks).toMatchObject([{ version: "v1", blockOffset: 50, objectSize: 100 }]);
    await expect(warm({ keys: [`${URL}2`], block })).rejects.toMatchObject({ code: status.NOT_FOUND });
  });

  it.each<[string, Partial<WarmRequest>]>([
    ["a URL that is none", { keys: ["key"] }],
    ["too much at a time", { keys: [URL], concurrency: 257 }],
    ["a block of nothing", { block: { offset: 0, objectSize: 0 } }],
  ])("is refused for %s", async (_, request) => {
    await expect(warm(request)).rejects.toMatchObject({ code: status.INVALID_ARGUMENT });
    expect(reader.warmings).toEqual([]);
  });

  it("stops when its caller leaves", async () => {
    const stopped = waitForStop();
    const call = client.warm(WarmRequest.fromPartial({ keys: [URL] }));
    const ended = new Promise<ServiceError>((resolve) => call.on("error", resolve).resume());
    await vi.waitFor(() => expect(reader.warmings.length).toBe(1));
    call.cancel();
    expect((await ended).code).toBe(status.CANCELLED);
    expect((await stopped).message).toBe("the caller went away");
  });

  it("is cut short when the member leaves, so that another one goes on with it", async () => {
    const stopped = waitForStop();
    const running = warm({ keys: [URL] });
    await vi.waitFor(() => expect(reader.warmings.length).toBe(1));
    void listener.close();
    const error: ServiceError = await running.then(
      () => expect.unreachable(),
      (reason) => reason,
    );
    expect([error.code, error.metadata.get("frontcache-answered")]).toEqual([status.CANCELLED, []]);
    expect((await stopped).message).toBe("this member is leaving");
  });
});
