import type { _Object, ListObjectsV2CommandInput, ListObjectsV2CommandOutput } from "@aws-sdk/client-s3";
import { type BucketRef, type PrefixRef, versionOfStoreTag } from "@frontcache/proto";
import { unusable } from "../checked-answer.js";
import type { ListedObject, Listing, ListPage } from "../origin.js";

/** A page's request. Names are asked for escaped, because XML has no way to write some characters that keys may have. */
export function listInput({ bucket, prefix }: PrefixRef, page: ListPage): ListObjectsV2CommandInput {
  const { delimiter, maxKeys, token, startAfter } = page;
  return {
    Bucket: bucket,
    MaxKeys: maxKeys,
    EncodingType: "url",
    ...(prefix !== "" && { Prefix: prefix }),
    ...(delimiter !== "" && { Delimiter: delimiter }),
    ...(token !== undefined && { ContinuationToken: token }),
    ...(startAfter !== undefined && { StartAfter: startAfter }),
  };
}

/** A page as S3 answered it. Throws UNAVAILABLE where names or sizes are missing, or the way to the rest. */
export function listingOf(ref: BucketRef, output: ListObjectsV2CommandOutput): Listing {
  // Stores that don't know the encoding answer without it, and without saying so.
  const nameOf =
    output.EncodingType === "url"
      ? (name: string | undefined) => unescaped(ref, name)
      : (name: string | undefined) => named(ref, name);
  const { IsTruncated, NextContinuationToken: nextToken } = output;
  if (IsTruncated === true && !nextToken) throw unusable(ref, "names no way to the rest of the listing");
  return {
    objects: (output.Contents ?? []).map((object) => listedObject(ref, nameOf(object.Key), object)),
    prefixes: (output.CommonPrefixes ?? []).map(({ Prefix }) => nameOf(Prefix)),
    ...(IsTruncated === true && { nextToken: nextToken! }),
  };
}

function listedObject(ref: BucketRef, key: string, object: _Object): ListedObject {
  const { Size, ETag, LastModified, StorageClass } = object;
  if (!Number.isSafeInteger(Size)) throw unusable(ref, "lists an object without its size");
  const version = versionOfStoreTag(ETag);
  const lastModifiedMs = LastModified?.getTime();
  return {
    key,
    objectSize: Size!,
    ...(version !== undefined && { version }),
    ...(lastModifiedMs !== undefined && { lastModifiedMs }),
    ...(StorageClass !== undefined && { storageClass: StorageClass }),
  };
}

function named(ref: BucketRef, name: string | undefined): string {
  if (name === undefined || name === "") throw unusable(ref, "lists an object without its name");
  return name;
}

/** As forms escape: a space may be a plus sign. */
function unescaped(ref: BucketRef, name: string | undefined): string {
  try {
    return decodeURIComponent(named(ref, name).replaceAll("+", " "));
  } catch (error) {
    if (error instanceof URIError) throw unusable(ref, "lists a name that is escaped wrongly");
    throw error;
  }
}
