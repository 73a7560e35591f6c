/** Headers of requests for values (`/values/<bucket>/<key>`) between clients and members. Names in lower case, as Node has them. */
export const VALUE_HEADERS = {
  /** Seconds until the value expires; 0: never. */
  ttl: "frontcache-ttl",
  flags: "frontcache-flags",
  /** Begins the names of the headers with metadata, whose values are percent-encoded. */
  metadata: "frontcache-meta-",
  /** `refuse` or `wait`. */
  whileWritten: "frontcache-while-written",
  /** `1`: a value that is still being written is sent as it arrives. */
  follow: "frontcache-follow",
  /** Bytes of an upload. */
  size: "frontcache-size",
  /** Of responses: a ValueMessage as percent-encoded JSON. */
  value: "frontcache-value",
} as const;

/** The path of calls about values with bytes, from member to member. The body has the bytes. */
export const VALUE_CALLS_PATH = "/value-calls";
/** The header with the call: a ValueCall in Base64. The response is a ValueAnswer in Base64. */
export const VALUE_CALL_HEADER = "frontcache-value-call";

/** A value, as members describe it to clients. */
export interface ValueMessage {
  readonly url: string;
  /** Of two versions, the one that compares larger is the newer one. */
  readonly version: string;
  readonly size: number;
  /** Milliseconds since 1970. */
  readonly createdMs: number;
  /** From then on the value is missing. Absent: it never expires. */
  readonly expiresMs?: number;
  readonly flags: number;
  readonly metadata: Readonly<Record<string, string>>;
  readonly contentType?: string;
}
