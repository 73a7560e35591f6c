import { CACHED_ONLY_HEADER, ERROR_HEADER, FORWARDED_HEADER } from "@frontcache/proto";
import type { HttpContext } from "../http/http-context.js";
import type { Site } from "../http/site.js";
import { subresourceOf } from "./operations.js";
import { type Addressing, type RequestTarget, TargetParser } from "./request-target.js";

/** Writes one line. It may be written later. */
export type WriteText = (line: string) => void;

/**
 * Writes a line for each request of a client that is about buckets or objects, in the format of S3's server access logs. Fields that are
 * not known here are a dash: the bucket's owner, the host ID, TLS, and access points. Requests of members and for pages have no line.
 */
export function accessLogged(site: Site, addressing: Addressing, write: WriteText): Site {
  const targets = new TargetParser(addressing);
  return {
    ...site,
    answer: (context, serving) => {
      const { whenClosed, clock } = context;
      let closed = (): void => {};
      const logged: HttpContext = {
        ...context,
        whenClosed: (onClosed) => {
          closed = onClosed;
        },
      };
      const [startedAtMs, startMs] = [clock.nowMs(), clock.monotonicMs()];
      const response = observed(logged);
      whenClosed(() => {
        closed();
        const target = targetOf(targets, context);
        if (isOfMember(logged) || target === undefined || target.scope === "path") return;
        const endMs = clock.monotonicMs();
        write(lineOf(logged, target, { ...response, startedAtMs, startMs, endMs }));
      });
      site.answer(logged, serving);
    },
  };
}

/** Another member sent it on behalf of a client, whose request that member logs. Clients on a member's host may count as members, too. */
function isOfMember({ principal, request: { headers } }: HttpContext): boolean {
  return principal.isMember && (headers[FORWARDED_HEADER] !== undefined || headers[CACHED_ONLY_HEADER] !== undefined);
}

/** What is known of a response, when it is over. */
interface Observed {
  status: number | undefined;
  headers: readonly string[];
  /** S3's code of an error. */
  errorCode: string | undefined;
  /** When the head was sent, by the monotonic clock, milliseconds. */
  headMs: number | undefined;
}

interface Times {
  /** Since 1970. */
  readonly startedAtMs: number;
  readonly startMs: number;
  readonly endMs: number;
}

/** Observes the head of a response, and the code in the document of an error. */
function observed({ response, clock }: HttpContext): Observed {
  const seen: Observed = { status: undefined, headers: [], errorCode: undefined, headMs: undefined };
  const { writeHead } = response;
  response.writeHead = (status, headers, shared) => {
    Object.assign(seen, { status, headers: [...(shared?.pairs ?? []), ...headers], headMs: clock.monotonicMs() });
    if (status >= 400) {
      const { end } = response;
      response.end = (bytes) => {
        seen.errorCode = /<Code>(\w{1,64})<\/Code>/.exec(bytes?.toString("latin1", 0, 500) ?? "")?.[1];
        return end.call(response, bytes);
      };
    }
    return writeHead.call(response, status, headers, shared);
  };
  return seen;
}

function targetOf(targets: TargetParser, { request }: HttpContext): RequestTarget | undefined {
  try {
    return targets.parse(request.url ?? "", request.headers.host);
  } catch {
    return undefined;
  }
}

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/** One line, without its end. */
function lineOf(context: HttpContext, target: Exclude<RequestTarget, { scope: "path" }>, seen: Observed & Times): string {
  const { request, principal, client, requestId, signal } = context;
  const { method = "", url = "", headers, httpVersion } = request;
  const { status, headMs, startMs, endMs } = seen;
  const header = (name: string): string | undefined => headerOf(seen.headers, name);
  const length = header("content-length");
  const size = /\/(\d+)$/.exec(header("content-range") ?? "")?.[1] ?? (status === 200 && isRead(method) ? length : undefined);
  const isComplete = !signal.aborted && isRead(method) && method !== "HEAD";
  const resource = target.scope === "object" ? "OBJECT" : target.scope.toUpperCase();
  const subresource =
    target.scope === "object" || target.scope === "bucket" ? subresourceOf(target.scope, target.query) : undefined;
  const fields = [
    undefined,
    target.scope === "service" ? undefined : target.ref.bucket,
    `[${timeOf(seen.startedAtMs)}]`,
    client.address,
    principal.method === "anonymous" || principal.isMember ? undefined : encoded(principal.name),
    requestId,
    `REST.${encoded(method)}.${operationOf(subresource, method) ?? resource}`,
    target.scope === "object" ? encoded(target.bare.key) : undefined,
    `"${encoded(method)} ${withoutSecrets(url)} HTTP/${httpVersion}"`,
    status === undefined ? undefined : String(status),
    status !== undefined && status >= 400 ? (seen.errorCode ?? header(ERROR_HEADER)) : undefined,
    isComplete && length !== "0" ? length : undefined,
    size,
    String(Math.round(endMs - startMs)),
    headMs === undefined ? undefined : String(Math.round(headMs - startMs)),
    quoted(headers.referer),
    quoted(headers["user-agent"]),
    header("x-amz-version-id"),
    undefined,
    ...signatureOf(headers.authorization, url),
    headers.host === undefined ? undefined : encoded(headers.host),
    undefined,
    undefined,
    undefined,
  ];
  return fields.map((field) => (field === undefined || field === "" ? "-" : field)).join(" ");
}

function isRead(method: string): boolean {
  return method === "GET" || method === "HEAD";
}

/** The name of the part of an operation that follows its method. Undefined: that of the resource. */
function operationOf(subresource: string | undefined, method: string): string | undefined {
  if (subresource === undefined) return undefined;
  if (subresource === "uploadId") return method === "PUT" ? "PART" : "UPLOAD";
  if (subresource === "delete") return "MULTI_OBJECT_DELETE";
  if (subresource === "versions") return "BUCKETVERSIONS";
  return subresource.replaceAll("-", "_").toUpperCase();
}

/** A time as S3 writes it: `06/Feb/2019:00:00:38 +0000`. */
function timeOf(ms: number): string {
  const iso = new Date(ms).toISOString();
  return `${iso.slice(8, 10)}/${MONTHS[Number(iso.slice(5, 7)) - 1]}/${iso.slice(0, 4)}:${iso.slice(11, 19)} +0000`;
}

/** The version of a signature, the cipher of TLS, which is not known, and where the signature is. */
function signatureOf(authorization: string | undefined, url: string): (string | undefined)[] {
  if (authorization?.startsWith("AWS4") === true) return ["SigV4", undefined, "AuthHeader"];
  if (authorization?.startsWith("AWS ") === true) return ["SigV2", undefined, "AuthHeader"];
  if (/[?&]X-Amz-Signature=/i.test(url)) return ["SigV4", undefined, "QueryString"];
  if (/[?&]AWSAccessKeyId=/.test(url)) return ["SigV2", undefined, "QueryString"];
  return [undefined, undefined, authorization === undefined ? undefined : "AuthHeader"];
}

/** Signatures and tokens of presigned URLs are left out. */
function withoutSecrets(url: string): string {
  return encoded(url.replace(/([?&](?:X-Amz-(?:Signature|Credential|Security-Token)|Signature|AWSAccessKeyId)=)[^&]*/gi, "$1-"));
}

/** Text of a client in one field of one line: blanks, quotes and what is not ASCII are escaped. */
function encoded(text: string): string {
  return text.toWellFormed().replace(/[^!#-~]/gu, (character) => encodeURIComponent(character));
}

function quoted(text: string | undefined): string {
  return `"${text === undefined ? "-" : text.toWellFormed().replace(/[^ !#-~]/gu, (character) => encodeURIComponent(character))}"`;
}

function headerOf(headers: readonly string[], name: string): string | undefined {
  for (let at = 0; at < headers.length; at += 2) if (headers[at]!.toLowerCase() === name) return headers[at + 1];
  return undefined;
}
