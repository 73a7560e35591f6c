import type { BucketRef } from "@frontcache/proto";
import { callStatus } from "../call-status.js";
import { type ListRequest, parseBucketQuery } from "./bucket-query.js";
import type { Exchange, ObjectReader } from "./exchange.js";
import { listingXml, locationXml } from "./listing-xml.js";
import { notImplemented, type Refusal, refusalOf, refuse } from "./refusal.js";

/** The answer to one GET or HEAD of a bucket, passed on to the origin: tools that list before they read work so. */
export class BucketAnswer {
  #over = false;

  constructor(
    private readonly exchange: Exchange,
    private readonly reader: ObjectReader,
    private readonly ref: BucketRef,
    private readonly query: string,
  ) {
    exchange.whenClosed(() => {
      this.#over = true;
    });
  }

  /** Answers. Never throws. */
  run(): void {
    this.#answer().catch((error: unknown) => this.#fail(error));
  }

  async #answer(): Promise<void> {
    const { request, signal } = this.exchange;
    if (request.method === "HEAD") {
      await this.reader.statBucket(this.ref, signal);
      return this.#end("");
    }
    const wanted = parseBucketQuery(this.ref, this.query);
    if (wanted.kind === "other") return this.#refuse(notImplemented(wanted.what));
    if (wanted.kind === "list") return this.#end(await this.#list(wanted));
    await this.reader.statBucket(this.ref, signal);
    this.#end(locationXml);
  }

  async #list(wanted: ListRequest): Promise<string> {
    const { signal } = this.exchange;
    // No store need list nothing, and GCS wouldn't.
    if (wanted.page.maxKeys > 0) return listingXml(wanted, await this.reader.list(wanted.ref, wanted.page, signal));
    await this.reader.statBucket(this.ref, signal);
    return listingXml(wanted, { objects: [], prefixes: [] });
  }

  #end(xml: string): void {
    if (this.#over) return;
    const { response } = this.exchange;
    const body = Buffer.from(xml);
    response.writeHead(200, ["Content-Type", "application/xml", "Content-Length", String(body.length)]);
    response.end(body);
  }

  #fail(error: unknown): void {
    if (this.#over) return;
    const { request, log } = this.exchange;
    const { details } = callStatus(error, `${request.method} bucket`, log);
    const { code, ...refusal } = refusalOf(error);
    this.#refuse({ ...refusal, code: code === "NoSuchKey" ? "NoSuchBucket" : code, message: details });
  }

  #refuse(refusal: Refusal): void {
    refuse(this.exchange.response, refusal, `/${this.ref.bucket}`);
  }
}
