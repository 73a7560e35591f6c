import { OUTCOME_HEADER } from "@frontcache/proto";
import type { WriteAnswer } from "../../../origin/origin.js";
import type { Document } from "../document-answer.js";

/** Headers of the origin's answer that this server sends itself. */
const NOT_ANSWERED = /^(?:date|server|x-amz-request-id|x-amz-id-2|content-length|transfer-encoding|access-control-.*)$/;

/** What is said about a write whose outcome is not known. */
export const OUTCOME_UNKNOWN = [OUTCOME_HEADER, "unknown"];

/** The origin's answer as that of this server. */
export function documentOf({ status, headers, body }: WriteAnswer): Document {
  const kept = headers.flatMap(([name, value]) => (NOT_ANSWERED.test(name) ? [] : [name, value]));
  return { status, headers: status >= 500 ? [...kept, ...OUTCOME_UNKNOWN] : kept, body };
}
