import { type GivenFlags, Problems, parseOrigins, readSettings, SettingsError } from "@frontcache/server/testing";
import { type FuzzTarget, isOneLine, promise, resultOf } from "../target.js";

/** Settings of `serve`: lines of `name=value`. */
export const settingsTarget: FuzzTarget = {
  name: "settings",
  tokens: ["\n", "=", ",", ":", "KiB", "GiB", "ms", "s", "0", "-1", "1e9", "NaN", "true", "never", "[::1]", "65536", "\u0000"],
  check(input) {
    const given = input.split("\n").map((line) => line.split(/=(.*)/s));
    const flags = Object.fromEntries(given.filter(([name]) => name !== "origins" && name !== "__proto__")) as GivenFlags;
    const isRefusal = (error: unknown): boolean => error instanceof SettingsError && isOneLine(error.message);
    const settings = resultOf(() => readSettings(flags, {}), isRefusal)?.value;
    if (settings === undefined) return;
    promise(settings.blockBytes > 0 && settings.blockBytes % (1 << 20) === 0, "blocks are whole segments");
    promise(settings.lowWatermark <= settings.highWatermark && settings.highWatermark <= 100, "watermarks are in order");
    const { tcp: { port } = { port: 0 }, socketPath = "/" } = settings.listen;
    promise(port >= 0 && port <= 65_535 && socketPath.startsWith("/"), "addresses are ports and absolute paths");
  },
};

/** The origins file: YAML. */
export const originsFileTarget: FuzzTarget = {
  name: "origins-file",
  tokens: [
    "\n",
    "  ",
    "- ",
    ": ",
    "{",
    "}",
    "[",
    "]",
    "*",
    "&a",
    "*a",
    "!!js",
    "buckets",
    "s3://",
    "gs://",
    "endpoint",
    "<<: ",
    "'",
  ],
  check(input) {
    const isRefusal = (error: unknown): boolean => error instanceof Problems && error.clauses.every(isOneLine);
    const rules = resultOf(() => parseOrigins(input, "origins.yaml"), isRefusal)?.value;
    if (rules === undefined) return;
    promise(rules.length > 0 && rules.every(({ buckets }) => buckets.length > 0), "each rule is about some bucket");
  },
};
