import { blockOffsetOf } from "@frontcache/proto";
import type { Origin } from "@frontcache/server";
import { type Cache, type ObjectRead, type ReadRequest, wrap } from "@frontcache/server/testing";
import type { BrokenRules } from "./simulated-member.js";
import { geometry } from "./simulated-parts.js";

/** Rules that can be broken on purpose, one at a time, to see how soon the model finds it. */
export const breakableRules: Readonly<Record<string, BrokenRules>> = {
  /** A read of several blocks takes every block as it is current just then. */
  "version-pin": { read: (read) => (request) => readUnpinned(read, request) },
  /** The origin ignores the version that is asked for, and answers as if it had it. */
  "origin-condition": { origin: unconditional },
  /** A member sends reads on that a member sent it. */
  "one-hop": { read: (read) => (request) => read({ ...request, forwarded: false }) },
};

async function readUnpinned(read: Cache["open"], request: ReadRequest): Promise<ObjectRead> {
  if (request.version !== undefined || request.forwarded) return read(request);
  const whole = await read(request);
  const { offset, length } = whole;
  let at = offset;
  let block: ObjectRead = whole;
  return {
    info: whole.info,
    offset,
    length,
    result: whole.result,
    async next() {
      if (at > offset && at % geometry.blockBytes === 0 && at < offset + length) {
        block.close();
        const end = Math.min(offset + length, blockOffsetOf(at, geometry) + geometry.blockBytes);
        block = await read({ ...request, offset: at, length: end - at });
      }
      const slice = await block.next();
      at += slice?.bytes.length ?? 0;
      return slice;
    },
    close: () => block.close(),
  };
}

function unconditional(next: Origin): Origin {
  return wrap(next, {
    async fetch(request) {
      const { version } = request;
      const answer = await next.fetch({ ...request, version: undefined });
      return version === undefined ? answer : { ...answer, info: { ...answer.info, version } };
    },
  });
}
