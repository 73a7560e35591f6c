import { CacheError, VALUE_CALL_HEADER, VALUE_CALLS_PATH, ValueAnswer, ValueCall } from "@frontcache/proto";
import { requireMemberNamed } from "../../security/member-authentication.js";
import type { ValueService } from "../../values/value-service.js";
import { WHOLE_BYTES } from "../../values/write-memory.js";
import type { HttpContext } from "../http/http-context.js";
import type { Site } from "../http/site.js";
import type { Document } from "../s3/document-answer.js";
import { receivedBytes } from "../s3/writes/received-body.js";
import { answerRunning, bodySizeOf, invalidRequest, valueSite } from "./value-site.js";

/** The calls by which other members write bytes of values here. They are refused to everybody else. */
export function memberCalls(): Site<ValueService> {
  return valueSite<ValueService>({
    errorForm: undefined,
    parsePlain: () => undefined,
    answer(context, { path }, service) {
      const { request } = context;
      if (path !== VALUE_CALLS_PATH) return invalidRequest(404, `calls of members are at ${VALUE_CALLS_PATH}`);
      if (request.method !== "POST") return invalidRequest(405, "use POST for a call of a member", ["Allow", "POST"]);
      const { principal, listener, client, refusals } = context;
      const call = callIn(request.headers[VALUE_CALL_HEADER]);
      requireMemberNamed(call.name, { what: "a call about values", principal, listener, client: client.address }, refusals);
      answerRunning(context, { operation: "member call", url: urlOf(call) }, () => answerCall(context, call, service));
      return undefined;
    },
  });
}

async function answerCall(context: HttpContext, call: ValueCall, service: ValueService): Promise<Document> {
  const body = receivedBytes(context.upload!, context);
  const size = bodySizeOf(context);
  if (call.begin !== undefined && (size === undefined || size > WHOLE_BYTES)) {
    throw new CacheError("INVALID_ARGUMENT", `a value that is sent whole has at most ${WHOLE_BYTES} bytes, and says how many`);
  }
  // Its sender may repeat the request: it begins when all bytes are here.
  const { bodies } = service;
  const whole = call.begin === undefined ? undefined : await bodies.whole(urlOf(call), body, size!);
  const received = whole ?? bodies.inSegments(body, call.write?.offset ?? 0);
  let isFree = false;
  try {
    const answer = await service.answer(call, context.signal, received.bytes);
    isFree = true;
    return { headers: ["Content-Type", "text/plain"], body: Buffer.from(encoded(answer)) };
  } finally {
    received.release(isFree);
  }
}

function urlOf({ begin, write }: ValueCall): string {
  return (begin?.entry ?? write)?.url ?? "a value";
}

function encoded(answer: ValueAnswer): string {
  return Buffer.from(ValueAnswer.encode(answer).finish()).toString("base64");
}

/** Throws INVALID_ARGUMENT. */
function callIn(header: unknown): ValueCall {
  if (typeof header === "string" && header !== "") {
    try {
      return ValueCall.decode(Buffer.from(header, "base64"));
    } catch {
      // Not the form of a member.
    }
  }
  throw new CacheError(
    "INVALID_ARGUMENT",
    `the header ${VALUE_CALL_HEADER} contains no call: run the same version on all members`,
  );
}
