import { listPage, nameOfToken } from "./list-page.js";
import type { StoredObject } from "./objects.js";

const HEADER = '<?xml version="1.0" encoding="UTF-8"?>\n';

/** The messages of S3's error codes. */
const messages: Record<string, string> = {
  AccessDenied: "Access Denied",
  InternalError: "We encountered an internal error. Please try again.",
  InvalidRange: "The requested range is not satisfiable",
  InvalidURI: "Couldn't parse the specified URI.",
  MethodNotAllowed: "The specified method is not allowed against this resource.",
  NoSuchBucket: "The specified bucket does not exist",
  NoSuchKey: "The specified key does not exist.",
  PreconditionFailed: "At least one of the pre-conditions you specified did not hold",
  SlowDown: "Please reduce your request rate.",
};

export function errorXml(code: string, resource: string): string {
  const message = messages[code] ?? code;
  return `${HEADER}<Error><Code>${code}</Code><Message>${escapeXml(message)}</Message><Resource>${escapeXml(resource)}</Resource></Error>`;
}

/** The response to GetBucketLocation in us-east-1. */
export const LOCATION_XML = `${HEADER}<LocationConstraint xmlns="http://s3.amazonaws.com/doc/2006-03-01/"/>`;

/** Sub-resources that are neither an object's bytes nor a listing. The emulator knows tagging and versioning, and refuses the others. */
export const SUBRESOURCES = ["acl", "attributes", "cors", "policy", "tagging", "uploadId", "uploads", "versioning", "versions"];

/** Returns the response to a GET of a sub-resource; undefined: the emulator refuses it. */
export function subresourceXml(name: string): string | undefined {
  if (name === "tagging") return `${HEADER}<Tagging><TagSet><Tag><Key>team</Key><Value>lake</Value></Tag></TagSet></Tagging>`;
  return name === "versioning"
    ? `${HEADER}<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>`
    : undefined;
}

/** The owner of every object. */
const OWNER = { id: "75aa57f09aa0c8caeab4f8c24e99d10f8e7faeebf76c078efc7c6caea54ba06a", name: "somebody" };
const OWNER_XML = `<Owner><ID>${OWNER.id}</ID><DisplayName>${OWNER.name}</DisplayName></Owner>`;

/** Returns the response of ListBuckets. */
export function bucketsXml(names: readonly string[]): string {
  const buckets = names.map(
    (name) => `<Bucket><Name>${name}</Name><CreationDate>2024-11-01T12:00:00.000Z</CreationDate></Bucket>`,
  );
  return `${HEADER}<ListAllMyBucketsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">${OWNER_XML}<Buckets>${buckets.join("")}</Buckets></ListAllMyBucketsResult>`;
}

/** Returns whether a listing accepts the query. */
export function isListQuery(query: URLSearchParams): boolean {
  const maxKeys = query.get("max-keys") || "1000";
  return /^\d{1,9}$/.test(maxKeys) && ["", "url", null].includes(query.get("encoding-type"));
}

/** Returns the response of a listing to a query, in S3's first form, or in the second one (ListObjectsV2). */
export function listXml(bucket: string, objects: readonly StoredObject[], query: URLSearchParams, form: 1 | 2): string {
  const isUrl = query.get("encoding-type") === "url";
  const name = (text: string): string => escapeXml(isUrl ? escapeUrl(text) : text);
  const asked = (element: string, parameter: string, encode = escapeXml): string => {
    const value = query.get(parameter);
    return value === null || (value === "" && parameter !== "continuation-token")
      ? ""
      : `<${element}>${encode(value)}</${element}>`;
  };
  const limit = Math.min(1000, Number(query.get("max-keys") || 1000));
  const [delimiter, prefix] = [query.get("delimiter") ?? "", query.get("prefix") ?? ""];
  const token = query.get("continuation-token") || null;
  const marker = query.get("marker") ?? "";
  const after = form === 1 ? marker : token === null ? (query.get("start-after") ?? "") : nameOfToken(token);
  const page = listPage(objects, { prefix, delimiter, limit, after });
  const { nextToken } = page;
  const withOwner = form === 1 || query.get("fetch-owner") === "true";
  const contents = page.objects.map(
    (object) =>
      `<Contents><Key>${name(object.key)}</Key><LastModified>${new Date(object.lastModifiedMs).toISOString()}</LastModified>` +
      `<ETag>${escapeXml(object.version)}</ETag><Size>${object.size}</Size>${withOwner ? OWNER_XML : ""}<StorageClass>STANDARD</StorageClass></Contents>`,
  );
  const folded = page.prefixes.map((each) => `<CommonPrefixes><Prefix>${name(each)}</Prefix></CommonPrefixes>`);
  const first =
    `<Marker>${name(marker)}</Marker>` +
    (nextToken === undefined || delimiter === "" ? "" : `<NextMarker>${name(nameOfToken(nextToken))}</NextMarker>`);
  const second =
    `${asked("StartAfter", "start-after", name)}${asked("ContinuationToken", "continuation-token")}` +
    `${nextToken === undefined ? "" : `<NextContinuationToken>${nextToken}</NextContinuationToken>`}` +
    `<KeyCount>${page.objects.length + page.prefixes.length}</KeyCount>`;
  return (
    `${HEADER}<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>${escapeXml(bucket)}</Name>` +
    `<Prefix>${form === 1 ? escapeXml(prefix) : name(prefix)}</Prefix>${form === 1 ? first : second}<MaxKeys>${limit}</MaxKeys>${asked("Delimiter", "delimiter", name)}` +
    `${isUrl ? "<EncodingType>url</EncodingType>" : ""}<IsTruncated>${nextToken !== undefined}</IsTruncated>` +
    `${contents.join("")}${folded.join("")}</ListBucketResult>`
  );
}

/** Escapes a name as S3 does in listings: form encoding, except for the slash. */
export function escapeUrl(text: string): string {
  return encodeURIComponent(text)
    .replaceAll("%20", "+")
    .replaceAll("%2F", "/")
    .replace(/[!'()~]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`);
}

/** Escapes a text, also its line breaks. */
export function escapeXml(text: string): string {
  return text.replace(/[&<>"']|(?![\t\n])\p{Cc}/gu, (character) => `&#${character.charCodeAt(0)};`);
}
