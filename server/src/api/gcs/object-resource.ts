import { CacheError, headerPairs, type ObjectInfo, type ObjectRef } from "@frontcache/proto";

/** The fields of GCS's object resource by the headers of the record that have them. */
const FIELD_OF: Readonly<Record<string, string>> = {
  "cache-control": "cacheControl",
  "content-disposition": "contentDisposition",
  "content-encoding": "contentEncoding",
  "content-language": "contentLanguage",
  "x-goog-custom-time": "customTime",
  "x-goog-encryption-kms-key-name": "kmsKeyName",
  "x-goog-metageneration": "metageneration",
  "x-goog-storage-class": "storageClass",
};

const USER_METADATA = "x-goog-meta-";

/**
 * An object of GCS's JSON API, made of the object's record. What the record does not have is left out, such as access lists. So are
 * links: clients that have none use their endpoint.
 */
export function objectResource({ bucket, key }: ObjectRef, info: ObjectInfo): Record<string, unknown> {
  const { version, objectSize, contentType, lastModifiedMs } = info;
  const resource: Record<string, unknown> = {
    kind: "storage#object",
    id: `${bucket}/${key}/${version}`,
    name: key,
    bucket,
    generation: version,
    size: String(objectSize),
    ...(contentType !== undefined && { contentType }),
    ...(lastModifiedMs !== undefined && { updated: new Date(lastModifiedMs).toISOString() }),
  };
  const metadata: Record<string, string> = {};
  for (const [name, value] of headerPairs(info.headers ?? "")) {
    const field = FIELD_OF[name];
    if (field !== undefined) resource[field] = utf8Of(value);
    else if (name === "x-goog-hash") Object.assign(resource, hashesOf(value));
    else if (name === "x-goog-component-count") resource.componentCount = Number(value);
    else if (name.startsWith(USER_METADATA)) metadata[name.slice(USER_METADATA.length)] = utf8Of(value);
  }
  if (Object.keys(metadata).length > 0) resource.metadata = metadata;
  return resource;
}

/** The metageneration of an object; undefined: unknown. */
function metagenerationOf({ headers = "" }: ObjectInfo): string | undefined {
  for (const [name, value] of headerPairs(headers)) if (name === "x-goog-metageneration") return value;
  return undefined;
}

/** The conditions of a request. Each names a generation or a metageneration. */
export interface JsonConditions {
  readonly generation: string | undefined;
  readonly ifGenerationMatch: string | undefined;
  readonly ifGenerationNotMatch: string | undefined;
  readonly ifMetagenerationMatch: string | undefined;
  readonly ifMetagenerationNotMatch: string | undefined;
}

/** Reads the conditions of a query. Throws INVALID_ARGUMENT if one is not a number. */
export function jsonConditions(parameter: (name: string) => string | undefined): JsonConditions {
  const number = (name: string): string | undefined => {
    const value = parameter(name);
    if (value === undefined || /^\d{1,20}$/.test(value)) return value;
    throw new CacheError("INVALID_ARGUMENT", `the value of ${name} in the query is invalid: write a number`);
  };
  return {
    generation: number("generation"),
    ifGenerationMatch: number("ifGenerationMatch"),
    ifGenerationNotMatch: number("ifGenerationNotMatch"),
    ifMetagenerationMatch: number("ifMetagenerationMatch"),
    ifMetagenerationNotMatch: number("ifMetagenerationNotMatch"),
  };
}

/** Whether an object fulfils the conditions: `failed` is answered with 412, `same` with 304. */
export function judgeJson(conditions: JsonConditions, info: ObjectInfo): "ok" | "failed" | "same" {
  const metageneration = metagenerationOf(info);
  const { ifGenerationMatch, ifGenerationNotMatch, ifMetagenerationMatch, ifMetagenerationNotMatch } = conditions;
  if (ifGenerationMatch !== undefined && ifGenerationMatch !== info.version) return "failed";
  if (ifMetagenerationMatch !== undefined && ifMetagenerationMatch !== metageneration) return "failed";
  if (ifGenerationNotMatch === info.version) return "same";
  return ifMetagenerationNotMatch !== undefined && ifMetagenerationNotMatch === metageneration ? "same" : "ok";
}

/** `crc32c=...,md5=...` as fields. */
function hashesOf(header: string): { crc32c?: string; md5Hash?: string } {
  const [, crc32c] = /(?:^|,)\s*crc32c=([^,]+)/.exec(header) ?? [];
  const [, md5Hash] = /(?:^|,)\s*md5=([^,]+)/.exec(header) ?? [];
  return { ...(crc32c !== undefined && { crc32c }), ...(md5Hash !== undefined && { md5Hash }) };
}

/** Headers have the bytes of UTF-8 as Latin-1. */
function utf8Of(value: string): string {
  return Buffer.from(value, "latin1").toString("utf8");
}
