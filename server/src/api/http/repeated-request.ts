import type { Conditions } from "../s3/conditions.js";
import type { MemberHeaders } from "../s3/member-headers.js";
import type { RequestedRange } from "../s3/range-header.js";
import type { ObjectTarget } from "../s3/request-target.js";
import { OWN_RANGE, type PlainRequest } from "./plain-request.js";

const [ZERO, DASH] = [0x30, 0x2d];
/** As in RANGE. */
const MOST_DIGITS = 15;
const RANGE_HEADER = "\r\nrange: ";
const RANGE_UNIT = "bytes=";

/**
 * Whether a connection may repeat a request, but for the numbers of its range. The signature of a signed head changes with each range
 * and second.
 */
export function mayRepeat({ headers }: PlainRequest): boolean {
  return headers["x-amz-date"] === undefined && (headers.range === undefined || OWN_RANGE.test(headers.range));
}

/**
 * A request as its connection repeats it: byte for byte the same, but for the numbers of its range. Only these are parsed again.
 * Whoever answers such a request keeps here what follows from the rest.
 */
export class RepeatedRequest {
  readonly #bytes: Buffer;
  readonly #request: PlainRequest;
  /** Where the numbers of the range begin and end. Both are the end of the request if it has no range. */
  readonly #start: number;
  readonly #end: number;

  /** The object that it reads, if its head is well-formed. Undefined: not known yet. */
  target: ObjectTarget | undefined;
  conditions: Conditions | undefined;
  memberHeaders: MemberHeaders | undefined;

  /** `bytes` are those that `request`, which may be repeated, was parsed from. */
  constructor(bytes: Buffer, request: PlainRequest) {
    this.#bytes = Buffer.from(bytes);
    this.#request = request;
    const { range } = request.headers;
    const header = range === undefined ? -1 : bytes.toString("latin1").toLowerCase().indexOf(RANGE_HEADER);
    const value = header + RANGE_HEADER.length;
    this.#start = header < 0 ? bytes.length : value + RANGE_UNIT.length;
    this.#end = header < 0 ? bytes.length : value + range!.length;
  }

  /** The request in the first `count` bytes. Undefined: they are another one, or none. */
  parse(bytes: Buffer, count = bytes.length): PlainRequest | undefined {
    if (count < this.#start || !this.#isSame(bytes, 0, this.#start, 0)) return undefined;
    if (this.#start === this.#end) {
      return count === this.#bytes.length ? new Repetition(this, this.#request, undefined) : undefined;
    }
    const dash = digitsEnd(bytes, this.#start);
    const end = digitsEnd(bytes, dash + 1);
    if (dash === this.#start || bytes[dash] !== DASH || end === dash + 1) return undefined;
    const restBytes = this.#bytes.length - this.#end;
    if (count !== end + restBytes || !this.#isSame(bytes, end, restBytes, this.#end)) return undefined;
    // The header is written again from the numbers.
    if (hasLeadingZero(bytes, this.#start, dash) || hasLeadingZero(bytes, dash + 1, end)) return undefined;
    const [first, last] = [numberAt(bytes, this.#start, dash), numberAt(bytes, dash + 1, end)];
    return new Repetition(this, this.#request, { first, last });
  }

  /** Whether `count` bytes from `at` on are those of the remembered request from `from` on. */
  #isSame(bytes: Buffer, at: number, count: number, from: number): boolean {
    const remembered = this.#bytes;
    for (let offset = 0; offset < count; offset++) if (bytes[at + offset] !== remembered[from + offset]) return false;
    return true;
  }
}

/** A request that repeats another one. Its headers are made when they are read, since nearly nobody does. */
class Repetition implements PlainRequest {
  readonly method: PlainRequest["method"];
  readonly url: string;
  readonly httpVersion = "1.1";
  readonly isPlain: boolean;
  readonly range: RequestedRange | undefined;
  readonly repeated: RepeatedRequest;
  readonly #of: PlainRequest;
  readonly #numbers: { readonly first: number; readonly last: number } | undefined;
  #headers: PlainRequest["headers"] | undefined;

  constructor(
    repeated: RepeatedRequest,
    of: PlainRequest,
    numbers: { readonly first: number; readonly last: number } | undefined,
  ) {
    this.method = of.method;
    this.url = of.url;
    this.isPlain = of.isPlain;
    // As `parseRange`.
    this.range =
      numbers === undefined || numbers.last < numbers.first
        ? undefined
        : { form: "from", first: numbers.first, last: numbers.last };
    this.repeated = repeated;
    this.#of = of;
    this.#numbers = numbers;
  }

  get headers(): PlainRequest["headers"] {
    this.#headers ??= this.#made();
    return this.#headers;
  }

  #made(): PlainRequest["headers"] {
    const { headers } = this.#of;
    return this.#numbers === undefined
      ? headers
      : { ...headers, range: `${RANGE_UNIT}${this.#numbers.first}-${this.#numbers.last}` };
  }
}

/** Where the digits end that begin at `start`: at most as many as a range may have. */
function digitsEnd(bytes: Buffer, start: number): number {
  let end = start;
  while (end - start < MOST_DIGITS && isDigit(bytes[end])) end++;
  return end;
}

function isDigit(byte: number | undefined): boolean {
  return byte !== undefined && byte >= ZERO && byte < ZERO + 10;
}

function hasLeadingZero(bytes: Buffer, start: number, end: number): boolean {
  return bytes[start] === ZERO && end > start + 1;
}

function numberAt(bytes: Buffer, start: number, end: number): number {
  let value = 0;
  for (let at = start; at < end; at++) value = value * 10 + bytes[at]! - ZERO;
  return value;
}
