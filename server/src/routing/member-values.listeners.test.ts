import { DEFAULT_GEOMETRY, type MemberInfo, Membership, type ValueCall } from "@frontcache/proto";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { GrpcFixture } from "../testing/grpc-fixture.js";
import { knowsNoObjects, openOtherMembers } from "../testing/other-members.js";
import { bytesOf } from "../testing/value-bodies.js";
import { patterned, requestOf } from "../testing/value-samples.js";
import { ValuesCluster } from "../testing/values-cluster.js";
import { HybridClock } from "../values/hybrid-clock.js";
import { entryOf } from "../values/value-entry.js";
import type { StepBytes, ValueMembers } from "../values/value-members.js";
import { valueMembers } from "./member-values.js";
import { MemberView } from "./member-view.js";
import type { OtherMembers } from "./other-members.js";

const self = { name: "self", grpcAddress: "127.0.0.1:1" };
const { url } = requestOf("k");

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
