import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { Page } from "../http/pages.js";

/** The modules of the page, by their import names. */
const MODULES = ["format", "history", "views"] as const;

/**
 * The status page: one file without external resources, because members often have no access to a CDN. An import map of data URLs
 * contains its modules; the Content-Security-Policy allows no other script.
 */
export function statusPage(): Page {
  let html: Buffer | undefined;
  let policy = "";
  return (request, reply) => {
    if (html === undefined) [html, policy] = build();
    reply.writeHead(200, [
      "Content-Type",
      "text/html; charset=utf-8",
      "Content-Length",
      String(html.length),
      "Content-Security-Policy",
      policy,
      "X-Content-Type-Options",
      "nosniff",
      "Referrer-Policy",
      "no-referrer",
      "Cache-Control",
      "no-cache",
    ]);
    reply.end(request.method === "HEAD" ? undefined : html);
  };
}

function build(): [html: Buffer, policy: string] {
  const style = source("page.css");
  const main = source("main.js");
  const preact = readFileSync(fileURLToPath(import.meta.resolve("htm/preact/standalone")), "utf8");
  const imports = {
    "htm/preact": dataUrl(preact),
    ...Object.fromEntries(MODULES.map((name) => [`#${name}`, dataUrl(source(`${name}.js`))])),
  };
  const map = JSON.stringify({ imports });
  const html = source("index.html")
    .replace("/* style */", () => style)
    .replace('<script type="importmap">{}</script>', () => `<script type="importmap">${map}</script>`)
    .replace("/* main */", () => main);
  const policy = [
    "default-src 'none'",
    `script-src ${hashOf(map)} ${hashOf(main)} data:`,
    `style-src ${hashOf(style)}`,
    "connect-src 'self'",
    "img-src data:",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join("; ");
  return [Buffer.from(html), policy];
}

function source(name: string): string {
  return readFileSync(new URL(`../../../page/${name}`, import.meta.url), "utf8");
}

function dataUrl(script: string): string {
  return `data:text/javascript;base64,${Buffer.from(script).toString("base64")}`;
}

function hashOf(text: string): string {
  return `'sha256-${createHash("sha256").update(text).digest("base64")}'`;
}
