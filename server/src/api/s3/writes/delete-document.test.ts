import { CacheError } from "@frontcache/proto";
import { describe, expect, it } from "vitest";
import { parseDeleteDocument } from "./delete-document.js";

const parsed = (xml: string) => {
  try {
    const { objects, isQuiet } = parseDeleteDocument(Buffer.from(xml));
    return [
      ...objects.map(({ key, versionId }) => (versionId === undefined ? key : `${key}@${versionId}`)),
      ...(isQuiet ? ["quiet"] : []),
    ];
  } catch (error) {
    return CacheError.from(error).s3Code;
  }
};

const object = (key: string) => `<Object><Key>${key}</Key></Object>`;

describe("the document of a DeleteObjects request", () => {
  it("names objects, in any form that clients write", () => {
    expect(parsed(`<Delete>${object("a")}${object("b/c")}</Delete>`)).toEqual(["a", "b/c"]);
    expect(
      parsed(`<?xml version="1.0" encoding="UTF-8"?>
        <Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
          <Quiet>true</Quiet>
          <Object><VersionId>v1</VersionId><Key> a &amp;&lt;&#x41;&#66; </Key><ETag>"e"</ETag></Object>
        </Delete>`),
    ).toEqual([" a &<AB @v1", "quiet"]);
    expect(parsed(`<s3:Delete><s3:Object><s3:Key>a</s3:Key><s3:VersionId/></s3:Object></s3:Delete>`)).toEqual(["a"]);
  });

  it("keeps the element of each object as it was sent", () => {
    const xml = "<Object><Key>a</Key><ETag>e</ETag></Object>";
    expect(parseDeleteDocument(Buffer.from(`<Delete>${object("b")}\n${xml}</Delete>`)).objects[1]!.xml).toBe(xml);
  });

  it.each([
    ["", "nothing"],
    ["<Delete></Delete>", "no object"],
    ["<Delete><Object></Object></Delete>", "no key"],
    [`<Delete>${object("")}</Delete>`, "an empty key"],
    [`<Delete>${object("a")}`, "no end"],
    [`<Delete>${object("a")}</Delete>more`, "text behind it"],
    [`<Delete>${object("a")}</Delete><Delete/>`, "two roots"],
    [`<Remove>${object("a")}</Remove>`, "another root"],
    [`<!DOCTYPE Delete [<!ENTITY x "y">]><Delete>${object("&x;")}</Delete>`, "a declared entity"],
    [`<Delete>${object("&x;")}</Delete>`, "an unknown entity"],
    [`<Delete>${object("a & b")}</Delete>`, "a bare ampersand"],
    [`<Delete>${object("&#xD800;")}</Delete>`, "half a character"],
    [`<Delete>${object("<![CDATA[a]]>")}</Delete>`, "CDATA"],
    [`<Delete><!-- a -->${object("a")}</Delete>`, "a comment"],
    [`<Delete><?php a?>${object("a")}</Delete>`, "an instruction"],
    [`<Delete><Object><Key><Key><Key>a</Key></Key></Key></Object></Delete>`, "nested keys"],
    [`<Delete><Object><Key>a</Object></Key></Delete>`, "crossed elements"],
    [`<Delete>${object("a").repeat(1_001)}</Delete>`, "1,001 objects"],
    [`<Delete>${object("a").repeat(10_001)}</Delete>`, "10,001 objects"],
    ["<".repeat(100_000), "angle brackets alone"],
  ])("is refused with %#: %2$s", (xml) => {
    expect(parsed(xml)).toBe("MalformedXML");
  });

  it("is refused if it is not UTF-8, and may name a thousand objects", () => {
    const bytes = Buffer.concat([Buffer.from("<Delete><Object><Key>"), Buffer.of(0xff), Buffer.from("</Key></Object></Delete>")]);
    expect(() => parseDeleteDocument(bytes)).toThrow("not well-formed");
    expect(parseDeleteDocument(Buffer.from(`<Delete>${object("a").repeat(1_000)}</Delete>`)).objects).toHaveLength(1_000);
  });
});
