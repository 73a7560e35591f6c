import { CacheError, type ErrorCode, errorTable } from "@frontcache/proto";
import { Unreachable } from "../transport.js";
import { Unintelligible } from "./unintelligible.js";

/** The longest body of an error that is read. */
export const MAX_ERROR_BYTES = 8 << 10;
const MAX_MESSAGE_LENGTH = 2_000;

/** The code for each status of the error table; what a gateway says only to a client gone wrong is INTERNAL. */
const codeOfStatus = new Map<number, ErrorCode>(
  (Object.keys(errorTable) as ErrorCode[]).map((code) => [errorTable[code].http, code]),
);

/** An answer in place of the bytes. */
export interface ErrorAnswer {
  readonly status: number;
  /** S3's error document, in UTF-8. */
  readonly body: Buffer;
  /** Whether the member goes on answering. One that is starting or leaving does not; another one may know better. */
  readonly keepAlive: boolean;
}

/**
 * The error that a gateway answered with, in its own words; `subject` goes in front where they don't name it. Unintelligible
 * where the body is no error document: then it is not a gateway that speaks.
 */
export function errorOf({ status, body, keepAlive }: ErrorAnswer, subject: string, offset: number, member: string): CacheError {
  const document = body.toString("utf8");
  const s3Code = elementOf(document, "Code");
  const message = elementOf(document, "Message");
  if (s3Code === undefined || message === undefined || (status === 404 && s3Code !== "NoSuchKey")) {
    return new Unintelligible(`${subject}: ${member} answered ${status}, not as a gateway does`);
  }
  const words = message.includes(subject) ? message : `${subject}: ${message}`;
  if (status === 416) return new CacheError("OUT_OF_RANGE", `${words} (offset ${offset})`);
  if (status === 503 && s3Code === "SlowDown") return new CacheError("RESOURCE_EXHAUSTED", words);
  if (status === 503 && !keepAlive) return new Unreachable(`${subject}: member ${member} is starting or leaving: ${message}`);
  return new CacheError(codeOfStatus.get(status) ?? "INTERNAL", words);
}

/** The text of the document's first element of that name, on one line of bounded length; undefined: there is none. */
function elementOf(document: string, name: string): string | undefined {
  const start = document.indexOf(`<${name}>`);
  if (start < 0) return undefined;
  const end = document.indexOf(`</${name}>`, start);
  if (end < 0) return undefined;
  const text = document.slice(start + name.length + 2, Math.min(end, start + MAX_MESSAGE_LENGTH)).replace(ENTITY, character);
  return text.replace(/\p{Cc}+/gu, " ");
}

const ENTITY = /&(?:#(\d{1,7})|#x([0-9a-fA-F]{1,6})|(amp|lt|gt|quot|apos));/g;
const named: Readonly<Record<string, string>> = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" };

function character(entity: string, decimal?: string, hex?: string, name?: string): string {
  if (name !== undefined) return named[name]!;
  const point = decimal === undefined ? Number.parseInt(hex!, 16) : Number(decimal);
  return point > 0x10ffff ? entity : String.fromCodePoint(point);
}
