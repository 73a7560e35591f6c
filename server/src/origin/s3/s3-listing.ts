import type { _Object, ListObjectsV2CommandInput, ListObjectsV2CommandOutput } from "@aws-sdk/client-s3";
import { type BucketRef, type PrefixRef, versionOfStoreTag } from "@frontcache/proto";
import { UnusableAnswer } from "../checked-answer.js";
import type { ListedObject, Listing, ListPage } from "../origin.js";

/** The request of a page. Names are requested escaped, because XML cannot represent all characters of keys. */
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

/** A page of S3's answer. Throws UNAVAILABLE if names or sizes are missing, or the token of the next page. */
export function listingOf(ref: BucketRef, output: ListObjectsV2CommandOutput): Listing {
  // Stores that do not support the encoding answer without it.
  const nameOf =
    output.EncodingType === "url"
      ? (name: string | undefined) => unescaped(ref, name)
      : (name: string | undefined) => named(ref, name);
  const { IsTruncated, NextContinuationToken: nextToken, Name, KeyCount, Contents } = output;
  // The SDK reads any well-formed XML, and an empty body, as a listing of nothing. S3 always names the bucket and counts the keys.
  if ([IsTruncated, Name, KeyCount, Contents].every((field) => field === undefined)) throw notS3(ref);
  if (IsTruncated === true && !nextToken) throw new UnusableAnswer(ref, "is truncated but has no token for the rest");
  return {
    objects: (output.Contents ?? []).map((object) => listedObject(ref, nameOf(object.Key), object)),
    prefixes: (output.CommonPrefixes ?? []).map(({ Prefix }) => nameOf(Prefix)),
    ...(IsTruncated === true && { nextToken: nextToken! }),
  };
}

/** The error of a success that is not S3's. */
export function notS3(ref: BucketRef, cause?: unknown): UnusableAnswer {
  return new UnusableAnswer(ref, "is not S3's XML: check the endpoint, and proxies in front of it", cause);
}

function listedObject(ref: BucketRef, key: string, object: _Object): ListedObject {
  const { Size, ETag, LastModified, StorageClass } = object;
  if (!Number.isSafeInteger(Size)) throw new UnusableAnswer(ref, "lists an object without its size");
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
  if (name === undefined || name === "") throw new UnusableAnswer(ref, "lists an object without its name");
  return name;
}

/** Escaped as in forms: a space may be a plus sign. */
function unescaped(ref: BucketRef, name: string | undefined): string {
  try {
    return decodeURIComponent(named(ref, name).replaceAll("+", " "));
  } catch (error) {
    if (error instanceof URIError) throw new UnusableAnswer(ref, "lists a wrongly escaped name");
    throw error;
  }
}
