import type { IncomingMessage } from "node:http";
import { abortError, type BucketRef, type ObjectInfo, type ObjectRef, type PrefixRef } from "@frontcache/proto";
import { untilAborted } from "@frontcache/proto/runtime";
import { checkedAnswer, checkedInfo, otherVersion } from "../answer.js";
import { httpGet, smallBody } from "../http/http-get.js";
import type { Listing, ListPage, Origin, OriginAnswer, OriginRange } from "../origin.js";
import { type GcsClient, type GcsOptions, openGcsClient } from "./gcs-client.js";
import { gcsAuthError, gcsError, gcsRefusal } from "./gcs-errors.js";
import { type GcsListing, gcsListing, gcsListQuery, modifiedMs } from "./gcs-listing.js";

/** More of an error's body is not read. */
const MAX_ERROR_BYTES = 8 << 10;

/** More than any object's metadata with the fields asked for. */
const MAX_METADATA_BYTES = 64 << 10;

/** More than a thousand names of 1,024 bytes and their objects' metadata, escaped. */
const MAX_LISTING_BYTES = 16 << 20;

/** The fields of an object's metadata that are asked for. Numbers come as text. */
interface GcsMetadata {
  readonly generation?: string;
  readonly size?: string;
  readonly contentType?: string;
  readonly updated?: string;
}

/** Objects by GCS's JSON API. One request a call, without retries; a version is a generation. */
export class GcsOrigin implements Origin {
  readonly #options: GcsOptions;
  #client: Promise<GcsClient> | undefined;

  constructor(options: GcsOptions) {
    this.#options = options;
  }

  async fetch(ref: ObjectRef, range: OriginRange, signal: AbortSignal): Promise<OriginAnswer> {
    const { offset, length, version } = range;
    // Generations are whole numbers of 64 bits; no object has another version, and nothing else may get into the query.
    if (version !== undefined && !/^\d{1,20}$/.test(version)) throw otherVersion(ref, version);
    const condition = version === undefined ? "" : `&ifGenerationMatch=${version}`;
    // Without gzip being accepted, GCS decompresses objects that are stored compressed, and ignores the range.
    const headers = { range: `bytes=${offset}-${offset + length - 1}`, "accept-encoding": "gzip" };
    try {
      const response = await this.#get(ref, objectPath(ref, `alt=media${condition}`), headers, range, signal);
      return checkedAnswer(ref, range, rangeHead(response), response, signal);
    } catch (error) {
      throw gcsError(error, ref, signal);
    }
  }

  async stat(ref: ObjectRef, signal: AbortSignal): Promise<ObjectInfo> {
    try {
      const response = await this.#get(ref, objectPath(ref, "fields=generation,size,contentType,updated"), {}, undefined, signal);
      const metadata = JSON.parse(await smallBody(response, MAX_METADATA_BYTES)) as GcsMetadata;
      return checkedInfo(ref, metadata.size === undefined ? undefined : Number(metadata.size), {
        version: metadata.generation,
        contentType: metadata.contentType,
        lastModifiedMs: modifiedMs(metadata.updated),
      });
    } catch (error) {
      throw gcsError(error, ref, signal);
    }
  }

  async list(ref: PrefixRef, page: ListPage, signal: AbortSignal): Promise<Listing> {
    try {
      const response = await this.#get(ref, objectsPath(ref, gcsListQuery(ref, page)), {}, undefined, signal);
      return gcsListing(ref, page, JSON.parse(await smallBody(response, MAX_LISTING_BYTES)) as GcsListing);
    } catch (error) {
      throw gcsError(error, ref, signal);
    }
  }

  /** Asked by a listing: the role that reads objects may not read what is known of their bucket. */
  async statBucket(ref: BucketRef, signal: AbortSignal): Promise<void> {
    try {
      const response = await this.#get(ref, objectsPath(ref, "maxResults=1&fields=kind"), {}, undefined, signal);
      await smallBody(response, MAX_METADATA_BYTES);
    } catch (error) {
      throw gcsError(error, ref, signal);
    }
  }

  close(): void {
    this.#client?.then(({ target }) => target.agent.destroy()).catch(() => {}); // what never opened needs no closing
    this.#client = undefined;
  }

  async #get(
    ref: BucketRef,
    path: string,
    headers: Record<string, string>,
    range: OriginRange | undefined,
    signal: AbortSignal,
  ): Promise<IncomingMessage> {
    if (signal.aborted) throw abortError(signal);
    const { target, authorization } = await this.#open();
    const token = await untilAborted(authorization(), signal).catch((error: unknown) => {
      throw gcsAuthError(error, ref);
    });
    const response = await httpGet({ ...target, path, headers: { ...headers, ...token }, connectTimeoutMs: undefined }, signal);
    const status = response.statusCode ?? 0;
    if (status >= 200 && status < 300) return response;
    const contentRange = response.headers["content-range"];
    throw gcsRefusal({ status, contentRange, body: await smallBody(response, MAX_ERROR_BYTES) }, ref, range);
  }

  #open(): Promise<GcsClient> {
    this.#client ??= openGcsClient(this.#options).catch((error: unknown) => {
      this.#client = undefined; // the next call tries again
      throw error;
    });
    return this.#client;
  }
}

function objectsPath({ bucket }: BucketRef, query: string): string {
  return `/storage/v1/b/${encodeURIComponent(bucket)}/o?${query}`;
}

function objectPath({ bucket, key }: ObjectRef, query: string): string {
  return `/storage/v1/b/${encodeURIComponent(bucket)}/o/${encodeURIComponent(key)}?${query}`;
}

function rangeHead({ statusCode = 0, headers }: IncomingMessage) {
  const generation = headers["x-goog-generation"];
  const { "content-length": contentLength, "last-modified": lastModified } = headers;
  return {
    status: statusCode,
    contentRange: headers["content-range"],
    contentLength: contentLength === undefined ? undefined : Number(contentLength),
    version: typeof generation === "string" ? generation : undefined,
    contentType: headers["content-type"],
    lastModifiedMs: lastModified === undefined ? undefined : Date.parse(lastModified),
  };
}
