import { CacheError, parseObjectUrl } from "@frontcache/proto";
import { ANONYMOUS, rampBytes } from "@frontcache/server/testing";
import { describe, expect, it } from "vitest";
import { Chance } from "../seeded-random.js";
import { HEARD_WITHIN_MS } from "../sim/member-lists.js";
import type { Place } from "../sim/place.js";
import { SimulatedCluster } from "../sim/simulated-cluster.js";
import { during, pass } from "../sim/simulated-time.js";
import { HeldWrite, type WriteStep } from "./held-write.js";

const REF = parseObjectUrl("s3://bucket/object");
/** Three blocks, which different members own. */
const [BEFORE, AFTER, LATER] = [rampBytes(0, 9_000, 1), rampBytes(0, 10_000, 2), rampBytes(0, 11_000, 3)];
/** So long that an old record would be used if it counted. */
const AGES = { revalidateAfterMs: 600_000, negativeTtlMs: 600_000 };
/** When a lost member comes back, and when it serves again. */
const [BACK_AFTER_MS, SETTLED_AFTER_MS] = [2_000, 6_000];
/** When everybody has noticed the loss of a machine without power. */
const NOTICED_AFTER_MS = 30_000;

/** How an object is written, and what it is then. The origin of the simulation takes the document of a Complete as the object. */
const OPERATIONS = {
  "a PUT": { method: "PUT", query: [], body: AFTER, after: AFTER },
  "a Delete": { method: "DELETE", query: [], body: Buffer.alloc(0), after: undefined },
  "a Complete": { method: "POST", query: [["uploadId", "1"]], body: AFTER, after: AFTER },
} as const;

const STEPS: WriteStep[] = [
  "before the home hears of it",
  "before the origin gets it",
  "while the origin takes it",
  "after the origin took it",
  "before the home hears that it was taken",
];

const LOST = ["the member that takes it", "the object's home", "the home, which takes it itself", "the client"] as const;

interface Case {
  readonly operation: keyof typeof OPERATIONS;
  readonly lost: (typeof LOST)[number];
  readonly step: WriteStep;
  /** As a machine without power: nothing closes its connections. */
  readonly silently: boolean;
}

const CASES = (Object.keys(OPERATIONS) as Case["operation"][]).flatMap((operation) =>
  LOST.flatMap((lost) =>
    // A home that takes the write itself reports it to nobody.
    STEPS.filter((step) => lost !== "the home, which takes it itself" || !step.includes("home")).flatMap((step) => {
      const closed: Case = { operation, lost, step, silently: false };
      const isEither = operation === "a PUT" && lost !== "the client";
      return isEither ? [closed, { ...closed, silently: true }] : [closed];
    }),
  ),
);

/** A cluster whose members have all read the object, and one write of it that is held at a step. */
class WrittenCluster {
  readonly held: HeldWrite;
  readonly cluster: SimulatedCluster;
  /** When the client aborts its request. */
  readonly client = new AbortController();

  constructor(step: WriteStep, seed: number) {
    this.held = new HeldWrite(step);
    this.cluster = new SimulatedCluster(new Chance(seed), this.held.rules, AGES);
  }

  get home(): Place {
    const { places } = this.cluster;
    const name = places[0]!.process!.view.current.owner(REF.url, 0)!.name;
    return places.find((place) => place.name === name)!;
  }

  async start(): Promise<void> {
    const { cluster } = this;
    cluster.objects.put(REF.url, BEFORE);
    await during(cluster.time, cluster.start());
    await pass(cluster.time, 2 * HEARD_WITHIN_MS);
    await this.expectCurrent();
  }

  /** What the origin has. */
  get stored(): string {
    const object = this.cluster.objects.get(REF.url);
    if (object === undefined) return "missing";
    const bytes = Buffer.alloc(object.info.objectSize);
    object.copy(0, bytes);
    return nameOf(bytes);
  }

  /** Each member reads what the origin has. */
  async expectCurrent(): Promise<void> {
    const { serving } = this.cluster;
    const read = await Promise.all(serving.map((place) => during(this.cluster.time, this.#read(place))));
    expect(read).toEqual(serving.map(() => this.stored));
  }

  /** Resolves with whether the write was acknowledged; never if the member is lost. */
  async write(through: Place, { method, query, body }: (typeof OPERATIONS)[keyof typeof OPERATIONS]): Promise<boolean> {
    const { process } = through;
    const { signal } = this.client;
    const question = { ref: REF, method, query, headers: [], grants: [], changes: [REF], body, mayRepeat: false } as const;
    const ended = process!.calls.begin();
    try {
      const { status } = await process!.cache.ask({ kind: "write", ...question, principal: ANONYMOUS, signal });
      return status < 300;
    } catch (error) {
      if (CacheError.from(error).code !== "UNAVAILABLE") throw error;
      return false;
    } finally {
      ended();
    }
  }

  lose(place: Place, silently: boolean): void {
    this.cluster.crash(place, { silently, backAfterMs: BACK_AFTER_MS, flips: 0 });
  }

  async #read(place: Place): Promise<string> {
    const { process } = place;
    const ended = process!.calls.begin();
    const range = { ref: REF, offset: 0, length: 0, forwarded: false, cachedOnly: false };
    try {
      const read = await process!.cache.open({ ...range, principal: ANONYMOUS, signal: new AbortController().signal });
      const pieces: Buffer[] = [];
      for (let slice = await read.next(); slice !== undefined; slice = await read.next()) {
        pieces.push(Buffer.from(slice.bytes));
        slice.release();
      }
      read.close();
      return nameOf(Buffer.concat(pieces));
    } catch (error) {
      return CacheError.from(error).code === "NOT_FOUND" ? "missing" : String(error);
    } finally {
      ended();
    }
  }
}

function nameOf(bytes: Buffer): string {
  const names = { before: BEFORE, after: AFTER, later: LATER };
  const known = Object.entries(names).find(([, each]) => each.equals(bytes));
  return known?.[0] ?? `${bytes.length} bytes that nobody wrote`;
}

describe("a write during which a member or the client is lost", () => {
  it.each(CASES.map((given): [string, Case] => [titleOf(given), given]))(
    "%s: all members read what the origin has",
    async (_, { operation, lost, step, silently }) => {
      const written = new WrittenCluster(step, 1);
      const { cluster, held, client } = written;
      await written.start();
      const { home } = written;
      const other = cluster.places.find((place) => place !== home)!;
      const isWriterLost = lost === "the member that takes it" || lost === "the home, which takes it itself";
      const writer = lost === "the home, which takes it itself" ? home : other;
      let isAcknowledged: boolean | undefined;
      const writing = written.write(writer, OPERATIONS[operation]).then((answer) => {
        isAcknowledged = answer;
      });
      await during(cluster.time, held.reached);
      await written.expectCurrent();

      if (lost === "the client") client.abort();
      else written.lose(isWriterLost ? writer : home, silently);
      // What the origin has not received when the member is lost, it never gets.
      if (!isWriterLost || step === "while the origin takes it") held.release();
      if (isWriterLost) {
        await pass(cluster.time, 1);
        expect(isAcknowledged).toBe(undefined);
        await written.expectCurrent();
      } else {
        await during(cluster.time, writing);
        if (lost === "the object's home") expect(isAcknowledged).toBe(true);
        if (isAcknowledged) expect(written.stored).toBe(nameOfAfter(operation));
        await written.expectCurrent();
      }
      await pass(cluster.time, silently ? NOTICED_AFTER_MS : SETTLED_AFTER_MS);
      await written.expectCurrent();
      await pass(cluster.time, HEARD_WITHIN_MS);
      expect(await cluster.faults()).toEqual([]);
      await during(cluster.time, cluster.close());
    },
  );

  it.each(
    STEPS.filter((step) => !step.startsWith("before the home")).flatMap((step): [string, WriteStep, boolean][] => [
      ["the member that takes it", step, false],
      ["the home, which takes it itself,", step, true],
    ]),
  )("each read asks the origin after %s is lost %s, because the origin may yet take the write", async (_, step, isHome) => {
    const written = new WrittenCluster(step, 1);
    const { cluster, held } = written;
    await written.start();
    const { home } = written;
    const writer = isHome ? home : cluster.places.find((place) => place !== home)!;
    void written.write(writer, OPERATIONS["a PUT"]);
    await during(cluster.time, held.reached);
    written.lose(writer, false);
    await written.expectCurrent();
    cluster.objects.put(REF.url, LATER);
    await written.expectCurrent();
    cluster.objects.put(REF.url, BEFORE);
    await written.expectCurrent();
    // The member is back, and has taken over the objects whose home it is.
    await pass(cluster.time, SETTLED_AFTER_MS);
    cluster.objects.put(REF.url, LATER);
    await written.expectCurrent();
    await during(cluster.time, cluster.close());
  });
});

function titleOf({ operation, lost, step, silently }: Case): string {
  return `${operation}, ${lost} is lost ${silently ? "without power " : ""}${step}`;
}

function nameOfAfter(operation: keyof typeof OPERATIONS): string {
  return OPERATIONS[operation].after === undefined ? "missing" : "after";
}
