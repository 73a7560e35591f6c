/** Converts values to bytes and back. Neither function may keep or change what it is given. */
export interface Codec<T> {
  encode(value: T): Uint8Array | Promise<Uint8Array>;
  /** `bytes` are what `encode` returned, in memory that belongs to the value from then on. */
  decode(bytes: Buffer): T | Promise<T>;
}

/** Values that are bytes already. */
export const bytesCodec: Codec<Uint8Array> = { encode: (value) => value, decode: (bytes) => bytes };

/** Values that JSON can express, without `undefined`, dates or binary data inside. */
export function jsonCodec<T>(): Codec<T> {
  return {
    encode: (value) => Buffer.from(JSON.stringify(value)),
    decode: (bytes) => JSON.parse(bytes.toString()) as T,
  };
}
