import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { clients } from "./clients.js";

const read = (...path: string[]): string => readFileSync(join(import.meta.dirname, ...path), "utf8");

/** The section of a client in docs/s3.md. */
function sectionOf(name: string): string | undefined {
  return read("..", "..", "docs", "s3.md")
    .split("\n### ")
    .find((section) => section.split("\n")[0]!.split(", and so ")[0] === name);
}

/** Code without addresses, names of buckets and quotes, which differ between documents and scripts. */
function skeleton(code: string): string {
  return code
    .replaceAll(/\bf(?=")|(?:System\.g|os\.G)etenv\("\w+"\)/g, "")
    .replaceAll(/http:\/\/member:\d+|member:\d+|"member"|\bdatasets\b|\$?\{(?:ENDPOINT|HOST|BUCKET)\}/g, "")
    .replaceAll(/\b(?:ENDPOINT|HOST|BUCKET|host|hostname)\b/g, "")
    .replaceAll(/Number\(port\)|9000|\$WORK\/|[\s"'`$;]/g, "");
}

describe("the snippet in docs/s3.md of", () => {
  it.each(clients.map(({ name, script }) => [name, script]))("%s is a part of its tested program", (name, script) => {
    const section = sectionOf(name);
    expect(section, `a section ### ${name}`).toBeDefined();
    const [, code] = /```\w+\n(.*?)```/s.exec(section!)!;
    const program = skeleton(read("scripts", script));
    // What a command is applied to differs: its options are compared.
    const isShell = script.endsWith(".sh");
    for (const line of code!.trim().split("\n")) {
      const parts = isShell
        ? line
            .split(/ (?=-{1,2}[a-z])/)
            .slice(1)
            .map((part) => part.split(" ")[0]!)
        : [line];
      for (const part of parts) expect(program).toContain(skeleton(part));
    }
  });
});
