import type { ObjectRecord, StatResponse } from "./gen/cache.js";
import { collectHeaders, headerPairs, isWellFormed, type ObjectHeaders } from "./object-headers.js";

/**
 * Headers that the source of an ObjectInfo cannot have, although the object may: user metadata and others (GCS's answers to reads,
 * block files), or checksums alone (S3's answers to reads).
 */
export type LackingHeaders = "metadata" | "checksums";

/** What is known of one version of an object, from the origin. */
export interface ObjectInfo {
  /** S3: the ETag without quotes; GCS: the generation. Never empty. */
  readonly version: string;
  /** Bytes. */
  readonly objectSize: number;
  readonly contentType?: string;
  /** Milliseconds since 1970. */
  readonly lastModifiedMs?: number;
  /** All further headers of the object. Absent: none is known. */
  readonly headers?: ObjectHeaders;
  /** What `headers` lacks. Absent: nothing. */
  readonly lacks?: LackingHeaders;
}

/** Whether two observations of an object are equal. */
export function isSameInfo(one: ObjectInfo, other: ObjectInfo): boolean {
  return (
    one === other ||
    (one.version === other.version &&
      one.objectSize === other.objectSize &&
      one.contentType === other.contentType &&
      one.lastModifiedMs === other.lastModifiedMs &&
      one.headers === other.headers &&
      one.lacks === other.lacks)
  );
}

/** An object's record as a message. */
export function recordToMessage(info: ObjectInfo): ObjectRecord {
  const { version, objectSize, contentType = "", lastModifiedMs = 0, headers = "", lacks = "" } = info;
  return { version, objectSize, contentType, lastModifiedMs, headers: Buffer.from(headers, "latin1"), lacks };
}

/** An object's record from a message. */
export function recordFromMessage(record: ObjectRecord): ObjectInfo {
  return fromMessage(record, headersFromLines(Buffer.from(record.headers).toString("latin1")));
}

/** What the answer to a Stat says of the object. */
export function infoOfStat(answer: StatResponse): ObjectInfo {
  return fromMessage(answer, headersFromPairs(answer.headers.map(({ name, value }) => [name, value])));
}

/** The fields of an answer to a Stat that describe the object. */
export function infoToStat(info: ObjectInfo): Omit<StatResponse, "cachedBytes"> {
  const headers = [...headerPairs(info.headers ?? "")].map(([name, value]) => ({ name, value }));
  return { ...recordToMessage(info), headers };
}

function fromMessage(
  { version, objectSize, contentType, lastModifiedMs, lacks }: Omit<ObjectRecord, "headers">,
  headers: Pick<ObjectInfo, "headers">,
): ObjectInfo {
  return {
    version,
    objectSize,
    ...(contentType !== "" && { contentType }),
    ...(lastModifiedMs !== 0 && { lastModifiedMs }),
    ...headers,
    ...lackingFrom(lacks),
  };
}

/** Headers as another process sent them. They are checked, so that a member of another version cannot put others into answers. */
export function headersFromLines(lines: string): Pick<ObjectInfo, "headers"> {
  return headersFromPairs(isWellFormed(lines) ? headerPairs(lines) : []);
}

/** The same, of names and values. */
export function headersFromPairs(pairs: Iterable<readonly [name: string, value: string]>): Pick<ObjectInfo, "headers"> {
  const { headers } = collectHeaders(pairs);
  return headers === "" ? {} : { headers };
}

/** What another process said that headers lack. Something that is not known here counts as metadata. */
export function lackingFrom(lacks: string): Pick<ObjectInfo, "lacks"> {
  if (lacks === "") return {};
  return { lacks: lacks === "checksums" ? lacks : "metadata" };
}
