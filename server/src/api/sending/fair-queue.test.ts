import { describe, expect, it } from "vitest";
import { FairQueue, type QueueMember } from "./fair-queue.js";

const PART = 512 << 10;
const nextIteration = () => new Promise((resolve) => setImmediate(resolve));
const member = (): QueueMember => ({ queue: [] });

describe("the fair queue", () => {
  it("sends immediately while no other client sends", () => {
    let sent = 0;
    new FairQueue().enqueue(member(), PART, () => sent++);
    expect(sent).toBe(1);
  });

  it("serves clients round robin, independent of the number of their parts", async () => {
    const queue = new FairQueue();
    const order: string[] = [];
    const [greedy, modest] = [member(), member()];
    for (let part = 0; part < 5; part++) queue.enqueue(greedy, PART, () => order.push(`greedy ${part}`));
    for (let part = 0; part < 2; part++) queue.enqueue(modest, PART, () => order.push(`modest ${part}`));
    for (let iteration = 0; iteration < 8; iteration++) await nextIteration();
    expect(order).toEqual(["greedy 0", "greedy 1", "modest 0", "greedy 2", "modest 1", "greedy 3", "greedy 4"]);
    expect([greedy.queue, modest.queue]).toEqual([[], []]);
  });

  it("sends one part per iteration if two do not fit, however large the first one is", async () => {
    const queue = new FairQueue();
    const client = member();
    const sent: number[] = [];
    const parts = [PART / 2, PART, 8 * PART, PART / 2, PART / 2, 1];
    for (const bytes of parts) queue.enqueue(client, bytes, () => sent.push(bytes));
    const after: number[] = [sent.length];
    for (let iteration = 0; iteration < 4; iteration++) {
      await nextIteration();
      after.push(sent.length);
    }
    expect([after, sent]).toEqual([[1, 2, 3, 5, 6], parts]);
  });

  it("sends at most 512 KiB per iteration of the event loop, if no part is larger", async () => {
    const queue = new FairQueue();
    const client = member();
    let sent = 0;
    for (let part = 0; part < 8; part++) queue.enqueue(client, PART / 2, () => sent++);
    const after: number[] = [sent];
    for (let iteration = 0; iteration < 4; iteration++) {
      await nextIteration();
      after.push(sent);
    }
    expect(after).toEqual([2, 4, 6, 8, 8]);
  });
});
