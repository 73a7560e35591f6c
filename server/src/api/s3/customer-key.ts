import { createHash } from "node:crypto";
import type { IncomingHttpHeaders } from "node:http";
import { type ErrorResponse, rejection } from "./error-response.js";

/** The only algorithm of keys that clients bring with them. */
const ALGORITHM = "AES256";
const KEY_BYTES = 32;

const S3_KEY = "x-amz-server-side-encryption-customer-";
const GCS_KEY = "x-goog-encryption-";

/** Returns whether the request brings the key that the object is encrypted with, by the headers of S3 or GCS. */
export function hasCustomerKey(headers: IncomingHttpHeaders): boolean {
  for (const name in headers) if (name.startsWith(S3_KEY) || name.startsWith(GCS_KEY)) return true;
  return false;
}

/** Returns the headers with the client's key as GCS's API takes them. Returns an error if they are incomplete or contradict each other. */
export function customerKeyHeaders(headers: IncomingHttpHeaders): [name: string, value: string][] | ErrorResponse {
  const given = (name: string): string | undefined => {
    const value = headers[`${GCS_KEY}${name}`] ?? headers[`${S3_KEY}${name}`];
    return typeof value === "string" ? value : undefined;
  };
  const algorithm = given("algorithm");
  if (algorithm !== ALGORITHM) return rejection("InvalidArgument", `the algorithm of the client's key must be ${ALGORITHM}`);
  const key = Buffer.from(given("key") ?? "", "base64");
  const hash = (name: string) => createHash(name).update(key).digest("base64");
  if (key.length !== KEY_BYTES) return rejection("InvalidArgument", `the client's key must have ${KEY_BYTES} bytes in base64`);
  const [sha256, md5] = [given("key-sha256"), given("key-md5")];
  if ((sha256 ?? hash("sha256")) !== hash("sha256") || (md5 ?? hash("md5")) !== hash("md5"))
    return rejection("InvalidArgument", "the hash of the client's key does not match the key");
  return [
    [`${GCS_KEY}algorithm`, algorithm],
    [`${GCS_KEY}key`, key.toString("base64")],
    [`${GCS_KEY}key-sha256`, hash("sha256")],
  ];
}
