/** Codes of the operating system and of DNS. Those of Node, `ERR_...`, and of its HTTP parser, `HPE_...`, are about an answer. */
const CODE = /^E(?!RR_)[A-Z0-9_]+$/;

/** Whether an error means that no answer came: the connection was not possible, broke or stood still. */
export function isConnectionError(error: unknown): boolean {
  const { code, name } = (error ?? {}) as { code?: unknown; name?: unknown };
  return (typeof code === "string" && CODE.test(code)) || name === "TimeoutError";
}
