const MAX_TEXT_LENGTH = 2_000;

/** Returns the text of the document's first element with this name, on one line of bounded length; undefined: no such element. */
export function textOf(document: string, name: string): string | undefined {
  const content = contentOf(document, name, 0)?.content;
  return content === undefined ? undefined : unescaped(content.slice(0, MAX_TEXT_LENGTH)).replace(/\p{Cc}+/gu, " ");
}

/** As `textOf`, but unabridged and with control characters, for names and tokens. */
export function wholeTextOf(document: string, name: string): string | undefined {
  const found = contentOf(document, name, 0);
  return found === undefined ? undefined : unescaped(found.content);
}

/** Returns the contents of all elements with this name, in order. Such elements must not contain one another. */
export function* contentsOf(document: string, name: string): Generator<string> {
  for (let found = contentOf(document, name, 0); found !== undefined; found = contentOf(document, name, found.end)) {
    yield found.content;
  }
}

/** Escapes text for a document. */
export function escaped(text: string): string {
  return text.replace(SPECIAL, (special) => `&#${special.codePointAt(0)};`);
}

function unescaped(text: string): string {
  return text.includes("&") ? text.replace(ENTITY, character) : text;
}

function contentOf(document: string, name: string, from: number): { content: string; end: number } | undefined {
  const start = document.indexOf(`<${name}>`, from);
  if (start < 0) return undefined;
  const end = document.indexOf(`</${name}>`, start);
  return end < 0 ? undefined : { content: document.slice(start + name.length + 2, end), end };
}

const SPECIAL = /[&<>"\p{Cc}]/gu;
const ENTITY = /&(?:#(\d{1,7})|#x([0-9a-fA-F]{1,6})|(amp|lt|gt|quot|apos));/g;
const named: Readonly<Record<string, string>> = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" };

function character(entity: string, decimal?: string, hex?: string, name?: string): string {
  if (name !== undefined) return named[name]!;
  const point = decimal === undefined ? Number.parseInt(hex!, 16) : Number(decimal);
  return point > 0x10ffff ? entity : String.fromCodePoint(point);
}
