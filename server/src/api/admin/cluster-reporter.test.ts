import { type MemberInfo, Membership } from "@frontcache/proto";
import { ManualClock } from "@frontcache/proto/testing";
import { describe, expect, it } from "vitest";
import { ClusterReporter } from "./cluster-reporter.js";
import type { MemberReport } from "./member-report.js";

const reportOf = (name: string): MemberReport =>
  ({ name, notReady: name === "m1" ? ["starting"] : [] }) as unknown as MemberReport;
const membersOf = (count: number): MemberInfo[] =>
  Array.from({ length: count }, (_, at) => ({
    name: `m${at}`,
    grpcAddress: `10.0.0.${at}:8080`,
    httpAddress: `10.0.0.${at}:8081`,
  }));

function reporter(members: readonly MemberInfo[], ask: (member: MemberInfo) => Promise<MemberReport>) {
  const clock = new ManualClock();
  const list = Membership.of(members, 1 << 20);
  return { clock, list, made: new ClusterReporter({ list: () => list, own: () => reportOf("m0"), ask, clock }) };
}

describe("a report of the cluster", () => {
  it("contains the state of each member, and why one did not answer", async () => {
    const { made, list } = reporter(membersOf(3), async ({ name }) => {
      if (name === "m2") throw new Error("connection refused");
      return reportOf(name);
    });
    const { members, ...head } = await made.report();
    expect(head).toMatchObject({ member: "m0", listHash: list.hash });
    expect(members.map(({ name, state, report, problem }) => [name, state, report?.name, problem])).toEqual([
      ["m0", "ready", "m0", undefined],
      ["m1", "not ready", "m1", undefined],
      ["m2", "unreachable", undefined, "connection refused"],
    ]);
  });

  it("is shared by concurrent requests and reused for half a second", async () => {
    const asked: string[] = [];
    const { made, clock } = reporter(membersOf(2), async ({ name }) => {
      asked.push(name);
      return reportOf(name);
    });
    await Promise.all([made.report(), made.report()]);
    await made.report();
    expect(asked).toEqual(["m1"]);
    await clock.advance(500);
    await made.report();
    expect(asked).toEqual(["m1", "m1"]);
  });

  it("is created by one run at a time, even if members are slow", async () => {
    let answer = (): void => {};
    const asked: string[] = [];
    const { made, clock } = reporter(membersOf(2), async ({ name }) => {
      asked.push(name);
      await new Promise<void>((resolve) => {
        answer = resolve;
      });
      return reportOf(name);
    });
    const reports = [made.report()];
    for (let iteration = 0; iteration < 3; iteration++) {
      await clock.advance(900);
      reports.push(made.report());
    }
    answer();
    await Promise.all(reports);
    expect(asked).toEqual(["m1"]);
  });

  it("requests at most sixteen reports concurrently", async () => {
    let [running, most] = [0, 0];
    const { made } = reporter(membersOf(60), async ({ name }) => {
      most = Math.max(most, ++running);
      await new Promise((resolve) => setImmediate(resolve));
      running--;
      return reportOf(name);
    });
    expect((await made.report()).members).toHaveLength(60);
    expect(most).toBe(16);
  });

  it("ends after three seconds with any number of silent members, and sends no further request", async () => {
    const asked: string[] = [];
    const silence: ((report: MemberReport) => void)[] = [];
    const { made, clock } = reporter(membersOf(60), ({ name }) => {
      asked.push(name);
      if (name === "m1") return Promise.resolve(reportOf(name));
      return new Promise((resolve) => silence.push(resolve));
    });
    const report = made.report();
    await new Promise((resolve) => setImmediate(resolve));
    clock.advance(3_000);
    const problems = (await report).members.map(({ problem }) => problem);
    expect(problems.slice(0, 2)).toEqual([undefined, undefined]);
    expect(new Set(problems.slice(2))).toEqual(new Set(["no answer within 3 s"]));
    for (const answer of silence) answer(reportOf("late"));
    await new Promise((resolve) => setImmediate(resolve));
    expect(asked).toHaveLength(17);
    expect(clock.waits).toBe(0);
  });

  it("contains all members that answer, even behind many silent ones, and those that answer again", async () => {
    const answering = new Set(["m7", "m120", "m199"]);
    const late: (() => void)[] = [];
    const { made, clock } = reporter(membersOf(200), ({ name }) => {
      if (answering.has(name)) return Promise.resolve(reportOf(name));
      return new Promise((_, reject) => late.push(() => reject(new Error("connection refused"))));
    });
    /** Returns the members that answered in the next report; silent members take a second each. */
    const answered = async (): Promise<string[]> => {
      const report = made.report();
      for (let second = 0; second < 3; second++) {
        await new Promise((resolve) => setImmediate(resolve));
        for (const giveUp of late.splice(0)) giveUp();
        await new Promise((resolve) => setImmediate(resolve));
        clock.advance(1_000);
      }
      const { members } = await report;
      return members.flatMap(({ name, report }) => (report === undefined || name === "m0" ? [] : name));
    };
    for (let reports = 0; reports < 5; reports++) await answered();
    for (let reports = 0; reports < 5; reports++) expect(await answered()).toEqual(["m120", "m199", "m7"]);
    answering.add("m60");
    const found: string[] = [];
    for (let reports = 0; reports < 5; reports++) found.push(...(await answered()));
    expect(found).toContain("m60");
  });

  it("is empty while the member starts", async () => {
    const clock = new ManualClock();
    const made = new ClusterReporter({ list: () => undefined, own: () => reportOf("m0"), ask: async () => reportOf("x"), clock });
    expect(await made.report()).toMatchObject({ member: "m0", members: [], listHash: "" });
  });
});
