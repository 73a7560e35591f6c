import { describe, expect, it } from "vitest";
import { FillMemory } from "./fill-memory.js";

const never = new AbortController().signal;
const settled = async (): Promise<void> => {
  for (let i = 0; i < 5; i++) await Promise.resolve();
};

function memoryOf(segments: number): FillMemory {
  return new FillMemory({ budgetBytes: segments * 8, segmentBytes: 8 });
}

/** Notes the order in which claims are served. */
function claimInto(
  order: string[],
  memory: FillMemory,
  name: string,
  count: number,
  priority: "demand" | "background",
  signal = never,
) {
  const claim = memory.claim(count, priority, signal);
  const held: Buffer[] = [];
  claim.buffers.then(
    (buffers) => {
      order.push(name);
      held.push(...buffers);
    },
    (error) => order.push(`${name}: ${error.code}`),
  );
  return {
    ...claim,
    held,
    give: () => {
      for (const buffer of held.splice(0)) memory.give(buffer);
    },
  };
}

describe("fill memory", () => {
  it("never gives more than its budget, and takes back what it gave", async () => {
    const memory = memoryOf(4);
    const buffers = await memory.claim(3, "demand", never).buffers;
    const later = memory.claim(2, "demand", never);
    expect([memory.usedBytes, memory.waiting]).toEqual([24, 1]);
    memory.give(buffers.pop()!);
    expect(await later.buffers).toHaveLength(2);
    expect([memory.usedBytes, memory.waiting]).toEqual([32, 0]);
  });

  it("serves demand before background, each in order, and never lets a small claim overtake a large one", async () => {
    const memory = memoryOf(4);
    const order: string[] = [];
    const first = claimInto(order, memory, "first", 4, "demand");
    const claims = [
      claimInto(order, memory, "background", 1, "background"),
      claimInto(order, memory, "large", 4, "demand"),
      claimInto(order, memory, "small", 1, "demand"),
    ];
    await settled();
    for (const claim of [first, claims[1]!]) {
      claim.give();
      await settled();
    }
    expect(order).toEqual(["first", "large", "small", "background"]);
  });

  it("lets a background claim that a reader waits for join the demand", async () => {
    const memory = memoryOf(1);
    const order: string[] = [];
    const first = claimInto(order, memory, "first", 1, "demand");
    const promoted = claimInto(order, memory, "promoted", 1, "background");
    claimInto(order, memory, "later", 1, "demand");
    claimInto(order, memory, "background", 1, "background");
    promoted.promote();
    await settled();
    first.give();
    await settled();
    expect(order).toEqual(["first", "later"]);
  });

  it("forgets a claim whose reader went away, and serves the next", async () => {
    const memory = memoryOf(2);
    const order: string[] = [];
    claimInto(order, memory, "first", 1, "demand");
    const leaving = new AbortController();
    claimInto(order, memory, "large", 2, "demand", leaving.signal);
    claimInto(order, memory, "small", 1, "demand");
    await settled();
    leaving.abort();
    await settled();
    expect(order).toEqual(["first", "large: CANCELLED", "small"]);
    expect(memory.waiting).toBe(0);
  });

  it("asks for bytes back when demand has to wait, not when background has", async () => {
    const memory = memoryOf(1);
    const [kept] = await memory.claim(1, "demand", never).buffers;
    let asked = 0;
    memory.onPressure(() => {
      asked++;
      memory.give(kept!);
    });
    const background = memory.claim(1, "background", never);
    expect(asked).toBe(0);
    background.promote();
    expect(asked).toBe(1);
    await expect(background.buffers).resolves.toHaveLength(1);
  });
});
