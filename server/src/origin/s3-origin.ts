import type { Readable } from "node:stream";
import { abortError, type ObjectInfo, type ObjectRef } from "@frontcache/proto";
import { checkedAnswer, checkedInfo } from "./answer.js";
import { etagOfVersion, versionOfEtag } from "./etag.js";
import type { Origin, OriginAnswer, OriginRange } from "./origin.js";
import { openS3Sdk, type S3Options, type S3Sdk } from "./s3-client.js";
import { s3Error } from "./s3-errors.js";

/** Objects by the AWS SDK. One request a call, without retries; a version is an ETag without its quotes. */
export class S3Origin implements Origin {
  readonly #options: S3Options;
  #sdk: Promise<S3Sdk> | undefined;

  constructor(options: S3Options) {
    this.#options = options;
  }

  async fetch(ref: ObjectRef, range: OriginRange, signal: AbortSignal): Promise<OriginAnswer> {
    if (signal.aborted) throw abortError(signal);
    const ifMatch = range.version === undefined ? undefined : etagOfVersion(ref, range.version);
    const Range = `bytes=${range.offset}-${range.offset + range.length - 1}`;
    try {
      const { client, GetObjectCommand } = await this.#open();
      const command = new GetObjectCommand({ ...this.#target(ref), Range, ...(ifMatch !== undefined && { IfMatch: ifMatch }) });
      const output = await client.send(command, { abortSignal: signal });
      const head = {
        status: output.$metadata.httpStatusCode ?? 0,
        contentRange: output.ContentRange,
        contentLength: output.ContentLength,
        version: versionOfEtag(output.ETag),
        contentType: output.ContentType,
        lastModifiedMs: output.LastModified?.getTime(),
      };
      // In Node the SDK's body is the response itself.
      return checkedAnswer(ref, range, head, output.Body as unknown as Readable, signal);
    } catch (error) {
      throw s3Error(error, ref, range, signal);
    }
  }

  async stat(ref: ObjectRef, signal: AbortSignal): Promise<ObjectInfo> {
    if (signal.aborted) throw abortError(signal);
    try {
      const { client, HeadObjectCommand } = await this.#open();
      const output = await client.send(new HeadObjectCommand(this.#target(ref)), { abortSignal: signal });
      return checkedInfo(ref, output.ContentLength, {
        version: versionOfEtag(output.ETag),
        contentType: output.ContentType,
        lastModifiedMs: output.LastModified?.getTime(),
      });
    } catch (error) {
      throw s3Error(error, ref, undefined, signal);
    }
  }

  close(): void {
    this.#sdk?.then(({ client }) => client.destroy()).catch(() => {}); // what never opened needs no closing
    this.#sdk = undefined;
  }

  #open(): Promise<S3Sdk> {
    this.#sdk ??= openS3Sdk(this.#options).catch((error: unknown) => {
      this.#sdk = undefined; // the next call tries again
      throw error;
    });
    return this.#sdk;
  }

  #target(ref: ObjectRef): { Bucket: string; Key: string; VersionId?: string; RequestPayer?: "requester" } {
    const versioned = /^(.+)\?versionId=([A-Za-z0-9._-]+)$/s.exec(ref.key);
    return {
      Bucket: ref.bucket,
      Key: versioned?.[1] ?? ref.key,
      ...(versioned !== null && { VersionId: versioned[2]! }),
      ...(this.#options.requesterPays && { RequestPayer: "requester" as const }),
    };
  }
}
