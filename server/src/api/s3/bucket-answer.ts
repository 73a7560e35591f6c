import type { BucketInfo } from "../../origin/origin.js";
import type { Cache } from "../../routing/cache.js";
import { callStatus } from "../call-status.js";
import type { HttpContext } from "../http/http-context.js";
import { type ListRequest, parseListQuery } from "./bucket-query.js";
import { type ErrorResponse, errorResponseOf, REQUEST_ID_HEADER, sendError } from "./error-response.js";
import { listingXml, locationXml } from "./listing-xml.js";
import type { Operation } from "./operations.js";
import type { BucketTarget } from "./request-target.js";

/** The answer to one GET or HEAD of a bucket, passed on to the origin: tools that list before they read work so. */
export class BucketAnswer {
  readonly #context: HttpContext;
  readonly #cache: Cache;
  readonly #target: BucketTarget;
  readonly #operation: Operation;

  #over = false;

  constructor(context: HttpContext, cache: Cache, target: BucketTarget, operation: Operation) {
    this.#context = context;
    this.#cache = cache;
    this.#target = target;
    this.#operation = operation;
    context.whenClosed(() => {
      this.#over = true;
    });
  }

  /** Answers. Never throws. */
  run(): void {
    this.#answer().catch((error: unknown) => this.#fail(error));
  }

  async #answer(): Promise<void> {
    const { ref, query } = this.#target;
    if (this.#operation === "ListObjectsV2") return this.#end(await this.#list(parseListQuery(ref, query)));
    const info = await this.#statBucket();
    this.#end(this.#operation === "HeadBucket" ? "" : locationXml(info));
  }

  #statBucket(): Promise<BucketInfo> {
    const { principal, signal } = this.#context;
    return this.#cache.ask({ kind: "statBucket", ref: this.#target.ref, principal, signal });
  }

  async #list(requested: ListRequest): Promise<string> {
    const { principal, signal } = this.#context;
    const { ref, page } = requested;
    // No store need list nothing, and GCS wouldn't.
    if (page.maxKeys > 0) return listingXml(requested, await this.#cache.ask({ kind: "list", ref, page, principal, signal }));
    await this.#statBucket();
    return listingXml(requested, { objects: [], prefixes: [] });
  }

  #end(xml: string): void {
    if (this.#over) return;
    const { response } = this.#context;
    const body = Buffer.from(xml);
    response.writeHead(200, [
      "Content-Type",
      "application/xml",
      "Content-Length",
      String(body.length),
      REQUEST_ID_HEADER,
      this.#context.requestId,
    ]);
    response.end(body);
  }

  #fail(error: unknown): void {
    if (this.#over) return;
    const { request, requestId, client, log } = this.#context;
    const { details } = callStatus(error, `${request.method} bucket`, log, {
      url: this.#target.ref.url,
      requestId,
      client: client.address,
    });
    const { code, ...refusal } = errorResponseOf(error);
    this.#sendError({ ...refusal, code: code === "NoSuchKey" ? "NoSuchBucket" : code, message: details });
  }

  #sendError(refusal: ErrorResponse): void {
    sendError(this.#context, refusal, `/${this.#target.ref.bucket}`);
  }
}
