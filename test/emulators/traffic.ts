/** One GET of an object's bytes; `end` is one past the last byte of the response. */
export interface GetRecord {
  readonly bucket: string;
  readonly key: string;
  readonly start: number;
  readonly end: number;
  readonly status: number;
  readonly atMs: number;
}

/** The requests and bytes of an emulator since the last `reset`. */
export class Traffic {
  /** Requests by method, including failed ones. */
  requests: Record<string, number> = {};
  /** GETs of objects in the order of their response headers. */
  gets: GetRecord[] = [];
  /** Bytes of bodies written to sockets. */
  bytesSent = 0;
  /** Running requests, including stalled ones. */
  open = 0;
  /** Maximum of concurrent requests. */
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
