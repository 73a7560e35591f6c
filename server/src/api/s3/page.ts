import type { Reply, Request } from "./reply.js";

/** Answers GET and HEAD of one path that is neither an object nor a probe: metrics, for example. Never throws. */
export type Page = (request: Request, reply: Reply) => void;

/** The pages of a gateway by their paths. */
export type Pages = ReadonlyMap<string, Page>;

/** A page of text that is made anew for each request. */
export function textPage(contentType: string, text: () => string): Page {
  return (request, reply) => {
    const body = Buffer.from(text());
    const headers = ["Content-Type", contentType, "Content-Length", String(body.length), "Cache-Control", "no-store"];
    reply.writeHead(200, headers);
    reply.end(request.method === "HEAD" ? undefined : body);
  };
}
