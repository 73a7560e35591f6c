/** What S3's documents begin with. */
export const XML_HEADER = '<?xml version="1.0" encoding="UTF-8"?>\n';

/** What has no form in XML 1.0: most control characters, and half characters. */
const FORMLESS = /[^\t\n\r\x20-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu;

/** Text for people: what has no form in XML becomes U+FFFD. */
export function textXml(text: string): string {
  return escapeXml(text.toWellFormed().replace(FORMLESS, "\ufffd"));
}

/** The same of bounded size: as much of the beginning as takes `maxBytes` of UTF-8 when it is written, with `...` for the rest. */
export function boundedXml(text: string, maxBytes: number): string {
  // No character takes less than a byte, nor more than six.
  if (text.length * 6 <= maxBytes) return textXml(text);
  const beginning = text.slice(0, maxBytes + 1);
  const whole = textXml(beginning);
  if (Buffer.byteLength(whole) <= maxBytes) return whole;
  let written = "";
  let leftBytes = maxBytes - ELLIPSIS.length;
  for (const character of beginning) {
    const xml = textXml(character);
    leftBytes -= Buffer.byteLength(xml);
    if (leftBytes < 0) break;
    written += xml;
  }
  return written + ELLIPSIS;
}

const ELLIPSIS = "...";

/** A name for programs: what has no form in XML is written as S3 writes it, by number, which lenient parsers take. */
export function nameXml(name: string): string {
  return escapeXml(name.replace(FORMLESS, (character) => `\0${character.charCodeAt(0)};`)).replaceAll("\0", "&#");
}

function escapeXml(text: string): string {
  return text.replace(/[&<>"'\r]/g, (character) => `&#${character.charCodeAt(0)};`);
}
