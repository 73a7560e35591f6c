import { bodyBytes, type HttpClient, type HttpResponse } from "@frontcache/client/http";
import { abortError, type BucketRef, CacheError, type ObjectRef } from "@frontcache/proto";
import { systemClock } from "../../runtime/clock.js";
import {
  checkedAnswer,
  checkedInfo,
  type OnDroppedHeaders,
  objectHeadersOf,
  otherVersion,
  type RangeHead,
  UnusableAnswer,
} from "../checked-answer.js";
import { Credentials, inTime } from "../credentials.js";
import { trusting } from "../http/authorities.js";
import { originClient } from "../http/origin-client.js";
import type { Way } from "../http/way.js";
import {
  type Answers,
  type AnswerTo,
  answerBy,
  type ListedBucket,
  mayAddRequest,
  type Origin,
  type OriginAnswer,
  type OriginQuestion,
  type OriginRequest,
} from "../origin.js";
import { gcsError, gcsRefusal } from "./gcs-errors.js";
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
import { type GcsSent, JSON_TYPE, MAX_LISTING_BYTES, passToGcs } from "./gcs-passing.js";
import { objectPath, objectsPath } from "./gcs-paths.js";

/** How to reach GCS. */
export interface GcsOptions {
  /** `http(s)://host[:port]`; undefined: STORAGE_EMULATOR_HOST, else Google's. */
  readonly endpoint: string | undefined;
  /**
   * `default`: the application default credentials, for example of Workload Identity; they are not sent to plain-http endpoints,
   * which are emulators. `anonymous`: no token.
   */
  readonly credentials: "default" | "anonymous" | { readonly keyFile: string };
  /** The project that pays for reads from requester-pays buckets. */
  readonly userProject: string | undefined;
  /** Upper bound of connections; further requests wait for one. */
  readonly maxConnections: number;
  /** Timeout of a connection on which nothing moves, before and in the body. */
  readonly idleTimeoutMs: number;
  readonly proxyOf: Way["proxyOf"];
  /** File of certificate authorities (PEM) to trust besides Node's. */
  readonly ca: string | undefined;
  readonly onDroppedHeaders: OnDroppedHeaders;
}

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
      if (!isReplaced || !mayAddRequest(request))
        return { refusal, contentType: response.head.header("content-type") ?? JSON_TYPE };
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

/** A token as headers. */
interface GcsToken {
  readonly headers: Readonly<Record<string, string>>;
  /** Milliseconds since 1970; undefined: unknown. */
  readonly expiryMs: number | undefined;
}

/** GCS's address, and what requests carry. */
interface GcsClient {
  readonly http: HttpClient;
  /** `http(s)://host[:port]` */
  readonly target: string;
  /** Precedes all paths: that of the configured endpoint. */
  readonly prefix: string;
  /** Undefined: requests are anonymous. */
  readonly credentials: Credentials<GcsToken> | undefined;
  readonly billing: Readonly<Record<string, string>>;
}

/** Imports Google's library, if that has not been done: loading it takes 0.25 s. */
export function loadGcsSdk() {
  return import("@google-cloud/storage");
}

/**
 * Google's library finds credentials and endpoint only: its range streams and metadata calls cannot be cancelled, and share one
 * agent, which any failing stream destroys.
 */
async function openGcsClient(options: GcsOptions): Promise<GcsClient> {
  // Without this the library looks for the metadata server once, and never finds one that starts later.
  process.env.METADATA_SERVER_DETECTION ??= "assume-present";
  keepMetadataDirect();
  const { Storage } = await loadGcsSdk();
  const { endpoint, credentials } = options;
  const open = () =>
    new Storage({
      // Reads do not use a project. Without one the library starts the gcloud command to find it.
      projectId: "unused",
      ...(endpoint !== undefined && { apiEndpoint: endpoint }),
      ...(typeof credentials === "object" && { keyFilename: credentials.keyFile }),
    });
  const storage = open();
  const emulated = endpoint === undefined && storage.customEndpoint;
  // The library reads STORAGE_EMULATOR_HOST without a scheme as https, but emulators speak http.
  const address =
    emulated && !/^https?:/.test(storage.baseUrl) ? storage.apiEndpoint.replace("https:", "http:") : storage.apiEndpoint;
  const { maxConnections, idleTimeoutMs, proxyOf } = options;
  const way = { proxyOf, secureContext: await trusting(options.ca) };
  const { origin: target, protocol, pathname } = new URL(address);
  const at = {
    http: originClient({ maxConnections, waitTimeoutMs: undefined, idleTimeoutMs, way }),
    target,
    prefix: pathname.replace(/\/$/, ""),
  };
  const billing: Record<string, string> = options.userProject === undefined ? {} : { "x-goog-user-project": options.userProject };
  const isAnonymous = credentials === "anonymous" || (credentials === "default" && (emulated || protocol === "http:"));
  if (isAnonymous) return { ...at, credentials: undefined, billing };
  // A new client of the library for each renewal: it has no cached token, and reads files again.
  const load = async (): Promise<GcsToken> => {
    const { authClient } = open();
    const headers = await authClient.getRequestHeaders();
    const client = await authClient.getClient();
    return { headers, expiryMs: client.credentials.expiry_date ?? undefined };
  };
  const isSame = (one: GcsToken, other: GcsToken) => one.headers.Authorization === other.headers.Authorization;
  const source = { load, expiryMs: ({ expiryMs }: GcsToken) => expiryMs, isSame };
  return { ...at, credentials: new Credentials(source, systemClock), billing };
}

/** Google's library would ask its metadata server, which is on this machine's link, by the proxy for HTTPS. */
function keepMetadataDirect(): void {
  const { env } = process;
  const listed = env.NO_PROXY ?? env.no_proxy ?? "";
  const hosts = ["169.254.169.254", "metadata.google.internal", "metadata.google.internal."];
  const missing = hosts.filter((host) => !listed.split(/[\s,]+/).includes(host));
  const isProxied = [env.HTTPS_PROXY, env.https_proxy, env.HTTP_PROXY, env.http_proxy].some(Boolean);
  if (isProxied && missing.length > 0) env.NO_PROXY = [listed, ...missing].filter((entry) => entry !== "").join(",");
}
