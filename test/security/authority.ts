import "./reflect.js";
import { webcrypto } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  BasicConstraintsExtension,
  cryptoProvider,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  type X509Certificate,
  X509CertificateGenerator,
} from "@peculiar/x509";

const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
const HOUR_MS = 3_600_000;

cryptoProvider.set(webcrypto as never);

/** A certificate with its key, in PEM. */
export interface Pair {
  readonly cert: string;
  readonly key: string;
}

/** A certificate authority for a test. */
export class Authority {
  readonly #keys: webcrypto.CryptoKeyPair;
  readonly #certificate: X509Certificate;

  static #serial = 1;

  private constructor(keys: webcrypto.CryptoKeyPair, certificate: X509Certificate) {
    this.#keys = keys;
    this.#certificate = certificate;
  }

  static async create(name: string): Promise<Authority> {
    const keys = await generateKeys();
    const certificate = await X509CertificateGenerator.createSelfSigned({
      serialNumber: Authority.#nextSerial(),
      name: `CN=${name}`,
      ...validNow(),
      keys,
      signingAlgorithm: ALGORITHM,
      extensions: [
        new BasicConstraintsExtension(true, 0, true),
        new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
      ],
    });
    return new Authority(keys, certificate);
  }

  get pem(): string {
    return `${this.#certificate.toString("pem")}\n`;
  }

  /** Issues a certificate for servers and clients, with the names (hosts or URIs) and the loopback address. */
  issue(...names: string[]): Promise<Pair> {
    return this.issueUntil(Date.now() + HOUR_MS, ...names);
  }

  /** Issues the same with an expiry (milliseconds since 1970). It is valid from an hour before now or before the expiry. */
  async issueUntil(notAfterMs: number, ...names: string[]): Promise<Pair> {
    const keys = await generateKeys();
    const certificate = await X509CertificateGenerator.create({
      serialNumber: Authority.#nextSerial(),
      subject: `CN=${names[0] ?? "member"}`,
      issuer: this.#certificate.subject,
      notBefore: new Date(Math.min(Date.now(), notAfterMs) - HOUR_MS),
      notAfter: new Date(notAfterMs),
      signingKey: this.#keys.privateKey,
      publicKey: keys.publicKey,
      signingAlgorithm: ALGORITHM,
      extensions: [
        new SubjectAlternativeNameExtension([
          ...names.map((value) => ({ type: value.includes("://") ? ("url" as const) : ("dns" as const), value })),
          { type: "ip" as const, value: "127.0.0.1" },
        ]),
      ],
    });
    const pkcs8 = Buffer.from(await webcrypto.subtle.exportKey("pkcs8", keys.privateKey)).toString("base64");
    const key = `-----BEGIN PRIVATE KEY-----\n${pkcs8.replace(/.{64}/g, "$&\n")}\n-----END PRIVATE KEY-----\n`;
    return { cert: certificate.toString("pem"), key };
  }

  static #nextSerial(): string {
    return (Authority.#serial++).toString(16).padStart(4, "0");
  }
}

/** The certificate files of a member, as Kubernetes mounts them. */
export class CertificateFiles {
  readonly cert: string;
  readonly key: string;
  readonly ca: string;

  constructor(directory: string) {
    this.cert = join(directory, "tls.crt");
    this.key = join(directory, "tls.key");
    this.ca = join(directory, "ca.crt");
  }

  write(pair: Pair, ca: string): void {
    writeFileSync(this.cert, pair.cert);
    writeFileSync(this.key, pair.key);
    writeFileSync(this.ca, ca);
  }

  /** Returns the flags of `serve` for mutual TLS. */
  get flags(): string[] {
    return ["--tls-cert", this.cert, "--tls-key", this.key, "--tls-ca", this.ca];
  }
}

function generateKeys(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]) as Promise<webcrypto.CryptoKeyPair>;
}

function validNow(): { notBefore: Date; notAfter: Date } {
  return { notBefore: new Date(Date.now() - HOUR_MS), notAfter: new Date(Date.now() + HOUR_MS) };
}
