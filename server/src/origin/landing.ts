/** Where a body's bytes go: memory of who reads it. */
export interface Landing {
  /** Where the next bytes belong, with room for one at least; to be told by `landed`. */
  room(): Buffer;
  /** The first `bytes` of the room are filled. What it throws ends the body. */
  landed(bytes: number): void;
}

/** Copies bytes that were received elsewhere to where they belong, unless `stopped` in between. */
export function landCopy(bytes: Buffer, landing: Landing, stopped: () => boolean): void {
  for (let at = 0; at < bytes.length && !stopped(); ) {
    const copied = bytes.copy(landing.room(), 0, at);
    at += copied;
    landing.landed(copied);
  }
}
