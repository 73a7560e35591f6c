import { describe, expect, it } from "vitest";
import { ReceiveQueue } from "./receive-queue.js";

const MiB = 1 << 20;

/** A queue, and bodies that note by their number that they are paused or resumed. */
function setUp(count: number) {
  const calls: (() => void)[] = [];
  const queue = new ReceiveQueue({ afterReads: (call) => void calls.push(call) });
  const events: string[] = [];
  const bodies = Array.from({ length: count }, (_, at) => ({
    pause: () => void events.push(`pause ${at}`),
    resume: () => void events.push(`resume ${at}`),
  }));
  /** Ends the iteration. Returns whether something was scheduled. */
  const endIteration = (): boolean => {
    const due = calls.splice(0);
    for (const call of due) call();
    return due.length > 0;
  };
  return { queue, bodies, events, endIteration };
}

describe("the receiving of large answers", () => {
  it("is not paused while the iterations of the event loop receive little", () => {
    const { queue, bodies, events, endIteration } = setUp(1);
    for (let iteration = 0; iteration < 10; iteration++) {
      queue.received(bodies[0]!, MiB / 2);
      expect(endIteration()).toBe(true);
    }
    expect(events).toEqual([]);
    expect(endIteration()).toBe(false);
  });

  it("is paused for the bodies that receive bytes after the limit of an iteration, and resumed in order, two per iteration", () => {
    const { queue, bodies, events, endIteration } = setUp(5);
    for (const body of bodies) queue.received(body, MiB / 2);
    expect(events.splice(0)).toEqual(["pause 1", "pause 2", "pause 3", "pause 4"]);
    endIteration();
    expect(events.splice(0)).toEqual(["resume 1", "resume 2"]);
    endIteration();
    expect(events.splice(0)).toEqual(["resume 3", "resume 4"]);
    expect(endIteration()).toBe(false);
  });

  it("puts a body that is paused again behind those that wait", () => {
    const { queue, bodies, events, endIteration } = setUp(4);
    for (const body of bodies) queue.received(body, MiB);
    endIteration();
    queue.received(bodies[1]!, MiB);
    queue.received(bodies[0]!, MiB);
    events.splice(0);
    endIteration();
    endIteration();
    expect(events).toEqual(["resume 2", "resume 3", "resume 1", "resume 0"]);
  });

  it("resumes a body once if it has received several pieces since it was paused", () => {
    const { queue, bodies, events, endIteration } = setUp(1);
    queue.received(bodies[0]!, MiB);
    queue.received(bodies[0]!, MiB);
    endIteration();
    endIteration();
    expect(events.filter((event) => event === "resume 0")).toHaveLength(1);
  });
});
