import { existsSync } from "node:fs";
import { type Browser, chromium, type Page } from "playwright-core";

const EXECUTABLE = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find((path) => existsSync(path));

/** The reason why browser tests cannot run here; undefined: they can. */
export const noBrowser = EXECUTABLE === undefined ? "Chromium is not installed" : undefined;

/** A browser that takes longer hangs. It has to share two busy processors. */
const HANGS_MS = 120_000;

/** Headless Chromium without access to the network. */
export function openBrowser(): Promise<Browser> {
  const quiet = ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"];
  return chromium.launch({
    timeout: HANGS_MS,
    executablePath: EXECUTABLE!,
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", ...quiet],
  });
}

/** A page whose waits detect what hangs, not what is slow. */
export async function newPage(browser: Browser, options: Parameters<Browser["newPage"]>[0] = {}): Promise<Page> {
  const page = await browser.newPage(options);
  page.setDefaultTimeout(HANGS_MS);
  return page;
}
