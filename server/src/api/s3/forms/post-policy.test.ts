import { CacheError } from "@frontcache/proto";
import { describe, expect, it } from "vitest";
import { PostPolicy } from "./post-policy.js";

/** The variable that stands for the name of the file. */
const FILE_NAME = `$${"{filename}"}`;

const NOW_MS = Date.UTC(2026, 0, 1);
const EXPIRATION = "2026-01-02T00:00:00Z";

const encoded = (policy: unknown): string =>
  Buffer.from(typeof policy === "string" ? policy : JSON.stringify(policy)).toString("base64");

function outcome(act: () => void): string {
  try {
    act();
    return "permitted";
  } catch (error) {
    const { s3Code, message } = CacheError.from(error);
    return s3Code === "AccessDenied" ? message.replace("Invalid according to Policy: ", "") : (s3Code ?? "no code");
  }
}

/** What a policy with these conditions, and one of the bucket, says to a form. */
function judged(conditions: readonly unknown[], fields: Record<string, string>, key = fields.key ?? "k"): string {
  const policy = encoded({ expiration: EXPIRATION, conditions: [{ bucket: "b" }, ...conditions] });
  const form = { bucket: "b", key, fields: new Map(Object.entries({ key, policy, ...fields })) };
  return outcome(() => new PostPolicy(policy).check(form, NOW_MS));
}

describe("a policy of a form", () => {
  it("permits what meets each of its conditions", () => {
    const conditions = [["starts-with", "$key", "user/"], { acl: "private" }, ["eq", "$x-amz-meta-a", "1"]];
    const fields = { key: "user/k", acl: "private", "x-amz-meta-a": "1", "x-ignore-this": "x", signature: "s" };
    expect(judged(conditions, fields)).toBe("permitted");
    expect(judged(conditions, { ...fields, acl: "public-read" })).toBe('Policy Condition failed: ["eq","$acl","private"].');
    expect(judged(conditions, { ...fields, key: "other/k" })).toBe('Policy Condition failed: ["starts-with","$key","user/"].');
    expect(judged(conditions, { ...fields, "x-amz-meta-b": "1" })).toBe("Extra input fields: x-amz-meta-b.");
    const { acl: _, ...without } = fields;
    expect(judged(conditions, without)).toBe('Policy Condition failed: ["eq","$acl","private"].');
  });

  it("names fields in upper and lower case, and compares values exactly", () => {
    const conditions = [["StArTs-WiTh", "$KeY", ""], { AcL: "private" }];
    expect(judged(conditions, { key: "k", acl: "private" })).toBe("permitted");
    expect(judged(conditions, { key: "k", acl: "Private" })).toContain("Policy Condition failed");
  });

  it("judges the key with the name of the file in it, and the bucket that is written to", () => {
    expect(judged([["eq", "$key", "dir/name"]], { key: `dir/${FILE_NAME}` }, "dir/name")).toBe("permitted");
    const policy = encoded({ expiration: EXPIRATION, conditions: [{ bucket: "other" }, ["starts-with", "$key", ""]] });
    const form = { bucket: "b", key: "k", fields: new Map([["bucket", "other"]]) };
    expect(outcome(() => new PostPolicy(policy).check(form, NOW_MS))).toContain("Policy Condition failed");
    const unnamed = encoded({ expiration: EXPIRATION, conditions: [["starts-with", "$key", ""]] });
    expect(outcome(() => new PostPolicy(unnamed).check(form, NOW_MS))).toBe("Extra input fields: bucket.");
  });

  it("compares each entry of a Content-Type", () => {
    const conditions = [
      ["starts-with", "$Content-Type", "image/"],
      ["starts-with", "$key", ""],
    ];
    expect(judged(conditions, { "content-type": "image/png, image/jpeg" })).toBe("permitted");
    expect(judged(conditions, { "content-type": "image/png,text/html" })).toContain("Policy Condition failed");
  });

  it("has S3's escapes for dollar signs", () => {
    const policy = `{"expiration":"${EXPIRATION}","conditions":[{"bucket":"b"},["eq","$key","\\$k\\\\$"]]}`;
    const form = { bucket: "b", key: "$k\\$", fields: new Map() };
    expect(outcome(() => new PostPolicy(encoded(policy)).check(form, NOW_MS))).toBe("permitted");
  });

  it("expires", () => {
    const policy = new PostPolicy(
      encoded({ expiration: EXPIRATION, conditions: [{ bucket: "b" }, ["starts-with", "$key", ""]] }),
    );
    const form = { bucket: "b", key: "k", fields: new Map() };
    expect(outcome(() => policy.check(form, NOW_MS + 86_399_999))).toBe("permitted");
    expect(outcome(() => policy.check(form, NOW_MS + 86_400_000))).toBe("Policy expired.");
  });

  it("limits the length of the file", () => {
    const range = ["content-length-range", 10, "20"];
    const policy = new PostPolicy(encoded({ expiration: EXPIRATION, conditions: [range] }));
    const lengths = [9, 10, 20, 21].map((bytes) => outcome(() => policy.checkLength(bytes)));
    expect(lengths).toEqual(["EntityTooSmall", "permitted", "permitted", "EntityTooLarge"]);
  });

  it.each<[string, unknown]>([
    ["no JSON", "{"],
    ["a list", []],
    ["null", null],
    ["no expiration", { conditions: [] }],
    ["an expiration in capitals", { EXPIRATION, conditions: [] }],
    ["an expiration of another form", { expiration: "2026-01-02 00:00:00+00:00", conditions: [] }],
    ["an expiration that is no time", { expiration: "2026-13-02T00:00:00Z", conditions: [] }],
    ["no conditions", { expiration: EXPIRATION }],
    ["conditions in capitals", { expiration: EXPIRATION, CONDITIONS: [] }],
    ["an empty condition", { expiration: EXPIRATION, conditions: [{}] }],
    ["a condition of text", { expiration: EXPIRATION, conditions: ["eq"] }],
    ["an unknown operator", { expiration: EXPIRATION, conditions: [["ends-with", "$key", "a"]] }],
    ["a field without a dollar sign", { expiration: EXPIRATION, conditions: [["eq", "key", "a"]] }],
    ["a condition without a value", { expiration: EXPIRATION, conditions: [["eq", "$key"]] }],
    ["a value that is a number", { expiration: EXPIRATION, conditions: [{ key: 1 }] }],
    ["one length", { expiration: EXPIRATION, conditions: [["content-length-range", 0]] }],
    ["a negative length", { expiration: EXPIRATION, conditions: [["content-length-range", -1, 0]] }],
    ["deep nesting", `${"[".repeat(15_000)}${"]".repeat(15_000)}`],
  ])("is refused with %s", (_, policy) => {
    expect(outcome(() => new PostPolicy(encoded(policy)))).toBe("InvalidPolicyDocument");
  });

  it("is refused if it is not base64", () => {
    expect(outcome(() => new PostPolicy("{}"))).toBe("InvalidPolicyDocument");
  });
});
