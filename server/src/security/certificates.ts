import { X509Certificate } from "node:crypto";
import { createSecureContext } from "node:tls";

/** A member's own certificate, and the authorities that it trusts; all PEM. */
export interface Certificates {
  /** The chain, the member's own certificate first. */
  readonly cert: Buffer;
  readonly key: Buffer;
  /** Undefined: clients need no certificate, and members' certificates are verified with the system's authorities. */
  readonly ca: Buffer | undefined;
  /** The parsed chain. Only `cert`, `key` and `ca` are given to TLS. */
  readonly chain: readonly X509Certificate[];
}

const DAY_MS = 86_400_000;

/** A certificate that expires sooner is worth a warning. cert-manager renews at a third of the lifetime, 30 days by default. */
const EXPIRES_SOON_MS = 7 * DAY_MS;

const PEM_CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

/** Parses the files' contents. Throws if one is not valid PEM, or if the key does not match the certificate. */
export function readCertificates([cert, key, ca]: readonly Buffer[]): Certificates {
  const chain = parse(cert!, "--tls-cert");
  if (ca !== undefined) parse(ca, "--tls-ca");
  try {
    createSecureContext({ cert: cert!, key: key!, ca });
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const isMismatch = code === "ERR_OSSL_X509_KEY_VALUES_MISMATCH";
    const text = isMismatch ? "the private key does not match the certificate (key values mismatch)" : message;
    throw new Error(text, { cause: error });
  }
  return { cert: cert!, key: key!, ca, chain };
}

function parse(file: Buffer, flag: string): X509Certificate[] {
  const found = file.toString("latin1").match(PEM_CERTIFICATE) ?? [];
  if (found.length === 0) {
    const isKey = file.includes("PRIVATE KEY-----");
    throw new Error(`the file of ${flag} contains ${isKey ? "a private key instead of a certificate" : "no certificate"}`);
  }
  return found.map((pem) => new X509Certificate(pem));
}

/** When the first certificate of the chain expires, milliseconds since 1970. */
export function expiryMs({ chain }: Certificates): number {
  return Math.min(...chain.map(({ validTo }) => Date.parse(validTo)));
}

/** Problems for which connections to this member, or from it to other members, will fail: one line each. */
export function certificateProblems(certificates: Certificates, serverName: string | undefined, nowMs: number): string[] {
  const [own] = certificates.chain;
  const problems: string[] = [];
  const expiresMs = expiryMs(certificates);
  const expires = new Date(expiresMs).toISOString();
  if (expiresMs <= nowMs) problems.push(`the certificate expired on ${expires}: replace it`);
  else if (expiresMs - nowMs < EXPIRES_SOON_MS) problems.push(`the certificate expires soon, on ${expires}: replace it`);
  if (Date.parse(own!.validFrom) > nowMs)
    problems.push(`the certificate is not valid before ${new Date(own!.validFrom).toISOString()}: check the clock`);
  if (serverName !== undefined && own!.checkHost(serverName) === undefined)
    problems.push(
      `the certificate is not valid for --tls-server-name ${serverName}: other members that check this name refuse it`,
    );
  if (certificates.ca !== undefined && !isSignedBy(certificates.chain, parse(certificates.ca, "--tls-ca")))
    problems.push("no certificate of --tls-ca signed this member's certificate: other members with the same --tls-ca refuse it");
  return problems;
}

/** Whether an authority signed a certificate of the chain, or is one of them. */
function isSignedBy(chain: readonly X509Certificate[], authorities: readonly X509Certificate[]): boolean {
  return chain.some((certificate) =>
    authorities.some(
      (authority) =>
        authority.fingerprint256 === certificate.fingerprint256 ||
        (certificate.checkIssued(authority) && certificate.verify(authority.publicKey)),
    ),
  );
}
