import { get as getPlain, type IncomingMessage } from "node:http";
import { get as getSecure, type RequestOptions } from "node:https";
import type { MemberInfo } from "@frontcache/proto";
import { remoteAddress } from "../../config/addresses.js";
import type { Security } from "../../security/member-security.js";
import type { MemberReport } from "./member-report.js";

/** Where a member's own report is. */
export const MEMBER_PATH = "/status/member";

/** How long a member may take, and how much it may say. */
const TIMEOUT_MS = 1_000;
const MAX_BYTES = 1 << 20;

/** Asks a member's gateway for its report, authenticated as this member. Rejects with one line. */
export async function askMember({ httpAddress }: MemberInfo, security: Security): Promise<MemberReport> {
  if (httpAddress === undefined) throw new Error("it has no gateway to ask");
  const answer = await open(optionsFor(httpAddress, security), security.tls !== undefined);
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > MAX_BYTES) throw new Error("it says too much");
    chunks.push(chunk);
  }
  if (answer.statusCode !== 200) throw new Error(`it answers with ${answer.statusCode}`);
  return JSON.parse(Buffer.concat(chunks).toString()) as MemberReport;
}

function optionsFor(address: string, { tls, tokens }: Security): RequestOptions {
  const { host, port } = remoteAddress.parse(address);
  const headers = tokens === undefined ? {} : { authorization: `Bearer ${tokens.own}` };
  const options = { host, port, path: MEMBER_PATH, headers, agent: false, signal: AbortSignal.timeout(TIMEOUT_MS) };
  if (tls === undefined) return options;
  const { cert, key, ca } = tls.current;
  return { ...options, cert, key, ...(ca && { ca }), ...(tls.serverName && { servername: tls.serverName }) };
}

function open(options: RequestOptions, secure: boolean): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const request = secure ? getSecure(options, resolve) : getPlain(options, resolve);
    request.on("error", (cause) => reject(new Error(`out of reach: ${cause.message}`, { cause })));
  });
}
