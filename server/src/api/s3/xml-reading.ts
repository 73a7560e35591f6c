import { isUtf8 } from "node:buffer";
import { CacheError } from "@frontcache/proto";

/** What reads the elements of a document. `path` has the names from the root to the element, without prefixes. */
export interface XmlVisitor {
  /** An element begins at this place of the text. */
  begin?(path: readonly string[], at: number): void;
  /** An element ends before this place of the text. `content` is the text after its last tag. */
  end(path: readonly string[], content: string, at: number): void;
}

/** A tag, or text. Declarations, comments, CDATA and processing instructions match neither. */
const TOKEN = /<(\/?)(?:[\w.-]+:)?([\w.-]+)((?:\s+[\w:.-]+\s*=\s*(?:"[^"<]*"|'[^'<]*'))*)\s*(\/?)>|([^<]+)/y;
const DECLARATION = /^\uFEFF?\s*<\?xml\s[^?<>]*\?>/;
const ENTITIES: Readonly<Record<string, string>> = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" };

/**
 * Reads a document of a client, with one root of the given name, and returns its text. Throws MalformedXML. Entities can't be declared,
 * and nothing is nested deeper than `maxDepth`.
 */
export function readXml(body: Uint8Array, root: string, maxDepth: number, visitor: XmlVisitor): string {
  if (!isUtf8(body)) throw malformedXml();
  const text = Buffer.from(body.buffer, body.byteOffset, body.length).toString();
  const path: string[] = [];
  let [content, isOver] = ["", false];
  TOKEN.lastIndex = DECLARATION.exec(text)?.[0].length ?? 0;
  while (TOKEN.lastIndex < text.length) {
    const start = TOKEN.lastIndex;
    const found = TOKEN.exec(text);
    if (found === null) throw malformedXml();
    const [, closing, name = "", , isEmpty, characters] = found;
    const end = TOKEN.lastIndex;
    if (characters !== undefined) {
      if (path.length === 0 && characters.trim() !== "") throw malformedXml();
      content += unescaped(characters);
      continue;
    }
    if (closing === "") {
      if (isOver || path.length >= maxDepth || (path.length === 0 && name !== root)) throw malformedXml();
      path.push(name);
      content = "";
      visitor.begin?.(path, start);
      if (isEmpty === "") continue;
    } else if (path.at(-1) !== name) throw malformedXml();
    visitor.end(path, content, end);
    // A visitor may read another document.
    TOKEN.lastIndex = end;
    path.pop();
    content = "";
    isOver ||= path.length === 0;
  }
  if (!isOver) throw malformedXml();
  return text;
}

function unescaped(text: string): string {
  if (!text.includes("&")) return text;
  return text.replace(
    /&(?:#(\d{1,7})|#x([0-9A-Fa-f]{1,6})|(\w+));|&/g,
    (_, decimal?: string, hexadecimal?: string, name?: string) => {
      const code =
        decimal !== undefined ? Number(decimal) : hexadecimal !== undefined ? Number.parseInt(hexadecimal, 16) : undefined;
      if (code !== undefined && code <= 0x10ffff && !(code >= 0xd800 && code < 0xe000)) return String.fromCodePoint(code);
      if (name !== undefined && Object.hasOwn(ENTITIES, name)) return ENTITIES[name]!;
      throw malformedXml();
    },
  );
}

export function malformedXml(): CacheError {
  const message = "The XML you provided was not well-formed or did not validate against our published schema";
  return new CacheError("INVALID_ARGUMENT", message, { s3Code: "MalformedXML" });
}
