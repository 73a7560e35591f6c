import { CacheError, type S3Code } from "@frontcache/proto";
import { BoundedMap } from "@frontcache/proto/runtime";

/** The parts of a credential of version 4. */
export interface Credential {
  readonly accessKeyId: string;
  readonly day: string;
  readonly region: string;
}

/** The names of the headers that a signature covers. */
export interface SignedHeaders {
  /** In lower case and in order; `host` is among them. */
  readonly names: readonly string[];
  /** The place of each name. */
  readonly places: ReadonlyMap<string, number>;
  /** All names, separated by semicolons. */
  readonly list: string;
}

/** An Authorization header of version 4 without its signature: the same for all requests of a client that sign the same headers. */
export interface HeaderForm extends Credential {
  readonly signed: SignedHeaders;
}

/** Errors of SigV4's parts have different codes in a header and in a query. */
export type Malformed = Extract<S3Code, "AuthorizationHeaderMalformed" | "AuthorizationQueryParametersError">;

const MALFORMED = "AuthorizationHeaderMalformed";

/** How the SDKs write it. */
const USUAL_HEADER = /^AWS4-HMAC-SHA256 Credential=([^ ,]+), ?SignedHeaders=([^ ,]+), ?Signature=([^ ,]+)$/;

const SIGNATURE_FIELD = "Signature=";

/** Forms that are remembered, and the longest of them. */
const MAX_FORMS = 1_000;
const MAX_FORM_LENGTH = 1_024;

/** Parses Authorization headers of version 4. It remembers the parts that repeat. */
export class AuthorizationHeaders {
  readonly #forms = new BoundedMap<string, HeaderForm>(MAX_FORMS);

  /** The fields of a header, in any order, each once. Undefined: it is of another kind. Throws S3's error for a malformed one. */
  parse(authorization: string): { readonly form: HeaderForm; readonly signature: string } | undefined {
    const end = authorization.lastIndexOf(SIGNATURE_FIELD) + SIGNATURE_FIELD.length;
    const start = authorization.slice(0, end);
    const known = this.#forms.peek(start);
    if (known !== undefined) return { form: known, signature: authorization.slice(end) };
    const [, credential, signedHeaders, signature] = USUAL_HEADER.exec(authorization) ?? fieldsOf(authorization) ?? [];
    if (credential === undefined || signedHeaders === undefined || signature === undefined) return undefined;
    const form = { ...credentialIn(credential, MALFORMED), signed: signedHeadersIn(signedHeaders, MALFORMED) };
    if (start + signature === authorization && start.length <= MAX_FORM_LENGTH) this.#forms.set(start, form);
    return { form, signature };
  }
}

/** The header, its credential, signed headers and signature. Undefined: it is of another kind. */
function fieldsOf(authorization: string): readonly string[] | undefined {
  const [, text] = /^AWS4-HMAC-SHA256 +(.*)$/.exec(authorization) ?? [];
  if (text === undefined) return undefined;
  const fields = new Map<string, string>();
  for (const field of text.split(",")) {
    const [, name, value] = /^ *(Credential|SignedHeaders|Signature)=([^ ]+) *$/.exec(field) ?? [];
    if (name === undefined || value === undefined || fields.has(name)) {
      throw refused(MALFORMED, "The authorization header that you provided is not valid.");
    }
    fields.set(name, value);
  }
  const [credential, signedHeaders, signature] = ["Credential", "SignedHeaders", "Signature"].map((name) => fields.get(name));
  if (credential === undefined || signedHeaders === undefined || signature === undefined) {
    throw refused(MALFORMED, "The authorization header requires Credential, SignedHeaders and Signature.");
  }
  return [authorization, credential, signedHeaders, signature];
}

/** The parts of `id/date/region/s3/aws4_request`. An ID may contain slashes. */
export function credentialIn(text: string, code: Malformed): Credential {
  const [, accessKeyId, day, region, service] = /^(.+)\/(\d{8})\/([^/]+)\/([^/]+)\/aws4_request$/.exec(text) ?? [];
  if (accessKeyId === undefined || day === undefined || region === undefined) {
    throw refused(code, "the Credential is mal-formed; expecting <access key ID>/YYYYMMDD/REGION/SERVICE/aws4_request");
  }
  if (service !== "s3") throw refused(code, 'incorrect service; this endpoint belongs to "s3"');
  return { accessKeyId, day, region };
}

/** The names of signed headers, separated by semicolons. */
export function signedHeadersIn(text: string, code: Malformed): SignedHeaders {
  const names = text.split(";");
  if (!isSorted(names) || !names.includes("host")) throw refused(code, "SignedHeaders must be sorted and contain host");
  return signedHeadersOf(names);
}

/** The same of a list of names, which is not checked. */
export function signedHeadersOf(names: readonly string[]): SignedHeaders {
  return { names, places: new Map(names.map((name, at) => [name, at])), list: names.join(";") };
}

function isSorted(names: readonly string[]): boolean {
  for (let at = 0; at < names.length; at++) {
    const name = names[at]!;
    if (!/^[!#$%&'*+.^_`|~0-9a-z-]+$/.test(name)) return false;
    if (at > 0 && names[at - 1]! >= name) return false;
  }
  return true;
}

/** The error of a request with invalid credentials. */
export function refused(s3Code: S3Code, message: string): CacheError {
  return new CacheError("UNAUTHENTICATED", message, { s3Code });
}
