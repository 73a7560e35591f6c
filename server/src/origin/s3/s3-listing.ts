import type {
  _Object,
  ListBucketsCommandOutput,
  ListObjectsCommandInput,
  ListObjectsCommandOutput,
  ListObjectsV2CommandInput,
  ListObjectsV2CommandOutput,
} from "@aws-sdk/client-s3";
import { type BucketRef, type PrefixRef, versionOfStoreTag } from "@frontcache/proto";
import { UnusableAnswer } from "../checked-answer.js";
import type { BucketList, ListedObject, Listing, ListPage, ObjectOwner } from "../origin.js";

/** The two forms of S3's listing. */
export interface ListCommands {
  /** ListObjectsV2. */
  v2(input: ListObjectsV2CommandInput): Promise<ListObjectsV2CommandOutput>;
  /** ListObjects, which stores without the second form have. */
  v1(input: ListObjectsCommandInput): Promise<ListObjectsCommandOutput>;
}

/** The beginning of tokens that contain the name after which a page of a store without ListObjectsV2 begins. */
const MARKER_TOKEN = "frontcache-marker.";

/**
 * One page of a bucket: by ListObjectsV2, and by ListObjects if the store knows only that. Such a store answers with 501, or ignores
 * the parameters of the second form; then its answer has no number of keys. Throws UNAVAILABLE for an answer that is not S3's.
 */
export async function listObjects(commands: ListCommands, ref: PrefixRef, page: ListPage): Promise<Listing> {
  const marker = markerOf(page.token);
  if (marker === undefined) {
    const output = await commands.v2(listInput(ref, page)).catch(unlessNotImplemented);
    if (output !== undefined && !isFirstForm(output, page)) return listingOf(ref, output);
  }
  const { token: _, startAfter, ...rest } = page;
  const output = await commands.v1({
    ...listInput(ref, rest),
    ...((marker ?? startAfter) !== undefined && { Marker: marker ?? startAfter }),
  });
  return listingOf(ref, { ...output, ...tokenOf(ref, output) });
}

/** The request of a page. Names are requested escaped, because XML cannot represent all characters of keys. */
function listInput({ bucket, prefix }: PrefixRef, page: ListPage) {
  const { delimiter, maxKeys, token, startAfter, withOwners } = page;
  return {
    Bucket: bucket,
    MaxKeys: maxKeys,
    EncodingType: "url" as const,
    ...(prefix !== "" && { Prefix: prefix }),
    ...(delimiter !== "" && { Delimiter: delimiter }),
    ...(token !== undefined && { ContinuationToken: token }),
    ...(startAfter !== undefined && { StartAfter: startAfter }),
    ...(withOwners === true && { FetchOwner: true }),
  };
}

/** A page of S3's answer. Throws UNAVAILABLE if names or sizes are missing, or the token of the next page. */
export function listingOf(ref: BucketRef, output: ListObjectsV2CommandOutput): Listing {
  const nameOf = namesOf(ref, output);
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

/** The buckets in S3's answer. */
export function bucketListOf({ Buckets = [], Owner }: ListBucketsCommandOutput): BucketList {
  const buckets = Buckets.flatMap(({ Name, CreationDate, BucketRegion }) =>
    Name === undefined
      ? []
      : [
          {
            name: Name,
            ...(CreationDate !== undefined && { createdMs: CreationDate.getTime() }),
            ...(BucketRegion !== undefined && { region: BucketRegion }),
          },
        ],
  );
  return { buckets, ...(Owner?.ID !== undefined && { owner: ownerOf(Owner.ID, Owner.DisplayName) }) };
}

/** The error of a success that is not S3's. */
export function notS3(ref: BucketRef, cause?: unknown): UnusableAnswer {
  return new UnusableAnswer(ref, "is not S3's XML: check the endpoint, and proxies in front of it", cause);
}

/** Whether a store took a request of the second form for one of the first, which would begin each page at the same place. */
function isFirstForm(output: ListObjectsV2CommandOutput, { token, startAfter }: ListPage): boolean {
  if (output.KeyCount !== undefined || output.NextContinuationToken || output.Name === undefined) return false;
  return output.IsTruncated === true || token !== undefined || (startAfter !== undefined && output.StartAfter === undefined);
}

function unlessNotImplemented(error: unknown): undefined {
  const { name, $metadata } = (error ?? {}) as {
    readonly name?: string;
    readonly $metadata?: { readonly httpStatusCode?: number };
  };
  if (name !== "NotImplemented" && $metadata?.httpStatusCode !== 501) throw error;
  return undefined;
}

function markerOf(token: string | undefined): string | undefined {
  if (token?.startsWith(MARKER_TOKEN) !== true) return undefined;
  return Buffer.from(token.slice(MARKER_TOKEN.length), "base64url").toString();
}

/** The token of the page after one of the first form: S3 names the next marker only in a grouped listing. */
function tokenOf(ref: BucketRef, output: ListObjectsCommandOutput): { NextContinuationToken?: string } {
  if (output.IsTruncated !== true) return {};
  const nameOf = namesOf(ref, output);
  const lasts = [output.Contents?.at(-1)?.Key, output.CommonPrefixes?.at(-1)?.Prefix].filter((name) => name !== undefined);
  const named = (output.NextMarker ? [output.NextMarker] : lasts).map((name) => Buffer.from(nameOf(name)));
  const last = named.sort(Buffer.compare).at(-1);
  return last === undefined ? {} : { NextContinuationToken: MARKER_TOKEN + last.toString("base64url") };
}

/** Stores that do not support the encoding answer without it. */
function namesOf(ref: BucketRef, { EncodingType }: Pick<ListObjectsV2CommandOutput, "EncodingType">) {
  return (name: string | undefined): string => (EncodingType === "url" ? unescaped(ref, name) : named(ref, name));
}

function listedObject(ref: BucketRef, key: string, object: _Object): ListedObject {
  const { Size, ETag, LastModified, StorageClass, Owner, ChecksumAlgorithm, ChecksumType } = object;
  if (!Number.isSafeInteger(Size)) throw new UnusableAnswer(ref, "lists an object without its size");
  const version = versionOfStoreTag(ETag);
  const lastModifiedMs = LastModified?.getTime();
  return {
    key,
    objectSize: Size!,
    ...(version !== undefined && { version }),
    ...(lastModifiedMs !== undefined && { lastModifiedMs }),
    ...(StorageClass !== undefined && { storageClass: StorageClass }),
    ...(Owner?.ID !== undefined && { owner: ownerOf(Owner.ID, Owner.DisplayName) }),
    ...(ChecksumAlgorithm !== undefined && ChecksumAlgorithm.length > 0 && { checksumAlgorithms: ChecksumAlgorithm }),
    ...(ChecksumType !== undefined && { checksumType: ChecksumType }),
  };
}

function ownerOf(id: string, displayName: string | undefined): ObjectOwner {
  return { id, ...(displayName !== undefined && { displayName }) };
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
