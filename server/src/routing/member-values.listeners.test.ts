import { NotSent, type ObjectRequest, Unreachable } from "@frontcache/client/members";
import { DEFAULT_GEOMETRY, type MemberInfo, Membership, ValueAnswer, ValueCall } from "@frontcache/proto";
import { ManualClock, until } from "@frontcache/proto/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { GrpcFixture } from "../testing/grpc-fixture.js";
import { knowsNoObjects, openOtherMembers } from "../testing/other-members.js";
import { bytesOf, SentBody } from "../testing/value-bodies.js";
import { patterned, requestOf } from "../testing/value-samples.js";
import { ValuesCluster } from "../testing/values-cluster.js";
import { GatheredBody } from "../values/gathered-body.js";
import { HybridClock } from "../values/hybrid-clock.js";
import { entryOf } from "../values/value-entry.js";
import type { StepBytes, ValueMembers } from "../values/value-members.js";
import { valueMembers } from "./member-values.js";
import { MemberView } from "./member-view.js";
import type { OtherMembers } from "./other-members.js";

const self = { name: "self", grpcAddress: "127.0.0.1:1" };
const { url } = requestOf("k");

describe("a body that is sent to a member while it arrives", () => {
  const there = { name: "there", grpcAddress: "127.0.0.1:2", httpAddress: "127.0.0.1:3" };
  const bytes = patterned(400_000);
  const clock = new ManualClock();
  let others: OtherMembers;
  let attempts: ObjectRequest[];
  let received: Buffer[];

  beforeEach(() => {
    const view = new MemberView(self.name, clock, Membership.of([self, there], DEFAULT_GEOMETRY.blockBytes));
    others = openOtherMembers({ self, view, clock });
    [attempts, received] = [[], []];
  });

  afterEach(() => others.close());

  /** Sends it to a member that answers after it has lost the first request as `failure` says. */
  function sendTo(failure: Error): { readonly body: SentBody; readonly answer: Promise<ValueAnswer> } {
    const text = Buffer.from(ValueAnswer.encode(ValueAnswer.fromPartial({ sequence: 7 })).finish()).toString("base64");
    const send = async (_to: unknown, request: ObjectRequest) => {
      attempts.push(request);
      for await (const piece of request.bodyPieces ?? [request.body!]) {
        received.push(Buffer.from(piece));
        if (attempts.length === 1) throw failure;
      }
      return { head: undefined as never, text };
    };
    const body = new SentBody();
    const gathered = new GatheredBody(url, body, Buffer.alloc(bytes.length));
    const { begin } = ValueCall.fromPartial({ begin: { sized: true, whole: true } });
    const answer = valueMembers(others, { send }).send(there, { begin }, gathered, requestOf("k").signal);
    body.send(bytes.subarray(0, 100_000));
    return { body, answer };
  }

  it("is sent again, whole, if the member has closed the connection meanwhile", async () => {
    const { body, answer } = sendTo(new Unreachable("the connection was closed"));
    await until(() => received.length === 1);
    expect(received[0]!.equals(bytes.subarray(0, 100_000))).toBe(true);
    body.send(bytes.subarray(100_000));
    body.end();
    expect(await answer).toMatchObject({ sequence: 7 });
    expect(received[1]!.equals(bytes)).toBe(true);
    expect(attempts.map(({ isRepeatable }) => isRepeatable)).toEqual([false, true]);
  });

  it("is not sent again to a member that cannot be reached", async () => {
    const { answer } = sendTo(new NotSent("no connection"));
    await expect(answer).rejects.toThrow("no connection");
    expect(attempts).toHaveLength(1);
  });
});

describe("bytes for a member that has only a gRPC listener", () => {
  let cluster: ValuesCluster;
  let listener: GrpcFixture;
  let others: OtherMembers;
  let members: ValueMembers;
  let there: MemberInfo;
  let versions: HybridClock;

  beforeEach(async () => {
    cluster = await ValuesCluster.open({ names: ["there"] });
    listener = await GrpcFixture.open({ starting: true });
    const { cache } = listener;
    listener.listener.serve({ cache, members: cache, objects: knowsNoObjects, values: cluster.values("there").service });
    there = { name: "there", grpcAddress: listener.address };
    const view = new MemberView(self.name, listener.clock, Membership.of([self, there], DEFAULT_GEOMETRY.blockBytes));
    others = openOtherMembers({ self, view, clock: listener.clock });
    members = valueMembers(others, { send: () => Promise.reject(new Error("the member has no HTTP listener")) });
    versions = new HybridClock(cluster.clock, self.name);
  });

  afterEach(async () => {
    await others.close();
    await listener[Symbol.asyncDispose]();
    await cluster.close();
  });

  const send = (step: Partial<ValueCall>, bytes: StepBytes) => members.send(there, step, bytes, requestOf("k").signal);

  function beginning(version: string, size: number, { whole = true, upload = false } = {}): Pick<ValueCall, "begin"> {
    const entry = entryOf({ url, version, size, nowMs: cluster.clock.nowMs() }, {}, 0);
    return {
      begin: { entry, upload, sized: true, whileWritten: "", exclusive: false, data: Buffer.alloc(0), whole, members: [] },
    };
  }

  async function stored(): Promise<Buffer> {
    return bytesOf(await cluster.values("there").open({ ...requestOf("k"), offset: 0 }));
  }

  // Calls carry at most 224 KiB.
  it.each([0, 1, 224 << 10, (224 << 10) + 1, 1 << 20])(
    "are sent by calls if they are a whole value of %d bytes",
    async (size) => {
      const bytes = patterned(size);
      const version = versions.next();
      expect(await send(beginning(version, size), bytes)).toMatchObject({ conflict: "" });
      expect((await stored()).equals(bytes)).toBe(true);
      expect(await send(beginning(version, size), bytes)).toMatchObject({ conflict: "older", largest: version });
      expect(cluster.values("there").stats().writers).toBe(0);
    },
  );

  it("are sent by calls if they arrive in pieces, at an offset of an upload", async () => {
    const bytes = patterned(700_000);
    async function* pieces(): AsyncGenerator<Uint8Array> {
      for (let at = 0; at < bytes.length; at += 300_000) yield bytes.subarray(at, at + 300_000);
    }
    const { signal } = requestOf("k");
    const version = versions.next();
    await members.call(there, beginning(version, 700_005, { whole: false, upload: true }), signal, 10_000);
    const write = { url, version: "", offset: 5, data: Buffer.alloc(0) };
    expect((await send({ write }, pieces())).present).toEqual([{ start: 5, end: 700_005 }]);
    await send({ write: { ...write, offset: 0 } }, patterned(5, 2));
    await cluster.values("there").finalize(requestOf("k"));
    expect((await stored()).equals(Buffer.concat([patterned(5, 2), bytes]))).toBe(true);
  });

  it("are not sent for a value that conflicts", async () => {
    await cluster.values("there").put(requestOf("k"), patterned(10));
    await cluster.values("there").lock({ ...requestOf("k"), holder: "client", seconds: 60 });
    expect(await send(beginning(versions.next(), 300_000), patterned(300_000))).toMatchObject({ conflict: "locked" });
    expect((await stored()).equals(patterned(10))).toBe(true);
    expect(cluster.values("there").stats().writers).toBe(0);
  });
});
