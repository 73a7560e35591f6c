import { VALUE_CALL_HEADER, VALUE_CALLS_PATH, ValueAnswer, ValueCall } from "@frontcache/proto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bytesOf } from "../../testing/value-bodies.js";
import { ValueListener } from "../../testing/value-listener.js";
import { patterned, requestOf } from "../../testing/value-samples.js";
import { ValuesCluster } from "../../testing/values-cluster.js";
import { HybridClock } from "../../values/hybrid-clock.js";
import { entryOf } from "../../values/value-entry.js";
import { memberCalls } from "./member-calls.js";

describe("calls of members with bytes", () => {
  let cluster: ValuesCluster;
  let listener: ValueListener;

  beforeAll(async () => {
    cluster = await ValuesCluster.open({ names: ["here"] });
    const { service } = cluster.values("here");
    listener = await ValueListener.serving(memberCalls(), service, "everybody");
  });

  afterAll(async () => {
    await listener[Symbol.asyncDispose]();
    await cluster.close();
  });

  const { url } = requestOf("k");

  async function send(call: Partial<ValueCall>, body: Buffer, headers: Record<string, string> = {}): Promise<ValueAnswer> {
    const message = ValueCall.encode(ValueCall.fromPartial({ name: "other", ...call })).finish();
    const sent = { ...headers, [VALUE_CALL_HEADER]: Buffer.from(message).toString("base64") };
    const { status, body: answer } = await listener.send("POST", VALUE_CALLS_PATH, { headers: sent, body });
    expect(status).toBe(200);
    return ValueAnswer.decode(Buffer.from(answer.toString(), "base64"));
  }

  function beginning(version: string, size: number): NonNullable<ValueCall["begin"]> {
    const entry = entryOf({ url, version, size, nowMs: cluster.clock.nowMs() }, {}, 0);
    return {
      entry,
      upload: false,
      sized: true,
      whileWritten: "",
      exclusive: false,
      data: Buffer.alloc(0),
      whole: true,
      members: [],
    };
  }

  const versions = () => new HybridClock(cluster.clock, "other");

  it("write a whole value, which the answer confirms", async () => {
    const bytes = patterned(300_000);
    const version = versions().next();
    expect(await send({ begin: beginning(version, bytes.length) }, bytes)).toMatchObject({ conflict: "" });
    const again = await send({ begin: beginning(version, bytes.length) }, bytes);
    expect(again).toMatchObject({ conflict: "older", largest: version });
    expect((await bytesOf(await cluster.values("here").open({ ...requestOf("k"), offset: 0 }))).equals(bytes)).toBe(true);
  });

  it("write a body of unknown length at an offset of an upload, and name what is there", async () => {
    const bytes = patterned(400_000, 3);
    await cluster.values("here").begin({ ...requestOf("k"), size: 500_000, exclusive: false });
    const write = { url, version: "", offset: 100_000, data: Buffer.alloc(0) };
    const answer = await send({ write }, bytes, { "transfer-encoding": "chunked" });
    expect(answer.present).toEqual([{ start: 100_000, end: 500_000 }]);
    await send({ write: { ...write, offset: 0 } }, patterned(100_000, 4));
    const info = await cluster.values("here").finalize(requestOf("k"));
    const read = await bytesOf(await cluster.values("here").open({ ...requestOf("k"), offset: 0 }));
    expect([info.size, read.equals(Buffer.concat([patterned(100_000, 4), bytes]))]).toEqual([500_000, true]);
  });

  it("are refused without a call, with other methods, and to everybody who is not a member", async () => {
    expect((await listener.send("POST", VALUE_CALLS_PATH)).status).toBe(400);
    expect((await listener.send("POST", VALUE_CALLS_PATH, { headers: { [VALUE_CALL_HEADER]: "%%" } })).status).toBe(400);
    expect((await listener.send("GET", VALUE_CALLS_PATH)).status).toBe(405);
    const { service } = cluster.values("here");
    await using others = await ValueListener.serving(memberCalls(), service, "nobody");
    const message = ValueCall.encode(ValueCall.fromPartial({ name: "other" })).finish();
    const headers = { [VALUE_CALL_HEADER]: Buffer.from(message).toString("base64") };
    expect((await others.send("POST", VALUE_CALLS_PATH, { headers, body: "x" })).status).toBe(403);
  });
});
