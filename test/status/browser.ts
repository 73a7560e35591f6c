import { existsSync } from "node:fs";
import { type Browser, chromium } from "playwright-core";

const EXECUTABLE = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find((path) => existsSync(path));

/** The reason why browser tests cannot run here; undefined: they can. */
export const noBrowser = EXECUTABLE === undefined ? "Chromium is not installed" : undefined;

/** Headless Chromium without access to the network. */
export function openBrowser(): Promise<Browser> {
  const quiet = ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"];
  return chromium.launch({
    executablePath: EXECUTABLE!,
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", ...quiet],
  });
}
