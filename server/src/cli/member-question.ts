import { once } from "node:events";
import { type IncomingMessage, request as plainRequest } from "node:http";
import { request as tlsRequest } from "node:https";
import { text } from "node:stream/consumers";
import type { accessOptions } from "./access-options.js";

/** How long a member may take to say how it is. */
const ANSWER_TIMEOUT_MS = 2_000;

/** What a question shows to members: as the client's own connections do. */
export type QuestionAccess = ReturnType<typeof accessOptions>;

/** What a member's gateway answers to a GET of a path; undefined: it can't be reached in time. */
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
    return { ok: answer.statusCode === 200, text: await text(answer) };
  } catch {
    return undefined;
  }
}
