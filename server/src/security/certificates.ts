import { createSecureContext } from "node:tls";

/** A member's own certificate, and the authorities that it trusts; all PEM. */
export interface Certificates {
  /** The chain, the member's own certificate first. */
  readonly cert: Buffer;
  readonly key: Buffer;
  /** Undefined: clients need no certificate, and members' certificates are verified with the system's authorities. */
  readonly ca: Buffer | undefined;
}

/** Parses the files' contents. Throws if one is not valid PEM, or if the key does not match the certificate. */
export function readCertificates([cert, key, ca]: readonly Buffer[]): Certificates {
  const certificates = { cert: cert!, key: key!, ca };
  if (ca !== undefined && !ca.includes("-----BEGIN CERTIFICATE-----"))
    throw new Error("the file of --tls-ca contains no certificate");
  createSecureContext(certificates);
  return certificates;
}
