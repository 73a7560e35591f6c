import { getText } from "../runtime/http-text.js";
import type { accessOptions } from "./access-options.js";

const ANSWER_TIMEOUT_MS = 2_000;

/** Far more than any answer of a member. */
const MAX_BYTES = 1 << 20;

/** TLS keys and token for a request to a member, as for the client's own connections. */
export type QuestionAccess = ReturnType<typeof accessOptions>;

/** A member's answer to a GET of a path of its HTTP listener; undefined if it cannot be reached in time, or says too much. */
export async function askMember(
  httpAddress: string,
  path: string,
  access: QuestionAccess,
  signal: AbortSignal,
): Promise<{ readonly ok: boolean; readonly text: string } | undefined> {
  const tls = typeof access.tls === "function" ? access.tls() : access.tls;
  const token = typeof access.token === "function" ? access.token() : access.token;
  const { serverName, ...keys } = tls ?? {};
  try {
    const { status, text } = await getText({
      url: `${tls === undefined ? "http" : "https"}://${httpAddress}${path}`,
      options: {
        headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
        ...keys,
        ...(serverName !== undefined && { servername: serverName }),
      },
      timeoutMs: ANSWER_TIMEOUT_MS,
      maxBytes: MAX_BYTES,
      signal,
    });
    return { ok: status === 200, text };
  } catch {
    return undefined;
  }
}
