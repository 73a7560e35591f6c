/**
 * Borrowed bytes of a response. They are valid until `release`, which must be called exactly once, after the last use (a socket's
 * write callback, or a copy). After that the memory may contain other bytes or be unmapped.
 */
export interface Slice {
  readonly bytes: Buffer;
  /** Whether the memory is scarce: copy the bytes instead of keeping them while a slow socket drains. */
  readonly scarce?: boolean;
  release(): void;
}
