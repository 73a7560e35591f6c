import { entityTagOf } from "@frontcache/proto";
import type { BucketInfo, ListedBucket, ListedObject, Listing, ObjectOwner } from "../../origin/origin.js";
import type { FirstListRequest, ListRequest } from "./list-request.js";
import { nameXml, XML_HEADER } from "./xml.js";

const NAMESPACE = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"';

/** S3's ordinary storage class, for objects of stores that name none. */
const ORDINARY_CLASS = "STANDARD";

/** S3's first region has no name in the answer to GetBucketLocation. */
export const FIRST_REGION = "us-east-1";

/** The answer to GetBucketLocation. A bucket whose origin names no region is in S3's first one. */
export function locationXml({ region = FIRST_REGION }: BucketInfo): string {
  const name = region === FIRST_REGION ? "/>" : `>${nameXml(region)}</LocationConstraint>`;
  return `${XML_HEADER}<LocationConstraint ${NAMESPACE}${name}`;
}

/** A page of ListBuckets. */
export interface BucketPage {
  readonly buckets: readonly ListedBucket[];
  readonly prefix: string | undefined;
  readonly nextToken: string | undefined;
}

/** The answer to ListBuckets. Clients require a date: a bucket whose date is unknown has the beginning of 1970. */
export function bucketsXml({ buckets, prefix, nextToken }: BucketPage, owner: ObjectOwner = { id: "frontcache" }): string {
  const listed = buckets.map(
    ({ name, createdMs = 0, region }) =>
      `<Bucket><Name>${nameXml(name)}</Name><CreationDate>${new Date(createdMs).toISOString()}</CreationDate>` +
      `${element("BucketRegion", region)}</Bucket>`,
  );
  return (
    `${XML_HEADER}<ListAllMyBucketsResult ${NAMESPACE}>${ownerXml(owner)}<Buckets>${listed.join("")}</Buckets>` +
    `${element("ContinuationToken", nextToken)}${element("Prefix", prefix)}</ListAllMyBucketsResult>`
  );
}

/** The answer to ListObjectsV2. */
export function listingXml(request: ListRequest, { objects, prefixes, nextToken }: Listing): string {
  const { page, token } = request;
  const name = nameWriter(request);
  return listXml(
    request,
    [
      element("StartAfter", page.startAfter, name),
      element("ContinuationToken", token),
      element("NextContinuationToken", nextToken),
      `<KeyCount>${objects.length + prefixes.length}</KeyCount>`,
    ],
    { objects, prefixes, isTruncated: nextToken !== undefined },
  );
}

/** The answer to ListObjects. S3 names the next marker only in grouped listings, where the last key is not enough. */
export function firstListingXml(
  request: FirstListRequest,
  { objects, prefixes }: Pick<Listing, "objects" | "prefixes">,
  nextMarker: string | undefined,
): string {
  const name = nameWriter(request);
  const next = request.page.delimiter === "" ? undefined : nextMarker;
  return listXml(request, [`<Marker>${name(request.marker)}</Marker>`, element("NextMarker", next, name)], {
    objects,
    prefixes,
    isTruncated: nextMarker !== undefined,
  });
}

interface ListedPage extends Pick<Listing, "objects" | "prefixes"> {
  readonly isTruncated: boolean;
}

/** What both forms have in common. `own`: the elements of one of them. */
function listXml(request: ListRequest | FirstListRequest, own: readonly string[], listed: ListedPage): string {
  const { ref, page, isEscaped } = request;
  const name = nameWriter(request);
  // The AWS SDK for Python does not decode the prefix of the first form, and Ceph does not escape it.
  const prefix = "marker" in request ? nameXml(ref.prefix) : name(ref.prefix);
  const parts = [
    `${XML_HEADER}<ListBucketResult ${NAMESPACE}><Name>${nameXml(ref.bucket)}</Name><Prefix>${prefix}</Prefix>`,
    ...own,
    `<MaxKeys>${page.maxKeys}</MaxKeys>`,
  ];
  if (page.delimiter !== "") parts.push(`<Delimiter>${name(page.delimiter)}</Delimiter>`);
  if (isEscaped) parts.push("<EncodingType>url</EncodingType>");
  parts.push(`<IsTruncated>${listed.isTruncated}</IsTruncated>`);
  for (const object of listed.objects) parts.push(contentsXml(object, name));
  for (const prefix of listed.prefixes) parts.push(`<CommonPrefixes><Prefix>${name(prefix)}</Prefix></CommonPrefixes>`);
  parts.push("</ListBucketResult>");
  return parts.join("");
}

function contentsXml(object: ListedObject, name: (text: string) => string): string {
  const { key, objectSize, version, lastModifiedMs, storageClass, owner, checksumAlgorithms = [], checksumType } = object;
  const modified = lastModifiedMs === undefined ? undefined : new Date(lastModifiedMs).toISOString();
  return [
    `<Contents><Key>${name(key)}</Key>`,
    element("LastModified", modified),
    element("ETag", version && entityTagOf(version)),
    ...checksumAlgorithms.map((algorithm) => element("ChecksumAlgorithm", algorithm)),
    element("ChecksumType", checksumType),
    `<Size>${objectSize}</Size>`,
    owner === undefined ? "" : ownerXml(owner),
    `<StorageClass>${nameXml(storageClass ?? ORDINARY_CLASS)}</StorageClass></Contents>`,
  ].join("");
}

function ownerXml({ id, displayName }: ObjectOwner): string {
  return `<Owner>${element("ID", id)}${element("DisplayName", displayName)}</Owner>`;
}

/** Nothing for a missing value. */
function element(tag: string, value: string | undefined, write: (text: string) => string = nameXml): string {
  return value === undefined ? "" : `<${tag}>${write(value)}</${tag}>`;
}

/** How names are written: delimiter, markers and prefixes are names, too. */
function nameWriter({ isEscaped }: Pick<ListRequest, "isEscaped">): (text: string) => string {
  return isEscaped ? (text) => nameXml(escapeName(text)) : nameXml;
}

/** Escapes a name as S3 does: like a form, without the slash. All other characters that some client decodes are escaped. */
function escapeName(name: string): string {
  return encodeURIComponent(name)
    .replaceAll("%20", "+")
    .replaceAll("%2F", "/")
    .replace(/[!'()~]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`);
}
