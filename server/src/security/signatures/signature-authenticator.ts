import type { Clock } from "../../runtime/clock.js";
import { Query } from "../../runtime/query.js";
import type { Authenticated, Authenticator, FormFields, PresentedRequest } from "../authenticator.js";
import type { AccessKey } from "../identities/identities-file.js";
import type { IdentitiesFile } from "../identities/identity-tokens.js";
import {
  AuthorizationHeaders,
  type Credential,
  credentialIn,
  type Malformed,
  refused,
  type SignedHeaders,
  signedHeadersIn,
} from "./authorization-header.js";
import { authenticateForm } from "./form-signature.js";
import { amzDateMs, mayBePresigned } from "./presigned.js";
import {
  checkSessionToken,
  checkSkew,
  httpDateMs,
  isEqual,
  isRepeated,
  MAX_SKEW_MS,
  ONE_MECHANISM,
  textOf,
  WRONG_SIGNATURE,
} from "./signature-rules.js";
import { canonicalOf, partsOf, type TargetParts } from "./signed-request.js";
import { ALGORITHM, type ChunkSignatures, Signer } from "./signer.js";

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
  readonly credential: Credential;
  readonly signed: SignedHeaders;
  /** As sent; compared as text. */
  readonly signature: string;
  readonly amzDate: string;
  readonly sessionToken: string | undefined;
  readonly payloadHash: string;
}

/**
 * Authenticates S3 requests by their signatures (SigV4), in a header or in the query of a presigned URL, with the access keys of the
 * identities file. It follows S3's rules: the host and all `x-amz-*` headers must be signed, the path is not normalised, a signature in
 * a header is valid for 15 minutes. A request with an unknown access key presents nothing to this authenticator.
 */
export class SignatureAuthenticator implements Authenticator {
  readonly #options: SignatureAuthenticatorOptions;
  readonly #signer = new Signer();
  readonly #headers = new AuthorizationHeaders();
  /** The date of the last request, which those of the same second share. */
  #dated: { readonly text: string; readonly ms: number } | undefined;

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
    const found = authorization?.startsWith("AWS4") === true ? this.#headers.parse(authorization) : undefined;
    const key = found && this.#options.file.current.accessKeys.get(found.form.accessKeyId);
    if (key === undefined) return undefined;
    const scope = { region: found!.form.region, service: "s3" };
    return this.#signer.chunks(found!.signature, amzDateIn(headers)[0], key, scope);
  }

  authenticateForm(fields: FormFields): Authenticated | undefined {
    return authenticateForm(fields, this.#options.file.current, this.#signer, this.#options.clock);
  }

  /** A signature in the Authorization header. */
  #signed(request: PresentedRequest, parts: TargetParts, authorization: string): Authenticated | undefined {
    const { headers } = request;
    if (isRepeated(request, "authorization")) throw refused("InvalidArgument", ONE_MECHANISM);
    const found = this.#headers.parse(authorization);
    if (found === undefined) return undefined;
    const key = this.#options.file.current.accessKeys.get(found.form.accessKeyId);
    if (key === undefined) return undefined;
    const { text: amzDate, ms: signedAtMs } = this.#dateOf(headers);
    const payloadHash = headers["x-amz-content-sha256"];
    if (payloadHash === undefined)
      throw refused("InvalidRequest", "Missing required header for this request: x-amz-content-sha256");
    const signature = {
      credential: found.form,
      signed: found.form.signed,
      signature: found.signature,
      amzDate,
      payloadHash: String(payloadHash),
      sessionToken: textOf(headers["x-amz-security-token"]),
    };
    checkSkew(signedAtMs, this.#options.clock.nowMs());
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
      credential,
      amzDate,
      signed: signedHeadersIn(query.get("X-Amz-SignedHeaders") ?? "", code),
      signature: query.get("X-Amz-Signature") ?? "",
      sessionToken: query.get("X-Amz-Security-Token"),
      payloadHash: query.get("X-Amz-Content-Sha256") ?? textOf(request.headers["x-amz-content-sha256"]) ?? "UNSIGNED-PAYLOAD",
    };
    return this.#verify(request, parts, signature, key, code);
  }

  #verify(
    request: PresentedRequest,
    parts: TargetParts,
    { credential, signed, signature, amzDate, sessionToken, payloadHash }: Signature,
    key: AccessKey,
    code: Malformed,
  ): Authenticated {
    const { day, region } = credential;
    if (!amzDate.startsWith(day)) throw refused(code, "Invalid credential date: it differs from the date of the request");
    if (!PAYLOAD_HASH.test(payloadHash)) {
      throw refused(
        "InvalidArgument",
        "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, a value of STREAMING or a valid sha256 value.",
      );
    }
    const unsigned = unsignedHeader(request.headers, signed);
    if (unsigned !== undefined) {
      throw refused("AccessDenied", `There were headers present in the request which were not signed: ${unsigned}`);
    }
    checkSessionToken(sessionToken, key);
    const isRight = (host: string | undefined): boolean => {
      const canonical = canonicalOf(request, parts, { signed, payloadHash, host });
      if (canonical === undefined) return false;
      const right = this.#signer.signatureOf(canonical, amzDate, key, { region, service: "s3" });
      return isEqual(right, signature);
    };
    if (isRight(undefined)) return key.authenticated;
    const { externalHost, namesBucket } = this.#options;
    const received = parts.authority ?? request.headers.host ?? "";
    if (externalHost !== undefined && !namesBucket(received) && isRight(externalHost)) return key.authenticated;
    throw refused("SignatureDoesNotMatch", WRONG_SIGNATURE);
  }

  #dateOf(headers: PresentedRequest["headers"]): { readonly text: string; readonly ms: number } {
    if (this.#dated === undefined || this.#dated.text !== headers["x-amz-date"]) {
      const [text, ms] = amzDateIn(headers);
      this.#dated = { text, ms };
    }
    return this.#dated;
  }
}

const SIGNATURES_IN_QUERY = ["X-Amz-Signature", "X-Amz-Credential", "X-Amz-Algorithm", "AWSAccessKeyId"];

const PAYLOAD_HASH = /^(?:[0-9a-f]{64}|UNSIGNED-PAYLOAD|STREAMING-[A-Z0-9-]{1,60})$/;

/** The time at which a request with a signature in a header was signed, in the form of SigV4. */
function amzDateIn(headers: PresentedRequest["headers"]): [text: string, ms: number] {
  const given = textOf(headers["x-amz-date"]);
  const ms = given === undefined ? httpDateMs(headers.date) : amzDateMs(given);
  if (ms === undefined) throw refused("AccessDenied", "AWS authentication requires a valid Date or x-amz-date header");
  return [given ?? `${new Date(ms).toISOString().slice(0, 19).replace(/[-:]/g, "")}Z`, ms];
}

/** A parameter of a presigned URL that appears twice. */
function repeatedIn(query: string): string | undefined {
  const names = query.split("&").map((part) => part.split("=", 1)[0]!);
  const own = names.filter((name) => /^X-Amz-/i.test(name));
  return own.find((name, at) => own.indexOf(name) !== at);
}

/** A header that changes what a request does, and that is not signed. The hash of the body is part of what is signed by itself. */
function unsignedHeader(headers: PresentedRequest["headers"], { places }: SignedHeaders): string | undefined {
  for (const name in headers) {
    const matters = (name.startsWith("x-amz-") && name !== "x-amz-content-sha256") || name === "frontcache-warm";
    if (matters && !places.has(name)) return name;
  }
  return undefined;
}
