import type { RequestOptions } from "node:https";
import type { MemberInfo } from "@frontcache/proto";
import { getText } from "../../runtime/http-text.js";
import type { Security } from "../../security/member-security.js";
import type { MemberReport } from "./member-report.js";

/** The path of a member's own report. */
export const MEMBER_PATH = "/status/member";

const TIMEOUT_MS = 1_000;
const MAX_BYTES = 1 << 20;

/** Fetches a member's report from its HTTP listener, authenticated as this member. Rejects with one line. */
export async function askMember({ httpAddress }: MemberInfo, security: Security): Promise<MemberReport> {
  if (httpAddress === undefined) throw new Error("the member has no HTTP listener");
  const { tls, tokens } = security;
  const headers = tokens === undefined ? {} : { authorization: `Bearer ${tokens.own}` };
  const { status, text } = await getText({
    url: `${tls === undefined ? "http" : "https"}://${httpAddress}${MEMBER_PATH}`,
    options: { headers, ...(tls !== undefined && tlsOptions(tls)) },
    timeoutMs: TIMEOUT_MS,
    maxBytes: MAX_BYTES,
  }).catch((cause: Error) => {
    throw new Error(`unreachable: ${cause.message}`, { cause });
  });
  if (status !== 200) throw new Error(`the member answered with status ${status}`);
  return JSON.parse(text) as MemberReport;
}

function tlsOptions({ current: { cert, key, ca }, serverName }: NonNullable<Security["tls"]>): RequestOptions {
  return { cert, key, ...(ca && { ca }), ...(serverName && { servername: serverName }) };
}
