import type { Operation as GrantedOperation } from "../../../security/grants/grants.js";
import type { ObjectOperation } from "../operations.js";

/** How an operation that changes something is answered. */
export interface WriteOperation {
  /** What must be granted on the object or, for operations of buckets, on the bucket. */
  readonly grant: GrantedOperation;
  /** `object`: bytes of an object, of any size. `document`: XML. */
  readonly body: "object" | "document" | "none";
  /** The object's record changes. Absent: no. */
  readonly changes?: true;
  /** The checksum headers are those of the object, not of the body. Absent: of the body. */
  readonly hasOtherChecksums?: true;
}

const administered: WriteOperation = { grant: "admin", body: "document" };

/** The operations on objects that are sent to the origin. */
export const objectWrites: { readonly [Name in ObjectOperation]?: WriteOperation } = {
  PutObject: { grant: "write", body: "object", changes: true },
  DeleteObject: { grant: "delete", body: "none", changes: true },
  UploadPart: { grant: "write", body: "object" },
  CreateMultipartUpload: { grant: "write", body: "none", hasOtherChecksums: true },
  CompleteMultipartUpload: { grant: "write", body: "document", changes: true, hasOtherChecksums: true },
  AbortMultipartUpload: { grant: "write", body: "none" },
  PutObjectTagging: { grant: "write", body: "document", changes: true },
  DeleteObjectTagging: { grant: "write", body: "none", changes: true },
  PutObjectAcl: administered,
  PutObjectLegalHold: { ...administered, changes: true },
  PutObjectRetention: { ...administered, changes: true },
  RestoreObject: { ...administered, changes: true },
  UpdateObjectEncryption: { ...administered, changes: true },
};

/** An operation on a bucket, which is sent to the origin as it is. */
export function bucketWrite(method: string): WriteOperation {
  return { grant: "admin", body: method === "DELETE" ? "none" : "document" };
}
