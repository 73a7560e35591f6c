/** What is known of one version of an object, from the origin. */
export interface ObjectInfo {
  /** S3: the ETag without quotes; GCS: the generation. Never empty. */
  readonly version: string;
  /** Bytes. */
  readonly objectSize: number;
  readonly contentType?: string;
  /** Milliseconds since 1970. */
  readonly lastModifiedMs?: number;
}
