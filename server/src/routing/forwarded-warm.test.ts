import { CacheError, parseObjectUrl } from "@frontcache/proto";
import { describe, expect, it } from "vitest";
import { ManualClock } from "../testing/manual-clock.js";
import { forwardWarm } from "./forwarded-warm.js";
import type { MemberChannel } from "./member-channel.js";
import { MemberLink } from "./member-link.js";

const notAsked = (): never => expect.unreachable("the member is not connected");

/** A way to a member that takes connections when the test says so. */
function connecting() {
  let refuse = (): void => {};
  const attempt = new Promise<void>((_, reject) => {
    refuse = () => reject(new Error("refused"));
  });
  const channel: MemberChannel = {
    connected: false,
    connect: () => attempt,
    probe: notAsked,
    readRange: notAsked,
    evict: notAsked,
    warm: notAsked,
    close() {},
  };
  const clock = new ManualClock();
  return { refuse, clock, link: new MemberLink({ name: "other", grpcAddress: "10.0.0.1:8080" }, clock, channel) };
}

describe("warming at a member that is being connected to", () => {
  it.each(["while it connects", "before"])("ends with its caller, who leaves %s", async (when) => {
    const { refuse, clock, link } = connecting();
    const caller = new AbortController();
    const left = new CacheError("CANCELLED", "the caller went away");
    if (when === "before") caller.abort(left);
    const request = { version: undefined, blockOffset: 0, objectSize: undefined, dryRun: false, signal: caller.signal };
    const warming = forwardWarm(link, { ref: parseObjectUrl("s3://bucket/key"), ...request });
    caller.abort(left);
    await expect(warming).rejects.toMatchObject({ code: "CANCELLED" });
    const attempt = link.connect();
    refuse();
    await expect(attempt).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect(clock.waits).toBe(0);
  });
});
