import { once } from "node:events";
import { type ClientRequest, type IncomingMessage, request as sendRequest } from "node:http";
import type { CacheError } from "@frontcache/proto";
import { eventually } from "@frontcache/proto/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { bytesOf, openWhenWritten } from "../../testing/value-bodies.js";
import { ValueListener } from "../../testing/value-listener.js";
import { patterned, requestOf } from "../../testing/value-samples.js";
import { ValuesCluster } from "../../testing/values-cluster.js";
import { valueApi } from "./value-api.js";

describe("a client that has sent a part of a value", () => {
  let cluster: ValuesCluster;
  let listener: ValueListener;
  let put: ClientRequest;
  let following: Promise<string>;

  beforeEach(async () => {
    cluster = await ValuesCluster.open({ names: ["a", "b", "c"] });
    await cluster.advance(1_000);
    listener = await ValueListener.serving(valueApi(), cluster.values("a"), "nobody");
    put = sendRequest({ port: listener.port, method: "PUT", path: "/values/bucket/k", agent: false });
    put.on("error", () => {});
    put.write(patterned(20_000));
    const [holder] = cluster.ring(requestOf("k").url);
    following = bytesOf(await openWhenWritten(cluster.values(holder!), "k")).then(
      () => "whole",
      (error: CacheError) => error.code,
    );
  });

  afterEach(async () => {
    put.destroy();
    await listener[Symbol.asyncDispose]();
    await cluster.close();
  });

  const writers = (): number[] => cluster.names.map((name) => cluster.values(name).stats().writers);

  /** Readers get an error, the value is missing, and another client may write it. */
  async function expectFree(): Promise<void> {
    expect(await following).toBe("UNAVAILABLE");
    await eventually(() => expect(writers()).toEqual([0, 0, 0]));
    expect(await cluster.values("b").head(requestOf("k"))).toBeUndefined();
    const body = patterned(5);
    await cluster.values("c").put({ ...requestOf("k"), whileWritten: "refuse" }, body);
    expect((await bytesOf(await cluster.values("b").open({ ...requestOf("k"), offset: 0 }))).equals(body)).toBe(true);
  }

  it("and then nothing for 20 s gets 408, and leaves the key free", async () => {
    const answered = once(put, "response") as Promise<[IncomingMessage]>;
    await eventually(async () => {
      listener.clock.advance(20_000);
      for (let turn = 0; turn < 5; turn++) await cluster.settle();
      expect(writers()).toEqual([0, 0, 0]);
    });
    const [response] = await answered;
    expect(response.statusCode).toBe(408);
    response.resume();
    await expectFree();
  });

  it("and disconnects then, leaves the key free", async () => {
    put.destroy();
    await expectFree();
  });
});
