import { isUtf8 } from "node:buffer";
import { type BodyPieces, bodyBytes, type HttpResponse } from "@frontcache/client/http";
import { CacheError, isObjectHeader, type ObjectInfo, type ObjectRef, versionOfStoreTag } from "@frontcache/proto";
import { BoundedMap } from "@frontcache/proto/runtime";
import { systemClock } from "../../runtime/clock.js";
import { amzDateOf, canonicalQuery, escapeKey, type Header, Signer } from "../../security/signatures/signer.js";
import { checkedAnswer, checkedInfo, objectHeadersOf, type RangeHead, UnusableAnswer } from "../checked-answer.js";
import { ResponseBody } from "../http/response-body.js";
import {
  mayAddRequest,
  type OriginAnswer,
  type OriginQuestion,
  type OriginRequest,
  type PassedAnswer,
  type PassQuestion,
  type StatQuestion,
  type WriteAnswer,
  type WriteRequest,
} from "../origin.js";
import { bodyOf } from "../passed-body.js";
import type { SentWrite } from "../sent-write.js";
import { addressOf, type BucketAddress } from "./bucket-address.js";
import { type Attempt, ifMatchOf, type ObjectRequests, rangeOf, versionedKeyOf } from "./object-requests.js";
import type { S3Options, S3Sdk } from "./s3-client.js";
import type { PlacedClient } from "./s3-clients.js";
import { isRemediable, lacksCode, s3Error } from "./s3-errors.js";
import { S3Refusal } from "./s3-refusal.js";
import { writeBody } from "./write-body.js";

/** Buckets whose addresses are kept. A forgotten one costs the SDK's preparation of one request: 2 ms. */
const MAX_BUCKETS = 10_000;

/** Bytes read of an error's body. */
const MAX_ERROR_BYTES = 64 << 10;

/** More than the result of deleting a thousand objects with the longest keys. */
const MAX_WRITE_ANSWER_BYTES = 16 << 20;

/** Headers that belong to a connection or to a signature, which this member makes itself. */
const NOT_PASSED =
  /^(?:host|connection|keep-alive|te|trailer|transfer-encoding|upgrade|expect|content-length|authorization|cookie|x-amz-date|x-amz-security-token|x-amz-content-sha256|date|user-agent|amz-sdk-.*|proxy-.*|x-forwarded-.*|forwarded|via|frontcache-.*)$/;

/** Headers that are signed. Proxies may change others on the way. */
const SIGNED = /^(?:host|range|(?:content|if|x-amz)-.+)$/;

/** Parameters of signatures of all versions: an answer to two signatures is an error. */
const SIGNATURE_PARAMETER =
  /^(?:x-amz-(?:algorithm|credential|date|expires|signedheaders|signature|security-token)|awsaccesskeyid|signature|expires)$/i;

/** Headers of a connection, which are not an answer's own. */
const NOT_ANSWERED = /^(?:connection|keep-alive|te|trailer|transfer-encoding|upgrade|proxy-.*)$/;

/** Statuses of refusals that no repetition changes, whatever their codes are. */
const FINAL: ReadonlySet<number> = new Set([405, 406, 409, 410, 411, 412, 413, 414, 416, 417, 501, 505]);

/** A request before it is signed. */
interface Unsigned {
  readonly method: "GET" | "HEAD" | WriteRequest["method"];
  /** A key, or undefined for the bucket itself. */
  readonly key: string | undefined;
  readonly query: readonly (readonly [name: string, value: string])[];
  /** Names in lower case. */
  readonly headers: readonly Header[];
  /** Absent: that of a body without bytes. */
  readonly payloadHash?: string | undefined;
  readonly body?: Uint8Array | undefined;
  readonly bodyPieces?: BodyPieces | undefined;
  /** Sent a second time, it does the same. Absent: as `asker` permits. */
  readonly mayRepeat?: boolean | undefined;
}

/**
 * Google's S3 interface decompresses objects that are stored compressed, and ignores the range, unless gzip is accepted. Others are not
 * told: some stores compress for those who accept it.
 */
const DECOMPRESSES = /(?:^|\.)storage\.googleapis\.com(?::\d+)?$/i;

/** Where a bucket is. Undefined: only the SDK can sign requests for it. */
interface Addressed {
  readonly address: BucketAddress | undefined;
}

/** On whose behalf a request is sent. */
type Asker = Pick<OriginRequest | OriginQuestion, "signal" | "permit">;

/**
 * GETs and HEADs of objects, and requests of clients that are passed on, signed without the AWS SDK: its middleware takes most of
 * the CPU time of a small object. Addresses, regions and credentials are the SDK's.
 */
export class SignedObjectRequests implements ObjectRequests {
  readonly #sdk: S3Sdk;
  readonly #options: S3Options;
  /** Sends what only the SDK can sign. */
  readonly #others: ObjectRequests;
  readonly #signer = new Signer();
  readonly #addresses = new WeakMap<PlacedClient, BoundedMap<string, Addressed | Promise<Addressed>>>();
  /** How far the origin's clock is ahead of this machine's. */
  #clockOffsetMs = 0;
  /** The date of the current second. */
  #dated = { second: 0, text: "" };

  constructor(sdk: S3Sdk, options: S3Options, others: ObjectRequests) {
    this.#sdk = sdk;
    this.#options = options;
    this.#others = others;
  }

  async fetch(request: OriginRequest, attempt: Attempt): Promise<OriginAnswer> {
    const { ref } = request;
    const addressed = this.#addressOf(attempt.to, ref.bucket);
    const { address } = addressed instanceof Promise ? await addressed : addressed;
    if (address === undefined) return this.#others.fetch(request, attempt);
    const ifMatch = ifMatchOf(request);
    const { key, versionId } = versionedKeyOf(ref);
    const headers: Header[] = [["range", rangeOf(request)]];
    if (ifMatch !== undefined) headers.push(["if-match", ifMatch]);
    const unsigned = { method: "GET", key, query: queryOf(versionId), headers } as const;
    const response = await this.#succeed(unsigned, address, attempt, request);
    const { version, contentType, lastModifiedMs, headers: own } = this.#describe(ref, response);
    const head: RangeHead = {
      status: response.status,
      contentRange: response.head.header("content-range"),
      contentLength: response.head.contentLength,
      version,
      contentType,
      lastModifiedMs,
      headers: own,
      lacks: "checksums",
    };
    return checkedAnswer(request, head, response.body);
  }

  async stat(question: StatQuestion, attempt: Attempt): Promise<ObjectInfo> {
    const { ref } = question;
    const addressed = this.#addressOf(attempt.to, ref.bucket);
    const { address } = addressed instanceof Promise ? await addressed : addressed;
    if (address === undefined) return this.#others.stat(question, attempt);
    const { key, versionId } = versionedKeyOf(ref);
    const headers: Header[] = [["x-amz-checksum-mode", "ENABLED"]];
    const unsigned = { method: "HEAD", key, query: queryOf(versionId), headers } as const;
    const response = await this.#succeed(unsigned, address, attempt, question);
    if (response.status !== 200) throw new UnusableAnswer(ref, `has status ${response.status}, not 200`);
    return checkedInfo(ref, response.head.contentLength, { ...this.#describe(ref, response), lacks: undefined });
  }

  /** Sends a client's request. Rejects with an S3Refusal if the store redirects, throttles, fails or rejects the signature. */
  async pass(question: PassQuestion, attempt: Attempt): Promise<PassedAnswer> {
    const { ref, method } = question;
    const addressed = this.#addressOf(attempt.to, ref.bucket);
    const { address } = addressed instanceof Promise ? await addressed : addressed;
    if (address === undefined) {
      throw new CacheError("INVALID_ARGUMENT", `${ref.url}: requests for this bucket cannot be passed on: it needs a session`);
    }
    const response = await this.#send(this.#unsigned(question), address, attempt, question);
    const { status, head } = response;
    const answered: Header[] = [];
    for (const [name, value] of head) {
      if (!NOT_ANSWERED.test(name) && (method === "HEAD" || name !== "content-length")) answered.push([name, value]);
    }
    if (method === "HEAD" || status === 204 || status === 304) {
      if (status >= 300) {
        const refusal = new S3Refusal(status, head.toRecord(), "");
        const withCode =
          lacksCode(refusal) && mayAddRequest(question) ? await this.#asGet(question, address, attempt) : undefined;
        this.#throwUnlessFinal(withCode ?? refusal, question);
      }
      return { status, headers: answered, length: 0, body: bodyOf(Buffer.alloc(0)) };
    }
    if (status >= 300) {
      const bytes = await bodyBytes(response.body, MAX_ERROR_BYTES, "cut");
      this.#throwUnlessFinal(new S3Refusal(status, head.toRecord(), String(bytes)), question);
      return { status, headers: answered, length: bytes.length, body: bodyOf(bytes) };
    }
    return { status, headers: answered, length: head.contentLength, body: new ResponseBody(response, question) };
  }

  /** Sends a client's write. Rejects with an S3Refusal if the store redirects or rejects the signature. */
  async write(request: WriteRequest, attempt: Attempt, sent: SentWrite): Promise<WriteAnswer> {
    const { ref, method, query } = request;
    const addressed = this.#addressOf(attempt.to, ref.bucket);
    const { address } = addressed instanceof Promise ? await addressed : addressed;
    if (address === undefined) {
      throw new CacheError("INVALID_ARGUMENT", `${ref.url}: this bucket cannot be written here: it needs a session`);
    }
    const { headers, payloadHash, body } = writeBody(request, sent);
    const unsigned = { method, key: "key" in ref ? ref.key : undefined, query, headers, payloadHash, ...body };
    const response = await this.#send(unsigned, address, attempt, { signal: sent.signal, permit: undefined });
    const { status, head } = response;
    const bytes = await bodyBytes(response.body, MAX_WRITE_ANSWER_BYTES, "reject");
    sent.answered();
    if (status >= 300) {
      const refusal = new S3Refusal(status, head.toRecord(), String(bytes.subarray(0, MAX_ERROR_BYTES)));
      if (isRemediable(refusal)) throw refusal;
    }
    const answered: Header[] = [];
    for (const [name, value] of head) if (!NOT_ANSWERED.test(name) && name !== "content-length") answered.push([name, value]);
    return { status, headers: answered, body: bytes };
  }

  /** The refusal of a HEAD with its code, which is in the body of the answer to a GET. Undefined: the GET succeeds. */
  async #asGet(question: PassQuestion, address: BucketAddress, attempt: Attempt): Promise<S3Refusal | undefined> {
    const unsigned = this.#unsigned({ ...question, method: "GET" });
    const response = await this.#send(unsigned, address, attempt, question);
    if (response.status >= 300) return refusalOf(response);
    response.body.destroy();
    return undefined;
  }

  #unsigned({ ref, method, query, headers }: PassQuestion): Unsigned {
    const key = "key" in ref ? ref.key : undefined;
    return {
      method,
      key,
      query: query.filter(([name]) => !SIGNATURE_PARAMETER.test(name)),
      headers: headers.filter(([name]) => !NOT_PASSED.test(name)),
    };
  }

  /** Signs by the origin's clock from now on, according to the date of an answer: this machine's clock is wrong. */
  correctClock(error: unknown): void {
    const date = ((error ?? {}) as Partial<Pick<S3Refusal, "$response">>).$response?.headers?.date;
    const originMs = Date.parse(date ?? "");
    if (Number.isFinite(originMs)) this.#clockOffsetMs = originMs - systemClock.nowMs();
  }

  /** Throws refusals that are not an answer to the client: those that another request may remedy, and those that are retried. */
  #throwUnlessFinal(refusal: S3Refusal, question: PassQuestion): void {
    const { httpStatusCode: status } = refusal.$metadata;
    if (FINAL.has(status) || (status >= 300 && status < 400 && status !== 301 && status !== 307)) return;
    if (s3Error(refusal, question).retryable || isRemediable(refusal)) throw refusal;
  }

  async #succeed(unsigned: Unsigned, address: BucketAddress, attempt: Attempt, asker: Asker): Promise<HttpResponse> {
    const response = await this.#send(unsigned, address, attempt, asker);
    const { status } = response;
    if (status >= 200 && status < 300) return response;
    throw await refusalOf(response);
  }

  #send(
    { method, key, query, headers, payloadHash: ownHash, body, bodyPieces, mayRepeat }: Unsigned,
    { target, host, prefix, scope, payloadHash: usualHash }: BucketAddress,
    { identity }: Attempt,
    asker: Asker,
  ): Promise<HttpResponse> {
    const amzDate = this.#amzDate();
    const sent: Record<string, string> = DECOMPRESSES.test(host) ? { host, "accept-encoding": "gzip" } : { host };
    // Several headers of one name are one, in the signature too.
    for (const [name, value] of headers) sent[name] = Object.hasOwn(sent, name) ? `${sent[name]},${value}` : value;
    if (this.#options.requesterPays) sent["x-amz-request-payer"] = "requester";
    const path = `${prefix}/${key === undefined ? "" : escapeKey(key)}`;
    const canonical = canonicalQuery(query);
    const payloadHash = ownHash ?? usualHash;
    if (ownHash !== undefined) sent["x-amz-content-sha256"] = ownHash;
    if (scope !== undefined) {
      sent["x-amz-content-sha256"] = payloadHash;
      sent["x-amz-date"] = amzDate;
      if (identity.sessionToken !== undefined) sent["x-amz-security-token"] = identity.sessionToken;
      const signable = { method, path, query: canonical, headers: signedOf(sent), payloadHash };
      sent.authorization = this.#signer.authorization(signable, amzDate, identity, scope);
    }
    const sentPath = canonical === "" ? path : `${path}?${canonical}`;
    const maySendAgain = (): boolean => mayRepeat ?? mayAddRequest(asker);
    // Writes have timeouts of their own: a store may need minutes for them.
    const waitsForHead = method !== "GET" && method !== "HEAD";
    const request = { method, target, path: sentPath, headers: sent, body, bodyPieces, waitsForHead, mayRepeat: maySendAgain };
    return this.#sdk.http.send(request, asker.signal);
  }

  #addressOf(to: PlacedClient, bucket: string): Addressed | Promise<Addressed> {
    let addresses = this.#addresses.get(to);
    if (addresses === undefined) {
      addresses = new BoundedMap(MAX_BUCKETS);
      this.#addresses.set(to, addresses);
    }
    const known = addresses.peek(bucket);
    if (known !== undefined) return known;
    const resolving = addressOf(to.client, this.#sdk.commands, bucket).then((address) => ({ address }));
    const all = addresses;
    resolving.then(
      (addressed) => all.set(bucket, addressed),
      () => all.delete(bucket), // the next request tries again
    );
    addresses.set(bucket, resolving);
    return resolving;
  }

  #amzDate(): string {
    const ms = systemClock.nowMs() + this.#clockOffsetMs;
    const second = Math.floor(ms / 1_000);
    if (second !== this.#dated.second) this.#dated = { second, text: amzDateOf(ms) };
    return this.#dated.text;
  }

  #describe(ref: ObjectRef, { head }: HttpResponse) {
    const lastModified = head.header("last-modified");
    return {
      version: versionOfStoreTag(head.header("etag")),
      contentType: head.header("content-type"),
      lastModifiedMs: lastModified === undefined ? undefined : Date.parse(lastModified),
      headers: objectHeadersOf(ref, head.select(isObjectHeader), this.#options.onDroppedHeaders),
    };
  }
}

/** Node has the bytes of headers as Latin-1; signatures are of UTF-8. */
function utf8Of(value: string): string {
  if (!/[\x80-\xff]/.test(value)) return value;
  const bytes = Buffer.from(value, "latin1");
  return isUtf8(bytes) ? bytes.toString() : value;
}

function queryOf(versionId: string | undefined): Unsigned["query"] {
  return versionId === undefined ? [] : [["versionId", versionId]];
}

/** The headers to sign, in the order of their names. There are few, so each is inserted at its place. */
function signedOf(sent: Readonly<Record<string, string>>): Header[] {
  const signed: Header[] = [];
  for (const name in sent) {
    if (!SIGNED.test(name)) continue;
    const header: Header = [name, utf8Of(sent[name]!)];
    let at = signed.length;
    while (at > 0 && signed[at - 1]![0] > name) at--;
    if (at === signed.length) signed.push(header);
    else signed.splice(at, 0, header);
  }
  return signed;
}

async function refusalOf({ status, head, body }: HttpResponse): Promise<S3Refusal> {
  return new S3Refusal(status, head.toRecord(), String(await bodyBytes(body, MAX_ERROR_BYTES, "cut")));
}
