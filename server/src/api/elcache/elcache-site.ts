import { decodeOnce } from "../../runtime/percent-decoding.js";
import type { Values } from "../../values/values.js";
import type { HttpContext } from "../http/http-context.js";
import { plainGetParser } from "../http/plain-request.js";
import type { Serving, Site } from "../http/site.js";
import type { ErrorResponse } from "../s3/error-response.js";
import { invalidRequest, type ValueTarget, valueSite } from "../values/value-site.js";
import { answerCache } from "./cache-requests.js";
import { ElCachePages, type ElCachePagesOptions } from "./elcache-pages.js";
import { answerSparse, FINALIZE } from "./sparse-requests.js";

export interface ElCacheOptions extends ElCachePagesOptions {
  /** The bucket of the values. ElCache has no buckets. */
  readonly bucket: string;
}

/** Bytes of a key. */
const MAX_KEY_BYTES = 8_192;

const CACHE = "/cache/";
const SPARSE = "/sparse/";

/** ElCache's REST interface, as its API reference describes it. Errors are plain text. */
export function elCacheSite(options: ElCacheOptions): Site<Values> {
  const pages = new ElCachePages(options);
  return valueSite({
    errorForm: { contentType: "text/plain; charset=utf-8", write: ({ message }) => `${message}\n` },
    parsePlain: plainGetParser(`${CACHE}[!"$->@-~]+`),
    answerPublic: (context, path, serving) => pages.answerHealth(context, path, serving),
    answer: (context, target, values, serving) => answer(context, target, values, serving, { bucket: options.bucket, pages }),
  });
}

function answer(
  context: HttpContext,
  { path, query }: ValueTarget,
  values: Values,
  serving: Serving<Values>,
  { bucket, pages }: { readonly bucket: string; readonly pages: ElCachePages },
): ErrorResponse | undefined {
  if (path.startsWith(CACHE)) {
    const key = keyIn(path.slice(CACHE.length));
    return typeof key === "string"
      ? answerCache(context, values, { url: `cache://${bucket}/${key}`, query }, pages.metrics)
      : key;
  }
  if (path.startsWith(SPARSE)) {
    const isFinalize = context.request.method === "POST" && path.endsWith(FINALIZE);
    const key = keyIn(path.slice(SPARSE.length, isFinalize ? -FINALIZE.length : undefined));
    if (typeof key !== "string") return key;
    return answerSparse(context, values, { url: `cache://${bucket}/${key}`, key, query, isFinalize });
  }
  return pages.answer(context, path, values, serving);
}

/** Returns the key of a path, or the error. Throws INVALID_ARGUMENT if it cannot be decoded. */
function keyIn(escaped: string): string | ErrorResponse {
  if (escaped === "") return invalidRequest(400, "Missing cache key");
  const key = decodeOnce(escaped);
  return Buffer.byteLength(key) > MAX_KEY_BYTES ? invalidRequest(400, `Key too large: at most ${MAX_KEY_BYTES} bytes`) : key;
}
