import { isUtf8 } from "node:buffer";
import { CacheError } from "@frontcache/proto";

/**
 * Decodes percent-encoded UTF-8 once. `where` names the part of the request for the message. Throws INVALID_ARGUMENT. Node returns the
 * bytes of a target as Latin-1.
 */
export function decodeOnce(text: string, where = "path"): string {
  if (!/[%\x80-\xff]/.test(text)) return text;
  const bytes = Buffer.from(
    text.replace(/%(..?)?/g, (written, digits: string | undefined) => {
      if (!/^[0-9A-Fa-f]{2}$/.test(digits ?? "")) throw malformed(where, `${written} is no escape`);
      return String.fromCharCode(Number.parseInt(digits!, 16));
    }),
    "latin1",
  );
  if (!isUtf8(bytes)) throw malformed(where, "it is not UTF-8");
  return bytes.toString("utf8");
}

function malformed(where: string, why: string): CacheError {
  return new CacheError("INVALID_ARGUMENT", `the ${where} can't be decoded, ${why}: percent-encode the key's UTF-8 bytes`, {
    s3Code: "InvalidURI",
  });
}
