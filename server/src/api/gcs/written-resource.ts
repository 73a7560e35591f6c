/** An object of GCS's JSON API, as a client or GCS has sent it. */
export type Resource = Readonly<Record<string, unknown>> & { readonly destination?: Resource };

/** The fields of an object that a principal may write who may write the object. All others may change who may do what. */
export const RESOURCE_FIELDS: ReadonlySet<string> = new Set([
  ...["kind", "id", "name", "bucket", "generation", "metageneration", "selfLink", "mediaLink", "etag", "size", "componentCount"],
  ...["contentType", "contentEncoding", "contentLanguage", "contentDisposition", "cacheControl", "metadata", "customTime"],
  ...[
    "storageClass",
    "kmsKeyName",
    "customerEncryption",
    "crc32c",
    "md5Hash",
    "sourceObjects",
    "destination",
    "deleteSourceObjects",
  ],
  ...["timeCreated", "timeFinalized", "timeStorageClassUpdated", "updated"],
]);

/** Undefined: the bytes are no JSON object, about which GCS decides. */
export function parseResource(bytes: Uint8Array): Resource | undefined {
  if (bytes.length === 0) return undefined;
  try {
    const value: unknown = JSON.parse(Buffer.from(bytes).toString());
    return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Resource) : undefined;
  } catch {
    return undefined;
  }
}
