import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { canonicalOf, partsOf, Signer, signedHeadersOf } from "@frontcache/server/testing";
import { describe, expect, it } from "vitest";

/** One request of AWS's test suite of signature version 4. Texts are bytes in Latin-1. */
interface Vector {
  readonly name: string;
  readonly method: string;
  readonly target: string;
  /** Names and values in turn, as sent. */
  readonly headers: readonly string[];
  readonly body: string;
  readonly signedHeaders: string;
  readonly signature: string;
}

/**
 * Left out of AWS's suite: requests whose paths are normalised, which S3 does not do, and a header that continues on the next line, which
 * no HTTP/1.1 server accepts any more.
 */
const vectors: readonly Vector[] = JSON.parse(readFileSync(new URL("./signature-v4-vectors.json", import.meta.url), "utf8"));

/** The identity and the scope of the suite. */
const identity = { accessKeyId: "AKIDEXAMPLE", secretAccessKey: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY" };
const scope = { region: "us-east-1", service: "service" };

describe("AWS's test vectors of signature version 4", () => {
  it("are all there", () => {
    expect(vectors).toHaveLength(24);
  });

  it.each(vectors)("pass: $name", ({ method, target, headers, body, signedHeaders, signature }) => {
    const payloadHash = createHash("sha256").update(body, "latin1").digest("hex");
    const request = { method, url: target, headers: {}, rawHeaders: headers };
    const canonical = canonicalOf(request, partsOf(target), { signed: signedHeadersOf(signedHeaders.split(";")), payloadHash });
    expect(canonical).toBeDefined();
    expect(new Signer().signatureOf(canonical!, "20150830T123600Z", identity, scope)).toBe(signature);
  });
});
