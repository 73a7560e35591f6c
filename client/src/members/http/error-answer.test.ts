import { errorTable } from "@frontcache/proto";
import { describe, expect, it } from "vitest";
import { Unreachable } from "../transport.js";
import { errorOf } from "./error-answer.js";
import { Unintelligible } from "./unintelligible.js";

const url = "s3://bucket/file";
const errorBy = (status: number, document: string, keepAlive = true) =>
  errorOf({ status, body: Buffer.from(document), keepAlive }, url, 7, "m:1");
const document = (code: string, message = `${url}: so it is`) =>
  `<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>${code}</Code><Message>${message}</Message></Error>`;

describe("an error by HTTP", () => {
  it("has the code that the error table gives its status, and the member's own words", () => {
    for (const [code, { http }] of Object.entries(errorTable)) {
      const s3Code = http === 404 ? "NoSuchKey" : "Whatever";
      expect(errorBy(http, document(s3Code))).toMatchObject({
        code,
        message: `${url}: so it is${http === 416 ? " (offset 7)" : ""}`,
      });
    }
    expect(errorBy(405, document("MethodNotAllowed")).code).toBe("INTERNAL");
  });

  it("is a limit of the origin as SlowDown", () => {
    expect(errorBy(503, document("SlowDown")).code).toBe("RESOURCE_EXHAUSTED");
    expect(errorBy(503, document("SlowDown"), false).code).toBe("RESOURCE_EXHAUSTED");
  });

  it("is a member out of reach where it hangs up with UNAVAILABLE", () => {
    expect(errorBy(503, document("ServiceUnavailable"), false)).toBeInstanceOf(Unreachable);
    expect(errorBy(503, document("ServiceUnavailable"))).not.toBeInstanceOf(Unreachable);
  });

  it("has its message unescaped, on one line, of bounded length, with the object's name", () => {
    expect(errorBy(412, document("PreconditionFailed", "a &lt;b&gt; &#38;&#x26; é &quot;\n\tc &#9999999; &nbsp;")).message).toBe(
      `${url}: a <b> && é " c &#9999999; &nbsp;`,
    );
    expect(errorBy(412, document("PreconditionFailed", "x".repeat(8_000))).message.length).toBeLessThan(2_100);
  });

  it.each(["", "upstream connect error", "<html><body>503</body></html>", "<Error><Code>x</Code></Error>", "<Code>x<Message>"])(
    "is no gateway's with the body %j",
    (body) => {
      expect(errorBy(503, body, false)).toBeInstanceOf(Unintelligible);
    },
  );

  it("is no gateway's where a path is not found, instead of an object", () => {
    expect(errorBy(404, document("NoSuchResource"))).toBeInstanceOf(Unintelligible);
  });
});
