import { malformedXml, readXml } from "../xml-reading.js";

/** S3's limit of an object's tags. */
const MAX_TAGS = 10;

/** Converts the tags of a form, an XML document, to the value of the header `x-amz-tagging`. Throws MalformedXML. */
export function taggingHeader(document: string): string {
  const tags = new URLSearchParams();
  let fields = new Map<string, string>();
  readXml(Buffer.from(document), "Tagging", 4, {
    begin: (path) => {
      if (path.length === 3) fields = new Map();
    },
    end: (path, content) => {
      const name = path.join("/");
      if (name === "Tagging/TagSet/Tag/Key" || name === "Tagging/TagSet/Tag/Value") fields.set(path[3]!, content);
      if (name !== "Tagging/TagSet/Tag") return;
      const [key, value] = [fields.get("Key"), fields.get("Value")];
      if (key === undefined || value === undefined || tags.size === MAX_TAGS) throw malformedXml();
      tags.append(key, value);
    },
  });
  return tags.toString().replaceAll("+", "%20");
}
