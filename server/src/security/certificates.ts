import { createSecureContext } from "node:tls";

/** Who this member is to others, and whose members and clients it trusts; all in PEM. */
export interface Certificates {
  /** The chain, the member's own certificate first. */
  readonly cert: Buffer;
  readonly key: Buffer;
  /** Undefined: clients need no certificate, and members' are checked by the system's authorities. */
  readonly ca: Buffer | undefined;
}

/** Takes the contents of the files. Throws where certificate and key are none, or do not belong together. */
export function readCertificates([cert, key, ca]: readonly Buffer[]): Certificates {
  const certificates = { cert: cert!, key: key!, ca };
  if (ca !== undefined && !ca.includes("-----BEGIN CERTIFICATE-----"))
    throw new Error("the file of --tls-ca holds no certificate");
  createSecureContext(certificates);
  return certificates;
}
