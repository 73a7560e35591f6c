import { CacheError, VALUE_HEADERS as NAMES } from "@frontcache/proto";
import { decodeOnce } from "../../runtime/percent-decoding.js";
import type { Query } from "../../runtime/query.js";
import {
  MAX_FLAGS,
  MAX_VALUE_BYTES,
  ValueConflict,
  type ValueDescription,
  type ValueInfo,
  type ValueRequest,
  type Values,
} from "../../values/values.js";
import type { HttpContext } from "../http/http-context.js";
import { plainGetParser } from "../http/plain-request.js";
import type { Site } from "../http/site.js";
import type { Document } from "../s3/document-answer.js";
import { type ErrorResponse, REQUEST_ID_HEADER } from "../s3/error-response.js";
import { parseRange } from "../s3/range-header.js";
import { receivedBytes } from "../s3/writes/received-body.js";
import { sendValue } from "./send-value.js";
import {
  answerRunning,
  bodySizeOf,
  empty,
  invalidRequest,
  jsonDocument,
  type ValueTarget,
  valueSite,
  wholeHeader,
} from "./value-site.js";
import { sendEvents, sendFollowed } from "./value-streams.js";

/** Begins the paths of values: `/values/<bucket>/<key>`. */
export const VALUES_PATH = "/values/";

const METHODS = "GET, HEAD, PUT, POST, DELETE";

/** The interface to values of frontcache's own clients, on the HTTP listener. Errors are JSON. */
export function valueApi(): Site<Values> {
  return valueSite({
    errorForm: {
      contentType: "application/json",
      write: ({ errorCode, message, elements = [] }) => {
        const [, detail = "{}"] = elements;
        return JSON.stringify({ code: errorCode, message, ...(JSON.parse(detail) as object) });
      },
    },
    parsePlain: plainGetParser(`${VALUES_PATH}[!"$->@-~]+`),
    answer,
  });
}

function answer(context: HttpContext, { path, query }: ValueTarget, values: Values): ErrorResponse | undefined {
  const [, bucket, slash, escaped = ""] = /^\/values\/([^/]+)(\/?)(.*)$/.exec(path) ?? [];
  if (bucket === undefined) return invalidRequest(404, "values are at /values/<bucket>/<key>");
  if (slash === "" || escaped === "") return answerBucket(context, bucket, query, values);
  const { principal, signal } = context;
  return answerValue(context, { url: `cache://${bucket}/${decodeOnce(escaped)}`, principal, signal }, query, values);
}

function answerBucket(context: HttpContext, bucket: string, query: Query, values: Values): ErrorResponse | undefined {
  const { request, principal, signal, authorization } = context;
  const prefix = query.get("prefix") ?? "";
  const url = `cache://${bucket}/${prefix}`;
  if (request.method !== "GET") return invalidRequest(405, "use GET for a bucket", ["Allow", "GET"]);
  if (query.has("stats")) {
    authorization?.checkCluster(principal, "status");
    answerRunning(context, { operation: "describe values", url }, async () => jsonDocument(values.stats()));
  } else if (query.has("monitor")) {
    sendEvents(context, values.monitor({ bucket, prefix, principal, signal }), url);
  } else {
    answerRunning(context, { operation: "list values", url }, async () => {
      const limit = Number(query.get("limit") ?? "1000");
      if (!(Number.isInteger(limit) && limit >= 1 && limit <= 1_000)) {
        throw new CacheError("INVALID_ARGUMENT", `${url}: the limit of a list is 1 to 1000`);
      }
      const { values: found, isTruncated } = await values.list({
        bucket,
        prefix,
        after: query.get("after") ?? "",
        limit,
        principal,
        signal,
      });
      return jsonDocument({ values: found, isTruncated });
    });
  }
  return undefined;
}

function answerValue(context: HttpContext, about: ValueRequest, query: Query, values: Values): ErrorResponse | undefined {
  const { request, upload } = context;
  const { url } = about;
  const run = (operation: string, make: () => Promise<Document>): undefined => {
    let conflict: ValueConflict | undefined;
    const noted = async (): Promise<Document> => {
      try {
        return await make();
      } catch (error) {
        if (error instanceof ValueConflict) conflict = error;
        throw error;
      }
    };
    answerRunning(context, { operation, url }, noted, (error) => {
      if (conflict === undefined) return error;
      const { reason, completion } = conflict;
      return { ...error, status: 409, elements: ["detail", JSON.stringify({ reason, completion })] };
    });
  };
  switch (request.method) {
    case "GET":
      if (query.has("upload")) return run("describe upload", async () => found(await values.completion(about), url));
      return get(context, about, values);
    case "HEAD":
      return run("HEAD value", async () => {
        const info = await values.head(about);
        if (info === undefined) throw missing(url);
        return empty(200, [...headersOf(info), "Content-Length", String(info.size)]);
      });
    case "PUT":
      if (query.has("offset")) {
        return run("write range", async () => {
          const text = query.get("offset") ?? "";
          const offset = /^\d+$/.test(text) ? Number(text) : Number.NaN;
          if (!Number.isSafeInteger(offset)) throw new CacheError("INVALID_ARGUMENT", `${url}: the offset is invalid`);
          return jsonDocument(await values.writeRange(about, offset, receivedBytes(upload!, context)));
        });
      }
      return run("PUT value", () => put(context, about, values));
    case "POST":
      return post(context, about, query, values, run);
    case "DELETE":
      return run("DELETE value", async () => {
        if (query.has("upload")) await values.abort(about);
        else if (!(await values.delete(about))) throw missing(url);
        return empty(204);
      });
    default:
      return invalidRequest(405, `${request.method} is not allowed for values: use ${METHODS}`, ["Allow", METHODS]);
  }
}

function get(context: HttpContext, about: ValueRequest, values: Values): undefined {
  const { request, requestId } = context;
  const range = parseRange(request.headers.range);
  const follows = request.headers[NAMES.follow] === "1";
  if (follows) sendFollowed(context, values, about, headersOf);
  else {
    sendValue(context, values, { url: about.url, range }, ({ info, offset }, length) => {
      const headers = [...headersOf(info), "Content-Length", String(length), REQUEST_ID_HEADER, requestId];
      if (range === undefined) return { status: 200, headers };
      headers.push("Content-Range", `bytes ${offset}-${offset + length - 1}/${info.size}`);
      return { status: 206, headers };
    });
  }
  return undefined;
}

async function put(context: HttpContext, about: ValueRequest, values: Values): Promise<Document> {
  const { headers } = context.request;
  const whileWritten = headers[NAMES.whileWritten];
  if (whileWritten !== undefined && whileWritten !== "refuse" && whileWritten !== "wait") {
    throw new CacheError("INVALID_ARGUMENT", `${about.url}: ${NAMES.whileWritten} is refuse or wait`);
  }
  const ifNoneMatch = headers["if-none-match"];
  if (ifNoneMatch !== undefined && ifNoneMatch !== "*") {
    throw new CacheError("INVALID_ARGUMENT", `${about.url}: If-None-Match of a value can only be *`);
  }
  if (headers["content-range"] !== undefined) {
    throw new CacheError("INVALID_ARGUMENT", `${about.url}: a value is put whole: begin an upload, and write ranges at ?offset=`);
  }
  const request = { ...about, ...descriptionOf(context), size: bodySizeOf(context), whileWritten, ifNoneMatch } as const;
  return jsonDocument(await values.put(request, receivedBytes(context.upload!, context)), 201);
}

function post(
  context: HttpContext,
  about: ValueRequest,
  query: Query,
  values: Values,
  run: (operation: string, make: () => Promise<Document>) => undefined,
): ErrorResponse | undefined {
  if (query.has("begin")) {
    return run("begin upload", async () => {
      const size = wholeHeader(context, NAMES.size, MAX_VALUE_BYTES) ?? 0;
      await values.begin({ ...about, ...descriptionOf(context), size, exclusive: query.has("exclusive") });
      return empty(201);
    });
  }
  if (query.has("finalize")) {
    const ttlSeconds = wholeHeader(context, NAMES.ttl, Number.MAX_SAFE_INTEGER);
    return run("finalize upload", async () => jsonDocument(await values.finalize({ ...about, ttlSeconds }), 201));
  }
  const holder = query.get("holder") ?? "";
  if (query.has("lock")) {
    return run("lock value", async () => {
      return jsonDocument({ endsMs: await values.lock({ ...about, holder, seconds: Number(query.get("lock")) }) });
    });
  }
  if (query.has("unlock")) {
    return run("unlock value", async () => {
      await values.unlock({ ...about, holder });
      return empty(204);
    });
  }
  return invalidRequest(400, "a POST of a value names begin, finalize, lock or unlock in its query");
}

function descriptionOf(context: HttpContext): ValueDescription {
  const { headers } = context.request;
  const names = Object.keys(headers).filter((name) => name.startsWith(NAMES.metadata));
  const metadata = Object.fromEntries(
    names.map((name) => [name.slice(NAMES.metadata.length), decodeOnce(String(headers[name]), name)]),
  );
  return {
    ttlSeconds: wholeHeader(context, NAMES.ttl, Number.MAX_SAFE_INTEGER),
    flags: wholeHeader(context, NAMES.flags, MAX_FLAGS),
    contentType: headers["content-type"],
    metadata,
  };
}

function headersOf(info: ValueInfo): string[] {
  const { contentType = "application/octet-stream" } = info;
  return [NAMES.value, encodeURIComponent(JSON.stringify(info)), "Content-Type", contentType, "Accept-Ranges", "bytes"];
}

function found(answer: object | undefined, url: string): Document {
  if (answer === undefined) throw new CacheError("NOT_FOUND", `${url}: no upload is running`);
  return jsonDocument(answer);
}

function missing(url: string): CacheError {
  return new CacheError("NOT_FOUND", `${url}: no such value`);
}
