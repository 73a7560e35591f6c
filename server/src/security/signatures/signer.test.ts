import { Hash } from "@smithy/core/serde";
import { SignatureV4 } from "@smithy/signature-v4";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { amzDateOf, canonicalQuery, EMPTY_SHA256, escapeKey, escapeName, type Header, Signer } from "./signer.js";

const sha256 = Hash.bind(null, "sha256") as never;

const names = ["if-match", "range", "x-amz-checksum-mode", "x-amz-expected-bucket-owner", "x-amz-meta-a", "x-amz-request-payer"];
const text = fc.string({ unit: fc.constantFrom(..."ab \t\r\n=,\"'\\;é+%"), maxLength: 20 });
const requests = fc.record({
  method: fc.constantFrom("GET", "HEAD", "PUT"),
  key: fc.string({ unit: "grapheme", maxLength: 40 }).map((key) => key.toWellFormed()),
  odd: fc.constantFrom("", "a//b", "/lead", "a/../b", "./.", "100%+ ", "über/日本/🎈", "!'()*~"),
  query: fc.uniqueArray(fc.tuple(fc.string({ minLength: 1, maxLength: 8 }), fc.string({ maxLength: 8 })), {
    selector: ([name]) => name,
    maxLength: 4,
  }),
  headers: fc.dictionary(fc.constantFrom(...names), text),
  accessKeyId: fc.string({ unit: fc.constantFrom(..."AKIA09/+"), minLength: 1, maxLength: 20 }),
  secretAccessKey: fc.string({ minLength: 1, maxLength: 40 }),
  sessionToken: fc.option(fc.string({ unit: fc.constantFrom(..."abcXYZ09+/="), minLength: 1, maxLength: 300 }), {
    nil: undefined,
  }),
  region: fc.constantFrom("us-east-1", "eu-west-1", "us-gov-east-1"),
  service: fc.constantFrom("s3", "s3-object-lambda", "s3-outposts"),
  seconds: fc.integer({ min: 0, max: 4_000_000_000 }),
  payloadHash: fc.constantFrom(EMPTY_SHA256, "UNSIGNED-PAYLOAD"),
});

describe("a signature", () => {
  it("equals that of the SDK's signer, for any key, query, headers and identity", async () => {
    const signer = new Signer();
    await fc.assert(
      fc.asyncProperty(requests, async (request) => {
        const { method, key, odd, query, headers, accessKeyId, secretAccessKey, sessionToken, region, service } = request;
        const identity = { accessKeyId, secretAccessKey, ...(sessionToken !== undefined && { sessionToken }) };
        const parameters = query.filter(([name]) => name !== "__proto__");
        const path = `/bucket/${escapeKey(`${odd}${key}`)}`;
        const sent = { ...headers, host: "bucket.s3.amazonaws.com", "x-amz-content-sha256": request.payloadHash };
        const theirs = await new SignatureV4({ credentials: identity, region, service, sha256, uriEscapePath: false }).sign(
          { method, protocol: "https:", hostname: "bucket", path, query: Object.fromEntries(parameters), headers: sent },
          { signingDate: new Date(request.seconds * 1_000) },
        );
        const amzDate = amzDateOf(request.seconds * 1_000);
        expect(theirs.headers["x-amz-date"]).toBe(amzDate);
        const signed: Header[] = [...Object.entries(sent), ["x-amz-date", amzDate]];
        if (sessionToken !== undefined) signed.push(["x-amz-security-token", sessionToken]);
        signed.sort(([one], [other]) => (one < other ? -1 : 1));
        const signable = {
          method,
          path,
          query: canonicalQuery(parameters),
          headers: signed,
          payloadHash: request.payloadHash,
        };
        expect(signer.authorization(signable, amzDate, identity, { region, service })).toBe(theirs.headers.authorization);
      }),
      { numRuns: 500 },
    );
  });

  it("uses another key from the next day on, and for another region", () => {
    const signer = new Signer();
    const identity = { accessKeyId: "key", secretAccessKey: "secret" };
    const signable = { method: "GET", path: "/k", query: "", headers: [["host", "h"]] as Header[], payloadHash: EMPTY_SHA256 };
    const sign = (date: string, region: string) => signer.authorization(signable, date, identity, { region, service: "s3" });
    const dates = ["20261128T235959Z", "20261129T000000Z"];
    const all = dates.flatMap((date) => ["eu-west-1", "us-east-1"].map((region) => sign(date, region)));
    expect(new Set(all.map((each) => each.split("Signature=")[1])).size).toBe(4);
    expect(dates.flatMap((date) => ["eu-west-1", "us-east-1"].map((region) => sign(date, region)))).toEqual(all);
  });
});

describe("an escaped key", () => {
  it.each([
    ["plain/key-1_2.3~", "plain/key-1_2.3~"],
    ["a//b/../c/./", "a//b/../c/./"],
    ["a+b c%2F", "a%2Bb%20c%252F"],
    ["über", "%C3%BCber"],
    ["!'()*", "%21%27%28%29%2A"],
    ["what?x=1#y", "what%3Fx%3D1%23y"],
  ])("of %j is %j: slashes and dots stay as they are", (key, escaped) => {
    expect(escapeKey(key)).toBe(escaped);
  });

  it("decodes to the key", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), (key) => {
        expect(decodeURIComponent(escapeKey(key.toWellFormed()))).toBe(key.toWellFormed());
        expect(escapeName(key.toWellFormed())).not.toContain("/");
      }),
    );
  });
});

describe("a canonical query", () => {
  it("is sorted by escaped names, then values, and has an equals sign after each name", () => {
    expect(
      canonicalQuery([
        ["versionId", "x y"],
        ["acl", ""],
        ["a", "2"],
        ["a", "1"],
        ["a/b", "+"],
      ]),
    ).toBe("a=1&a=2&a%2Fb=%2B&acl=&versionId=x%20y");
    expect(canonicalQuery([])).toBe("");
  });
});
