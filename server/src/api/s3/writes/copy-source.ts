import { CacheError, type ObjectRef, type Scheme } from "@frontcache/proto";
import { Query } from "../../../runtime/query.js";
import { objectTarget } from "../request-target.js";

/**
 * The object that `x-amz-copy-source` names: `bucket/key` or `/bucket/key`, escaped, perhaps with `?versionId=`. It is in the same store as
 * the copy. Throws S3's error.
 */
export function copySource(header: string, scheme: Scheme): ObjectRef {
  const [, bucket, key, query = ""] = /^\/?([^/?]+)\/([^?]+)(?:\?(versionId=[^&]+))?$/.exec(header) ?? [];
  if (bucket === undefined || key === undefined) {
    const message = "Copy Source must mention the source bucket and key: sourcebucket/sourcekey";
    throw new CacheError("INVALID_ARGUMENT", message, { s3Code: "InvalidArgument" });
  }
  return objectTarget(scheme, bucket, key, new Query(query)).bare;
}
