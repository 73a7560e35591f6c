import { GcsJsonWrites } from "./gcs-json-writes.js";
import type { GcsStore } from "./gcs-store.js";
import { GcsXml } from "./gcs-xml.js";
import type { Exchange } from "./listener.js";

/** The part of a GCS emulator that changes objects, by the JSON API or the XML API. Nothing damaged is stored. */
export class GcsWrites {
  readonly #store: GcsStore;
  readonly #json: GcsJsonWrites;
  readonly #xml: GcsXml;
  /** The requests that were not refused at once, as `method path`, without queries. */
  readonly requests: string[] = [];
  /** The headers of the last write. */
  lastHeaders: Exchange["seen"]["headers"] = {};

  constructor(store: GcsStore) {
    this.#store = store;
    this.#json = new GcsJsonWrites(store);
    this.#xml = new GcsXml(store);
  }

  /** Sessions and uploads in parts that are neither completed nor aborted. */
  get openUploads(): number {
    return this.#json.openSessions + this.#xml.openUploads;
  }

  /** Lists uploads in parts, or the parts of one. */
  list(exchange: Exchange): void {
    this.#xml.list(exchange);
  }

  async answer(exchange: Exchange, path: string): Promise<void> {
    const { bucket, method, query, headers } = exchange.seen;
    this.requests.push(`${method} ${path}`);
    this.lastHeaders = headers;
    const session = query.get("upload_id");
    const { bytes, isWhole } = await bodyOf(exchange);
    if (session !== null) return this.#json.continue(exchange, session, bytes, isWhole);
    if (!isWhole) return;
    if (!this.#store.hasBucket(bucket)) return void exchange.fail(404, path.startsWith("/storage") ? "notFound" : "NoSuchBucket");
    if (path.startsWith("/upload/")) return this.#json.insert(exchange, bytes);
    if (path.startsWith("/storage/")) return this.#json.change(exchange, path, bytes);
    return this.#xml.write(exchange, bytes);
  }
}

/** What has arrived of a body, and whether that is all. */
async function bodyOf({ request }: Exchange): Promise<{ readonly bytes: Buffer; readonly isWhole: boolean }> {
  const chunks: Buffer[] = [];
  try {
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
  } catch {
    return { bytes: Buffer.concat(chunks), isWhole: false }; // the client has given up before the end
  }
  return { bytes: Buffer.concat(chunks), isWhole: true };
}
