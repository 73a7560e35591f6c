import type { DiskOperation } from "@frontcache/server/testing";
import type { Wanted } from "./cluster-readers.js";
import type { FailingRead } from "./failing-reads.js";
import type { HttpRequest } from "./simulated-http.js";
import type { Weather } from "./simulated-network.js";
import type { OriginDistance } from "./simulated-origin.js";

/** A range to read; `back`: of the version this many before the current one, absent: of no named version. */
export interface Range {
  readonly url: string;
  readonly offset: number;
  readonly length: number;
  readonly back?: number;
}

/** One thing that happens. Members are named by an index into those that serve just then. */
export type Action =
  | ({
      readonly kind: "read";
      readonly member: number;
      readonly readers: number;
      readonly cachedOnly: boolean;
      readonly slowness: number;
      /** Pieces; Infinity: it stays to the end. */
      readonly leavesAfter: number;
    } & Range)
  | ({ readonly kind: "clientRead"; readonly client: number; readonly streamed: boolean } & Range)
  | {
      readonly kind: "http";
      readonly member: number;
      readonly url: string;
      readonly method: HttpRequest["method"];
      /** A Range header; absent: none. */
      readonly range?: string;
      /** A condition, and the version that it names: this many before the current one. Absent: none. */
      readonly condition?: { readonly header: "if-match" | "if-none-match" | "if-range"; readonly back: number };
      readonly slowness: number;
      readonly leavesAfter: number;
    }
  | ({ readonly kind: "failing" } & FailingRead)
  | { readonly kind: "stat"; readonly client: number; readonly url: string; readonly back?: number }
  | { readonly kind: "put"; readonly url: string; readonly size: number }
  /** The object becomes what it was before: this many versions before the current one. 0: only a header changes. */
  | { readonly kind: "putAgain"; readonly url: string; readonly back: number }
  | { readonly kind: "delete"; readonly url: string }
  /** A client writes or deletes an object through a member. */
  | { readonly kind: "write"; readonly member: number; readonly url: string; readonly size: number; readonly deletes: boolean }
  /** The home of an object writes it itself, and dies before the origin takes the write. The object is asked for all the time. */
  | {
      readonly kind: "lostWrite";
      readonly url: string;
      readonly size: number;
      readonly takenWithinMs: number;
      readonly diesAfterMs: number;
      readonly backAfterMs: number;
    }
  | { readonly kind: "evict"; readonly url: string; readonly member: number }
  | { readonly kind: "warm"; readonly url: string; readonly client: number }
  | { readonly kind: "abort" }
  /** An object is asked for again and again for a while, through one member after the other. */
  | { readonly kind: "poll"; readonly url: string; readonly everyMs: number; readonly times: number }
  | { readonly kind: "slowOrigin"; readonly latencyMs: number; readonly chunkDelayMs: number; readonly forMs: number }
  | {
      readonly kind: "origin";
      readonly fails: "refuses" | "break" | "stall";
      readonly afterBytes: number;
      readonly forMs: number;
    }
  | { readonly kind: "disk"; readonly member: number; readonly fails: number; readonly waits: number }
  | { readonly kind: "fillDisk"; readonly member: number; readonly bytes: number }
  | ({ readonly kind: "distance"; readonly forMs: number } & OriginDistance)
  | ({ readonly kind: "weather"; readonly forMs: number } & Weather)
  /** Messages from one member to another one, or to all others, take longer; those of the other direction do not. */
  | {
      readonly kind: "slowLink";
      readonly from: number;
      readonly to?: number;
      readonly delayMs: number;
      readonly forMs: number;
    }
  /** Members whose bits differ do not reach each other. */
  | { readonly kind: "divide"; readonly bits: number; readonly forMs: number }
  | { readonly kind: "cut"; readonly member: number; readonly other?: number; readonly forMs: number }
  | {
      readonly kind: "crash";
      readonly member: number;
      readonly silently: boolean;
      readonly backAfterMs: number;
      readonly flips: number;
      readonly at?: { readonly operation: DiskOperation; readonly after: number };
    }
  | { readonly kind: "leave"; readonly member: number; readonly backAfterMs: number }
  | { readonly kind: "freeze"; readonly member: number; readonly forMs: number }
  /** All others see a member leave and return, for so long that they take over without its confirmation. It sees neither. */
  | { readonly kind: "unlist"; readonly member: number }
  | { readonly kind: "deafen"; readonly member: number; readonly forMs: number }
  | { readonly kind: "jump"; readonly member: number; readonly byMs: number }
  | { readonly kind: "rest" };

/** An action with the chance that everything after it has, and the time that passes then. */
export type Step = Action & { readonly seed: number; readonly thenMs: number };

/** One line that says what a step does. */
export function describeStep({ kind, seed, thenMs, ...rest }: Step): string {
  const fields = Object.entries(rest).map(
    ([name, value]) => `${name} ${typeof value === "object" ? JSON.stringify(value) : value}`,
  );
  return `${kind} ${fields.join(", ")}; then ${thenMs} ms pass (chance ${seed})`;
}

/** What a range comes to when it is read, given the versions of its object, the current one last. */
export function wantedOf({ url, offset, length, back }: Range, versions: readonly { version: string }[]): Wanted {
  return { url, version: versionBack(versions, back), offset, length };
}

/** A request for the S3 endpoint, given the versions of its object. */
export function requestOf(
  { method, range, condition }: Extract<Action, { kind: "http" }>,
  versions: readonly { version: string }[],
): HttpRequest {
  const version = versionBack(versions, condition?.back);
  return {
    method,
    headers: {
      ...(range !== undefined && { range }),
      ...(condition !== undefined && version !== undefined && { [condition.header]: `"${version}"` }),
    },
  };
}

/** The version this many before the current one; undefined: the current one by no name. */
export function versionBack(versions: readonly { version: string }[], back: number | undefined): string | undefined {
  return back === undefined ? undefined : versions[Math.max(0, versions.length - 1 - back)]?.version;
}
