import type { Readable } from "node:stream";
import type { S3Client } from "@aws-sdk/client-s3";
import {
  abortError,
  type BucketRef,
  CacheError,
  canBeEntityTag,
  entityTagOf,
  type ObjectInfo,
  type ObjectRef,
  type PrefixRef,
  versionOfStoreTag,
} from "@frontcache/proto";
import { untilAborted } from "@frontcache/proto/runtime";
import { checkedAnswer, checkedInfo, otherVersion } from "../answer.js";
import type { Listing, ListPage, Origin, OriginAnswer, OriginRange } from "../origin.js";
import type { S3Options } from "./s3-client.js";
import { S3Clients } from "./s3-clients.js";
import { expiredCredentials, mayBeExpired, regionOf, s3Error } from "./s3-errors.js";
import { listInput, listingOf } from "./s3-listing.js";

/**
 * Objects by the AWS SDK; a version is an ETag without its quotes. One request a call, without retries, but for a bucket that
 * turns out to be in another region: that one is asked there at once, and from then on.
 */
export class S3Origin implements Origin {
  readonly #options: S3Options;
  #clients: Promise<S3Clients> | undefined;

  constructor(options: S3Options) {
    this.#options = options;
  }

  async fetch(ref: ObjectRef, range: OriginRange, signal: AbortSignal): Promise<OriginAnswer> {
    if (signal.aborted) throw abortError(signal);
    const ifMatch = range.version === undefined ? undefined : ifMatchOf(ref, range.version);
    const Range = `bytes=${range.offset}-${range.offset + range.length - 1}`;
    const input = { ...this.#target(ref), Range, ...(ifMatch !== undefined && { IfMatch: ifMatch }) };
    return this.#send(ref, range, signal, async (client, { GetObjectCommand }) => {
      const output = await client.send(new GetObjectCommand(input), { abortSignal: signal });
      const head = {
        status: output.$metadata.httpStatusCode ?? 0,
        contentRange: output.ContentRange,
        contentLength: output.ContentLength,
        version: versionOfStoreTag(output.ETag),
        contentType: output.ContentType,
        lastModifiedMs: output.LastModified?.getTime(),
      };
      // In Node the SDK's body is the response itself.
      return checkedAnswer(ref, range, head, output.Body as unknown as Readable, signal);
    });
  }

  async stat(ref: ObjectRef, signal: AbortSignal): Promise<ObjectInfo> {
    if (signal.aborted) throw abortError(signal);
    return this.#send(ref, undefined, signal, async (client, { HeadObjectCommand }) => {
      const output = await client.send(new HeadObjectCommand(this.#target(ref)), { abortSignal: signal });
      return checkedInfo(ref, output.ContentLength, {
        version: versionOfStoreTag(output.ETag),
        contentType: output.ContentType,
        lastModifiedMs: output.LastModified?.getTime(),
      });
    });
  }

  async list(ref: PrefixRef, page: ListPage, signal: AbortSignal): Promise<Listing> {
    if (signal.aborted) throw abortError(signal);
    const input = { ...listInput(ref, page), ...this.#payer };
    return this.#send(ref, undefined, signal, async (client, { ListObjectsV2Command }) =>
      listingOf(ref, await client.send(new ListObjectsV2Command(input), { abortSignal: signal })),
    );
  }

  async statBucket(ref: BucketRef, signal: AbortSignal): Promise<void> {
    if (signal.aborted) throw abortError(signal);
    await this.#send(ref, undefined, signal, async (client, { HeadBucketCommand }) => {
      await client.send(new HeadBucketCommand({ Bucket: ref.bucket }), { abortSignal: signal });
    });
  }

  close(): void {
    this.#clients?.then((clients) => clients.destroy()).catch(() => {}); // what never opened needs no closing
    this.#clients = undefined;
  }

  /** Sends a request to the bucket's region, and once more where the answer is that the bucket is in another one. */
  async #send<Answer>(
    ref: BucketRef,
    range: OriginRange | undefined,
    signal: AbortSignal,
    request: (client: S3Client, commands: S3Clients["commands"]) => Promise<Answer>,
  ): Promise<Answer> {
    try {
      const clients = await this.#open();
      const regional = clients.of(ref.bucket);
      const used = await untilAborted(clients.identity(regional), signal);
      try {
        return await request(regional.client, clients.commands);
      } catch (error) {
        if (signal.aborted) throw error;
        if (clients.moved(ref.bucket, regionOf(error), regional.region)) {
          return await request(clients.of(ref.bucket).client, clients.commands);
        }
        if (!mayBeExpired(error) || !(await clients.renewed(regional, used, Date.now()))) throw error;
        throw expiredCredentials(ref, error);
      }
    } catch (error) {
      throw s3Error(error, ref, range, signal);
    }
  }

  #open(): Promise<S3Clients> {
    this.#clients ??= S3Clients.open(this.#options).catch((error: unknown) => {
      this.#clients = undefined; // the next call tries again
      throw error;
    });
    return this.#clients;
  }

  get #payer(): { RequestPayer?: "requester" } {
    return this.#options.requesterPays ? { RequestPayer: "requester" } : {};
  }

  #target(ref: ObjectRef): { Bucket: string; Key: string; VersionId?: string; RequestPayer?: "requester" } {
    const versioned = /^(.+)\?versionId=([A-Za-z0-9._-]+)$/s.exec(ref.key);
    return {
      Bucket: ref.bucket,
      Key: versioned?.[1] ?? ref.key,
      ...(versioned !== null && { VersionId: versioned[2]! }),
      ...this.#payer,
    };
  }
}

/**
 * The If-Match header for a version. FAILED_PRECONDITION, without a request, for a version that cannot be an entity tag: no object
 * has it.
 */
function ifMatchOf(ref: ObjectRef, version: string): string {
  if (canBeEntityTag(version)) return entityTagOf(version);
  throw otherVersion(ref, version, new CacheError("INVALID_ARGUMENT", "not an ETag"));
}
