import { randomUUID } from "node:crypto";
import { CacheError } from "@frontcache/proto";
import { NotWritten, type RelatedPart, type StreamedBody, type WriteAnswer, type WriteRequest } from "../origin.js";
import type { SentBody, SentWrite } from "../sent-write.js";
import { JSON_TYPE } from "./gcs-passing.js";
import { bucketPath, objectPath } from "./gcs-paths.js";

/** A write as the HTTP client takes it, without credentials. */
export interface GcsWrite {
  readonly path: string;
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body: SentBody;
}

/** A write of GCS's JSON API: the client's own query, headers and body. */
export function jsonWrite(request: WriteRequest, json: NonNullable<WriteRequest["json"]>, sent: SentWrite): GcsWrite {
  const { headers, body } = request;
  const path = pathOf(request, json);
  const related = json.kind === "upload" ? json.related : undefined;
  const framing = related && new RelatedFraming(related);
  const named = headers.filter(([name]) => framing === undefined || name !== "content-type");
  const typed = framing === undefined ? named : [...named, ["content-type", framing.contentType] as const];
  if (body instanceof Uint8Array) {
    const bytes = framing?.whole(body) ?? body;
    return { path, headers: [...typed, ["content-length", String(bytes.length)]], body: sent.begin(bytes) };
  }
  const pieces = framing === undefined ? body.pieces : framing.pieces(body);
  if (body.length === undefined)
    return { path, headers: [...typed, ["transfer-encoding", "chunked"]], body: sent.begin(chunked(pieces)) };
  const length = body.length + (framing?.addedBytes ?? 0);
  return { path, headers: [...typed, ["content-length", String(length)]], body: sent.begin(pieces) };
}

/** Names are single segments of a path, so that no key leads to another resource. */
function pathOf({ ref, query, source }: WriteRequest, { kind }: NonNullable<WriteRequest["json"]>): string {
  const parameters = new URLSearchParams(query.map(([name, value]): [string, string] => [name, value])).toString();
  const queried = parameters === "" ? "" : `?${parameters}`;
  if (kind === "upload") return `/upload${bucketPath(ref)}/o${queried}`;
  if (!("key" in ref)) throw unnamed(ref.url);
  if (kind === "object") return objectPath(ref, parameters);
  const key = encodeURIComponent(ref.key);
  if (kind === "compose") return `${bucketPath(ref)}/o/${key}/compose${queried}`;
  if (source === undefined) throw unnamed(ref.url);
  const from = `${bucketPath(source)}/o/${encodeURIComponent(source.key)}`;
  return kind === "moveTo"
    ? `${from}/moveTo/o/${key}${queried}`
    : `${from}/${kind}/b/${encodeURIComponent(ref.bucket)}/o/${key}${queried}`;
}

function unnamed(url: string): NotWritten {
  return new NotWritten(new CacheError("INVALID_ARGUMENT", `${url}: the request names no object`));
}

/** An object and its metadata as one body (multipart/related). */
class RelatedFraming {
  readonly contentType: string;
  readonly #head: Buffer;
  readonly #tail: Buffer;

  constructor({ document, contentType }: RelatedPart) {
    const boundary = randomUUID();
    const type = contentType === undefined ? "" : `Content-Type: ${contentType}\r\n`;
    this.contentType = `multipart/related; boundary=${boundary}`;
    this.#head = Buffer.concat([
      Buffer.from(`--${boundary}\r\nContent-Type: ${JSON_TYPE}\r\n\r\n`, "latin1"),
      document,
      Buffer.from(`\r\n--${boundary}\r\n${type}\r\n`, "latin1"),
    ]);
    this.#tail = Buffer.from(`\r\n--${boundary}--`, "latin1");
  }

  get addedBytes(): number {
    return this.#head.length + this.#tail.length;
  }

  whole(body: Uint8Array): Buffer {
    return Buffer.concat([this.#head, body, this.#tail]);
  }

  async *pieces({ pieces }: StreamedBody): AsyncGenerator<Uint8Array, void> {
    yield this.#head;
    yield* pieces;
    yield this.#tail;
  }
}

/** The transfer coding of a body of unknown length. Its end is a piece of its own, which follows only when all others were read. */
async function* chunked(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void> {
  for await (const piece of pieces) {
    if (piece.length === 0) continue;
    yield Buffer.from(`${piece.length.toString(16)}\r\n`, "latin1");
    yield piece;
    yield LINE_END;
  }
  yield END;
}

const LINE_END = Buffer.from("\r\n");
const END = Buffer.from("0\r\n\r\n");

/** An answer with the generation of the object, if it describes one, as a header. */
export function jsonAnswer(answer: WriteAnswer): WriteAnswer {
  const { status, headers, body } = answer;
  const generation = status === 200 ? generationOf(body) : undefined;
  if (generation === undefined || headers.some(([name]) => name === "x-goog-generation")) return answer;
  return { ...answer, headers: [...headers, ["x-goog-generation", generation]] };
}

/** The generation in an object's description, or in the description of a finished rewrite. */
function generationOf(body: Buffer): string | undefined {
  try {
    const { generation, resource } = JSON.parse(body.toString()) as { generation?: unknown; resource?: { generation?: unknown } };
    const found = generation ?? resource?.generation;
    return typeof found === "string" && /^\d{1,20}$/.test(found) ? found : undefined;
  } catch {
    return undefined; // not GCS's JSON: the client judges it
  }
}
