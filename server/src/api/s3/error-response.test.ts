import { describe, expect, it } from "vitest";
import { nextRequestId } from "../request-id.js";
import { errorDocument } from "./error-response.js";

const documentOf = (key: string) => {
  const refusal = {
    status: 404,
    code: "NoSuchKey",
    errorCode: "NOT_FOUND" as const,
    message: `s3://bucket/${key}: there is no such object`,
  };
  return errorDocument(refusal, `/bucket/${key}`, nextRequestId());
};

describe("an error document", () => {
  it("has all of the longest key, and of what happened", () => {
    const key = "k".repeat(1_024);
    expect(documentOf(key)).toContain(`<Message>s3://bucket/${key}: there is no such object</Message>`);
    expect(documentOf(key)).toContain(`<Resource>/bucket/${key}</Resource>`);
  });

  it.each(["&", "\u0001", "\r", "\u2603", "\u{1f600}", "\ud83d", "k"])(
    "fits into what clients read of it, whatever it repeats (%j)",
    (part) => {
      for (const count of [1_024, 1_300, 100_000]) {
        const xml = documentOf(part.repeat(count));
        expect(Buffer.byteLength(xml)).toBeLessThan(8 << 10);
        expect(xml).toMatch(/<Message>s3:.*<\/Message><Resource>\/bucket\/.*<\/Resource><RequestId>\w+<\/RequestId><\/Error>$/su);
        expect(xml.replaceAll(/&#\d+;/g, "")).not.toMatch(/&/);
      }
    },
  );
});
