import { CacheError } from "@frontcache/proto";
import { describe, expect, it } from "vitest";
import { taggingHeader } from "./form-tagging.js";

const tag = (key: string, value: string): string => `<Tag><Key>${key}</Key><Value>${value}</Value></Tag>`;
const document = (tags: string): string => `<Tagging><TagSet>${tags}</TagSet></Tagging>`;

const header = (xml: string) => {
  try {
    return taggingHeader(xml);
  } catch (error) {
    return CacheError.from(error).s3Code;
  }
};

describe("the tags of a form", () => {
  it("become a header", () => {
    expect(header(document(tag("a &amp; b", "c+d=e") + tag("\u00fc", "")))).toBe("a%20%26%20b=c%2Bd%3De&%C3%BC=");
    expect(header(document(""))).toBe("");
  });

  it.each(["", "<Tagging>", document("<Tag><Key>a</Key></Tag>"), document(tag("a", "b").repeat(11)), "<Tags></Tags>"])(
    "are refused if they are malformed: %#",
    (xml) => {
      expect(header(xml)).toBe("MalformedXML");
    },
  );
});
