import { createHmac } from "node:crypto";
import type { Clock } from "../../runtime/clock.js";
import { Query } from "../../runtime/query.js";
import type { Authenticated, Authenticator, FormFields, PresentedRequest } from "../authenticator.js";
import type { AccessKey } from "../identities/identities-file.js";
import type { IdentitiesFile } from "../identities/identity-tokens.js";
import { refused } from "./authorization-header.js";
import { amzDateMs, mayBePresigned } from "./presigned.js";
import {
  checkSessionToken,
  checkSkew,
  httpDateMs,
  isEqual,
  isRepeated,
  ONE_MECHANISM,
  textOf,
  WRONG_SIGNATURE,
} from "./signature-rules.js";
import { partsOf } from "./signed-request.js";
import { canonicalValue } from "./signer.js";

export interface SignatureV2Options {
  readonly file: IdentitiesFile;
  /** Whether signatures of version 2 count. Otherwise, requests with them are refused. */
  readonly isEnabled: boolean;
  /** The bucket that a host names. Undefined: the path names it. */
  readonly bucketOfHost: (host: string) => string | undefined;
  readonly clock: Pick<Clock, "nowMs">;
}

/** A signature of version 2, from a header or a query. */
interface Signature {
  readonly key: AccessKey;
  readonly signature: string;
  /** The time in the text that is signed: of the request, or of a URL's expiry. */
  readonly time: string;
  readonly sessionToken: string | undefined;
}

/**
 * Authenticates S3 requests by signatures of version 2: HMAC-SHA1 of the method, the time, the resource and the `x-amz-*` headers, in a
 * header or in the query of a presigned URL. Version 2 covers neither the body nor the host nor the parameters of listings. A request
 * with an unknown access key presents nothing to this authenticator.
 */
export class SignatureV2Authenticator implements Authenticator {
  readonly #options: SignatureV2Options;

  constructor(options: SignatureV2Options) {
    this.#options = options;
  }

  get revision(): number {
    return this.#options.file.revision;
  }

  authenticate(request: PresentedRequest): Authenticated | undefined {
    const { url = "", headers } = request;
    const { authorization } = headers;
    const [, id, signature] = (authorization !== undefined && HEADER.exec(authorization)) || [];
    if (id !== undefined && signature !== undefined) {
      const key = this.#keyOf(id);
      if (key === undefined) return undefined;
      if (isRepeated(request, "authorization")) throw refused("InvalidArgument", ONE_MECHANISM);
      const sessionToken = textOf(headers["x-amz-security-token"]);
      const time = timeOf(headers, this.#options.clock.nowMs());
      return this.#verify(request, { key, signature, time, sessionToken });
    }
    if (!mayBePresigned(url)) return undefined;
    const query = new Query(partsOf(url).query);
    const key = query.has("AWSAccessKeyId") ? this.#keyOf(query.get("AWSAccessKeyId") ?? "") : undefined;
    if (key === undefined) return undefined;
    const sessionToken = query.get("x-amz-security-token") ?? textOf(headers["x-amz-security-token"]);
    const presigned = { key, signature: query.get("Signature") ?? "", time: query.get("Expires") ?? "", sessionToken };
    return this.#verify(request, presigned);
  }

  authenticateForm(fields: FormFields): Authenticated | undefined {
    const id = fields.get("awsaccesskeyid");
    const key = id === undefined ? undefined : this.#keyOf(id);
    if (key === undefined) return undefined;
    checkSessionToken(fields.get("x-amz-security-token"), key);
    const signature = requiredField(fields, "signature");
    if (isEqual(signed(requiredField(fields, "policy"), key), signature)) return key.authenticated;
    throw refused("SignatureDoesNotMatch", WRONG_SIGNATURE);
  }

  #keyOf(id: string): AccessKey | undefined {
    const key = this.#options.file.current.accessKeys.get(id);
    if (key !== undefined && !this.#options.isEnabled) throw refused("InvalidRequest", NOT_SUPPORTED);
    return key;
  }

  #verify(request: PresentedRequest, { key, signature, time, sessionToken }: Signature): Authenticated {
    if (request.headers["frontcache-warm"] !== undefined) {
      throw refused("AccessDenied", "There were headers present in the request which were not signed: frontcache-warm");
    }
    checkSessionToken(sessionToken, key);
    const { method = "GET", url = "", headers } = request;
    const { authority = headers.host ?? "", path, query } = partsOf(url);
    const bucket = this.#options.bucketOfHost(authority);
    const [parameters, amzParameters] = signedParameters(query);
    const text = [
      method,
      textOf(headers["content-md5"]) ?? "",
      textOf(headers["content-type"]) ?? "",
      time,
      `${amzLines(request, amzParameters)}${bucket === undefined ? "" : `/${bucket}`}${path}${parameters}`,
    ].join("\n");
    if (isEqual(signed(text, key), signature)) return key.authenticated;
    throw refused("SignatureDoesNotMatch", WRONG_SIGNATURE);
  }
}

const HEADER = /^AWS +([^\s:]+):([A-Za-z0-9+/=]{1,100}) *$/;

/** S3's answer in regions that know version 4 only. */
const NOT_SUPPORTED = "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.";

/** Parameters that are signed: those that S3 had when version 2 was current, which its SDKs sign. */
const SIGNED = new Set([
  ...["accelerate", "acl", "analytics", "cors", "defaultObjectAcl", "delete", "inventory", "lifecycle", "location", "logging"],
  ...["metrics", "notification", "object-lock", "partNumber", "policy", "replication", "requestPayment", "restore", "select"],
  ...[
    "select-type",
    "storageClass",
    "tagging",
    "torrent",
    "uploadId",
    "uploads",
    "versionId",
    "versioning",
    "versions",
    "website",
  ],
  ...["response-cache-control", "response-content-disposition", "response-content-encoding", "response-content-language"],
  ...["response-content-type", "response-expires"],
]);

/** Parameters that are not signed: of the signature itself, and those that choose what a listing shows. */
const UNSIGNED = new Set([
  ...["AWSAccessKeyId", "Expires", "Signature", "x-id", "allow-unordered", "continuation-token", "delimiter", "encoding-type"],
  ...["fetch-owner", "key-marker", "list-type", "marker", "max-keys", "max-parts", "max-uploads", "part-number-marker", "prefix"],
  ...["start-after", "upload-id-marker", "version-id-marker"],
]);

/**
 * The query as it is signed, and its parameters that count as headers. Throws S3's error for a parameter that version 2 does not
 * cover: otherwise, whoever reads a signed request could make another one of it.
 */
function signedParameters(query: string): [text: string, asHeaders: [name: string, value: string][]] {
  const found: [name: string, text: string][] = [];
  const asHeaders: [string, string][] = [];
  const seen = new Set<string>();
  for (const part of query.split("&")) {
    const equals = part.indexOf("=");
    const name = equals < 0 ? part : part.slice(0, equals);
    const value = equals < 0 ? undefined : decoded(part.slice(equals + 1));
    if (SIGNED.has(name)) found.push([name, value === undefined ? name : `${name}=${value}`]);
    else if (/^x-amz-[a-z0-9-]+$/.test(name)) asHeaders.push([name, value ?? ""]);
    else if (name !== "" && (!UNSIGNED.has(name) || seen.has(name))) {
      throw refused(
        "AccessDenied",
        `A signature of version 2 does not cover the parameter ${JSON.stringify(name.slice(0, 100))}.`,
      );
    }
    seen.add(name);
  }
  found.sort(([one], [other]) => (one < other ? -1 : one > other ? 1 : 0));
  return [found.length === 0 ? "" : `?${found.map(([, text]) => text).join("&")}`, asHeaders];
}

/** The headers of S3 as they are signed: in the order of their names, each in a line. */
function amzLines({ headers, rawHeaders }: PresentedRequest, parameters: readonly (readonly [string, string])[]): string {
  const values = new Map<string, string>();
  const add = (name: string, value: string): void => {
    const before = values.get(name);
    values.set(name, before === undefined ? value : `${before},${value}`);
  };
  if (rawHeaders === undefined) {
    for (const [name, value] of Object.entries(headers)) if (name.startsWith("x-amz-")) add(name, textOf(value) ?? "");
  } else {
    for (let at = 0; at < rawHeaders.length; at += 2) {
      const name = rawHeaders[at]!.toLowerCase();
      if (name.startsWith("x-amz-")) add(name, canonicalValue(rawHeaders[at + 1]!));
    }
  }
  for (const [name, value] of parameters) add(name, value);
  return [...values.keys()]
    .sort()
    .map((name) => `${name}:${values.get(name)}\n`)
    .join("");
}

/** The time of a request as it is signed: empty if it is in an `x-amz-*` header, which is signed anyway. Throws S3's error. */
function timeOf({ date, "x-amz-date": amzDate }: PresentedRequest["headers"], nowMs: number): string {
  const text = textOf(amzDate) ?? date;
  const ms = httpDateMs(text) ?? amzDateMs(text ?? "");
  if (ms === undefined || ms < 0) throw refused("AccessDenied", "AWS authentication requires a valid Date or x-amz-date header");
  checkSkew(ms, nowMs);
  return amzDate === undefined ? date! : "";
}

/** The bytes of Node's headers are Latin-1, those that a client has signed too. */
function signed(text: string, { secretAccessKey }: AccessKey): string {
  return createHmac("sha1", secretAccessKey).update(text, "latin1").digest("base64");
}

function decoded(value: string): string {
  try {
    return decodeURIComponent(value.replaceAll("+", " "));
  } catch {
    return value;
  }
}

/** A field of a form that a signature needs. Throws S3's error if it is missing. */
export function requiredField(fields: FormFields, name: string): string {
  const value = fields.get(name);
  if (value !== undefined) return value;
  const message = `Bucket POST must contain a field named '${name}'.  If it is specified, please check the order of the fields.`;
  throw refused("InvalidArgument", message);
}
