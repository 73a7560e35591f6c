import { CacheError, headersFromPairs, type ObjectInfo, type ObjectRef, outOfRange } from "@frontcache/proto";
import { whenAborted } from "@frontcache/proto/runtime";
import type { OriginBody, OriginRange, OriginReads } from "./origin-reads.js";

/** The fields of an object's metadata that the fallback uses. */
interface GcsMetadata {
  readonly generation?: string | number | undefined;
  readonly size?: string | number | undefined;
  readonly contentType?: string | undefined;
  readonly contentEncoding?: string | undefined;
  readonly contentLanguage?: string | undefined;
  readonly contentDisposition?: string | undefined;
  readonly cacheControl?: string | undefined;
  readonly updated?: string | undefined;
  readonly metadata?: { readonly [name: string]: unknown } | undefined;
}

interface GcsBody extends AsyncIterable<unknown> {
  destroy(error?: Error): unknown;
}

interface GcsFile {
  getMetadata(): Promise<readonly [GcsMetadata, ...unknown[]]>;
  createReadStream(options: { start: number; end: number; validation: false; decompress: false }): GcsBody;
}

/** What the fallback uses of `Storage`, the client of `@google-cloud/storage`. */
export interface GcsFallback {
  bucket(name: string): { file(name: string, options?: { generation: string }): GcsFile };
}

/** Reads objects from GCS by the caller's client. Each read asks for the object's generation and size first. */
export class GcsReads implements OriginReads {
  readonly #client: GcsFallback;

  constructor(client: GcsFallback) {
    this.#client = client;
  }

  async read(object: ObjectRef, range: OriginRange, signal: AbortSignal): Promise<OriginBody> {
    const { version, objectSize } = await this.stat(object, range.version, signal);
    if (range.offset >= objectSize) throw outOfRange(object.url, range.offset, objectSize);
    const file = this.#client.bucket(object.bucket).file(object.key, { generation: version });
    const end = Math.min(range.offset + range.length, objectSize) - 1;
    const body = file.createReadStream({ start: range.offset, end, validation: false, decompress: false });
    return { version, objectSize, bytes: untilAborted(body, signal) };
  }

  async stat(object: ObjectRef, version: string, signal: AbortSignal): Promise<ObjectInfo> {
    if (signal.aborted) throw signal.reason;
    const [metadata] = await this.#client
      .bucket(object.bucket)
      .file(object.key)
      .getMetadata()
      .catch((error: unknown) => {
        throw this.failure(object, error);
      });
    const generation = String(metadata.generation ?? "");
    if (generation === "") throw new CacheError("UNAVAILABLE", `${object.url}: the answer to fallback.gcs has no generation`);
    if (version !== "" && version !== generation) throw differs(object);
    return {
      version: generation,
      objectSize: Number(metadata.size ?? 0),
      ...(metadata.contentType !== undefined && { contentType: metadata.contentType }),
      ...(metadata.updated !== undefined && { lastModifiedMs: Date.parse(metadata.updated) }),
      ...headersFromPairs(headersOf(metadata)),
    };
  }

  failure(object: ObjectRef, error: unknown): CacheError {
    if (error instanceof CacheError) return error;
    const { url } = object;
    const why = error instanceof Error ? error.message : String(error);
    const { code } = error as { readonly code?: unknown };
    if (code === 404) return new CacheError("NOT_FOUND", `${url}: no such object (${why})`, { cause: error });
    if (code === 412) return differs(object, error);
    if (code === 403) {
      return new CacheError("PERMISSION_DENIED", `${url}: fallback.gcs was refused: ${why}`, { cause: error });
    }
    return new CacheError("UNAVAILABLE", `${url}: fallback.gcs failed: ${why}`, { cause: error });
  }
}

function differs({ url }: ObjectRef, cause?: unknown): CacheError {
  return new CacheError("FAILED_PRECONDITION", `${url}: the object's current version differs from the requested one`, { cause });
}

async function* untilAborted(body: GcsBody, signal: AbortSignal): AsyncGenerator<Uint8Array, void> {
  const remove = whenAborted(signal, () => void body.destroy(signal.reason));
  try {
    for await (const chunk of body) yield chunk as Uint8Array;
  } finally {
    remove();
    body.destroy();
  }
}

function headersOf(metadata: GcsMetadata): [name: string, value: string][] {
  const named = {
    "cache-control": metadata.cacheControl,
    "content-disposition": metadata.contentDisposition,
    "content-encoding": metadata.contentEncoding,
    "content-language": metadata.contentLanguage,
  };
  const headers = Object.entries(named).filter((pair): pair is [string, string] => pair[1] !== undefined);
  for (const [name, value] of Object.entries(metadata.metadata ?? {})) headers.push([`x-goog-meta-${name}`, String(value)]);
  return headers;
}
