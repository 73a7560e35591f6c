/** One rule of a bucket about pages of other origins, as in S3's CORS configuration. */
export interface CorsRule {
  /** Each with at most one `*`, which stands for any text. */
  readonly allowedOrigins: readonly string[];
  readonly allowedMethods: readonly string[];
  /** Request headers in lower case, each with at most one `*`. */
  readonly allowedHeaders: readonly string[];
  readonly exposedHeaders: readonly string[];
  readonly maxAgeSeconds: number | undefined;
  /** Whether pages may send cookies and certificates. S3 permits it unless the origin is `*`. */
  readonly allowsCredentials: boolean;
}

/** What a page asks for. */
export interface CorsQuestion {
  readonly origin: string;
  /** Of the request, or announced by a preflight. */
  readonly method: string;
  /** Headers that a preflight announces, in lower case. Empty for a request. */
  readonly headers: readonly string[];
}

/** Headers that pages may read under the rules of `--cors-origin`. */
const EXPOSED = [
  ...["ETag", "Content-Range", "Content-Length", "Content-Encoding", "Content-Disposition", "Accept-Ranges", "Last-Modified"],
  ...["Age", "X-Cache", "Server-Timing", "x-amz-request-id", "x-amz-version-id", "x-amz-mp-parts-count", "x-amz-storage-class"],
  ...["x-amz-bucket-region", "x-amz-delete-marker", "x-goog-generation", "x-goog-hash"],
];

/** How long browsers may remember the answer to a preflight under the rules of `--cors-origin`. */
const MAX_AGE_SECONDS = 3_000;

/** Returns the rule that permits reading to pages of these origins. */
export function readingRule(allowedOrigins: readonly string[]): CorsRule {
  return {
    allowedOrigins,
    allowedMethods: ["GET", "HEAD"],
    allowedHeaders: ["*"],
    exposedHeaders: EXPOSED,
    maxAgeSeconds: MAX_AGE_SECONDS,
    allowsCredentials: false,
  };
}

/** Parses S3's CORS configuration. Elements that it does not know are ignored. */
export function parseCorsRules(document: string): CorsRule[] {
  return [...document.matchAll(/<CORSRule>(.*?)<\/CORSRule>/gs)].map(([, rule = ""]) => {
    const all = (name: string): string[] =>
      [...rule.matchAll(new RegExp(`<${name}>([^<]*)</${name}>`, "g"))].map(([, text = ""]) => unescaped(text.trim()));
    const maxAge = all("MaxAgeSeconds")[0];
    return {
      allowedOrigins: all("AllowedOrigin"),
      allowedMethods: all("AllowedMethod"),
      allowedHeaders: all("AllowedHeader").map((name) => name.toLowerCase()),
      exposedHeaders: all("ExposeHeader").filter((name) => /^[\w*-]+$/.test(name)),
      maxAgeSeconds: maxAge !== undefined && /^\d{1,9}$/.test(maxAge) ? Number(maxAge) : undefined,
      allowsCredentials: true,
    };
  });
}

/** Returns the headers of an answer to a page, names and values in turn. Undefined: no rule permits it. */
export function corsHeaders(rules: readonly CorsRule[], question: CorsQuestion, isPreflight: boolean): string[] | undefined {
  const { origin, method, headers } = question;
  for (const rule of rules) {
    const allowed = rule.allowedOrigins.find((pattern) => matches(pattern, origin));
    if (allowed === undefined || !rule.allowedMethods.includes(method)) continue;
    if (!headers.every((name) => rule.allowedHeaders.some((pattern) => matches(pattern, name)))) continue;
    const answer = [
      ...["Access-Control-Allow-Origin", allowed === "*" ? "*" : origin],
      ...["Access-Control-Allow-Methods", rule.allowedMethods.join(", ")],
      ...["Vary", "Origin, Access-Control-Request-Headers, Access-Control-Request-Method"],
    ];
    if (rule.exposedHeaders.length > 0) answer.push("Access-Control-Expose-Headers", rule.exposedHeaders.join(", "));
    if (rule.allowsCredentials && allowed !== "*") answer.push("Access-Control-Allow-Credentials", "true");
    if (isPreflight && headers.length > 0) answer.push("Access-Control-Allow-Headers", headers.join(", "));
    if (isPreflight && rule.maxAgeSeconds !== undefined) answer.push("Access-Control-Max-Age", String(rule.maxAgeSeconds));
    return answer;
  }
  return undefined;
}

/** Matches a text with at most one `*`, which stands for any text. */
function matches(pattern: string, text: string): boolean {
  const star = pattern.indexOf("*");
  if (star < 0) return pattern === text;
  const [start, end] = [pattern.slice(0, star), pattern.slice(star + 1)];
  return text.length >= start.length + end.length && text.startsWith(start) && text.endsWith(end);
}

const ENTITIES: Readonly<Record<string, string>> = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" };

function unescaped(text: string): string {
  return text.replace(/&(\w+);/g, (written, name: string) => ENTITIES[name] ?? written);
}
