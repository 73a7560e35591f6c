import type { Reply, Request } from "./http-context.js";

/** Answers GET and HEAD of one path that is neither an object nor a probe: metrics, for example. Never throws. */
export type Page = (request: Request, reply: Reply) => void;

/** The pages of an HTTP listener by their paths. */
export type Pages = ReadonlyMap<string, Page>;

/** Creates a page whose text is generated for each request. */
export function textPage(contentType: string, text: () => string): Page {
  return (request, reply) => {
    const body = Buffer.from(text());
    const headers = ["Content-Type", contentType, "Content-Length", String(body.length), "Cache-Control", "no-store"];
    reply.writeHead(200, headers);
    reply.end(request.method === "HEAD" ? undefined : body);
  };
}

/** Returns whether the path is a probe of Kubernetes. */
export function isProbe(path: string): boolean {
  return path === "/livez" || path === "/readyz";
}

/**
 * Answers a probe: alive while the process runs; ready (200) without reasons against it, otherwise 503 with one reason per line.
 */
export function answerProbe(response: Reply, path: string, notReadyReasons: readonly string[]): void {
  const reasons = path === "/livez" ? [] : notReadyReasons;
  const lines = reasons.length === 0 ? ["ok"] : reasons;
  const body = Buffer.from(lines.map((line) => `${line}\n`).join(""));
  response.writeHead(reasons.length === 0 ? 200 : 503, [
    "Content-Type",
    "text/plain; charset=utf-8",
    "Content-Length",
    String(body.length),
    "Cache-Control",
    "no-store",
  ]);
  response.end(body);
}
