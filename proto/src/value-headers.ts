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
  /** Of responses: a ValueInfo as percent-encoded JSON. */
  value: "frontcache-value",
} as const;

/** The path of calls about values with bytes, from member to member. The body has the bytes. */
export const VALUE_CALLS_PATH = "/value-calls";
/** The header with the call: a ValueCall in Base64. The response is a ValueAnswer in Base64. */
export const VALUE_CALL_HEADER = "frontcache-value-call";
