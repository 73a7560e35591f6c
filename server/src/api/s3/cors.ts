import { type BucketRef, CacheError } from "@frontcache/proto";
import { BoundedMap } from "@frontcache/proto/runtime";
import type { PassQuestion } from "../../origin/origin.js";
import { wholeBody } from "../../origin/passed-body.js";
import type { Cache } from "../../routing/cache.js";
import { CACHE_ITSELF } from "../../security/principal.js";
import type { HttpContext, Reply } from "../http/http-context.js";
import { type CorsQuestion, type CorsRule, corsHeaders, parseCorsRules, readingRule } from "./cors-rules.js";
import { type ErrorResponse, REQUEST_ID_HEADER } from "./error-response.js";

/** Returns the configured origins of pages that may read a bucket; undefined: the bucket's own rules hold. */
export type CorsOrigins = (bucket: BucketRef) => readonly string[] | undefined;

/** How long the rules of a bucket are used, and how long after a failure the origin is not asked again. */
const RULES_MS = 60_000;
const FAILED_MS = 5_000;
/** Longer than origins take. Without their rules, an answer has no headers for pages. */
const TIMEOUT_MS = 1_000;
/** Buckets whose rules are remembered. */
const REMEMBERED_BUCKETS = 1_000;
/** Questions for rules at a time: preflights need no authentication. */
const MAX_QUESTIONS = 16;
/** S3's limit of a CORS configuration. */
const MAX_DOCUMENT_BYTES = 64 << 10;

interface Remembered {
  readonly rules: readonly CorsRule[];
  readonly untilMs: number;
}

type RulesContext = Pick<HttpContext, "clock">;

/** Whose rules are asked for. */
interface RulesQuestion {
  readonly bucket: string;
  /** The principal that signed the page's request, by its name. Undefined: nobody. */
  readonly signer: string | undefined;
}

/** The rules about pages of other origins: configured ones, or those that the bucket has at its origin, which are remembered. */
export class Cors {
  readonly #originsOf: CorsOrigins;
  readonly #configured = new Map<readonly string[], readonly CorsRule[]>();
  /** By signer and bucket. */
  #remembered = new BoundedMap<string, Remembered>(REMEMBERED_BUCKETS);
  readonly #questions = new Map<string, Promise<readonly CorsRule[]>>();

  constructor(originsOf: CorsOrigins) {
    this.#originsOf = originsOf;
  }

  /**
   * The rules of a bucket; at once if they are configured or remembered. Never rejects: without an answer there are none. `signer`: the
   * name of the principal that signed the page's request. If it has origin credentials of its own, the origin is asked with them.
   */
  rulesOf(
    bucket: BucketRef,
    cache: Pick<Cache, "ask">,
    context: RulesContext,
    signer?: string | undefined,
  ): readonly CorsRule[] | Promise<readonly CorsRule[]> {
    const origins = this.#originsOf(bucket);
    if (origins !== undefined) return this.#readingRules(origins);
    if (bucket.scheme !== "s3") return [];
    const key = keyOf({ bucket: bucket.bucket, signer });
    const known = this.#remembered.peek(key);
    if (known !== undefined && context.clock.monotonicMs() < known.untilMs) return known.rules;
    const running = this.#questions.get(key);
    if (running !== undefined) return running;
    if (this.#questions.size >= MAX_QUESTIONS) return known?.rules ?? [];
    const question = this.#remember({ bucket: bucket.bucket, signer }, cache, context).finally(() => {
      if (this.#questions.get(key) === question) this.#questions.delete(key);
    });
    this.#questions.set(key, question);
    return question;
  }

  /** The same cache; remembered rules are forgotten when a client changes those of a bucket through it. */
  watch(next: Cache): Cache {
    return {
      open: (request) => next.open(request),
      ask: async (question) => {
        const changes = question.kind === "write" && !("key" in question.ref) && question.query.some(([name]) => name === "cors");
        try {
          return await next.ask(question);
        } finally {
          if (changes) this.#forget();
        }
      },
    };
  }

  /** Questions that are on their way may get old rules: their answers are not remembered. */
  #forget(): void {
    this.#remembered = new BoundedMap(REMEMBERED_BUCKETS);
    this.#questions.clear();
  }

  #readingRules(origins: readonly string[]): readonly CorsRule[] {
    let rules = this.#configured.get(origins);
    if (rules === undefined) {
      rules = origins.length === 0 ? [] : [readingRule(origins)];
      this.#configured.set(origins, rules);
    }
    return rules;
  }

  async #remember(of: RulesQuestion, cache: Pick<Cache, "ask">, { clock }: RulesContext): Promise<readonly CorsRule[]> {
    const remembered = this.#remembered;
    // Others may wait for the answer, too, so it does not end with the client that asked first.
    const limit = new AbortController();
    const cancel = clock.after(TIMEOUT_MS, () =>
      limit.abort(new CacheError("DEADLINE_EXCEEDED", `s3://${of.bucket}: no CORS rules yet`)),
    );
    let [rules, forMs]: [readonly CorsRule[], number] = [[], FAILED_MS];
    try {
      let answer = await ask(of, cache, limit.signal);
      // Few may read the rules of a bucket. A browser needs them all the same.
      if (answer.status === 403 && of.signer !== undefined) answer = await ask({ ...of, signer: undefined }, cache, limit.signal);
      // A bucket without rules is answered by 404.
      if (answer.status === 200 || answer.status === 404) forMs = RULES_MS;
      if (answer.status === 200) rules = parseCorsRules(answer.document);
    } catch {
      rules = remembered.peek(keyOf(of))?.rules ?? [];
    } finally {
      cancel();
    }
    remembered.set(keyOf(of), { rules, untilMs: clock.monotonicMs() + forMs });
    return rules;
  }
}

function keyOf({ bucket, signer }: RulesQuestion): string {
  return `${bucket} ${signer ?? ""}`;
}

/** Asks the origin for the rules of a bucket. */
async function ask({ bucket, signer }: RulesQuestion, cache: Pick<Cache, "ask">, signal: AbortSignal) {
  const question: PassQuestion = {
    kind: "pass",
    ref: { url: `s3://${bucket}`, scheme: "s3", bucket },
    method: "GET",
    query: [["cors", ""]],
    headers: [],
    // Preflights have no credentials, and the answer is used for all clients.
    principal: CACHE_ITSELF,
    onBehalfOf: signer,
    signal,
  };
  const answer = await cache.ask(question);
  return { status: answer.status, document: (await wholeBody(answer, question, MAX_DOCUMENT_BYTES)).toString() };
}

/** What a page asks for; an error of S3 for a preflight that does not say it. Undefined: the request is no page's. */
export function corsQuestionOf({ request }: Pick<HttpContext, "request">): CorsQuestion | ErrorResponse | undefined {
  const { method = "", headers } = request;
  const { origin, "access-control-request-method": announced } = headers;
  // S3 judges the announced method, if a request that is no preflight has one. Pages cannot send this header.
  if (method !== "OPTIONS") return origin === undefined ? undefined : { origin, method: announced ?? method, headers: [] };
  if (origin === undefined) return insufficient("Origin request header needed.");
  if (announced === undefined || announced === "") return insufficient("Access-Control-Request-Method request header needed.");
  const names = (headers["access-control-request-headers"] ?? "")
    .toLowerCase()
    .split(",")
    .map((name) => name.trim());
  return { origin, method: announced, headers: names.filter((name) => /^[\w!#$%&'*+.^`|~-]+$/.test(name)) };
}

/** Has all heads of the response include the headers for pages, errors too. */
export function addCorsHeaders(response: Reply, rules: readonly CorsRule[], question: CorsQuestion): void {
  const added = corsHeaders(rules, question, false);
  if (added === undefined) return;
  const { writeHead } = response;
  response.writeHead = (status, headers, shared) => writeHead.call(response, status, [...headers, ...added], shared);
}

/** Answers a preflight as S3 does, or returns S3's error. */
export function answerPreflight(
  { response, requestId }: Pick<HttpContext, "response" | "requestId">,
  rules: readonly CorsRule[],
  question: CorsQuestion,
): ErrorResponse | undefined {
  const headers = corsHeaders(rules, question, true);
  if (headers === undefined) {
    return forbidden(
      rules.length === 0
        ? "CORSResponse: CORS is not enabled for this bucket."
        : "CORSResponse: This CORS request is not allowed. This is usually because the evaluation of Origin, request method / Access-Control-Request-Method or Access-Control-Request-Headers are not whitelisted by the resource's CORS spec.",
    );
  }
  response.writeHead(200, [...headers, "Content-Length", "0", REQUEST_ID_HEADER, requestId]);
  response.end();
  return undefined;
}

function insufficient(what: string): ErrorResponse {
  return { status: 400, code: "BadRequest", errorCode: "INVALID_ARGUMENT", message: `Insufficient information. ${what}` };
}

function forbidden(message: string): ErrorResponse {
  return { status: 403, code: "AccessForbidden", errorCode: "PERMISSION_DENIED", message };
}
