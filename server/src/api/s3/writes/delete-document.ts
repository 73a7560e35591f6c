import { isUtf8 } from "node:buffer";
import { CacheError } from "@frontcache/proto";

/** An object that a DeleteObjects request names. */
export interface NamedObject {
  readonly key: string;
  readonly versionId: string | undefined;
  /** Its element as sent, with conditions. */
  readonly xml: string;
}

export interface DeleteDocument {
  readonly objects: readonly NamedObject[];
  /** Only failures are answered. */
  readonly isQuiet: boolean;
}

/** S3's limit. */
const MAX_OBJECTS = 1_000;

/** A tag, or text. Declarations, comments, CDATA and processing instructions match neither. */
const TOKEN = /<(\/?)(?:[\w.-]+:)?([\w.-]+)((?:\s+[\w:.-]+\s*=\s*(?:"[^"<]*"|'[^'<]*'))*)\s*(\/?)>|([^<]+)/y;
const DECLARATION = /^\uFEFF?\s*<\?xml\s[^?<>]*\?>/;
const ENTITIES: Readonly<Record<string, string>> = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" };

/** Parses the document of a DeleteObjects request. Throws MalformedXML. Entities can't be declared, and nothing is nested deeper. */
export function parseDeleteDocument(body: Uint8Array): DeleteDocument {
  if (!isUtf8(body)) throw malformed();
  const text = Buffer.from(body.buffer, body.byteOffset, body.length).toString();
  const objects: NamedObject[] = [];
  const path: string[] = [];
  let [isQuiet, isOver] = [false, false];
  let object: { start: number; fields: Map<string, string> } | undefined;
  let content = "";
  TOKEN.lastIndex = DECLARATION.exec(text)?.[0].length ?? 0;
  while (TOKEN.lastIndex < text.length) {
    const start = TOKEN.lastIndex;
    const found = TOKEN.exec(text);
    if (found === null) throw malformed();
    const [, closing, name = "", , isEmpty, characters] = found;
    if (characters !== undefined) {
      if (path.length === 0 && characters.trim() !== "") throw malformed();
      content += unescaped(characters);
      continue;
    }
    if (closing === "") {
      if (isOver || path.length > 2) throw malformed();
      path.push(name);
      content = "";
      if (path.length === 1 && name !== "Delete") throw malformed();
      if (path.length === 2 && name === "Object") object = { start, fields: new Map() };
      if (isEmpty === "") continue;
    } else if (path.at(-1) !== name) throw malformed();
    const depth = path.length;
    path.pop();
    if (depth === 1) isOver = true;
    else if (depth === 2 && name === "Quiet") isQuiet = content.trim() === "true";
    else if (depth === 3) object?.fields.set(name, content);
    else if (object !== undefined) {
      const { start: from, fields } = object;
      const key = fields.get("Key");
      if (key === undefined || key === "" || objects.length === MAX_OBJECTS) throw malformed();
      const versionId = fields.get("VersionId");
      objects.push({ key, versionId: versionId === "" ? undefined : versionId, xml: text.slice(from, TOKEN.lastIndex) });
      object = undefined;
    }
  }
  if (!isOver || objects.length === 0) throw malformed();
  return { objects, isQuiet };
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
      throw malformed();
    },
  );
}

function malformed(): CacheError {
  const message = "The XML you provided was not well-formed or did not validate against our published schema";
  return new CacheError("INVALID_ARGUMENT", message, { s3Code: "MalformedXML" });
}
