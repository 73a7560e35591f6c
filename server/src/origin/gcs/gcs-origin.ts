import { bodyBytes, type HttpResponse } from "@frontcache/client/http";
import { abortError, type BucketRef, CacheError, type ObjectRef } from "@frontcache/proto";
import { checkedAnswer, checkedInfo, objectHeadersOf, otherVersion, type RangeHead, UnusableAnswer } from "../checked-answer.js";
import { inTime } from "../credentials.js";
import {
  type Answers,
  type AnswerTo,
  answerBy,
  type ListedBucket,
  mayAddRequest,
  NotWritten,
  type Origin,
  type OriginAnswer,
  type OriginQuestion,
  type OriginRequest,
  type WriteAnswer,
  type WriteRequest,
} from "../origin.js";
import { SentWrite } from "../sent-write.js";
import { type GcsClient, type GcsOptions, openGcsClient } from "./gcs-client.js";
import { gcsError, gcsRefusal } from "./gcs-errors.js";
import { jsonAnswer, jsonWrite } from "./gcs-json-write.js";
import {
  bucketsOf,
  GCS_BUCKET_FIELDS,
  type GcsBuckets,
  type GcsListing,
  gcsListing,
  gcsListQuery,
  MAX_LISTED_BUCKETS,
  modifiedMs,
} from "./gcs-listing.js";
import { type GcsMetadata, METADATA_FIELDS, metadataHeaders } from "./gcs-metadata.js";
import { type GcsSent, MAX_LISTING_BYTES, passToGcs } from "./gcs-passing.js";
import { objectPath, objectsPath } from "./gcs-paths.js";
import { xmlAnswer, xmlWrite } from "./gcs-xml-write.js";

/** Bytes read of an error's body. */
const MAX_ERROR_BYTES = 8 << 10;

/** More than any object's metadata with the requested fields. */
const MAX_METADATA_BYTES = 64 << 10;

/**
 * Objects through GCS's JSON API; a version is a generation. One request per call, without
 * retries, except that a rejected token is renewed and the request sent once more.
 */
export class GcsOrigin implements Origin {
  readonly #options: GcsOptions;
  #client: Promise<GcsClient> | undefined;

  constructor(options: GcsOptions) {
    this.#options = options;
  }

  fetch(request: OriginRequest): Promise<OriginAnswer> {
    return this.#send(request, async () => {
      const { ref, offset, length, version } = request;
      // Generations are whole numbers of 64 bits; no object has another version, and nothing else may get into the query.
      if (version !== undefined && !/^\d{1,20}$/.test(version)) throw otherVersion(ref, version);
      const condition = version === undefined ? "" : `&ifGenerationMatch=${version}`;
      // If gzip is not accepted, GCS decompresses objects that are stored compressed, and ignores the range.
      const headers = { range: `bytes=${offset}-${offset + length - 1}`, "accept-encoding": "gzip" };
      const response = await this.#get(request, objectPath(ref, `alt=media${condition}`), headers);
      return checkedAnswer(request, { ...rangeHead(response), ...this.#mediaHeaders(ref, response) }, response.body);
    });
  }

  ask<Q extends OriginQuestion>(question: Q): Promise<AnswerTo<Q>> {
    return this.#send(question, () => answerBy(this.#answers, question));
  }

  /** By the JSON API if the request is one of it, otherwise by the XML API, whose form is that of S3. */
  async write(request: WriteRequest): Promise<WriteAnswer> {
    const sent = new SentWrite(request);
    try {
      if (request.signal.aborted) throw abortError(request.signal);
      const answer = await this.#sendWrite(request, sent);
      return request.json === undefined ? xmlAnswer(request, answer) : jsonAnswer(answer);
    } catch (error) {
      const failure = sent.failed(gcsError(error, request));
      throw error instanceof NotWritten ? error : failure;
    }
  }

  close(): void {
    this.#client?.then(({ http }) => http.close()).catch(() => {}); // a client that never opened has nothing to close
    this.#client = undefined;
  }

  readonly #answers: Answers = {
    stat: async (question) => {
      const { ref } = question;
      const response = await this.#get(question, objectPath(ref, `fields=${METADATA_FIELDS}`));
      const metadata = await jsonOf<GcsMetadata>(ref, response, MAX_METADATA_BYTES);
      return checkedInfo(ref, metadata.size === undefined ? undefined : Number(metadata.size), {
        version: metadata.generation,
        contentType: metadata.contentType,
        lastModifiedMs: modifiedMs(metadata.updated),
        headers: objectHeadersOf(ref, metadataHeaders(metadata), this.#options.onDroppedHeaders),
        lacks: undefined,
      });
    },
    list: async (question) => {
      const { ref, page } = question;
      const response = await this.#get(question, objectsPath(ref, gcsListQuery(ref, page)));
      return gcsListing(ref, page, await jsonOf<GcsListing>(ref, response, MAX_LISTING_BYTES));
    },
    // By a listing: the role that reads objects may not read their bucket's metadata.
    statBucket: async (question) => {
      const response = await this.#get(question, objectsPath(question.ref, "maxResults=1&fields=kind"));
      await jsonOf(question.ref, response, MAX_METADATA_BYTES);
      return { region: undefined };
    },
    listBuckets: async (question) => {
      const { ref, project = this.#options.userProject } = question;
      if (project === undefined) {
        const message = `${ref.url}: GCS lists the buckets of a project: name one, or set \`userProject\` in the origins file`;
        throw new CacheError("PERMISSION_DENIED", message);
      }
      const buckets: ListedBucket[] = [];
      for (let token = ""; ; ) {
        const query = new URLSearchParams({ project, fields: GCS_BUCKET_FIELDS, ...(token !== "" && { pageToken: token }) });
        const response = await this.#get(question, `/storage/v1/b?${query}`);
        const page = await jsonOf<GcsBuckets>(ref, response, MAX_LISTING_BYTES);
        buckets.push(...bucketsOf(page));
        if (page.nextPageToken === undefined || buckets.length >= MAX_LISTED_BUCKETS) return { buckets };
        token = page.nextPageToken;
      }
    },
    pass: (question) => passToGcs(question, (path, headers) => this.#request(question, path, headers)),
  };

  /** The headers of an object that the answer to a read has. User metadata is not among them, nor the object's own Cache-Control. */
  #mediaHeaders(ref: ObjectRef, { head }: HttpResponse): Pick<RangeHead, "headers" | "lacks"> {
    const pairs = [...head].filter(([name]) => !OF_THE_API.has(name));
    return { headers: objectHeadersOf(ref, pairs, this.#options.onDroppedHeaders), lacks: "metadata" };
  }

  async #send<Answer>(request: OriginRequest | OriginQuestion, send: () => Promise<Answer>): Promise<Answer> {
    if (request.signal.aborted) throw abortError(request.signal);
    try {
      return await send();
    } catch (error) {
      throw gcsError(error, request);
    }
  }

  async #get(request: OriginRequest | OriginQuestion, path: string, headers: Record<string, string> = {}): Promise<HttpResponse> {
    const sent = await this.#request(request, path, headers);
    if ("refusal" in sent) throw gcsRefusal(sent.refusal, request);
    return sent.response;
  }

  async #request(request: OriginRequest | OriginQuestion, path: string, headers: Record<string, string> = {}): Promise<GcsSent> {
    const { signal } = request;
    const { http, target, prefix, credentials, billing } = await this.#open();
    for (let isRenewed = false; ; isRenewed = true) {
      const token = credentials && (credentials.valid ?? (await inTime(credentials.get(), signal)));
      const sent = { ...headers, ...token?.headers, ...billing };
      const mayRepeat = (): boolean => mayAddRequest(request);
      const response = await http.send({ method: "GET", target, path: prefix + path, headers: sent, mayRepeat }, signal);
      const { status } = response;
      if (status >= 200 && status < 300) return { response };
      const contentRange = response.head.header("content-range");
      const isAuthorized = token !== undefined;
      const body = String(await bodyBytes(response.body, MAX_ERROR_BYTES, "cut"));
      const refusal = { status, contentRange, isAuthorized, body };
      const isRejected = status === 401 && isAuthorized && !isRenewed;
      const isReplaced = isRejected && (await inTime(credentials!.replace(token), signal)) !== undefined;
      if (!isReplaced || !mayAddRequest(request)) return { refusal, contentType: response.head.header("content-type") };
    }
  }

  /** GCS's own answer. A write whose body is in memory is sent again if the token is rejected and its source has another. */
  async #sendWrite(request: WriteRequest, sent: SentWrite): Promise<WriteAnswer> {
    const { ref, method, json, body: given } = request;
    const { http, target, prefix, credentials, billing } = await this.#open();
    for (let isRenewed = false; ; isRenewed = true) {
      const token = credentials && (credentials.valid ?? (await inTime(credentials.get(), sent.signal)));
      const { path, headers, body } = json === undefined ? xmlWrite(request, sent) : jsonWrite(request, json, sent);
      const { mayRepeat, ...bytes } = body;
      const all = { ...Object.fromEntries(headers), ...token?.headers, ...billing };
      const question = {
        method,
        target,
        path: prefix + path,
        headers: all,
        ...bytes,
        waitsForHead: true,
        mayRepeat: () => mayRepeat,
      };
      const { status, head, body: answered } = await http.send(question, sent.signal);
      const content = await bodyBytes(answered, MAX_LISTING_BYTES, "reject");
      sent.answered();
      if (status === 401 && token !== undefined) {
        const isReplaced = !isRenewed && (await inTime(credentials!.replace(token), request.signal)) !== undefined;
        if (isReplaced && given instanceof Uint8Array) continue;
        const refusal = {
          status,
          contentRange: undefined,
          isAuthorized: true,
          body: String(content.subarray(0, MAX_ERROR_BYTES)),
        };
        throw new NotWritten(gcsRefusal(refusal, { ref }));
      }
      return { status, headers: [...head].filter(([name]) => !NOT_OF_A_WRITE.test(name)), body: content };
    }
  }

  #open(): Promise<GcsClient> {
    this.#client ??= openGcsClient(this.#options).catch((error: unknown) => {
      this.#client = undefined; // the next call tries again
      throw error;
    });
    return this.#client;
  }
}

/** The JSON object of an answer. Throws UNAVAILABLE for anything else. */
async function jsonOf<Value extends object>(ref: BucketRef, response: HttpResponse, maxBytes: number): Promise<Value> {
  const text = String(await bodyBytes(response.body, maxBytes, "cut"));
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Value;
  } catch {
    // A proxy's page, or longer than any answer of GCS.
  }
  throw new UnusableAnswer(ref, "is not GCS's JSON: check the endpoint, and proxies in front of it");
}

/** Headers of the connection and of Google's front end. */
const NOT_OF_A_WRITE =
  /^(?:date|server|alt-svc|pragma|expires|cache-control|vary|connection|keep-alive|te|trailer|transfer-encoding|upgrade|content-length|proxy-.*)$/;

/** Headers that the JSON API gives its own answers. */
const OF_THE_API: ReadonlySet<string> = new Set(["cache-control", "expires"]);

function rangeHead({ status, head }: HttpResponse) {
  const lastModified = head.header("last-modified");
  return {
    status,
    contentRange: head.header("content-range"),
    contentLength: head.contentLength,
    version: head.header("x-goog-generation"),
    contentType: head.header("content-type"),
    lastModifiedMs: lastModified === undefined ? undefined : Date.parse(lastModified),
  };
}
