import { readFile } from "node:fs/promises";
import { createSecureContext, rootCertificates, type SecureContext } from "node:tls";

/**
 * Trusts the authorities of a file (PEM) besides Node's own and those of NODE_EXTRA_CA_CERTS; undefined for no file. Rejects if a
 * file cannot be read.
 */
export async function trusting(file: string | undefined): Promise<SecureContext | undefined> {
  if (file === undefined) return undefined;
  // Node adds its extra authorities only where no others are named.
  const extra = process.env.NODE_EXTRA_CA_CERTS;
  const files = await Promise.all([file, ...(extra === undefined || extra === "" ? [] : [extra])].map(readAuthorities));
  return createSecureContext({ ca: [...rootCertificates, ...files] });
}

async function readAuthorities(path: string): Promise<string> {
  const text = await readFile(path, "utf8");
  if (!text.includes("-----BEGIN CERTIFICATE-----")) throw new Error(`${path} contains no certificate (PEM)`);
  return text;
}
