import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { Readable } from "node:stream";
import type { ReadableStream as WebStream } from "node:stream/web";
import { setTimeout } from "node:timers/promises";
import type { ClusterReport } from "@frontcache/server/testing";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { namesOf } from "../e2e/addresses.js";
import { Cluster } from "../e2e/cluster.js";
import { EmulatedPods } from "../e2e/cluster-pods.js";
import { temporaryDirectory } from "../e2e/member-process.js";
import { readAll, type TestObject } from "../e2e/test-objects.js";
import { newPage, noBrowser, openBrowser } from "./browser.js";

/** Directory for screenshots. */
const screenshots = process.env.FRONTCACHE_SCREENSHOTS;

let cluster: Cluster;
let objects: TestObject[];

/** Members found with the Kubernetes emulator, which also publishes HTTP listeners. */
const emulated = ({ directory }: { directory: string }): Promise<EmulatedPods> => EmulatedPods.start(directory);

beforeAll(async () => {
  cluster = await Cluster.start({ names: namesOf(3), processes: [], volumeSize: "256MiB", pods: emulated });
  objects = cluster.put(3, 8);
  const client = await cluster.client();
  for (let round = 0; round < 3; round++) await readAll(client, objects);
  await client.readRange("s3://bucket/missing", 0, 10).catch(() => {});
});

afterAll(() => cluster[Symbol.asyncDispose]());

const httpOf = (name: string): string => cluster.member(name).http;
const statusOf = async (name: string): Promise<ClusterReport> =>
  (await (await fetch(`http://${httpOf(name)}/status`)).json()) as ClusterReport;

describe("the status of the cluster", () => {
  it("contains every member with its share of the ring, its reads and its volumes", async () => {
    const cachedBlocks = ({ members }: ClusterReport): number =>
      members.reduce((sum, { report }) => sum + report!.volumes[0]!.blocks, 0);
    // More, if an owner was slow and another member fetched a block too. A block is cached when it is written.
    await expect.poll(async () => cachedBlocks(await statusOf("cache-1"))).toBeGreaterThanOrEqual(24);
    const { member, members, listHash } = await statusOf("cache-1");
    expect(member).toBe("cache-1");
    expect(members.map(({ name }) => name)).toEqual(namesOf(3));
    expect(members.reduce((sum, { ringShare }) => sum + ringShare, 0)).toBeCloseTo(1);
    const reports = members.map(({ report }) => report!);
    // Three rounds over 24 blocks. If an owner is slow, another member joins its fill, so fewer than 24 reads may have filled.
    const counts = reports.flatMap(({ reads }) => Object.values(reads).map(({ count }) => count));
    expect(counts.reduce((sum, count) => sum + count, 0)).toBeGreaterThanOrEqual(72);
    expect(reports.reduce((sum, { reads }) => sum + reads.filled.count, 0)).toBeGreaterThan(0);
    expect(reports.every(({ volumes }) => volumes[0]!.limitBytes === 256 << 20)).toBe(true);
    expect(reports.flatMap(({ recentErrors }) => recentErrors)).toContainEqual(
      expect.objectContaining({ code: "NOT_FOUND", url: "s3://bucket/missing" }),
    );
    expect((await statusOf("cache-2")).listHash).toBe(listHash);
  });

  it("names the cause if a member is unreachable", async () => {
    await using alone = await Cluster.start({ names: namesOf(2), processes: ["cache-1"], pods: emulated });
    await alone.kill("cache-1");
    const problems = async (): Promise<unknown> => {
      const report = (await (await fetch(`http://${alone.member("cache-0").http}/status`)).json()) as ClusterReport;
      return report.members.map(({ name, state, problem }) => [name, state, problem]);
    };
    // The first answer may name the end of a connection that stood.
    await expect.poll(problems).toEqual([
      ["cache-0", "ready", undefined],
      ["cache-1", "unreachable", expect.stringContaining("ECONNREFUSED")],
    ]);
  });

  // A shutdown that waited for the response would cut it off after 20 s: the read would reject.
  it("is sent to subscribers repeatedly, and does not delay a shutdown", async () => {
    await using other = await Cluster.start({ names: namesOf(1), processes: [] });
    const watch = await fetch(`http://${other.member("cache-0").http}/status/events`);
    const lines = createInterface({ input: Readable.fromWeb(watch.body as WebStream) });
    const reports = lines[Symbol.asyncIterator]();
    const next = async (): Promise<string | undefined> => {
      for (let { done, value } = await reports.next(); done !== true; { done, value } = await reports.next()) {
        if (value.startsWith("data: ")) return JSON.parse(value.slice("data: ".length)).member;
      }
      return undefined;
    };
    expect([await next(), await next()]).toEqual(["cache-0", "cache-0"]);
    expect(await other.shutDown("cache-0")).toBe(0);
    // The events end with the member.
    while ((await next()) !== undefined);
  });

  it("is one page of less than 100 KB that loads no other resource", async () => {
    const answer = await fetch(`http://${httpOf("cache-0")}/`);
    const html = await answer.text();
    expect(answer.headers.get("content-type")).toBe("text/html; charset=utf-8");
    expect(answer.headers.get("content-security-policy")).toContain("default-src 'none'");
    expect(Buffer.byteLength(html)).toBeLessThan(100_000);
    expect(html).not.toMatch(/(?:src|href)="https?:/);
  });
});

describe.skipIf(noBrowser !== undefined)(`the status page${noBrowser === undefined ? "" : ` (skipped: ${noBrowser})`}`, () => {
  let browser: Browser;
  beforeAll(async () => {
    browser = await openBrowser();
  });
  afterAll(() => browser.close());

  const open = async (options: Parameters<Browser["newPage"]>[0]): Promise<{ page: Page; complaints: string[] }> => {
    const page = await newPage(browser, options);
    const complaints: string[] = [];
    page.on("console", (message) => {
      if (["error", "warning"].includes(message.type())) complaints.push(message.text());
    });
    page.on("pageerror", (error) => complaints.push(error.message));
    await page.goto(`http://${httpOf("cache-0")}/`);
    await page.waitForSelector("#member-cache-2");
    return { page, complaints };
  };

  it("shows the data of /status without errors in the console", async () => {
    const { page, complaints } = await open({});
    const { members } = await statusOf("cache-0");
    for (const { name, grpcAddress, ringShare, report } of members) {
      const row = (await page.textContent(`#member-${name}`))!;
      expect(row).toContain(grpcAddress);
      expect(row).toContain(`${(100 * ringShare).toFixed(1)} %`);
      expect(row).toContain(`${(100 * report!.hitRatio!).toFixed(1)} %`);
      expect(row).toContain("of 256 MiB");
    }
    const saved = members.reduce((sum, { report }) => sum + report!.savedBytes, 0);
    const served = members.reduce((sum, { report }) => sum + report!.servedBytes, 0);
    expect(await page.textContent("#tile-saved")).toContain(`${((100 * saved) / served).toFixed(1)} %`);
    expect(await page.textContent("main")).toContain("s3://bucket/object-0");
    expect(await page.textContent("main")).toContain("NOT_FOUND");
    expect(complaints).toEqual([]);
    await page.close();
  });

  it("updates while it is open", async () => {
    const { page } = await open({});
    const before = await page.textContent("#tile-hits");
    await readAll(await cluster.client(), objects);
    await expect.poll(() => page.textContent("#tile-hits"), { timeout: 90_000 }).not.toBe(before);
    await page.waitForSelector(".live");
    await page.close();
  });

  it("reconnects after an error response, for example of a member that starts", async () => {
    const page = await newPage(browser);
    await page.clock.install();
    let refused = 0;
    await page.route("**/status/events", (route) => (refused++ === 0 ? route.fulfill({ status: 503 }) : route.continue()));
    await page.goto(`http://${httpOf("cache-0")}/`);
    await expect.poll(() => refused).toBe(1);
    await expect
      .poll(async () => {
        await page.clock.fastForward(5_000);
        return page.locator("#member-cache-2").count();
      })
      .toBe(1);
    await page.waitForSelector(".live");
    await page.close();
  });

  it("can be read with the keyboard and by a screen reader, and fits a phone", async () => {
    const { page } = await open({ viewport: { width: 390, height: 844 } });
    expect(await page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")).toBe(true);
    expect(await page.getByRole("img", { name: /served/ }).count()).toBe(1);
    expect(await page.getByRole("heading", { name: "Members" }).count()).toBe(1);
    await page.keyboard.press("Tab");
    expect(await page.evaluate("document.activeElement.tagName")).not.toBe("BODY");
    await page.close();
  });

  it("requires a token as the password, also for its events", async () => {
    await using directory = await temporaryDirectory();
    const [tokens, token] = [join(directory.path, "tokens"), "a-token-that-is-secret"];
    await writeFile(tokens, token);
    await using closed = await Cluster.start({ names: namesOf(1), processes: [], flags: ["--auth-token-file", tokens] });
    const url = `http://${closed.member("cache-0").http}/`;
    for (const [password, status] of [
      ["another-token-than-ours", 401],
      [token, 200],
    ] as const) {
      const page = await newPage(browser, { httpCredentials: { username: "me", password } });
      expect((await page.goto(url))!.status()).toBe(status);
      if (status === 200) await page.waitForSelector(".live");
      await page.close();
    }
  });

  const WIDE = { width: 1280, height: 900 };
  const PHONE = { width: 390, height: 844 };

  it.each([
    ["light", "wide", WIDE],
    ["dark", "phone", PHONE],
    // All combinations, if somebody wants to see them.
    ...(screenshots === undefined
      ? []
      : ([
          ["light", "phone", PHONE],
          ["dark", "wide", WIDE],
        ] as const)),
  ] as const)("renders with the %s color scheme on a %s screen", async (colorScheme, name, viewport) => {
    await using directory = await temporaryDirectory();
    const to = screenshots ?? directory.path;
    await mkdir(to, { recursive: true });
    const reading = new AbortController();
    const client = await cluster.client();
    const reader = (async () => {
      // With pauses, because the members and the browser need the processors.
      for (; !reading.signal.aborted; await setTimeout(100)) await readAll(client, objects);
    })();
    const { page } = await open({ colorScheme, viewport });
    await page.waitForTimeout(screenshots === undefined ? 0 : 6_000);
    const paintMs = await page.evaluate('performance.getEntriesByName("first-contentful-paint")[0].startTime');
    console.info(`${name}, ${colorScheme}: first paint after ${Math.round(Number(paintMs))} ms`);
    const image = await page.screenshot({ path: join(to, `${name}-${colorScheme}.png`), fullPage: true });
    expect(image.length).toBeGreaterThan(10_000);
    await page.close();
    reading.abort();
    await reader;
  });
});
