import { CacheError, parseObjectUrl } from "@frontcache/proto";
import { eventually, ManualClock } from "@frontcache/proto/testing";
import { describe, expect, it } from "vitest";
import { CACHE_ITSELF } from "../security/principal.js";
import { NoAnswer } from "./checked-answer.js";
import { Credentials, CredentialsFailure, inTime } from "./credentials.js";
import { gcsError } from "./gcs/gcs-errors.js";
import { s3Error } from "./s3/s3-errors.js";

interface Key {
  readonly name: string;
  readonly expiryMs: number | undefined;
}

const MINUTE = 60_000;

/** Credentials from a source that counts, and returns or fails as the test says. */
function setup(answer: () => Key | Promise<Key>) {
  const clock = new ManualClock();
  let loads = 0;
  const source = {
    load: async () => {
      loads++;
      return answer();
    },
    expiryMs: ({ expiryMs }: Key) => expiryMs,
    isSame: (one: Key, other: Key) => one.name === other.name,
  };
  return { clock, credentials: new Credentials(source, clock), loads: () => loads };
}

const fail = (): never => {
  throw new Error("the source is down");
};

describe("credentials", () => {
  it("are missing, and the origin is not blamed, if their source does not answer within the time of a request", async () => {
    const { credentials } = setup(() => new Promise<Key>(() => {}));
    const ref = parseObjectUrl("s3://bucket/key");
    for (const [reason, failure] of [
      [new NoAnswer(ref, "sent nothing for 3000 ms"), CredentialsFailure],
      [new CacheError("CANCELLED", "the client is gone"), CacheError],
    ] as const) {
      const request = new AbortController();
      const waiting = inTime(credentials.get(), request.signal).catch((error: unknown) => error);
      request.abort(reason);
      const error = await waiting;
      expect(error).toBeInstanceOf(failure);
      const asked = { ref, offset: 0, length: 1, version: undefined, signal: request.signal, principal: CACHE_ITSELF };
      for (const reported of [s3Error(error, asked), gcsError(error, asked)]) {
        expect(reported).not.toBeInstanceOf(NoAnswer);
        expect(reported.message).toMatch(failure === CredentialsFailure ? /no valid .* credentials/ : /the client is gone/);
      }
    }
  });

  it("are loaded once for concurrent requests, and kept", async () => {
    const { credentials, loads } = setup(() => ({ name: "a", expiryMs: undefined }));
    await Promise.all([1, 2, 3].map(() => credentials.get()));
    await credentials.get();
    expect(loads()).toBe(1);
  });

  it("are renewed ahead while the current ones are used, once in ten seconds if the source fails", async () => {
    let isDown = false;
    const { clock, credentials, loads } = setup(() =>
      isDown ? fail() : { name: `until ${clock.nowMs()}`, expiryMs: clock.nowMs() + 10 * MINUTE },
    );
    const first = await credentials.get();
    isDown = true;
    clock.advance(6 * MINUTE);
    for (let i = 0; i < 50; i++) expect(await credentials.get()).toBe(first);
    expect(loads()).toBe(2);
    clock.advance(10_000);
    await credentials.get();
    expect(loads()).toBe(3);
    isDown = false;
    clock.advance(10_000);
    await eventually(async () => expect((await credentials.get()).name).not.toBe(first.name));
  });

  it("fail if they have expired and the source is down; the source is asked once a second, and found when it returns", async () => {
    let isDown = true;
    const { clock, credentials, loads } = setup(() => (isDown ? fail() : { name: "late", expiryMs: undefined }));
    for (let i = 0; i < 50; i++) await expect(credentials.get()).rejects.toBeInstanceOf(CredentialsFailure);
    expect(loads()).toBe(1);
    isDown = false;
    clock.advance(1_000);
    expect(await credentials.get()).toMatchObject({ name: "late" });
  });

  it("are used although they seem to have expired if the source has just returned them", async () => {
    const { clock, credentials, loads } = setup(() => ({ name: "skewed", expiryMs: 0 }));
    expect(await credentials.get()).toMatchObject({ name: "skewed" });
    await credentials.get();
    for (let i = 0; i < 50; i++) expect(await credentials.get()).toMatchObject({ name: "skewed" });
    expect(loads()).toBe(2);
    clock.advance(1_000);
    await credentials.get();
    expect(loads()).toBe(3);
  });

  it("are replaced when a store rejects them: once for all requests that used them", async () => {
    let issued = 0;
    const { credentials, loads } = setup(() => ({ name: `key ${++issued}`, expiryMs: undefined }));
    const used = await credentials.get();
    const others = await Promise.all([1, 2, 3].map(() => credentials.replace(used)));
    expect(others.map((other) => other?.name)).toEqual(["key 2", "key 2", "key 2"]);
    expect((await credentials.replace(used))?.name).toBe("key 2");
    expect(loads()).toBe(2);
  });

  it("are not replaced if the source returns the same ones, and it is asked once a second although they are rejected each time", async () => {
    const { clock, credentials, loads } = setup(() => ({ name: "a", expiryMs: undefined }));
    const used = await credentials.get();
    for (let i = 0; i < 50; i++) expect(await credentials.replace(used)).toBeUndefined();
    expect(loads()).toBe(2);
    clock.advance(1_000);
    await credentials.replace(used);
    expect(loads()).toBe(3);
  });

  it("are asked for ever more rarely if a store rejects all new ones, too, and once a second again later", async () => {
    let issued = 0;
    const { clock, credentials, loads } = setup(() => ({ name: `key ${++issued}`, expiryMs: undefined }));
    for (let second = 0; second < 60; second++) {
      for (let i = 0; i < 10; i++) await credentials.replace(await credentials.get());
      clock.advance(1_000);
    }
    expect(loads()).toBe(5); // at first, and after 0, 4, 20 and 50 seconds
    clock.advance(60_000);
    for (let i = 0; i < 2; i++) {
      await credentials.replace(await credentials.get());
      clock.advance(1_000);
    }
    expect(loads()).toBe(7);
  });

  it("fail if the source does not answer in ten seconds, and are asked for anew afterwards", async () => {
    let isStalled = true;
    const { clock, credentials } = setup(() => (isStalled ? new Promise<Key>(() => {}) : { name: "a", expiryMs: undefined }));
    const stalled = expect(credentials.get()).rejects.toMatchObject({ cause: { message: expect.stringContaining("10000 ms") } });
    await Promise.resolve();
    clock.advance(10_000);
    await stalled;
    isStalled = false;
    expect(await credentials.get()).toMatchObject({ name: "a" });
    expect(clock.waits).toBe(0);
  });
});
