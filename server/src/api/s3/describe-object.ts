import { CacheError, type ObjectInfo, type ObjectRef } from "@frontcache/proto";
import type { Cache } from "../../routing/cache.js";
import type { Exchange } from "./exchange.js";

/** Longer than the origin takes to tell, and no reader waits longer for a header that it can do without. */
const PATIENCE_MS = 1_000;

/**
 * Type and date of the object whose bytes came without them: other members send what they know, the origin may have named
 * neither. They can be had for the newest version only; undefined where they can't, or not soon: the bytes matter more.
 */
export async function describeObject(
  cache: Pick<Cache, "ask">,
  ref: ObjectRef,
  version: string,
  { principal, signal, clock }: Pick<Exchange, "principal" | "signal" | "clock">,
): Promise<ObjectInfo | undefined> {
  const limit = new AbortController();
  const cancel = clock.after(PATIENCE_MS, () =>
    limit.abort(new CacheError("DEADLINE_EXCEEDED", `${ref.url}: no description yet`)),
  );
  const leave = (): void => limit.abort(signal.reason);
  signal.addEventListener("abort", leave, { once: true });
  try {
    return (await cache.ask({ kind: "stat", ref, version, principal, signal: limit.signal })).info;
  } catch {
    return undefined;
  } finally {
    signal.removeEventListener("abort", leave);
    cancel();
  }
}
