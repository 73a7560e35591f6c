import { CacheError, headersFromPairs, type ObjectInfo, type ObjectRef, outOfRange, versionOfStoreTag } from "@frontcache/proto";
import type { OriginBody, OriginRange, OriginReads } from "./origin-reads.js";

/** The fields of answers that the fallback uses. */
interface S3Answer {
  readonly ETag?: string | undefined;
  readonly ContentLength?: number | undefined;
  readonly ContentRange?: string | undefined;
  readonly ContentType?: string | undefined;
  readonly ContentEncoding?: string | undefined;
  readonly ContentLanguage?: string | undefined;
  readonly ContentDisposition?: string | undefined;
  readonly CacheControl?: string | undefined;
  readonly LastModified?: Date | undefined;
  readonly Metadata?: Record<string, string> | undefined;
  readonly Body?: unknown;
}

/** What the fallback uses of `S3`, the client of `@aws-sdk/client-s3` that has a method for each operation. */
export interface S3Fallback {
  getObject(
    input: { Bucket: string; Key: string; Range: string; IfMatch?: string },
    options: { abortSignal: AbortSignal },
  ): Promise<S3Answer>;
  headObject(input: { Bucket: string; Key: string; IfMatch?: string }, options: { abortSignal: AbortSignal }): Promise<S3Answer>;
}

/** Reads objects from S3 by the caller's client, which signs and retries requests. */
export class S3Reads implements OriginReads {
  readonly #client: S3Fallback;

  constructor(client: S3Fallback) {
    this.#client = client;
  }

  async read(object: ObjectRef, range: OriginRange, signal: AbortSignal): Promise<OriginBody> {
    const { offset, length, version } = range;
    const input = { ...named(object, version), Range: `bytes=${offset}-${offset + length - 1}` };
    try {
      const answer = await this.#client.getObject(input, { abortSignal: signal });
      const size = /\/(\d+)$/.exec(answer.ContentRange ?? "")?.[1];
      return { version: versionOf(object, answer), objectSize: Number(size), bytes: answer.Body as AsyncIterable<Uint8Array> };
    } catch (thrown) {
      if (statusOf(thrown) !== 416) throw this.failure(object, thrown);
      throw outOfRange(object.url, offset, (await this.stat(object, version, signal)).objectSize);
    }
  }

  async stat(object: ObjectRef, version: string, signal: AbortSignal): Promise<ObjectInfo> {
    try {
      const answer = await this.#client.headObject(named(object, version), { abortSignal: signal });
      return {
        version: versionOf(object, answer),
        objectSize: answer.ContentLength ?? 0,
        ...(answer.ContentType !== undefined && { contentType: answer.ContentType }),
        ...(answer.LastModified !== undefined && { lastModifiedMs: answer.LastModified.getTime() }),
        ...headersFromPairs(headersOf(answer)),
      };
    } catch (error) {
      throw this.failure(object, error);
    }
  }

  failure({ url }: ObjectRef, error: unknown): CacheError {
    if (error instanceof CacheError) return error;
    const why = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
    switch (statusOf(error)) {
      case 404:
        return new CacheError("NOT_FOUND", `${url}: no such object (${why})`, { cause: error });
      case 412:
        return new CacheError("FAILED_PRECONDITION", `${url}: the object's current version differs from the requested one`, {
          cause: error,
        });
      case 403:
        return new CacheError("PERMISSION_DENIED", `${url}: fallback.s3 was refused: ${why}`, { cause: error });
      default:
        return new CacheError("UNAVAILABLE", `${url}: fallback.s3 failed: ${why}`, { cause: error });
    }
  }
}

function named({ bucket, key }: ObjectRef, version: string): { Bucket: string; Key: string; IfMatch?: string } {
  return { Bucket: bucket, Key: key, ...(version !== "" && { IfMatch: `"${version}"` }) };
}

function versionOf({ url }: ObjectRef, { ETag }: S3Answer): string {
  const version = versionOfStoreTag(ETag);
  if (version !== undefined) return version;
  throw new CacheError("UNAVAILABLE", `${url}: the answer to fallback.s3 has no ETag`);
}

function headersOf(answer: S3Answer): [name: string, value: string][] {
  const named = {
    "cache-control": answer.CacheControl,
    "content-disposition": answer.ContentDisposition,
    "content-encoding": answer.ContentEncoding,
    "content-language": answer.ContentLanguage,
  };
  const headers = Object.entries(named).filter((pair): pair is [string, string] => pair[1] !== undefined);
  for (const [name, value] of Object.entries(answer.Metadata ?? {})) headers.push([`x-amz-meta-${name}`, value]);
  return headers;
}

function statusOf(error: unknown): number | undefined {
  return (error as { readonly $metadata?: { readonly httpStatusCode?: number } } | undefined)?.$metadata?.httpStatusCode;
}
