import { describe, expect, it } from "vitest";
import { Turns, type TurnTaker } from "./turns.js";

const PART = 512 << 10;
const nextTurn = () => new Promise((resolve) => setImmediate(resolve));
const taker = (): TurnTaker => ({ queue: [] });

describe("turns", () => {
  it("are had at once while nobody else sends", () => {
    let sent = 0;
    new Turns().take(taker(), PART, () => sent++);
    expect(sent).toBe(1);
  });

  it("go round among clients, however much one of them wants to send", async () => {
    const turns = new Turns();
    const order: string[] = [];
    const [greedy, modest] = [taker(), taker()];
    for (let part = 0; part < 5; part++) turns.take(greedy, PART, () => order.push(`greedy ${part}`));
    for (let part = 0; part < 2; part++) turns.take(modest, PART, () => order.push(`modest ${part}`));
    for (let turn = 0; turn < 8; turn++) await nextTurn();
    expect(order).toEqual(["greedy 0", "greedy 1", "modest 0", "greedy 2", "modest 1", "greedy 3", "greedy 4"]);
    expect([greedy.queue, modest.queue]).toEqual([[], []]);
  });

  it("send some 512 KiB in each turn of the event loop, so that everything else is looked at in between", async () => {
    const turns = new Turns();
    const client = taker();
    let sent = 0;
    for (let part = 0; part < 8; part++) turns.take(client, PART / 2, () => sent++);
    const after: number[] = [sent];
    for (let turn = 0; turn < 4; turn++) {
      await nextTurn();
      after.push(sent);
    }
    expect(after).toEqual([2, 4, 6, 8, 8]);
  });
});
