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

/** Returns whether ListObjectsV2 accepts the query. */
export function isListQuery(query: URLSearchParams): boolean {
  const maxKeys = query.get("max-keys") || "1000";
  return (
    /^\d{1,9}$/.test(maxKeys) && ["", "url", null].includes(query.get("encoding-type")) && query.get("continuation-token") !== ""
  );
}

/** Returns the response of ListObjectsV2 to a query. */
export function listXml(bucket: string, objects: readonly StoredObject[], query: URLSearchParams): string {
  const isUrl = query.get("encoding-type") === "url";
  const name = (text: string): string => escapeXml(isUrl ? escapeUrl(text) : text);
  const asked = (element: string, parameter: string, encode = escapeXml): string => {
    const value = query.get(parameter);
    return value === null || value === "" ? "" : `<${element}>${encode(value)}</${element}>`;
  };
  const limit = Math.min(1000, Number(query.get("max-keys") || 1000));
  const token = query.get("continuation-token");
  const {
    objects: page,
    prefixes,
    nextToken,
  } = listPage(objects, {
    prefix: query.get("prefix") ?? "",
    delimiter: query.get("delimiter") ?? "",
    limit,
    after: token === null ? (query.get("start-after") ?? "") : nameOfToken(token),
  });
  const contents = page.map(
    (object) =>
      `<Contents><Key>${name(object.key)}</Key><LastModified>${new Date(object.lastModifiedMs).toISOString()}</LastModified>` +
      `<ETag>${escapeXml(object.version)}</ETag><Size>${object.size}</Size><StorageClass>STANDARD</StorageClass></Contents>`,
  );
  const folded = prefixes.map((prefix) => `<CommonPrefixes><Prefix>${name(prefix)}</Prefix></CommonPrefixes>`);
  return (
    `${HEADER}<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>${escapeXml(bucket)}</Name>` +
    `<Prefix>${name(query.get("prefix") ?? "")}</Prefix>${asked("StartAfter", "start-after", name)}` +
    asked("ContinuationToken", "continuation-token") +
    `${nextToken === undefined ? "" : `<NextContinuationToken>${nextToken}</NextContinuationToken>`}` +
    `<KeyCount>${page.length + prefixes.length}</KeyCount><MaxKeys>${limit}</MaxKeys>${asked("Delimiter", "delimiter", name)}` +
    `${isUrl ? "<EncodingType>url</EncodingType>" : ""}<IsTruncated>${nextToken !== undefined}</IsTruncated>` +
    `${contents.join("")}${folded.join("")}</ListBucketResult>`
  );
}

/** Escapes a name as S3 does in listings: form encoding, except for the slash. */
function escapeUrl(text: string): string {
  return encodeURIComponent(text).replaceAll("%20", "+").replaceAll("%2F", "/");
}

function escapeXml(text: string): string {
  return text.replace(/[&<>"']|(?![\t\n])\p{Cc}/gu, (character) => `&#${character.charCodeAt(0)};`);
}
