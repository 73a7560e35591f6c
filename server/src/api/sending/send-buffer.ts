import { type Linked, LinkedList } from "@frontcache/proto/runtime";

/** Bytes of a response that its client has not received yet. */
interface Unsent extends Linked<Unsent> {
  readonly bytes: number;
  readonly disconnect: () => void;
}

/**
 * The memory limit of bytes that wait for slow clients. When it is exceeded, the client whose bytes have waited longest is
 * disconnected. Bytes of fast clients leave the queue quickly, so slow clients are at its front.
 */
export class SendBuffer {
  /** In order of their addition. */
  readonly #unsent = new LinkedList<Unsent>();
  readonly #maxBytes: number;
  #bytes = 0;
  /** Number of clients disconnected since the start. */
  disconnectedClients = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Number of waiting bytes. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Adds bytes. The returned function removes them and may be called repeatedly; `disconnect` must also cause the removal. */
  add(bytes: number, disconnect: () => void): () => void {
    const added: Unsent = { bytes, disconnect, previous: undefined, next: undefined };
    this.#unsent.add(added);
    this.#bytes += bytes;
    while (this.#bytes > this.#maxBytes) {
      const slowest = this.#unsent.first;
      if (slowest === undefined || slowest === added) break;
      this.#remove(slowest);
      this.disconnectedClients++;
      slowest.disconnect();
    }
    return () => this.#remove(added);
  }

  #remove(unsent: Unsent): void {
    if (this.#unsent.delete(unsent)) this.#bytes -= unsent.bytes;
  }
}
