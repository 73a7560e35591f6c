import { createHash } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { MemberInProcess } from "../e2e/member-in-process.js";
import { temporaryDirectory } from "../e2e/member-process.js";
import { S3Emulator } from "../emulators/s3.js";

/** Everybody who asks, in the order of the table's columns. */
const CALLERS = ["ada", "bob", "ops", "nobody", "anonymous", "wrong"] as const;
type Caller = (typeof CALLERS)[number];

const tokenOf = (caller: Caller): string => `token-of-${caller}-0123456789`;
const hashed = (caller: Caller): string => createHash("sha256").update(tokenOf(caller)).digest("hex");

const FILE = `
identities:
${(["ada", "bob", "ops", "nobody"] as const).map((name) => `  - { name: ${name}, tokens: ${hashed(name)} }`).join("\n")}
grants:
  - { to: ada, operations: [read, list, write, delete], buckets: "cache://*", prefixes: mine }
  - { to: bob, operations: [read, list], buckets: "cache://*" }
  - { to: ops, operations: status }
  - { to: anonymous, operations: read, buckets: "cache://*", prefixes: mine-open }
`;

let directory: Awaited<ReturnType<typeof temporaryDirectory>>;
let origin: S3Emulator;
let member: MemberInProcess;
/** host:port of each interface. */
let at: Readonly<Record<Interface, string>>;

type Interface = "s3" | "http" | "elcache" | "filestore";

beforeAll(async () => {
  directory = await temporaryDirectory();
  origin = await S3Emulator.start();
  const identitiesFile = join(directory.path, "identities.yaml");
  writeFileSync(identitiesFile, FILE);
  const buckets = ["values", "elcache", "filestore"].flatMap((name) => ["--cache-bucket", name]);
  const listen = ["--elcache-listen", "127.0.0.1:0", "--filestore-listen", "127.0.0.1:0"];
  member = await MemberInProcess.start({
    endpoint: origin.endpoint,
    cacheDirectory: join(directory.path, "cache"),
    flags: ["--identities-file", identitiesFile, ...buckets, ...listen],
  });
  const { elcache, filestore } = member.log.find(({ event }) => event === "listening") as Record<string, string>;
  at = { s3: member.s3, http: member.http, elcache: elcache!, filestore: filestore! };
});

afterAll(async () => {
  await member?.stop();
  await origin?.close();
  await directory?.[Symbol.asyncDispose]();
});

/** How a request was answered: `yes` if the principal was let through to the value, whether there is one or not. */
async function outcomeOf(where: Interface, method: string, path: string, caller: Caller): Promise<string> {
  const headers = caller === "anonymous" ? {} : { authorization: `Bearer ${tokenOf(caller)}` };
  const hasBody = method === "PUT" || method === "POST";
  const response = await fetch(`http://${at[where]}${path}`, { method, headers, ...(hasBody && { body: "bytes" }) });
  await response.arrayBuffer();
  if (response.status < 300 || response.status === 404 || response.status === 409) return "yes";
  return response.status === 403 || response.status === 401 ? String(response.status) : `status ${response.status}`;
}

/** An interface, a request, and what ada, bob, ops, nobody, anonymous and a wrong token get. */
const TABLE: [Interface, string, string, string][] = [
  ["s3", "PUT", "/values/mine/a", "yes 403 403 403 403 403"],
  ["s3", "PUT", "/values/other/a", "403 403 403 403 403 403"],
  ["s3", "GET", "/values/mine/a", "yes yes 403 403 403 403"],
  ["s3", "HEAD", "/values/mine/a", "yes yes 403 403 403 403"],
  ["s3", "GET", "/values/other/a", "403 yes 403 403 403 403"],
  ["s3", "GET", "/values/mine-open/a", "yes yes 403 403 yes 403"],
  ["s3", "GET", "/values?list-type=2&prefix=mine", "yes yes 403 403 403 403"],
  ["s3", "DELETE", "/values/mine/a", "yes 403 403 403 403 403"],
  ["s3", "DELETE", "/values/other/a", "403 403 403 403 403 403"],
  ["http", "PUT", "/s3/values/mine/a", "yes 403 403 403 403 401"],
  ["http", "GET", "/s3/values/other/a", "403 yes 403 403 403 401"],
  ["http", "PUT", "/values/values/mine/a", "yes 403 403 403 403 401"],
  ["http", "PUT", "/values/values/other/a", "403 403 403 403 403 401"],
  ["http", "GET", "/values/values/mine/a", "yes yes 403 403 403 401"],
  ["http", "GET", "/values/values/other/a", "403 yes 403 403 403 401"],
  ["http", "GET", "/values/values/mine-open/a", "yes yes 403 403 yes 401"],
  ["http", "GET", "/values/values?prefix=mine", "yes yes 403 403 403 401"],
  ["http", "GET", "/values/values?prefix=", "403 yes 403 403 403 401"],
  ["http", "GET", "/values/values?stats", "403 403 yes 403 403 401"],
  ["http", "DELETE", "/values/values/other/a", "403 403 403 403 403 401"],
  ["http", "DELETE", "/values/values/mine/a", "yes 403 403 403 403 401"],
  ["elcache", "PUT", "/cache/mine/a", "yes 403 403 403 403 401"],
  ["elcache", "PUT", "/cache/other/a", "403 403 403 403 403 401"],
  ["elcache", "GET", "/cache/mine/a", "yes yes 403 403 403 401"],
  ["elcache", "GET", "/cache/other/a", "403 yes 403 403 403 401"],
  ["elcache", "GET", "/cache/mine-open/a", "yes yes 403 403 yes 401"],
  ["elcache", "DELETE", "/cache/other/a", "403 403 403 403 403 401"],
  ["elcache", "DELETE", "/cache/mine/a", "yes 403 403 403 403 401"],
  ["elcache", "GET", "/stats", "403 403 yes 403 403 401"],
  ["elcache", "GET", "/metrics", "403 403 yes 403 403 401"],
  ["elcache", "GET", "/health", "yes yes yes yes yes yes"],
  ["filestore", "POST", "/file/mine-a", "yes 403 403 403 403 401"],
  ["filestore", "POST", "/file/other", "403 403 403 403 403 401"],
  ["filestore", "GET", "/file/mine-a", "yes yes 403 403 403 401"],
  ["filestore", "GET", "/file/other", "403 yes 403 403 403 401"],
  ["filestore", "GET", "/file/mine-open", "yes yes 403 403 yes 401"],
  ["filestore", "DELETE", "/file/other", "403 403 403 403 403 401"],
  ["filestore", "DELETE", "/file/mine-a", "yes 403 403 403 403 401"],
];

describe("grants on values", () => {
  it.each(TABLE)("decide at every interface: %s, %s %s", async (where, method, path, expected) => {
    const outcomes: string[] = [];
    for (const caller of CALLERS) outcomes.push(await outcomeOf(where, method, path, caller));
    expect(outcomes.join(" ")).toBe(expected);
  });
});
