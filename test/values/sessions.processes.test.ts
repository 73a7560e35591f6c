import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { setTimeout } from "node:timers/promises";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { connectClient, MemberProcess, temporaryDirectory } from "../e2e/member-process.js";

/** The constructor of functions from their text. */
const AsyncFunction = (async () => {}).constructor as new (...source: string[]) => (...parameters: unknown[]) => Promise<void>;

/** A command of a session, and the output that the document states. */
interface Step {
  readonly command: string;
  readonly output: string;
}

/** The steps of the session in a document: commands, each with its output in comments behind it. */
function sessionIn(document: string): Step[] {
  const text = readFileSync(join(import.meta.dirname, "..", "..", "docs", document), "utf8");
  const session = text.split("```sh session\n")[1]!.split("```")[0]!;
  return [...session.matchAll(/^(curl .*)\n((?:# .*\n)*)/gm)].map(([, command, output]) => ({
    command: command!,
    output: output!.replaceAll(/^# /gm, ""),
  }));
}

let directory: Awaited<ReturnType<typeof temporaryDirectory>>;
let member: MemberProcess;

beforeAll(async () => {
  directory = await temporaryDirectory();
  const flags = [
    "--elcache-listen",
    `127.0.0.1:0,unix:${join(directory.path, "elcache.sock")}`,
    "--filestore-listen",
    "127.0.0.1:0",
  ];
  for (const bucket of ["elcache", "filestore", "features:1h", "files"]) flags.push("--cache-bucket", bucket);
  member = await MemberProcess.start({ endpoint: "http://127.0.0.1:1", cacheDirectory: join(directory.path, "cache"), flags });
});
afterAll(async () => {
  await member?.stop();
  await directory?.[Symbol.asyncDispose]();
});

function addressOf(listener: "elcache" | "filestore"): string {
  return member.log.find(({ event }) => event === "listening")![listener] as string;
}

describe.each([
  ["elcache.md", "localhost:8090", "elcache"],
  ["filestore.md", "localhost:8091", "filestore"],
] as const)("the session in docs/%s", (document, documented, listener) => {
  it("has the results that the document states", async () => {
    const steps = sessionIn(document);
    expect(steps.length).toBeGreaterThan(4);
    for (const { command, output } of steps) {
      const { stdout } = await promisify(execFile)("bash", ["-c", command.replaceAll(documented, addressOf(listener))]);
      expect(`${command}\n${stdout}`).toBe(`${command}\n${output}`);
    }
  });
});

it("the session in docs/filezcache.md has the results that the document states", async () => {
  const code = readFileSync(join(import.meta.dirname, "..", "..", "docs", "filezcache.md"), "utf8")
    .split("```ts session\n")[1]!
    .split("```")[0]!
    .trim()
    .split("\n");
  // An expression with its result in the next line, or a declaration without one.
  const steps = code.map((line, at) => (code[at + 1]?.startsWith("// ") ? `results.push(await (${line}));` : line));
  const expected = code.filter((line) => line.startsWith("// ")).map((line) => line.slice("// ".length));
  await using client = await connectClient({ endpoint: member.grpc, localVolumes: [join(directory.path, "cache")] });
  const results: unknown[] = [];
  const session = new AsyncFunction("client", "results", "readFileSync", "text", "setTimeout", steps.join("\n"));
  await session(client, results, readFileSync, text, setTimeout);
  expect(results.map(String)).toEqual(expected);
});

it("values are the same through all interfaces", async () => {
  await using client = await connectClient({ endpoint: member.grpc });
  const values = client.objects("elcache");
  await values.put("a/b", "from the client", { flags: 7 });
  const byRest = await fetch(`http://${addressOf("elcache")}/cache/a/b`);
  expect([await byRest.text(), byRest.headers.get("x-elcache-flags")]).toEqual(["from the client", "7"]);
  await fetch(`http://${addressOf("elcache")}/cache/c`, { method: "PUT", body: "from ElCache" });
  expect((await values.get("c")).toString()).toBe("from ElCache");
  expect((await client.readRange("cache://elcache/c", 5, 7)).toString()).toBe("ElCache");
  const { stdout } = await promisify(execFile)("curl", [
    "-s",
    "--unix-socket",
    join(directory.path, "elcache.sock"),
    "http://localhost/cache/c",
  ]);
  expect(stdout).toBe("from ElCache");
  const features = client.objects("features");
  const info = await features.put("user/7", Buffer.alloc(300_000, 7));
  expect(info.expiresMs).toBe(info.createdMs + 3_600_000);
  const { stream } = (await features.lookup("user/7"))!;
  let bytes = 0;
  for await (const piece of stream) bytes += piece.length;
  expect(bytes).toBe(300_000);
  await expect(client.objects("undeclared").put("a", "1")).rejects.toMatchObject({
    code: expect.stringMatching(/NOT_FOUND|INVALID_ARGUMENT/),
  });
});
