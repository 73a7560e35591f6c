import type { PassQuestion } from "../origin.js";
import { noEquivalent } from "./gcs-errors.js";
import { xmlPath } from "./gcs-paths.js";

/** The parameters that S3 and GCS's XML API have in common. All others are left out: at GCS, some of them select another resource. */
const PARAMETERS: Readonly<Record<XmlCollection, RegExp>> = {
  uploads: /^(?:uploads|prefix|delimiter|encoding-type|key-marker|upload-id-marker|max-uploads)$/,
  parts: /^(?:uploadId|max-parts|part-number-marker)$/,
};

/** What GCS lists by its XML API only. */
export type XmlCollection = "uploads" | "parts";

/**
 * The path of a listing in S3's form, of uploads in parts or of the parts of one, in GCS's XML API, which has the same documents. Throws
 * INVALID_ARGUMENT for a header that means nothing to GCS.
 */
export function xmlListingPath({ ref, query, headers }: PassQuestion, collection: XmlCollection): string {
  // Who pays is a setting of the origin.
  const other = headers.find(([name]) => name.startsWith("x-amz-") && name !== "x-amz-request-payer");
  if (other !== undefined) throw noEquivalent(`the header ${other[0]}`);
  const known = query.filter(([name]) => PARAMETERS[collection].test(name));
  return xmlPath(ref, known);
}
