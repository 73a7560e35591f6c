import { entityTagOf } from "@frontcache/proto";
import type { BucketInfo, ListedObject, Listing } from "../../origin/origin.js";
import type { ListRequest } from "./bucket-query.js";
import { nameXml, XML_HEADER } from "./xml.js";

const NAMESPACE = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"';

/** Where a store says nothing of it, the class that S3 calls the ordinary one. */
const ORDINARY_CLASS = "STANDARD";

/** S3's first region has no name in the answer to GetBucketLocation. */
const FIRST_REGION = "us-east-1";

/** The answer to GetBucketLocation. A bucket whose origin names no region is in S3's first one. */
export function locationXml({ region = FIRST_REGION }: BucketInfo): string {
  const name = region === FIRST_REGION ? "/>" : `>${nameXml(region)}</LocationConstraint>`;
  return `${XML_HEADER}<LocationConstraint ${NAMESPACE}${name}`;
}

/** The answer to ListObjectsV2. Names are escaped where they are asked for so; delimiter and the two prefixes are names, too. */
export function listingXml({ ref, page, escaped }: ListRequest, { objects, prefixes, nextToken }: Listing): string {
  const name = (text: string): string => nameXml(escaped ? escapeName(text) : text);
  const parts = [
    `${XML_HEADER}<ListBucketResult ${NAMESPACE}><Name>${nameXml(ref.bucket)}</Name><Prefix>${name(ref.prefix)}</Prefix>`,
  ];
  if (page.startAfter !== undefined) parts.push(`<StartAfter>${name(page.startAfter)}</StartAfter>`);
  if (page.token !== undefined) parts.push(`<ContinuationToken>${nameXml(page.token)}</ContinuationToken>`);
  if (nextToken !== undefined) parts.push(`<NextContinuationToken>${nameXml(nextToken)}</NextContinuationToken>`);
  parts.push(`<KeyCount>${objects.length + prefixes.length}</KeyCount><MaxKeys>${page.maxKeys}</MaxKeys>`);
  if (page.delimiter !== "") parts.push(`<Delimiter>${name(page.delimiter)}</Delimiter>`);
  if (escaped) parts.push("<EncodingType>url</EncodingType>");
  parts.push(`<IsTruncated>${nextToken !== undefined}</IsTruncated>`);
  for (const object of objects) parts.push(contentsXml(object, name));
  for (const prefix of prefixes) parts.push(`<CommonPrefixes><Prefix>${name(prefix)}</Prefix></CommonPrefixes>`);
  parts.push("</ListBucketResult>");
  return parts.join("");
}

function contentsXml({ key, objectSize, version, lastModifiedMs, storageClass }: ListedObject, name: (text: string) => string) {
  const modified = lastModifiedMs === undefined ? "" : `<LastModified>${new Date(lastModifiedMs).toISOString()}</LastModified>`;
  const etag = version === undefined ? "" : `<ETag>${nameXml(entityTagOf(version))}</ETag>`;
  const storage = `<StorageClass>${nameXml(storageClass ?? ORDINARY_CLASS)}</StorageClass>`;
  return `<Contents><Key>${name(key)}</Key>${modified}${etag}<Size>${objectSize}</Size>${storage}</Contents>`;
}

/** As S3 escapes a name, like a form but for the slash. */
function escapeName(name: string): string {
  return encodeURIComponent(name).replaceAll("%20", "+").replaceAll("%2F", "/");
}
