import type { StoredObject } from "./objects.js";

/** What a client says about an object that it writes. */
export type GcsResource = Readonly<Record<string, unknown>>;

/** The objects of an emulator. */
export interface GcsStore {
  find(bucket: string, key: string): StoredObject | undefined;
  bytesOf(object: StoredObject): Buffer;
  resourceOf(object: StoredObject): GcsResource;
  /** Stores a generation; returns it. */
  store(bucket: string, key: string, bytes: Buffer, resource: GcsResource): StoredObject;
  /** Replaces the metadata of the generation. */
  describe(object: StoredObject, bucket: string, resource: GcsResource): StoredObject;
  remove(bucket: string, key: string): void;
  hasBucket(bucket: string): boolean;
  /** An object as the JSON API describes it. */
  describedAs(bucket: string, object: StoredObject): Record<string, unknown>;
  hashesOf(bytes: Buffer): { readonly crc32c: string; readonly md5Hash: string };
}
