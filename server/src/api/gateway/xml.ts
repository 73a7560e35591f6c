/** What S3's documents begin with. */
export const XML_HEADER = '<?xml version="1.0" encoding="UTF-8"?>\n';

/** What has no form in XML 1.0: most control characters, and half characters. */
const FORMLESS = /[^\t\n\r\x20-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu;

/** Text for people: what has no form in XML becomes U+FFFD. */
export function textXml(text: string): string {
  return escapeXml(text.toWellFormed().replace(FORMLESS, "\ufffd"));
}

/** A name for programs: what has no form in XML is written as S3 writes it, by number, which lenient parsers take. */
export function nameXml(name: string): string {
  return escapeXml(name.replace(FORMLESS, (character) => `\0${character.charCodeAt(0)};`)).replaceAll("\0", "&#");
}

function escapeXml(text: string): string {
  return text.replace(/[&<>"'\r]/g, (character) => `&#${character.charCodeAt(0)};`);
}
