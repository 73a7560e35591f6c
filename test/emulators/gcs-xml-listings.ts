import { escapeUrl, escapeXml } from "./s3-xml.js";

/** An upload in parts that has not ended. */
export interface ListedUpload {
  readonly id: string;
  readonly key: string;
}

/** A part that was received. */
export interface ListedPart {
  readonly number: number;
  readonly etag: string;
  readonly bytes: number;
}

const XMLNS = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"';
const DATE = "2024-11-01T12:00:00.000Z";

/** Returns the page of uploads that a query asks for, in the order of their keys and IDs. Names under a delimiter are folded. */
export function uploadsXml(bucket: string, uploads: readonly ListedUpload[], query: URLSearchParams): string {
  const [prefix, delimiter] = [query.get("prefix") ?? "", query.get("delimiter") ?? ""];
  const [keyMarker, idMarker] = [query.get("key-marker") ?? "", query.get("upload-id-marker") ?? ""];
  const limit = limitOf(query.get("max-uploads"));
  const name = (text: string): string => escapeXml(query.get("encoding-type") === "url" ? escapeUrl(text) : text);
  const sorted = uploads
    .filter(({ key }) => key.startsWith(prefix))
    .sort((a, b) => Buffer.compare(Buffer.from(a.key), Buffer.from(b.key)) || (a.id < b.id ? -1 : 1));
  const entries = new Map<string, { readonly key: string; readonly id: string; readonly xml: string }>();
  for (const { key, id } of sorted) {
    const end = delimiter === "" ? -1 : key.indexOf(delimiter, prefix.length);
    const folder = key.slice(0, end + delimiter.length);
    if (end >= 0) {
      const xml = `<CommonPrefixes><Prefix>${name(folder)}</Prefix></CommonPrefixes>`;
      entries.set(folder, { key: folder, id: "", xml });
      continue;
    }
    const of = `<Key>${name(key)}</Key><UploadId>${id}</UploadId>`;
    const xml = `<Upload>${of}<StorageClass>STANDARD</StorageClass><Initiated>${DATE}</Initiated></Upload>`;
    entries.set(`${key}\0${id}`, { key, id, xml });
  }
  const rest = [...entries.values()].filter(({ key, id }) => {
    const order = Buffer.compare(Buffer.from(key), Buffer.from(keyMarker));
    return order > 0 || (order === 0 && idMarker !== "" && id > idMarker);
  });
  const page = rest.slice(0, limit);
  const last = page.at(-1);
  const isTruncated = rest.length > page.length;
  const next =
    isTruncated && last !== undefined
      ? `<NextKeyMarker>${name(last.key)}</NextKeyMarker><NextUploadIdMarker>${last.id}</NextUploadIdMarker>`
      : "";
  return (
    `<ListMultipartUploadsResult ${XMLNS}><Bucket>${bucket}</Bucket><KeyMarker>${name(keyMarker)}</KeyMarker>` +
    `<UploadIdMarker>${idMarker}</UploadIdMarker>${next}<Prefix>${name(prefix)}</Prefix><Delimiter>${name(delimiter)}</Delimiter>` +
    `<MaxUploads>${limit}</MaxUploads><IsTruncated>${isTruncated}</IsTruncated>${page.map(({ xml }) => xml).join("")}</ListMultipartUploadsResult>`
  );
}

/** Returns the page of an upload's parts that a query asks for, in the order of their numbers. */
export function partsXml(
  bucket: string,
  { key, id }: ListedUpload,
  parts: readonly ListedPart[],
  query: URLSearchParams,
): string {
  const limit = limitOf(query.get("max-parts"));
  const marker = Number(query.get("part-number-marker") ?? 0);
  const rest = parts.filter(({ number }) => number > marker).sort((a, b) => a.number - b.number);
  const page = rest.slice(0, limit);
  const isTruncated = rest.length > page.length;
  const next = isTruncated ? `<NextPartNumberMarker>${page.at(-1)?.number ?? marker}</NextPartNumberMarker>` : "";
  const listed = page.map(
    ({ number, etag, bytes }) =>
      `<Part><PartNumber>${number}</PartNumber><LastModified>${DATE}</LastModified><ETag>${escapeXml(etag)}</ETag><Size>${bytes}</Size></Part>`,
  );
  return (
    `<ListPartsResult ${XMLNS}><Bucket>${bucket}</Bucket><Key>${escapeXml(key)}</Key><UploadId>${id}</UploadId>` +
    `<StorageClass>STANDARD</StorageClass><PartNumberMarker>${marker}</PartNumberMarker>${next}<MaxParts>${limit}</MaxParts>` +
    `<IsTruncated>${isTruncated}</IsTruncated>${listed.join("")}</ListPartsResult>`
  );
}

/** GCS lists at most 1,000 per page. */
function limitOf(asked: string | null): number {
  return Math.min(1_000, Number(asked ?? 1_000));
}
