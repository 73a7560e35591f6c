import { CacheError, type Scheme } from "@frontcache/proto";
import type { Request } from "../../http/http-context.js";
import { customerKeyHeaders, hasCustomerKey } from "../customer-key.js";

/** Headers that the origin gets as they are. */
const PASSED =
  /^(?:content-(?:type|language|disposition|md5)|cache-control|expires|if-(?:match|none-match|modified-since|unmodified-since)|x-amz-.+)$/;

/** Headers of signatures, of framing and of SDKs, which are made anew or say nothing to the origin. */
const OWN = /^x-amz-(?:date|content-sha256|security-token|user-agent|decoded-content-length|trailer)$/;

/** Headers of S3 of which it is known that they do not change who may do what. All others require the grant `admin`, too. */
const KNOWN =
  /^x-amz-(?:meta-.+|tagging|tagging-count|storage-class|server-side-encryption(?:-.+)?|checksum-.+|sdk-checksum-algorithm|mp-object-size|object-(?:lock-.+|ownership)|bucket-.+|website-redirect-location|expected-bucket-owner|source-expected-bucket-owner|copy-source(?:-.+)?|metadata-directive|tagging-directive|object-attributes|if-match-.+|mfa|acl|grant-.+|bypass-governance-retention|request-payer|confirm-remove-self-bucket-access|rename-.+|transition-default-minimum-object-size)$/;

/** Headers of GCS that writes to its buckets may have besides those of S3. All others require the grant `admin`, too. */
const KNOWN_OF_GCS =
  /^x-goog-(?:meta-.+|hash|storage-class|custom-time|if-(?:meta)?generation-match|copy-source-if-.+|copy-source-generation)$/;

/** Headers of GCS that make another operation of a write, for which other grants are required. */
const OTHER_OPERATION = /^x-goog-(?:copy-source|resumable)$/;

/** Headers with which a client brings its key, in the names of S3 and of GCS. */
const CUSTOMER_KEY = /^x-(?:amz-server-side-encryption-customer|goog-encryption)-/;

/** Headers that change who may do what. */
const ADMINISTERS = /^x-amz-(?:acl|grant-.+|bypass-governance-retention)$/;

/** What a write's headers say. */
export interface WriteHeaders {
  /** What the origin gets. */
  readonly passed: readonly (readonly [name: string, value: string])[];
  /** Whether they change who may do what. */
  readonly administers: boolean;
  /** Whether the origin compares something before it takes the write, so that it must not get it twice. */
  readonly isConditional: boolean;
}

/** The headers of a write to a store. Throws S3's error for an incomplete key of the client. */
export function writeHeaders({ headers }: Pick<Request, "headers">, scheme: Scheme): WriteHeaders {
  const isGcs = scheme === "gs";
  const passed: [string, string][] = [];
  let administers = false;
  for (const [name, value] of Object.entries(headers)) {
    if (typeof value !== "string") continue;
    if (name === "content-encoding") {
      const encodings = value.split(",").filter((each) => each.trim().toLowerCase() !== "aws-chunked");
      const kept = encodings.join(",").trim();
      if (kept !== "") passed.push([name, kept]);
      continue;
    }
    if (isGcs && CUSTOMER_KEY.test(name)) continue;
    if (isGcs && name.startsWith("x-goog-")) {
      if (OTHER_OPERATION.test(name)) {
        const message = `The header ${name} is not supported: use x-amz-copy-source to copy, and an upload in parts.`;
        throw new CacheError("INVALID_ARGUMENT", message, { s3Code: "NotImplemented" });
      }
      if (!KNOWN_OF_GCS.test(name)) administers = true;
      passed.push([name, value]);
      continue;
    }
    if (!PASSED.test(name) || OWN.test(name)) continue;
    if (ADMINISTERS.test(name) || (name.startsWith("x-amz-") && !KNOWN.test(name))) administers = true;
    passed.push([name, value]);
  }
  if (isGcs && hasCustomerKey(headers)) passed.push(...keyOf(headers));
  const isConditional = passed.some(([name]) => /^(?:if-(?:none-)?match|x-goog-if-.+)$/.test(name));
  return { passed, administers, isConditional };
}

/** The client's key as GCS takes it. */
function keyOf(headers: Request["headers"]): [name: string, value: string][] {
  const key = customerKeyHeaders(headers);
  if ("status" in key) throw new CacheError("INVALID_ARGUMENT", key.message, { s3Code: "InvalidArgument" });
  return key;
}
