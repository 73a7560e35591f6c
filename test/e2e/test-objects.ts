import type { CacheClient } from "@frontcache/client";
import type { CacheServiceClient } from "@frontcache/client/grpc";
import type { ReadRangeResponse } from "@frontcache/proto";
import { rampBytes } from "../emulators/s3.js";

export const MiB = 1 << 20;

/** Block size of the tested clusters: one segment, so that many blocks can be filled quickly. */
export const BLOCK_BYTES = MiB;

/** An object of the origin whose bytes are known. */
export interface TestObject {
  readonly url: string;
  readonly key: string;
  readonly version: string;
  readonly blocks: number;
  readonly seed: number;
}

/** Returns whether these are the object's bytes in that range. */
export function isRight(bytes: Buffer, { seed }: TestObject, { offset, length }: { offset: number; length: number }): boolean {
  return bytes.equals(rampBytes(offset, length, seed));
}

/** Returns the bytes of a member's response to a read; `forwarded`: as if another member sent it. */
export async function readFrom(
  client: CacheServiceClient,
  { url, version }: TestObject,
  { offset, length, forwarded = false }: { offset: number; length: number; forwarded?: boolean },
): Promise<Buffer> {
  const messages: Buffer[] = [];
  const call = client.readRange({ key: url, offset, length, version, forwarded, cachedOnly: false });
  for await (const { data } of call as AsyncIterable<ReadRangeResponse>) messages.push(data);
  return Buffer.concat(messages);
}

/** Reads whole objects with a client, two concurrently, and checks every byte. */
export async function readAll(client: CacheClient, objects: readonly TestObject[]): Promise<void> {
  const left = [...objects];
  const reader = async (): Promise<void> => {
    for (let object = left.pop(); object !== undefined; object = left.pop()) {
      const length = object.blocks * BLOCK_BYTES;
      const bytes = await client.readRange(object.url, 0, length, object.version);
      if (!isRight(bytes, object, { offset: 0, length })) throw new Error(`wrong bytes of ${object.url}`);
    }
  };
  await Promise.all([reader(), reader()]);
}
