import type { BucketRef, PrefixRef } from "@frontcache/proto";
import { UnusableAnswer } from "../checked-answer.js";
import type { ListedBucket, ListedObject, Listing, ListPage } from "../origin.js";

/** The requested fields of GCS's listing. Numbers are text; any field may be missing. */
export interface GcsListing {
  readonly items?: readonly GcsItem[];
  readonly prefixes?: readonly string[];
  readonly nextPageToken?: string;
}

interface GcsItem {
  readonly name?: string;
  readonly generation?: string;
  readonly size?: string;
  readonly updated?: string;
  readonly storageClass?: string;
}

const FIELDS = "items(name,generation,size,updated,storageClass),prefixes,nextPageToken";

/** The query of a page, without the question mark. */
export function gcsListQuery({ prefix }: PrefixRef, { delimiter, maxKeys, token, startAfter }: ListPage): string {
  return new URLSearchParams({
    fields: FIELDS,
    maxResults: String(maxKeys),
    ...(prefix !== "" && { prefix }),
    ...(delimiter !== "" && { delimiter }),
    ...(token !== undefined && { pageToken: token }),
    ...(startAfter !== undefined && { startOffset: startAfter }),
  }).toString();
}

/** A page of GCS's answer. Throws UNAVAILABLE if names or sizes are missing. */
export function gcsListing(ref: BucketRef, { startAfter }: ListPage, listing: GcsListing): Listing {
  const { items = [], prefixes = [], nextPageToken } = listing;
  return {
    // GCS starts with the given name, S3 after it.
    objects: items.filter(({ name }) => startAfter === undefined || name !== startAfter).map((item) => listedObject(ref, item)),
    prefixes,
    ...(nextPageToken !== undefined && { nextToken: nextPageToken }),
  };
}

/** The requested fields of GCS's list of buckets. */
export interface GcsBuckets {
  readonly items?: readonly { readonly name?: string; readonly timeCreated?: string; readonly location?: string }[];
  readonly nextPageToken?: string;
}

/** The value of the `fields` parameter that requests them. */
export const GCS_BUCKET_FIELDS = "items(name,timeCreated,location),nextPageToken";

/** S3's maximum, too. */
export const MAX_LISTED_BUCKETS = 10_000;

/** The buckets of a page. */
export function bucketsOf({ items = [] }: GcsBuckets): ListedBucket[] {
  return items.flatMap(({ name, timeCreated, location }) => {
    if (typeof name !== "string") return [];
    const createdMs = Date.parse(timeCreated ?? "");
    return [{ name, ...(Number.isFinite(createdMs) && { createdMs }), ...(location !== undefined && { region: location }) }];
  });
}

/** The generations in the text of a listing. None if it has another form. */
export function listedVersions(text: string): { key: string; version: string | undefined }[] {
  try {
    const { items = [] } = JSON.parse(text) as GcsListing;
    return items.flatMap(({ name, generation }) => (name === undefined ? [] : [{ key: name, version: generation }]));
  } catch {
    return [];
  }
}

/** A modification time in whole seconds, as in the Last-Modified header of a range. */
export function modifiedMs(updated: string | undefined): number | undefined {
  return updated === undefined ? undefined : Math.floor(Date.parse(updated) / 1000) * 1000;
}

function listedObject(ref: BucketRef, { name, generation, size, updated, storageClass }: GcsItem): ListedObject {
  const objectSize = Number(size);
  if (name === undefined || !Number.isSafeInteger(objectSize))
    throw new UnusableAnswer(ref, "lists an object without its name or size");
  const lastModifiedMs = modifiedMs(updated);
  return {
    key: name,
    objectSize,
    ...(generation !== undefined && { version: generation }),
    ...(lastModifiedMs !== undefined && Number.isFinite(lastModifiedMs) && { lastModifiedMs }),
    ...(storageClass !== undefined && { storageClass }),
  };
}
