import type { IncomingHttpHeaders } from "node:http";
import { CACHE_STATUS_HEADER, CacheError } from "@frontcache/proto";
import type { PassedAnswer, PassQuestion } from "../../origin/origin.js";
import type { Cache } from "../../routing/cache.js";
import type { Query } from "../../runtime/query.js";
import { callStatus } from "../call-status.js";
import type { HttpContext } from "../http/http-context.js";
import { customerKeyHeaders } from "./customer-key.js";
import { type ErrorResponse, errorResponseOf, notImplemented, REQUEST_ID_HEADER, sendError } from "./error-response.js";
import { VIA } from "./object-headers.js";
import type { ObjectRequest } from "./object-request.js";

/** Parameters of signatures, which are made anew for the origin, and of SDKs. */
const NOT_PASSED_PARAMETER =
  /^(?:X-Amz-(?:Algorithm|Credential|Date|Expires|SignedHeaders|Signature|Security-Token)|AWSAccessKeyId|Signature|Expires|x-id)$/i;

/** Headers of S3's operations. Those of signatures are made anew, those of the connection are this server's own. */
const PASSED_HEADER =
  /^(?:range|if-(?:match|none-match|modified-since|unmodified-since|range)|x-amz-(?!date$|content-sha256$|security-token$|user-agent$|sdk-|acl$|grant-|bypass-).+)$/;

/** Headers of an answer that this server sends itself. */
const OWN_HEADER =
  /^(?:connection|keep-alive|transfer-encoding|content-length|date|server|via|x-amz-request-id|x-amz-id-2|x-cache|age|access-control-.*)$/;

/** Returns the parameters of a request's query that the origin gets. Throws INVALID_ARGUMENT. */
export function passedParameters(query: Query): [name: string, value: string][] {
  return [...query.names()]
    .filter((name) => name !== "" && !NOT_PASSED_PARAMETER.test(name))
    .map((name) => [name, query.get(name)!]);
}

/** Returns the headers of a request that the origin gets. */
export function passedHeaders({ request }: Pick<HttpContext, "request">): [name: string, value: string][] {
  return Object.entries(request.headers).flatMap(([name, value]): [string, string][] =>
    typeof value === "string" && PASSED_HEADER.test(name) ? [[name, value]] : [],
  );
}

/** What is passed to the origin of a request. */
export type Passed = Pick<PassQuestion, "ref" | "method" | "query" | "headers">;

/**
 * The request of GCS's JSON API for the bytes of an object that only its client's key decrypts, or the error of an incomplete key.
 * `version`: the generation that fulfils the request's conditions.
 */
export function mediaToPass(
  { ref, isHead, partNumber }: ObjectRequest,
  headers: IncomingHttpHeaders,
  version: string,
  hasRange: boolean,
): Passed | ErrorResponse {
  if (partNumber !== undefined) return notImplemented("a part of an object with a key of the client");
  const key = customerKeyHeaders(headers);
  if ("status" in key) return key;
  return {
    ref,
    method: isHead ? "HEAD" : "GET",
    query: [
      ["alt", "media"],
      ["ifGenerationMatch", version],
    ],
    headers: hasRange ? [...key, ["range", headers.range!]] : key,
  };
}

/**
 * One request that is answered as the origin does: the origin gets it, signed again, and its answer is streamed and not cached. The
 * owner of this object calls `end` when the response is closed.
 */
export class PassedReply {
  readonly #context: HttpContext;
  readonly #cache: Pick<Cache, "ask">;
  readonly #resource: string;
  #answer: PassedAnswer | undefined;
  #isOver = false;

  /** `resource` is the subject of an error document. */
  constructor(context: HttpContext, cache: Pick<Cache, "ask">, resource: string) {
    this.#context = context;
    this.#cache = cache;
    this.#resource = resource;
  }

  /** Resolves when the answer has ended. Never rejects. `onAnswer` is called before it is sent. */
  async run(passed: Passed, onAnswer: (answer: PassedAnswer) => void = () => {}): Promise<void> {
    const { response, requestId, principal, signal } = this.#context;
    try {
      this.#answer = await this.#cache.ask({ kind: "pass", ...passed, principal, signal });
      onAnswer(this.#answer);
      if (this.#isOver) return;
      response.writeHead(this.#answer.status, headOf(this.#answer, requestId));
      for await (const chunk of this.#answer.body) {
        if (this.#isOver) return;
        const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length);
        await new Promise<void>((taken) => response.write(bytes, taken));
      }
      if (!this.#isOver) response.end();
    } catch (error) {
      this.#fail(error, passed);
    } finally {
      this.#answer?.body.destroy();
    }
  }

  /** Drops the rest of the answer. */
  end(): void {
    this.#isOver = true;
    this.#answer?.body.destroy();
  }

  #fail(error: unknown, { method, ref }: Passed): void {
    if (this.#isOver) return;
    const { response, requestId, client, log } = this.#context;
    const { details } = callStatus(error, `${method} passed on`, log, { url: ref.url, requestId, client: client.address });
    if (response.headersSent) response.destroy();
    else sendError(this.#context, { ...errorResponseOf(CacheError.from(error)), message: details }, this.#resource);
  }
}

/** The origin's head, but for what belongs to the connection. */
function headOf({ status, headers, length }: PassedAnswer, requestId: string): string[] {
  const head: string[] = [];
  let isNamed = length === undefined || status === 204 || status === 304;
  for (const [name, value] of headers) {
    if (name === "content-length" && !isNamed) {
      // An answer to HEAD has the length of the bytes that a GET would get.
      head.push("Content-Length", value);
      isNamed = true;
    } else if (!OWN_HEADER.test(name)) head.push(name, value);
  }
  if (!isNamed) head.push("Content-Length", String(length));
  head.push(CACHE_STATUS_HEADER, "BYPASS", ...VIA, REQUEST_ID_HEADER, requestId);
  return head;
}
