/**
 * Bytes on their way to a reader, borrowed: they stay true until `release`, which must be called exactly once, after the
 * last use (a socket's write callback, or a copy). After that the memory may hold other bytes or be unmapped.
 */
export interface Slice {
  readonly bytes: Buffer;
  /** The memory is one that others wait for: rather copy the bytes than keep them as long as a slow socket takes. */
  readonly scarce?: boolean;
  release(): void;
}
