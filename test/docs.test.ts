import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";

const root = join(import.meta.dirname, "..");
const pages = readdirSync(join(root, "docs")).filter((name) => name.endsWith(".md"));
const read = (path: string): string => readFileSync(join(root, path), "utf8");

/** Returns the repository paths between backticks in a text. `(new)` after a path means that the file does not exist yet. */
function pathsIn(text: string): { path: string; isNew: boolean }[] {
  const named = text.matchAll(/`((?:proto|client|server|deploy|test|docs)\/[\w./-]*)`( \(new\))?/g);
  return [...named].map(([, path, mark]) => ({ path: path!, isNew: mark !== undefined }));
}

describe.each(pages)("docs/%s", (page) => {
  const text = read(join("docs", page));

  it("names only files that exist, and as new only files that don't", () => {
    const wrong = pathsIn(text).filter(({ path, isNew }) => existsSync(join(root, path)) === isNew);
    expect(wrong).toEqual([]);
  });

  it("links only to files that exist", () => {
    const links = [...text.matchAll(/\]\((?!http)([^)#]+)/g)].map((match) => match[1]!);
    expect(links.filter((link) => !existsSync(join(root, "docs", link)))).toEqual([]);
  });

  it("is linked from the README", () => {
    expect(read("README.md")).toContain(`(docs/${page})`);
  });
});

describe("docs/architecture.md", () => {
  const howTo = read("docs/architecture.md").split("## How to add ...")[1]!;
  const answers = howTo.split(/^### /m).slice(1);

  it("answers the twelve questions", () => {
    expect(answers.length).toBe(12);
  });

  it.each(answers.map((answer) => [answer.split("\n")[0]!, answer]))(
    "%s: takes as many files as it says, one a step",
    (title, answer) => {
      const steps = [...answer.matchAll(/^\d+\. `([^`]+)`/gm)].map(([, path]) => path!);
      expect(title).toContain(`(${steps.length} file`);
      expect(new Set(steps).size).toBe(steps.length);
      expect(steps.every((path) => pathsIn(`\`${path}\``).length === 1)).toBe(true);
    },
  );

  it("names methods of ports that exist", () => {
    const table = read("docs/architecture.md").split("\n## Ports\n")[1]!.split("\n## ")[0]!;
    const ports = [...table.matchAll(/^\| (\w+) \| (`.*?`) \| `(.*?)` \|/gm)];
    expect(ports.length).toBeGreaterThan(10);
    for (const [, port, methods, path] of ports) {
      const [, declared = ""] = new RegExp(`export interface ${port}\\b[^{]*\\{\n(.*?)\n\\}`, "s").exec(read(path!)) ?? [];
      const missing = methods!.split(", ").filter((name) => !new RegExp(`^  ${name.slice(1, -1)}\\??[(<:]`, "m").test(declared));
      expect([port, missing]).toEqual([port, []]);
    }
  });

  it("names every layer of the server", () => {
    const folders = readdirSync(join(root, "server", "src"), { withFileTypes: true }).filter((entry) => entry.isDirectory());
    const tree = read("docs/architecture.md").split("```")[1]!;
    expect(folders.map(({ name }) => name).filter((name) => name !== "testing" && !tree.includes(`${name}/`))).toEqual([]);
  });
});

describe("docs/operations.md", () => {
  const text = read("docs/operations.md");
  const sources = readdirSync(join(root, "server", "src"), { recursive: true, encoding: "utf8" })
    .filter((path) => path.endsWith(".ts") && !path.endsWith(".test.ts"))
    .map((path) => read(join("server", "src", path)))
    .join("\n");

  it("explains the events that members log, and no others", () => {
    const table = text.split("## Log events")[1]!.split("\n## ")[0]!;
    const events = [...table.matchAll(/^\| (`.*?`) \|/gm)].flatMap(([, cell]) =>
      [...cell!.matchAll(/`([^`]+)`/g)].map((m) => m[1]!),
    );
    expect(events.length).toBeGreaterThan(20);
    expect(events.filter((event) => !sources.includes(`"${event}"`))).toEqual([]);
    const logged = new Set(
      [...sources.matchAll(/\.(?:debug|info|warn|error|always)\(\s*\{\s*event: "([a-z-]+)"/g)].map(([, event]) => event!),
    );
    expect([...logged].filter((event) => !events.includes(event))).toEqual([]);
  });

  it("has an answer to every alert, and to no other", () => {
    const alerts = [...read("deploy/dashboards/alerts.yaml").matchAll(/alert: (\w+)/g)].map((match) => match[1]!);
    const answered = [...text.matchAll(/^\| `(Frontcache\w+)` \|/gm)].map((match) => match[1]!);
    expect(answered.sort()).toEqual(alerts.sort());
  });
});

describe("docs/s3.md", () => {
  it("names every sub-resource of objects", () => {
    const [, names] = /\n {2}object: \{\n(.*?)\n {2}\},\n/s.exec(read("server/src/api/s3/operations.ts"))!;
    const subresources = [...names!.matchAll(/^ {4}"?([\w-]+)"?: \{/gm)].map(([, name]) => name!);
    expect(subresources.length).toBeGreaterThan(8);
    expect(subresources.filter((name) => !read("docs/s3.md").includes(`\`${name}\``))).toEqual([]);
  });
});

describe("docs/security.md", () => {
  const [, table = ""] = /\n## Threats\n(.*?)\n## /s.exec(read("docs/security.md")) ?? [];
  const rows = [...table.matchAll(/^\| (.+) \|$/gm)].slice(1).map(([, row]) => row!.split(" | "));

  it("says of each attacker what they reach and what stops them, and names a test that shows it", () => {
    expect(rows.length).toBeGreaterThan(30);
    expect(rows.filter(({ length }) => length !== 4)).toEqual([]);
    // That names are of files that exist is checked for all pages. What operators do with a file, no test can show.
    const untested = rows.filter(([, , , shownBy]) => !/`(?:proto|client|server|test)\/[\w./-]+\.test\.ts`/.test(shownBy!));
    expect(untested.map(([attacker]) => attacker)).toEqual(["anyone who reads the identities file"]);
  });
});

it("SECURITY.md points to the threat model", () => {
  expect(existsSync(join(root, dirname("docs/x"), "security.md"))).toBe(true);
  expect(read("SECURITY.md")).toContain("(docs/security.md)");
});
