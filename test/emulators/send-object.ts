import type { Exchange } from "./listener.js";
import type { StoredObject } from "./objects.js";
import { sendBody } from "./send-body.js";

/** The part of an object that a `Range` header requests; undefined if none of it exists. */
export interface ServedRange {
  readonly start: number;
  readonly end: number;
  /** Whether the response is partial (206). Several ranges and malformed ones get the whole object. */
  readonly partial: boolean;
}

export function servedRange(header: string | undefined, size: number): ServedRange | undefined {
  const whole = { start: 0, end: size, partial: false };
  const match = /^bytes=(\d*)-(\d*)$/.exec(header ?? "");
  if (match === null || (match[1] === "" && match[2] === "")) return whole;
  const [first, last] = [match[1]!, match[2]!];
  if (first === "") {
    const suffix = Math.min(Number(last), size);
    return suffix === 0 ? undefined : { start: size - suffix, end: size, partial: true };
  }
  const start = Number(first);
  if (last !== "" && Number(last) < start) return whole;
  if (start >= size) return undefined;
  return { start, end: last === "" ? size : Math.min(size, Number(last) + 1), partial: true };
}

/** Answers a GET or HEAD whose conditions are met. `headers` are those of the store, including the version. */
export async function sendObject(exchange: Exchange, object: StoredObject, headers: Record<string, string>): Promise<void> {
  const { seen, fault, response, traffic } = exchange;
  const range = servedRange(fault.range === "ignored" ? undefined : seen.headers.range, object.size);
  if (range === undefined) return exchange.fail(416, "InvalidRange", { "Content-Range": `bytes */${object.size}` });
  const { start, end, partial } = range;
  const sentEnd = fault.range === "short" ? end - 1 : end;
  const named = fault.range === "wrong" ? start + 1 : start;
  response.writeHead(partial ? 206 : 200, {
    ...storedHeaders(object, !partial && seen.headers["x-amz-checksum-mode"] === "ENABLED"),
    "Accept-Ranges": "bytes",
    "Content-Type": object.contentType,
    "Last-Modified": new Date(object.lastModifiedMs).toUTCString(),
    "Content-Length": sentEnd - start + (fault.range === "long" ? 1 : 0),
    ...(partial && { "Content-Range": `bytes ${named}-${end - 1}/${object.size}` }),
    ...headers,
    ...fault.headers,
  });
  if (seen.method === "HEAD") return void response.end();
  const { bucket, key } = seen;
  traffic.gets.push({ bucket, key, start, end, status: response.statusCode, atMs: performance.now() });
  await sendBody(response, object, start, sentEnd, fault, traffic);
}

/** Checksums are of the whole object, and only for those who ask for them. */
function storedHeaders({ headers }: StoredObject, withChecksums: boolean): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => withChecksums || !name.startsWith("x-amz-checksum-")));
}
