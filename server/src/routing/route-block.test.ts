import { CacheError, Membership, parseObjectUrl } from "@frontcache/proto";
import { describe, expect, it } from "vitest";
import type { BlockRequest } from "../cache/block-request.js";
import { emptyRead } from "./empty-read.js";
import { Unreachable } from "./member-link.js";
import { type Route, routeBlock } from "./route-block.js";

const members = ["a", "b", "c", "d"].map((name, i) => ({ name, grpcAddress: `127.0.0.${i + 1}:9000` }));
const membership = Membership.of(members, 1024);
const ranked = [...membership.owners("s3://bucket/key", 0)].map(({ name }) => name);

function request(signal = new AbortController().signal): BlockRequest {
  const ref = parseObjectUrl("s3://bucket/key");
  return { ref, version: "v", blockOffset: 0, start: 0, end: 10, openEnded: false, cachedOnly: false, signal };
}

/** A route as seen by `self` that notes who was asked; `failing` says how a member fails. */
function routeOf(self: string, options: { aside?: string[]; failing?: Record<string, Error>; list?: Membership } = {}) {
  const asked: string[] = [];
  const read = emptyRead({ version: "v", objectSize: 0 });
  const route: Route = {
    self,
    membership: options.list ?? membership,
    local: () => {
      asked.push("local");
      return read;
    },
    isAside: ({ name }) => options.aside?.includes(name) === true,
    forward: async ({ name }) => {
      asked.push(name);
      const failure = options.failing?.[name];
      if (failure !== undefined) throw failure;
      return read;
    },
  };
  return { asked, route };
}

const lost = (rank: number): Record<string, Error> => ({ [ranked[rank]!]: new Unreachable(members[0]!, undefined) });

describe("a block's read", () => {
  it("is answered here, at once, by its owner", () => {
    const { asked, route } = routeOf(ranked[0]!);
    expect(routeBlock(request(), false, route)).not.toBeInstanceOf(Promise);
    expect(asked).toEqual(["local"]);
  });

  it("goes to its owner from any other member", async () => {
    const { asked, route } = routeOf(ranked[3]!);
    await routeBlock(request(), false, route);
    expect(asked).toEqual([ranked[0]]);
  });

  it("is answered where it lands when a member sent it, whoever owns it: no loops", () => {
    const { asked, route } = routeOf(ranked[2]!);
    routeBlock(request(), true, route);
    expect(asked).toEqual(["local"]);
  });

  it("goes to the next on the ring when the owner can't be reached, then is answered here", async () => {
    const { asked, route } = routeOf(ranked[3]!, { failing: { ...lost(0), ...lost(1) } });
    await routeBlock(request(), false, route);
    expect(asked).toEqual([ranked[0], ranked[1], "local"]);
  });

  it("is answered here when the next on the ring is this member", async () => {
    const { asked, route } = routeOf(ranked[1]!, { failing: lost(0) });
    await routeBlock(request(), false, route);
    expect(asked).toEqual([ranked[0], "local"]);
  });

  it("does not wait for members that were out of reach a moment ago", async () => {
    const { asked, route } = routeOf(ranked[3]!, { aside: [ranked[0]!] });
    await routeBlock(request(), false, route);
    expect(asked).toEqual([ranked[1]]);
  });

  it("ends with the owner's own error: another member would say the same", async () => {
    const { asked, route } = routeOf(ranked[3]!, { failing: { [ranked[0]!]: new CacheError("NOT_FOUND", "no such object") } });
    await expect(routeBlock(request(), false, route)).rejects.toMatchObject({ code: "NOT_FOUND" });
    expect(asked).toEqual([ranked[0]]);
  });

  it("ends when its reader has gone", async () => {
    const { asked, route } = routeOf(ranked[3]!, { failing: lost(0) });
    await expect(routeBlock(request(AbortSignal.abort()), false, route)).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect(asked).toEqual([ranked[0]]);
  });

  it("is answered here while nobody is on the ring", () => {
    const { asked, route } = routeOf("x", { list: Membership.of([], 1024) });
    routeBlock(request(), false, route);
    expect(asked).toEqual(["local"]);
  });
});
