// A load of objects of many sizes: a process that takes one order and reports the latencies. Bodies are received into one buffer that
// is reused, so the process costs little beside the member.
import { connect } from "node:net";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { seededRandom } from "../../seeded-random.js";
import type { MixedOrder, MixedResult, Outcome } from "./mixed-load.js";

/** Bodies are overwritten as they arrive. */
const memory = Buffer.alloc(512 << 10);

interface Request {
  readonly path: string;
  readonly kind: Outcome["kind"];
  /** When it was due. */
  readonly dueMs: number;
}

/** Requests hot objects with the frequencies of Zipf's law, and objects that were never requested before. */
function* requests({ objects, zipf, missShare, missPath, smallBytes }: MixedOrder): Generator<Omit<Request, "dueMs">, never> {
  const random = seededRandom(1);
  const weights = objects.map((_, rank) => 1 / (rank + 1) ** zipf);
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  for (let misses = 0; ; ) {
    if (random() < missShare) {
      yield { path: missPath.replace("{n}", String(misses++)), kind: "miss" };
      continue;
    }
    let rest = random() * total;
    let rank = 0;
    while (rank < objects.length - 1 && rest >= weights[rank]!) rest -= weights[rank++]!;
    const { path, size } = objects[rank]!;
    yield { path, kind: size <= smallBytes ? "small" : "large" };
  }
}

/** Bytes of a response, its head included. */
function responseBytes(text: string): number {
  const headBytes = text.indexOf("\r\n\r\n") + 4;
  const length = /\r\ncontent-length: *(\d+)\r\n/i.exec(text)?.[1];
  if (headBytes < 4 || length === undefined || !/^HTTP\/1.1 20[06] /.test(text)) throw new Error(`unexpected response: ${text}`);
  return headBytes + Number(length);
}

function run(order: MixedOrder): Promise<MixedResult> {
  const { port, connections, seconds, perSecond } = order;
  const next = requests(order);
  const random = seededRandom(2);
  const outcomes: Outcome[] = [];
  const waiting: Request[] = [];
  const idle: ((request: Request) => void)[] = [];
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  const usedBefore = process.cpuUsage();
  const beginMs = performance.now();
  const endMs = beginMs + seconds * 1e3;
  let open = connections;
  let waited = 0;
  return new Promise((resolve, reject) => {
    const finish = (): void => {
      delay.disable();
      const seconds = (performance.now() - beginMs) / 1e3;
      const { user, system } = process.cpuUsage(usedBefore);
      resolve({ outcomes, waited, seconds, cpuShare: (user + system) / 1e6 / seconds, loopP99Ms: delay.percentile(99) / 1e6 });
    };
    /** The next request of a connection. Undefined: none is due. */
    const take = (): Request | undefined => {
      const nowMs = performance.now();
      if (perSecond !== undefined) return waiting.shift();
      return nowMs >= endMs ? undefined : { ...next.next().value, dueMs: nowMs };
    };
    const connection = (): void => {
      let left = 0;
      let current: Request | undefined;
      const close = (): void => {
        socket.destroy();
        if (--open === 0) finish();
      };
      const send = (request: Request): void => {
        current = request;
        left = 0;
        socket.write(`GET ${request.path} HTTP/1.1\r\nHost: bench\r\n\r\n`, "latin1");
      };
      const proceed = (): void => {
        const request = take();
        if (request !== undefined) send(request);
        else if (performance.now() >= endMs) close();
        else idle.push(send);
      };
      const receive = (received: number): boolean => {
        if (left === 0) left = responseBytes(memory.toString("latin1", 0, Math.min(received, 8192)));
        left -= received;
        if (left > 0) return true;
        outcomes.push({ kind: current!.kind, ms: performance.now() - current!.dueMs });
        proceed();
        return true;
      };
      const socket = connect({ port, host: "127.0.0.1", noDelay: true, onread: { buffer: memory, callback: receive } });
      socket.once("connect", proceed).once("error", reject);
      whenOver.push(() => {
        if (idle.includes(send)) close();
      });
    };
    const whenOver: (() => void)[] = [];
    for (let opened = 0; opened < connections; opened++) connection();
    if (perSecond === undefined) return;
    // Open loop: requests are due at random times, whether or not earlier ones have been answered. Those of one tick are due with it,
    // because this process's timers are late by up to 2 ms, which is not the member's time.
    let dueMs = beginMs;
    const schedule = (): void => {
      const nowMs = performance.now();
      for (; dueMs <= nowMs && dueMs < endMs; dueMs += (-Math.log(1 - random()) * 1e3) / perSecond) {
        const request = { ...next.next().value, dueMs: nowMs };
        const send = idle.shift();
        if (send !== undefined) send(request);
        else {
          waiting.push(request);
          waited++;
        }
      }
      if (nowMs < endMs) setTimeout(schedule, 1);
      else for (const over of whenOver) over();
    };
    schedule();
  });
}

process.on("message", (order: MixedOrder) => void run(order).then((result) => process.send!(result)));
process.once("disconnect", () => process.exit(0));
process.send!("ready");
