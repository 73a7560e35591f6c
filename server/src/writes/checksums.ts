import { createHash, type Hash } from "node:crypto";
import { CacheError, type S3Code } from "@frontcache/proto";
import { type Crc, Crc32, Crc32c, Crc64Nvme } from "./crc.js";

/** The headers in which a client sends the checksum of a body, with the algorithms. */
const ALGORITHMS: Readonly<Record<string, { readonly bytes: number; create(): Crc | Hash }>> = {
  "x-amz-checksum-crc32": { bytes: 4, create: () => new Crc32() },
  "x-amz-checksum-crc32c": { bytes: 4, create: () => new Crc32c() },
  "x-amz-checksum-crc64nvme": { bytes: 8, create: () => new Crc64Nvme() },
  "x-amz-checksum-sha1": { bytes: 20, create: () => createHash("sha1") },
  "x-amz-checksum-sha256": { bytes: 32, create: () => createHash("sha256") },
};

/** Returns whether a header, or trailer, is the checksum of a body in a form that is verified here. */
export function isChecksumHeader(name: string): boolean {
  return Object.hasOwn(ALGORITHMS, name);
}

/** How long the value of a checksum is as text. `name` is one that `isChecksumHeader` accepts. */
export function checksumLength(name: string): number {
  return Math.ceil(ALGORITHMS[name]!.bytes / 3) * 4;
}

/** A digest of a body, and what it has to be. */
interface Check {
  readonly digest: Crc | Hash;
  /** Undefined: it comes after the body. */
  readonly expected: string | undefined;
  readonly encoding: "base64" | "hex";
  readonly code: S3Code;
  readonly what: string;
}

/** The checksums that a client sends with a body, which are compared with those of the bytes that arrived. */
export interface ExpectedChecksums {
  /** In base64. Undefined: not sent. */
  readonly contentMd5: string | undefined;
  /** The SHA-256 in hexadecimal that the request was signed with. Undefined: the body is not signed. */
  readonly payloadSha256: string | undefined;
  /** Headers with checksums, as `isChecksumHeader` accepts them. */
  readonly headers: readonly (readonly [name: string, value: string])[];
  /** GCS's form, `crc32c=...,md5=...` in base64. Absent: not sent. */
  readonly hashes?: string | undefined;
  /** The name of the checksum after the body. Undefined: the body has no trailer. */
  readonly trailer: string | undefined;
}

/** Verifies a body against the checksums that were sent with it, piece by piece. */
export class BodyChecksums {
  readonly #checks: Check[] = [];
  readonly #trailer: Check | undefined;

  /** Throws an error of S3 for a checksum of a wrong form. */
  constructor({ contentMd5, payloadSha256, headers, hashes, trailer }: ExpectedChecksums) {
    if (contentMd5 !== undefined) {
      if (!isBase64(contentMd5, 16)) throw refused("InvalidDigest", "The Content-MD5 you specified was invalid.");
      this.#add({ digest: createHash("md5"), expected: contentMd5, encoding: "base64", code: "BadDigest", what: "Content-MD5" });
    }
    if (payloadSha256 !== undefined) {
      const what = "x-amz-content-sha256";
      const [digest, code] = [createHash("sha256"), "XAmzContentSHA256Mismatch"] as const;
      this.#add({ digest, expected: payloadSha256, encoding: "hex", code, what });
    }
    for (const [name, value] of headers) {
      const { bytes, create } = ALGORITHMS[name]!;
      if (!isBase64(value, bytes)) throw refused("InvalidRequest", `Value for ${name} header is invalid.`);
      this.#add({ digest: create(), expected: value, encoding: "base64", code: "BadDigest", what: name });
    }
    for (const [name, value] of hashes === undefined ? [] : hashesIn(hashes)) {
      const { bytes, create } = HASHES[name]!;
      const what = `x-goog-hash ${name}`;
      if (!isBase64(value, bytes)) throw refused("InvalidDigest", `The ${what} you specified was invalid.`);
      this.#add({ digest: create(), expected: value, encoding: "base64", code: "BadDigest", what });
    }
    if (trailer === undefined) return;
    const digest = ALGORITHMS[trailer]!.create();
    this.#trailer = { digest, expected: undefined, encoding: "base64", code: "BadDigest", what: trailer };
    this.#add(this.#trailer);
  }

  update(bytes: Uint8Array): void {
    for (const { digest } of this.#checks) digest.update(bytes);
  }

  /** Throws S3's error if a checksum is not that of the bytes. `trailer` is the checksum that came after the body. Call it once. */
  verify(trailer: string | undefined): void {
    for (const check of this.#checks) {
      const { digest, encoding, code, what } = check;
      const expected = check === this.#trailer ? trailer : check.expected;
      const actual = digest.digest();
      const text = actual.toString(encoding);
      if (expected !== text) throw refused(code, `The ${what} you specified did not match what we received (${text}).`);
    }
  }

  #add(check: Check): void {
    this.#checks.push(check);
  }
}

/** The hashes of GCS, by their names. */
const HASHES: typeof ALGORITHMS = {
  crc32c: ALGORITHMS["x-amz-checksum-crc32c"]!,
  md5: { bytes: 16, create: () => createHash("md5") },
};

/** The hashes in a header of GCS. Throws S3's error if one is not known. */
function hashesIn(header: string): [name: string, value: string][] {
  return header.split(",").map((each) => {
    const [, name = "", value = ""] = /^\s*([^=]*)=(\S*)\s*$/.exec(each) ?? [];
    if (!Object.hasOwn(HASHES, name)) throw refused("InvalidDigest", "x-goog-hash must be crc32c=<base64> or md5=<base64>.");
    return [name, value];
  });
}

function isBase64(text: string, bytes: number): boolean {
  const decoded = Buffer.from(text, "base64");
  return decoded.length === bytes && decoded.toString("base64") === text;
}

function refused(s3Code: S3Code, message: string): CacheError {
  return new CacheError("INVALID_ARGUMENT", message, { s3Code });
}
