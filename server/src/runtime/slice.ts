/**
 * Bytes on their way to a reader, borrowed: they stay true until `release`, which must be called exactly once, after the
 * last use (a socket's write callback, or a copy). After that the memory may hold other bytes or be unmapped.
 */
export interface Slice {
  readonly bytes: Buffer;
  release(): void;
}
