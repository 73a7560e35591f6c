/** The requested fields of an object's metadata. Numbers are text. Any field may be missing. */
export interface GcsMetadata {
  readonly generation?: string;
  readonly metageneration?: string;
  readonly size?: string;
  readonly contentType?: string;
  readonly updated?: string;
  readonly contentEncoding?: string;
  readonly contentLanguage?: string;
  readonly contentDisposition?: string;
  readonly cacheControl?: string;
  readonly storageClass?: string;
  readonly crc32c?: string;
  readonly md5Hash?: string;
  readonly componentCount?: number;
  readonly customTime?: string;
  readonly kmsKeyName?: string;
  readonly customerEncryption?: { readonly encryptionAlgorithm?: string; readonly keySha256?: string };
  readonly retention?: { readonly mode?: string; readonly retainUntilTime?: string };
  readonly metadata?: Readonly<Record<string, string>>;
}

/** The value of the `fields` parameter that requests them. */
export const METADATA_FIELDS = [
  "generation,metageneration,size,contentType,updated,contentEncoding,contentLanguage,contentDisposition,cacheControl",
  "storageClass,crc32c,md5Hash,componentCount,customTime,kmsKeyName,customerEncryption,retention,metadata",
].join(",");

/** An object's metadata as the headers of GCS's XML API. Text beyond Latin-1 becomes its UTF-8 bytes, as GCS sends it. */
export function* metadataHeaders(metadata: GcsMetadata): Generator<readonly [name: string, value: string]> {
  const { crc32c, md5Hash, customerEncryption, retention, contentEncoding, size } = metadata;
  const hashes = [crc32c && `crc32c=${crc32c}`, md5Hash && `md5=${md5Hash}`].filter(Boolean).join(",");
  const headers: Record<string, string | number | undefined> = {
    "cache-control": metadata.cacheControl,
    "content-disposition": metadata.contentDisposition,
    "content-encoding": contentEncoding,
    "content-language": metadata.contentLanguage,
    "x-goog-component-count": metadata.componentCount,
    "x-goog-custom-time": metadata.customTime,
    "x-goog-encryption-algorithm": customerEncryption?.encryptionAlgorithm,
    "x-goog-encryption-key-sha256": customerEncryption?.keySha256,
    "x-goog-encryption-kms-key-name": metadata.kmsKeyName,
    "x-goog-generation": metadata.generation,
    "x-goog-hash": hashes,
    "x-goog-metageneration": metadata.metageneration,
    "x-goog-object-lock-mode": retention?.mode,
    "x-goog-object-lock-retain-until-date": retention?.retainUntilTime,
    "x-goog-storage-class": metadata.storageClass,
    "x-goog-stored-content-encoding": metadata.generation === undefined ? undefined : (contentEncoding ?? "identity"),
    "x-goog-stored-content-length": size,
  };
  for (const [name, value] of Object.entries(headers)) {
    if (isText(value)) yield [name, latin1Of(value)];
  }
  for (const [name, value] of Object.entries(metadata.metadata ?? {})) {
    if (typeof value === "string") yield [`x-goog-meta-${name}`, latin1Of(value)];
  }
}

function isText(value: unknown): value is string | number {
  return typeof value === "number" || (typeof value === "string" && value !== "");
}

function latin1Of(value: string | number): string {
  return Buffer.from(String(value)).toString("latin1");
}
