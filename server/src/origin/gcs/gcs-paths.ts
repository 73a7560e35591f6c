import type { BucketRef, ObjectRef } from "@frontcache/proto";

/** The path of a bucket in GCS's JSON API. */
export function bucketPath({ bucket }: BucketRef): string {
  return `/storage/v1/b/${encodeURIComponent(bucket)}`;
}

/** The path of a bucket's objects with a query. */
export function objectsPath(ref: BucketRef, query: string): string {
  return `${bucketPath(ref)}/o?${query}`;
}

/**
 * The path of an object with a query. A key of the form `key?generation=N` names a generation, as that of an S3 object may name a
 * version.
 */
export function objectPath(ref: ObjectRef, query: string): string {
  const [, named = ref.key, generation] = /^(.+)\?generation=(\d{1,20})$/s.exec(ref.key) ?? [];
  const all = generation === undefined ? query : `generation=${generation}&${query}`;
  return `${bucketPath(ref)}/o/${encodeURIComponent(named)}?${all}`;
}

/** The path of a bucket or an object in GCS's XML API with a query. A parameter without a value has an empty one. */
export function xmlPath(ref: BucketRef | ObjectRef, query: readonly (readonly [name: string, value: string])[]): string {
  const path = `/${encodeURIComponent(ref.bucket)}${"key" in ref ? `/${encodeURIComponent(ref.key)}` : ""}`;
  const parameters = query.map(([name, value]) => (value === "" ? name : `${name}=${encodeURIComponent(value)}`));
  return parameters.length === 0 ? path : `${path}?${parameters.join("&")}`;
}
