import { once } from "node:events";
import { type IncomingMessage, request as plainRequest } from "node:http";
import { request as tlsRequest } from "node:https";
import type { accessOptions } from "./access-options.js";

/** How long a member may take to say how it is. */
const ANSWER_TIMEOUT_MS = 2_000;

/** How much it may say: far more than a member has to. */
const MAX_BYTES = 1 << 20;

/** What a question shows to members: as the client's own connections do. */
export type QuestionAccess = ReturnType<typeof accessOptions>;

/**
 * What a member's gateway answers to a GET of a path; undefined: it can't be reached in time, or says too much. `signal` should be
 * of a few questions: each leaves some bytes at it.
 */
export async function askMember(
  httpAddress: string,
  path: string,
  access: QuestionAccess,
  signal: AbortSignal,
): Promise<{ readonly ok: boolean; readonly text: string } | undefined> {
  const tls = typeof access.tls === "function" ? access.tls() : access.tls;
  const token = typeof access.token === "function" ? access.token() : access.token;
  const headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
  const options = { headers, agent: false as const, signal: AbortSignal.any([signal, AbortSignal.timeout(ANSWER_TIMEOUT_MS)]) };
  try {
    const { serverName, ...keys } = tls ?? {};
    const secured = { ...options, ...keys, ...(serverName === undefined ? {} : { servername: serverName }) };
    const asked =
      tls === undefined
        ? plainRequest(`http://${httpAddress}${path}`, options)
        : tlsRequest(`https://${httpAddress}${path}`, secured);
    const [answer] = (await once(asked.end(), "response")) as [IncomingMessage];
    return { ok: answer.statusCode === 200, text: await textOf(answer) };
  } catch {
    return undefined;
  }
}

/** Rejects, and hangs up, where the body is longer than a member's. */
async function textOf(answer: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > MAX_BYTES) throw new Error(`an answer of more than ${MAX_BYTES} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}
