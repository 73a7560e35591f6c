/** What a request says about the cache. Undefined: nothing. */
export type CacheDirectives =
  | {
      /** How old the record of the object may be, milliseconds. Undefined: as old as the settings allow. */
      readonly maxAgeMs: number | undefined;
      /** The origin is to answer, and its answer is not to be kept. */
      readonly isBypass: boolean;
      /** The origin must not be asked. */
      readonly isCachedOnly: boolean;
    }
  | undefined;

/** Parses Cache-Control of a request (RFC 9111, 5.2.1), and Pragma, which counts without Cache-Control. Other directives are ignored. */
export function parseCacheControl(cacheControl: string | undefined, pragma: string | undefined): CacheDirectives {
  if (cacheControl === undefined) {
    return pragma?.toLowerCase() === "no-cache" ? { maxAgeMs: 0, isBypass: false, isCachedOnly: false } : undefined;
  }
  let maxAgeMs: number | undefined;
  let [isBypass, isCachedOnly] = [false, false];
  for (const directive of cacheControl.toLowerCase().split(",")) {
    const [name = "", value] = directive.trim().split("=", 2);
    if (name === "no-cache") maxAgeMs = 0;
    else if (name === "no-store") isBypass = true;
    else if (name === "only-if-cached") isCachedOnly = true;
    else if (name === "max-age" && value !== undefined) {
      const seconds = /^"?(\d{1,10})"?$/.exec(value)?.[1];
      if (seconds !== undefined) maxAgeMs = Math.min(maxAgeMs ?? Number.POSITIVE_INFINITY, Number(seconds) * 1_000);
    }
  }
  return { maxAgeMs, isBypass, isCachedOnly };
}
