import type { X509Certificate } from "node:crypto";

/** The names in a certificate that can be a principal's, in the forms of the identities file. */
export interface CertificateNames {
  /** `URI:uri`, `CN=name`, `email:address` and `DNS:host`, in this order; the first one names a principal without an identity. */
  readonly names: readonly string[];
  /** `O=organization` and `OU=unit` of the subject. */
  readonly groups: readonly string[];
}

/** The order of names. A URI such as SPIFFE's names exactly one workload, a host name often several. */
const KINDS = ["URI:", "CN=", "email:", "DNS:"];

/** One alternative name. Node.js writes names that contain a comma, or could be taken for several, as JSON texts. */
const ALTERNATIVE = /([A-Za-z][A-Za-z ]*):(?:("(?:[^"\\]|\\.)*")|([^,"]*))(?:, |$)/y;

/** Reads the subject and the subject alternative names. Names with control characters are left out. */
export function namesIn({ subject, subjectAltName = "" }: Pick<X509Certificate, "subject" | "subjectAltName">): CertificateNames {
  const fields = subject.split("\n");
  const all = [...alternativeNames(subjectAltName), ...fields.filter((field) => field.startsWith("CN="))].filter(
    (name) => name.length <= MAX_LENGTH && !/\p{Cc}/u.test(name),
  );
  return {
    names: KINDS.flatMap((kind) => all.filter((name) => name.startsWith(kind) && name.length > kind.length)),
    groups: fields.filter((field) => /^OU?=./.test(field) && field.length <= MAX_LENGTH),
  };
}

const MAX_LENGTH = 512;

/** Splits alternative names as Node.js writes them. From a text that it would not write, no name is taken. */
export function alternativeNames(text: string): string[] {
  const names: string[] = [];
  ALTERNATIVE.lastIndex = 0;
  while (ALTERNATIVE.lastIndex < text.length) {
    const found = ALTERNATIVE.exec(text);
    if (found === null) return [];
    const [, kind, quoted, plain] = found;
    names.push(`${kind}:${quoted === undefined ? plain : String(JSON.parse(quoted))}`);
  }
  return names;
}
