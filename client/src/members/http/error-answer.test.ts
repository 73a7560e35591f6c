import { type ErrorCode, errorTable } from "@frontcache/proto";
import { describe, expect, it } from "vitest";
import { Unreachable } from "../ports.js";
import { errorOf } from "./answer.js";
import { Unintelligible } from "./answer-head.js";

const url = "s3://bucket/file";
const request = { url, offset: 7, length: 1, version: "" };
const errorBy = (errorCode: ErrorCode | undefined, document: string, keepAlive = true, isOriginTried = false) =>
  errorOf({ heading: { status: 503, keepAlive, errorCode, isOriginTried }, body: Buffer.from(document) }, request, "m:1");
const document = (message = `${url}: so it is`) =>
  `<?xml version="1.0"?>\n<Error><Code>X</Code><Message>${message}</Message></Error>`;

describe("an error over HTTP", () => {
  it("has the member's code and message", () => {
    for (const code of Object.keys(errorTable) as ErrorCode[]) {
      if (code === "CANCELLED") continue;
      const message = `${url}: so it is${code === "OUT_OF_RANGE" ? " (offset 7)" : ""}`;
      expect(errorBy(code, document())).toMatchObject({ code, message });
    }
  });

  it("has only the code if the member sent no message", () => {
    expect(errorBy("NOT_FOUND", "")).toMatchObject({ code: "NOT_FOUND", message: `${url}: NOT_FOUND` });
  });

  it("is an unreachable member if it closes the connection with UNAVAILABLE, or cancels the read", () => {
    expect(errorBy("UNAVAILABLE", document(), false)).toBeInstanceOf(Unreachable);
    expect(errorBy("UNAVAILABLE", document())).not.toBeInstanceOf(Unreachable);
    expect(errorBy("CANCELLED", document())).toBeInstanceOf(Unreachable);
    expect(errorBy("RESOURCE_EXHAUSTED", document(), false)).not.toBeInstanceOf(Unreachable);
  });

  it("is not an unreachable member if the member has tried the origin, although it closes the connection", () => {
    const error = errorBy("UNAVAILABLE", document(), false, true);
    expect(error).not.toBeInstanceOf(Unreachable);
    expect(error.isOriginTried).toBe(true);
  });

  it("has its message unescaped, on one line, of bounded length, with the object's name", () => {
    const text = "a &lt;b&gt; &#38;&#x26; é &quot;\n\tc &#9999999; &nbsp;";
    expect(errorBy("FAILED_PRECONDITION", document(text)).message).toBe(`${url}: a <b> && é " c &#9999999; &nbsp;`);
    expect(errorBy("FAILED_PRECONDITION", document("x".repeat(8_000))).message.length).toBeLessThan(2_100);
  });

  it.each(["", "upstream connect error", "<html><body>503</body></html>", document()])(
    "is not a member's without a code (body %j)",
    (body) => {
      expect(errorBy(undefined, body, false)).toBeInstanceOf(Unintelligible);
    },
  );
});
