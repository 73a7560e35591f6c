import { describe, expect, it } from "vitest";
import { EXAMPLE_ID, EXAMPLE_SESSION_TOKEN, exampleIdentities, outcomeOf } from "../../testing/example-keys.js";
import { authenticateForm } from "./form-signature.js";
import { amzDateOf, Signer } from "./signer.js";

/** The policy and the signature of the example in S3's documentation of browser-based uploads. */
const POLICY = Buffer.from(
  [
    '{ "expiration": "2015-12-30T12:00:00.000Z",',
    '  "conditions": [',
    '    {"bucket": "sigv4examplebucket"},',
    '    ["starts-with", "$key", "user/user1/"],',
    '    {"acl": "public-read"},',
    '    {"success_action_redirect": "http://sigv4examplebucket.s3.amazonaws.com/successful_upload.html"},',
    '    ["starts-with", "$Content-Type", "image/"],',
    '    {"x-amz-meta-uuid": "14365123651274"},',
    '    {"x-amz-server-side-encryption": "AES256"},',
    '    ["starts-with", "$x-amz-meta-tag", ""],',
    "",
    `    {"x-amz-credential": "${EXAMPLE_ID}/20151229/us-east-1/s3/aws4_request"},`,
    '    {"x-amz-algorithm": "AWS4-HMAC-SHA256"},',
    '    {"x-amz-date": "20151229T000000Z" }',
    "  ]",
    "}",
  ].join("\r\n"),
).toString("base64");
const SIGNATURE = "8afdbf4008c03f22c2cd3cdb72e4afbb1f6a588f3255ac628749a66d7f09699e";
const NOW_MS = Date.UTC(2015, 11, 29, 1);

const FIELDS = {
  policy: POLICY,
  "x-amz-algorithm": "AWS4-HMAC-SHA256",
  "x-amz-credential": `${EXAMPLE_ID}/20151229/us-east-1/s3/aws4_request`,
  "x-amz-date": "20151229T000000Z",
  "x-amz-signature": SIGNATURE,
};

const signer = new Signer();

/** The name of the principal, or the code of S3's error; "none" for credentials that are unknown here. */
function outcome(changes: Record<string, string | undefined> = {}, nowMs = NOW_MS): string {
  const fields = Object.entries({ ...FIELDS, ...changes }).filter(([, value]) => value !== undefined) as [string, string][];
  return outcomeOf(() => authenticateForm(new Map(fields), exampleIdentities, signer, { nowMs: () => nowMs }));
}

describe("the signature of a form's policy", () => {
  it("of S3's documentation is accepted", () => {
    expect(outcome()).toBe("ada");
  });

  it.each<[string, Record<string, string | undefined>, string]>([
    ["another policy", { policy: `${POLICY.slice(0, -2)}==` }, "SignatureDoesNotMatch"],
    ["no policy", { policy: undefined }, "InvalidArgument"],
    ["another signature", { "x-amz-signature": SIGNATURE.replace("8", "9") }, "SignatureDoesNotMatch"],
    ["no signature", { "x-amz-signature": undefined }, "InvalidArgument"],
    ["another algorithm", { "x-amz-algorithm": "AWS4-HMAC-SHA1" }, "InvalidArgument"],
    ["another region", { "x-amz-credential": FIELDS["x-amz-credential"].replace("east", "west") }, "SignatureDoesNotMatch"],
    ["another day", { "x-amz-credential": FIELDS["x-amz-credential"].replace("29", "28") }, "InvalidArgument"],
    [
      "another service",
      { "x-amz-credential": FIELDS["x-amz-credential"].replace("s3", "ec2") },
      "AuthorizationQueryParametersError",
    ],
    ["an unknown key", { "x-amz-credential": FIELDS["x-amz-credential"].replace(EXAMPLE_ID, "AKIAUNKNOWN") }, "none"],
    ["a malformed date", { "x-amz-date": "20151229" }, "InvalidArgument"],
    ["a session token that the key does not have", { "x-amz-security-token": EXAMPLE_SESSION_TOKEN }, "InvalidToken"],
    ["a signature of version 2, too", { awsaccesskeyid: EXAMPLE_ID, signature: "s" }, "InvalidArgument"],
    ["none of its fields", Object.fromEntries(Object.keys(FIELDS).map((name) => [name, undefined])), "none"],
  ])("is refused with %s", (_, changes, expected) => {
    expect(outcome(changes)).toBe(expected);
  });

  it("is valid for seven days, and not before its date", () => {
    expect(outcome({}, NOW_MS + 6 * 86_400_000)).toBe("ada");
    expect(outcome({}, NOW_MS + 7 * 86_400_000)).toBe("AccessDenied");
    expect(outcome({}, NOW_MS - 2 * 3_600_000)).toBe("AccessDenied");
  });

  it("needs the session token of its access key", () => {
    const credential = FIELDS["x-amz-credential"].replace(EXAMPLE_ID, "ASIASESSION");
    expect(outcome({ "x-amz-credential": credential })).toBe("InvalidToken");
    expect(outcome({ "x-amz-credential": credential, "x-amz-security-token": EXAMPLE_SESSION_TOKEN })).toBe("session");
    expect(amzDateOf(Date.UTC(2015, 11, 29))).toBe(FIELDS["x-amz-date"]);
  });
});
