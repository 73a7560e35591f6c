import { timingSafeEqual } from "node:crypto";
import { CacheError, type S3Code } from "@frontcache/proto";
import type { Clock } from "../../runtime/clock.js";
import { Query } from "../../runtime/query.js";
import type { Authenticated, Authenticator, PresentedRequest } from "../authenticator.js";
import type { AccessKey } from "../identities/identities-file.js";
import type { IdentitiesFile } from "../identities/identity-tokens.js";
import { amzDateMs, mayBePresigned } from "./presigned.js";
import { partsOf, signableOf, type TargetParts } from "./signed-request.js";
import { ALGORITHM, type ChunkSignatures, Signer, type SigningIdentity } from "./signer.js";

export interface SignatureAuthenticatorOptions {
  readonly file: IdentitiesFile;
  /** The host that clients sign for if a proxy replaces the Host header; undefined: the one that is received. */
  readonly externalHost: string | undefined;
  /** Whether a host names a bucket. Such a host is never replaced by the external one, because it is part of what is asked for. */
  readonly namesBucket: (host: string) => boolean;
  readonly clock: Pick<Clock, "nowMs">;
}

/** A signature of version 4, from a header or a query. */
interface Signature {
  readonly accessKeyId: string;
  readonly day: string;
  readonly region: string;
  /** As sent: names in lower case, separated by semicolons. */
  readonly signedHeaders: string;
  /** As sent; compared as text. */
  readonly signature: string;
  readonly amzDate: string;
  readonly sessionToken: string | undefined;
  readonly payloadHash: string;
}

/** How far the clocks of a client and a member may differ, and how long a signed request can be repeated. S3's limit. */
const MAX_SKEW_MS = 15 * 60_000;

/** Errors of SigV4's parts have different codes in a header and in a query. */
type Malformed = Extract<S3Code, "AuthorizationHeaderMalformed" | "AuthorizationQueryParametersError">;

/**
 * Authenticates S3 requests by their signatures (SigV4), in a header or in the query of a presigned URL, with the access keys of the
 * identities file. It follows S3's rules: the host and all `x-amz-*` headers must be signed, the path is not normalised, a signature in
 * a header is valid for 15 minutes. A request with an unknown access key presents nothing to this authenticator.
 */
export class SignatureAuthenticator implements Authenticator {
  readonly #options: SignatureAuthenticatorOptions;
  readonly #signer = new Signer();
  /** Access keys in the form of the signer, which caches the keys that it derives from them. */
  readonly #identities = new WeakMap<AccessKey, SigningIdentity>();

  constructor(options: SignatureAuthenticatorOptions) {
    this.#options = options;
  }

  get revision(): number {
    return this.#options.file.revision;
  }

  authenticate(request: PresentedRequest): Authenticated | undefined {
    const { accessKeys } = this.#options.file.current;
    const { url = "", headers } = request;
    if (accessKeys.size === 0) return undefined;
    const { authorization } = headers;
    const inQuery = mayBePresigned(url);
    const isSigned = authorization?.startsWith("AWS") === true;
    if (!inQuery && !isSigned) return undefined;
    const parts = partsOf(url);
    const query = inQuery ? new Query(parts.query) : undefined;
    const isPresigned = query !== undefined && SIGNATURES_IN_QUERY.some((name) => query.has(name));
    if (isPresigned && authorization !== undefined) throw refused("InvalidArgument", ONE_MECHANISM);
    if (isPresigned) return this.#presigned(request, parts, query);
    return isSigned ? this.#signed(request, parts, authorization) : undefined;
  }

  chunkSignatures({ headers }: PresentedRequest): ChunkSignatures | undefined {
    const { authorization } = headers;
    const found = authorization?.startsWith("AWS4") === true ? inHeader(authorization) : undefined;
    const key = found && this.#options.file.current.accessKeys.get(found.accessKeyId);
    if (key === undefined) return undefined;
    const { signature, region } = found!;
    return this.#signer.chunks(signature, amzDateIn(headers)[0], this.#identityOf(key), { region, service: "s3" });
  }

  /** A signature in the Authorization header. */
  #signed(request: PresentedRequest, parts: TargetParts, authorization: string): Authenticated | undefined {
    const { headers } = request;
    if (isRepeated(request, "authorization")) throw refused("InvalidArgument", ONE_MECHANISM);
    const found = inHeader(authorization);
    if (found === undefined) return undefined;
    const key = this.#options.file.current.accessKeys.get(found.accessKeyId);
    if (key === undefined) return undefined;
    const [amzDate, signedAtMs] = amzDateIn(headers);
    const payloadHash = headers["x-amz-content-sha256"];
    if (payloadHash === undefined)
      throw refused("InvalidRequest", "Missing required header for this request: x-amz-content-sha256");
    const signature = {
      ...found,
      amzDate,
      payloadHash: String(payloadHash),
      sessionToken: textOf(headers["x-amz-security-token"]),
    };
    const ageMs = this.#options.clock.nowMs() - signedAtMs;
    if (Math.abs(ageMs) > MAX_SKEW_MS) {
      throw refused("RequestTimeTooSkewed", "The difference between the request time and the current time is too large.");
    }
    return this.#verify(request, parts, signature, key, "AuthorizationHeaderMalformed");
  }

  /** A signature in the query. Its expiry has been checked for every request. */
  #presigned(request: PresentedRequest, parts: TargetParts, query: Query): Authenticated | undefined {
    if (!query.has("X-Amz-Credential")) return undefined;
    const code = "AuthorizationQueryParametersError";
    const credential = credentialIn(query.get("X-Amz-Credential") ?? "", code);
    const key = this.#options.file.current.accessKeys.get(credential.accessKeyId);
    if (key === undefined) return undefined;
    if (query.get("X-Amz-Algorithm") !== ALGORITHM) throw refused(code, `X-Amz-Algorithm only supports "${ALGORITHM}"`);
    const repeated = repeatedIn(parts.query);
    if (repeated !== undefined) throw refused(code, `${repeated} appears more than once`);
    const amzDate = query.get("X-Amz-Date") ?? "";
    if (amzDateMs(amzDate)! > this.#options.clock.nowMs() + MAX_SKEW_MS)
      throw refused("AccessDenied", "Request is not valid yet");
    const signature = {
      ...credential,
      amzDate,
      signedHeaders: query.get("X-Amz-SignedHeaders") ?? "",
      signature: query.get("X-Amz-Signature") ?? "",
      sessionToken: query.get("X-Amz-Security-Token"),
      payloadHash: query.get("X-Amz-Content-Sha256") ?? textOf(request.headers["x-amz-content-sha256"]) ?? "UNSIGNED-PAYLOAD",
    };
    return this.#verify(request, parts, signature, key, code);
  }

  #verify(
    request: PresentedRequest,
    parts: TargetParts,
    { day, region, signedHeaders, signature, amzDate, sessionToken, payloadHash }: Signature,
    key: AccessKey,
    code: Malformed,
  ): Authenticated {
    if (!amzDate.startsWith(day)) throw refused(code, "Invalid credential date: it differs from the date of the request");
    if (!PAYLOAD_HASH.test(payloadHash)) {
      throw refused(
        "InvalidArgument",
        "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, a value of STREAMING or a valid sha256 value.",
      );
    }
    const names = signedHeaders.split(";");
    if (!isSorted(names) || !names.includes("host")) throw refused(code, "SignedHeaders must be sorted and contain host");
    const unsigned = unsignedHeader(request.headers, names);
    if (unsigned !== undefined) {
      throw refused("AccessDenied", `There were headers present in the request which were not signed: ${unsigned}`);
    }
    checkSessionToken(sessionToken, key);
    const isRight = (host: string | undefined): boolean => {
      const signable = signableOf(request, parts, { names, payloadHash, host });
      if (signable === undefined) return false;
      const right = this.#signer.signature(signable, amzDate, this.#identityOf(key), { region, service: "s3" });
      return isEqual(right, signature);
    };
    if (isRight(undefined)) return key.authenticated;
    const { externalHost, namesBucket } = this.#options;
    const received = parts.authority ?? request.headers.host ?? "";
    if (externalHost !== undefined && !namesBucket(received) && isRight(externalHost)) return key.authenticated;
    throw refused(
      "SignatureDoesNotMatch",
      "The request signature we calculated does not match the signature you provided. Check your key and signing method.",
    );
  }

  #identityOf(key: AccessKey): SigningIdentity {
    let identity = this.#identities.get(key);
    if (identity === undefined) {
      identity = { accessKeyId: key.id, secretAccessKey: key.secret };
      this.#identities.set(key, identity);
    }
    return identity;
  }
}

const SIGNATURES_IN_QUERY = ["X-Amz-Signature", "X-Amz-Credential", "X-Amz-Algorithm", "AWSAccessKeyId"];

const ONE_MECHANISM =
  "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter or the Authorization header should be specified";

const PAYLOAD_HASH = /^(?:[0-9a-f]{64}|UNSIGNED-PAYLOAD|STREAMING-[A-Z0-9-]{1,60})$/;

/** How the SDKs write it: a tenth of a verification is saved if it need not be split. */
const USUAL_HEADER = /^AWS4-HMAC-SHA256 Credential=([^ ,]+), ?SignedHeaders=([^ ,]+), ?Signature=([^ ,]+)$/;

/** The fields of an Authorization header of SigV4, in any order, each once. Undefined: it is of another kind. */
function inHeader(
  authorization: string,
): Pick<Signature, "accessKeyId" | "day" | "region" | "signedHeaders" | "signature"> | undefined {
  const usual = USUAL_HEADER.exec(authorization);
  if (usual !== null) {
    return { ...credentialIn(usual[1]!, "AuthorizationHeaderMalformed"), signedHeaders: usual[2]!, signature: usual[3]! };
  }
  const [, text] = /^AWS4-HMAC-SHA256 +(.*)$/.exec(authorization) ?? [];
  if (text === undefined) return undefined;
  const fields = new Map<string, string>();
  for (const field of text.split(",")) {
    const [, name, value] = /^ *(Credential|SignedHeaders|Signature)=([^ ]+) *$/.exec(field) ?? [];
    if (name === undefined || value === undefined || fields.has(name)) {
      throw refused("AuthorizationHeaderMalformed", "The authorization header that you provided is not valid.");
    }
    fields.set(name, value);
  }
  const [credential, signedHeaders, signature] = ["Credential", "SignedHeaders", "Signature"].map((name) => fields.get(name));
  if (credential === undefined || signedHeaders === undefined || signature === undefined) {
    throw refused("AuthorizationHeaderMalformed", "The authorization header requires Credential, SignedHeaders and Signature.");
  }
  return { ...credentialIn(credential, "AuthorizationHeaderMalformed"), signedHeaders, signature };
}

/** The parts of `id/date/region/s3/aws4_request`. An ID may contain slashes. */
function credentialIn(text: string, code: Malformed): Pick<Signature, "accessKeyId" | "day" | "region"> {
  const [, accessKeyId, day, region, service] = /^(.+)\/(\d{8})\/([^/]+)\/([^/]+)\/aws4_request$/.exec(text) ?? [];
  if (accessKeyId === undefined || day === undefined || region === undefined) {
    throw refused(code, "the Credential is mal-formed; expecting <access key ID>/YYYYMMDD/REGION/SERVICE/aws4_request");
  }
  if (service !== "s3") throw refused(code, 'incorrect service; this endpoint belongs to "s3"');
  return { accessKeyId, day, region };
}

/** The time at which a request with a signature in a header was signed, in the form of SigV4. */
function amzDateIn(headers: PresentedRequest["headers"]): [text: string, ms: number] {
  const given = textOf(headers["x-amz-date"]);
  const ms = given === undefined ? httpDateMs(headers.date) : amzDateMs(given);
  if (ms === undefined) throw refused("AccessDenied", "AWS authentication requires a valid Date or x-amz-date header");
  return [given ?? `${new Date(ms).toISOString().slice(0, 19).replace(/[-:]/g, "")}Z`, ms];
}

/** The form that RFC 9110 prefers; `Date.parse` accepts many others. */
const HTTP_DATE = /^[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT$/;

function httpDateMs(text: string | undefined): number | undefined {
  const ms = text !== undefined && HTTP_DATE.test(text) ? Date.parse(text) : Number.NaN;
  return Number.isNaN(ms) ? undefined : ms;
}

function textOf(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value.join(", ") : value;
}

function isRepeated({ rawHeaders = [] }: PresentedRequest, name: string): boolean {
  let count = 0;
  for (let at = 0; at < rawHeaders.length; at += 2) {
    if (rawHeaders[at]!.length === name.length && rawHeaders[at]!.toLowerCase() === name) count++;
  }
  return count > 1;
}

/** A parameter of a presigned URL that appears twice. */
function repeatedIn(query: string): string | undefined {
  const names = query.split("&").map((part) => part.split("=", 1)[0]!);
  const own = names.filter((name) => /^X-Amz-/i.test(name));
  return own.find((name, at) => own.indexOf(name) !== at);
}

function isSorted(names: readonly string[]): boolean {
  for (let at = 0; at < names.length; at++) {
    const name = names[at]!;
    if (!/^[!#$%&'*+.^_`|~0-9a-z-]+$/.test(name)) return false;
    if (at > 0 && names[at - 1]! >= name) return false;
  }
  return true;
}

/** A header that changes what a request does, and that is not signed. The hash of the body is part of what is signed by itself. */
function unsignedHeader(headers: PresentedRequest["headers"], names: readonly string[]): string | undefined {
  for (const name in headers) {
    const matters = (name.startsWith("x-amz-") && name !== "x-amz-content-sha256") || name === "frontcache-warm";
    if (matters && !names.includes(name)) return name;
  }
  return undefined;
}

function checkSessionToken(sent: string | undefined, { sessionToken }: AccessKey): void {
  if (sessionToken === undefined ? sent === undefined : sent !== undefined && isEqual(sent, sessionToken)) return;
  throw refused("InvalidToken", "The provided token is malformed or otherwise invalid.");
}

/** Compares in a time that depends on the lengths alone. */
function isEqual(one: string, other: string): boolean {
  const [a, b] = [Buffer.from(one), Buffer.from(other)];
  return a.length === b.length && timingSafeEqual(a, b);
}

function refused(s3Code: S3Code, message: string): CacheError {
  return new CacheError("UNAUTHENTICATED", message, { s3Code });
}
