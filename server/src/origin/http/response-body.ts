import type { HttpResponse } from "@frontcache/client/http";
import { abortError, CacheError } from "@frontcache/proto";
import type { PassedBody, PassQuestion } from "../origin.js";
import { BodyStream } from "./body-stream.js";

/** The body of a response to a passed request, as it arrives. */
export class ResponseBody implements PassedBody {
  readonly #stream: BodyStream;
  readonly #question: PassQuestion;

  constructor({ body }: HttpResponse, question: PassQuestion) {
    this.#stream = new BodyStream(body);
    this.#question = question;
    this.#stream.on("error", () => {}); // reported to the reader
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void> {
    const { ref, signal } = this.#question;
    try {
      for await (const chunk of this.#stream as AsyncIterable<Buffer>) yield chunk;
    } catch (cause) {
      if (signal.aborted) throw abortError(signal);
      throw new CacheError("UNAVAILABLE", `${ref.url}: the origin's answer ended early`, { cause });
    }
  }

  destroy(): void {
    this.#stream.destroy();
  }
}
