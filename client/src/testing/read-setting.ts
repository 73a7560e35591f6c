import { ManualClock } from "@frontcache/proto/testing";
import { CircuitBreaker } from "../members/circuit-breaker.js";
import type { MemberAddress } from "../members/ports.js";
import { RunningCall } from "../members/running-call.js";
import type { ReadWith } from "../read-block.js";
import { FakeTransport } from "./fake-transport.js";

/** The collaborators of a read in memory: two members, blocks of 8 bytes. */
export class ReadSetting {
  readonly url = "s3://bucket/file";
  readonly clock = new ManualClock(0);
  readonly transport: FakeTransport;
  readonly call: RunningCall;
  readonly with: ReadWith;

  constructor(object: { readonly version: string; readonly size: number }) {
    this.transport = new FakeTransport(object);
    this.call = new RunningCall({ clock: this.clock, subject: this.url, deadlineMs: 60_000 });
    const members: MemberAddress[] = [{ grpcAddress: "a:1" }, { grpcAddress: "b:1" }];
    const openFor = { firstMs: 1_000, longestMs: 1_000 };
    const breaker = new CircuitBreaker({ clock: this.clock, openFor, probe: async () => undefined });
    for (const { grpcAddress } of members) breaker.succeeded(grpcAddress);
    this.with = {
      blocks: this.transport,
      local: undefined,
      metrics: undefined,
      owners: { geometry: { blockBytes: 8, segmentBytes: 4 }, addressesOf: () => members },
      failover: { clock: this.clock, breaker, attempts: 6, backoff: { firstMs: 100, longestMs: 1_000 } },
    };
  }
}
