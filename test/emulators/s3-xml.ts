import type { StoredObject } from "./objects.js";

const HEADER = '<?xml version="1.0" encoding="UTF-8"?>\n';

/** What S3 says beside its error codes. */
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

/** One page of ListObjectsV2. */
export interface Listing {
  readonly objects: readonly StoredObject[];
  readonly prefixes: readonly string[];
  readonly nextToken: string | undefined;
}

/** ListObjectsV2's answer to a query of the bucket. Tokens are the last name of the page, in base64url. */
export function listXml(bucket: string, objects: readonly StoredObject[], query: URLSearchParams): string {
  const url = query.get("encoding-type") === "url";
  const name = (text: string): string => escapeXml(url ? encodeURIComponent(text) : text);
  const { objects: page, prefixes, nextToken } = listPage(objects, query);
  const contents = page.map(
    (object) =>
      `<Contents><Key>${name(object.key)}</Key><LastModified>${new Date(object.lastModifiedMs).toISOString()}</LastModified>` +
      `<ETag>${escapeXml(object.version)}</ETag><Size>${object.size}</Size><StorageClass>STANDARD</StorageClass></Contents>`,
  );
  const folded = prefixes.map((prefix) => `<CommonPrefixes><Prefix>${name(prefix)}</Prefix></CommonPrefixes>`);
  return (
    `${HEADER}<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>${escapeXml(bucket)}</Name>` +
    `<Prefix>${name(query.get("prefix") ?? "")}</Prefix><KeyCount>${page.length + prefixes.length}</KeyCount>` +
    `<IsTruncated>${nextToken !== undefined}</IsTruncated>${url ? "<EncodingType>url</EncodingType>" : ""}` +
    `${nextToken === undefined ? "" : `<NextContinuationToken>${nextToken}</NextContinuationToken>`}` +
    `${contents.join("")}${folded.join("")}</ListBucketResult>`
  );
}

function listPage(objects: readonly StoredObject[], query: URLSearchParams): Listing {
  const prefix = query.get("prefix") ?? "";
  const delimiter = query.get("delimiter") ?? "";
  const limit = Math.min(1000, Number(query.get("max-keys") ?? 1000));
  const token = query.get("continuation-token");
  const after = token === null ? (query.get("start-after") ?? "") : Buffer.from(token, "base64url").toString();
  const page: StoredObject[] = [];
  const prefixes = new Set<string>();
  let last = "";
  for (const object of objects) {
    if (!object.key.startsWith(prefix)) continue;
    const cut = delimiter === "" ? -1 : object.key.indexOf(delimiter, prefix.length);
    const name = cut < 0 ? object.key : object.key.slice(0, cut + delimiter.length);
    if (Buffer.compare(Buffer.from(name), Buffer.from(after)) <= 0 || prefixes.has(name)) continue;
    if (page.length + prefixes.size === limit) {
      return { objects: page, prefixes: [...prefixes], nextToken: Buffer.from(last).toString("base64url") };
    }
    if (cut < 0) page.push(object);
    else prefixes.add(name);
    last = name;
  }
  return { objects: page, prefixes: [...prefixes], nextToken: undefined };
}

function escapeXml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
