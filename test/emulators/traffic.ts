/** One GET of an object's bytes; `end` is one past the last byte of the answer. */
export interface GetRecord {
  readonly bucket: string;
  readonly key: string;
  readonly start: number;
  readonly end: number;
  readonly status: number;
  readonly atMs: number;
}

/** What an emulator has seen and sent since the last `reset`. */
export class Traffic {
  /** Requests by method, failed ones included. */
  requests: Record<string, number> = {};
  /** GETs of objects in the order of their answers' heads. */
  gets: GetRecord[] = [];
  /** Bytes of bodies handed to sockets. */
  bytesSent = 0;
  /** Requests being answered now, stalled ones included. */
  open = 0;
  /** The most at one time. */
  peakOpen = 0;

  reset(): void {
    this.requests = {};
    this.gets = [];
    this.bytesSent = 0;
    this.peakOpen = this.open;
  }

  begin(method: string): void {
    this.requests[method] = (this.requests[method] ?? 0) + 1;
    this.peakOpen = Math.max(this.peakOpen, ++this.open);
  }

  end(): void {
    this.open--;
  }
}
