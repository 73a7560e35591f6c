/** Bytes of one answer that its client has not taken yet. */
interface Unsent {
  readonly bytes: number;
  readonly disconnect: () => void;
}

/**
 * The budget of memory in which bytes wait for slow clients. When it is exceeded, the client whose bytes have waited longest is
 * disconnected. Clients that read keep leaving the queue, so that the slow ones are at its front.
 */
export class SendBuffer {
  /** In the order in which they were added. */
  readonly #unsent = new Set<Unsent>();
  readonly #maxBytes: number;
  #bytes = 0;
  /** Clients that were disconnected since the start. */
  disconnectedClients = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Bytes that wait now. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Adds bytes. The returned function removes them again, harmless when repeated; `disconnect` must lead to that, too. */
  add(bytes: number, disconnect: () => void): () => void {
    const added = { bytes, disconnect };
    this.#unsent.add(added);
    this.#bytes += bytes;
    for (const slowest of this.#unsent) {
      if (this.#bytes <= this.#maxBytes || slowest === added) break;
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
