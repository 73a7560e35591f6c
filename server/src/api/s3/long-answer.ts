import type { Clock } from "../../runtime/clock.js";
import type { Reply } from "../http/http-context.js";
import { REQUEST_ID_HEADER } from "./error-response.js";
import { XML_HEADER } from "./xml.js";

/** How long a client waits in silence: less than load balancers and clients do. */
const SILENCE_MS = 10_000;

const SPACE = Buffer.from(" ");

export interface LongAnswerOptions {
  readonly response: Reply;
  readonly requestId: string;
  readonly clock: Pick<Clock, "after">;
  /** Whether the whole request has arrived. Before that, the client does not wait. */
  isReceived(): boolean;
}

/**
 * A response whose document takes minutes, as S3 answers it: if the client has waited for 10 s, status 200 and the beginning of a document
 * are sent, then a space every 10 s, and at last the document, which may be that of an error. The owner calls `stop` when the response is
 * over, sent or not.
 */
export class LongAnswer {
  readonly #options: LongAnswerOptions;
  #cancel: () => void;
  #hasBegun = false;
  #isWriting = false;

  constructor(options: LongAnswerOptions) {
    this.#options = options;
    this.#cancel = this.#wait();
  }

  /** Sends the rest of a response that has begun. Returns false if it has not: then it is sent as any other. */
  end(document: Buffer): boolean {
    this.stop();
    if (!this.#hasBegun) return false;
    // The declaration has been sent. Nothing may precede it.
    this.#options.response.end(Buffer.from(document.toString("latin1").replace(/^\s*<\?xml[^>]*\?>\s*/, ""), "latin1"));
    return true;
  }

  stop(): void {
    this.#cancel();
  }

  #wait(): () => void {
    return this.#options.clock.after(SILENCE_MS, () => {
      this.#cancel = this.#wait();
      if (this.#options.isReceived()) this.#send();
    });
  }

  #send(): void {
    const { response, requestId } = this.#options;
    if (this.#isWriting) return;
    let bytes = SPACE;
    if (!this.#hasBegun) {
      this.#hasBegun = true;
      response.writeHead(200, ["Content-Type", "application/xml", REQUEST_ID_HEADER, requestId]);
      bytes = Buffer.from(XML_HEADER);
    }
    this.#isWriting = true;
    response.write(bytes, () => {
      this.#isWriting = false;
    });
  }
}
